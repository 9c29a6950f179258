"""Which runs does a set of cells need, and which wait for which? Touches nothing.

Every name is checked against the catalog. Two runs that a lab already has are told apart by their
recipe, which only a trainer can work out: so what is there already is left out later, when the
plan is carried out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cxrlab.errors import Usage, unknown_name
from trainers import catalog

RESERVED = {
    "method": "METHOD",
    "model": "METHOD",
    "task": "--task",
    "ratio": "--ratio",
    "seed": "--seed",
    "preset": "--preset",
    "pretrained": "--pretrained",
    "encoder_recipe": "--pretrained",
    "device": "--gpus",
    "output_dir": "",
    "resume": "",
    "config": "",
    "print_config": "",
}
"""Settings that `--set` does not take, with the option that does."""

Overrides = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Want:
    """A cell's run as it was asked for; `ratio` is None for a pre-training."""

    method: str
    task: str
    ratio: int | None = None
    seed: int = 0
    preset: str = "paper"
    overrides: Overrides = ()
    pretrained: str = "auto"
    """`auto`, a pre-training of this lab (`RUN`, or `RUN@EPOCH`), or the path of weights."""
    pretrain_overrides: Overrides = ()
    """Settings of the pre-training that has to come first."""
    again: bool = False
    """Whether it is wanted although the lab has it."""


class Pretraining(NamedTuple):
    """A pre-training that the lab has: finished, waiting or under way; or what one has kept."""

    run_id: str
    method: str
    preset: str
    state: str
    encoder: str
    """Path of its encoder, which is not there before it has succeeded."""
    recipe: str
    epoch: str = ""
    """Of which epoch the encoder was kept on the way, and so is there whatever becomes of it."""
    settings: str = ""
    """What it was told beyond its preset: `epochs=2`."""

    @property
    def name(self) -> str:
        """What it is called: its run, and the epoch where it was kept on the way."""
        return f"{self.run_id}@{self.epoch}" if self.epoch else self.run_id


@dataclass(frozen=True)
class Step:
    """One run to queue."""

    method: str
    task: str
    ratio: int | None
    seed: int
    preset: str
    overrides: Overrides = ()
    weights: str = ""
    """Path of weights that no run of this lab made."""
    encoder: Pretraining | None = None
    """The run of this lab whose encoder it starts from."""
    after: int | None = None
    """The index, in this plan, of the pre-training whose encoder it starts from."""
    why: str = ""
    again: bool = False
    """Whether it is queued although the lab has it."""

    @property
    def cell(self) -> str:
        """The step in words: `deep_mrm siim 10 % seed 0`."""
        ratio = "" if self.ratio is None else f" {self.ratio} %"
        return f"{self.method} {self.task}{ratio} seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """Runs in the order in which they are queued; those waited for come first."""

    steps: tuple[Step, ...] = field(default=())


def wanted(
    methods: Sequence[str],
    tasks: Sequence[str],
    *,
    ratios: Sequence[int] = (),
    seeds: Sequence[int] = (0,),
    preset: str = "paper",
    overrides: Overrides = (),
    pretrained: str = "auto",
    again: bool = False,
) -> list[Want]:
    """Return every run that methods x tasks x ratios x seeds asks for.

    No task means pre-training. No ratio means all that the catalog lists for the task. A setting
    `KEY` goes to all runs that are asked for, `TASK.KEY` to those of one task alone, and
    `pretrain.KEY` to the pre-training, also to one that only comes along. What only comes along is
    not wanted `again`.

    Raises:
        NotFound: a method or task is not called so.
        Usage: a combination that makes no sense, or a setting that has an option of its own.
    """
    known = (catalog.PRETRAIN, *catalog.TASKS)
    for method in methods:
        if method not in catalog.METHODS:
            raise unknown_name("method", method, catalog.METHODS)
    for task in tasks:
        if task not in known:
            raise unknown_name("task", task, known)
    chosen = list(dict.fromkeys(tasks)) or [catalog.PRETRAIN]
    _check_ratios(chosen, ratios)
    found = []
    for method in dict.fromkeys(methods):
        for task in chosen:
            _check_pretrains(method, task)
            own = settings_of(task, overrides)
            before = settings_of(catalog.PRETRAIN, [s for s in overrides if "." in s[0]])
            shares = _ratios_of(task, ratios)
            found += [
                Want(
                    method,
                    task,
                    ratio,
                    seed,
                    preset,
                    overrides=own,
                    pretrained=pretrained,
                    pretrain_overrides=() if task == catalog.PRETRAIN else before,
                    again=again,
                )
                for ratio in shares
                for seed in dict.fromkeys(seeds)
            ]
    return found


def plan(wants: Sequence[Want], pretrainings: Sequence[Pretraining]) -> Plan:
    """Return the runs to queue: for each want its own, and before it what it has to wait for.

    A fine-tuning starts from the newest finished pre-training of its method and preset, else from
    one that waits or runs, else one is put first. A pre-training with settings of its own is
    always put first; where the lab has that very one, carrying out finds it.

    Args:
        wants: what was asked for.
        pretrainings: what the lab has, newest first.
    """
    steps: dict[Step, int] = {}
    for want in wants:
        if want.task == catalog.PRETRAIN:
            _place(steps, _step(want))
    asked = len(steps)
    first = list(steps)  # the pre-trainings, so that those of a method are found among few
    for want in wants:
        if want.task != catalog.PRETRAIN:
            step = _step(want)
            if want.pretrained == "auto" and catalog.METHODS[want.method].pretrains:
                step = _with_encoder(want, step, pretrainings, steps, first, asked=asked)
            elif want.pretrained != "auto":
                _check_takes_weights(want.method)
                step = _with_given(want, step, pretrainings)
            elif name := catalog.METHODS[want.method].weights:
                step = replace(step, why=f"starts from the published weights `{name}`")
            _place(steps, step)
    return Plan(tuple(steps))


def _step(want: Want) -> Step:
    weights = "" if want.pretrained == "auto" or want.task != catalog.PRETRAIN else want.pretrained
    return Step(
        want.method,
        want.task,
        want.ratio,
        want.seed,
        want.preset,
        overrides=want.overrides,
        weights=weights,
        again=want.again,
    )


def _place(steps: dict[Step, int], step: Step) -> int:
    """Return the step's index, after adding it where it is new."""
    return steps.setdefault(step, len(steps))


def _with_given(want: Want, step: Step, have: Sequence[Pretraining]) -> Step:
    for known in have:
        if known.name == want.pretrained:
            return replace(step, encoder=known, why=f"starts from {known.name}")
    return replace(step, weights=want.pretrained, why=f"starts from {want.pretrained}")


def _with_encoder(
    want: Want,
    step: Step,
    have: Sequence[Pretraining],
    steps: dict[Step, int],
    first: list[Step],
    *,
    asked: int,
) -> Step:
    """Return the step with the pre-training it starts from, which may be added to both lists.

    The first `asked` of `steps` were asked for, whatever their settings.
    """
    coming = [
        steps[other]
        for other in first
        if (other.method, other.preset) == (want.method, want.preset)
        and (steps[other] < asked or other.overrides == want.pretrain_overrides)
    ]
    if not coming and not want.pretrain_overrides:
        for states in (("succeeded",), ("running", "queued", "blocked")):
            for known in have:
                if (known.method, known.preset, known.epoch) == (want.method, want.preset, "") and (
                    known.state in states
                ):
                    done = known.state == "succeeded"
                    told = f" ({known.settings})" if known.settings else ""  # nobody named it
                    why = f"{'starts from' if done else 'waits for'} {known.run_id}{told}"
                    return replace(step, encoder=known, why=why)
    if not coming:
        before = Step(
            want.method,
            catalog.PRETRAIN,
            None,
            0,
            want.preset,
            overrides=want.pretrain_overrides,
            why=f"no pre-training of {want.method} ({want.preset}) is finished",
        )
        coming = [_place(steps, before)]
        first.append(before)
    return replace(step, after=coming[0], why="waits for its pre-training")


def settings_of(task: str, overrides: Iterable[tuple[str, str]]) -> Overrides:
    """Return the settings that go to runs of `task`, without the task in front.

    Raises:
        NotFound: no task is called as one in front of a setting.
        Usage: a setting has an option of its own.
    """
    own = {}
    for key, value in overrides:
        where, dot, name = key.rpartition(".")
        if dot and where not in (catalog.PRETRAIN, *catalog.TASKS):
            raise unknown_name("task", where, (catalog.PRETRAIN, *catalog.TASKS))
        plain = name.replace("-", "_").lstrip("_")
        if not plain:
            raise Usage(f"`--set {key}={value}` names no setting", "write `--set KEY=VALUE`")
        if plain in RESERVED:
            instead = RESERVED[plain]
            hint = f"`{instead}` does that" if instead else "cxrlab sets it for each run"
            raise Usage(f"`{plain}` cannot be given with `--set`", hint)
        if not dot or where == task:
            own[plain] = value
    return tuple(own.items())


def _ratios_of(task: str, ratios: Sequence[int]) -> list[int | None]:
    if task == catalog.PRETRAIN:
        return [None]
    known = catalog.TASKS[task].ratios
    return [ratio for ratio in dict.fromkeys(ratios or known) if ratio in known]


def _check_ratios(tasks: Sequence[str], ratios: Sequence[int]) -> None:
    """Refuse a ratio that none of the tasks has, and a task that has none of the ratios."""
    judged = [task for task in tasks if task != catalog.PRETRAIN]
    if ratios and not judged:
        raise Usage("`--ratio` needs a task", f"add `--task`: {', '.join(catalog.TASKS)}")
    known = {ratio for task in judged for ratio in catalog.TASKS[task].ratios}
    for ratio in ratios:
        if ratio not in known:
            listed = ", ".join(str(r) for r in sorted(known))
            raise Usage(f"{' and '.join(judged)}: no ratio {ratio}", f"there are {listed}")
    for task in judged:
        if not _ratios_of(task, ratios):
            listed = ", ".join(str(r) for r in catalog.TASKS[task].ratios)
            raise Usage(f"{task}: none of the ratios given", f"there are {listed}")


def _check_takes_weights(method: str) -> None:
    entry = catalog.METHODS[method]
    if not entry.pretrains and not entry.weights:
        raise Usage(
            f"`{method}` is an encoder that has learned nothing: it takes no `--pretrained`",
            "name the method whose weights they are",
        )


def _check_pretrains(method: str, task: str) -> None:
    if task == catalog.PRETRAIN and not catalog.METHODS[method].pretrains:
        raise Usage(
            f"`{method}` is not pre-trained", f"name a task: `--task {next(iter(catalog.TASKS))}`"
        )
