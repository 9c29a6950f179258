"""How a plan looks before it is carried out, and what became of it: as lines and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from cxrlab import console, naming, text
from cxrlab.exports import facts
from cxrlab.gpus import memory as gpu_memory
from cxrlab.gpus import words as gpu_words
from cxrlab.lab import Lab
from cxrlab.launch import Launched, Prepared
from cxrlab.naming import what
from cxrlab.queueing import disk
from store import runs
from store.db import Database


def tell_plan(lab: Lab, prepared: Sequence[Prepared], *, as_json: bool) -> None:
    """Print what would be queued, each run with its command, and the scripts for a cluster."""
    written = scripts(lab, prepared)
    if as_json:
        console.facts(
            [planned_facts(one) | {"script": written.get(one.run.id)} for one in prepared]
        )
        return
    for one in prepared:
        there = f"is there already: {one.there.id}, {one.there.state}" if one.there else ""
        why = there or one.step.why
        console.fact(what(one.run) + (f": {why}" if why else ""))
        if not one.there:
            console.fact(f"  {shlex.join(one.run.command)}")
    for text_of in dict.fromkeys(written.values()):
        console.fact(f"\n{text_of.rstrip()}")
    new = sum(one.there is None for one in prepared)
    console.say(f"{text.plural(new, 'run')} would be queued; nothing was")


def tell_space(db: Database, prepared: Sequence[Prepared]) -> None:
    """Say roughly what new runs will take of the disk, where earlier ones like them tell."""
    new = [one.run for one in prepared if not one.there]
    configs = {one.run.folder: one.config for one in prepared}
    if new and (told := disk.Disk(db, configs).told(new)):
        console.say(f"{'it' if len(new) == 1 else 'they'} {told}")


def tell_memory(lab: Lab, db: Database, prepared: Sequence[Prepared]) -> None:
    """Say how much of a GPU new runs will be given, and which take a whole one though they share.

    Of runs that take whole GPUs, and of which nothing is known, nothing is said.
    """
    new = [one.run for one in prepared if not one.there and one.run.gpus]
    demands = gpu_memory.Demands(db, share=lab.settings.gpus.share)
    known = [mib for run in new if (mib := demands.of(run).mib) is not None]
    if known:
        least, most = gpu_words.gib(min(known)), gpu_words.gib(max(known))
        said = most if least == most else f"{least} to {most}"
        console.say(f"{'it needs' if len(known) == 1 else 'each needs'} about {said} of a GPU")
    if len(known) < len(new) and any(run.share for run in new):
        console.say("how much of a GPU is not known; whole ones are taken: `--gpu-memory GIB`")


def scripts(lab: Lab, prepared: Sequence[Prepared]) -> dict[str, str]:
    """Return the script that hands in each new run of Slurm, by the run's id.

    Runs that differ in their seed share one. Only ids are others when they are queued.
    """
    from cxrlab.backends import sbatch

    together: dict[Any, list[runs.NewRun]] = {}
    for one in prepared:
        if one.there is None and one.run.backend == "slurm":
            together.setdefault(sbatch.alike(one.run), []).append(one.run)
    written: dict[str, str] = {}
    for group in together.values():
        name = sbatch.token(group[0].id)
        script = sbatch.script(lab.root, lab.settings.slurm, group, name)
        written |= {run.id: script for run in group}
    return written


def planned_facts(one: Prepared) -> dict[str, Any]:
    """Return one step of a plan as JSON; its `id` is that of the run that is there, or null."""
    if one.there:
        return facts.of_run(one.there) | {"new": False, "why": "is there already"}
    return {
        "id": None,
        "method": one.step.method,
        "task": one.step.task,
        "ratio": one.step.ratio,
        "seed": one.step.seed,
        "state": "planned",
        "reason": one.step.why,
        "preset": one.step.preset,
        "recipe": one.run.recipe,
        "name": naming.name(one.run.command),
        "parent": one.run.parent,
        "gpus": one.run.gpus,
        "gpu_mib": one.run.gpu_mib,
        "share": one.run.share,
        "backend": one.run.backend,
        "nodes": one.run.nodes,
        "command": one.run.command,
        "new": True,
        "why": one.step.why,
    }


def tell_launched(launched: Sequence[Launched], *, wait: bool) -> None:
    """Print a line for each run: its id, what it is, and what became of it."""
    rows = [
        [run.id, what(run), run.state if run.new else f"{run.state}, {run.why}", run.reason]
        for run in launched
    ]
    for line in console.table(["", "", "", ""], rows)[1:]:
        console.fact(line)
    if not wait:
        console.say("`cxrlab runs` lists them, `cxrlab tui` shows them move")


def launched_facts(db: Database, launched: Sequence[Launched]) -> list[dict[str, Any]]:
    """Return the runs as they are now, and for each whether it is new."""
    return [
        facts.of_run(runs.get(db, run.id)) | {"new": run.new, "why": run.why} for run in launched
    ]
