"""MAE: rebuild what was hidden of an image. Continues the published training on radiographs.

As a row of the grid, `mae` is the published encoder as it is; this file is for going on from it.
Every parameter has the name it has in the published files, so the ones that keep their decoder
(`mae_visualize_*`, `*_full`) load whole.

Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, and the code
released with it (facebookresearch/mae).
Shapes: B images, S their side in pixels, N patches of an image, K of them seen, M = N - K hidden,
D encoder width, V values of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainers.config import ConfigError, option
from trainers.data import images
from trainers.data.images import Images
from trainers.data.records import Record
from trainers.modules import patches, vit
from trainers.modules.image_decoder import ImageDecoder
from trainers.modules.positions import sincos_table
from trainers.weights import EncoderSize


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `--method mae` can be told; the defaults are the authors' for ViT-B."""

    image_px: int = option(224, "side of an image, in pixels", aliases=("input_size",))
    patch_px: int = option(16, "side of a patch, in pixels")
    embed_dim: int = option(768, "encoder width")
    depth: int = option(12, "encoder blocks")
    num_heads: int = option(12, "encoder attention heads")
    mask_ratio: float = option(0.75, "share of patches hidden, in (0, 1)")
    norm_pix_loss: bool = option(True, "standardise each target patch")
    decoder_dim: int = option(512, "image decoder width")
    decoder_depth: int = option(8, "image decoder blocks")
    decoder_heads: int = option(16, "image decoder attention heads")
    hflip: bool = option(True, "mirror half the images")

    def __post_init__(self) -> None:
        size = encoder_size(self)
        seen = int(size.patches * (1 - self.mask_ratio))
        if not 0 < seen < size.patches:
            raise ConfigError(
                f"`mask_ratio` {self.mask_ratio} of {size.patches} patches leaves all or none"
            )
        if self.decoder_depth < 1:
            raise ConfigError(f"`decoder_depth` is {self.decoder_depth}; expected at least 1")
        if self.decoder_heads < 1 or self.decoder_dim % self.decoder_heads or self.decoder_dim % 4:
            raise ConfigError(
                f"`decoder_dim` {self.decoder_dim} is not a multiple of 4 and of "
                f"`decoder_heads` {self.decoder_heads}"
            )


def encoder_size(config: Config) -> EncoderSize:
    """Return the shapes of the encoder."""
    return EncoderSize.of(config)


PRESETS: dict[str, dict[str, Any]] = {
    # Source: the authors' pre-training command (effective batch of 4096 on 64 GPUs), on one GPU
    "paper": {
        "batch_size": 256,
        "accum_iter": 16,
        "epochs": 800,
        "warmup_epochs": 40.0,
        "blr": 1.5e-4,
        "min_lr": 0.0,
        "weight_decay": 0.05,
        "beta1": 0.9,
        "beta2": 0.95,
        "precision": "bf16",
        "num_workers": 16,
    },
    # sizes and schedule of the other methods' `quick`, so that their encoders compare
    "quick": {
        "image_px": 64,
        "patch_px": 8,
        "embed_dim": 96,
        "num_heads": 3,
        "depth": 6,
        "norm_pix_loss": False,
        "decoder_dim": 64,
        "decoder_depth": 1,
        "decoder_heads": 2,
        "batch_size": 32,
        "epochs": 80,
        "warmup_epochs": 4.0,
        "blr": 0.016,
        "weight_decay": 0.05,
    },
}


class Method(nn.Module):
    """The encoder that outlives pre-training, and the image decoder that does not."""

    def __init__(self, config: Config, *, vocab_size: int = 0) -> None:
        """Build both.

        Args:
            config: their sizes, and how they are trained.
            vocab_size: plays no role here; every method is told it.
        """
        super().__init__()
        self.config, self.size = config, encoder_size(config)
        self.encoder = vit.build_encoder(self.size, fixed_positions=True)
        self.image_decoder = ImageDecoder(
            config.embed_dim,
            width=config.decoder_dim,
            depth=config.decoder_depth,
            num_heads=config.decoder_heads,
            values=config.patch_px**2 * 3,
        )
        table = sincos_table(self.size.grid, config.decoder_dim)
        self.register_buffer("decoder_pos_embed", table)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of one batch, a scalar.

        Args:
            batch: `image` (B, 3, S, S), normalised; `noise` (B, N), by whose ascending order
                patches are seen, is drawn if absent.

        Returns:
            `loss_image`, squared error of hidden patches (unitless), and the same under
            `monitor/image_error`.
        """
        image, config = batch["image"], self.config
        mask = vit.mask_of(batch, patches=self.size.patches, mask_ratio=config.mask_ratio)
        latent = vit.encode(self.encoder, image, mask.keep)  # (B, 1 + K, D)
        predicted = self.image_decoder(latent, mask, self.decoder_pos_embed)  # (B, M, V)
        target = vit.pick(patches.patchify(image, config.patch_px), mask.hide)
        target = patches.standardise(target) if config.norm_pix_loss else target
        error = patches.hidden_error(predicted, target)
        return {"loss_image": error, "monitor/image_error": error.detach()}

    def rebuild(self, batch: dict[str, Tensor]) -> patches.Rebuilt:
        """Return images and what becomes of their hidden patches."""
        image, config = batch["image"], self.config
        mask = vit.mask_of(batch, patches=self.size.patches, mask_ratio=config.mask_ratio)
        latent = vit.encode(self.encoder, image, mask.keep)
        predicted = self.image_decoder(latent, mask, self.decoder_pos_embed)
        return patches.rebuilt(
            image,
            mask.hide,
            {"rebuilt": predicted},
            patch_px=config.patch_px,
            standardised=config.norm_pix_loss,
            mean=images.MEAN,
            std=images.STD,
        )


def items(config: Config, records: Sequence[Record], tokenizer: None, *, train: bool) -> Images:
    """Return the records as this method wants them; see `Images`."""
    return Images(
        records,
        px=config.image_px,
        patches=encoder_size(config).patches,
        hflip=config.hflip,
        train=train,
    )
