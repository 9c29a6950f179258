"""How far is each cell from its paper's number, and what might explain the distance?

What a run was told is held against the preset `paper` of the same method and task, which its
trainer is asked for, and against what `paper_recipes.toml` knows of the papers beyond settings. Of
a number that a notebook tells, without a run, its launch line and its own remarks are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from cxrlab import cloning, descent, grid
from cxrlab.assets import weights
from cxrlab.comparing import differences
from cxrlab.comparing.differences import Difference
from cxrlab.comparing.notebook_remarks import Place, launch_lines, own_numbers, remarks
from cxrlab.comparing.presets import Presets, Question, finetuning, launched, pretraining
from cxrlab.comparing.sides import Key, Side, method_side
from cxrlab.grid.published import Paper, read_published
from cxrlab.imports.launch_line import LaunchLine
from cxrlab.lab import Lab
from store import cells, notebook, results, runs
from store.db import Database
from trainers.catalog import METHODS, TASKS, base_of

RECIPES = Path(__file__).with_name("paper_recipes.toml")

Origin = Literal["runs", "notebook", "none"]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One cell with a paper's number; shares in [0, 1]."""

    method: str
    task: str
    ratio: int | None
    metric: str
    paper: float
    source: str
    origin: Origin = "none"
    """Where the lab's own number comes from."""
    where: str = ""
    """The runs' ids, or the notebook's name and line."""
    value: float | None = None
    sd: float | None = None
    n: int = 0
    low: float | None = None
    """Of the 95 % interval over test patients, as is `high`."""
    high: float | None = None
    differences: tuple[Difference, ...] = ()
    """What might explain it, the likeliest first."""
    notes: tuple[str, ...] = ()

    @property
    def distance(self) -> float | None:
        """The lab's number less the paper's."""
        return None if self.value is None else self.value - self.paper


def gaps(lab: Lab, db: Database, methods: Sequence[str] = ()) -> list[Gap]:
    """Return every cell that has a paper's number, the furthest behind first, empty ones last.

    Takes some seconds: the trainers are asked for their presets, all in one process.

    Args:
        lab: where the runs are.
        db: its registry, open.
        methods: the rows; all where none are named.
    """
    groups = cells.groups(db)
    known = [_empty(key, paper) for key, paper in read_published().items()
             if key[1] in TASKS and (not methods or key[0] in methods)]  # fmt: skip
    sides = {name: method_side(db, name, groups) for name in {gap.method for gap in known}}
    told = own_numbers(db)
    filled = [_filled(gap, sides[gap.method], groups, told) for gap in known]
    asked = Presets(lab)
    recipes, lists = read_recipes()
    lines = launch_lines(db)
    asked.ask(_questions(filled, lines))
    found = []
    for gap in filled:
        if gap.origin == "runs":
            gap = _of_run(db, gap, asked, recipes.get(base_of(gap.method), {}), lists)
        elif gap.origin == "notebook":
            gap = _of_notebook(db, gap, asked, recipes.get(base_of(gap.method), {}), lines)
        found.append(gap)
    return sorted(found, key=_furthest)


def read_recipes() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return what is known of the papers, by method, and of their test lists, by task."""
    table = tomllib.loads(RECIPES.read_text(encoding="utf-8"))
    by_method = {row["method"]: row for row in table.get("recipe", [])}
    return by_method, {row["task"]: row for row in table.get("test", [])}


def _questions(gaps: Iterable[Gap], lines: Mapping[str, LaunchLine]) -> Iterator[Question]:
    for gap in gaps:
        if gap.origin == "runs":
            yield finetuning(gap.method, gap.task, gap.ratio)
        if gap.origin != "none" and METHODS[gap.method].pretrains:
            yield pretraining(gap.method)
    yield from map(launched, lines.values())


def _empty(key: tuple[str, str, int | None, str], paper: Paper) -> Gap:
    method, task, ratio, metric = key
    first = paper.source.partition(";")[0]
    own = first.startswith("Not the authors")  # as published.toml says it
    return Gap(method=method, task=task, ratio=ratio, metric=metric, paper=paper.value,
               source=paper.source, notes=(f"the number in question: {first}",) * own)  # fmt: skip


def _filled(
    gap: Gap, side: Side, groups: Sequence[cells.Group], told: Mapping[Place, notebook.Number]
) -> Gap:
    """Return the gap with the number that the grid shows, else with a notebook's."""
    key: Key = (gap.task, gap.ratio)
    ids = side.entries[key].run_ids if key in side.entries else ()
    for group in groups:
        if ids and group.run_ids == ids and group.metric == gap.metric:
            stale = side.entries[key].stale
            return replace(
                gap,
                origin="runs",
                where=", ".join(ids),
                value=group.mean,
                sd=group.sd,
                n=group.n,
                low=group.low,
                high=group.high,
                notes=(*gap.notes, *([f"stale: {stale}"] if stale else [])),
            )
    number = told.get((gap.method, gap.task, gap.ratio, gap.metric))
    if number is None:
        return gap
    return replace(
        gap,
        origin="notebook",
        where=f"{number.source}:{number.line}",
        value=number.value,
        notes=(*gap.notes, *number.flaws),
    )


def _of_run(
    db: Database,
    gap: Gap,
    asked: Presets,
    recipe: Mapping[str, Any],
    lists: Mapping[str, Mapping[str, Any]],
) -> Gap:
    """Return the gap with what its newest run did otherwise than the paper."""
    run = runs.get(db, gap.where.split(", ")[0])
    document = results.document(db, run.id) or {}
    config = cloning.configuration(run)
    found: list[Difference] = []
    if run.preset == grid.FOREIGN:
        notes = ("made elsewhere and brought in: its settings are not known",)
        return replace(gap, notes=(*gap.notes, *notes, *_notes_of(gap)))
    preset = asked.of(finetuning(gap.method, gap.task, gap.ratio))
    found += differences.of_settings(config, preset, part="fine-tuning", processes=_processes(run))
    found += _of_grey_values(config, recipe)
    found += _of_lists(document, lists.get(gap.task))
    found += _of_encoder(db, run, document, gap, asked, recipe)
    refused = asked.refusal(finetuning(gap.method, gap.task, gap.ratio))
    more = (f"the preset `paper` could not be asked for: {refused}",) if refused else ()
    return replace(
        gap,
        differences=tuple(differences.ranked(found)),
        notes=(*gap.notes, *more, *_notes_of(gap)),
    )


def _of_encoder(
    db: Database,
    run: runs.Run,
    document: Mapping[str, Any],
    gap: Gap,
    asked: Presets,
    recipe: Mapping[str, Any],
) -> list[Difference]:
    """Return how the pre-training behind a run differs from the paper's."""
    if not METHODS[gap.method].pretrains:
        return []
    line = descent.line(db, run, dict(document))
    first = next((each for each in line if each["run"] and each["method"]), None)
    if first is None:
        name = initial_of(line[:1])
        said = f"the encoder is a file, {name}, and no pre-training of this lab"
        own = name in (gap.method, base_of(gap.method))  # the authors' own, as published
        return [] if own else [Difference("initial weights", "fine-tuning", said)]
    parent = runs.get(db, first["run"])
    config = cloning.configuration(parent)
    found = differences.of_settings(
        config,
        asked.of(pretraining(gap.method)),
        part="pre-training",
        processes=_processes(parent),
    )
    initial = initial_of(line[1:2])
    if recipe.get("initial") and initial != recipe["initial"]:
        said = f"{_called(initial)} against {recipe['said']}"
        found.append(Difference("initial weights", "pre-training", said))
    return found


def initial_of(line: Sequence[Mapping[str, Any]]) -> str:
    """Return what weights a pre-training began with, by their published name.

    A pre-training of this lab counts by its method, a file that nobody publishes by its own name.
    """
    for each in line:
        if each["method"]:
            return str(each["method"])
        if each["path"]:
            return published_name(str(each["path"]))
    return "random"


def published_name(path: str) -> str:
    """Return what `cxrlab weights list` calls a file, else the file's name."""
    file = PurePosixPath(path).name
    for row in weights.read_table().values():
        if row.file == file:
            return row.name.removesuffix("_full")
    return file


def _called(initial: str) -> str:
    return "drawn at random" if initial == "random" else f"`{initial}`"


def _of_grey_values(config: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[Difference]:
    if "mean" not in recipe or "mean" not in config or "std" not in config:
        return []
    ours = [_values(config[name]) for name in ("mean", "std")]
    theirs = [_values(recipe[name]) for name in ("mean", "std")]
    if all(differences.normalisation(a, b) for a, b in zip(ours, theirs, strict=True)):
        return []
    told = [f"mean {_list(mean)}, deviation {_list(std)}" for mean, std in (ours, theirs)]
    return [Difference("normalisation", "fine-tuning", f"{told[0]} against {told[1]}")]


def _values(said: Any) -> list[float]:
    return [float(v) for v in said] if isinstance(said, list | tuple) else [float(said)]


def _list(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _of_lists(document: Mapping[str, Any], known: Mapping[str, Any] | None) -> list[Difference]:
    """Return whether the test list has another length than the published one."""
    records = (document.get("data") or {}).get("records")
    count = records.get("test") if isinstance(records, dict) else None
    if known is None or count is None or count == known["images"]:
        return []
    said = f"tested on {count:,} images, the published list ({known['source']}) has "
    return [Difference("data", "", said + f"{known['images']:,}")]


def _of_notebook(
    db: Database,
    gap: Gap,
    asked: Presets,
    recipe: Mapping[str, Any],
    lines: Mapping[str, LaunchLine],
) -> Gap:
    """Return the gap with what a notebook's launch line and remarks say of its number."""
    source = gap.where.rpartition(":")[0]
    found = remarks(db, source, gap.method)
    line = lines.get(gap.method)
    told = ["a notebook's number, without a run: its fine-tuning is not recorded"]
    if line is None:
        told.append("no launch line of its pre-training is known")
    else:
        config = asked.of(launched(line))
        if refused := asked.refusal(launched(line)):
            told.append(f"its launch line cannot be read: {refused}")
        preset = asked.of(pretraining(gap.method))
        found += differences.of_settings(
            config, preset, part="pre-training", processes=line.processes
        )
        start = line.options.get("resume") or line.options.get("pretrained")
        initial = published_name(start) if start else "random"
        if recipe.get("initial") and initial != recipe["initial"]:
            said = f"{_called(initial)} against {recipe['said']}"
            found.append(Difference("initial weights", "pre-training", said))
    return replace(gap, differences=tuple(differences.ranked(found)), notes=(*gap.notes, *told))


def _notes_of(gap: Gap) -> list[str]:
    said = []
    if gap.low is not None and gap.high is not None and gap.low <= gap.paper <= gap.high:
        said.append("the paper's number is within the 95 % interval over test patients")
    if gap.n == 1:
        said.append("one run: how much seeds move it is not known")
    return said


def _processes(run: runs.Run) -> int:
    return max(1, run.gpus)


def _furthest(gap: Gap) -> tuple[bool, float]:
    better = TASKS[gap.task].better
    behind = (gap.distance or 0.0) * (1 if better == "higher" else -1)
    return gap.distance is None, behind
