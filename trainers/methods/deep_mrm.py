"""Deep MRM: MRM whose encoder is asked for the image at several depths, not at its end alone.

No paper defines it. MRM (Zhou et al., ICLR 2023) stays as it is: its image decoder on the last
block, its report branch, all names of its parameters. Auxiliary image decoders on earlier blocks
are DeepMIM's (Ren et al., 2023, and its released code), with MRM's target instead of features.

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
    """What `--method deep_mrm` can be told; the defaults are MRM's and DeepMIM's."""

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
    tap_blocks: str = option("6,8,10", "blocks that get an auxiliary image decoder, from 1")
    aux_dim: int = option(512, "auxiliary decoders' width")
    aux_depth: int = option(4, "auxiliary decoders' blocks")
    aux_heads: int = option(16, "auxiliary decoders' attention heads")
    aux_weight: float = option(1.0, "weight of each auxiliary image loss")
    deep_loss_reduction: Literal["sum", "mean"] = option(
        "sum", "add up the weighted image losses, or average them to one beside the report's"
    )
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
        if self.aux_depth < 1 or self.aux_weight < 0:
            raise ConfigError("`aux_depth` must be at least 1 and `aux_weight` 0 or more")
        if self.aux_heads < 1 or self.aux_dim < 1 or self.aux_dim % self.aux_heads:
            raise ConfigError(
                f"`aux_dim` {self.aux_dim} is not a multiple of `aux_heads` {self.aux_heads}"
            )
        if self.aux_dim % 4:
            raise ConfigError(f"`aux_dim` {self.aux_dim} is not a multiple of 4")
        taps(self)
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


def taps(config: Config) -> tuple[int, ...]:
    """Return the blocks with an auxiliary decoder, counted from 1, ascending.

    Raises:
        ConfigError: `tap_blocks` does not list blocks before the last.
    """
    try:
        blocks = tuple(int(word) for word in config.tap_blocks.split(","))
    except ValueError:
        blocks = ()
    ascending = blocks == tuple(sorted(set(blocks)))
    if not blocks or not ascending or blocks[0] < 1 or blocks[-1] >= config.depth:
        raise ConfigError(
            f"`tap_blocks` is `{config.tap_blocks}`; expected ascending block numbers from 1 to "
            f"{config.depth - 1}, with commas between them"
        )
    return blocks


PRESETS: dict[str, dict[str, Any]] = {
    # MRM's: the authors' command (blr 1.5e-4 at an effective batch of 256), on one GPU
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
    # as for `mrm`, with three one-block heads: 73 s of one CPU core, image 0.791, report 1.26
    "quick": {
        "image_px": 64,
        "patch_px": 8,
        "embed_dim": 96,
        "num_heads": 3,
        "depth": 6,
        "norm_pix_loss": False,
        "tap_blocks": "3,4,5",
        "decoder_dim": 64,
        "decoder_depth": 1,
        "decoder_heads": 2,
        "aux_dim": 64,
        "aux_depth": 1,
        "aux_heads": 2,
        "bert_dim": 64,
        "bert_depth": 2,
        "bert_heads": 2,
        "report_length": 64,
        "word_mask_ratio": 0.75,
        "mlm_positions": "masked",
        "vocab_size": 2000,
        "batch_size": 32,
        "epochs": 80,
        "warmup_epochs": 4.0,
        "blr": 0.016,
        "weight_decay": 0.05,
    },
}


class Method(nn.Module):
    """The encoder that outlives pre-training, and the decoders that do not."""

    def __init__(self, config: Config, *, vocab_size: int) -> None:
        super().__init__()
        self.config, self.size, self.taps = config, encoder_size(config), taps(config)
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
        self.aux_heads = nn.ModuleList(
            ImageDecoder(
                config.embed_dim,
                width=config.aux_dim,
                depth=config.aux_depth,
                num_heads=config.aux_heads,
                values=self.target.values,
            )
            for _ in self.taps
        )
        # never MRM's faulty table: no released weights of these decoders expect it
        self.register_buffer("aux_pos_embed", sincos_table(self.size.grid, config.aux_dim))
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

        All image decoders fill in the same hidden patches.

        Args:
            batch: `image` (B, 3, F * S, F * S), normalised; `ids`, `labels` and `attention_mask`
                (B, T), where label -100 is not scored; `noise` (B, N), by whose ascending order
                patches are seen, is drawn if absent.

        Returns:
            `loss_image`, error of hidden patches (unitless) from the last block, and
            `loss_image_6` etc. from the tapped ones, weighted; `loss_report`, cross-entropy
            (nats); under `monitor/`, `image_error` and `image_error_6` etc., the same errors not
            weighted; the rest is as in MRM.
        """
        image, config = batch["image"], self.config
        mask = vit.mask_of(batch, patches=self.size.patches, mask_ratio=config.mask_ratio)
        latent, tapped = vit.encode(self.encoder, self.shrink(image), mask.keep, self.taps)
        target = self.target(image, mask.hide)
        predicted = self.image_decoder(latent, mask, self.decoder_pos_embed)  # (B, M, V)
        errors = {"": self.target.error(predicted, target)}
        for number, tokens, head in zip(self.taps, tapped, self.aux_heads, strict=True):
            predicted = head(tokens, mask, self.aux_pos_embed)
            errors[f"_{number}"] = self.target.error(predicted, target)
        mean = config.deep_loss_reduction == "mean"
        total = 1 + config.aux_weight * len(self.taps) if mean else 1.0
        weight = {name: (config.aux_weight if name else 1.0) / total for name in errors}
        losses = {f"loss_image{name}": weight[name] * error for name, error in errors.items()}
        for name, error in errors.items():
            losses[f"monitor/image_error{name}"] = error.detach()
        logits = self.report_decoder(batch["ids"], batch["attention_mask"], latent)
        words = report_errors(logits, batch["ids"], batch["labels"], training=self.training)
        scored = words.every if config.mlm_positions == "all" else words.masked
        losses["loss_report"] = config.report_weight * scored
        losses["monitor/loss_report_all"] = words.every.detach()
        losses["monitor/loss_report_masked"] = words.masked.detach()
        losses["monitor/masked_token_accuracy"] = words.accuracy
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
        image = self.shrink(batch["image"])
        latent, tapped = vit.encode(self.encoder, image, mask.keep, self.taps)
        predicted = {
            f"from block {number}": head(tokens, mask, self.aux_pos_embed)
            for number, tokens, head in zip(self.taps, tapped, self.aux_heads, strict=True)
        }
        predicted["from the last block"] = self.image_decoder(latent, mask, self.decoder_pos_embed)
        return self.target.rebuilt(batch["image"], mask.hide, predicted)

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
