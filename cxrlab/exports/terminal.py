"""How a chart looks in a terminal: Braille dots and colours, or plain characters in a pipe."""

from __future__ import annotations

import sys

from cxrlab import console, text
from cxrlab.chart import Chart, Panel, Series, positive, round_ticks

COLOURS = ("blue", "yellow", "green", "magenta", "cyan", "red", "white")
LETTERS = "•x+o*#@%"
"""What tells series apart without colours."""
LOWEST, NARROWEST = 8, 24
"""Rows and columns that a panel has at least."""


def lines(chart: Chart, *, columns: int, rows: int) -> list[str]:
    """Return the chart, each panel `rows` high, with a legend below where there is a choice."""
    coloured = console.coloured(sys.stdout)
    out: list[str] = []
    for panel in chart.panels:
        out += [""] if out else []
        if not any(True for one in panel.series for _ in one.points()):
            out.append(f"{panel.title}: no value yet")
            continue
        out += _drawn(panel, columns=columns, rows=rows, coloured=coloured)
        if len(panel.series) > 1:
            out += _legend(panel, columns=columns, coloured=coloured)
    return out


def _drawn(panel: Panel, *, columns: int, rows: int, coloured: bool) -> list[str]:
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(max(columns, NARROWEST), max(rows, LOWEST))
    plotext.title(panel.title)
    plotext.xlabel(panel.x_label)
    shown = [_cut(one) if panel.log else one for one in panel.series]
    for number, one in enumerate(shown):
        _draw(one, number, alone=len(shown) == 1, coloured=coloured)
    if panel.log and any(one.pieces for one in shown):
        plotext.yscale("log")
    xs = [x for one in shown for x, _ in one.points()]
    if xs:
        ticks = round_ticks(min(xs), max(xs), most=max(2, columns // 12))
        plotext.xticks(ticks, [text.number(tick) for tick in ticks])
    drawn = plotext.build()
    if not coloured:
        drawn = plotext.uncolorize(drawn)
    return [line.rstrip() for line in drawn.splitlines()]


def _cut(series: Series) -> Series:
    return Series(series.name, positive(series.pieces), series.marks)


def _draw(series: Series, number: int, *, alone: bool, coloured: bool) -> None:
    import plotext

    colour = COLOURS[number % len(COLOURS)] if coloured else "default"
    letter = LETTERS[number % len(LETTERS)]
    for piece in series.pieces:
        if not piece:
            continue
        xs, ys = zip(*piece, strict=True)
        if series.marks == "line" and len(piece) > 1:
            marker = "braille" if coloured or alone else letter
            plotext.plot(xs, ys, marker=marker, color=colour)
        else:
            plotext.scatter(xs, ys, marker=letter, color=colour)


def _legend(panel: Panel, *, columns: int, coloured: bool) -> list[str]:
    out = []
    for number, one in enumerate(panel.series):
        as_line = one.marks == "line" and coloured
        mark = "━" if as_line else LETTERS[number % len(LETTERS)]
        painted = console.paint(mark, COLOURS[number % len(COLOURS)])
        out.append(f"  {painted} {console.shortened(one.name, max(NARROWEST, columns - 4))}")
    return out
