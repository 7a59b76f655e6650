"""`python -m tests.network`: handovers from Wi-Fi to 4G, each with a timeline of both pages. For looking closely; the
scenarios themselves are `make network`."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.network.call import now_ms
from tests.network.world import BrowserName, a_world


async def handovers(times: int, browser: BrowserName, who: str, folder: Path) -> None:
    """A new call each time; the phone's Wi-Fi goes away in it."""
    async with a_world(folder, stun=True, ways=("udp", "tcp")) as world:
        phone, other = world.phone("phone"), world.behind_router("other")
        mentor, mentee = (other, phone) if who == "mentee" else (phone, other)
        call = await world.meet(mentor, mentee, browser)
        for number in range(1, times + 1):
            say(f"\n{number}: first picture after {await call.begin():.2f} s, {await call.path()}")
            lost = now_ms()
            phone.wifi.lose()
            try:
                await call.flows()
            finally:
                say(f"freeze {await call.freeze_s(lost):.2f} s, now {await call.path()}")
                for line in await call.timeline(lost):
                    say(line)
            await call.end()
            phone.wifi.gain()


def say(line: str) -> None:
    """At once, also into a pipe."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.network", description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--browser", choices=["chromium", "firefox"], default="chromium", help="the mentee's")
    parser.add_argument("--phone", choices=["mentor", "mentee"], default="mentee", help="who has the phone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(handovers(given.times, given.browser, given.phone, Path(made)))
