"""MRM: rebuild what was hidden of a radiograph and of its report.

Source: Zhou et al., "Advancing Radiograph Representation Learning with Masked Record Modeling",
ICLR 2023, and the code released with it (RL4M/MRM-pytorch). Where the two differ, the code is
followed, and the paper's way is an option (`mlm_positions`).

Shapes: B images, S side of the encoder's input in pixels, F = `super_resolution`, N patches of an
image, K of them seen, M = N - K hidden, D encoder width, T report tokens, V values of a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from trainers.config import ConfigError, option
from trainers.data.conditions import Conditioned, read_codes
from trainers.data.items import Items
from trainers.data.pairs import MEAN, STD, Hflip, Pairs
from trainers.data.records import Record
from trainers.modules import contrast, patches, record_contrast, targets, vit
from trainers.modules.image_decoder import ImageDecoder
from trainers.modules.positions import sincos_table
from trainers.modules.report_decoder import ReportDecoder, report_errors
from trainers.weights import EncoderSize


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `--method mrm` can be told; the defaults are the authors'."""

    image_px: int = option(224, "side of what the encoder sees, in pixels", aliases=("input_size",))
    patch_px: int = option(16, "side of a patch, in pixels")
    embed_dim: int = option(768, "encoder width")
    depth: int = option(12, "encoder blocks")
    num_heads: int = option(12, "encoder attention heads")
    mask_ratio: float = option(0.75, "share of patches hidden, in [0, 1)")
    target: targets.Kind = option("pixel", "what hidden patches are rebuilt as")
    norm_pix_loss: bool = option(True, "standardise each target patch of pixels")
    hog_window: bool = option(True, "weigh the gradients of target hog by a Gaussian window")
    teacher: str = option("", "weights of the frozen teacher of target dino", recipe=False)
    teacher_sha256: str = option("", "digest of `teacher`; filled in")
    dino_loss: targets.DinoLoss = option("cosine", "how features of target dino are compared")
    super_resolution: int = option(2, "how many times finer the target is than the input")
    antialias: bool = option(False, "smooth before shrinking the crop to the input")
    decoder_dim: int = option(768, "image decoder width")
    decoder_depth: int = option(4, "image decoder blocks")
    decoder_heads: int = option(6, "image decoder attention heads")
    pos_embed_legacy: bool = option(
        False, "give the image decoder the released code's position table"
    )
    bert_dim: int = option(384, "report decoder width")
    bert_depth: int = option(6, "report decoder layers")
    bert_heads: int = option(6, "report decoder attention heads")
    bert_dropout: float = option(0.1, "report decoder dropout, of attention too")
    report_length: int = option(100, "tokens of a report; the rest is cut", aliases=("max_len",))
    word_mask_ratio: float = option(0.5, "share of words hidden")
    mlm_positions: Literal["all", "masked"] = option(
        "all", "which report positions are scored: all as in the code, masked as in the paper"
    )
    report_weight: float = option(1.0, "weight of the report loss")
    contrast: record_contrast.Kind = option(
        "none", "whether image and report are contrasted too, and with which negatives"
    )
    contrast_weight: float = option(0.1, "weight of the contrast, once it has grown")
    contrast_ramp: float = option(5.0, "epochs in which the contrast's weight grows from 0")
    contrast_dim: int = option(256, "width of the vectors that are contrasted")
    temperature: float = option(0.07, "divides the cosines of the contrast")
    condition: record_contrast.Condition = option(
        "text", "what makes negatives alike: their reports' words, or columns of a table"
    )
    condition_table: str = option(
        "", "csv with these columns, by image or study; else MIMIC's metadata", recipe=False
    )
    condition_table_sha256: str = option(
        "", "digest of `condition_table`; filled in", recipe="where given"
    )
    condition_columns: str = option("ViewPosition", "columns of condition labels, with commas")
    condition_ridge: float = option(0.05, "above 0; the larger, the more unlike negatives count")
    hflip: Hflip = option("on", "mirror half the images, with or without left and right swapped")

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise ConfigError(f"`mask_ratio` is {self.mask_ratio}; expected in (0, 1)")
        if not 0 <= self.word_mask_ratio <= 1:
            raise ConfigError(f"`word_mask_ratio` is {self.word_mask_ratio}; expected in [0, 1]")
        if not 0 <= self.bert_dropout < 1:
            raise ConfigError(f"`bert_dropout` is {self.bert_dropout}; expected in [0, 1)")
        for name, least in (("super_resolution", 1), ("decoder_depth", 1), ("bert_depth", 1),
                            ("report_length", 3)):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected at least {least}")
        if self.report_weight < 0:
            raise ConfigError(f"`report_weight` is {self.report_weight}; expected 0 or more")
        for part, multiple in (("decoder", 4), ("bert", 1)):
            width, heads = getattr(self, f"{part}_dim"), getattr(self, f"{part}_heads")
            if heads < 1 or width < 1 or width % heads or width % multiple:
                raise ConfigError(
                    f"`{part}_dim` {width} is not a multiple of {multiple} and of "
                    f"`{part}_heads` {heads}"
                )
        targets.check(self)
        record_contrast.check(self)
        size = encoder_size(self)
        if not 0 < int(size.patches * (1 - self.mask_ratio)) < size.patches:
            raise ConfigError(
                f"`mask_ratio` {self.mask_ratio} of {size.patches} patches leaves all or none"
            )


def encoder_size(config: Config) -> EncoderSize:
    """Return the shapes of the encoder."""
    return EncoderSize.of(config)


PRESETS: dict[str, dict[str, Any]] = {
    # Source: the authors' command (blr 1.5e-4 at an effective batch of 256), on one GPU
    "paper": {
        "batch_size": 64,
        "accum_iter": 4,
        "epochs": 200,
        "warmup_epochs": 40.0,
        "blr": 1.5e-4,
        "min_lr": 0.0,
        "weight_decay": 0.05,
        "beta1": 0.9,
        "beta2": 0.95,
        "precision": "bf16",
        "num_workers": 16,
        "vocab_size": 30000,
    },
    # raw pixels and three words of four hidden: with patches standardised, or half of the words
    # hidden and all scored, so small a network learns nothing that a linear probe can use, nor in
    # 1,100 updates, by which `mae` and `deep_mrm`, which weigh the image more, have learned it
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
        "bert_dim": 64,
        "bert_depth": 2,
        "bert_heads": 2,
        "report_length": 64,
        "word_mask_ratio": 0.75,
        "mlm_positions": "masked",
        "vocab_size": 2000,
        "batch_size": 32,
        "epochs": 120,
        "warmup_epochs": 6.0,
        "blr": 0.016,
        "weight_decay": 0.05,
    },
}


class Method(nn.Module):
    """The encoder that outlives pre-training, and the two decoders that do not."""

    def __init__(self, config: Config, *, vocab_size: int) -> None:
        super().__init__()
        self.config, self.size = config, encoder_size(config)
        self.target = targets.ImageTarget(config, self.size.grid, mean=MEAN, std=STD)
        self.encoder = vit.build_encoder(self.size, fixed_positions=True)
        self.image_decoder = ImageDecoder(
            config.embed_dim,
            width=config.decoder_dim,
            depth=config.decoder_depth,
            num_heads=config.decoder_heads,
            values=self.target.values,
        )
        table = sincos_table(self.size.grid, config.decoder_dim, legacy=config.pos_embed_legacy)
        self.register_buffer("decoder_pos_embed", table)
        self.report_decoder = ReportDecoder(
            config.embed_dim,
            vocab_size=vocab_size,
            width=config.bert_dim,
            depth=config.bert_depth,
            num_heads=config.bert_heads,
            length=config.report_length,
            dropout=config.bert_dropout,
        )
        self.contrast: record_contrast.RecordContrast | None = None
        if config.contrast != "none":
            self.contrast = record_contrast.RecordContrast(
                config, embed_dim=config.embed_dim, report_dim=config.bert_dim
            )

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of one batch, each a scalar; the loop minimises their sum.

        Args:
            batch: `image` (B, 3, F * S, F * S), normalised; `ids`, `labels` and `attention_mask`
                (B, T), where label -100 is not scored; `noise` (B, N), by whose ascending order
                patches are seen, is drawn if absent.

        Returns:
            `loss_image`, error of hidden patches (unitless); `loss_report`, cross-entropy (nats);
            under `monitor/`: `image_error`, the image's again; `loss_report_all` and
            `loss_report_masked`, the report's over all positions and over hidden words alone;
            `masked_token_accuracy`, the share of hidden words filled in right; with a contrast
            also what `RecordContrast` says.
        """
        image, config = batch["image"], self.config
        mask = vit.mask_of(batch, patches=self.size.patches, mask_ratio=config.mask_ratio)
        latent = vit.encode(self.encoder, self.shrink(image), mask.keep)  # (B, 1 + K, D)
        predicted = self.image_decoder(latent, mask, self.decoder_pos_embed)  # (B, M, V)
        error = self.target.error(predicted, self.target(image, mask.hide))
        logits = self.report_decoder(batch["ids"], batch["attention_mask"], latent)
        errors = report_errors(logits, batch["ids"], batch["labels"], training=self.training)
        scored = errors.every if config.mlm_positions == "all" else errors.masked
        losses = {
            "loss_image": error,
            "loss_report": config.report_weight * scored,
            "monitor/image_error": error.detach(),
            "monitor/loss_report_all": errors.every.detach(),
            "monitor/loss_report_masked": errors.masked.detach(),
            "monitor/masked_token_accuracy": errors.accuracy,
        }
        if self.contrast is not None:
            report = self.report_decoder.read(batch["ids"], batch["attention_mask"])
            losses |= self.contrast(latent[:, 1:].mean(dim=1), report, batch)
        return losses

    def embed(self, batch: dict[str, Tensor]) -> contrast.Embedded | None:
        """Return image and report as they are contrasted, hidden parts hidden; else None."""
        if self.contrast is None:
            return None
        mask = vit.mask_of(batch, patches=self.size.patches, mask_ratio=self.config.mask_ratio)
        latent = vit.encode(self.encoder, self.shrink(batch["image"]), mask.keep)
        report = self.report_decoder.read(batch["ids"], batch["attention_mask"])
        return self.contrast.embed(latent[:, 1:].mean(dim=1), report, batch["labels"])

    def rebuild(self, batch: dict[str, Tensor]) -> patches.Rebuilt | None:
        """Return images and what becomes of their hidden patches; None if no pixels are rebuilt."""
        if self.config.target != "pixel":
            return None
        mask = vit.mask_of(batch, patches=self.size.patches, mask_ratio=self.config.mask_ratio)
        latent = vit.encode(self.encoder, self.shrink(batch["image"]), mask.keep)
        predicted = self.image_decoder(latent, mask, self.decoder_pos_embed)
        return self.target.rebuilt(batch["image"], mask.hide, {"rebuilt": predicted})

    def shrink(self, image: Tensor) -> Tensor:
        """Return the encoder's input (B, 3, S, S).

        Not antialiased unless told so: the released encoder has only ever seen it that way.
        """
        if self.config.super_resolution == 1:
            return image
        return F.interpolate(
            image, size=self.config.image_px, mode="bicubic", antialias=self.config.antialias
        )


def items(config: Config, records: Sequence[Record], tokenizer: Tokenizer, *, train: bool) -> Items:
    """Return the records as this method wants them; see `Pairs` and `Conditioned`."""
    pairs = Pairs(
        records,
        tokenizer,
        px=config.image_px * config.super_resolution,
        length=config.report_length,
        patches=encoder_size(config).patches,
        word_mask_ratio=config.word_mask_ratio,
        hflip=config.hflip,
        train=train,
    )
    if config.condition != "labels":
        return pairs
    columns = [name.strip() for name in config.condition_columns.split(",") if name.strip()]
    table = Path(config.condition_table) if config.condition_table else None
    return Conditioned(pairs, read_codes(records, columns, table))
