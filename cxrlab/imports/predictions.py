"""How do predictions that were made elsewhere become a run of the lab?

The child that measures a run's predictions measures these, and what it says is kept in a run folder
like any other, so that `rebuild` finds it again. The preset `foreign` marks it; its recipe is drawn
from where it came from, so that it stands beside the lab's own runs and never in their mean.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import socket
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import programs, runner
from cxrlab.assets import digests
from cxrlab.errors import NotFound, Usage
from cxrlab.grid import FOREIGN
from cxrlab.lab import Lab
from store import intake, results, runs
from store.db import Database, writing
from trainers.events import EventLog

PREDICTIONS = "predictions.npz"
RESULT = "result.json"


class Cell(NamedTuple):
    """What the predictions are of."""

    method: str
    task: str
    ratio: int
    seed: int
    source: str
    """Where they come from, in words; predictions of one source are repeats of each other."""

    @property
    def recipe(self) -> str:
        """What tells this source from others and from the lab's own runs."""
        told = json.dumps([FOREIGN, self.method, self.task, self.ratio, self.source])
        return hashlib.sha256(told.encode()).hexdigest()


class Imported(NamedTuple):
    """The run that stands for the predictions."""

    run: runs.Run
    new: bool


def bring_in(lab: Lab, db: Database, files: Sequence[Path], cell: Cell) -> Imported:
    """Make a finished run of predictions, unless the lab has them in that cell already.

    Raises:
        NotFound: a file is not there.
        BadInput: a file is not what it should be; the message names its line.
        Usage: the source has given other predictions for that seed before.
    """
    sums = _sums(files)
    if (there := _standing(db, cell, sums)) is not None:
        return Imported(there, new=False)
    id = runs.new_id()
    name = f"{id}-{cell.method}-{cell.task}-{cell.ratio}-s{cell.seed}"
    making, folder = lab.runs_dir / f".{name}", lab.runs_dir / name
    lab.make_folder(making)
    try:
        command = _command(cell.task, files)
        asked = [*command, "--out", str(making / PREDICTIONS)]
        told = programs.answer_of(lab, asked, wanted="metrics", key="values")
        with lab.creating():
            _write(making, cell, command, told, sums)
        with writing(db):
            if (there := _standing(db, cell, sums)) is not None:
                return Imported(there, new=False)
            making.replace(folder)
            runs.add(db, [_new_run(id, folder, cell, command)])
            intake.take_in(db, id, folder)
            runs.change_state(db, id, "succeeded", reason=_reason(cell), expect=("queued",))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return Imported(runs.get(db, id), new=True)


def _reason(cell: Cell) -> str:
    return f"made elsewhere: {cell.source}"


def _command(task: str, files: Sequence[Path]) -> list[str]:
    named = [str(path.resolve()) for path in files]
    program = [sys.executable, "-P", "-m", "trainers.evaluate", "--task", task]
    return [*program, "--json", "--predictions", *named]


def _new_run(id: str, folder: Path, cell: Cell, command: list[str]) -> runs.NewRun:
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
        command=command,
        gpus=0,
    )


def _sums(files: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its path; a folder stands for its text files."""
    found: dict[str, str] = {}
    for path in files:
        if not path.exists():
            raise NotFound(f"{path} does not exist")
        for each in sorted(path.glob("*.txt")) if path.is_dir() else [path]:
            found[str(each.resolve())] = digests.of(each).sha256
    return found


def _standing(db: Database, cell: Cell, sums: dict[str, str]) -> runs.Run | None:
    """Return the run that these predictions have made in that cell before."""
    for run in runs.select(db, states=("succeeded",), method=cell.method, task=cell.task):
        if run.preset != FOREIGN or run.ratio != cell.ratio:
            continue
        kept = (results.document(db, run.id) or {}).get("files", {})
        if sorted(kept.values()) == sorted(sums.values()):
            return run
        if (run.recipe, run.seed) == (cell.recipe, cell.seed):
            raise Usage(
                f"{run.id} holds other predictions of `{cell.source}` with seed {cell.seed}",
                f"give another `--seed` or `--source`, or `cxrlab rm {run.id}` first",
            )
    return None


def _write(
    folder: Path, cell: Cell, command: list[str], told: dict[str, Any], sums: dict[str, str]
) -> None:
    """Write the run folder; `events.jsonl` comes last, and says that the run has ended."""
    config = {"program": "evaluate", **cell._asdict(), "preset": FOREIGN, "recipe": cell.recipe,
              "predictions": list(sums), "device": "cpu"}  # fmt: skip
    result = {
        **told,
        "foreign": True,
        **cell._asdict(),
        "predictions": PREDICTIONS,
        "predictions_sha256": digests.of(folder / PREDICTIONS).sha256,
        "files": sums,
    }
    provenance = {
        "foreign": True,
        "source": cell.source,
        "files": sums,
        "cxrlab": metadata.version("cxrlab"),
        "host": socket.gethostname(),
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "provenance.json", provenance)
    _write_json(folder / RESULT, result)
    (folder / "command.txt").write_text(shlex.join(command) + "\n", encoding="utf-8")
    (folder / runner.LOG_NAME).write_text(_reason(cell) + "\n", encoding="utf-8")
    events = EventLog(folder)
    for note in told.get("notes", []):
        events.warning(note)
    events.result(**result)
    events.end("succeeded", _reason(cell))
    events.close()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
