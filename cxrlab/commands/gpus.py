"""`cxrlab gpus`: show what each GPU is doing, and whose it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cxrlab.access import AsJson, lab_of

if TYPE_CHECKING:
    from cxrlab.gpus import Reading
    from cxrlab.gpus.whose import Card, Sight

HEAD = ("gpu", "name", "memory", "busy", "temp", "power", "whose")


def gpus(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show each GPU: memory, load, temperature, and whose it is: a run's, another user's, free."""
    from cxrlab import console
    from cxrlab.gpus import read_gpus
    from cxrlab.gpus import words as gpu_words

    sight = look(ctx, read_gpus())
    if as_json:
        console.facts(
            {
                "gpus": [facts(card) for card in sight.cards],
                "known": sight.state != "unknown",
                "unknown_since": sight.unknown_since,
                "error": sight.error,
            }
        )
        return
    if sight.state == "unknown":
        console.say(f"{gpu_words.unknown(sight)}; runs go on, and those that want one wait")
        return
    if not sight.cards:
        console.say(f"{sight.error}; runs use the CPU: `cxrlab launch ... --gpus cpu`")
        return
    rows = [row(card) for card in sight.cards]
    for line in console.table(HEAD, rows, right=(0, 3, 4, 5), gives_way=6, columns=console.width()):
        console.fact(line)
    if sight.error:
        console.say(sight.error)


def look(ctx: typer.Context, reading: Reading) -> Sight:
    """Return what a reading shows; outside a lab without its runs."""
    from cxrlab import ownership
    from cxrlab.errors import NotFound
    from cxrlab.gpus import watch as gpu_watch
    from cxrlab.lab import Lab
    from cxrlab.settings import Settings
    from store import claims

    try:
        lab = lab_of(ctx)
    except NotFound:
        return gpu_watch.glance(Lab(Path("/nowhere"), Settings()), reading, ())
    if not lab.registry.exists():
        return gpu_watch.glance(lab, reading, ())
    db = ownership.open_registry(lab)
    try:
        return gpu_watch.glance(lab, reading, claims.every(db))
    finally:
        db.conn.close()


def facts(card: Card) -> dict[str, Any]:
    """Return what is known of one GPU for programs; one that has gone tells only whose it was."""
    gpu = {} if card.gpu is None else asdict(card.gpu)
    if card.gpu is not None:
        gpu["processes"] = [
            {"pid": p.pid, "user": p.user, "mib": p.mib, "compute": p.compute}
            for p in card.gpu.processes
        ]
    return {
        "uuid": card.uuid,
        **gpu,
        "owner": card.word,
        "runs": [claim.run for claim in card.claims],
        "run": card.claims[0].run if card.claims else None,
        "others": [{"user": user.name, "mib": user.mib} for user in card.others],
    }


def row(card: Card) -> list[str]:
    """Return the texts of one GPU."""
    from cxrlab.gpus import me
    from cxrlab.gpus import words as gpu_words
    from cxrlab.harmless import harmless

    owner = harmless(gpu_words.owner(card, me=me()))
    if card.gpu is None:
        return ["?", card.uuid, "", "", "", "", owner]
    return [
        str(card.gpu.index),
        harmless(card.gpu.name),
        f"{card.gpu.used_mib / 1024:.1f}/{card.gpu.total_mib / 1024:.1f} GiB",
        known(card.gpu.utilization, " %"),
        known(card.gpu.temperature, " °C"),
        known(card.gpu.power_w, " W"),
        owner,
    ]


def known(value: int | None, unit: str) -> str:
    """Return a number with its unit; empty where the driver does not tell."""
    return "" if value is None else f"{value}{unit}"
