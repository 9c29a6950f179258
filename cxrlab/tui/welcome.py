"""What is there to do in a lab where nothing has run yet? What the grid says and offers first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from cxrlab.harmless import cut, harmless
from cxrlab.tui.reading import Place
from cxrlab.tui.words import tr


def welcome_text(places: Sequence[Place], lacking: Sequence[str], *, width: int) -> Text:
    """Return what can be done next, a line for each key.

    Args:
        places: the data sets that methods and tasks read.
        lacking: published weights that are not there.
        width: how many cells a line may have.
    """
    said = Text(no_wrap=True)
    said.append(tr("Nothing has run in this lab yet. What next?") + "\n\n", "bold")
    said.append_text(_data(places, width)).append("\n\n")
    some = any(place.found for place in places)
    lines = [
        ("D", tr("the demo in this lab: the whole story, on drawn radiographs")),
        ("R", tr("draw radiographs to try things on; or name yours in cxrlab.toml")),
        ("l", tr("launch the cell under the cursor, and what it needs first")),
        ("6", tr("the doctor: what this machine lacks, and the lines that fix it")),
    ]
    if some:
        lines = [lines[2], lines[3], *lines[:2]]
    if lacking:
        first = tr("fetch the published weights {name}").format(name=lacking[0])
        lines.insert(3, ("W", first))
    for key, what in lines:
        said.append(f" {key}  ", "bold").append(cut(harmless(what), max(10, width - 4)) + "\n")
    said.rstrip()
    return said


def _data(places: Sequence[Place], width: int) -> Text:
    """Return the data sets with a sign each, in as many lines as they take."""
    head = tr("data") + " "
    said, at = Text(head, "dim"), cell_len(head)
    for place in places:
        sign = "✓" if place.found else "✗" if place.where else "·"
        word = f" {sign} {harmless(place.name)} "
        if at + cell_len(word) > width:
            said.append("\n" + " " * cell_len(head))
            at = cell_len(head)
        said.append(word, "" if place.found else "dim")
        at += cell_len(word)
    signs = tr("✓ there  ✗ named, and not there  · not in cxrlab.toml")
    return said.append(f"\n{' ' * (cell_len(head) + 1)}{cut(signs, width - cell_len(head))}", "dim")
