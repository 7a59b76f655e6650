"""What a fault run says when it cannot go on."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.run import play
from tests.faults.stages import Embedded

pytestmark = [pytest.mark.faults, pytest.mark.integration, pytest.mark.timeout(60)]


async def test_a_run_that_breaks_off_says_what_node_and_store_were_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never_ends(stage: Embedded) -> None:
        os.kill(stage.server.stores()[0], signal.SIGSTOP)
        raise TimeoutError("waited in vain")

    monkeypatch.setattr(Embedded, "store_killed", never_ends)
    story: list[str] = []
    with pytest.raises(TimeoutError):
        await play("embedded", 1, 1, story.append, only=("store killed",))
    after = story[story.index("it breaks off") :]
    assert any("listening on http" in line for line in after), "the node's log"
    assert any("Ready to accept connections" in line for line in after), "the store's log"
    assert any(" stopped " in line and "valkey-server" in line for line in after), "its processes"
