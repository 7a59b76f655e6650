"""One laboratory for each scenario; the end of the run prints what all of them have shown."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.network.outcomes import HEAD, Outcome
from tests.network.world import World, a_world
from tests.support.needs import REPOSITORY, needs
from tests.support.reports import told

HERE = Path(__file__).parent
OUTCOME = "outcome"
MINE = pytest.StashKey[Outcome]()
TEST_S = 120
NewWorld = Callable[..., Awaitable[World]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All scenarios need network namespaces and real browsers."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.network)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TEST_S))


@pytest.fixture
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """What this scenario has shown; it is called what the test's docstring says."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    sentence = (inspect.getdoc(request.function) or request.node.name).split("\n")[0].rstrip(".")
    mine = Outcome(sentence.format(**parameters))
    request.node.stash[MINE] = mine
    return mine


@pytest.fixture
async def new_world(tmp_path: Path) -> AsyncIterator[NewWorld]:
    """`await new_world(…)`, with what `a_world` takes."""
    needs("the built web client (make setup)", (REPOSITORY / "web_client" / "dist" / "index.html").exists())
    async with AsyncExitStack() as stack:

        async def make(**options: object) -> World:
            return await stack.enter_async_context(a_world(tmp_path, **options))  # type: ignore[arg-type]

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the scenario has shown travels with the report: of a worker (pytest -n) nothing else comes back."""
    report = yield
    if MINE in item.stash and (report.when == "call" or (report.when == "setup" and report.failed)):
        item.stash[MINE].passed = report.passed
        report.user_properties.append((OUTCOME, item.stash[MINE].row()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, ready for an issue or a page."""
    outcomes = told(terminalreporter, OUTCOME)
    if not outcomes:
        return
    terminalreporter.section("calls on bad networks")
    terminalreporter.write_line(HEAD)
    for row in outcomes:
        terminalreporter.write_line(row)
