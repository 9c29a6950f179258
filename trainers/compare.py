"""Program: tests on the predictions of two sides whether one is better.

    python -m trainers.compare --task nih --a RUN/predictions.npz --b RUN/predictions.npz --json
    python -m trainers.compare --task nih --a A0.npz A1.npz A2.npz --b B0.npz B1.npz B2.npz
    python -m trainers.compare --task nih --a A0.npz A1.npz A2.npz --number 0.84

Several files a side are runs that differ in their seed alone; what a side scores is their mean. All
must be of the same test images: those that all of them have are compared, and their truth must be
one. What is tested, and how, is said in `trainers.significance`; every run of both sides is given
the same draws of patients. The third line compares with a published number.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainers import catalog, metrics, pairing, ratios, scores, significance, weighing
from trainers.config import ConfigError, InputError, MissingError
from trainers.events import finite
from trainers.predictions import Arrays
from trainers.scores import Floats

RESAMPLES = 1000
LEAST_RESAMPLES = 200
CODES = {ConfigError: 2, MissingError: 3, InputError: 4}


class Drawing(NamedTuple):
    """How patients are drawn."""

    seed: int = 0
    resamples: int = RESAMPLES


def main(argv: Sequence[str]) -> int:
    """Compare as `argv` says and return the exit code."""
    given = _parser().parse_args(list(argv))
    try:
        told = {"task": given.task, **_compare(given)}
    except (ConfigError, MissingError, InputError) as error:
        sys.stderr.write(f"error: {error}\n")
        return CODES[type(error)]
    said = json.dumps(finite(told), indent=2) if given.json else "\n".join(lines(told))
    sys.stdout.write(said + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainers.compare", allow_abbrev=False)
    parser.add_argument("--task", required=True, help=", ".join(catalog.TASKS))
    parser.add_argument("--a", nargs="+", required=True, metavar="FILE",
                        help="predictions.npz of the first side, a file a seed")  # fmt: skip
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--b", nargs="+", metavar="FILE", help="those of the second")
    other.add_argument("--number", type=float, metavar="X",
                       help="a published number in the task's metric, in place of --b")  # fmt: skip
    parser.add_argument("--metric", action="append", default=[], metavar="NAME",
                        help="compare by this alone; may be given again")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws of patients")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="how many draws")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def _compare(given: argparse.Namespace) -> dict[str, Any]:
    if given.task not in catalog.TASKS:
        raise MissingError(f"no task is called `{given.task}`")
    if given.resamples < LEAST_RESAMPLES:
        raise ConfigError(
            f"`resamples` is {given.resamples}; expected {LEAST_RESAMPLES} or more, for the ends "
            "of an interval lie far out"
        )
    a, b = ([pairing.read(Path(file)) for file in files] for files in (given.a, given.b or []))
    drawing = Drawing(given.seed, given.resamples)
    if b:
        return compare(a, b, given.metric, drawing)
    return with_number(a, given.number, catalog.TASKS[given.task].metric, drawing)


def compare(
    a: Sequence[Arrays], b: Sequence[Arrays], names: Sequence[str], drawing: Drawing
) -> dict[str, Any]:
    """Return every test of every metric of two sides, and on what they were made.

    Args:
        a: the runs of the first side.
        b: those of the second.
        names: the metrics; where none are named, those of `weighing.SHOWN`.
        drawing: how patients are drawn.

    Raises:
        ConfigError: the predictions do not give a metric that is named.
        InputError: the sides are not of the same images, or not with the same truth.
    """
    paired = pairing.pair([*a, *b])
    drawn = weighing.draw(paired.runs, paired.patient, **drawing._asdict())
    of_a, of_b = slice(0, len(a)), slice(len(a), None)
    rows = []
    for name in _chosen(names, paired.runs[0], drawn):
        points, draws = drawn.points[name], drawn.draws[name]
        difference = float(points[of_a].mean() - points[of_b].mean())
        apart = draws[of_a].mean(axis=0) - draws[of_b].mean(axis=0)
        tests = [_over_patients(name, paired, (difference, apart), of_a, of_b, drawing)]
        classes: list[dict[str, Any]] = []
        if name == "AUROC":
            of_mean, classes = _delong(paired, of_a, of_b)
            tests.insert(0, of_mean)
        seeds = significance.over_seeds(points[of_a].tolist(), points[of_b].tolist())
        tests += [seeds] if seeds else []
        rows.append(_row(name, points[of_a], _side(points[of_b]), tests) | {"classes": classes})
    return _told(paired, rows, drawing)


def with_number(
    a: Sequence[Arrays], number: float, metric: str, drawing: Drawing
) -> dict[str, Any]:
    """Return how runs stand to a published number, of which no spread is known.

    Over patients there is an interval, of the runs' own score less the number, and no p: the
    number too was measured on patients, likely on these, and how it would change is not known.

    Raises:
        InputError: the predictions do not give `metric`.
    """
    paired = pairing.pair(a)
    drawn = weighing.draw(paired.runs, paired.patient, **drawing._asdict())
    if metric not in drawn.points:
        raise InputError(f"the predictions do not give `{metric}`, which the number is in")
    points, draws = drawn.points[metric], drawn.draws[metric].mean(axis=0)
    apart = (float(points.mean()) - number, draws - number)
    everything, nothing = slice(0, len(a)), slice(len(a), None)
    over_patients = _over_patients(metric, paired, apart, everything, nothing, drawing)
    tests = [
        over_patients._replace(p=math.nan),
        significance.against_number(points.tolist(), number),
    ]
    row = _row(metric, points, {"value": number, "sd": None, "n": 0}, tests)
    return _told(paired, [row | {"classes": []}], drawing)


def _chosen(names: Sequence[str], arrays: Arrays, drawn: weighing.Drawn) -> list[str]:
    shown = weighing.SHOWN[weighing.kind_of(arrays)]
    for name in names:
        if name not in drawn.points:
            there = ", ".join(n for n in drawn.points if "/" not in n)
            raise ConfigError(f"these predictions are not compared by `{name}`; by {there}")
    return list(dict.fromkeys(names)) or [name for name in shown if name in drawn.points]


def _over_patients(
    name: str,
    paired: pairing.Paired,
    apart: tuple[float, Floats],
    of_a: slice,
    of_b: slice,
    drawing: Drawing,
) -> significance.Outcome:
    """Return the bootstrap of a metric, studentised where its error is known in every draw.

    Args:
        name: the metric.
        paired: the runs.
        apart: the difference, and that on each draw.
        of_a: which runs are the first side's.
        of_b: which are the second's; none where that is a number.
        drawing: how `apart` was drawn.
    """
    known = [ratios.of(run) for run in paired.runs]
    if name not in known[0]:
        return significance.bootstrap(*apart, _patients(paired))
    each = [run[name] for run in known]
    weights = scores.patient_draws(paired.patient, **drawing._asdict())
    error = ratios.errors(each[of_a], each[of_b], paired.patient, weights)
    return significance.studentised(*apart, *error)


def _delong(
    paired: pairing.Paired, of_a: slice, of_b: slice
) -> tuple[significance.Outcome, list[dict[str, Any]]]:
    first = paired.runs[0]
    score = np.stack([run["score"] for run in paired.runs])
    of_mean, each = significance.delong(score[of_a], score[of_b], first["label"], paired.patient)
    if len(each) == 1:
        return of_mean, []
    named = zip(first["classes"].tolist(), each, strict=True)
    return of_mean, [{"class": name, **outcome._asdict()} for name, outcome in named]


def _patients(paired: pairing.Paired) -> int:
    return len(np.unique(paired.patient))


def _side(points: Floats) -> dict[str, Any]:
    spread = float(points.std(ddof=1)) if points.size > 1 else None
    return {"value": float(points.mean()), "sd": spread, "n": points.size}


def _row(
    name: str, points: Floats, b: dict[str, Any], tests: Sequence[significance.Outcome]
) -> dict[str, Any]:
    known = metrics.find(name)
    return {
        "metric": name,
        "better": known.better if known else "higher",
        "a": _side(points),
        "b": b,
        "difference": tests[0].difference,
        "tests": [test._asdict() for test in tests],
    }


def _told(paired: pairing.Paired, rows: list[dict[str, Any]], drawing: Drawing) -> dict[str, Any]:
    return {
        "images": len(paired.patient),
        "patients": _patients(paired),
        **drawing._asdict(),
        "rows": rows,
        "notes": paired.notes,
    }


def lines(told: dict[str, Any]) -> list[str]:
    """Return the document as lines for a person, differences in the metric's own unit."""
    said = [f"{told['task']}: {told['images']} images of {told['patients']} patients"]
    for row in told["rows"]:
        said.append(f"{row['metric']:12} {row['a']['value']:.4f} {row['b']['value']:.4f}")
        for test in row["tests"]:
            said.append(
                f"  {test['test']:14} over {test['over']:8} {test['difference']:+.4f}  95 % "
                f"{test['low']:+.4f} to {test['high']:+.4f}  p {test['p']:.4f}"
            )
    return said + [f"note: {note}" for note in told["notes"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
