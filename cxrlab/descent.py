"""Where does the encoder of a run come from, run by run, down to published weights?"""

from __future__ import annotations

from typing import Any

from store import artifacts, results, runs
from store.db import Database
from store.runs import Run


def origin(db: Database, run: Run, document: dict[str, Any]) -> dict[str, Any] | None:
    """Return where the run's encoder came from: the pre-training run, and the file with its digest.

    The trainer says what it loaded; before that, the registry knows which run it will start from.
    """
    said = document.get("encoder") or {}
    path = said.get("path")
    # the trainer knows the folder its encoder lay in, whose name begins with the run's id
    parent_id = run.parent or (said.get("run") or "").split("-")[0] or None
    if not path and parent_id is None:
        return None
    try:
        parent = runs.get(db, parent_id) if parent_id else None
    except runs.NoSuchRun:
        parent = None
    saved = artifacts.of_run(db, parent.id, "encoder") if parent else []
    return {
        "run": parent_id,
        "method": parent.method if parent else None,
        "state": parent.state if parent else None,
        "path": path or (str(saved[0].path) if saved else None),
        "sha256": said.get("sha256") or (saved[0].sha256 if saved else None),
    }


def line(db: Database, run: Run, document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the origins of a run's encoder, the nearest first, down to published weights.

    The line ends where an encoder was drawn at random, or at a file that no run here has made.
    """
    found: list[dict[str, Any]] = []
    seen = {run.id}
    here: dict[str, Any] | None = origin(db, run, document)
    while here is not None:
        found.append(here)
        if here["method"] is None or here["run"] in seen:
            break
        seen.add(here["run"])
        parent = runs.get(db, here["run"])
        here = origin(db, parent, results.document(db, parent.id) or {})
    return found
