"""What do the answers in the launch form come to: which runs, how long, how large, which recipe?

Each function is called on a thread; the last one asks the trainers and takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from cxrlab import launch, text
from cxrlab import plan as plans
from cxrlab.exports.outlook import left_out_told
from cxrlab.filling import forecast, outlook
from cxrlab.filling.outlook import Outlook
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.launch import Prepared
from cxrlab.naming import what
from cxrlab.queueing import disk
from cxrlab.tui import answers, reading, sentences
from cxrlab.tui.answers import Manner
from cxrlab.tui.words import counted, joined, padded, tr
from trainers.catalog import PRETRAIN

SHOWN = 8
"""Steps of a plan that are listed one by one."""

TOLD = (
    "epochs", "steps", "batch_size", "accum_iter", "lr", "blr", "warmup_epochs", "weight_decay",
    "layer_decay", "image_px", "mask_ratio", "precision",
)  # fmt: skip
"""Settings of a recipe that are told in the form, as far as it has them and they are not 0."""


class Answers(NamedTuple):
    """What stands in the fields, as it was typed."""

    preset: str
    labels: str
    """Percents; empty for all that the task has."""
    seeds: str
    gpus: str
    settings: str
    manner: Manner


class Coming(NamedTuple):
    """A run that is to be, as far as its place on the disk goes by it."""

    method: str
    task: str
    preset: str
    recipe: str
    folder: str


def plan_of(lab: Lab, method: str, task: str, given: Answers) -> plans.Plan:
    """Return what would be queued, by the registry as it is.

    Raises:
        CxrlabError: an answer makes no sense.
    """
    given.manner.check()
    with reading.registry(lab) as db:
        encoder = launch.pretrained_named(db, given.manner.encoder.strip() or "auto")
        wants = [
            want
            for settings in answers.settings_of(given.settings)
            for want in plans.wanted(
                [method],
                [] if task == PRETRAIN else [task],
                ratios=answers.ratios_of(given.labels),
                seeds=answers.seeds_of(given.seeds),
                preset=given.preset,
                overrides=settings,
                pretrained=encoder,
                again=given.manner.again == "on",
            )
        ]
        return plans.plan(wants, launch.pretrainings(db))


def costs_of(lab: Lab, plan: plans.Plan, given: Answers) -> list[tuple[str, str]]:
    """Return in words, each with its label, what a plan takes: GPUs, time, disk."""
    gpus = answers.GPUS[given.gpus]
    backend = given.manner.backend
    each = launch.default_gpus(lab, backend) if gpus is None else gpus
    with reading.registry(lab) as db:
        jobs, spans = outlook.timed(lab, db, plan, preset=given.preset, gpus=each)
        coming = [
            Coming(step.method, step.task, step.preset, "", str(lab.runs_dir))
            for step in plan.steps
        ]
        space = disk.Disk(db).told(coming)
    end = max((span.end for span in spans.values()), default=None)  # on this machine's GPUs
    device = f"{counted(each, 'GPU')}{tr(' each')}" if each else tr("the CPU")
    told = [
        (tr("takes"), device),
        (tr("time"), time_told(jobs, None if backend == "slurm" else end)),
    ]
    unknown = tr("unknown: nothing like it has been saved yet")
    return [*told, (tr("disk"), sentences.said(space) or unknown)]


def lacking_told(found: Outlook) -> list[str]:
    """Return the lines on what would fill a part of the grid: each run, then what cannot be."""
    new = [i for i in found.order if found.jobs[i].state not in forecast.UNDER_WAY]
    names = [what(found.jobs[i]) for i in new]
    width = max(map(cell_len, names), default=0)
    lines = [
        f"{number:>3}  {padded(name, width)}  {text.duration(found.jobs[i].seconds):>7}"
        f"  {sentences.said(found.jobs[i].reason)}".rstrip()
        for number, (i, name) in enumerate(zip(new, names, strict=True), start=1)
    ]
    if found.left_out:
        lines += ["", tr("cannot be made here:")]
        lines += [f"  {sentences.said(line)}" for line in left_out_told(found)]
    if not new and not found.left_out:
        lines.append(tr("nothing is lacking: every cell has its runs"))
    return lines[1:] if lines[:1] == [""] else lines


def sum_told(found: Outlook, space: str) -> str:
    """Return how many runs would be launched, and what they take; empty where there are none."""
    new = [i for i in found.order if found.jobs[i].state not in forecast.UNDER_WAY]
    if not new:
        return ""
    end = max((found.spans[i].end for i in new if i in found.spans), default=None)
    took = time_told([found.jobs[i] for i in new], end, basis=False)
    disk = f"\n{tr('disk')}: {sentences.said(space)}" if space else ""
    runs = tr("{runs} to launch").format(runs=counted(len(new), "run"))
    return f"{runs}{tr('; ')}{tr('time')}: {took}{disk}"


def time_told(jobs: Sequence[forecast.Job], end: float | None, *, basis: bool = True) -> str:
    """Return how long jobs take in all, when the last one ends, and what says so."""
    total = forecast.total(jobs)
    if total.unknown == total.runs:
        return tr("unknown: nothing like it has been measured yet")
    known = [job for job in jobs if job.seconds is not None]
    said = text.duration(total.seconds)
    if len(known) > 1:
        said = tr("{time} in all").format(time=said)
        if end is not None:
            said = joined([said, tr("done in {time}").format(time=text.duration(end))])
    if total.unknown:
        unknown = tr("and {runs} of unknown length")
        said = joined([said, unknown.format(runs=counted(total.unknown, "run"))])
    return f"{said} ({sentences.said(known[0].basis)})" if basis else said


def prepared(lab: Lab, plan: plans.Plan, given: Answers) -> list[Prepared]:
    """Return the plan with the configurations that its trainers resolve. Takes seconds.

    Raises:
        CxrlabError: data is missing, or a trainer refuses its settings.
    """
    with reading.registry(lab) as db:
        ready = given.manner.prepared(lab, db, plan, gpus=answers.GPUS[given.gpus])
    on_oom = given.manner.on_oom_of(lab)
    if on_oom is not None:
        launch.check_on_oom(on_oom, ready)
    return ready


def recipes(ready: Sequence[Prepared]) -> dict[str, list[Prepared]]:
    """Return the runs by their recipe, in their order."""
    found: dict[str, list[Prepared]] = {}
    for one in ready:
        found.setdefault(one.run.recipe, []).append(one)
    return found


def recipes_told(ready: Sequence[Prepared]) -> str:
    """Return the recipes in a few words: what they are of, and their main settings."""
    parts = []
    for recipe, alike in recipes(ready).items():
        first = alike[0]
        there = [one.there.id for one in alike if one.there]
        had = f"{tr(', ')}{tr('is there already:')} {', '.join(there)}" if there else ""
        parts.append(f"{recipe[:8]} {first.run.method} {first.run.task}{had}: {main(first.config)}")
    return "\n".join(parts)


def main(config: Mapping[str, Any]) -> str:
    """Return the main settings of a configuration in a line."""
    known = ((key, config.get(key)) for key in TOLD)
    return " ".join(f"{key}={value}" for key, value in known if value not in (None, "", 0, 0.0))


def recipes_in_full(ready: Sequence[Prepared]) -> list[str]:
    """Return every setting of every recipe, a line each."""
    lines: list[str] = []
    for recipe, alike in recipes(ready).items():
        first = alike[0]
        what = f"{first.run.method} {first.run.task}"
        lines += ["", joined([what, f"{tr('recipe')} {recipe}"])]
        width = max(map(cell_len, first.config))
        lines += [f"  {padded(key, width)}  {value}" for key, value in first.config.items()]
    return lines[1:]


def listed(steps: Sequence[plans.Step]) -> Text:
    """Return the steps of a plan in order, each with why it is there."""
    said = Text(f"{tr('what runs, in this order')}\n", "dim")
    for number, step in enumerate(steps[:SHOWN], start=1):
        own = "".join(f" {key}={value}" for key, value in step.overrides)
        said.append(f" {number}  ").append(f"{step.cell}{harmless(own)}", "bold")
        if step.why:
            said.append(f"\n    {harmless(sentences.said(step.why))}", "dim")
        said.append("\n")
    if len(steps) > SHOWN:
        more = tr("and {n} more").format(n=len(steps) - SHOWN)
        said.append(f"    {more}\n")
    said.append(tr("what the lab has already is not run again"), "dim")
    return said


def facts_told(told: Sequence[tuple[str, str]]) -> Table:
    """Return labelled facts; what is too long for a line goes on beside its label."""
    said = Table.grid(padding=(0, 2, 0, 0))
    said.add_column(style="dim", no_wrap=True)
    said.add_column(overflow="fold")
    for label, fact in told:
        said.add_row(label, Text("\n".join(map(harmless, fact.splitlines()))))
    return said
