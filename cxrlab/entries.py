"""How do entries of the notebook look, which does a command line name, and what are they about?

Entries hold what people and notebooks wrote, so nothing of them reaches a terminal as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from cxrlab import completion, console, text
from cxrlab.errors import NotFound, Usage, unknown_name
from cxrlab.harmless import harmless
from trainers.catalog import METHODS, PRETRAIN, TASKS

if TYPE_CHECKING:
    from store.db import Database
    from store.notes import Entry

MARKS = {"": "", "open": "[ ]", "done": "[x]", "warning": "!", "endorsed": "+"}
"""How a state is marked in a list."""

STYLES = {"done": "dim", "warning": "yellow", "endorsed": "green"}


class Asked(NamedTuple):
    """What the words of a command ask for: something done to entries, or a text to write down."""

    action: str = ""
    numbers: tuple[int, ...] = ()
    text: str = ""


def asked(words: Sequence[str] | None, actions: Sequence[str], command: str) -> Asked:
    """Return what `words` ask for: `done 3`, a text of one word or more, `-` for standard input.

    Raises:
        Usage: an action without numbers, or an empty text.
    """
    if not words:
        return Asked()
    first, *rest = words
    if first in actions and (not rest or all(word.isdecimal() for word in rest)):
        if not rest:
            raise Usage(
                f"`{command} {first}` needs a number",
                f"`{command}` lists them; quotes make it a text: `{command} '{first} ...'`",
            )
        return Asked(first, tuple(dict.fromkeys(map(int, rest))))
    said = sys.stdin.read() if list(words) == ["-"] else " ".join(words)
    # what the terminal sent in another encoding than it says
    written = said.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
    if not written:
        raise Usage("there is nothing to write down", f'`{command} "text"`')
    return Asked(text=written)


def about_of(db: Database, name: str) -> str:
    """Return what an entry is about by its one name.

    A run's id, a cell as `mrm:siim:10`, a method or a task.

    Raises:
        NoSuchRun: it is none; an id that entries are about may be that of a run long gone.
        AmbiguousRun: several runs begin so.
        NotFound: a cell of a method or task that is not known.
        Usage: a ratio that is none.
    """
    from store import notes, runs

    if ":" in name or "/" in name:
        return cell_word(name.replace("/", ":"))
    if is_of_catalog(name):
        return name
    try:
        return runs.find(db, name).id
    except runs.NoSuchRun:
        if not notes.select(db, about=name):
            raise
        return name


def is_of_catalog(name: str) -> bool:
    """Tell whether a method or a task is called so."""
    return name in METHODS or name in TASKS or name == PRETRAIN


def cell_word(name: str) -> str:
    """Return the name of a cell, `METHOD:TASK`, with `:RATIO` and `:METRIC` where it has them.

    Raises:
        NotFound: no method or task is called so.
        Usage: the ratio is no whole number from 1 to 100, or the metric is none.
    """
    from trainers import metrics

    method, task, *rest = name.split(":")
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if task not in (*TASKS, PRETRAIN):
        raise unknown_name("task", task, (*TASKS, PRETRAIN))
    ratio = rest.pop(0) if rest and rest[0].isdecimal() else ""
    metric = rest.pop(0) if rest else ""
    share = text.whole(ratio) if ratio else 1
    if rest or not 0 < (share or 0) <= 100 or (metric and not metrics.find(metric)):
        raise Usage(f"`{name}` is no cell", "write `mrm:siim`, `mrm:siim:10`, `mrm:siim:10:Dice`")
    return ":".join(filter(None, (method, task, ratio, metric)))


def found(db: Database, numbers: Sequence[int], command: str) -> list[Entry]:
    """Return the entries of those numbers.

    Raises:
        NotFound: one of them is not there; nothing has been done yet.
    """
    from store import notes

    try:
        return [notes.get(db, number) for number in numbers]
    except notes.NoSuchEntry as problem:
        raise NotFound(str(problem), f"`{command} --all` lists them") from problem


def drop(db: Database, doomed: Sequence[Entry], *, yes: bool) -> None:
    """Remove entries for good, after asking unless told that it is settled.

    Raises:
        Usage: there is nobody to ask.
    """
    from store import notes

    if not yes:
        if not sys.stdin.isatty():
            raise Usage("there is no terminal to ask on", "`--yes` removes without asking")
        for line in listing(doomed, columns=console.width()):
            console.say(line)
        entries = "this" if len(doomed) == 1 else f"these {len(doomed)}"
        if not typer.confirm(f"remove {entries} for good?", err=True):
            console.say("nothing was removed")
            raise typer.Exit(1)
    for entry in doomed:
        notes.remove(db, entry.id)


def containing(entries: Sequence[Entry], words: str) -> list[Entry]:
    """Return the entries whose text or heading has `words` in it, large or small letters alike."""
    wanted = words.casefold()
    return [e for e in entries if wanted in e.text.casefold() or wanted in e.section.casefold()]


def facts(entry: Entry) -> dict[str, Any]:
    """Return an entry as `--json` gives it."""
    return {("number" if name == "id" else name): said for name, said in entry._asdict().items()}


def now() -> str:
    """Return this minute as entries are dated, `2023-03-20 21:00`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time()))


def listing(entries: Sequence[Entry], *, columns: int) -> list[str]:
    """Return the lines of a list: number, day, mark and text of each, and where it is from."""
    width = max((len(str(entry.id)) for entry in entries), default=0)
    lines = []
    for entry in entries:
        first = f"{entry.id:>{width}}  {entry.written[:10]:<10}  "
        mark = MARKS.get(entry.state, "")
        indent = len(first)
        said = (
            shown(entry.text, columns=columns - indent - len(mark) - 1)  # `show` tells it in full
            if "\n" in entry.text
            else harmless(console.one_line(entry.text))
        )
        head, *rest = folded(f"{mark} {said}".strip(), columns=columns - indent)
        style = STYLES.get(entry.state, "")
        lines.append(first + console.paint(head, style))
        lines += [" " * indent + console.paint(line, style) for line in rest]
        if origin := origin_of(entry):
            where = folded(harmless(origin), columns=columns - indent)
            lines += [" " * indent + console.paint(line, "dim") for line in where]
    return lines


def page(entry: Entry, *, columns: int) -> list[str]:
    """Return the lines that tell one entry in full, its own line breaks kept."""
    state = f", {entry.state}" if entry.state else ""
    lines = [console.paint(f"{entry.id}  {entry.kind}{state}", "bold")]
    if entry.written:
        lines.append(f"written {entry.written}")
    if origin := origin_of(entry):
        lines += folded(harmless(origin), columns=columns)
    return [*lines, "", *(harmless(line) for line in entry.text.split("\n"))]


def shown(said: str, *, columns: int) -> str:
    """Return a text on one line, shortened to fit."""
    room = max(columns, console.NARROWEST)
    return console.shortened(harmless(console.one_line(said), longest=4 * room), room)


def origin_of(entry: Entry) -> str:
    """Return what an entry is about and where it was read, in words; empty for neither."""
    parts = [f"about {entry.about}"] if entry.about else []
    if entry.section:
        parts.append(console.one_line(entry.section))
    if entry.source:
        line = f":{entry.line}" if entry.line is not None else ""
        parts.append(f"{entry.source}{line}")
    return ", ".join(parts)


def folded(said: str, *, columns: int) -> list[str]:
    """Return `said` in lines that fit; between words, or anywhere in a word that is too long.

    Wide characters need no blank between them to be parted.
    """
    room = max(columns, console.NARROWEST)
    lines: list[str] = []
    line, used = "", 0
    for word in said.split(" "):
        length = console.length(word)
        if line and used + 1 + length <= room:
            line, used = f"{line} {word}", used + 1 + length
            continue
        if line and length <= room:
            lines.append(line)
            line, used = word, length
            continue
        if line and used + 2 <= room:
            line, used = f"{line} ", used + 1
        for sign in word:
            step = console.length(sign)
            if used + step > room:
                lines.append(line.rstrip())
                line, used = "", 0
            line, used = line + sign, used + step
    return [*lines, line] if line or not lines else lines


def about_names(ctx: typer.Context, incomplete: str) -> completion.Offer:
    """Return what an entry can be about and begins so: runs, methods, tasks and cells."""
    return completion.run_ids(ctx, incomplete) + [(name, "") for name in named(incomplete)]


def named(incomplete: str) -> list[str]:
    """Return the methods and tasks that begin so; behind a method and `:` its cells."""
    method, colon, rest = incomplete.partition(":")
    if not colon:
        return [name for name in (*METHODS, *TASKS, PRETRAIN) if name.startswith(incomplete)]
    if method not in METHODS:
        return []
    cells = [PRETRAIN, *TASKS, *(f"{name}:{n}" for name, e in TASKS.items() for n in e.ratios)]
    return [f"{method}:{cell}" for cell in cells if cell.startswith(rest)]
