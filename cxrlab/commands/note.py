"""`cxrlab note`: write down a note, or list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab import entries
from cxrlab.access import AsJson, opened

if TYPE_CHECKING:
    from store.notes import Entry

KINDS = ("note", "fact", "reference", "command")
"""What is listed as a note; open points and ideas are `cxrlab todo`'s."""

SHOWN = 50
"""How many are listed where `--limit` does not say."""


def note(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="What to write down; `-` reads it from standard input.",
            show_default=False,
        ),
    ] = None,
    about: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|CELL|NAME",
            help="What it is about: a run, a cell such as `mrm:siim:10`, a method or a task. "
            "Without a text: list what was written about it.",
            autocompletion=entries.about_names,
        ),
    ] = None,
    find: Annotated[
        str | None, typer.Option(metavar="WORDS", help="List only those with these words in them.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=0, help="How many; 0 for all. [default: 50]")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List open points, ideas and done ones as well.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before dropping.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write down a note, or list them, newest first.

    `cxrlab note show 3` tells one in full, `cxrlab note drop 3` removes it for good. Numbers are
    never given to another entry.
    """
    from cxrlab import console, text
    from store import notes

    asked = entries.asked(words, ("show", "drop"), "cxrlab note")
    with opened(ctx) as (_, db):
        subject = None if about is None else entries.about_of(db, about)
        if asked.text:
            new = notes.NewEntry("note", asked.text, written=entries.now(), about=subject or "")
            tell_added(notes.add(db, new), as_json=as_json)
            return
        if asked.action:
            chosen = entries.found(db, asked.numbers, "cxrlab note")
            if asked.action == "drop":
                entries.drop(db, chosen, yes=yes)
            tell_chosen(chosen, asked.action, as_json=as_json)
            return
        kinds = () if everything or subject else KINDS
        found = notes.select(db, kinds=kinds, about=subject)
    if find is not None:
        found = entries.containing(found, find)
    most = (None if as_json else SHOWN) if limit is None else limit or None
    if as_json:
        console.facts([entries.facts(entry) for entry in found[:most]])
    elif not found:
        console.say(nothing(subject, find))
    else:
        for line in entries.listing(found[:most], columns=console.width()):
            console.fact(line)
        if most is not None and len(found) > most:
            left = text.plural(len(found) - most, "older one")
            console.say(f"{left} not shown; `--limit 0` shows all")


def nothing(subject: str | None, find: str | None) -> str:
    """Return what to say where no note fits."""
    if find is not None:
        return "no note has these words in it; `--all` looks among open points and ideas too"
    if subject is not None:
        return f'nothing was written about {subject}; `cxrlab note "text" --about {subject}` does'
    return 'no notes yet; `cxrlab note "text"` writes the first'


def tell_added(entry: Entry, *, as_json: bool) -> None:
    """Tell that an entry was written down, and under which number."""
    from cxrlab import console

    if as_json:
        console.facts(entries.facts(entry))
        return
    subject = f", about {entry.about}" if entry.about else ""
    console.fact(f"{entry.kind} {entry.id}{subject}")


def tell_chosen(chosen: list[Entry], action: str, *, as_json: bool) -> None:
    """Tell the entries that were shown or dropped."""
    from cxrlab import console

    if as_json:
        console.facts([entries.facts(entry) for entry in chosen])
    elif action == "drop":
        for entry in chosen:
            console.fact(f"dropped {entry.kind} {entry.id}")
    else:
        for entry in chosen:
            for line in entries.page(entry, columns=console.width()):
                console.fact(line)
