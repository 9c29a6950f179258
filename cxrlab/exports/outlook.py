"""How a forecast looks: as lines of a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cxrlab import console, text
from cxrlab.filling import forecast
from cxrlab.filling.forecast import Job
from cxrlab.filling.lacking import LeftOut
from cxrlab.filling.outlook import Outlook
from cxrlab.naming import what

HEAD = ("", "run", "state", "takes", "GPU-h", "done in", "because")


def page(outlook: Outlook, *, columns: int, most: int | None = None) -> list[str]:
    """Return the lines of a forecast: runs in their order, what is unknown apart, the sum.

    Args:
        outlook: what to tell.
        columns: how long a line may be.
        most: how many runs to list; None for all.
    """
    known = [i for i in outlook.order if outlook.jobs[i].seconds is not None]
    unknown = [outlook.jobs[i] for i in outlook.order if outlook.jobs[i].seconds is None]
    listed = _listing(outlook, known[:most], columns=columns)
    if len(known) > len(known[:most]):
        listed.append(f"... and {len(known) - len(known[:most])} more; `--limit 0` shows all")
    blocks = [
        listed,
        _block("of unknown length, since nothing like it has been measured:", _grouped(unknown)),
        _block("cannot be made here:", left_out_told(outlook)),
        [total_told(outlook), *([f"order: {forecast.RULE}"] if len(known) > 1 else [])],
    ]
    lines = [line for block in blocks if block for line in ("", *block)][1:]
    # only what follows the table is prose, which may be broken
    kept = len(listed)
    return lines[:kept] + [part for line in lines[kept:] for part in _wrapped(line, columns)]


def _block(head: str, told: list[str]) -> list[str]:
    return [head, *(f"  {line}" for line in told)] if told else []


def _wrapped(line: str, columns: int) -> list[str]:
    indent = len(line) - len(line.lstrip())
    return console.wrapped(line, indent=indent, columns=columns) or [""]


def total_told(outlook: Outlook) -> str:
    """Return the sum over all runs in a sentence."""
    total = forecast.total(outlook.jobs)
    if not total.runs:
        if outlook.left_out:
            return "nothing is left to do that could be done here"
        return "nothing is left to do: every cell that was asked for has its runs"
    places = [text.plural(outlook.gpus, "GPU")] if outlook.gpus else []
    places.append(text.plural(outlook.cpu_slots, "CPU slot"))
    said = f"{text.plural(total.runs, 'run')} for {text.plural(total.cells, 'empty cell')}: "
    if total.unknown == total.runs:
        said += "of unknown length, since nothing like it has been measured yet"
    else:
        said += f"{hours(total.seconds)} hours, {hours(total.gpu_seconds)} GPU-hours"
    if outlook.spans:
        said += f"; on {' and '.join(places)} done in {text.duration(outlook.wall_s)}"
    if 0 < total.unknown < total.runs:
        said += f"; {total.unknown:,} of them of unknown length"
    cannot = [i for i, job in enumerate(outlook.jobs) if job.gpus > outlook.gpus]
    stuck = sum(bool(job.stuck) for job in outlook.jobs)
    if stuck:
        said += f"; {text.plural(stuck, 'run')} held, or waiting in vain"
    if cannot:
        said += f"; {text.plural(len(cannot), 'run')} want more GPUs than this lab has"
    return said


def left_out_told(outlook: Outlook) -> list[str]:
    """Return what cannot be made here, a sentence for each reason."""
    by_reason: dict[str, list[LeftOut]] = {}
    for out in outlook.left_out:
        by_reason.setdefault(out.why, []).append(out)
    told = []
    for why, outs in by_reason.items():
        tasks = ", ".join(dict.fromkeys(out.task for out in outs))
        methods = list(dict.fromkeys(out.method for out in outs))
        number = text.plural(sum(out.cells for out in outs), "run")
        whose = methods[0] if len(methods) == 1 else text.plural(len(methods), "method")
        told.append(f"{tasks} of {whose} ({number}): {why}")
    return told


def hours(seconds: float) -> str:
    """Return a time in hours, with as many digits as say something."""
    value = seconds / 3600
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def as_facts(outlook: Outlook) -> dict[str, Any]:
    """Return the forecast as JSON; times in seconds from now, runs in their order."""
    total = forecast.total(outlook.jobs)
    place = {index: number for number, index in enumerate(outlook.order)}
    return {
        "rule": forecast.RULE,
        "gpus": outlook.gpus,
        "cpu_slots": outlook.cpu_slots,
        "total": {
            "runs": total.runs,
            "cells": total.cells,
            "unknown": total.unknown,
            "hours": total.seconds / 3600,
            "gpu_hours": total.gpu_seconds / 3600,
            "wall_hours": outlook.wall_s / 3600 if outlook.spans else None,
        },
        "runs": [_run_facts(outlook, index, place) for index in outlook.order],
        "left_out": [out._asdict() for out in outlook.left_out],
    }


def _run_facts(outlook: Outlook, index: int, place: dict[int, int]) -> dict[str, Any]:
    job, span = outlook.jobs[index], outlook.spans.get(index)
    return {
        "id": job.run_id or None,
        "method": job.method,
        "task": job.task,
        "ratio": job.ratio,
        "seed": job.seed,
        "state": job.state,
        "reason": job.reason,
        "preset": job.preset,
        "gpus": job.gpus,
        "fills": job.fills,
        "stuck": job.stuck or None,
        "after": place[job.after] if job.after is not None else None,
        "seconds": job.seconds,
        "gpu_seconds": job.gpu_seconds,
        "starts_s": span.start if span else None,
        "ends_s": span.end if span else None,
        "basis": job.basis or None,
        "measured_in": list(job.basis_runs),
    }


def _listing(outlook: Outlook, indexes: Iterable[int], *, columns: int) -> list[str]:
    rows = []
    for number, index in enumerate(indexes, start=1):
        job, span = outlook.jobs[index], outlook.spans.get(index)
        rows.append(
            [
                str(number),
                what(job),
                " ".join(filter(None, (job.state, job.run_id, job.stuck and "(stuck)"))),
                text.duration(job.seconds),
                hours(job.gpu_seconds or 0.0) if job.gpus else text.NOTHING,
                text.duration(span.end) if span else text.NOTHING,
                job.basis,
            ]
        )
    if not rows:
        return []
    return console.table(HEAD, rows, right=(0, 3, 4, 5), gives_way=6, columns=columns)


def _grouped(jobs: Iterable[Job]) -> list[str]:
    """Return the jobs in words, those of a method in one line; seed 0 goes without saying."""
    found: dict[str, dict[str, list[str]]] = {}
    for job in jobs:
        parts = (
            f"{job.ratio} %" if job.ratio is not None else "",
            f"seed {job.seed}" if job.seed else "",
            f"({job.state} {job.run_id})" if job.run_id else "",
        )
        of_task = found.setdefault(job.method, {}).setdefault(job.task, [])
        of_task.append(" ".join(filter(None, parts)))
    return [
        f"{method}: "
        + "; ".join(f"{task} {', '.join(said)}".strip() for task, said in tasks.items())
        for method, tasks in found.items()
    ]
