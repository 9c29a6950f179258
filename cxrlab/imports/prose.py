"""Which dated notes, open points, ideas, facts, references and commands does a text hold?

A line that is a date dates what follows; a heading, or a line that ends in a colon, names its
section. An item of a list is one entry, and so is a paragraph, and a block of code. The marks are
the notebook's: ✅ done, [] open, ⚠️ a warning, 👌 an endorsed idea.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from store.notes import NewEntry

PIPES = "a table of pipes; only tables of HTML are read"
SHELLS = ("", "bash", "console", "sh", "shell", "zsh")
"""What a block of code may be called that holds commands."""

_DATE = re.compile(
    r"""
    (?: (?P<y>\d{4}) [-/.年] (?P<m>\d{1,2}) [-/.月] (?P<d>\d{1,2}) 日?
      | (?P<a>\d{1,2}) [-/.] (?P<b>\d{1,2}) [-/.] (?P<year>\d{4}) )
    (?: [\sT,]+ (?P<time> \d{1,2}:\d{2} ) (?: :\d{2} )? )?
    """,
    re.VERBOSE,
)
_ITEM = re.compile(r"(?P<indent>\s*)(?:(?P<bullet>[*+-])|(?P<number>\d{1,4})[.)、])\s+(?P<text>.*)")
_HEADING = re.compile(r"\s*#{1,6}\s+(?P<text>.*?)\s*#*\s*")
_FENCE = re.compile(r"\s{0,3}(?P<fence>`{3,}|~{3,})\s*(?P<language>[\w+-]*)[^`]*")
_RULE = re.compile(r"\s*([-*_=])(\s*\1){2,}\s*")
_PIPES = re.compile(r"\s*\|.*\|\s*")

_MARKS = (
    (re.compile(r"✅|☑️?|✔️?|\[[xX✓✔]\]"), "done"),
    (re.compile(r"\[\s*\](?!\()|⬜|☐"), "open"),
    (re.compile(r"⚠️?|❗️?"), "warning"),
    (re.compile(r"👌|👍"), "endorsed"),
)
_IDEAS = ("改进", "想法", "idea", "improve")
_REFERENCES = ("参考文献", "references", "bibliography", "literature")


class Unread(NamedTuple):
    """A place that could not be read."""

    line: int
    said: str
    reason: str


class Prose(NamedTuple):
    """What a text holds beside its tables."""

    entries: list[NewEntry]
    unread: list[Unread]
    told: list[str]
    """What had to be assumed."""
    lists: int
    """How many items of lists there are."""


class _Block(NamedTuple):
    """A piece of text: an item, a paragraph, a heading, a date or a block of code."""

    kind: str
    text: str
    line: int
    detail: str = ""
    """The language of code; whether an item is numbered."""


def mask_code(lines: Sequence[str]) -> list[str]:
    """Return the lines with all within blocks of code left empty, for whoever looks for tables."""
    out = list(lines)
    for first, last, _ in _fences(lines):
        out[first : last + 1] = [""] * (last + 1 - first)
    return out


def read_prose(lines: Sequence[str], skipped: Sequence[tuple[int, int]] = ()) -> Prose:
    """Return the entries of a text that was split into lines, in order.

    Args:
        lines: the text.
        skipped: first and last line of what others read, counted from 1.
    """
    taken = {n for first, last in skipped for n in range(first - 1, last)}
    unread: list[Unread] = []
    blocks = list(_blocks(lines, taken, unread))
    day_first, told = _order([block.text for block in blocks if block.kind == "date"])
    entries: list[NewEntry] = []
    written = section = ""
    for block in blocks:
        if block.kind == "date":
            said = _date(block.text, day_first=day_first)
            if said:
                written, section = said, ""
            else:
                unread.append(Unread(block.line, block.text, "there is no such day"))
        elif block.kind == "heading":
            section = block.text
        else:
            entries.append(_entry(block, section)._replace(written=written))
    pipes = {each.line for each in unread if each.reason == PIPES}
    unread = [u for u in unread if u.reason != PIPES or u.line - 1 not in pipes]  # its first line
    items = sum(block.kind == "item" for block in blocks)
    return Prose(entries, unread, told, items)


def _entry(block: _Block, section: str) -> NewEntry:
    if block.kind == "code":
        kind = "command" if block.detail.casefold() in SHELLS else "note"
        return NewEntry(kind, block.text, section=section, line=block.line)
    state, text = _mark(block.text)
    under = section.casefold()
    if state == "endorsed" or (any(word in under for word in _IDEAS) and block.kind == "item"):
        kind = "idea"
    elif state in ("open", "done"):
        kind = "todo"
    elif any(word in under for word in _REFERENCES) and block.kind == "item":
        kind = "reference"
    else:
        kind = "fact" if block.detail == "numbered" else "note"
    return NewEntry(kind, text, state, section=section, line=block.line)


def _mark(text: str) -> tuple[str, str]:
    """Return the state that the marks in `text` tell, and the text without one at its beginning."""
    for pattern, state in _MARKS:
        if found := pattern.match(text):
            rest = text[found.end() :].strip()
            return (state, rest) if rest else ("", text)
    for pattern, state in _MARKS[2:]:  # `[]` within a sentence is no mark
        if pattern.search(text):
            return state, text
    return "", text


def _blocks(lines: Sequence[str], taken: set[int], unread: list[Unread]) -> Iterator[_Block]:
    fences = {first: (last, language) for first, last, language in _fences(lines)}
    number, open_block = 0, None
    while number < len(lines):
        at, line = number, "" if number in taken else lines[number]
        number += 1
        if at in fences:
            last, language = fences[at]
            number = last + 1
            block = _code(lines, at, last, language, unread)
        else:
            block = _block(line, at + 1, unread)
        if block and block.kind == "text" and open_block and open_block.kind in ("item", "text"):
            open_block = open_block._replace(text=f"{open_block.text} {block.text}")
            continue
        if open_block:
            yield open_block
        open_block = block
    if open_block:
        yield open_block


def _block(line: str, number: int, unread: list[Unread]) -> _Block | None:
    """Return what a line is; a `text` right below an item or a text goes on with it."""
    bare = line.strip().removeprefix(">").strip()
    if not bare or _RULE.fullmatch(bare) or bare.startswith("<!--"):
        return None
    if bare.startswith("<") and not bare.startswith("<http"):
        unread.append(Unread(number, bare, "HTML outside of a table"))
        return None
    if _PIPES.fullmatch(bare):
        unread.append(Unread(number, bare, PIPES))
        return None
    plain = _without_emphasis(bare)
    if found := _HEADING.fullmatch(bare):
        plain = _without_emphasis(found["text"])
        return _Block("date" if _DATE.fullmatch(plain) else "heading", plain, number)
    if found := _ITEM.fullmatch(line):
        text = found["text"].strip()
        return _Block("item", text, number, "numbered" if found["number"] else "") if text else None
    if _DATE.fullmatch(plain):
        return _Block("date", plain, number)
    if plain.endswith((":", "：")):
        return _Block("heading", plain[:-1].strip(), number)
    return _Block("text", bare, number)


def _code(
    lines: Sequence[str], first: int, last: int, language: str, unread: list[Unread]
) -> _Block | None:
    closed = last > first and _FENCE.fullmatch(lines[last]) is not None
    if not closed:
        unread.append(Unread(first + 1, lines[first].strip(), "this block of code is never closed"))
    inside = lines[first + 1 : last if closed else last + 1]
    text = "\n".join(line.rstrip() for line in inside).strip("\n")
    return _Block("code", text, first + 1, language) if text.strip() else None


def _fences(lines: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return the blocks of code: first and last line, counted from 0, and the language."""
    found = []
    number = 0
    while number < len(lines):
        if begin := _FENCE.fullmatch(lines[number]):
            fence = begin["fence"]
            last = next(
                (
                    n
                    for n in range(number + 1, len(lines))
                    if (bare := lines[n].strip()).startswith(fence) and not bare.strip(fence[0])
                ),
                len(lines) - 1,
            )
            found.append((number, last, begin["language"]))
            number = last
        number += 1
    return found


def _without_emphasis(text: str) -> str:
    """Return `text` without the stars that make it bold, before or after its colon."""
    return re.sub(r"(\*\*|__)(.+?)\1", r"\2", text).strip()


def _order(dates: Sequence[str]) -> tuple[bool, list[str]]:
    """Return whether days come before months in `03/08/2023`, and what that rests on."""
    pairs = [
        (int(found["a"]), int(found["b"]))
        for date in dates
        if (found := _DATE.fullmatch(date)) and found["a"]
    ]
    if any(a > 12 for a, _ in pairs):
        return True, []
    if not pairs or any(b > 12 for _, b in pairs):
        return False, []
    return False, ["no date tells whether months or days come first; read as month/day/year"]


def _date(said: str, *, day_first: bool) -> str:
    """Return a date as `2023-03-08 16:11`; empty where there is no such day."""
    found = _DATE.fullmatch(unicodedata.normalize("NFKC", said))
    if not found:
        return ""
    if found["y"]:
        year, month, day = (int(found[name]) for name in "ymd")
    else:
        year, a, b = (int(found[name]) for name in ("year", "a", "b"))
        day, month = (a, b) if day_first else (b, a)
    hour, _, minute = (found["time"] or "0:0").partition(":")
    try:
        moment = datetime(year, month, day, int(hour), int(minute))
    except ValueError:
        return ""
    return moment.isoformat(" ", "minutes") if found["time"] else moment.date().isoformat()
