"""`python -m tests.network`: one handover from Wi-Fi to 4G after the other, each with a timeline of both pages."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.network.call import now_ms
from tests.network.world import BrowserName, a_world


async def handovers(times: int, browser: BrowserName, folder: Path) -> None:
    """The mentee's Wi-Fi goes away; when the call is steady again it comes back."""
    async with a_world(folder, stun=True, ways=("udp", "tcp")) as world:
        phone = world.phone("mentee")
        assert phone.other
        call = await world.meet(world.behind_router("mentor"), phone, browser)
        say(f"first picture after {await call.begin():.2f} s, {await call.path()}")
        for number in range(1, times + 1):
            lost = now_ms()
            phone.port.lose()
            try:
                await call.flows(now_ms())
            finally:
                say(f"\n{number}: freeze {await call.freeze_s(lost):.2f} s, now {await call.path()}")
                for line in await call.timeline(lost):
                    say(line)
            gained = now_ms()
            phone.port.gain()
            await call.flows(gained + 3000)
            say(
                f"{number}: back on Wi-Fi, freeze {await call.freeze_s(gained):.2f} s, now {await call.path()}"
            )


def say(line: str) -> None:
    """At once, also into a pipe."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.network", description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--browser", choices=["chromium", "firefox"], default="chromium", help="the mentee's")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(handovers(given.times, given.browser, Path(made)))
