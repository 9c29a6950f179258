"""Program: runs any other training program, unchanged, and writes its events.

    python -m trainers.adapt --output_dir FOLDER --method M --task T -- python pretrain.py ...

What the program prints goes to the log as it came, a line that it wrote over once; what it says of
its training there, and in logs and TensorBoard's files below the folders of `--watch`, becomes
events. In its words `{run_dir}`, `{seed}` and `{port}` are filled in, and a rendezvous port that is
written down is replaced by a free one. Standard library only: the program has an environment of
its own.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainers import copied, metrics, own_provenance
from trainers.catalog import PRETRAIN, TASKS
from trainers.events import EventLog
from trainers.following import Watch
from trainers.loglines import Lines, Told, read
from trainers.tally import Tally

CHILD_S = 3.0
"""How long to read on after the program has ended: a child of it may hold the pipe open."""

OWN_PATH = str(Path(__file__).resolve().parents[1])
"""What is on the search path for this program alone."""

LOOK_S = 0.5
_PORT = re.compile(r"^--master[-_]port(?:=(?P<port>\d+))?$")
_ADDRESS = re.compile(r"^(?P<head>(?:--[\w-]+=)?tcp://[^:/\s]+:)\d+(?P<tail>\D.*)?$")
_EPOCHS = re.compile(r"^--(?:max[-_])?epochs(?:=(?P<number>\d+))?$")


class Wanted(NamedTuple):
    """A result that is looked for: `Dice` in what the program calls `test_dice`, in percent."""

    metric: str
    name: str
    percent: bool


def main(argv: Sequence[str]) -> int:
    """Run the program after `--` and return 0, 143 after SIGTERM, or what it returned."""
    words = list(argv)
    at = words.index("--") if "--" in words else len(words)
    given, command = parser().parse_args(words[:at]), words[at + 1 :]
    try:
        wanted = [wanted_of(text, given.task) for text in given.result]
        if not command:
            raise ValueError("no command; write it after `--`")
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    config = configuration(given, command)
    if given.print_config:
        sys.stdout.write(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        return 0
    missing = given.output_dir / copied.NOTE if given.copied else given.workdir
    if not missing.exists():
        sys.stderr.write(f"error: {missing} is not there; the program should start there\n")
        return 3
    return Adapter(given, command, wanted).run()


def parser() -> argparse.ArgumentParser:
    """Return what this program itself can be told, before the `--`."""
    made = argparse.ArgumentParser(
        prog="python -m trainers.adapt", allow_abbrev=False, description=__doc__
    )
    made.add_argument("--output_dir", type=Path, required=True, help="the run folder")
    made.add_argument("--method", required=True)
    made.add_argument("--task", choices=(PRETRAIN, *TASKS), required=True)
    made.add_argument("--ratio", type=int, help="percent of the labels")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--workdir", type=Path, default=Path.cwd(), help="where the program starts")
    made.add_argument(
        "--watch",
        type=Path,
        action="append",
        default=[],
        help="folder of its logs; may hold `{run_dir}`",
    )
    made.add_argument("--result", action="append", default=[], metavar="METRIC=NAME[%]")
    made.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    made.add_argument(
        "--copied", action="store_true", help="start in the copy that lies in the run folder"
    )
    made.add_argument(
        "--restartable", action="store_true", help="it goes on when it is started again"
    )
    made.add_argument("--print_config", "--print-config", action="store_true")
    return made


def wanted_of(text: str, task: str) -> Wanted:
    """Return what `METRIC=NAME` asks for, with `%` behind it where the program says percent.

    Raises:
        ValueError: it has another form, or no such metric is known.
    """
    metric, equals, name = text.partition("=")
    plain = name.removesuffix("%")
    if not equals or not metric or not plain:
        raise ValueError(f"`--result {text}`; expected a form like `Dice=test_dice`")
    if metrics.find(metric) is None:
        raise ValueError(f"`--result {text}`: `{metric}` is no metric of {task} that is known")
    return Wanted(metric, plain, name.endswith("%"))


def configuration(given: argparse.Namespace, command: Sequence[str]) -> dict[str, Any]:
    """Return what the run is, and its recipe: all of it but seed and places."""
    config = {
        "program": "adapt",
        "method": given.method,
        "task": given.task,
        "ratio": given.ratio,
        "preset": "own",
        "command": list(command),
        "workdir": str(given.workdir),
        "watch": [str(folder) for folder in given.watch],
        "result": list(given.result),
    }
    recipe = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    return {**config, "recipe": recipe, "seed": given.seed, "output_dir": str(given.output_dir)}


def free_port() -> int:
    """Return a port of this machine that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def filled_in(command: Sequence[str], *, folder: Path, seed: int, port: int) -> list[str]:
    """Return the words of a command with this run's folder, seed and port.

    Two runs of one command on one machine must not meet at one rendezvous.
    """
    words: list[str] = []
    follows = False
    for word in command:
        named, address = _PORT.match(word), _ADDRESS.match(word)
        if follows and word.isdigit():
            word = str(port)
        elif named and named["port"]:
            word = f"{word.partition('=')[0]}={port}"
        elif address:
            word = f"{address['head']}{port}{address['tail'] or ''}"
        follows = bool(named and not named["port"])
        for name, value in (("run_dir", str(folder)), ("seed", str(seed)), ("port", str(port))):
            word = word.replace(f"{{{name}}}", value)
        words.append(word)
    return words


def epochs_of(command: Sequence[str]) -> int | None:
    """Return how many epochs a command asks for, where it says so in a usual way."""
    for at, word in enumerate(command):
        found = _EPOCHS.match(word)
        after = command[at + 1] if at + 1 < len(command) else ""
        number = (found["number"] or after) if found else ""
        if number.isdigit() and int(number):
            return int(number)
    return None


class Adapter:
    """One program from start to end."""

    def __init__(
        self, given: argparse.Namespace, command: Sequence[str], wanted: Sequence[Wanted]
    ) -> None:
        self.given = given
        self.wanted = wanted
        self.folder: Path = given.output_dir.resolve()
        self.copy = copied.read(self.folder) if given.copied else None
        self.port = free_port()
        words = self.copy.moved(command) if self.copy else command
        self.command = filled_in(words, folder=self.folder, seed=given.seed, port=self.port)
        self.events = EventLog(self.folder)
        self.tally = Tally(self.events, epochs_of(self.command))
        self.lock = threading.Lock()
        self.child: subprocess.Popen[bytes] | None = None
        self.asked = 0
        self.last_line = ""

    def run(self) -> int:
        """Start the program, read what it says until it ends, and say how it ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        self.write_provenance()
        self.events.start(0, total_steps=0)
        watch = Watch(
            self.watched(),
            run_folder=self.folder,
            warn=lambda what, path: self.events.warning(what, path=path),
        )
        try:
            self.child = subprocess.Popen(
                self.command,
                cwd=self.copy.workdir if self.copy else self.given.workdir,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            self.events.end("failed", f"{self.command[0]} cannot be started: {error}")
            sys.stderr.write(f"error: {self.command[0]} cannot be started: {error}\n")
            return 127
        if self.asked:  # before there was anybody to pass it on to
            self.child.terminate()
        reader = threading.Thread(target=self.listen)
        reader.start()
        while self.child.poll() is None:
            with self.lock:
                watch.read(self.take_written)
            time.sleep(LOOK_S)
        reader.join(timeout=CHILD_S)
        with self.lock:
            watch.read(self.take_written, last=True)
            return self.end(self.child.returncode)

    def watched(self) -> list[Path]:
        """Return the folders to watch; they may lie in the run's own, and come to be later."""
        given = self.given.watch
        words = [str(self.copy.folder(path) if self.copy else path) for path in given]
        filled = filled_in(words, folder=self.folder, seed=self.given.seed, port=self.port)
        return [Path(word).resolve() for word in filled]

    def take_written(self, told: Told, source: str) -> None:
        """Take what a file says."""
        self.tally.take(told, stays=True, source=source)

    def on_signal(self, number: int, frame: object) -> None:
        """Pass a wish to stop on to the program."""
        self.asked += 1
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                self.child.send_signal(signal.SIGTERM)

    def environment(self) -> dict[str, str]:
        """Return the program's environment: as it was when it was queued, with this run's port."""
        given = dict(pair.split("=", 1) for pair in self.given.env if "=" in pair)
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
        # this program's own source, which the other may have a package of the same name in
        path = [part for part in kept.pop("PYTHONPATH", "").split(os.pathsep) if part != OWN_PATH]
        kept |= {"PYTHONPATH": os.pathsep.join(path)} if any(path) else {}
        if self.copy and "PYTHONPATH" in given:
            given["PYTHONPATH"] = self.copy.search_path(given["PYTHONPATH"])
        return {**kept, "PYTHONUNBUFFERED": "1", "MASTER_PORT": str(self.port), **given}

    def listen(self) -> None:
        """Copy what the program prints to the log, and take from it what it says."""
        assert self.child is not None
        assert self.child.stdout is not None
        lines = Lines()
        while True:
            chunk = os.read(self.child.stdout.fileno(), 65_536)
            for line, stays in lines.feed(chunk, last=not chunk):
                if stays:
                    sys.stdout.write(line + "\n")
                    sys.stdout.flush()
                    self.last_line = line.strip() or self.last_line
                told = read(line, torn=lines.torn and (bool(chunk) or self.broke_off()))
                if told:
                    with self.lock:
                        self.tally.take(told, stays=stays)
            if not chunk:
                return

    def broke_off(self) -> bool:
        """Return whether the program died: its last words may then be the half of a line."""
        assert self.child is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.child.wait(timeout=CHILD_S) != 0
        return True

    def end(self, status: int) -> int:
        """Write the result and the last event, and return the exit status."""
        if self.asked and status != 0:
            self.events.end("stopped", "SIGTERM received")
            return 143
        if status != 0:
            what = f"signal {-status}" if status < 0 else f"exit status {status}"
            self.events.end("failed", self.last_line[:300] or f"{what}, and nothing printed")
            return status if status > 0 else 128 - status
        self.write_result()
        self.events.end("succeeded")
        return 0

    def write_result(self) -> None:
        """Write what was asked for among the last values that the program told."""
        values = {}
        part = "val" if self.given.task == PRETRAIN else "test"
        for metric, name, percent in self.wanted:
            value = found(self.tally.last, name)
            if value is None:
                told = ", ".join(sorted(self.tally.last)) or "nothing"
                self.events.warning(f"no line told `{name}` for {metric}; told were: {told}")
                continue
            known = metrics.find(metric)
            value = value / 100 if percent else value
            if known is not None and known.unit == "share" and not 0 <= value <= 1:
                self.events.warning(
                    f"{metric} {value:g} is no share; `--result {metric}={name}%` reads percent"
                )
                continue
            values[f"{part}/{metric}"] = value
        result = {"values": values, "bounds": {}, "selected_by": None, "read_from": "its log"}
        text = json.dumps(result, indent=2, ensure_ascii=False)
        (self.folder / "result.json").write_text(text + "\n", encoding="utf-8")
        self.events.result(**result)

    def write_provenance(self) -> None:
        """Write where the program's code stands, and on what it runs."""
        own_provenance.write(
            self.folder,
            command=self.command,
            environment=self.environment(),
            workdir=self.given.workdir,
            copy=self.copy,
            facts={"port": self.port, "seed": self.given.seed},
        )


def found(values: Mapping[str, float], name: str) -> float | None:
    """Return the value of that name, with or without the part of the data in front of it."""
    if name in values:
        return values[name]
    for known, value in values.items():
        head, _, rest = known.partition("/")
        if name in (rest, f"{head}_{rest}"):
            return value
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
