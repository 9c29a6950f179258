"""How a command gets at its lab: found, its registry opened and brought up to date, and closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab import completion

if TYPE_CHECKING:
    from cxrlab.lab import Lab
    from store.db import Database
    from store.runs import Run

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, or as much of it as no other begins with.",
        autocompletion=completion.run_ids,
        show_default=False,
    ),
]
RunNames = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Runs by id, or as much of it as no other begins with.",
        autocompletion=completion.run_ids,
        show_default=False,
    ),
]
FreshCode = Annotated[
    bool,
    typer.Option(
        "--fresh-code",
        help="Execute today's code of the trainers, not what was there when the run was queued.",
    ),
]
IncludeRestricted = Annotated[
    list[str] | None,
    typer.Option(
        "--include-restricted",
        metavar="NAME",
        help="Show reports and images of this restricted data set too; may be given again.",
        autocompletion=completion.datasets,
    ),
]


def lab_of(ctx: typer.Context) -> Lab:
    """Return the lab that `--lab`, CXRLAB_LAB or the working directory names.

    Raises:
        NotFound: there is none.
    """
    from cxrlab.lab import find_lab

    return find_lab(ctx.find_root().params.get("lab"))


@contextmanager
def opened(ctx: typer.Context, *, changes: bool = False) -> Iterator[tuple[Lab, Database]]:
    """Give the lab and its registry, with everything taken in that trainers have written.

    A lab of somebody else is given as it is, for reading alone, and talk says so.

    Args:
        ctx: the command's context, which says which lab.
        changes: whether the command changes something in the lab, or runs its programs.

    Raises:
        NotFound: there is no lab.
        NotYours: it is somebody else's, and would be changed or may not be read.
    """
    lab = lab_of(ctx)
    if changes:
        from cxrlab import ownership

        ownership.check(lab)
    with registry_of(lab) as db:
        yield lab, db


@contextmanager
def registry_of(lab: Lab, *, look: bool = True) -> Iterator[Database]:
    """Give the registry of `lab`, brought up to date unless told otherwise, and close it."""
    from cxrlab import console, moved, ownership

    db = ownership.open_registry(lab)
    try:
        if said := ownership.told(lab) or moved.settle(lab, db):
            console.say(said)
        if look and not ownership.owner(lab):
            from cxrlab.refresh import refresh

            refresh(lab, db)
        yield db
    finally:
        db.conn.close()


def named(db: Database, names: Sequence[str]) -> list[Run]:
    """Return the runs of those names, each once, in that order.

    Raises:
        NoSuchRun: nothing begins with one of them; nothing has been done yet.
        AmbiguousRun: several do.
    """
    from store import runs

    found = [runs.find(db, name) for name in names]
    return list({run.id: run for run in found}.values())
