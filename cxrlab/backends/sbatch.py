"""What does the script say by which runs are handed in to Slurm? Touches nothing.

submitit writes it, so that options are spelled and quoted as its users know them; what it starts is
`cxrlab.backends.job`, not a pickled function. Runs of one cell that differ in their seed are one
array.
"""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrlab.backends import job
from cxrlab.settings import SlurmSettings
from store.runs import NewRun, Run

SCRIPT_NAME = "job.sh"
"""In the folder of every run that it is for."""


def token(run_id: str) -> str:
    """Return a name for a job that no other has."""
    return f"cxrlab-{run_id}-{secrets.token_hex(3)}"


def alike(run: Run | NewRun) -> tuple[Any, ...]:
    """Return what runs have in common that are handed in as one array: all but their seeds."""
    again = job.starts_again(run.command)
    return (run.method, run.task, run.ratio, run.preset, run.recipe, run.gpus, run.nodes, again)


def script(root: Path, settings: SlurmSettings, runs: Sequence[Run | NewRun], name: str) -> str:
    """Return the script that hands in some runs, alike but for their seeds.

    Args:
        root: the lab's folder, where relative paths in commands start.
        settings: what to ask Slurm for.
        runs: in the order of the array's numbers.
        name: what the job is called, a `token`; tells it from every other.
    """
    from submitit.slurm.slurm import _make_sbatch_string

    folder, again = Path(runs[0].folder), job.starts_again(runs[0].command)
    extra: dict[str, Any] = {
        "signal": f"B:USR1@{settings.save_s}",
        "output": str(folder / ("slurm-%A_%a.out" if len(runs) > 1 else "slurm-%j.out")),
        "chdir": str(root),
        # Slurm's own new starts, after a node has failed or a preemption, are welcome too
        ("requeue" if settings.max_requeues and again else "no-requeue"): True,
    }
    for option in settings.options:
        name, equals, value = option.removeprefix("--").partition("=")
        extra[name] = value if equals else True
    text = _make_sbatch_string(
        command=_command(name),
        folder=folder,
        job_name=name,
        nodes=runs[0].nodes,
        ntasks_per_node=1,
        setup=[*_preamble(runs), *settings.setup],
        stderr_to_stdout=True,
        map_count=len(runs) if len(runs) > 1 else None,
        array_parallelism=len(runs),
        use_srun=False,
        additional_parameters=extra,
        **_asked_for(settings, gpus=runs[0].gpus),
    )
    return str(text)


def _asked_for(settings: SlurmSettings, *, gpus: int) -> dict[str, Any]:
    """Return what each node shall have; what is not set is Slurm's to decide."""
    given: dict[str, Any] = {
        name: getattr(settings, name) or None
        for name in ("partition", "account", "qos", "constraint", "time", "mem", "cpus_per_task")
    }
    given["wckey"] = None  # else it is `submitit`, which not every cluster knows
    if gpus and settings.gres:
        given["gres"] = settings.gres.replace("{gpus}", str(gpus))
    elif gpus:
        given["gpus_per_node"] = gpus
    return given


def _preamble(runs: Sequence[Run | NewRun]) -> list[str]:
    """Return the lines that find the run folder, and send all that follows to its log."""
    folders = [f"  {shlex.quote(run.folder)}" for run in runs]
    return [
        "trap '' USR1 USR2  # nobody listens yet",
        "folders=(",
        *folders,
        ")",
        'folder="${folders[${SLURM_ARRAY_TASK_ID:-0}]}"',
        'exec >>"$folder/log.txt" 2>&1',
    ]


def _command(name: str) -> str:
    program = shlex.join([sys.executable, "-P", "-m", "cxrlab.backends.job"])
    return f'exec {program} "$folder" {shlex.quote(name)}'
