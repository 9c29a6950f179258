"""What are hidden patches to be rebuilt as: pixels, gradient histograms, a teacher's features?

Whatever the target, encoder, mask and image decoder stay MRM's; the width of the decoder's last
layer and the loss change. A method makes an `ImageTarget` of its settings.

Shapes: B images, S side of the crop in pixels, G patches along a side, N = G * G patches, M of them
hidden, V values of a target, C cells along the crop's side, W the teacher's width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers import normalisation, weights
from trainers.config import ConfigError, InputError
from trainers.modules import patches, vit

Kind = Literal["pixel", "hog", "dino"]
DinoLoss = Literal["cosine", "smooth_l1"]

BINS, CELL_PX = 9, 8
WINDOW_PX, WINDOW_STD_PX = 16, 8.0
"""Source: Wei et al. 2022 (MaskFeat), as configured in mmselfsup."""


class Settings(Protocol):
    """What a method's configuration says of its target."""

    target: Kind
    norm_pix_loss: bool
    hog_window: bool
    teacher: str
    dino_loss: DinoLoss
    patch_px: int
    super_resolution: int


def check(config: Settings) -> None:
    """Refuse settings that contradict the target.

    Raises:
        ConfigError: see above.
    """
    px = config.patch_px * config.super_resolution
    if config.target == "hog" and px % CELL_PX:
        raise ConfigError(
            f"`patch_px` x `super_resolution` is {px}; `target` hog needs a multiple of {CELL_PX}"
        )
    if config.target == "dino" and not config.teacher:
        raise ConfigError("`teacher` is not given; `target` dino needs a teacher's weights")
    if config.teacher and config.target != "dino":
        raise ConfigError(f"`teacher` is given, but `target` is {config.target}, not dino")


class ImageTarget(nn.Module):
    """What the decoder has to say of hidden patches, and how far off it is.

    Has neither parameters nor state: a teacher is part of no checkpoint and of no optimiser.
    """

    def __init__(self, config: Settings, grid: int, *, mean: float, std: float) -> None:
        """Prepare the target; reads the teacher's weights if there is one.

        Args:
            config: of the method, checked.
            grid: patches along a side, G.
            mean: of the grey values, in [0, 1], that images were normalised by.
            std: likewise, their deviation.

        Raises:
            MissingError: no such file of a teacher.
            InputError: it holds no encoder that can teach.
        """
        super().__init__()
        self.config, self.mean, self.std = config, mean, std
        self.px = config.patch_px * config.super_resolution
        self.teacher: Teacher | None = None
        if config.target == "dino":
            self.teacher = Teacher(Path(config.teacher), grid)
        self.values = {
            "pixel": 3 * self.px**2,
            "hog": BINS * (self.px // CELL_PX) ** 2,
            "dino": self.teacher.width if self.teacher else 0,
        }[config.target]
        """How many the decoder predicts for a patch, V."""

    @torch.no_grad()
    def forward(self, images: Tensor, hide: Tensor) -> Tensor:
        """Return the target (B, M, V) of the patches `hide` (B, M) of normalised images."""
        if self.config.target == "pixel":
            hidden = vit.pick(patches.patchify(images, self.px), hide)
            return patches.standardise(hidden) if self.config.norm_pix_loss else hidden
        plain = images * self.std + self.mean  # in [0, 1]
        if self.teacher is None:
            return vit.pick(histograms(plain, self.px, window=self.config.hog_window), hide)
        return vit.pick(self.teacher(plain), hide)

    def rebuilt(
        self, images: Tensor, hide: Tensor, predicted: Mapping[str, Tensor]
    ) -> patches.Rebuilt:
        """Return what decoders of pixels said of `hide` (B, M) in its place; see `patches`."""
        return patches.rebuilt(
            images,
            hide,
            predicted,
            patch_px=self.px,
            standardised=self.config.norm_pix_loss,
            mean=self.mean,
            std=self.std,
        )

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return how far (unitless) a prediction (B, M, V) is off, averaged over hidden patches."""
        if self.config.target == "dino":
            return feature_error(prediction, target, kind=self.config.dino_loss)
        return patches.hidden_error(prediction, target)


def histograms(images: Tensor, patch_px: int, *, window: bool) -> Tensor:
    """Return each patch's histograms of gradient directions, (B, N, V) of images (B, 3, S, S).

    A cell of 8 x 8 pixels has 9 bins over 180 degrees; a pixel adds the strength of its gradient to
    the one bin its direction falls in, and each cell is scaled to length 1. V runs over the cells
    of a patch, row by row, and in each over the bins. A cell without any gradient stays 0.

    Args:
        images: in [0, 1], three channels alike or nearly so: their mean is taken.
        patch_px: side of a patch, a multiple of 8.
        window: whether strengths are weighed by a Gaussian, tiled every 16 pixels.

    Source: Wei et al. 2022 (MaskFeat), section 3.2, and its configuration in mmselfsup, of which
    this is the single-channel form.
    """
    across, down = _slopes(images.float().mean(dim=1))
    strength = (across.square() + down.square()).sqrt()
    if window:
        strength = strength * _window(strength.shape[-1], strength.device)
    bin_of = (torch.atan2(across, down) / torch.pi * BINS).floor().long() % BINS
    B, S, _ = strength.shape
    C = S // CELL_PX
    # bin by bin, since all nine at once take nine times the memory
    cells = torch.stack(
        [
            (strength * (bin_of == each)).reshape(B, C, CELL_PX, C, CELL_PX).sum(dim=(2, 4))
            for each in range(BINS)
        ],
        dim=1,
    )  # (B, 9, C, C)
    return patches.patchify(F.normalize(cells, dim=1), patch_px // CELL_PX)


def _slopes(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Return how grey values (B, S, S) fall from left to right and from top to bottom, smoothed.

    Differences come first, so that an even area gives 0 and not its rounding errors, which the
    scaling of a cell to length 1 would blow up.
    """
    wide = F.pad(grey[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]
    across, down = wide[:, :, :-2] - wide[:, :, 2:], wide[:, :-2] - wide[:, 2:]
    return (
        across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:],
        down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:],
    )


def _window(side: int, device: torch.device) -> Tensor:
    """Return the tiled Gaussian (S, S); its scale cancels when cells are scaled."""
    place = torch.arange(side, device=device) % WINDOW_PX - (WINDOW_PX - 1) / 2
    line = torch.exp(-0.5 * (place / WINDOW_STD_PX).square())
    return line[:, None] * line


class Teacher(nn.Module):
    """A frozen encoder that sees the whole image and tells a feature vector for each patch."""

    def __init__(self, path: Path, grid: int) -> None:
        """Read the teacher, and how images are normalised for it.

        Args:
            path: its weights, in any layout.
            grid: patches along a side, G.
        """
        super().__init__()
        state, size, report = weights.load_encoder(path)
        if report.missing:
            raise InputError(f"{path} lacks the final norm, without which it cannot teach")
        self.width, self.px = size.embed_dim, size.patch_px * grid
        with torch.random.fork_rng(devices=[]):  # a student starts alike, whatever its target
            encoder = vit.build_encoder(size, fixed_positions=True, image_px=self.px)
        weights.fit_encoder(encoder, state, size)
        # in a list, where torch does not look: so it stays in eval mode, and no checkpoint,
        # optimiser or DistributedDataParallel takes it for something that is trained
        self._kept = [encoder.requires_grad_(False).eval()]
        seen = normalisation.or_mrms(report.normalisation, path)
        for name, values in seen._asdict().items():
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Move the encoder along when the loop moves the method."""
        self._kept[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the features (B, N, W) of images (B, 3, S, S) in [0, 1], standardised each.

        The image is scaled so that the teacher has the student's N patches.
        """
        small = F.interpolate(images, size=self.px, mode="bicubic", antialias=True)
        tokens = vit.encode(self._kept[0], (small - self.mean) / self.std)[:, 1:]
        return F.layer_norm(tokens.float(), (self.width,), eps=1e-6)


def feature_error(prediction: Tensor, target: Tensor, *, kind: DinoLoss) -> Tensor:
    """Return how far (unitless) features (B, M, W) are off: 2 - 2 cos, in [0, 4], or smooth L1.

    Source: the cosine is that of DeepMIM's released code (Ren et al. 2023), whose teacher is CLIP.
    Smooth L1, which turns at 1, is the other form in use; no code was followed for it.
    """
    if kind == "smooth_l1":
        return F.smooth_l1_loss(prediction.float(), target)
    return (2 - 2 * F.cosine_similarity(prediction.float(), target, dim=2)).mean()
