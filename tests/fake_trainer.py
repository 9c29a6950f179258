"""A trainer without torch: writes real events, counts to a number, and ends as it is told.

Understands what every trainer does (`--print-config`, `--output_dir`, `--resume`, SIGTERM) and
options of its own, all beginning with `fake_`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from trainers.events import EventLog

PLACES = (
    "seed",
    "output_dir",
    "data_path",
    "pretrained",
    "device",
    "threads",
    "resume",
    "micro_batch",
)

GO_ON = "go on"

DEMO = ("epochs", "steps", "warmup_epochs", "warmup_steps", "eval_every", "lr", "channels",
        "aux_channels")  # fmt: skip
"""What the demo sets, taken and not used."""


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("task", "method", "pretrained", "encoder_recipe", "preset", "data_path", "device",
                 "data_version", *DEMO):  # fmt: skip
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--output_dir", type=Path, default=Path("./work_dir"))
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--print-config", action="store_true")
    for name, default in (("ratio", 100), ("seed", 0), ("threads", 0), ("fake_steps", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--fake_step_s", type=float, default=0.01)
    parser.add_argument("--fake_score", type=float, default=0.5)
    # what happens after the last step: succeed, fail (with an end event), raise, status N,
    # or signal N sent to itself
    parser.add_argument("--fake_end", default="succeed")
    parser.add_argument("--fake_refuse", default="", help="message of exit 2")
    # step after which nothing comes until the run folder holds a file of the name `GO_ON`
    parser.add_argument("--fake_hang", type=int, default=0)
    for name, default in (("batch_size", 16), ("accum_iter", 1), ("micro_batch", 0),
                          ("fake_fits", 0)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in ("fake_deaf", "fake_child", "fake_mute"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def flat(given: argparse.Namespace) -> dict:
    values = {k: v for k, v in vars(given).items() if k not in ("print_config", "resume")}
    values = {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}
    chosen = {k: v for k, v in values.items() if k not in PLACES}
    recipe = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
    if not given.task:
        values |= {"task": "pretrain", "ratio": None}
    return {"program": "finetune" if given.task else "pretrain", **values, "recipe": recipe}


class Trainer:
    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.folder: Path = given.output_dir
        self.last = self.folder / "checkpoints" / "last.pt"
        self.last.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(flat(given)))
        self.events = EventLog(self.folder)
        self.stopping = False

    def on_sigterm(self, number: int, frame: object) -> None:
        self.stopping = True

    def may_go_on(self) -> bool:
        return (self.folder / GO_ON).exists()

    def save(self, step: int) -> None:
        new = self.last.with_suffix(".new")
        new.write_text(json.dumps({"step": step}))
        new.replace(self.last)
        self.events.checkpoint("last", "checkpoints/last.pt", step=step)

    def run(self) -> int:
        given = self.given
        signal.signal(signal.SIGTERM, signal.SIG_IGN if given.fake_deaf else self.on_sigterm)
        done = json.loads(given.resume.read_text())["step"] if given.resume else 0
        # its only word in the log comes before the event that tests wait for
        sys.stderr.write(f"training from step {done}\n")
        self.events.start(done, total_steps=given.fake_steps)
        if given.fake_fits and (given.micro_batch or given.batch_size) > given.fake_fits:
            self.events.end("failed", "GPU out of memory: CUDA out of memory")
            return 1
        if given.fake_child:
            code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
            for away in (False, True):
                subprocess.Popen([sys.executable, "-c", code], start_new_session=away)
        for step in range(done + 1, given.fake_steps + 1):
            time.sleep(given.fake_step_s)
            self.events.metrics(step, {"train/loss": 1 / step}, epoch=step / 10)
            self.events.progress(step, given.fake_steps, eta_s=None)
            self.save(step)
            while step == given.fake_hang and not (self.stopping or self.may_go_on()):
                time.sleep(0.05)
            if self.stopping:
                self.events.end("stopped", "SIGTERM received")
                return 143
        return self.end()

    def end(self) -> int:
        how, _, what = self.given.fake_end.partition(":")
        if how == "fail":
            self.events.end("failed", what or "told to fail")
            return 1
        if how == "raise":
            raise ValueError(what or "told to raise")
        if how == "status":
            return int(what)
        if how == "signal":
            if int(what) != signal.SIGKILL:
                signal.signal(int(what), signal.SIG_DFL)
            os.kill(os.getpid(), int(what))
            time.sleep(60)
        self.conclude()
        return 0

    def conclude(self) -> None:
        if self.given.fake_mute:
            return
        if self.given.task:
            metric = "test/AUROC" if self.given.task == "shenzhen" else "test/Dice"
            values = {metric: self.given.fake_score, metric.replace("test", "val"): 0.5}
            self.events.result(values=values, bounds={}, selected_by="val", task=self.given.task)
        else:
            encoder = self.folder / "checkpoints" / "encoder.pt"
            encoder.write_text(json.dumps({"steps": self.given.fake_steps}))
            digest = hashlib.sha256(encoder.read_bytes()).hexdigest()
            step = self.given.fake_steps
            self.events.checkpoint("encoder", "checkpoints/encoder.pt", step=step, sha256=digest)
        self.events.end("succeeded")


def main() -> int:
    given = options().parse_args()
    if given.fake_refuse:
        sys.stderr.write(f"error: {given.fake_refuse}\n")
        return 2
    if given.print_config:
        sys.stdout.write(json.dumps(flat(given)))
        return 0
    if given.pretrained and not Path(given.pretrained).is_file():
        sys.stderr.write(f"error: `pretrained`: {given.pretrained} does not exist\n")
        return 3
    return Trainer(given).run()


if __name__ == "__main__":
    sys.exit(main())
