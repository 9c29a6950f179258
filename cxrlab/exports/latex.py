r"""How does the grid look as a table of LaTeX, to be taken in by `\input`?

It needs the packages `booktabs` and `graphicx`, and `ctex` under XeLaTeX where it holds Chinese. A
table wider than the line is scaled down to it; its notes are not. Numbers and names alone: of a
restricted set's reports and images nothing is in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from cxrlab import console
from cxrlab.exports.layout import Entry, Head, Layout
from cxrlab.exports.spans import spans
from cxrlab.exports.words import say
from cxrlab.grid import ranking

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # else it would be read as an option after \\
    "]": "{]}",
    "*": "{*}",
    "±": r"\(\pm\)",
    "·": r"\(\cdot\)",
    "×": r"\(\times\)",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "≥": r"\(\geq\)",
    "≤": r"\(\leq\)",
    "→": r"\(\to\)",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "\u00a0": "~",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
}
_ANY = re.compile("|".join([*map(re.escape, _SPECIAL), "-(?=-)"]))
_BETWEEN = re.compile(r"(?<=[\u2e80-\u9fff\uff00-\uffef]) (?=[\u2e80-\u9fff\uff00-\uffef])")
"""A blank between Chinese characters, which LaTeX would drop."""
_LINE, _FITS = 90, 36
"""Characters of a note that stand in one line, and how many lines may float."""

_COLUMNS = 8
"""A table of more columns than this is hard to read on a narrow page."""

_OPENING = re.compile(r'(?<![^\s(\[{])"(?=\S)')


def table(layout: Layout) -> str:
    """Return a `table` environment with its notes below it.

    Where the notes could fill a page they follow the table as paragraphs, and it does not float:
    LaTeX would cut off what is longer than a page.
    """
    columns = "l" + "".join("r" if head.column else "l" for head in layout.heads)
    rows = [r"\toprule", *_head(layout), *_rows(layout), r"\bottomrule"]
    body = [
        rf"  \caption{{{escape(layout.title)}}}",
        r"  \label{tab:cxrlab-grid}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{columns}}}",
        *(f"    {row}" for row in rows),
        r"  \end{tabular}}",
    ]
    notes = _notes(layout)
    floats = sum(len(note) // _LINE + 1 for note in notes) + len(layout.lines) <= _FITS
    text = "\n".join(_floating(body, notes) if floats else _standing(body, notes)) + "\n"
    wider = len(layout.heads) > _COLUMNS
    wide = any(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    packages = "booktabs, graphicx" + (", ctex (with xelatex)" if wide else "")
    hint = "% on a narrow page: fewer by `--columns`, or turned by pdflscape\n" if wider else ""
    return f"% needs: {packages}\n{hint}{text}"


def _floating(body: Sequence[str], notes: Sequence[str]) -> list[str]:
    below = [
        r"  \par\medskip",
        r"  \begin{minipage}{\linewidth}\footnotesize\raggedright",
        *(f"  {note}" for note in notes),
        r"  \end{minipage}",
    ]
    start = [r"\begin{table}[htbp]", r"  \centering"]
    return [*start, *body, *(below if notes else []), r"\end{table}"]


def _standing(body: Sequence[str], notes: Sequence[str]) -> list[str]:
    return [
        r"\par\noindent\begin{minipage}{\linewidth}\centering",
        r"  \makeatletter\def\@captype{table}\makeatother",
        *body,
        r"\end{minipage}\par\medskip",
        r"{\footnotesize\raggedright\setlength{\parindent}{0pt}",
        *notes,
        "}",
    ]


def _head(layout: Layout) -> list[str]:
    above, rules = [""], []
    for span in spans(layout.heads):
        align = "c" if span.count > 1 else "r" if layout.heads[span.first].column else "l"
        text = escape(span.text)
        above.append(rf"\multicolumn{{{span.count}}}{{{align}}}{{{text}}}" if text else "")
        if text and span.count > 1:
            rules.append(rf"\cmidrule(lr){{{span.first + 2}-{span.first + span.count + 1}}}")
    below = [escape(say("method", layout.lang)), *(_below(head) for head in layout.heads)]
    return [_line(above), *([" ".join(rules)] if rules else []), _line(below), r"\midrule"]


def _below(head: Head) -> str:
    text = escape(head.below)
    return rf"\multicolumn{{1}}{{r}}{{{text}}}" if head.column else text


def _rows(layout: Layout) -> list[str]:
    rows: list[list[str]] = []
    above: dict[int, str] = {}
    """By the number of a row: what stands over it."""
    group = ""
    for line in layout.lines:
        if line.group != group:
            rule = r"\midrule" if rows else ""
            name = rf"\multicolumn{{{1 + len(layout.heads)}}}{{l}}{{\emph{{{escape(line.group)}}}}}"
            above[len(rows)] = "\n    ".join(
                filter(None, (rule, rf"{name} \\" if line.group else ""))
            )
        group = line.group
        rows.append([escape(line.method), *map(_said, line.entries)])
    if not rows:
        return []
    widths = [max(map(console.length, column)) for column in zip(*rows, strict=True)]
    out = []
    for number, row in enumerate(rows):
        padded = [t + " " * (w - console.length(t)) for t, w in zip(row, widths, strict=True)]
        out += [*filter(None, [above.get(number, "")]), _line(padded)]
    return out


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells).rstrip() + r" \\"


def _said(entry: Entry) -> str:
    number = escape(entry.number)
    if entry.rank == ranking.BEST:
        number = rf"\textbf{{{number}}}"
    elif entry.rank == ranking.SECOND:
        number = rf"\underline{{{number}}}"
    own = "~".join(filter(None, (number, escape(entry.spread)))) + _raised(entry.notes)
    paper = escape(entry.paper) + _raised(entry.paper_notes)
    return " ".join(filter(None, (own, escape(entry.state), paper)))


def _raised(numbers: Sequence[int]) -> str:
    return rf"\textsuperscript{{{','.join(map(str, numbers))}}}" if numbers else ""


def _notes(layout: Layout) -> list[str]:
    told = [
        rf"\textsuperscript{{{number}}}~{_prose(note)}"
        for number, note in enumerate(layout.footnotes, start=1)
    ]
    told += [_prose(note) for note in layout.general]
    return [rf"{note}\par" for note in told]


def _prose(note: str) -> str:
    parts = note.split("`")
    if len(parts) % 2 == 0:
        return escape(note)
    return "".join(
        rf"\texttt{{{escape(part)}}}" if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def escape(text: str) -> str:
    """Return `text` so that LaTeX sets it as it is; straight quotes become those of print."""
    quoted = _OPENING.sub("\u201c", text).replace('"', "\u201d")
    # two hyphens would be set as a dash
    said = _ANY.sub(lambda match: _SPECIAL.get(match[0], "-{}"), quoted)
    return _BETWEEN.sub(r"\\ ", said)
