"""How long does `cxrlab grid` take in a large lab, beyond what starting cxrlab takes?

    python benchmarks/grid.py

Makes a lab of 50 methods, 60 columns and 5 seeds with 100,000 runs in its registry, most of them
finished, in two recipes, with repeats of seeds; the others failed, were stopped or wait. Starts
`cxrlab --version`, `cxrlab grid` and `cxrlab export` in turn, as often as each other, and compares
medians. Then the grid is read for a quarter and half of the methods, and with curves of a million
points more: it must grow no faster than its cells, and not with points.

The catalog has fewer methods than that, so each command is started with made-up ones in it.
"""

from __future__ import annotations

import argparse
import compileall
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cxrlab
import store
import trainers
from cxrlab import columns, lab
from cxrlab.grid import cells
from cxrlab.settings import GridSettings
from store.db import Database, open_store, writing
from trainers import catalog

MOST_S = 0.3
"""The most that a grid may take beyond a bare start."""

METHODS, COLUMNS, SEEDS, RUNS, POINTS = 50, 60, 5, 100_000, 1_000_000
RECIPES = ("a" * 64, "b" * 64)
NAMES = [f"method_{number:02}" for number in range(METHODS)]

PREAMBLE = f"""
import sys
from trainers import catalog
catalog.METHODS.update({{
    f"method_{{n:02}}": catalog.MethodEntry("made up", source="none") for n in range({METHODS})
}})
from cxrlab.cli import main
sys.argv = ["cxrlab", *sys.argv[1:]]
sys.exit(main())
"""


def main(argv: Sequence[str]) -> int:
    """Measure, print a table, and return 1 if what is promised does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args(argv)
    for package in (cxrlab, store, trainers):  # as installed, whatever has changed since
        compileall.compile_dir(str(Path(package.__file__).parent), quiet=1)
    catalog.METHODS.update({n: catalog.MethodEntry("made up", source="none") for n in NAMES})
    with tempfile.TemporaryDirectory() as folder:
        made = lab.make_lab(Path(folder))
        words = wanted()
        made.settings_file.write_text(
            f"[grid]\nmethods = {json.dumps(NAMES)}\ncolumns = {json.dumps(words)}\n"
        )
        made = lab.make_lab(made.root)
        db = open_store(made.registry)
        fill(db, words, runs=given.runs)
        began = time.perf_counter()
        shown = cells.read_grid(db, made.settings.grid)
        first_s = time.perf_counter() - began
        filled = sum(cell.n == SEEDS for cell in shown.cells())
        print(f"{given.runs} runs, {len(shown.cells())} cells, {filled} with {SEEDS} seeds")
        print(f"{first_s * 1000:8.1f} ms  the first look, which works out all means")
        holds = commands(made, rounds=given.rounds)
        growth(db, made.settings.grid)
        before = median(db, made.settings.grid)
        log_points(db, given.points)
        after = median(db, made.settings.grid)
        print(f"with {given.points} points logged: {after / before:.2f} times as long")
    return 0 if holds else 1


def wanted() -> list[str]:
    """Return the words of 60 columns: every task at its shares, in several metrics."""
    every = [
        column.word
        for task in catalog.TASKS
        for metric in columns.measured(task)
        for column in columns.read(f"{task}:{metric}")
    ]
    return ["pretrain", *every[: COLUMNS - 2]]


def places_of(words: Sequence[str]) -> dict[tuple[str, int | None], list[str]]:
    """Return the metrics of each task and share that the columns show."""
    found: dict[tuple[str, int | None], list[str]] = {}
    for column in columns.chosen(words).columns:
        found.setdefault((column.task, column.ratio), []).append(column.metric)
    return found


def fill(db: Database, words: Sequence[str], *, runs: int) -> None:
    """Put runs into the registry as many processes would have over years, but in one go."""
    with writing(db):
        db.conn.executemany(
            """
            insert into runs (seq, id, method, task, ratio, seed, preset, recipe, state, folder,
              command, gpus, created, selected_by, result, parent)
            values (:seq, :id, :method, :task, :ratio, :seed, 'paper', :recipe, :state, :folder,
              '[]', 1, :seq, :selected_by, :result, :parent)
            """,
            rows(words, runs),
        )
        for seq, task, metrics in db.conn.execute(
            "select seq, task, json_extract(result, '$.metrics') from runs where result is not null"
        ).fetchall():
            part = "val" if task == catalog.PRETRAIN else "test"
            names = [f"{part}/{metric}" for metric in json.loads(metrics) if metric != "time"]
            db.conn.executemany(
                "insert into results values (?, ?, ?, ?, ?)",
                [(seq, name, 0.5 + seq % 97 / 400, 0.4, 0.8) for name in {*names, "val/score"}],
            )
        db.conn.execute(
            """
            insert or ignore into cells_changed
            select distinct method, task, coalesce(ratio, 0) from runs where state = 'succeeded'
            """
        )
    db.conn.execute("analyze")


def rows(words: Sequence[str], runs: int) -> Iterator[dict[str, Any]]:
    """Yield runs: five seeds of two recipes in each place, then repeats, and what went wrong."""
    places = [(m, *place) for m in NAMES for place in places_of(words)]  # pre-training first
    encoders: dict[str, str] = {}
    metrics = places_of(words)
    full = itertools.product(RECIPES, range(SEEDS), places)
    again = itertools.cycle(itertools.product(RECIPES, range(SEEDS), places))
    bad = itertools.cycle(("failed", "stopped", "lost"))
    for seq, (recipe, seed, (method, task, ratio)) in enumerate(
        itertools.islice(itertools.chain(full, again), runs), start=1
    ):
        done = seq % 10 < 7 or seq <= len(places) * SEEDS * len(RECIPES)
        state = "succeeded" if done else next(bad)
        digest = f"{seq % 3:064}"
        facts = {
            "metrics": metrics[task, ratio],
            "train_seconds": 3600.0 + seq,
            "data": {"version": "V3", "split_sha256": {"train": "t" * 64, "test": "s" * 64}},
            "names": [digest] * 20,  # as long as a real one
        }
        first = None
        if task == catalog.PRETRAIN:
            encoders.setdefault(method, f"r{seq:06}")
        else:
            first = encoders[method]
            path = f"/lab/runs/{first}-{method}/checkpoints/encoder.pt"
            facts["encoder"] = {"run": first, "path": path, "sha256": "e" * 64}
        yield {
            "seq": seq,
            "id": f"r{seq:06}",
            "method": method,
            "task": task,
            "ratio": ratio,
            "seed": seed,
            "recipe": recipe,
            "state": state,
            "folder": f"/lab/runs/r{seq:06}-{method}-{task}-{ratio}-s{seed}",
            "selected_by": "val/score",
            "result": json.dumps(facts) if done else None,
            "parent": first,
        }


def commands(made: lab.Lab, *, rounds: int) -> bool:
    """Time the commands in turn, print them, and return whether the promise holds."""
    starts = {
        "cxrlab --version": ["--version"],
        "cxrlab grid": ["--lab", str(made.root), "grid"],
        "cxrlab export": ["--lab", str(made.root), "export"],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in starts}
    for turn in range(rounds + 2):
        for name, words in starts.items():
            taken = timed([sys.executable, "-c", PREAMBLE, *words])
            if turn > 1:  # the first two fill the caches
                times[name].append(taken)
    walls = {name: statistics.median(wall for wall, _ in each) for name, each in times.items()}
    cpus = {name: statistics.median(cpu for _, cpu in each) for name, each in times.items()}
    bare, bare_cpu = walls["cxrlab --version"], cpus["cxrlab --version"]
    for name, wall in walls.items():
        more, more_cpu = (wall - bare) * 1000, (cpus[name] - bare_cpu) * 1000
        print(
            f"{wall * 1000:8.1f} ms  {name}: {more:+.0f} ms ({wall / bare:.2f} times as long), "
            f"of a processor {more_cpu:+.0f} ms"
        )
    # what others do on the machine meanwhile is no part of it
    return all(cpu - bare_cpu <= MOST_S for cpu in cpus.values())


def timed(command: Sequence[str]) -> tuple[float, float]:
    """Return how long a command takes (s), and how much time of a processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def growth(db: Database, settings: GridSettings) -> None:
    """Print how long a grid takes by its number of methods, per cell."""
    for count in (METHODS // 4, METHODS // 2, METHODS):
        some = GridSettings(tuple(NAMES[:count]), settings.columns)
        taken = median(db, some)
        shown = len(cells.read_grid(db, some).cells())
        print(f"{taken * 1000:8.1f} ms  {shown} cells, {taken / shown * 1e6:.1f} µs a cell")


def median(db: Database, settings: GridSettings) -> float:
    """Return how much time of a processor reading a grid takes (s)."""
    taken = []
    for _ in range(7):
        began = time.process_time()
        cells.read_grid(db, settings)
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def log_points(db: Database, count: int) -> None:
    """Log that many points, spread over the runs."""
    with writing(db):
        db.conn.execute("insert or ignore into metrics (name) values ('train/loss')")
        (metric,) = db.conn.execute("select id from metrics where name = 'train/loss'").fetchone()
        (runs,) = db.conn.execute("select max(seq) from runs").fetchone()
        db.conn.executemany(
            "insert into points values (?, ?, ?, ?)",
            ((1 + i % runs, metric, i // runs, 0.5) for i in range(count)),
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
