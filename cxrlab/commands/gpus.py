"""`cxrlab gpus`: show what each GPU is doing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cxrlab.access import AsJson, lab_of

if TYPE_CHECKING:
    from cxrlab.gpus import Gpu

HEAD = ("gpu", "name", "memory", "busy", "temp", "power", "run", "used by")


def gpus(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show each GPU: memory, load, temperature, who uses it, and which run of the lab holds it."""
    from cxrlab import console
    from cxrlab.gpus import read_gpus

    reading = read_gpus()
    held = holders(ctx)
    if as_json:
        found = [
            asdict(gpu)
            | {"processes": [p._asdict() for p in gpu.processes], "run": held.get(gpu.uuid)}
            for gpu in reading.gpus
        ]
        console.facts({"gpus": found, "error": reading.error, "at": reading.at})
        return
    if not reading.gpus:
        console.say(f"{reading.error}; runs use the CPU: `cxrlab launch ... --gpus cpu`")
        return
    rows = [row(gpu, held) for gpu in reading.gpus]
    for line in console.table(HEAD, rows, right=(0, 3, 4, 5), gives_way=7, columns=console.width()):
        console.fact(line)
    if reading.error:
        console.say(reading.error)


def holders(ctx: typer.Context) -> dict[str, str]:
    """Return which run of the lab holds which GPU; none outside a lab."""
    from cxrlab.errors import NotFound
    from store import claims
    from store.db import open_store

    try:
        lab = lab_of(ctx)
    except NotFound:
        return {}
    if not lab.registry.exists():
        return {}
    db = open_store(lab.registry)
    try:
        return claims.held(db)
    finally:
        db.conn.close()


def row(gpu: Gpu, held: dict[str, str]) -> list[str]:
    """Return the texts of one GPU."""
    users = dict.fromkeys(process.user for process in gpu.processes)
    return [
        str(gpu.index),
        gpu.name,
        f"{gpu.used_mib / 1024:.1f}/{gpu.total_mib / 1024:.1f} GiB",
        known(gpu.utilization, " %"),
        known(gpu.temperature, " °C"),
        known(gpu.power_w, " W"),
        held.get(gpu.uuid, ""),
        ", ".join(users),
    ]


def known(value: int | None, unit: str) -> str:
    """Return a number with its unit; empty where the driver does not tell."""
    return "" if value is None else f"{value}{unit}"
