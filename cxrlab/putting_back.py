"""How is a run put back that starts again by itself? Carries out what `cxrlab.mending` decides."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from cxrlab import mending, states
from cxrlab.advice import NO_MEMORY
from cxrlab.backends import job, local
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab
from store import mending as kept
from store import runs, within
from store.db import Database, writing

logger = logging.getLogger("cxrlab.putting_back")


def after_end(lab: Lab, db: Database, run: runs.Run, verdict: states.Verdict) -> None:
    """Put a run back that has just ended, where it is to start again by itself.

    Args:
        lab: where it is.
        db: the registry, in the very transaction that has ended the run: so it is done once.
        run: as it was while it ran.
        verdict: how it ended.
    """
    mend = mending.after(
        run,
        verdict,
        kept.of_run(db, run.id),
        config=_configuration(Path(run.folder)),
        settings=lab.settings.launch,
        now=time.time(),
    )
    if mend is None:
        return
    logger.info("%s %s", run.id, mend.reason)
    kept.keep(db, run.id, mend.known)
    if mend.command is not None:
        runs.set_command(db, run.id, mend.command)
    state = "queued" if mend.back else verdict.state
    runs.change_state(db, run.id, state, reason=mend.reason)


def end_stalled(lab: Lab, db: Database, run: runs.Run, *, wait_s: float) -> None:
    """Ask a stalled run to end, so that it is put back; not more often than is allowed.

    One that does not end is killed by whoever looks after the lab's limit, like any other.
    """
    known = kept.of_run(db, run.id)
    if lab.settings.launch.on_stall != "restart" or known.stalls >= mending.MOST_STALLS:
        return
    if not job.starts_again(run.command):
        return
    with writing(db, wait_s):
        now = runs.get(db, run.id)
        if (now.state, now.attempt, now.stop_requested) != ("running", run.attempt, None):
            return
        kept.keep(db, run.id, known._replace(ending=run.attempt))
        runs.request_stop(db, run.id, time.time())
    local.ask_to_stop(Path(run.folder), run.attempt)


def choose(lab: Lab, db: Database, run: runs.Run, on_oom: str) -> None:
    """Note what to do where a GPU has too little memory, and do it where one just had.

    Raises:
        CxrlabError: smaller micro-batches are asked for, and this run can have none.
    """
    known = kept.of_run(db, run.id)._replace(on_oom=on_oom)
    verdict = states.Verdict(run.state, run.reason)
    config = _configuration(Path(run.folder))
    if on_oom == "halve" and mending.compares(run, config):
        raise CxrlabError(mending.refusal(run.id))
    mend = None
    if run.state == "failed" and NO_MEMORY in run.reason:
        settings = lab.settings.launch
        mend = mending.after(run, verdict, known, config=config, settings=settings, now=time.time())
    if mend is not None and not mend.back:
        raise CxrlabError(f"{run.id}: {mend.reason}")
    kept.begin_anew(db, run.id, on_oom=on_oom)
    if mend is not None and mend.command is not None:
        runs.set_command(db, run.id, mend.command)


def _configuration(folder: Path) -> dict[str, Any]:
    try:
        with within.open_file(folder, "config.json") as file:
            said = json.loads(file.read().decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
