"""How does the grid look as a page of HTML, which opens from disk, prints, and reads aloud?

Numbers and names alone: of a restricted set's reports and images nothing is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from cxrlab import console
from cxrlab.exports.layout import Entry, Layout, Line
from cxrlab.exports.spans import spans
from cxrlab.exports.words import say
from cxrlab.grid import ranking

_CODES = {"en": "en", "zh": "zh-Hans"}
_LONG = 24
"""A text of the rows that takes more columns than this is broken into lines."""

_MARKS = {ranking.BEST: "strong", ranking.SECOND: "u"}

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #57606a; --paper: #fff; --rule: #d0d7de;
  --shade: #f6f8fa; --link: #0550ae; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --dim: #9aa4af; --paper: #0d1117; --rule: #3d444d; --shade: #151b23;
    --link: #79b8ff; }
}
body { margin: 0 auto; padding: 2rem 1.5rem; max-width: max-content; color: var(--ink);
  background: var(--paper); font: 15px/1.45 system-ui, "Noto Sans", "Noto Sans CJK SC",
  "PingFang SC", "Microsoft YaHei", sans-serif; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  border-block: 2px solid var(--ink); }
h1 { font-size: 1.35rem; margin-block: 0 .2rem; }
caption { text-align: start; color: var(--dim); padding-block-end: .6rem; }
th, td { padding: .3rem .7rem; text-align: end; white-space: nowrap; vertical-align: baseline; }
th { font-weight: 600; }
thead { border-block-end: 1px solid var(--ink); }
thead tr:first-child [colspan], thead tr:first-child [data-over] { text-align: center;
  border-block-end: 1px solid var(--rule); }
tbody tr:nth-child(even) > * { background: var(--shade); }
tbody + tbody { border-block-start: 1px solid var(--rule); }
tbody th, .text { text-align: start; }
td.long { white-space: normal; overflow-wrap: break-word; min-width: 14em; max-width: 24em; }
th[scope=rowgroup] { font-weight: 400; font-style: italic; color: var(--dim); }
tbody th[scope=row] { position: sticky; inset-inline-start: 0; background: var(--paper); }
tbody tr:nth-child(even) > th[scope=row] { background: var(--shade); }
.aside { color: var(--dim); font-weight: 400; }
u { text-underline-offset: 3px; }
sup { line-height: 0; font-size: .72em; margin-inline-start: .1em; }
a { color: var(--link); }
.notes { max-width: 75ch; color: var(--dim); font-size: .87rem; }
.notes li { margin-block: .25rem; overflow-wrap: anywhere; }
.notes li:target { color: var(--ink); background: var(--shade); }
h2 { font-size: 1rem; margin-block: 1.5rem .4rem; }
@media print {
  :root { --ink: #000; --dim: #333; --paper: #fff; --rule: #999; --shade: #fff; --link: #000; }
  @page { size: landscape; margin: 12mm; }
  body { padding: 0; font-size: 9pt; max-width: none; }
  .scroll { overflow: visible; }
  tbody th[scope=row] { position: static; }
  th, td { padding: .15rem .3rem; white-space: normal; }
  thead { display: table-header-group; }
  tr, li { break-inside: avoid; }
  a { text-decoration: none; }
}
"""


def page(layout: Layout) -> str:
    """Return a whole page that needs no other file."""
    return (
        f'<!DOCTYPE html>\n<html lang="{_CODES[layout.lang]}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(layout.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(layout.title)}</h1>\n{fragment(layout)}</main>\n</body>\n</html>\n"
    )


def fragment(layout: Layout) -> str:
    """Return the table and its notes, to stand in a page of one's own; it brings no style."""
    parts = [
        f'<div class="cxrlab-grid" lang="{_CODES[layout.lang]}">',
        '<div class="scroll" role="region" tabindex="0" aria-labelledby="grid-caption">',
        "<table>",
        f'<caption id="grid-caption">{escape(say("caption", layout.lang))}</caption>',
        *_head(layout),
        *_bodies(layout),
        "</table>",
        "</div>",
        *_notes(layout),
        "</div>",
    ]
    return "\n".join(parts) + "\n"


def _head(layout: Layout) -> list[str]:
    above = [f'<th scope="col" rowspan="2" class="text">{escape(say("method", layout.lang))}</th>']
    below = []
    for span in spans(layout.heads):
        heads = layout.heads[span.first : span.first + span.count]
        kind = "" if heads[0].column else ' class="text"'
        if not span.text:
            above.append(f'<th scope="col" rowspan="2"{kind}>{escape(heads[0].below)}</th>')
            continue
        over = ' data-over=""' if span.count == 1 else f' colspan="{span.count}"'
        scope = "col" if span.count == 1 else "colgroup"
        above.append(f'<th scope="{scope}"{over}>{escape(span.text)}</th>')
        for head in heads:
            kind = "" if head.column else ' class="text"'
            below.append(f'<th scope="col"{kind}>{escape(head.below)}</th>')
    return ["<thead>", f"<tr>{''.join(above)}</tr>", f"<tr>{''.join(below)}</tr>", "</thead>"]


def _bodies(layout: Layout) -> list[str]:
    out = []
    for group, lines in groupby(layout.lines, key=lambda line: line.group):
        out.append("<tbody>")
        if group:
            columns = 1 + len(layout.heads)
            out.append(f'<tr><th scope="rowgroup" colspan="{columns}">{escape(group)}</th></tr>')
        out += [_row(line) for line in lines]
        out.append("</tbody>")
    return out


def _row(line: Line) -> str:
    title = f' title="{escape(line.title)}"' if line.title else ""
    head = f'<th scope="row"{title}>{escape(line.method)}</th>'
    return f"<tr>{head}{''.join(map(_cell, line.entries))}</tr>"


def _cell(entry: Entry) -> str:
    if entry.cell is None:
        kind = "text long" if console.length(entry.state) > _LONG else "text"
        return f'<td class="{kind}">{escape(entry.state)}</td>'
    number = escape(entry.number).replace(" ", "&nbsp;")
    if mark := _MARKS.get(entry.rank):
        number = f"<{mark}>{number}</{mark}>"
    own = " ".join(filter(None, (number, _aside(entry.spread)))) + _raised(entry.notes)
    paper = _aside(entry.paper) + _raised(entry.paper_notes)
    return f"<td>{' '.join(filter(None, (own, _aside(entry.state), paper)))}</td>"


def _aside(text: str) -> str:
    said = escape(text).replace(" ", "&nbsp;")
    return f'<span class="aside">{said}</span>' if text else ""


def _raised(numbers: Sequence[int]) -> str:
    links = (f'<a href="#grid-note-{number}">{number}</a>' for number in numbers)
    return f"<sup>{', '.join(links)}</sup>" if numbers else ""


def _notes(layout: Layout) -> list[str]:
    if not layout.general and not layout.footnotes:
        return []
    out = ['<section class="notes" aria-labelledby="grid-notes">']
    out.append(f'<h2 id="grid-notes">{escape(say("notes", layout.lang))}</h2>')
    if layout.footnotes:
        out.append("<ol>")
        for number, note in enumerate(layout.footnotes, start=1):
            out.append(f'<li id="grid-note-{number}">{_prose(note)}</li>')
        out.append("</ol>")
    if layout.general:
        out += ["<ul>", *(f"<li>{_prose(note)}</li>" for note in layout.general), "</ul>"]
    return [*out, "</section>"]


def _prose(note: str) -> str:
    parts = note.split("`")
    if len(parts) % 2 == 0:
        return escape(note)
    return "".join(
        f"<code>{escape(part)}</code>" if i % 2 else escape(part) for i, part in enumerate(parts)
    )
