"""What does it cost a trainer to be watched, and what of it is left after kill -9?

    python -m benchmarks.events --peers-python /tmp/peers/bin/python

Every tracker logs in a process of its own: numbers one to a call, then ten to a call. The time of
the calls is told as microseconds a scalar. Then once more, and the process is killed with SIGKILL
by itself right after its last call; what the tracker's own reader finds afterwards is counted. So
it is killed, several times, after logging at the pace of a training, too: `PACED` lines of ten, one
every `PACE_S`; the least that was ever left is told. Last comes the share of real `quick` steps of
MRM on a CPU that is spent in writing events, timed inside the program. Exits with 1 where a goal
is missed: `MOST_US`, `MOST_SHARE`, nothing lost of ours.

The peers live in an environment of their own (`pip install mlflow wandb trackio`); one that is
absent is left out with a word. TensorBoard's writer is torch's, of this environment.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

MOST_US = 20.0
MOST_SHARE = 0.005
LIMIT_S = 240.0
SETTLE_S = 3.0
"""After a kill, a tracker's own background process may still write; so long it is given."""

PACED, PACE_S = 60, 0.05
"""How many lines a training logs before it is killed, and how long one takes (s)."""

Log = Callable[[int, dict[str, float]], None]


class Tracker(NamedTuple):
    """How one tracker is opened, and how what it kept is counted."""

    package: str
    ours: bool
    """Runs in this environment, not in the peers'."""
    calls: int
    begin: Callable[[Path], Log]
    count: Callable[[Path], int]


def ours_begin(folder: Path) -> Log:
    """Open an event log."""
    from trainers.events import EventLog

    log = EventLog(folder)
    return lambda step, values: log.metrics(step, values, epoch=step / 1000)


def ours_count(folder: Path) -> int:
    """Count the numbers of whole lines."""
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(len(json.loads(line)["values"]) for line in lines)


def tensorboard_begin(folder: Path) -> Log:
    """Open torch's writer as its documentation does."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))

    def log(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log


def tensorboard_count(folder: Path) -> int:
    """Count the scalars that TensorBoard itself loads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    tags = read.Tags()
    return sum(len(read.Scalars(t)) for t in tags["scalars"]) + sum(
        len(read.Tensors(t)) for t in tags["tensors"]
    )


def mlflow_begin(folder: Path) -> Log:
    """Start a run in a SQLite store, through the fluent interface."""
    import mlflow

    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("cost")
    mlflow.start_run(log_system_metrics=False)
    return lambda step, values: mlflow.log_metrics(values, step=step)


def mlflow_count(folder: Path) -> int:
    """Count the rows of its metrics."""
    return sqlite_count(folder / "mlflow.db", "select count(*) from metrics")


def wandb_begin(folder: Path) -> Log:
    """Start an offline run."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project="cost", dir=str(folder), mode="offline", settings=wandb.Settings(silent=True)
    )
    return lambda step, values: run.log(values, step=step)


def wandb_count(folder: Path) -> int:
    """Count the numbers in the history records of the offline file."""
    from wandb.proto import wandb_internal_pb2

    from trainers.framing import wandb_records

    total = 0
    for path in folder.rglob("*.wandb"):
        with path.open("rb") as file:
            for content in wandb_records(file, lambda why: None):
                record = wandb_internal_pb2.Record()
                record.ParseFromString(content)
                names = (i.key or "".join(i.nested_key) for i in record.history.item)
                total += sum(name.startswith("v") for name in names)
    return total


def trackio_begin(folder: Path) -> Log:
    """Start a local run."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio

    with contextlib.redirect_stdout(sys.stderr):
        trackio.init(project="cost", embed=False)
    return lambda step, values: trackio.log(values, step=step)


def trackio_count(folder: Path) -> int:
    """Count the numbers in its SQLite file."""
    rows = []
    for path in folder.glob("cost*.db"):  # none, where it was killed before it had written any
        with contextlib.closing(sqlite3.connect(path)) as db:
            rows += [json.loads(row) for (row,) in db.execute("select metrics from metrics")]
    return sum(name.startswith("v") for row in rows for name in row)


def sqlite_count(path: Path, query: str) -> int:
    """Return the one number of a query."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return int(db.execute(query).fetchone()[0])


TRACKERS = {
    "cxrlab": Tracker("trainers", True, 20_000, ours_begin, ours_count),
    "TensorBoard": Tracker("tensorboard", True, 20_000, tensorboard_begin, tensorboard_count),
    "W&B offline": Tracker("wandb", False, 2_000, wandb_begin, wandb_count),
    "trackio": Tracker("trackio", False, 2_000, trackio_begin, trackio_count),
    "MLflow": Tracker("mlflow", False, 200, mlflow_begin, mlflow_count),
}


def main() -> int:
    """Measure all trackers and the share of a step; print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--peers-python", help="interpreter of the environment with the peers")
    parser.add_argument("--steps", type=int, default=200, help="MRM steps to time; 0 times none")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is told")
    parser.add_argument("--kills", type=int, default=3, help="how often each is killed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        what, name, folder, values = given.child
        return child(what, TRACKERS[name], Path(folder), values=int(values))
    found: dict[str, Any] = {}
    for name in TRACKERS:
        measured = measure(name, given.peers_python, rounds=given.rounds, kills=given.kills)
        if isinstance(measured, str):
            print(f"{name} is left out: {measured}", file=sys.stderr)
        else:
            found[name] = measured
    share = share_of_a_step(given.steps) if given.steps else None
    print(json.dumps({"trackers": found, "step": share}, indent=2)) if given.json else tell(
        found, share
    )
    return 0 if held(found["cxrlab"], share) else 1


def measure(
    name: str, peers_python: str | None, *, rounds: int, kills: int
) -> dict[str, Any] | str:
    """Return the figures of one tracker, or why there are none."""
    tracker = TRACKERS[name]
    python = sys.executable if tracker.ours else peers_python
    if python is None:
        return "no `--peers-python` was given"
    version = ask(python, "version", name, Path(), values=1)
    if version is None:
        return f"`{tracker.package}` cannot be imported by {python}"
    told: dict[str, Any] = {"version": version["version"], "calls": tracker.calls}
    with tempfile.TemporaryDirectory(prefix="events-", ignore_cleanup_errors=True) as root:
        for values in (1, 10):
            times = []
            for turn in range(rounds):
                answer = ask(
                    python, "speed", name, Path(root) / f"speed{values}-{turn}", values=values
                )
                if answer is None:
                    return "it failed while it logged"
                times.append(answer["us"])
            told[f"us_{values}"] = statistics.median(times)
            told[f"kept_{values}"] = min(
                left_after(python, "kill", name, Path(root) / f"kill{values}-{turn}", values=values)
                for turn in range(kills)
            )
            told[f"logged_{values}"] = tracker.calls * values
        told["kept_paced"] = min(
            left_after(python, "paced", name, Path(root) / f"paced-{turn}", values=10)
            for turn in range(kills)
        )
        told["logged_paced"] = PACED * 10
    return told


def left_after(python: str, how: str, name: str, folder: Path, *, values: int) -> int:
    """Have a trainer log and be killed, and return how many numbers its tracker still has."""
    ask(python, how, name, folder, values=values)
    kept = ask(python, "count", name, folder, values=values)
    return int(kept["kept"]) if kept else 0


def ask(python: str, what: str, name: str, folder: Path, *, values: int) -> dict[str, Any] | None:
    """Run one part in a process of its own, and return what it prints last."""
    root = str(Path(__file__).resolve().parent.parent)
    # safe path: beside this file lies a `queue.py`, which is not Python's
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONSAFEPATH": "1",
                   "PYTHONWARNINGS": "ignore", "WANDB_SILENT": "true",
                   "MLFLOW_DISABLE_TELEMETRY": "true", "HF_HUB_OFFLINE": "1",
                   "GRADIO_ANALYTICS_ENABLED": "False"}  # fmt: skip
    line = [python, __file__, "--child", what, name, str(folder), str(values)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        # its own group, so that what a tracker left running behind a killed trainer can be ended
        process = subprocess.Popen(
            line, stdout=out, stderr=err, env=environment, start_new_session=True
        )
        try:
            status = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            status = None
        if status == -signal.SIGKILL and what in ("kill", "paced"):
            time.sleep(SETTLE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out.seek(0)
        err.seek(0)
        said = [text for text in out.read().splitlines() if text.startswith("{")]
        if status == 0 and said:
            return dict(json.loads(said[-1]))
        if what not in ("kill", "paced", "version"):
            print(f"{name}, {what}: exit {status}: {err.read()[-800:]}", file=sys.stderr)
    return None


def child(what: str, tracker: Tracker, folder: Path, *, values: int) -> int:
    """Be the process that logs, and maybe dies of it, or the one that reads."""
    if what == "version":
        module = importlib.import_module(tracker.package)
        answer: dict[str, Any] = {"version": getattr(module, "__version__", "this checkout")}
    elif what == "count":
        answer = {"kept": tracker.count(folder)}
    else:
        log = tracker.begin(folder)
        names = [f"v{i}" for i in range(values)]
        began = time.perf_counter()
        for step in range(PACED if what == "paced" else tracker.calls):
            log(step, {name: 0.693147 + step for name in names})
            if what == "paced":
                time.sleep(PACE_S)
        spent = time.perf_counter() - began
        if what in ("kill", "paced"):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = {"us": spent / tracker.calls / values * 1e6}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # no tracker's farewell: it may wait for a network that is not there


def share_of_a_step(steps: int) -> dict[str, float]:
    """Train MRM's `quick` preset, a line of metrics after every update, and time the writing."""
    from benchmarks.pretrain import draw
    from trainers import pretrain

    with tempfile.TemporaryDirectory(prefix="events-") as root:
        folder = Path(root)
        draw(folder / "data", count=200, image_px=128)
        data = folder / "data" / "mimic_cxr"
        told = {}
        for every in (1, 10):
            line = ["--method", "mrm", "--preset", "quick", "--data_path", str(data),
                    "--output_dir", str(folder / f"run{every}"), "--steps", str(steps),
                    "--epochs", "0", "--device", "cpu", "--log_every", str(every),
                    "--eval_every", str(steps), "--save_every_s", "1e9"]  # fmt: skip
            with timed() as spent:
                if pretrain.main(line) != 0:
                    raise SystemExit("MRM could not be trained")
            text = (folder / f"run{every}" / "events.jsonl").read_text(encoding="utf-8")
            lines = [json.loads(one) for one in text.splitlines()]
            trained = [e["t"] for e in lines if "train/loss" in e.get("values", {})]
            span = (trained[-1] - trained[0]) / (len(trained) - 1) / every
            told |= {f"step_ms_{every}": span * 1e3,
                     f"us_a_step_{every}": spent[0] / steps * 1e6,
                     f"share_{every}": spent[0] / steps / span}  # fmt: skip
    return told


@contextlib.contextmanager
def timed() -> Iterator[list[float]]:
    """Add up the seconds that are spent in `EventLog.write`."""
    from trainers.events import EventLog

    spent, write = [0.0], EventLog.write

    def watched(self: EventLog, kind: str, **values: Any) -> None:
        began = time.perf_counter()
        write(self, kind, **values)
        spent[0] += time.perf_counter() - began

    EventLog.write = watched  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        EventLog.write = write  # type: ignore[method-assign]


def tell(found: dict[str, Any], share: dict[str, float] | None) -> None:
    """Print a row a tracker, then the share."""
    print("| tracker | one value a call, µs | ten, µs a value | left after kill -9 | when paced |")
    print("| --- | ---: | ---: | --- | --- |")
    for name, row in found.items():
        left = [f"{row[f'kept_{k}']:,} of {row[f'logged_{k}']:,}" for k in (1, 10, "paced")]
        print(
            f"| {name} {row['version']} | {row['us_1']:.1f} | {row['us_10']:.1f} "
            f"| {left[0]}; {left[1]} | {left[2]} |"
        )
    for every in (1, 10) if share else ():
        print(
            f"quick MRM, a line every {every} updates: {share[f'us_a_step_{every}']:.0f} µs of a "
            f"step of {share[f'step_ms_{every}']:.1f} ms, {share[f'share_{every}']:.3%}"
        )


def held(ours: dict[str, Any], share: dict[str, float] | None) -> bool:
    """Say whether the goals are met."""
    whole = all(ours[f"kept_{k}"] == ours[f"logged_{k}"] for k in (1, 10, "paced"))
    quick = ours["us_1"] < MOST_US and ours["us_10"] < MOST_US
    return (
        whole and quick and (share is None or max(share["share_1"], share["share_10"]) < MOST_SHARE)
    )


if __name__ == "__main__":
    sys.exit(main())
