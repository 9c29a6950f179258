"""How is a radiograph read, cut, turned and made a tensor? Each function is told its randomness.

Geometry follows torchvision on PIL images to the pixel (antialiased, as PIL resizes); the random
generator is NumPy's and explicit, so that an item does not depend on the worker that makes it.
Shapes: S side of a square in pixels, H and W height and width.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import JPEGBaseline8Bit

from trainers.data import store
from trainers.data.items import BadItem

if TYPE_CHECKING:
    from torch import Tensor

BILINEAR = Image.Resampling.BILINEAR
BICUBIC = Image.Resampling.BICUBIC
NEAREST = Image.Resampling.NEAREST

DICOM_SUFFIXES = (".dcm", ".dicom")
_DICOM_MARK = b"DICM"  # after a preamble of 128 bytes
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


class Box(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def read_image(path: Path, *, draft_px: int = 0) -> Image.Image:
    """Return the radiograph at `path` as 8-bit grey ("L"), bright where X-rays were absorbed.

    Reads DICOM, whatever Pillow reads, and images of a prepared copy (`store`). Eight bits are
    taken as they are; more are windowed to the DICOM's own window, else to the image's darkest and
    brightest value. MONOCHROME1 is turned round. The file is decoded in full: a truncated one does
    not pass.

    Args:
        path: of a file, or of an image in a shard.
        draft_px: where a JPEG's short side is at least twice this, libjpeg halves it while
            decoding, once or more, to no less than this; 0 decodes at full size.

    Raises:
        BadItem: the file is absent, empty, cut short or no image, with its path.
    """
    stored = store.locate(path)
    if stored is not None:
        return store.read(stored)
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise BadItem(path, (error.strerror or str(error)).lower()) from None
    if not head:
        raise BadItem(path, "the file is empty")
    if path.suffix.lower() in DICOM_SUFFIXES or head[128:] == _DICOM_MARK:
        return _read_dicom(path)
    try:
        with Image.open(path) as image:
            if draft_px:
                share = draft_px / min(image.size)
                image.draft("L", tuple(math.ceil(side * share) for side in image.size))
            image.load()
            return _to_grey(image)
    except Image.DecompressionBombError as error:
        raise BadItem(path, str(error)) from None
    except _BROKEN as error:
        raise BadItem(path, f"cannot be decoded: {error}") from None


def _to_grey(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_array(_stretch(np.asarray(image, dtype=np.float32)))
    return image.copy() if image.mode == "L" else image.convert("L")


def _read_dicom(path: Path) -> Image.Image:
    try:
        header = pydicom.dcmread(path)
        # pillow decodes baseline JPEG more than three times as fast as what pydicom tries first
        baseline = header.file_meta.get("TransferSyntaxUID") == JPEGBaseline8Bit
        pixels = pixel_array(header, decoding_plugin="pillow" if baseline else "")
    except InvalidDicomError:
        raise BadItem(path, "is no DICOM file: the mark `DICM` is missing") from None
    except (*_BROKEN, AttributeError, KeyError, NotImplementedError, RuntimeError) as error:
        raise BadItem(path, f"its pixels cannot be decoded: {_one_line(error)}") from None
    if pixels.ndim == 3 and header.get("SamplesPerPixel", 1) == 3:
        return Image.fromarray(pixels.astype(np.uint8)).convert("L")
    if pixels.ndim != 2:
        raise BadItem(path, f"holds {len(pixels)} frames; expected one")
    if header.get("BitsStored", 16) > 8:
        try:
            pixels = _window(pixels, header)
        except (*_BROKEN, AttributeError, KeyError, TypeError, NotImplementedError) as error:
            raise BadItem(path, f"its values cannot be read: {_one_line(error)}") from None
    elif pixels.dtype != np.uint8:
        pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = 255 - pixels
    return _from_array(pixels)


def _window(pixels: NDArray[Any], header: pydicom.Dataset) -> NDArray[np.uint8]:
    """Return stored values of more than 8 bits as 0 to 255.

    Source: DICOM PS3.3, C.11.2.1.2.1 (linear window); only the first window is used.
    """
    values = np.asarray(apply_modality_lut(pixels, header), dtype=np.float32)
    centre, width = (_first_number(header, tag) for tag in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 1:
        share = (values - (centre - 0.5)) / (width - 1) + 0.5
        return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    if "VOILUTSequence" in header:
        values = np.asarray(apply_voi_lut(pixels, header), dtype=np.float32)
    return _stretch(values)


def _first_number(header: pydicom.Dataset, tag: str) -> float | None:
    value = header.get(tag)
    if value is None or value == "":
        return None
    return float(value[0] if isinstance(value, Sequence | pydicom.multival.MultiValue) else value)


def _stretch(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(high - low):
        raise ValueError("not all of its pixels are numbers")
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def _from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def draw_crop(
    width: int,
    height: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> Box:
    """Return a box of random area and shape inside a `width` x `height` image.

    Ten tries, then the largest central box whose shape is allowed.
    Source: torchvision.transforms.RandomResizedCrop.get_params.

    Args:
        width: of the image, in pixels.
        height: likewise.
        scale: share of the area, from and to.
        rng: drawn from twice a try, and twice for the place.
        ratio: width over height, from and to; drawn evenly on a log scale.
    """
    area = width * height
    for _ in range(10):
        target = area * rng.uniform(*scale)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(target * shape)), round(math.sqrt(target / shape))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.integers(0, height - h + 1))
            return Box(top, int(rng.integers(0, width - w + 1)), h, w)
    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return Box((height - h) // 2, (width - w) // 2, h, w)


def crop_resize(
    image: Image.Image, box: Box, px: int, interpolation: Image.Resampling
) -> Image.Image:
    """Return the part of `image` in `box` as a square of `px`; pixels outside play no role."""
    part = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
    return part.resize((px, px), interpolation)


def random_resized_crop(
    image: Image.Image,
    px: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    interpolation: Image.Resampling,
    rng: np.random.Generator,
) -> Image.Image:
    """Return a random part of `image` as a square of `px`.

    To treat a mask alike, call `draw_crop` once and `crop_resize` on both.
    """
    return crop_resize(image, draw_crop(*image.size, scale, ratio, rng), px, interpolation)


def mirror(image: Image.Image) -> Image.Image:
    """Return `image` with left and right exchanged."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def hflip(image: Image.Image, rng: np.random.Generator, *, probability: float = 0.5) -> Image.Image:
    """Return `image`, mirrored with `probability`; one number is drawn from `rng` either way."""
    return mirror(image) if rng.random() < probability else image


def resize_keep(
    image: Image.Image,
    px: int,
    *,
    side: Literal["short", "long"] = "short",
    interpolation: Image.Resampling = BILINEAR,
) -> Image.Image:
    """Return `image` with its short (or long) side at `px` and its shape kept.

    Source: the short side as torchvision.transforms.Resize (the other is cut to whole pixels), the
    long one as mmcv's keep_ratio (the other is rounded).
    """
    width, height = image.size
    short, long = min(width, height), max(width, height)
    if side == "short":
        other = int(px * long / short)
        size = (px, other) if width <= height else (other, px)
    else:
        other = max(1, int(short * (px / long) + 0.5))
        size = (px, other) if width >= height else (other, px)
    return image if image.size == size else image.resize(size, interpolation)


def center_crop(image: Image.Image, px: int, *, fill: int = 0) -> Image.Image:
    """Return the middle square of `px`, with `fill` where `image` does not reach.

    Source: torchvision.transforms.CenterCrop.
    """
    width, height = image.size
    if width < px or height < px:
        grown = (max(width, px), max(height, px))
        image = _on_canvas(image, grown, ((grown[0] - width) // 2, (grown[1] - height) // 2), fill)
        width, height = grown
    top, left = round((height - px) / 2), round((width - px) / 2)
    return image.crop((left, top, left + px, top + px))


def pad_to(image: Image.Image, px: int, *, fill: int = 0) -> Image.Image:
    """Return `image` in the top left corner of a square of `px`; it must fit."""
    return image if image.size == (px, px) else _on_canvas(image, (px, px), (0, 0), fill)


def _on_canvas(
    image: Image.Image, size: tuple[int, int], at: tuple[int, int], fill: int
) -> Image.Image:
    canvas = Image.new(image.mode, size, fill)
    canvas.paste(image, at)
    return canvas


def to_tensor_normalised(
    image: Image.Image, mean: float | Sequence[float], std: float | Sequence[float]
) -> Tensor:
    """Return a grey image as three equal channels (3, H, W), float32, `(x / 255 - mean) / std`.

    Args:
        image: of mode "L".
        mean: of values in [0, 1]; one number for all channels, or three.
        std: likewise.
    """
    import torch  # here, because whoever only reads pictures need not load it

    grey = torch.from_numpy(np.array(image, dtype=np.float32)).div_(255)
    centre = torch.as_tensor(mean, dtype=torch.float32).reshape(-1, 1, 1)
    spread = torch.as_tensor(std, dtype=torch.float32).reshape(-1, 1, 1)
    return ((grey - centre) / spread).expand(3, -1, -1).contiguous()
