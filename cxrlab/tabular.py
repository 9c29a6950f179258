"""How do values stand in the cells of a csv table, so that reading gives the same ones again?

A text that a spreadsheet would take for a formula gets an apostrophe in front, and loses it again.
"""

from __future__ import annotations

from typing import Any

FORM, VERSION = "cxrlab grid", 1
"""What a JSON document of a grid says it is."""

BETWEEN = " | "
"""Stands between the texts of a list."""

_FORMULA = ("=", "+", "-", "@", "\t", "\n", "'")


def written(value: Any) -> str:
    """Return a value as a cell has it; nothing as an empty one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return written(joined(value))
    text = str(value).replace("\r\n", "\n").replace("\r", "\n")  # csv would not quote it
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def joined(texts: list[str]) -> str:
    """Return several texts as one, which `parted` takes apart."""
    return BETWEEN.join(text.replace(BETWEEN, " / ") for text in texts)


def text_of(cell: str) -> str:
    """Return the text that `written` made a cell of."""
    return cell.removeprefix("'")


def parted(text: str) -> list[str]:
    """Return the texts that `joined` made one of."""
    return text.split(BETWEEN) if text else []
