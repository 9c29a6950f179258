"""How is a plan carried out?

A plan becomes runs in three moves: each trainer is asked once for its configuration (so a setting
that cannot work is known before anything is queued), the folders are made, the rows are added in
one transaction. Starting them is the agent's matter.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import gpus as gpu_readings
from cxrlab import mending as mendings
from cxrlab import naming, ownership, programs, refresh, runner
from cxrlab import plan as plans
from cxrlab.code import frozen
from cxrlab.errors import CxrlabError, NotFound, Usage
from cxrlab.grid import FOREIGN
from cxrlab.lab import Lab
from store import artifacts, mending, runs
from store.db import Database
from trainers import catalog

ENCODER = Path("checkpoints/encoder.pt")
EPOCH = "checkpoints/epoch_{}.pt"
"""An encoder that a pre-training keeps on its way."""

_OF_EPOCH = re.compile(r"^epoch_(\d+)\.pt$")


class Prepared(NamedTuple):
    """A step with everything that its run needs."""

    step: plans.Step
    run: runs.NewRun
    config: dict[str, Any]
    there: runs.Run | None
    """The run of this lab that stands for it already."""


class Launched(NamedTuple):
    """What became of a step: the run that stands for it."""

    id: str
    method: str
    task: str
    ratio: int | None
    seed: int
    state: str
    reason: str
    new: bool
    why: str
    command: list[str]


def pretrainings(db: Database, named: str = "auto") -> list[plans.Pretraining]:
    """Return the pre-trainings that a fine-tuning may start from, the newest first.

    Args:
        db: the registry.
        named: what `pretrained_named` gave; an epoch that a run has kept comes last.
    """
    run_id, at, epoch = named.partition("@")
    kept = [_kept(runs.get(db, run_id), epoch)] if at and not Path(named).is_absolute() else []
    finished = runs.select(db, states=("succeeded",), task=catalog.PRETRAIN)
    finished.sort(key=lambda run: run.ended or 0.0, reverse=True)
    coming = runs.select(db, states=("queued", "blocked", "running"), task=catalog.PRETRAIN)
    # one that was made elsewhere has left its curves here, and no encoder
    found = [
        pretraining_of(run)
        for run in (*finished, *coming)
        if run.preset != FOREIGN and not _without_encoder(run)
    ]
    return found + kept


def pretrained_named(db: Database, text: str) -> str:
    """Return `--pretrained` as a plan takes it: `auto`, an absolute path, `RUN` or `RUN@EPOCH`.

    What a run has kept of an epoch is there whatever became of the run.

    Raises:
        NotFound: neither a file nor a run is called so, or the run has not kept that epoch.
        Usage: the run is no pre-training that is finished or under way.
    """
    if text == "auto":
        return text
    path = Path(text).expanduser()
    if path.is_file():
        return str(path.resolve())
    name, _, epoch = text.partition("@")
    try:
        run = runs.find(db, name)
    except runs.NoSuchRun:
        raise NotFound(f"`--pretrained {text}`: neither a run nor a file") from None
    if run.task != catalog.PRETRAIN:
        raise Usage(f"`--pretrained {text}`: {run.id} is a {run.task} run, not a pre-training")
    if run.preset == FOREIGN:
        raise Usage(
            f"`--pretrained {text}`: {run.id} was made elsewhere, and its encoder is not here",
            "name the file of its weights",
        )
    if "@" in text:
        return f"{run.id}@{_epoch(run, epoch, text)}"
    if _without_encoder(run):
        raise Usage(
            f"`--pretrained {text}`: the encoder of {run.id} was removed to keep within the budget",
            "name the newer run that repeats it; `cxrlab runs --task pretrain` lists both",
        )
    if run.state not in runs.THERE:
        raise Usage(
            f"`--pretrained {text}`: {run.id} is {run.state} and has no encoder",
            f"`cxrlab resume {run.id}` goes on with it",
        )
    return run.id


def _epoch(run: runs.Run, epoch: str, text: str) -> str:
    """Return an epoch of which a pre-training has kept its encoder.

    Raises:
        NotFound: it has not.
    """
    files = (Path(run.folder) / EPOCH).parent.glob(Path(EPOCH).name.format("*"))
    kept = sorted(int(found[1]) for file in files if (found := _OF_EPOCH.search(file.name)))
    if epoch in map(str, kept):
        return epoch
    there = ", ".join(map(str, kept))
    raise NotFound(
        f"`--pretrained {text}`: {run.id} has kept no epoch `{epoch}`",
        f"it has {there}" if there else "`cxrlab launch METHOD --set keep_every=N` keeps them",
    )


def _without_encoder(run: runs.Run) -> bool:
    """Return whether the encoder of a pre-training was removed to keep within a budget."""
    folder = Path(run.folder)
    removed = artifacts.removed_of(folder) if run.state == "succeeded" else {}
    return str(ENCODER) in removed and not (folder / ENCODER).exists()


class Where(NamedTuple):
    """Who starts runs, on how many nodes; None for as the lab says, and for one node."""

    backend: str | None = None
    nodes: int | None = None


ASKING = "asking the trainers what it comes to"
"""What takes some seconds when runs are prepared."""

HERE = Where()
"""As the lab says."""


def prepare(
    lab: Lab,
    db: Database,
    plan: plans.Plan,
    *,
    gpus: int | None = None,
    priority: int = 0,
    where: Where = HERE,
) -> list[Prepared]:
    """Give every step its command and resolved configuration; writes nothing.

    Takes some seconds: the trainers are asked once for each command, seeds aside.

    Args:
        lab: where the runs will be.
        db: its registry, open.
        plan: what to queue.
        gpus: how many GPUs a run takes, on each node; 0 is the CPU; None takes one where there
            are any.
        priority: of all its runs; higher ones start first.
        where: who starts them.

    Raises:
        Usage: several nodes without a cluster.
        CxrlabError: data is missing, or a trainer refused its settings; exit code as it gave it.
    """
    backend, nodes = where.backend or lab.settings.launch.backend, where.nodes or 1
    if backend == "local" and nodes > 1:
        raise Usage(f"`--nodes {nodes}`: this machine is one node", "`--backend slurm` has more")
    number = default_gpus(lab, backend) if gpus is None else gpus
    placed = Where(backend, nodes)
    prepared: dict[int, Prepared] = {}
    with programs.Trainers(lab) as trainers:
        for waits in (False, True):  # a recipe contains that of the encoder, so these come second
            group = [i for i, step in enumerate(plan.steps) if (step.after is not None) == waits]
            made = [
                _new_run(lab, plan.steps[i], gpus=number, where=placed, earlier=prepared)
                for i in group
            ]
            answers = trainers.ask([run.command for run in made])
            for index, run, answer in zip(group, made, answers, strict=True):
                run = run._replace(recipe=str(answer["recipe"]), priority=priority)
                there = None if plan.steps[index].again else standing(db, run)
                prepared[index] = Prepared(plan.steps[index], run, _placed(answer, run), there)
    return [prepared[index] for index in sorted(prepared)]


def asking(
    prepared: Sequence[Prepared], *, gpu_gib: float | None = None, share: bool | None = None
) -> list[Prepared]:
    """Return what was prepared with what its runs ask of a GPU; None for as learnt, as the lab."""
    mib = None if gpu_gib is None else math.ceil(gpu_gib * 1024)
    return [one._replace(run=one.run._replace(gpu_mib=mib, share=share)) for one in prepared]


def carry_out(
    lab: Lab,
    db: Database,
    plan: plans.Plan,
    *,
    gpus: int | None = None,
    priority: int = 0,
    where: Where = HERE,
) -> list[Launched]:
    """Queue what a plan asks for and the lab does not have, and say what became of each step.

    Whether a run is there already is decided under the write lock, so any number of callers at
    once queue it only once. The agent is not started here.

    Raises:
        CxrlabError: see `prepare`; nothing is queued then.
    """
    return queue(lab, db, prepare(lab, db, plan, gpus=gpus, priority=priority, where=where))


def queue(lab: Lab, db: Database, prepared: Sequence[Prepared]) -> list[Launched]:
    """Make the folders of what was prepared, and add the rows in one transaction.

    Raises:
        NotYours: the lab is somebody else's; nothing has been made in it.
    """
    ownership.check(lab)
    added: list[str] = []
    try:
        with frozen.door(lab):
            code = frozen.freeze(lab)
            for one in prepared:
                make_folder(lab, one.run, one.config, code)
        again = {one.run.id for one in prepared if one.step.again}
        added = runs.add_unless_there(db, [one.run for one in prepared], again=again)
    finally:
        for one in prepared:
            if one.run.id not in added:
                shutil.rmtree(one.run.folder, ignore_errors=True)
    if not added and prepared:
        frozen.release(lab, [code.digest])
    launched = []
    for one in prepared:
        new = one.run.id in added
        run = runs.get(db, one.run.id) if new else standing(db, one.run)
        if run is None:  # the one that stood for it has failed this very moment
            raise CxrlabError(f"{one.step.cell}: another run of it has just ended; try again")
        if new and run.command != one.run.command:  # another launch was first with its encoder
            make_folder(lab, one.run._replace(command=run.command), one.config, code)
        why = one.step.why if new else "is there already"
        facts = (run.id, run.method, run.task, run.ratio, run.seed, run.state)
        waits = refresh.TURN if run.state == "queued" else ""
        launched.append(Launched(*facts, run.reason or waits, new, why, run.command))
    return launched


def check_on_oom(on_oom: str, prepared: Sequence[Prepared]) -> None:
    """Refuse to cut the micro-batches of a pre-training whose loss compares their records.

    Raises:
        Usage: one of these is such.
    """
    for one in prepared:
        if on_oom == "halve" and not may_halve(one):
            raise Usage(mendings.refusal(one.run.method), "leave it out")


def may_halve(one: Prepared) -> bool:
    """Tell whether micro-batches may be cut: not where a pre-training's loss compares records."""
    of_catalog = catalog.METHODS[one.run.method].compares and one.run.task == catalog.PRETRAIN
    return not of_catalog and one.config.get("contrast", "none") == "none"


def note_on_oom(db: Database, on_oom: str, launched: Sequence[Launched]) -> None:
    """Note for new runs what to do where a GPU has too little memory."""
    for run in launched:
        if run.new:
            mending.begin_anew(db, run.id, on_oom=on_oom)


def pretraining_of(run: runs.Run, path: str = "") -> plans.Pretraining:
    """Return a run as what a fine-tuning starts from, by the path of its encoder where one says."""
    if found := _OF_EPOCH.search(Path(path).name):
        return _kept(run, found[1])
    encoder = str(Path(run.folder) / ENCODER)
    told = naming.name(run.command, longest=naming.LONGEST)
    facts = (run.id, run.method, run.preset, run.state, encoder, run.recipe)
    return plans.Pretraining(*facts, settings=told)


def _kept(run: runs.Run, epoch: str) -> plans.Pretraining:
    path = Path(run.folder) / EPOCH.format(epoch)
    # as a trainer names it: another encoder than what became of it
    recipe = f"{run.recipe}@{path.stem}"
    facts = (run.id, run.method, run.preset, run.state, str(path), recipe)
    return plans.Pretraining(*facts, epoch=epoch)


def standing(db: Database, run: runs.NewRun) -> runs.Run | None:
    """Return the newest run that makes `run` superfluous, by the registry's own rule."""
    key = (run.ratio, run.seed, run.recipe)
    for other in runs.select(db, states=runs.THERE, method=run.method, task=run.task):
        if (other.ratio, other.seed, other.recipe) == key:
            return other
    return None


def default_gpus(lab: Lab, backend: str = "local") -> int:
    """Return how many GPUs a run takes where nothing is said: one where there is one.

    Also where GPUs are there and cannot be read now: a run that waits for one says so, and is
    better than one that takes days on the CPU.
    """
    if backend == "slurm":
        return lab.settings.slurm.gpus_per_node
    launch = lab.settings.launch
    if launch.gpus in (0, ()):
        return 0
    reading = gpu_readings.read_gpus()
    usable = [g for g in reading.gpus if launch.may_use(g.index, g.uuid) and not g.mig]
    return int(bool(usable) or not reading.known)


def _new_run(
    lab: Lab, step: plans.Step, *, gpus: int, where: Where, earlier: Mapping[int, Prepared]
) -> runs.NewRun:
    """Return the run of one step; its recipe is not known yet."""
    id = runs.new_id()
    ratio = "" if step.ratio is None else f"-{step.ratio}"
    folder = lab.runs_dir / f"{id}-{step.method}-{step.task}{ratio}-s{step.seed}"
    encoder = step.encoder if step.after is None else _encoder_to_come(earlier[step.after])
    backend, nodes = where.backend or "local", where.nodes or 1
    machine = programs.Machine(gpus, nodes, programs.threads_of(lab, backend, gpus))
    return runs.NewRun(
        id=id,
        method=step.method,
        task=step.task,
        ratio=step.ratio,
        seed=step.seed,
        preset=step.preset,
        recipe="",
        folder=str(folder),
        parent=encoder.run_id if encoder else None,
        command=programs.command(lab, step, encoder, folder=folder, machine=machine),
        gpus=gpus,
        needs=(encoder.run_id,) if encoder and not encoder.epoch else (),
        backend=backend,
        nodes=nodes,
    )


def _encoder_to_come(first: Prepared) -> plans.Pretraining:
    run = first.there or first.run
    state = first.there.state if first.there else "queued"
    path = str(Path(run.folder) / ENCODER)
    return plans.Pretraining(run.id, run.method, run.preset, state, path, first.run.recipe)


def _placed(config: dict[str, Any], run: runs.NewRun) -> dict[str, Any]:
    """Return the configuration with what distinguishes this run from the one asked about."""
    command = run.command
    own: dict[str, Any] = {"seed": run.seed, "output_dir": run.folder}
    if "--pretrained" in command:
        own["pretrained"] = command[command.index("--pretrained") + 1]
    return {**config, **own}


def make_folder(lab: Lab, run: runs.NewRun, config: dict[str, Any], code: frozen.Code) -> None:
    """Make the folder of a run that is to be queued, with all that is known before it starts."""
    folder = Path(run.folder)
    lab.make_folder(folder)
    with lab.creating():
        _fill_folder(folder, run, config, code)


def _fill_folder(folder: Path, run: runs.NewRun, config: dict[str, Any], code: frozen.Code) -> None:
    text = json.dumps(_placed(config, run), indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    frozen.note(folder, code, own="--" in run.command)
    line = frozen.line(folder, run.command)
    (folder / "command.txt").write_text(line + "\n", encoding="utf-8")
    (folder / runner.LOG_NAME).touch()
