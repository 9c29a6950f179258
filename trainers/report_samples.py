"""What was written about a radiograph, and what should have been? A picture of each of a few."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainers import plots

LINE_LETTERS, MOST_LINES = 62, 11
SIDE_PX = 512


def draw(
    arrays: Mapping[str, Any],
    picture: Callable[[str], Image.Image],
    folder: Path,
    *,
    most: int = 4,
) -> Iterator[tuple[str, str]]:
    """Write some test images with both reports, and give the path and caption of each.

    Those that are shown are spread evenly over the set, so that nothing chooses among them. A
    markdown file beside the pictures holds the reports in full.

    Args:
        arrays: of `predictions.join_reports`.
        picture: gives the grey original of an image by its name.
        folder: the run folder; the files go to its `samples/`.
        most: how many.
    """
    count = len(arrays["names"])
    chosen = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
    (folder / plots.FOLDER).mkdir(parents=True, exist_ok=True)
    told = [_told(arrays, index) for index in chosen]
    path = f"{plots.FOLDER}/reports.md"
    (folder / path).write_text("\n".join(told), encoding="utf-8")
    yield path, f"{len(told)} generated reports, each with the true one"
    for number, index in enumerate(chosen, 1):
        path = f"{plots.FOLDER}/report-{number}.png"
        _draw_one(arrays, int(index), picture, folder / path)
        yield path, f"{arrays['names'][index]}: the generated report and the true one"


def _told(arrays: Mapping[str, Any], index: int) -> str:
    return (
        f"## {arrays['names'][index]}\n\n**Generated.** {arrays['generated'][index]}\n\n"
        f"**True.** {arrays['reference'][index]}\n"
    )


def _draw_one(
    arrays: Mapping[str, Any], index: int, picture: Callable[[str], Image.Image], path: Path
) -> None:
    image = picture(str(arrays["names"][index]))
    image.thumbnail((SIDE_PX, SIDE_PX))
    with plots.figure(7.0, 2.8) as drawn:
        left, right = drawn.subplots(1, 2, width_ratios=(2.6, 4.4))
        left.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255)
        left.axis("off")
        right.axis("off")
        texts = ((1.0, "generated", plots.ORANGE), (0.48, "true", plots.BLUE))
        for top, which, colour in texts:
            text = str(arrays["generated" if which == "generated" else "reference"][index])
            right.text(0, top, which, color=colour, fontweight="bold", va="top")
            right.text(0, top - 0.07, _wrapped(text), fontsize=6.5, va="top")
        plots.write(drawn, path)


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(text.replace("$", r"\$") or "(nothing)", LINE_LETTERS)
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1]} ..."]
    return "\n".join(lines)
