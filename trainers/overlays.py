"""What do predicted masks and boxes look like on their radiograph? Outlines, as PNG files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from trainers.predictions import Arrays, boxes_of, masks_of
from trainers.scores import dice_per_image, overlap_of

TRUE, PREDICTED = (76, 201, 240), (255, 159, 28)
"""Blue and orange, told apart by colour-blind eyes too."""
SIDE_PX = 512
FOLDER = "samples"
SHOWN = 4
"""Predicted boxes drawn of an image with fewer true ones, the likeliest; RSNA has up to four."""


def save(
    arrays: Arrays, picture: Callable[[str], Image.Image], folder: Path, *, most: int = 6
) -> list[tuple[str, str]]:
    """Write overlays of telling images and return each one's path within `folder` and caption.

    Args:
        arrays: of `predictions.join_masks`.
        picture: gives the grey original of an image by its name.
        folder: the run folder; the files go to its `samples/`.
        most: how many.
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    dice = dice_per_image(overlap_of(arrays))
    written = []
    for number, index in enumerate(telling(arrays, dice, most=most), start=1):
        name = str(arrays["names"][index])
        path = f"{FOLDER}/overlay-{number}.png"
        draw(picture(name), *masks_of(arrays, index)).save(folder / path)
        caption = f"{name}: true blue, predicted orange, Dice {dice[index]:.2f}"
        written.append((path, caption))
    return written


def telling(arrays: Arrays, dice: NDArray[np.float64], *, most: int) -> list[int]:
    """Return up to `most` images: those with a mask from best to worst, and the worst without.

    The last place is an image without a mask in which most was predicted, if there is any.
    """
    overlap = overlap_of(arrays)
    positive = np.flatnonzero(overlap.true > 0)
    false = np.flatnonzero((overlap.true == 0) & (overlap.predicted > 0))
    false = false[np.argsort(-overlap.predicted[false], kind="stable")][:1]
    ordered = positive[np.argsort(-dice[positive], kind="stable")]
    places = min(most - len(false), len(ordered))
    steps = np.linspace(0, len(ordered) - 1, places).round().astype(int) if places > 0 else []
    return [int(i) for i in (*ordered[steps], *false)]


def draw(
    image: Image.Image, prediction: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> Image.Image:
    """Return `image` (H, W), its longer side at `SIDE_PX`, with the outlines of both masks."""
    canvas = _enlarged(image)
    size = canvas.size
    for mask, colour in ((truth, TRUE), (prediction, PREDICTED)):
        canvas.paste(colour, mask=outline(mask, size))
    _explain(canvas)
    return canvas


def _enlarged(image: Image.Image) -> Image.Image:
    scale = SIDE_PX / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size).convert("RGB")


def _explain(canvas: Image.Image) -> None:
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 0, 72, 38), fill=(0, 0, 0))
    pen.text((8, 6), "true", fill=TRUE)
    pen.text((8, 20), "predicted", fill=PREDICTED)


def outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> Image.Image:
    """Return a mask's inner edge, two pixels wide, as an "L" image of width and height `size`."""
    whole = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    # a border of nothing, so that a mask that runs off the image is closed there
    framed = Image.new("L", (size[0] + 4, size[1] + 4), 0)
    framed.paste(whole, (2, 2))
    inner = framed.filter(ImageFilter.MinFilter(5))
    edge = Image.fromarray(np.asarray(framed) & ~np.asarray(inner))
    return edge.crop((2, 2, size[0] + 2, size[1] + 2))


def save_boxes(
    arrays: Arrays, picture: Callable[[str], Image.Image], folder: Path, *, most: int = 6
) -> list[tuple[str, str]]:
    """Write test images with their boxes and return each one's path within `folder` and caption.

    Of the images with true boxes, spread from the surest prediction to the least sure; in the last
    place the image without any in which a box was predicted most surely.

    Args:
        arrays: of `predictions.join_boxes`.
        picture: gives the grey original of an image by its name.
        folder: the run folder; the files go to its `samples/`.
        most: how many.
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    images = range(len(arrays["names"]))
    sure = np.array([boxes_of(arrays, i)[1].max(initial=0.0) for i in images])
    positive = np.diff(arrays["truth_offset"]) > 0
    false = np.flatnonzero(~positive & (sure > 0))
    false = false[np.argsort(-sure[false], kind="stable")][:1]
    ordered = np.flatnonzero(positive)
    ordered = ordered[np.argsort(-sure[ordered], kind="stable")]
    places = min(most - len(false), len(ordered))
    steps = np.linspace(0, len(ordered) - 1, places).round().astype(int) if places > 0 else []
    written = []
    for number, index in enumerate((*ordered[steps], *false), start=1):
        boxes, score, truth = boxes_of(arrays, index)
        first = np.argsort(-score, kind="stable")[: max(len(truth), SHOWN)]
        name, path = str(arrays["names"][index]), f"{FOLDER}/boxes-{number}.png"
        draw_boxes(picture(name), boxes[first], score[first], truth).save(folder / path)
        said = f"{len(first)} likeliest predicted orange, {sure[index]:.2f} at most"
        written.append((path, f"{name}: {len(truth)} true blue, {said}"))
    return written


def draw_boxes(
    image: Image.Image,
    boxes: NDArray[np.float64],
    score: NDArray[np.float64],
    truth: NDArray[np.float64],
) -> Image.Image:
    """Return `image`, its longer side at `SIDE_PX`, with predicted and true boxes (P, 4), (G, 4).

    Boxes are x, y, width and height; beside a predicted one stands its score.
    """
    canvas = _enlarged(image)
    scale = np.tile([canvas.width / image.width, canvas.height / image.height], 2)
    pen = ImageDraw.Draw(canvas)
    for own, colour in ((boxes, PREDICTED), (truth, TRUE)):
        for x, y, width, height in (own * scale).tolist():
            pen.rectangle((x, y, x + width, y + height), outline=colour, width=2)
    for (x, y, _, height), value in zip((boxes * scale).tolist(), score.tolist(), strict=True):
        pen.text((x + 4, y + height - 14), f"{value:.2f}", fill=PREDICTED)
    _explain(canvas)
    return canvas
