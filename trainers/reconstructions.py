"""What does a masked autoencoder make of images it has not seen? A sheet of them as a PNG file.

Shapes: B images, S pixels along a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trainers import plots
from trainers.modules.patches import Rebuilt

FILE = f"{plots.FOLDER}/reconstructions.png"
SIDE = 1.5
"""Inches of an image."""


def save(rebuilt: Rebuilt, names: Sequence[str], folder: Path) -> tuple[str, str]:
    """Draw a row for each image; return the picture's path within `folder` and its caption.

    In a row: the image, what the encoder saw of it, and what each decoder made of that. Seen
    patches stand in a reconstruction as they are.

    Args:
        rebuilt: the images, (B, S, S).
        names: of the B images.
        folder: the run folder.
    """
    seen = rebuilt.original.clone()
    seen[rebuilt.hidden] = float("nan")
    columns = {"original": rebuilt.original, "seen": seen, **rebuilt.by}
    B, hidden = len(names), rebuilt.hidden.float().mean().item()
    with plots.figure(len(columns) * SIDE + 0.1, B * SIDE + 0.3) as figure:
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        grid = figure.subplots(B, len(columns), squeeze=False)
        for place, (title, images) in enumerate(columns.items()):
            grid[0, place].set_title(title)
            for axes, image in zip(grid[:, place], images, strict=True):
                _draw(axes, image)
        plots.write(figure, folder / FILE)
    short = ", ".join(Path(name).name for name in names)
    return FILE, f"{hidden:.0%} of the patches hidden and rebuilt; held out: {short}"


def _draw(axes: Any, image: Tensor) -> None:
    import matplotlib

    colours = matplotlib.colormaps["gray"].with_extremes(bad=plots.BLANK)
    grey = np.ma.masked_invalid(image.float().cpu().numpy())
    axes.imshow(grey, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
