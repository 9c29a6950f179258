r"""How does the grid look as a table of LaTeX, to be taken in by `\input`?

It needs the packages `booktabs` and `graphicx`, and `ctex` under XeLaTeX where it holds Chinese. A
table wider than the line is scaled down to it; its notes are not. Numbers and names alone: of a
restricted set's reports and images nothing is in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from cxrlab import console, ranking
from cxrlab.exports.layout import Entry, Head, Layout
from cxrlab.exports.spans import spans
from cxrlab.exports.words import say

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
_OPENING = re.compile(r'(?<![^\s(\[{])"(?=\S)')


def table(layout: Layout) -> str:
    """Return a `table` environment with its notes below it."""
    columns = "l" + "".join("r" if head.column else "l" for head in layout.heads)
    lines = [
        r"\begin{table}[htbp]",
        r"  \centering",
        rf"  \caption{{{escape(layout.title)}}}",
        r"  \label{tab:cxrlab-grid}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{columns}}}",
        *(f"    {line}" for line in [r"\toprule", *_head(layout), *_rows(layout), r"\bottomrule"]),
        r"  \end{tabular}}",
        *(f"  {line}" for line in _notes(layout)),
        r"\end{table}",
    ]
    text = "\n".join(lines) + "\n"
    wide = any(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    packages = "booktabs, graphicx" + (", ctex (with xelatex)" if wide else "")
    return f"% needs: {packages}\n{text}"


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
    if not told:
        return []
    notes = [rf"{note}\par" for note in told]
    return [
        r"\par\medskip",
        r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
        *notes,
        r"\end{minipage}",
    ]


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
