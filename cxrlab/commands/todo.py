"""`cxrlab todo`: add, list and tick off open points and ideas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab import entries
from cxrlab.access import AsJson, opened

if TYPE_CHECKING:
    from store.notes import Entry

ACTIONS = {"done": "done", "reopen": "open"}
"""What can be done to open points, and the state that they then have."""

KINDS = ("todo", "idea")


def todo(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="What is to be done; `-` reads it from standard input.",
            show_default=False,
        ),
    ] = None,
    idea: Annotated[
        bool, typer.Option("--idea", help="It is an idea. Without a text: list ideas.")
    ] = False,
    about: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|CELL|NAME",
            help="What it is about: a run, a cell such as `mrm:siim:10`, a method or a task.",
            autocompletion=entries.about_names,
        ),
    ] = None,
    find: Annotated[
        str | None, typer.Option(metavar="WORDS", help="List only those with these words in them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="List done ones as well.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before dropping.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add an open point or an idea, or list what is open by its number.

    `cxrlab todo done 3` ticks it off, `cxrlab todo reopen 3` takes that back, and
    `cxrlab todo drop 3` removes it for good; several numbers may be given.
    """
    from cxrlab import console, text
    from store import notes

    asked = entries.asked(words, (*ACTIONS, "drop"), "cxrlab todo")
    with opened(ctx) as (_, db):
        subject = None if about is None else entries.about_of(db, about)
        if asked.text:
            kind = "idea" if idea else "todo"
            new = notes.NewEntry(kind, asked.text, "open", entries.now(), about=subject or "")
            tell([notes.add(db, new)], "added", as_json=as_json, single=True)
            return
        if asked.action:
            chosen = entries.found(db, asked.numbers, "cxrlab todo")
            refuse_others(chosen)
            if asked.action == "drop":
                entries.drop(db, chosen, yes=yes)
            else:
                state = ACTIONS[asked.action]
                chosen = [notes.change_state(db, entry.id, state) for entry in chosen]
            said = {"done": "done", "reopen": "open again", "drop": "dropped"}[asked.action]
            tell(chosen, said, as_json=as_json)
            return
        known = sorted(notes.select(db, kinds=KINDS, about=subject), key=lambda entry: entry.id)
    kinds = ("idea",) if idea else KINDS if everything or find is not None else ("todo",)
    found = [e for e in known if e.kind in kinds and (everything or e.state != "done")]
    if find is not None:
        found = entries.containing(found, find)
    if as_json:
        console.facts([entries.facts(entry) for entry in found])
        return
    for line in entries.listing(found, columns=console.width()):
        console.fact(line)
    if not found:
        console.say(nothing(known, idea=idea, find=find))
    elif not idea and "idea" not in kinds and (ideas := undone(known, "idea")):
        console.say(f"and {text.plural(ideas, 'idea')}: `cxrlab todo --idea`")


def undone(known: list[Entry], kind: str) -> int:
    """Return how many of a kind are not done."""
    return sum(entry.kind == kind and entry.state != "done" for entry in known)


def nothing(known: list[Entry], *, idea: bool, find: str | None) -> str:
    """Return what to say where nothing is listed."""
    from cxrlab import text

    kind = "idea" if idea else "todo"
    if find is not None:
        return "none has these words in it; `--all` looks among done ones too"
    done = sum(entry.kind == kind and entry.state == "done" for entry in known)
    if done:
        told = (
            f"nothing is open; `--all` lists the {done} done"
            if not idea
            else (f"no idea is open; `--all` lists the {done} done")
        )
    elif idea:
        told = 'no ideas yet; `cxrlab todo --idea "text"` adds the first'
    else:
        told = 'nothing is open; `cxrlab todo "text"` adds a point'
    ideas = 0 if idea else undone(known, "idea")
    return f"{told}; {text.plural(ideas, 'idea')}: `cxrlab todo --idea`" if ideas else told


def refuse_others(chosen: list[Entry]) -> None:
    """Refuse to tick off what is neither an open point nor an idea.

    Raises:
        Usage: one of them is; nothing has been done yet.
    """
    from cxrlab.errors import Usage

    for entry in chosen:
        if entry.kind not in KINDS:
            raise Usage(
                f"{entry.id} is a {entry.kind}, and nothing to be done", "see `cxrlab todo`"
            )


def tell(chosen: list[Entry], said: str, *, as_json: bool, single: bool = False) -> None:
    """Tell what was done to entries, a line each."""
    from cxrlab import console

    if as_json:
        documents = [entries.facts(entry) for entry in chosen]
        console.facts(documents[0] if single else documents)
        return
    for entry in chosen:
        words = entries.shown(entry.text, columns=console.width() - len(said) - 20)
        console.fact(f"{said} {entry.kind} {entry.id}: {words}")
