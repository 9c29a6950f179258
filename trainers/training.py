"""Which settings every training has, whatever the method or task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainers.config import ConfigError, option
from trainers.optim import Optimizer, Schedule


@dataclass(frozen=True, kw_only=True)
class Training:
    """How training runs."""

    output_dir: str = option("./work_dir", "the run folder", recipe=False)
    resume: str = option("", "a run's last.pt to go on from", recipe=False)
    seed: int = option(0, "seed of weights, order and augmentation", recipe=False)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "where to train", recipe=False)
    threads: int = option(0, "CPU threads of this process; 0 leaves it to torch", recipe=False)
    num_workers: int = option(0, "loader processes; 0 loads in this one", recipe=False)
    batch_size: int = option(64, "images a micro-batch and process")
    accum_iter: int = option(1, "micro-batches accumulated into one update")
    micro_batch: int = option(
        0,
        "images a micro-batch really holds, where memory is short: a part of `batch_size`; 0: all",
        recipe=False,
    )
    epochs: int = option(0, "passes over the training set, where `steps` is 0")
    steps: int = option(0, "optimiser updates; 0 counts in epochs")
    warmup_epochs: float = option(0.0, "epochs of linear warm-up, where `warmup_steps` is 0")
    warmup_steps: int = option(0, "updates of linear warm-up; 0 counts in epochs")
    lr: float = option(0.0, "peak learning rate; 0 takes blr x effective batch / 256")
    blr: float = option(1.5e-4, "base learning rate, per 256 images")
    min_lr: float = option(0.0, "learning rate at the end")
    schedule: Schedule = option("cosine", "how the learning rate falls")
    schedule_lead: int = option(0, "updates by which the schedule runs ahead (1: none at rate 0)")
    plateau_patience: int = option(5, "validations without progress until `plateau` lowers it")
    plateau_factor: float = option(0.5, "what `plateau` multiplies the learning rate by")
    optimizer: Optimizer = option("adamw", "the optimiser")
    beta1: float = option(0.9, "AdamW's and Adam's first beta")
    beta2: float = option(0.95, "AdamW's and Adam's second beta")
    momentum: float = option(0.9, "SGD's momentum")
    weight_decay: float = option(0.05, "weight decay, not on vectors; decoupled in AdamW")
    layer_decay: float = option(1.0, "factor on the learning rate per layer below the head")
    clip_grad: float = option(0.0, "largest gradient norm; 0 does not clip")
    lookahead_k: int = option(
        0, "updates between two meetings with Lookahead's slow weights; 0: none"
    )
    lookahead_alpha: float = option(0.5, "how far the slow weights then go, in (0, 1]")
    ema_decay: float = option(
        0.0, "average the weights with this decay an update, and judge and keep those; 0: off"
    )
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "autocast precision")
    compile: bool = option(False, "compile the model with torch.compile", recipe=False)
    eval_every: int = option(0, "updates between validations; 0 validates every epoch")
    log_every: int = option(10, "updates between two lines of metrics", recipe=False)
    save_every_s: float = option(300.0, "seconds between two writings of last.pt", recipe=False)

    def __post_init__(self) -> None:
        for name in ("batch_size", "accum_iter", "log_every", "plateau_patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected at least 1")
        for name in ("epochs", "steps", "warmup_epochs", "warmup_steps", "lr", "blr", "min_lr",
                     "weight_decay", "clip_grad", "eval_every", "num_workers", "save_every_s",
                     "threads", "seed", "lookahead_k"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected 0 or more")
        if self.micro_batch < 0 or (self.micro_batch and self.batch_size % self.micro_batch):
            raise ConfigError(
                f"`micro_batch` is {self.micro_batch}; expected a divisor of `batch_size`, "
                f"{self.batch_size}"
            )
        if not self.epochs and not self.steps:
            raise ConfigError("`epochs` and `steps` are both 0; one must say how long to train")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"`layer_decay` is {self.layer_decay}; expected in (0, 1]")
        if not 0 < self.plateau_factor < 1:
            raise ConfigError(f"`plateau_factor` is {self.plateau_factor}; expected in (0, 1)")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"`ema_decay` is {self.ema_decay}; expected in [0, 1)")
        if not 0 < self.lookahead_alpha <= 1:
            raise ConfigError(f"`lookahead_alpha` is {self.lookahead_alpha}; expected in (0, 1]")

    @property
    def held(self) -> int:
        """Images that a process holds at once: those of a micro-batch."""
        return self.micro_batch or self.batch_size

    @property
    def micro_batches(self) -> int:
        """How many micro-batches of a process make one update."""
        return self.accum_iter * (self.batch_size // self.held)
