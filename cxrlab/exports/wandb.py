"""How does a run look as W&B's offline folder, which `wandb sync` uploads?

One log of records: a header, the run with its settings, its history, its summary, and how it ended.

Source: wandb/proto/wandb_internal.proto, as wandb 0.31 writes it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import PurePosixPath
from typing import Any

from cxrlab.exports.curves import Curves, settings
from trainers.framing import wandb_log
from trainers.protobuf import bytes_field, whole_field

PROJECT = "cxrlab"

_HISTORY, _SUMMARY, _RUN, _EXIT, _HEADER = 2, 3, 17, 18, 21
_READABLE_SINCE = "0.70.0"
"""What wandb writes into its own headers as the oldest reader."""


def file_name(curves: Curves) -> str:
    """Return where the log lies within a folder of W&B, as its own are called."""
    began = time.strftime("%Y%m%d_%H%M%S", time.gmtime(curves.run.started or curves.run.created))
    id = curves.run.id
    return str(PurePosixPath("wandb", f"offline-run-{began}-{id}", f"run-{id}.wandb"))


def log(curves: Curves) -> bytes:
    """Return the log of a run; the same curves give the same bytes."""
    version = bytes_field(1, f"cxrlab {metadata.version('cxrlab')}")
    contents = [
        (_HEADER, bytes_field(1, version + bytes_field(2, _READABLE_SINCE))),
        (_RUN, _run(curves)),
        *((_HISTORY, record) for record in _history(curves)),
        (_SUMMARY, _items(1, curves.results)),
        (_EXIT, whole_field(1, 0 if curves.run.state == "succeeded" else 1)),
    ]
    return wandb_log(
        whole_field(1, number) + bytes_field(kind, content)
        for number, (kind, content) in enumerate(contents, start=1)
    )


def _run(curves: Curves) -> bytes:
    began = curves.run.started or curves.run.created
    when = whole_field(1, int(began)) + whole_field(2, int(began % 1 * 1e9))
    told = {**settings(curves.run), **curves.identity()}
    return b"".join(
        (
            bytes_field(1, curves.run.id),
            bytes_field(3, PROJECT),
            bytes_field(4, b"".join(_config(name, value) for name, value in told.items())),
            bytes_field(8, curves.name),
            bytes_field(17, when),
        )
    )


def _config(name: str, value: Any) -> bytes:
    return bytes_field(1, bytes_field(1, name) + bytes_field(16, _json(value)))


def _history(curves: Curves) -> list[bytes]:
    began = curves.run.started or curves.run.created
    by_step: dict[int, dict[str, float]] = {}
    for name, points in curves.metrics.items():
        for step, value in points:
            by_step.setdefault(step, {})[name] = value
    records = []
    for step in sorted(by_step):
        t = curves.time_of(step)
        own = {"_step": step, "_timestamp": t, "_runtime": max(0.0, t - began)}
        records.append(_items(1, by_step[step] | own) + bytes_field(2, whole_field(1, step)))
    return records


def _items(number: int, values: Mapping[str, float]) -> bytes:
    """Write names with their values; as wandb does, a name is a path of one part."""
    return b"".join(
        bytes_field(number, bytes_field(2, name) + bytes_field(16, _json(value)))
        for name, value in values.items()
    )


def _json(value: Any) -> str:
    """Return JSON as wandb writes it, where NaN and infinity are numbers too."""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return json.dumps(value, ensure_ascii=False, default=str)
