"""What is a person told of a notebook that was read, as lines and as JSON?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from cxrlab import console, text
from cxrlab.harmless import harmless
from cxrlab.imports.notebook import Brought, Launch, Notebook
from store.notebook import Number, Row

_INDENT = 2


def facts(read: Notebook, brought: Brought, *, dry_run: bool) -> dict[str, Any]:
    """Return all that was read, and what it changed, as `--json` gives it."""
    return {
        "source": read.source,
        "dry_run": dry_run,
        **brought._asdict(),
        "rows": [row._asdict() for row in read.rows],
        "numbers": [number._asdict() for number in read.numbers],
        "entries": [entry._asdict() for entry in read.entries],
        "launch_lines": [_launch_facts(launch) for launch in read.launches],
        "assumed": read.told,
        "unread": [unread._asdict() for unread in read.unread],
    }


def page(read: Notebook, brought: Brought, *, columns: int) -> list[str]:
    """Return the lines that tell what was read, what it changed, and what to know of it."""
    lines = [f"{harmless(read.source)}: {_counted(read)}", *_changes(brought)]
    for launch in read.launches:
        said = f"line {launch.line}: {launch.read.told()}"
        lines += _section("launch line", [said], columns=columns)
    flaws = _flaws([*read.rows, *(n for n in read.numbers if n.origin == "own")])
    lines += _section("to know before relying on it", flaws, columns=columns)
    cited = _flaws(n for n in read.numbers if n.origin == "paper")
    lines += _section("papers' numbers that differ from those known here", cited, columns=columns)
    lines += _section("assumed", read.told, columns=columns)
    unread = [f"line {each.line}: `{each.said}`: {each.reason}" for each in read.unread]
    lines += _section("not read", unread, columns=columns)
    return lines


def _counted(read: Notebook) -> str:
    own = sum(number.origin == "own" for number in read.numbers)
    counts = [
        text.plural(len(read.rows), "row"),
        f"{text.plural(own, 'own number')}",
        f"{text.plural(len(read.numbers) - own, 'paper number')}",
    ]
    kinds = Counter(entry.kind for entry in read.entries)
    counts += [text.plural(count, kind) for kind, count in kinds.items()]
    return ", ".join(counts)


def _changes(brought: Brought) -> list[str]:
    said = f"{brought.new} new, {brought.changed} changed, {brought.unchanged} unchanged"
    if brought.kept:
        said += f", {brought.kept} left as set here"
    lines = [said]
    if brought.missing:
        entries = "1 entry" if brought.missing == 1 else f"{brought.missing} entries"
        lines.append(f"{entries} of an earlier import stand no longer in the file, and stay here")
    return lines


def _flaws(given: Iterable[Row | Number]) -> list[str]:
    """Return every flaw once, behind the lines and cells that have it."""
    where: dict[str, list[Row | Number]] = {}
    for each in given:
        for flaw in each.flaws:
            where.setdefault(flaw, []).append(each)
    return [f"{_places(having)}: {flaw}" for flaw, having in where.items()]


def _places(having: Sequence[Row | Number]) -> str:
    if len(having) == 1 and isinstance(each := having[0], Number):
        ratio = "" if each.ratio is None else f" {each.ratio} %"
        return f"line {each.line}, {each.method} {each.task}{ratio}"
    numbers = [str(each.line) for each in having]
    return f"line{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def _section(title: str, said: Sequence[str], *, columns: int) -> list[str]:
    if not said:
        return []
    lines = [console.paint(title, "bold")]
    for each in said:
        first, *rest = console.wrapped(harmless(each), indent=2 * _INDENT, columns=columns)
        lines += [first[_INDENT:], *rest]
    return lines


def _launch_facts(launch: Launch) -> dict[str, Any]:
    read = launch.read
    return {
        "line": launch.line,
        **read._asdict(),
        "batch_size": read.batch_size,
        "accum_iter": read.accum_iter,
        "processes": read.processes,
        "effective_batch": read.effective_batch,
        "lr": read.lr,
    }
