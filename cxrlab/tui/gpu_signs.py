"""By which sign and word is it told whose a GPU is? The same on the GPU screen and at the foot."""

from __future__ import annotations

from cxrlab.gpus.whose import Card, Word
from cxrlab.harmless import harmless
from cxrlab.tui.words import tr

COUNTED: dict[Word, str] = {
    "ours": "ours",
    "others": "others'",
    "free": "free",
    "settling": "free, watched before use",
    "mig": "in MIG mode",
    "left out": "not for runs",
    "gone": "gone",
}
IN_SHORT: dict[Word, str] = {**COUNTED, "settling": "watched", "mig": "MIG"}
"""The same for where there is little room."""

SIGNS: dict[Word, tuple[str, str]] = {
    "ours": ("▶", "running"),
    "others": ("×", ""),
    "free": (" ", "dim"),
    "settling": ("◌", "dim"),
    "mig": ("-", "dim"),
    "left out": ("-", "dim"),
    "gone": ("?", "lost"),
}
"""The sign of each word, and the style of both."""


def names(card: Card) -> str:
    """Return who else uses a GPU."""
    found = dict.fromkeys(user.name for user in card.others if user.name)
    return harmless(", ".join(found)) or tr("others")
