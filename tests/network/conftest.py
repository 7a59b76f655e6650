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

HERE = Path(__file__).parent
OUTCOMES = pytest.StashKey[list[Outcome]]()
MINE = pytest.StashKey[Outcome]()
TEST_S = 120
NewWorld = Callable[..., Awaitable[World]]


def pytest_configure(config: pytest.Config) -> None:
    """Where the outcomes gather."""
    config.stash[OUTCOMES] = []


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
    request.config.stash[OUTCOMES].append(mine)
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
    report = yield
    if report.when == "call" and MINE in item.stash:
        item.stash[MINE].passed = report.passed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table, ready for an issue or a page."""
    outcomes = config.stash[OUTCOMES]
    if not outcomes:
        return
    terminalreporter.section("calls on bad networks")
    terminalreporter.write_line(HEAD)
    for one in outcomes:
        terminalreporter.write_line(one.row())
