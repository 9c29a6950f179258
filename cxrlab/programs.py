"""How is a trainer called, and what does it make of its options?

A command is a list of words, never a shell's line, and says everything: settings of the lab are
turned into options here, so that a trainer never reads them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import ownership
from cxrlab import plan as plans
from cxrlab.assets import copies, weights
from cxrlab.errors import BadInput, CxrlabError, NotFound, Usage
from cxrlab.lab import Lab
from cxrlab.settings import LaunchSettings
from trainers import catalog

PLACES = ("seed", "output_dir")
"""Options that tell runs of one command apart without changing what is resolved from it."""

_RESOLVED_TOGETHER = ("trainers.pretrain", "trainers.finetune")
_ASK_LIMIT_S = 600.0


class Machine(NamedTuple):
    """What a run's processes have: each node so many GPUs, each process so many threads."""

    gpus: int
    """0 is the CPU; several, like several nodes, are `torchrun`'s matter."""
    nodes: int
    threads: int


def threads_of(lab: Lab, backend: str, gpus: int) -> int:
    """Return how many CPU threads each process of a run has."""
    if backend == "local":
        return lab.settings.launch.threads
    return max(1, lab.settings.slurm.cpus_per_task // max(1, gpus))


def command(
    lab: Lab, step: plans.Step, encoder: plans.Pretraining | None, *, folder: Path, machine: Machine
) -> list[str]:
    """Return the command line of a step's run.

    Args:
        lab: says which program it is, and where the data lie.
        step: what is trained.
        encoder: the run whose encoder it starts from.
        folder: its run folder.
        machine: what it runs on.

    Raises:
        NotFound: the data or the published weights that it needs are not there.
    """
    return [
        *_program(lab, step, machine),
        *_options(lab, step, encoder, folder=folder, machine=machine),
    ]


class Trainers:
    """Those who are asked what commands come to.

    The project's own answer in one process, which imports torch once, when it is first asked, and
    ends with the `with` statement; a program named in the settings is asked by `--print-config`.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._own: subprocess.Popen[str] | None = None
        self._complaints = tempfile.TemporaryFile(  # noqa: SIM115 - `__exit__` closes it
            "w+", encoding="utf-8", errors="replace"
        )

    def __enter__(self) -> Trainers:
        return self

    def __exit__(self, *error: object) -> None:
        if self._own is not None:
            self._own.kill()  # it only answers
            self._own.communicate()
        self._complaints.close()

    def ask(self, commands: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """Return what each command comes to; those that differ in `PLACES` alone are asked once.

        Raises:
            Usage: a trainer refused its settings (exit 2); the message is its own.
            NotFound: something is not there (exit 3).
            BadInput: data or weights are not what they should be (exit 4).
            CxrlabError: it broke down.
        """
        questions = {_question(command): _alone(command) for command in commands}
        known = {}
        for key, line in questions.items():
            if _module(line) in _RESOLVED_TOGETHER:
                known[key] = self._answer(line)
            else:
                known[key] = resolve_configuration(self._lab, line)
        return [known[_question(command)] for command in commands]

    def _answer(self, line: Sequence[str]) -> dict[str, Any]:
        command = [sys.executable, "-P", "-m", "trainers.resolve"]
        if self._own is None:
            self._own = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                text=True,
                cwd=self._lab.root,
                env=_environment(),
            )
        own = self._own
        assert own.stdin is not None
        assert own.stdout is not None
        limit = threading.Timer(_ASK_LIMIT_S, own.kill)
        limit.start()
        try:
            with contextlib.suppress(BrokenPipeError):  # what it said of its end is told below
                own.stdin.write(json.dumps(line[line.index("-m") + 1 :]) + "\n")
                own.stdin.flush()
            said = own.stdout.readline()
        finally:
            limit.cancel()
        if not said:
            code = own.wait()
            self._complaints.seek(0)
            last = self._complaints.read().strip().splitlines()[-1:] or [f"exit status {code}"]
            raise _refusal(code, last[0], command)
        answer: dict[str, Any] = json.loads(said)
        if "error" in answer:
            raise _refusal(answer["code"], answer["error"], line)
        return answer


def ask_all(lab: Lab, commands: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return what each command comes to, where one question needs no answer of another.

    Raises:
        CxrlabError: see `Trainers.ask`.
    """
    with Trainers(lab) as trainers:
        return trainers.ask(commands)


def resolve_configuration(lab: Lab, command: Sequence[str]) -> dict[str, Any]:
    """Ask one trainer by `--print-config` what its command line comes to.

    Raises:
        CxrlabError: see `Trainers.ask`.
    """
    return answer_of(lab, [*command, "--print-config"], wanted="configuration", key="recipe")


def answer_of(
    lab: Lab, command: Sequence[str], *, wanted: str, key: str, given: str = ""
) -> dict[str, Any]:
    """Return the JSON object that a program of the trainers prints.

    Args:
        lab: where it runs.
        command: the program with its options.
        wanted: what an error calls the answer.
        key: what the answer must hold.
        given: what the program reads on its standard input.

    Raises:
        CxrlabError: see `Trainers.ask`.
    """
    done = _run(lab, command, given=given)
    if done.returncode == 0:
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and key in answer:
            return answer
        raise CxrlabError(f"no {wanted} came from {shlex.join(command)}")
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else "")
    message = said.removeprefix("error: ").strip() or f"exit status {done.returncode}"
    raise _refusal(done.returncode, message, command)


def _run(lab: Lab, command: Sequence[str], *, given: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            list(command),
            input=given,
            capture_output=True,
            text=True,
            cwd=lab.root,
            env=_environment(),
            timeout=_ASK_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CxrlabError(
            f"no answer within {_ASK_LIMIT_S:.0f} s from {shlex.join(command)}"
        ) from None


def _environment() -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONSAFEPATH": "1"}


def _refusal(code: int, message: str, command: Sequence[str]) -> CxrlabError:
    kinds: dict[int, type[CxrlabError]] = {2: Usage, 3: NotFound, 4: BadInput}
    if code in kinds:
        return kinds[code](message, _where_to_look(message, command))
    return CxrlabError(f"the trainer broke down: {message}", f"try {shlex.join(command)}")


def _where_to_look(message: str, command: Sequence[str]) -> str:
    """Return what lists the settings of a trainer that knows none of a name; else nothing."""
    unknown = re.match(r"no setting is called `([^`]+)`", message)
    module = _module(command)
    if not unknown or module not in _RESOLVED_TOGETHER:
        return ""
    option = "--task" if "--task" in command else "--method"
    whose = command[command.index(option) + 1]
    listed = f"`python -m {module} {option} {whose} --help` lists those of {whose}"
    if option == "--method":
        return listed
    return f"{listed}; `--set pretrain.{unknown[1]}=...` goes to the pre-training before it"


def _module(command: Sequence[str]) -> str:
    return command[command.index("-m") + 1] if "-m" in command else ""


def _program(lab: Lab, step: plans.Step, machine: Machine) -> list[str]:
    """Return how the trainer is started: a list, never a shell's line."""
    settings = lab.settings.launch
    pretrains = step.task == catalog.PRETRAIN
    name = settings.pretrain_program if pretrains else settings.finetune_program
    if name not in (LaunchSettings.pretrain_program, LaunchSettings.finetune_program):
        ownership.check(lab)  # a program that somebody else names is not run
    target = [name] if name.endswith(".py") else ["-m", name]
    if machine.gpus < 2 and machine.nodes < 2:
        return [sys.executable, "-P", *target]
    each = max(1, machine.gpus)
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={each}"]
    return [sys.executable, "-P", *torchrun, *target]


def _options(
    lab: Lab, step: plans.Step, encoder: plans.Pretraining | None, *, folder: Path, machine: Machine
) -> list[str]:
    given = dict(step.overrides)
    options: dict[str, str] = {}
    if step.task != catalog.PRETRAIN:
        options["task"] = step.task
    options["method"] = step.method
    if encoder:
        options |= {"pretrained": encoder.encoder, "encoder_recipe": encoder.recipe}
    elif step.weights:
        options["pretrained"] = step.weights
    elif catalog.METHODS[step.method].weights:
        options["pretrained"] = str(weights.of_method(lab, step.method))
    if step.ratio is not None:
        options["ratio"] = str(step.ratio)
    options["preset"] = step.preset
    learns = step.task == catalog.PRETRAIN and catalog.METHODS[step.method].teacher
    if learns and "teacher" not in given:
        options["teacher"] = str(weights.teacher_of(lab, step.method))
    if "data_path" not in given:
        options |= _data_options(lab, step.task)
    options |= {
        "output_dir": str(folder),
        "seed": str(step.seed),
        "device": "cuda" if machine.gpus else "cpu",
        "threads": str(machine.threads),
    }
    spelled = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [*spelled, *(_spelled(name, value) for name, value in given.items())]


def _spelled(name: str, value: str) -> str:
    """Write one `--set`; what is on or off is an option without a value."""
    if value.lower() in ("true", "false"):
        return f"--{name}" if value.lower() == "true" else f"--no_{name}"
    return f"--{name}={value}"


def _data_options(lab: Lab, task: str) -> dict[str, str]:
    """Return where the data of a task lie and what they are called; a prepared copy comes first."""
    pretrains = task == catalog.PRETRAIN
    name = (catalog.PRETRAIN_ENTRY if pretrains else catalog.TASKS[task]).dataset
    known = lab.settings.data.get(name)
    if known is None:
        raise NotFound(
            f"{lab.settings_file} does not say where `{name}` lies, which {task} needs",
            f'add `[data.{name}]` with `root = "/where/it/lies"`',
        )
    copy = copies.to_read(lab, name) if pretrains else None
    if copy is None and not known.root.is_dir():
        raise NotFound(
            f"{known.root} is no folder; `{name}` should lie there",
            f"change `[data.{name}] root` in {lab.settings_file}",
        )
    version = {"data_version": known.version} if known.version else {}
    return {"data_path": str(copy.folder if copy else known.root), **version}


def _question(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command without what makes no difference to its configuration."""
    # an encoder counts by its recipe where that is given, and else by what the file holds
    places = (*PLACES, "pretrained") if "--encoder_recipe" in command else PLACES
    skipped = {f"--{name}" for name in places}
    return tuple(
        part
        for at, part in enumerate(command)
        if part not in skipped and (at == 0 or command[at - 1] not in skipped)
    )


def _alone(command: Sequence[str]) -> list[str]:
    """Return the command for one process: what it comes to does not depend on their number."""
    if "torch.distributed.run" not in command:
        return list(command)
    at = command.index("torch.distributed.run")
    return [*command[: at - 1], *command[at + 3 :]]
