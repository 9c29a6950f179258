"""What do many people at once have to wait for in one lab, and is anything lost?

    python -m benchmarks.contention --processes 50 --rounds 10

Each process does by turns, through the very commands that are typed, what people do: launches a
run, moves and holds runs of the queue, stops one, writes notes and open points and ticks them off,
and reads; all begin at one moment, beside an agent that starts the runs. Whatever a command says
and returns is looked at: none may fail, or speak of a lock. At the end everything is counted: each
launch has made one run, each of which has ended well, each stop has stopped one, no note is
missing. Prints how long commands took by what they do. Exits with 1 where anything is amiss.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

from cxrlab import agent, cli, refresh
from cxrlab.lab import Lab, make_lab
from store import notes, queue, runs
from store.db import open_store

END_S = 600.0
READY_S = 600.0

PROGRAM = """
import json, pathlib, sys, time
given = dict(zip(sys.argv[1:], sys.argv[2:]))
seed = int(given.get("--seed", 0))
if "--print-config" in sys.argv:
    print(json.dumps({"program": "pretrain", "method": "mrm", "task": "pretrain", "ratio": None,
                      "preset": "quick", "recipe": "r", "seed": seed}))
    sys.exit()
with open(pathlib.Path(given["--output_dir"]) / "events.jsonl", "a") as file:
    for event in ({"kind": "start", "step": 0, "attempt": 1}, {"kind": "end",
                  "outcome": "succeeded", "reason": ""}):
        file.write(json.dumps({"t": time.time(), **event}) + "\\n")
"""

READS = (
    ("runs",),
    ("queue",),
    ("grid",),
    ("note", "--all"),
    ("show", "RUN"),
    ("export", "--format", "csv"),
)


class Call(NamedTuple):
    """One command as it went."""

    kind: str
    words: tuple[str, ...]
    code: int
    took_s: float
    said: str


class Counted(NamedTuple):
    """What is in the lab at the end, beside what should be."""

    what: str
    found: int
    expected: int


def main() -> int:
    """Let the processes loose on a lab, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=10, help="how often each does everything")
    parser.add_argument("--launches", type=int, default=10, help="processes that launch a run each")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="contention-") as folder:
        lab, own = made(Path(folder), given.processes)
        try:
            calls = let_loose(lab, own, rounds=given.rounds, launches=given.launches)
            counted = count(lab, calls, launches=given.launches)
        finally:
            agent.end(lab)
    return report(calls, counted, as_json=given.json)


def made(root: Path, processes: int) -> tuple[Lab, list[str]]:
    """Make a lab in which a run waits, held, for each process to move and to stop."""
    (root / "data").mkdir()
    program = root / "noop.py"
    program.write_text(PROGRAM)
    lab = make_lab(root / "lab")
    lab.settings_file.write_text(
        f'[launch]\ngpus = 0\ncpu_slots = 2\npreset = "quick"\npretrain_program = "{program}"\n'
        f'[data.mimic_cxr]\nroot = "{root / "data"}"\n'
    )
    lab = make_lab(lab.root)
    db = open_store(lab.registry)
    own = [runs.new_id() for _ in range(processes)]
    for seed, id in enumerate(own):
        folder = lab.runs_dir / f"{id}-mrm-pretrain-s{10_000 + seed}"
        folder.mkdir()
        command = [sys.executable, "-P", str(program), "--output_dir", str(folder)]
        new = runs.NewRun(
            id, "mrm", "pretrain", None, 10_000 + seed, "quick", "o", str(folder), None, command, 0
        )
        runs.add(db, [new])
    queue.hold(db, own)
    db.conn.close()
    return lab, own


def let_loose(lab: Lab, own: Sequence[str], *, rounds: int, launches: int) -> list[Call]:
    """Run all processes at once, and return every command as it went."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_WORKED_WITH])
    barrier = context.Barrier(len(own))
    answers = context.Queue()
    workers = [
        context.Process(
            target=work,
            args=(str(lab.root), number, list(own), rounds, number < launches, barrier, answers),
        )
        for number in range(len(own))
    ]
    for worker in workers:
        worker.start()
    calls: list[Call] = []
    heard = 0
    while heard < len(workers):
        with contextlib.suppress(Empty):
            calls += [Call(*call) for call in answers.get(timeout=1.0)]
            heard += 1
            continue
        if any(worker.exitcode for worker in workers):
            raise RuntimeError("a process broke down")
    for worker in workers:
        worker.join(END_S)
    return calls


_WORKED_WITH = ("cxrlab.commands.launch", "cxrlab.launch", "cxrlab.agent", "cxrlab.exports.files",
                "cxrlab.grid.cells", "cxrlab.commands.note", "cxrlab.commands.todo")  # fmt: skip


def work(
    root: str, number: int, own: list[str], rounds: int, launches: bool, barrier: Barrier, out: Any
) -> None:
    """Be one of those who work in the lab."""
    calls: list[Call] = []
    for words in (("queue",), ("note",), ("todo",), ("grid",)):
        called(root, "", words)  # what is loaded once is no wait
    barrier.wait(READY_S)
    if launches:
        line = ("launch", "mrm", "--task", "pretrain", "--seed", str(number), "--json")
        calls.append(called(root, "launch", line))
    mine, other = own[number], own[(number + 1) % len(own)]
    for turn in range(rounds):
        words = f"process {number} turn {turn}"
        calls.append(called(root, "note", ("note", f"note of {words}")))
        point = called(root, "todo", ("todo", f"point of {words}", "--json"))
        calls.append(point)
        if turn % 2 == 0 and point.code == 0:
            named = str(json.loads(point.said.partition("\0")[0])["number"])
            calls.append(called(root, "todo", ("todo", "done", named)))
        moves = (("first", mine), ("last", mine), ("hold", mine), ("priority", "3", mine))
        calls.append(called(root, "queue", ("queue", *moves[(turn + number) % len(moves)])))
        read = READS[(turn + number) % len(READS)]
        calls.append(called(root, "read", [other if word == "RUN" else word for word in read]))
    calls.append(called(root, "stop", ("stop", mine)))
    out.put([tuple(call) for call in calls])


def called(root: str, kind: str, words: Sequence[str]) -> Call:
    """Type one command, in this process, and return how it went; what it said, both streams."""
    out, err = io.StringIO(), io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), quiet():
        try:
            cli.app(["--lab", root, *words])
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    took = time.perf_counter() - began
    return Call(kind, tuple(words), code, took, f"{out.getvalue()}\0{err.getvalue()}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let nothing be coloured or as wide as the terminal that the benchmark runs in."""
    kept = dict(os.environ)
    os.environ.update(NO_COLOR="1", COLUMNS="200")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def amiss(call: Call) -> bool:
    """Return whether a person would have seen a failure, or a word of locks."""
    _, _, err = call.said.partition("\0")
    return call.code != 0 or any(word in err for word in ("locked", "busy", "error:", "Traceback"))


def count(lab: Lab, calls: Sequence[Call], *, launches: int) -> list[Counted]:
    """Wait for the launched runs, and count what is there."""
    db = open_store(lab.registry)
    try:
        until(lambda: not left(lab, db))
        made = [run for run in runs.select(db) if run.recipe == "r"]
        states = Counter(run.state for run in runs.select(db))
        kinds = Counter(call.kind for call in calls)
        done = sum(call.words[:2] == ("todo", "done") for call in calls)
        entries = notes.select(db)
        return [
            Counted("runs launched", len(made), launches),
            Counted("of them, seeds", len({run.seed for run in made}), launches),
            Counted("of them, attempts", sum(run.attempt for run in made), launches),
            Counted("runs succeeded", states["succeeded"], launches),
            Counted("runs stopped", states["stopped"], kinds["stop"]),
            Counted("notes", sum(e.kind == "note" for e in entries), kinds["note"]),
            Counted("points", sum(e.kind == "todo" for e in entries), kinds["todo"] - done),
            Counted("ticked off", sum(e.state == "done" for e in entries), done),
            Counted("registry is sound", int(sound(db)), 1),
        ]
    finally:
        db.conn.close()


def left(lab: Lab, db: Any) -> int:
    """Return how many runs have not ended yet."""
    refresh.refresh(lab, db)
    if runs.count(db, states=("queued", "running")):
        agent.ensure_agent(lab)
    return runs.count(db) - runs.count(db, states=runs.ENDED)


def sound(db: Any) -> bool:
    """Return whether SQLite finds nothing wrong with the file."""
    return bool(db.conn.execute("pragma integrity_check").fetchone() == ("ok",))


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + END_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the launched runs have not ended")
        time.sleep(0.2)


def report(calls: Sequence[Call], counted: Sequence[Counted], *, as_json: bool) -> int:
    """Print how long commands took and what is amiss; return 1 where something is."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        by_kind[call.kind].append(call.took_s)
        by_kind["all"].append(call.took_s)
    waits = {
        kind: {
            "commands": len(took),
            "median_s": statistics.median(took),
            "p95_s": statistics.quantiles(took, n=20)[-1] if len(took) > 1 else took[0],
            "worst_s": max(took),
        }
        for kind, took in by_kind.items()
    }
    failed = [call for call in calls if amiss(call)]
    wrong = [each for each in counted if each.found != each.expected]
    if as_json:
        document = {
            "waits": waits,
            "failed": [call._asdict() for call in failed],
            "counted": [each._asdict() for each in counted],
        }
        print(json.dumps(document, indent=1))
        return int(bool(failed or wrong))
    print("| what | commands | median, ms | 95th percentile, ms | worst, ms |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for kind, row in waits.items():
        took = " | ".join(f"{1000 * row[key]:.0f}" for key in ("median_s", "p95_s", "worst_s"))
        print(f"| {kind} | {row['commands']:,} | {took} |")
    for each in counted:
        print(f"{each.what}: {each.found:,} of {each.expected:,}")
    for call in failed[:10]:
        print(f"FAILED ({call.code}): {' '.join(call.words)}: {call.said!r}")
    print(f"commands that failed or spoke of a lock: {len(failed)} of {len(calls):,}")
    return int(bool(failed or wrong))


if __name__ == "__main__":
    sys.exit(main())
