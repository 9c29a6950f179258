"""How does a program of one's own become a run that is queued, watched and stopped like any other?

`trainers.adapt` runs it and reads what it says. Interpreter, working folder and search paths are
those of the moment of queueing, whatever the shell that starts the agent has.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab import launch, ownership, plan, programs
from cxrlab.backends import job
from cxrlab.code import worktree
from cxrlab.errors import CxrlabError, NotFound, Usage, unknown_name
from cxrlab.lab import Lab
from store import runs
from store.db import Database
from trainers import catalog

PRESET = "own"
"""In place of a preset: how big it is stands in its own command."""

KEPT = ("PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")
"""What of the environment decides which code is run."""


class Own(NamedTuple):
    """A program of one's own, and which cell it fills."""

    command: Sequence[str]
    method: str
    task: str
    ratio: int | None
    seed: int
    gpus: int
    workdir: Path
    watch: Sequence[Path] = ()
    results: Sequence[str] = ()
    variables: Sequence[str] = ()
    """Further environment variables to keep, by name."""
    priority: int = 0
    again: bool = False
    """Whether it is queued although the lab has it."""
    backend: str = "local"
    freeze: bool | None = None
    """Whether it starts in a copy of its checkout; None where that is source code."""
    restartable: bool = False
    """Whether it goes on when it is started again, and so may be without a person."""


class Source(NamedTuple):
    """What a program executes."""

    tree: worktree.Tree | None
    """The checkout that is copied; None where its folder is executed as it will be then."""
    told: str
    """The same in words."""


def source_of(lab: Lab, own: Own) -> Source:
    """Return what a program executes: a copy of its checkout, unless that is more than source.

    Raises:
        Usage: a copy was asked for, and there is nothing to copy, or more than source code.
    """
    live = f"it executes {own.workdir} as it will be when it starts"
    if own.freeze is False:
        return Source(None, live)
    try:
        tree = worktree.look(own.workdir, lab)
    except CxrlabError as error:
        if own.freeze:
            raise
        return Source(None, f"{live}: {error.message}")
    return Source(
        tree,
        f"it executes a copy of {worktree.told(tree)}; what it writes beside its source stays "
        "in the copy (`--no-freeze`: no copy)",
    )


def prepare(lab: Lab, db: Database, own: Own, source: Source) -> launch.Prepared:
    """Return the run of a program with its configuration; writes nothing.

    Raises:
        NotFound: there is no such program, method or task, or a folder is not there.
        Usage: a ratio is missing or not the task's, or a result cannot be looked for.
    """
    _check(own)
    id = runs.new_id()
    ratio = "" if own.ratio is None else f"-{own.ratio}"
    folder = lab.runs_dir / f"{id}-{own.method}-{own.task}{ratio}-s{own.seed}"
    command = _command(own, folder, copied=source.tree is not None)
    at = command.index("--")
    asked = [*command[:at], "--print-config", *command[at:]]
    answer = programs.answer_of(lab, asked, wanted="configuration", key="recipe")
    run = runs.NewRun(
        id=id,
        method=own.method,
        task=own.task,
        ratio=own.ratio,
        seed=own.seed,
        preset=PRESET,
        recipe=str(answer["recipe"]),
        folder=str(folder),
        parent=None,
        command=command,
        gpus=own.gpus,
        priority=own.priority,
        backend=own.backend,
    )
    facts = (own.method, own.task, own.ratio, own.seed, PRESET)
    step = plan.Step(*facts, why="your own program", again=own.again)
    return launch.Prepared(step, run, answer, None if own.again else launch.standing(db, run))


def queue(
    lab: Lab, db: Database, prepared: launch.Prepared, source: Source
) -> list[launch.Launched]:
    """Queue the run, with a copy of its checkout where it has one."""
    ownership.check(lab)
    if source.tree and prepared.there is None:
        worktree.take(lab, source.tree, Path(prepared.run.folder))
    return launch.queue(lab, db, [prepared])


def place(path: Path) -> Path:
    """Return a watched folder's full path; one within the run folder is known to the run alone."""
    return path if path.parts[:1] == ("{run_dir}",) else path.resolve()


def program_of(word: str, workdir: Path) -> str:
    """Return the program that a command's first word names, by its full path.

    Raises:
        NotFound: there is none.
    """
    here = workdir / Path(word).expanduser() if os.sep in word else None
    path = shutil.which(str(here) if here else word)
    if path is None:
        raise NotFound(f"no program `{word}` is there", "write what you would type in this shell")
    return os.path.abspath(path)  # noqa: PTH100 - a link keeps its name: a venv's python is one


def _check(own: Own) -> None:
    if own.method not in catalog.METHODS:
        raise unknown_name("method", own.method, catalog.METHODS)
    if own.task != catalog.PRETRAIN and own.task not in catalog.TASKS:
        raise unknown_name("task", own.task, (catalog.PRETRAIN, *catalog.TASKS))
    if own.task == catalog.PRETRAIN and own.ratio is not None:
        raise Usage("a pre-training has no ratio", "leave `--ratio` out")
    if own.task != catalog.PRETRAIN and own.ratio is None:
        raise Usage(f"{own.task} needs `--ratio`, the percent of labels it is trained on")
    for folder in (own.workdir, *own.watch):
        if folder.parts[:1] != ("{run_dir}",) and not folder.is_dir():
            raise NotFound(f"{folder} is no folder")
    for name in own.variables:
        if name not in os.environ:
            raise NotFound(f"`--env {name}`: there is no such environment variable")


def _command(own: Own, folder: Path, *, copied: bool) -> list[str]:
    options = ["--output_dir", str(folder), "--method", own.method, "--task", own.task]
    options += [] if own.ratio is None else ["--ratio", str(own.ratio)]
    options += ["--seed", str(own.seed), "--workdir", str(own.workdir)]
    options += [part for path in own.watch for part in ("--watch", str(path))]
    options += [f"--result={text}" for text in own.results]
    options += ["--copied"] if copied else []
    options += [job.RESTARTABLE] if own.restartable else []
    names = [name for name in (*KEPT, *own.variables) if name in os.environ]
    options += [f"--env={name}={os.environ[name]}" for name in dict.fromkeys(names)]
    first, *rest = own.command
    program = program_of(first, own.workdir)
    return [sys.executable, "-P", "-m", "trainers.adapt", *options, "--", program, *rest]
