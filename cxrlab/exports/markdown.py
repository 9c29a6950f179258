"""How does the grid look as a Markdown table on GitHub?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cxrlab import console
from cxrlab.exports.layout import Entry, Layout
from cxrlab.exports.words import say
from cxrlab.grid import ranking


def markdown(layout: Layout) -> str:
    """Return the grid as a table, with what a reader must know in a list below it.

    The same grid gives the same text, so that an export into a file under version control changes
    nothing when nothing has changed. Columns are aligned in the source as well, and wide
    characters count as two there.
    """
    rows = [[escape(say("method", layout.lang)), *(escape(h) for h in headings(layout))]]
    group = ""
    for line in layout.lines:
        if line.group and line.group != group:
            rows.append([f"*{escape(line.group)}*", *("" for _ in layout.heads)])
        group = line.group
        rows.append([escape(line.method), *map(said, line.entries)])
    right = [False, *(head.column is not None for head in layout.heads)]
    told = [f"- {escape_prose(note)}" for note in layout.general]
    told += [
        f"- <sup>{number}</sup> {escape_prose(note)}"
        for number, note in enumerate(layout.footnotes, start=1)
    ]
    return "\n".join([*aligned(rows, right), *(["", *told] if told else [])]) + "\n"


def headings(layout: Layout) -> list[str]:
    """Return each heading in one line."""
    return [f"{head.above} {head.below}".strip() for head in layout.heads]


def said(entry: Entry) -> str:
    """Return what one place says, with its footnotes."""
    number = escape(entry.number)
    if entry.rank == ranking.BEST:
        number = f"**{number}**"
    elif entry.rank == ranking.SECOND:
        number = f"<ins>{number}</ins>"  # what GitHub underlines; it drops <u>
    own = " ".join(filter(None, (number, escape(entry.spread)))) + _raised(entry.notes)
    paper = escape(entry.paper) + _raised(entry.paper_notes)
    return " ".join(filter(None, (own, escape(entry.state), paper)))


def _raised(numbers: Sequence[int]) -> str:
    return f"<sup>{','.join(map(str, numbers))}</sup>" if numbers else ""


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Return the lines of a table whose first row is its head; the texts are escaped already."""
    widths = [max(3, *map(console.length, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for text, width, to_right in zip(row, widths, right, strict=True):
            room = " " * (width - console.length(text))
            cells.append(room + text if to_right else text + room)
        lines.append(f"| {' | '.join(cells)} |")
    rule = [
        "-" * (width - 1) + ":" if to_right else ":" + "-" * (width - 1)
        for width, to_right in zip(widths, right, strict=True)
    ]
    return [lines[0], f"| {' | '.join(rule)} |", *lines[1:]]


def escape(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, within a table or outside.

    An underscore within a word, as in `deep_mrm`, means nothing and is left alone.
    """
    return re.sub(r"[\\|`*\[\]<>#~&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def escape_prose(text: str) -> str:
    """Return a sentence with its `code` kept, and all else shown as it is."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one backtick is not closed, so none is code
        return escape(text)
    return "`".join(part if i % 2 else escape(part) for i, part in enumerate(parts))
