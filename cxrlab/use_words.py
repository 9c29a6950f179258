"""How is what a run used of its machine told, and what is said where its GPUs stand idle?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cxrlab import text
from cxrlab.lab import Lab
from store import points, use
from store.db import Database
from store.runs import Run
from store.use import Use

IDLE = 50.0
"""Below this the GPUs of a run are worth a word (percent, over ten minutes)."""

WAITS = 0.1
"""A trainer that waits for data for less of its time is not held up by it."""

UNITS = {
    "gpu/utilization": "%",
    "gpu/memory": "GiB",
    "gpu/power": "W",
    "gpu/temperature": "°C",
    "host/cpu": "% of a core",
    "host/memory": "GiB",
}
"""By the kind of a metric."""

FIGURES = {
    "GPU hours": "{:.1f}",
    "GPUs busy": "{:.0f} %",
    "peak GPU memory": "{:.1f} GiB",
    "GPU energy": "{:.2f} kWh",
    "CPU load": "{:.0f} %",
    "peak host memory": "{:.1f} GiB",
    "time seen": "{:.0f} %",
}
"""What is told of a run, and how."""

SEEN = 0.95
"""Where less of the time was seen, that is said."""


def kind(metric: str) -> str:
    """Return what a metric of use is of, whichever GPU: `gpu/memory`."""
    head, _, name = metric.rpartition("/")
    return f"{head.partition('/')[0]}/{name}"


def value(metric: str, number: float | None) -> str:
    """Return a value of a metric of use with its unit: `87 %`, `61.5 GiB`."""
    unit = UNITS.get(kind(metric), "").partition(" ")[0]
    said = f"{number:.1f}" if number is not None and unit == "GiB" else text.number(number, 3)
    return f"{said} {unit}".rstrip()


def by_kind(metrics: Iterable[str]) -> dict[str, list[str]]:
    """Return metrics of use by their kinds, each in the order of GPUs; how busy they are first."""
    found: dict[str, list[str]] = {}
    for metric in sorted(metrics, key=lambda name: (not name.endswith("/utilization"), kind(name))):
        found.setdefault(kind(metric), []).append(metric)
    return {each: sorted(names, key=lambda n: (len(n), n)) for each, names in found.items()}


def figures(used: Use) -> list[tuple[str, str]]:
    """Return what each figure is called, and the figure; those alone that are known."""
    seen = used.watched_s / used.seconds if used.seconds else 1.0
    values = (
        used.gpu_hours,
        used.utilization,
        used.gpu_gib,
        used.energy_kwh,
        used.cpu,
        used.host_gib,
        100 * seen if 0 < seen < SEEN else None,
    )
    told = zip(FIGURES.items(), values, strict=True)
    return [(name, how.format(value)) for (name, how), value in told if value is not None]


def facts(used: Use | None) -> dict[str, Any] | None:
    """Return what a run used for programs; times in seconds, shares in percent as drivers tell."""
    return None if used is None else used._asdict()


def idle(lab: Lab, db: Database, run: Run, config: Mapping[str, Any]) -> str:
    """Return what a person can do about the GPUs of a running run; empty where they are busy.

    Args:
        lab: whose run it is.
        db: its registry, open.
        run: the run.
        config: its resolved configuration; may be empty.
    """
    busy = use.lately(db, run.id) if run.state == "running" else None
    if busy is None or busy >= IDLE:
        return ""
    said = f"its GPUs were busy {busy:.0f} % of the last ten minutes"
    curve = points.curve(db, run.id, "perf/data_wait")
    waits = curve[-1][1] if curve else None
    if waits is not None and waits < WAITS:
        return f"{said}, and it hardly waits for data; a larger batch may help"
    workers = config.get("num_workers")
    if not isinstance(workers, int):
        return f"{said}; more loader workers may help"
    command = f"cxrlab clone {run.id} --set num_workers={max(2, 2 * workers)}"
    more = f"`{command}` has more loader workers"
    data = Path(str(config.get("data_path", "")))
    if any(lab.copy_of(name) == data for name in lab.settings.data):
        return f"{said}; {more}"
    return f"{said}; `cxrlab data prepare` decodes images once, {more}"
