"""What have papers reported, and where does it stand?"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from cxrlab.errors import BadInput
from trainers import metrics
from trainers.catalog import PRETRAIN, PRETRAIN_ENTRY, TASKS


@dataclass(frozen=True)
class Paper:
    """A published number and where it stands."""

    value: float
    source: str
    split: str = ""
    """On which of a data set's divisions, as runs call theirs; empty where there is only one."""


def read_published(path: Path | None = None) -> dict[tuple[str, str, int | None, str], Paper]:
    """Return the papers' numbers by (method, task, ratio, metric).

    Raises:
        BadInput: a number is of another metric than its cell's.
    """
    chosen = path or Path(__file__).with_name("published.toml")
    rows = tomllib.loads(chosen.read_text(encoding="utf-8")).get("number", [])
    for row in rows:
        refuse_other_metric(row["task"], row["metric"], f"{chosen}: {row['method']} {row['task']}")
    return {
        (row["method"], row["task"], row.get("ratio"), row["metric"]): Paper(
            float(row["value"]), " ".join(row["source"].split()), row.get("split", "")
        )
        for row in rows
    }


def refuse_other_metric(task: str, metric: str, where: str) -> None:
    """Refuse a number of `task` that is not in its metric, for the two do not compare.

    Raises:
        BadInput: it is not; the message begins with `where`, and defines both.
    """
    entry = PRETRAIN_ENTRY if task == PRETRAIN else TASKS[task]
    if task == PRETRAIN and metric == "time":
        return
    if difference := metrics.difference(entry.metric, metric):
        raise BadInput(f"{where}: {difference}", f"only `{entry.metric}` can stand in that cell")
