"""The dashboard rings when a run ends that one does not look at."""

from __future__ import annotations

from typing import Any

import pytest

from cxrlab.lab import Lab
from store import runs
from store.db import open_store


@pytest.mark.parametrize(("place", "rings"), [("grid", True), ("run", False)])
async def test_a_run_that_ends_rings_unless_it_is_what_one_looks_at(
    full_lab: Lab, make_app: Any, until: Any, place: str, rings: bool
) -> None:
    app = make_app(full_lab)
    written: list[str] = []
    app.to_terminal = written.append
    async with app.run_test(size=(120, 40)) as pilot:
        from cxrlab.tui import messages

        await until(pilot, lambda: app._under_way.get("running"))
        if place == "run":
            app.post_message(messages.OpenRun("deepaa"))
            await until(pilot, lambda: getattr(app.screen, "run_id", "") == "deepaa")
        db = open_store(full_lab.registry)
        runs.change_state(db, "deepaa", "failed", reason="it broke")
        db.close()
        await until(pilot, lambda: not app._under_way.get("running"))
        if rings:
            await until(pilot, lambda: written)
    assert written == (["\a\x1b]2;failed: deep_mrm · pretrain · seed 0\x1b\\"] if rings else [])


def test_what_threads_tell_while_the_dashboard_opens_or_closes_is_no_fault(
    full_lab: Lab, make_app: Any
) -> None:
    from cxrlab.tui import messages

    app = make_app(full_lab)  # without a screen, as at its end
    app._runs_ended(messages.RunsEnded([]))
    app._changed()
    app.show_status()
