"""One server and one Chromium for all browser tests, in a network of their own; fresh people for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.look import SIZES, Look
from tests.browser.meeting import Meeting
from tests.support.chromium import ChromiumTab, chromium, new_context
from tests.support.needs import REPOSITORY, needs
from tests.support.people import Pair
from tests.support.private_network import private_network
from tests.support.server import Server

HERE = Path(__file__).parent
ARTIFACTS = REPOSITORY / "artifacts"
OpenTab = Callable[..., Awaitable[ChromiumTab]]
FAILED = pytest.StashKey[bool]()
TEST_S = 120
"""Media tests wait for real frames on a machine that may be busy."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need a browser and share one event loop with the session's fixtures."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(TEST_S))
            if pytest_asyncio.is_async_test(item):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="package")
def isolated() -> Iterator[None]:
    """While the browser tests run, what they start lives in a network namespace."""
    built = REPOSITORY / "web_client" / "dist" / "index.html"
    needs("the built web client (make setup)", built.exists())
    with private_network():
        yield


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def server(isolated: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """The server of the browser tests; a test that kills it starts it again."""
    running = await Server(tmp_path_factory.mktemp("browser-server")).start()
    yield running
    await running.close()
    assert "Traceback" not in running.log, f"the server tripped:\n{running.log[-4000:]}"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser(isolated: None) -> AsyncIterator[Browser]:
    """A Chromium whose fake camera and microphone are allowed."""
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def pair(server: Server) -> Pair:
    """Two people who never met before, and their room."""
    return await server.pair()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lets `open_tab` know whether the test failed, so that it keeps a picture of every tab."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest_asyncio.fixture(loop_scope="session")
async def open_tab(
    browser: Browser, artifacts: Path, request: pytest.FixtureRequest
) -> AsyncIterator[OpenTab]:
    """`await open_tab()`: a tab in a cookie jar of its own; afterwards every tab must have been quiet."""
    tabs: list[ChromiumTab] = []

    async def open_one(*, beside: ChromiumTab | None = None, **options: Any) -> ChromiumTab:
        context = beside.page.context if beside else await new_context(browser, **options)
        tabs.append(await ChromiumTab.new(context))
        return tabs[-1]

    yield open_one
    if request.node.stash.get(FAILED, False):
        for number, tab in enumerate(tabs):
            await tab.picture(artifacts / "failures" / f"{request.node.name}-{number}.png")
    try:
        for tab in tabs:
            await tab.check_quiet()
    finally:
        for context in {tab.page.context for tab in tabs}:
            await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def meeting(open_tab: OpenTab, server: Server, pair: Pair) -> Meeting:
    """Mentor and mentee, each in the room in a browser of their own."""
    return await Meeting.begin(server, pair, await open_tab(), await open_tab())


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where screenshots go; the folder ignores itself in git."""
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / ".gitignore").write_text("*\n")
    return ARTIFACTS


@pytest.fixture
def look(artifacts: Path, size: str, scheme: str) -> Look:
    """For tests in `each_size_and_scheme`."""
    return Look(artifacts, size, scheme)


@pytest.fixture
def options(size: str, scheme: str) -> dict[str, Any]:
    """How a tab is opened in such a test."""
    return {**SIZES[size], "color_scheme": scheme, "reduced_motion": "reduce"}
