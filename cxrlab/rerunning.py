"""Does a run come out the same when it is run again, and if not, what is different this time?

Numbers are compared bit for bit: every logged value and every number of the result, but for those
that measure the machine (`perf/`). A number that is not finite equals another such. What was
different is read from the configurations and from what each run says it was made of.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import cloning, launch
from cxrlab.code import checkout, frozen, worktree
from cxrlab.errors import CxrlabError, NotFound, Usage
from cxrlab.grid import FOREIGN
from cxrlab.lab import Lab
from store import points, results, runs, within
from store.db import Database

MARK = "rerun.json"
"""The file of a run folder that names the run which was run again."""

OF_THE_MACHINE = "perf/"
"""How the names of values begin that no two executions share."""

DIFF = "diff.patch"

_NOT_MADE_OF = ("interpreter", "visible_devices", "seed")

Spot = tuple[str, int | None]
"""A metric and a step; None for the number of the result."""


class Unlike(NamedTuple):
    """One number that is not the same; None where a run does not have it or it is not finite."""

    metric: str
    step: int | None
    before: float | None
    after: float | None


class Comparison(NamedTuple):
    """What comes of two runs that should be the same."""

    numbers: int
    """How many were compared."""
    unlike: list[Unlike]
    """Those that differ, the earliest step first."""
    made_of: list[cloning.Difference]
    """In what the two were made of something else."""

    @property
    def same(self) -> bool:
        """Whether there were numbers, and all were alike."""
        return self.numbers > 0 and not self.unlike


def again(lab: Lab, run: runs.Run) -> runs.NewRun:
    """Return a new run of the very command of `run`, in a folder of its own.

    Where its interpreter is gone, today's takes its place.

    Raises:
        CxrlabError: it has not succeeded, so that there is nothing to compare with.
        Usage: it was made elsewhere, or its command does not name its folder.
    """
    if run.preset == FOREIGN:
        raise Usage(f"{run.id} was made elsewhere, and can only be run again there")
    if run.state != "succeeded":
        raise CxrlabError(
            f"{run.id} is {run.state}; only a run that has succeeded is run again",
            f"`cxrlab retry {run.id}`" if run.state == "failed" else "",
        )
    if run.folder not in run.command:
        raise Usage(f"the command of {run.id} does not say where it writes")
    id = runs.new_id()
    name = Path(run.folder).name.removeprefix(run.id)
    folder = str(lab.runs_dir / f"{id}{name}")
    command = [folder if word == run.folder else word for word in run.command]
    if os.sep in command[0] and not Path(command[0]).exists():
        command[0] = sys.executable
    taken = {f: getattr(run, f) for f in runs.NewRun._fields if hasattr(run, f)}
    return runs.NewRun(**{**taken, "id": id, "folder": folder, "command": command})


def queue(
    lab: Lab,
    db: Database,
    run: runs.Run,
    new: runs.NewRun,
    *,
    checked_out: bool = False,
    repository: Path | None = None,
) -> runs.Run:
    """Queue `new` although `run` stands for it, and leave word in its folder whose repeat it is.

    It executes the code that `run` did, or today's where that is not known.

    Args:
        lab: where both are.
        db: its registry, open.
        run: what is run again.
        new: as `again` returns it.
        checked_out: whether to make the code anew from its commit and recorded changes.
        repository: which has that commit; see `checkout.remade`.

    Raises:
        NotFound: that code, or the commit, is gone.
        CxrlabError: the checkout is not that code.
    """
    folder = Path(run.folder)
    if not checked_out and not frozen.is_there(folder):
        raise NotFound(
            f"the code that {run.id} was queued with is gone",
            f"`cxrlab rerun {run.id} --checkout` makes it anew from its commit",
        )
    with frozen.door(lab):
        if checked_out:
            code = checkout.remade(lab, run.id, folder, repository=repository)
        else:
            code = frozen.noted(folder) or frozen.freeze(lab)
        worktree.take_again(lab, folder, Path(new.folder))
        launch.make_folder(lab, new, cloning.configuration(run), code)
    mark = json.dumps({"rerun_of": run.id}) + "\n"
    (Path(new.folder) / MARK).write_text(mark, encoding="utf-8")
    runs.add(db, [new])
    return runs.get(db, new.id)


def original_of(run: runs.Run) -> str:
    """Return the id of the run that `run` repeats; empty where it repeats none."""
    return str(cloning.read_json(Path(run.folder) / MARK).get("rerun_of", ""))


def compare(db: Database, run: runs.Run, other: runs.Run) -> Comparison:
    """Compare the numbers of two finished runs, and what they were made of.

    Raises:
        CxrlabError: one of them has not succeeded.
    """
    for each in (run, other):
        if each.state != "succeeded":
            why = f": {each.reason}" if each.reason else ""
            raise CxrlabError(f"{each.id} is {each.state}{why}; there is nothing to compare yet")
    before, after = numbers(db, run), numbers(db, other)
    unlike = [
        Unlike(*spot, before.get(spot), after.get(spot))
        for spot in sorted({**before, **after}, key=_in_order)
        if spot not in before or spot not in after or before[spot] != after[spot]
    ]
    return Comparison(len({**before, **after}), unlike, made_of(run, other))


def numbers(db: Database, run: runs.Run) -> dict[Spot, float | None]:
    """Return every number of a run that should come out the same."""
    found: dict[Spot, float | None] = {
        (metric, step): value
        for metric, step, value in points.every(db, run.id)
        if not (metric.startswith(OF_THE_MACHINE) or points.is_use(metric))
    }
    for result in results.of_run(db, run.id):
        if not result.metric.startswith(OF_THE_MACHINE):
            found[result.metric, None] = result.value
            found[f"{result.metric} low", None] = result.low
            found[f"{result.metric} high", None] = result.high
    return found


def made_of(run: runs.Run, other: runs.Run) -> list[cloning.Difference]:
    """Return the settings, and then the versions, machine, code and data, that are not the same."""
    settings = cloning.differences(cloning.configuration(run), cloning.configuration(other))
    one, two = (dict(_flat(_provenance(each))) for each in (run, other))
    seeds = [] if run.seed == other.seed else [cloning.Difference("seed", run.seed, other.seed)]
    return [
        *settings,
        *seeds,
        *(
            cloning.Difference(name, one.get(name), two.get(name))
            for name in {**one, **two}
            if one.get(name) != two.get(name)
        ),
    ]


def _provenance(run: runs.Run) -> dict[str, Any]:
    folder = Path(run.folder)
    facts = cloning.read_json(folder / "provenance.json")
    kept = {name: value for name, value in facts.items() if name not in _NOT_MADE_OF}
    patch = folder / DIFF
    if patch.is_file():
        kept["uncommitted_changes"] = f"{patch.stat().st_size} bytes of {DIFF}"
        kept[DIFF] = within.read_text(patch.parent, patch.name)
    return kept


def _flat(facts: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{name}.")
        else:
            yield f"{under}{name}", value


def _in_order(spot: Spot) -> tuple[bool, int, str]:
    metric, step = spot
    return step is None, step or 0, metric
