"""What is common to everything drawn with matplotlib: colours, sizes, and how a figure is written.

matplotlib is imported when the first figure is asked for, since most programs draw none. Figures
are made without `pyplot`, so that nothing global is set and no display is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "samples"
"""Where in a run folder pictures lie."""
DPI = 200
BLUE, ORANGE = "#0072B2", "#E69F00"
"""Source: Okabe and Ito, "Color Universal Design" (2008): told apart by colour-blind eyes too."""
BLANK = "#56708A"
"""A hidden patch: no grey of a radiograph."""
CHANCE: dict[str, Any] = {"color": "0.6", "linestyle": (0, (4, 3)), "linewidth": 0.8}
"""The line that chance reaches."""
SMALL: dict[str, Any] = {"fontsize": 7.0, "color": "0.35"}
"""How figures are written beside names."""
STYLE: dict[str, Any] = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
}


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure of so many inches, to be drawn on and written within the context."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def write(drawn: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=DPI, facecolor="white")


def round_ticks(top: float) -> list[float]:
    """Return 0, one or two round numbers up to `top`."""
    from matplotlib.ticker import MaxNLocator

    return [float(t) for t in MaxNLocator(nbins=3).tick_values(0, top) if t <= top * 1.001]
