"""How does a run that another tracker has kept become a run folder of the lab?

One like any other, so that `rebuild` finds it again; the preset `foreign` marks it, and its recipe
is drawn from where it came from, so that it is never averaged with the lab's own runs. What was
brought in before changes nothing; a log that has grown since replaces what it was.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cxrlab import runner
from cxrlab.errors import Usage
from cxrlab.grid import FOREIGN
from cxrlab.imports.curves import OWN_RUN, Cell, Found
from cxrlab.lab import Lab
from store import intake, points, results, runs
from store.db import Database, writing
from trainers import metrics
from trainers.events import EventLog, finite

FILES = ("config.json", "provenance.json", "result.json", "command.txt", runner.LOG_NAME,
         intake.FILE_NAME)  # fmt: skip


class Brought(NamedTuple):
    """The run that stands for what was found."""

    run: runs.Run
    done: Literal["new", "updated", "unchanged", "own"]
    """`own`: it is an export of a run that this lab has."""


def bring_in(lab: Lab, db: Database, found: Found, cell: Cell, command: Sequence[str]) -> Brought:
    """Make a run of what was found, or bring the one that stands for it up to date.

    Raises:
        Usage: the source has given another run for that seed before.
    """
    if (own := _own(db, found)) is not None:
        return Brought(own, "own")
    standing = _standing(db, found, cell)
    if standing is not None and _kept(db, standing).get("sha256") == found.sha256:
        return Brought(standing, "unchanged")
    id = standing.id if standing else runs.new_id()
    ratio = "" if cell.ratio is None else f"-{cell.ratio}"
    folder = lab.runs_dir / f"{id}-{cell.method}-{cell.task}{ratio}-s{cell.seed}"
    making = lab.runs_dir / f".{folder.name}"
    lab.make_folder(making)
    try:
        with lab.creating():
            _write(making, found, cell, command)
        with writing(db):
            now = _standing(db, found, cell)
            if (now and now.id) != (standing and standing.id):  # another process came between
                raise Usage(f"`{cell.source}` is being imported by somebody else", "try again")
            if standing is None:
                runs.add(db, [_new_run(id, folder, cell, command)])
            place = folder if standing is None else Path(standing.folder)
            lab.make_folder(place)
            _put_in_place(db, making, id, place)
            state = "stopped" if found.unfinished else "succeeded"
            runs.change_state(db, id, state, reason=reason(found, cell))
    except BaseException:
        if standing is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return Brought(runs.get(db, id), "updated" if standing else "new")


def _put_in_place(db: Database, making: Path, id: str, folder: Path) -> None:
    """Give the files their place, and read them from the first byte."""
    intake.forget(db, id)
    for name in FILES:
        (making / name).replace(folder / name)
    intake.take_in(db, id, folder)


def reason(found: Found, cell: Cell) -> str:
    """Return where a run was made, and how it stands there if it did not end well."""
    return f"made elsewhere: {cell.source}" + (f"; {found.unfinished}" if found.unfinished else "")


def _own(db: Database, found: Found) -> runs.Run | None:
    try:
        return runs.get(db, str(found.settings.get(OWN_RUN, "")))
    except runs.NoSuchRun:
        return None


def _kept(db: Database, run: runs.Run) -> dict[str, Any]:
    kept = (results.document(db, run.id) or {}).get("curves")
    return kept if isinstance(kept, dict) else {}


def _standing(db: Database, found: Found, cell: Cell) -> runs.Run | None:
    """Return the run of that cell that was made of the same log before, or of an equal one."""
    for run in runs.select(db, states=("succeeded", "stopped"), method=cell.method, task=cell.task):
        if run.preset != FOREIGN or (run.ratio, run.seed) != (cell.ratio, cell.seed):
            continue
        kept = _kept(db, run)
        same = kept.get("sha256") == found.sha256
        if run.recipe == cell.recipe and (same or kept.get("origin") == found.origin):
            return run
        if run.recipe == cell.recipe:
            raise Usage(
                f"{run.id} holds another log of `{cell.source}` with seed {cell.seed}",
                f"give another `--seed` or `--source`, or `cxrlab rm {run.id}` first",
            )
    return None


def _new_run(id: str, folder: Path, cell: Cell, command: Sequence[str]) -> runs.NewRun:
    return runs.NewRun(
        id=id,
        method=cell.method,
        task=cell.task,
        ratio=cell.ratio,
        seed=cell.seed,
        preset=FOREIGN,
        recipe=cell.recipe,
        folder=str(folder),
        parent=None,
        command=list(command),
        gpus=0,
    )


def _write(folder: Path, found: Found, cell: Cell, command: Sequence[str]) -> None:
    """Write the run folder; what the run ended with comes last."""
    values, odd = last_values(found)
    kept = {
        "form": found.form,
        "name": found.name,
        "origin": found.origin,
        "sha256": found.sha256,
        "points": found.points,
    }
    result = {"values": values, "foreign": True, **cell._asdict(), "curves": kept}
    config = {"program": "import", **cell._asdict(), "preset": FOREIGN, "recipe": cell.recipe,
              "device": "cpu", "settings": found.settings}  # fmt: skip
    provenance = {"foreign": True, "source": cell.source, "curves": kept,
                  "cxrlab": metadata.version("cxrlab")}  # fmt: skip
    notes = [*found.notes, *odd]
    _write_json(folder / "config.json", config)
    _write_json(folder / "provenance.json", provenance)
    _write_json(folder / "result.json", result)
    (folder / "command.txt").write_text(shlex.join(command) + "\n", encoding="utf-8")
    told = "\n".join([reason(found, cell), *notes])
    (folder / runner.LOG_NAME).write_text(told + "\n", encoding="utf-8")
    _write_events(folder, found, cell, notes=notes, result=result)


def last_values(found: Found) -> tuple[dict[str, float], list[str]]:
    """Return what a run ended with: the last of each `test/` and `val/` curve that is known.

    Also why others do not count: a number that no definition is known of, or a share beyond 1 (79.2
    for 0.792), would stand in a cell as what it is not.
    """
    values, odd = {}, []
    for name, curve in sorted(found.curves.items()):
        part, _, rest = name.partition("/")
        finite = [step for step in curve if math.isfinite(curve[step][0])]
        if part not in ("test", "val") or not rest or not finite:
            continue
        value, known = curve[max(finite)][0], metrics.find(name)
        if known is None:
            odd += [f"`{name}` is a curve only: no definition of it is known"]
        elif known.unit == "share" and not 0 <= value <= 1:
            odd += [f"`{name}` is a curve only: {value:g} is no share in [0, 1]"]
        else:
            values[name] = value
    return values, odd


def _write_events(
    folder: Path, found: Found, cell: Cell, *, notes: Sequence[str], result: dict[str, Any]
) -> None:
    kept = {name: curve for name, curve in found.curves.items() if not _of_machine(name)}
    found = replace(found, curves=kept)
    times = [t for curve in found.curves.values() for _, t in curve.values() if t is not None]
    began = found.began or min(times, default=time.time())
    ended = found.ended or max(times, default=began)
    steps = [step for curve in found.curves.values() for step in curve]
    events = EventLog(folder)
    events.write("start", t=began, step=0, attempt=1, total_steps=max([*steps, 0]))
    for step, t, values in _by_step(found):
        events.write("metrics", t=began if t is None else t, step=step, values=values)
    last = max([*steps, 0])
    events.write("progress", t=ended, done=last, total=last, eta_s=0.0)
    for note in notes:
        events.write("warning", t=ended, message=note)
    events.write("result", t=ended, **result)
    outcome = "stopped" if found.unfinished else "succeeded"
    events.write("end", t=ended, outcome=outcome, reason=reason(found, cell))
    events.close()


def _of_machine(metric: str) -> bool:
    """Tell whether a curve is an exported one over seconds, which are no steps."""
    return points.is_use(metric.removeprefix("system/"))


def _by_step(found: Found) -> Iterator[tuple[int, float | None, dict[str, float]]]:
    """Give each step with the time it was logged first and all its values."""
    gathered: dict[int, dict[str, tuple[float, float | None]]] = {}
    for name, curve in found.curves.items():
        for step, point in curve.items():
            gathered.setdefault(step, {})[name] = point
    for step in sorted(gathered):
        known = [t for _, t in gathered[step].values() if t is not None]
        yield step, min(known, default=None), {n: value for n, (value, _) in gathered[step].items()}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, default=str)
    path.write_text(text + "\n", encoding="utf-8")
