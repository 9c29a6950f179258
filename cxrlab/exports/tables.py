"""How do the curves of a run look as a csv table, which `cxrlab import csv` reads again?"""

from __future__ import annotations

import csv
import io

from cxrlab.exports.curves import Curves


def table(curves: Curves) -> str:
    """Return a line for each step: the step, when it was logged, and every metric.

    A metric that was not logged at a step leaves its cell empty; `nan` is a value that was not
    finite.
    """
    by_step: dict[int, dict[str, float]] = {}
    for name, points in curves.metrics.items():
        for step, value in points:
            by_step.setdefault(step, {})[name] = value
    names = sorted(curves.metrics)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["step", "time", *names])
    for step in sorted(by_step):
        values = by_step[step]
        cells = [repr(values[name]) if name in values else "" for name in names]
        writer.writerow([step, curves.times.get(step, ""), *cells])
    return out.getvalue()
