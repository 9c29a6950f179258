"""Program: draws a chart, which it reads as JSON, and writes it as PNG, SVG or PDF.

    python -m trainers.draw < chart.json

The chart is an object with `out` and `panels`; a panel has `title`, `x_label`, `y_label`, `log` and
`series`; a series has `name`, `marks` (`line` or `points`) and `pieces`, lists of [x, y] between
which something is missing. The answer is an object with the picture's `path`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from trainers import plots

COLOURS = (plots.BLUE, plots.ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Okabe's and Ito's, as in `plots`."""
SHAPES = "os^Dv*X"
"""Of points, so that colours are not all that tells them apart."""
WIDTH, HEIGHT = 6.4, 3.0
"""Of a panel (inches)."""
NARROW = 6
"""So many series are named inside a panel; more stand beside it."""


def draw(chart: dict[str, Any], path: Path) -> None:
    """Write the picture of `chart` to `path`."""
    panels = chart["panels"]
    crowded = any(len(panel["series"]) > NARROW for panel in panels)
    width = WIDTH + (2.6 if crowded else 0.0)
    with plots.figure(width, HEIGHT * max(1, len(panels))) as drawn:
        all_axes = drawn.subplots(max(1, len(panels)), 1, squeeze=False)[:, 0]
        for axes, panel in zip(all_axes, panels, strict=False):
            _draw_panel(axes, panel)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path, dpi=plots.DPI, facecolor="white")


def _draw_panel(axes: Any, panel: dict[str, Any]) -> None:
    series = panel["series"]
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        shape = SHAPES[number % len(SHAPES)]
        dashes = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
        label: str | None = one["name"]
        for piece in one["pieces"]:
            xs, ys = [x for x, _ in piece], [y for _, y in piece]
            line = one["marks"] == "line" and len(piece) > 1
            look = {"linestyle": dashes} if line else {"linestyle": "", "marker": shape, "ms": 4}
            axes.plot(xs, ys, color=colour, label=label, **look)
            label = None
    axes.set_title(panel["title"])
    axes.set_xlabel(panel["x_label"])
    axes.set_ylabel(panel["y_label"])
    if panel["log"]:
        axes.set_yscale("log", nonpositive="mask")
    if len(series) > NARROW:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    elif len(series) > 1:
        axes.legend(frameon=False)


def main() -> int:
    """Draw what standard input asks for."""
    chart = json.load(sys.stdin)
    path = Path(chart["out"])
    try:
        draw(chart, path)
    except OSError as error:
        sys.stderr.write(f"error: {path} cannot be written: {(error.strerror or '').lower()}\n")
        return 2
    sys.stdout.write(json.dumps({"path": str(path)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
