"""What are all curves of a run, with the times at which they were logged?

Values come from the registry, which knows what a resumed run has superseded; times from the run
folder, where it is still there.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab.exports import facts
from store import points, results, use, within
from store.db import Database
from store.intake import FILE_NAME
from store.runs import Run


class Curves(NamedTuple):
    """A run with every point it has logged."""

    run: Run
    metrics: dict[str, list[tuple[int, float]]]
    """(step, value) by name, in order of steps; NaN for what was not finite."""
    times: dict[int, float]
    """When each step was logged (s since the epoch), as far as that is known."""
    results: dict[str, float]
    use: dict[str, list[tuple[int, float, float]]]
    """(second of the run, value, time) of what it used of its machine, by name."""

    @property
    def name(self) -> str:
        """What the run is called elsewhere, fit for a file's name."""
        ratio = "" if self.run.ratio is None else f"-{self.run.ratio}"
        cell = f"{self.run.method}-{self.run.task}{ratio}-s{self.run.seed}"
        return f"{self.run.id}-{cell}".replace("/", "_")

    @property
    def points(self) -> int:
        """How many values it has logged in all."""
        return sum(map(len, self.metrics.values()))

    def time_of(self, step: int) -> float:
        """Return when a step was logged; where that is not known, when the run began."""
        return self.times.get(step, self.run.started or self.run.created)

    def identity(self) -> dict[str, Any]:
        """Return what an import needs to know the run again: its id and its cell."""
        known = facts.of_run(self.run)
        names = ("method", "task", "ratio", "seed", "preset", "recipe", "state")
        told = {f"cxrlab.{name}": known[name] for name in names if known[name] is not None}
        return {"cxrlab.run": self.run.id, **told}


def read(db: Database, run: Run) -> Curves:
    """Return the curves of a run, none of them thinned."""
    metrics: dict[str, list[tuple[int, float]]] = {}
    for name, step, value in points.every(db, run.id):
        if points.is_use(name):
            continue
        metrics.setdefault(name, []).append((step, math.nan if value is None else value))
    numbers = {n.metric: n.value for n in results.of_run(db, run.id) if n.value is not None}
    used: dict[str, list[tuple[int, float, float]]] = {}
    for second, stretch in use.stretches(Path(run.folder)):
        for name, seen in stretch.values.items():
            used.setdefault(name, []).append((second, seen, stretch.t))
    return Curves(run, metrics, _times(Path(run.folder) / FILE_NAME), numbers, used)


def settings(run: Run) -> dict[str, Any]:
    """Return the configuration of a run, as its folder has it, nested names joined by dots."""
    return dict(_flat("", within.read_object(Path(run.folder), "config.json")))


def _flat(prefix: str, value: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, inner in value.items():
        if isinstance(inner, dict):
            found += _flat(f"{prefix}{name}.", inner)
        else:
            found.append((prefix + name, inner))
    return found


def _times(path: Path) -> dict[int, float]:
    """Return when each step was logged last; empty where the folder is gone."""
    found: dict[int, float] = {}
    try:
        with within.open_file(path.parent, path.name) as file:
            for line in file:
                try:
                    event = json.loads(line)
                    if event["kind"] == "metrics":
                        found[int(event["step"])] = float(event["t"])
                except (ValueError, TypeError, KeyError):
                    continue  # torn, or of a kind that nobody knows yet
    except OSError:
        return {}
    return found
