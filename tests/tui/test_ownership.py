"""The dashboard of somebody else's lab shows everything, says whose it is, and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cxrlab import ownership
from cxrlab.lab import Lab
from cxrlab.tui import messages
from cxrlab.tui.pulse import Rhythm
from store import runs
from store.db import open_store


async def test_it_is_shown_and_followed_and_not_written_to(
    full_lab: Lab, make_app: Any, until: Any, told: Any, shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "me", lambda: os.geteuid() + 1)
    before = sorted(full_lab.root.rglob("*"))
    app = make_app(full_lab, rhythm=Rhythm(refresh_s=0.1, look_s=0.1, agent_s=0.1))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "is only read" in told(app))
        await until(pilot, lambda: app._under_way.get("running") == 1)
        db = open_store(full_lab.registry)
        runs.change_state(db, "rndccc", "running")  # by its owner
        await until(pilot, lambda: app._under_way.get("running") == 2)
        app.post_message(messages.StopRun(runs.get(db, "deepbb")))
        await until(pilot, lambda: app.screen.is_modal)
        await pilot.press("y")
        await until(pilot, lambda: "reading alone" in told(app) or "only read" in told(app))
        assert runs.get(db, "deepbb").state == "blocked"
        db.close()
    kept = [path for path in sorted(full_lab.root.rglob("*")) if "registry.db" not in path.name]
    assert kept == [path for path in before if "registry.db" not in path.name]
    assert not Path(full_lab.agent_lock).exists()
