"""What can a lab be told? Every setting of `cxrlab.toml`, with its default.

`cxrlab.settings_file` reads them from the file, and writes a new lab's file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PRESETS = ("paper", "quick")
ON_OOM = ("stop", "halve")
ON_STALL = ("show", "restart")
LANGUAGES = ("en", "zh")
BACKENDS = ("local", "slurm")
ENDS = ("succeeded", "failed", "stopped", "lost")
SHARES = ("private", "group")
FORMS = ("ntfy", "slack", "feishu", "dingtalk", "json", "email")
MAIL_KEYS = ("to", "sender", "server", "user", "password_env")


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def default_slots() -> int:
    """Return how many runs without a GPU go at once where nothing is said."""
    return max(1, cores() // 2)


@dataclass(frozen=True)
class DataSettings:
    """`[data.NAME]`: where a data set lies, and which one it is."""

    root: Path
    version: str = ""
    """What a person calls this state of it, such as `V3`; runs say so in their results."""
    prepared: Path | None = None
    """Where its prepared copy lies, if not in the lab's own folder."""
    restricted: bool = False
    """Whether its terms of use forbid that its reports and images are shown to others."""


@dataclass(frozen=True)
class LaunchSettings:
    """`[launch]`: what runs may use of this machine, and how they are started."""

    gpus: int | Literal["all"] | tuple[int | str, ...] = "all"
    """How many GPUs runs may hold at once, or which: by index, UUID or the beginning of one."""
    cpu_slots: int = field(default_factory=default_slots)
    threads: int = 0
    stop_grace_s: float = 120.0
    preset: str = "paper"
    backend: str = "local"
    """Who starts runs where nothing is said: this machine, or `slurm`."""
    pretrain_program: str = "trainers.pretrain"
    finetune_program: str = "trainers.finetune"
    limits: Mapping[str, int] = field(default_factory=dict)
    """`[launch.limits]`: how many runs of a task may run at once; no limit where none is named."""
    hold_after: int = 3
    """After how many failures alike the rest of that method and task is held; 0 for never."""
    retry_lost: int = 3
    """How many times in a row a lost run is put back by itself; 0 for never."""
    on_oom: str = "stop"
    """What is done where a GPU has too little memory: `stop`, or `halve` the micro-batches."""
    oom_floor: int = 1
    """No micro-batch is made smaller than this."""
    on_stall: str = "show"
    """What is done about a stalled run: `show` it, or `restart` it from its last checkpoint."""
    stall_factor: float = 20.0
    """A run is stalled after so many times the silence that is usual for it; 0 for never."""
    stall_least_s: float = 60.0
    """No shorter silence counts as a stall."""

    def __post_init__(self) -> None:
        if not self.threads:
            object.__setattr__(self, "threads", max(1, cores() // self.cpu_slots))

    @property
    def most_gpus(self) -> int | None:
        """How many GPUs runs may hold at once; None for all that they may use."""
        return self.gpus if isinstance(self.gpus, int) else None

    def may_use(self, index: int, uuid: str) -> bool:
        """Return whether runs may be put on a GPU."""
        if not isinstance(self.gpus, tuple):
            return self.gpus != 0
        return any(
            one == index if isinstance(one, int) else uuid.startswith(one) for one in self.gpus
        )


@dataclass(frozen=True)
class GpuSettings:
    """`[gpus]`: when a GPU is somebody else's, and whether runs share one."""

    busy_mib: int = 500
    """A GPU on which others hold this much is theirs; so is one on which they compute at all."""
    settle_s: float = 10.0
    """How long a GPU must have been free of others, in every reading, before it is taken."""
    share: bool = False
    """Whether runs whose memory is known share a GPU where nothing is said at their launch."""
    share_gib: float | None = None
    """How much of one GPU runs that share it may take together; None for all that is there."""


@dataclass(frozen=True)
class SlurmSettings:
    """`[slurm]`: what a job asks Slurm for; what is left empty is left to Slurm."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time: str = ""
    """The time limit as `sbatch --time` takes it: minutes, `4:00:00`, `2-12:00:00`."""
    mem: str = ""
    """Memory of each node: `64G`."""
    gpus_per_node: int = 1
    """Of a run that does not say how many GPUs it takes."""
    gres: str = ""
    """Instead of `--gpus-per-node`: `gpu:a100:{gpus}`."""
    cpus_per_task: int = 0
    options: tuple[str, ...] = ()
    """Any other options of sbatch, as on its command line."""
    setup: tuple[str, ...] = ()
    """Lines of shell at the beginning of the script: `module load cuda`."""
    save_s: int = 120
    """How long before the time limit a trainer is asked to save."""
    max_requeues: int = 20
    """How often a job that met its time limit starts again, from its last checkpoint."""
    max_jobs: int = 0
    """How many jobs of this lab are handed in at once; 0 for any number."""


@dataclass(frozen=True)
class GridSettings:
    """`[grid]`: which rows and columns are shown, in this order; empty means all.

    A variant of a method, such as `mrm+hog`, is then shown where it has runs.
    """

    methods: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    """Words as `cxrlab.columns` reads them: `siim`, `siim:10`, `report:BLEU-1`, `notebook`."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`[grid.groups]`: names that stand for several methods, or for several columns."""


@dataclass(frozen=True)
class CheckpointSettings:
    """`[checkpoints]`: how much of the disk they may take."""

    budget: int | None = None
    """Bytes; None for any number."""


@dataclass(frozen=True)
class Place:
    """`[notify.NAME]`: somebody to tell. Addresses and passwords are named, never written down."""

    name: str
    form: str
    url_env: str = ""
    """The environment variable that holds a webhook's address."""
    to: str = ""
    sender: str = ""
    server: str = ""
    """Host and port of the SMTP server."""
    user: str = ""
    password_env: str = ""


@dataclass(frozen=True)
class NotifySettings:
    """`[notify]`: who is told that a run has ended, and of which ends."""

    on: tuple[str, ...] = ("failed", "lost", "succeeded")
    places: tuple[Place, ...] = ()
    bell: bool = True
    """Whether a terminal in which runs are waited for or looked at rings when one ends."""


@dataclass(frozen=True)
class Settings:
    """What `cxrlab.toml` says, defaults included."""

    share: str = "private"
    """`[lab] share`: whether run folders and registry may be read by their owner's group."""

    data: Mapping[str, DataSettings] = field(default_factory=dict)
    launch: LaunchSettings = field(default_factory=LaunchSettings)
    gpus: GpuSettings = field(default_factory=GpuSettings)
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    grid: GridSettings = field(default_factory=GridSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    checkpoints: CheckpointSettings = CheckpointSettings()
    language: str = "en"
