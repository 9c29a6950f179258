"""How is text from outside shown, so that nothing in it acts on the terminal?

Colour sequences are dropped, because they only decorate. Whatever else could move the cursor, set
the title or turn the writing direction is shown as a visible sign and does nothing. Square brackets
are left alone: screens draw plain text and never parse markup. Marks that stack on a letter are
kept up to a bound, and a joiner only between two emoji: elsewhere terminals and Rich disagree about
the width of what it joins, and every column behind it would stand askew.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 20_000
"""Characters of one line that are kept; a line beyond that says how many were left out."""

STACKED = 4
"""Marks that may stack on one letter: more than any writing needs, less than a line in height."""

RIDING = 8
"""Characters without a width in a row: a flag that is spelled out in tags has six."""

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_COLOURS = re.compile(f"({_COLOUR.pattern})")
_TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_SIGNS = {
    **{code: chr(0x2400 + code) for code in range(0x20)},  # control pictures
    0x7F: "\u2421",
    **{code: "\ufffd" for code in range(0x80, 0xA0)},  # C1: one-byte escape sequences
    **{ord(sign): "\ufffd" for sign in _TURNING},
    0x2028: " ",
    0x2029: " ",
    0xAD: "-",  # a hyphen in some terminals, nothing in others
    **{code: "" for code in (0x200B, *range(0x2060, 0x2065), 0xFEFF)},  # show nothing anyway
    **{code: "\ufffd" for code in range(0xD800, 0xE000)},  # half a character: cannot be written
}
_JOINER = "\u200d"
_AS_EMOJI = "\ufe0f"
_SHOWN = {code: sign for code, sign in _SIGNS.items() if chr(code) not in "\t\n\r"}


def kept_colours(text: str) -> str:
    """Return `text` with colours, tabs and line ends as they are, and all else made visible."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        part if _COLOUR.fullmatch(part) else _settled(part.translate(_SHOWN))
        for part in _COLOURS.split(text)
    )


def harmless(text: str, longest: int = LONGEST) -> str:
    """Return one line of `text` with every control character made visible."""
    left_out = len(text) - longest
    if left_out > 0:
        text = text[:longest]
    if not text.isascii() or not text.isprintable():
        text = _COLOUR.sub("", text)
        text = _settled(text.expandtabs(8).translate(_SIGNS))
    return f"{text} … ({left_out:,} characters more)" if left_out > 0 else text


def _settled(text: str) -> str:
    """Return `text` with a bound on what stacks on one letter, and joiners between emoji alone."""
    if text.isascii():
        return text
    kept: list[str] = []
    marks = riding = 0
    for sign, after in zip(text, f"{text[1:]} ", strict=True):
        kind = "Lo" if sign.isalnum() else unicodedata.category(sign)
        if sign == _JOINER and not (_emoji(kept) and unicodedata.category(after) == "So"):
            continue
        if kind not in ("Mn", "Me", "Cf"):
            marks = riding = 0
        else:
            marks, riding = marks + (kind != "Cf"), riding + 1
            if marks > STACKED or riding > RIDING:
                continue
            if not kept and kind != "Cf":
                kept.append("\u25cc")  # or it would stack on what stands before the text
        kept.append(sign)
    return "".join(kept)


def _emoji(before: list[str]) -> bool:
    """Say whether an emoji ends `before`, be it with a skin tone or a variation selector."""
    base = before[-2:-1] if before[-1:] == [_AS_EMOJI] else before[-1:]
    return bool(base) and unicodedata.category(base[0]) in ("So", "Sk")


def log_line(raw: bytes) -> str:
    """Return a line of a log as a terminal would have left it: the last writing over it wins."""
    text = raw[-4 * LONGEST :].decode("utf-8", errors="replace").rstrip("\r\n")
    *_, last = text.rsplit("\r", 1)
    return harmless(last)


def cut(text: str, width: int) -> str:
    """Return `text` in at most `width` terminal cells, with an ellipsis where it was cut."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 1 else "…"[:width]
