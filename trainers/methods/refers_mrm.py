"""REFERS under MRM's conditions: its two objectives, with MRM's encoder, images, text and schedule.

No paper defines it; it asks what REFERS's idea is worth when all else is as for MRM. The objectives
are those of Zhou et al., Nature Machine Intelligence 2022; the rest is Zhou et al., ICLR 2023. Why
it is set up as it is stands in docs/decisions/refers-mrm.md.

Shapes: B studies, V = 3 views of each, S side of a view in pixels, N patches of a view, D encoder
width, T report tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from trainers.config import ConfigError, option
from trainers.data import captions, studies
from trainers.data.pairs import Hflip
from trainers.data.records import Record
from trainers.data.studies import VIEWS, Studies
from trainers.modules import contrast, text_tower, vit
from trainers.modules.captioner import Captioner, next_words
from trainers.modules.view_fusion import Fused, ViewFusion
from trainers.weights import EncoderSize


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `--method refers_mrm` can be told; the defaults are MRM's, of the decoder REFERS's."""

    image_px: int = option(224, "side of a view, in pixels", aliases=("input_size",))
    patch_px: int = option(16, "side of a patch, in pixels")
    embed_dim: int = option(768, "encoder width")
    depth: int = option(12, "encoder blocks")
    num_heads: int = option(12, "encoder attention heads")
    decoder_dim: int = option(1024, "report decoder width")
    decoder_depth: int = option(1, "report decoder layers")
    decoder_heads: int = option(16, "report decoder attention heads")
    decoder_dropout: float = option(0.1, "report decoder dropout, of attention too")
    report_length: int = option(100, "tokens of a report; the rest is cut", aliases=("max_len",))
    text_model: str = option(
        "", "folder of a BERT that reads reports, as Bio_ClinicalBERT; else a new one", recipe=False
    )
    text_model_sha256: str = option("", "digest of `text_model`; filled in")
    bert_dim: int = option(384, "width of a new BERT")
    bert_depth: int = option(6, "layers of a new BERT")
    bert_heads: int = option(6, "attention heads of a new BERT")
    bert_dropout: float = option(0.1, "dropout of a new BERT, of attention too")
    temperature: float = option(0.1, "divides the cosines of the contrast")
    image_to_text: float = option(0.75, "share of image-to-text in the contrast; the rest is back")
    contrast_weight: float = option(1.0, "weight of the contrast beside the report loss")
    hflip: Hflip = option("off", "mirror half the studies, with or without left and right swapped")

    def __post_init__(self) -> None:
        for part in ("decoder", "bert"):
            if not 0 <= getattr(self, f"{part}_dropout") < 1:
                raise ConfigError(
                    f"`{part}_dropout` is {getattr(self, f'{part}_dropout')}; expected in [0, 1)"
                )
        for part in ("decoder", "bert"):
            width, heads = getattr(self, f"{part}_dim"), getattr(self, f"{part}_heads")
            if heads < 1 or width < 1 or width % heads:
                raise ConfigError(
                    f"`{part}_dim` {width} is not a multiple of `{part}_heads` {heads}"
                )
        for name, least in (("decoder_depth", 1), ("bert_depth", 1), ("report_length", 3),
                            ("contrast_weight", 0)):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected at least {least}")
        if self.temperature <= 0:
            raise ConfigError(f"`temperature` is {self.temperature}; expected above 0")
        if not 0 <= self.image_to_text <= 1:
            raise ConfigError(f"`image_to_text` is {self.image_to_text}; expected in [0, 1]")
        encoder_size(self)


def encoder_size(config: Config) -> EncoderSize:
    """Return the shapes of the encoder."""
    return EncoderSize.of(config)


PRESETS: dict[str, dict[str, Any]] = {
    # MRM's rate at a batch of 128, for a tenth of its epochs. All studies of an update are in one
    # batch: accumulated ones would not be candidates of each other's contrast.
    "paper": {
        "batch_size": 128,
        "epochs": 20,
        "warmup_epochs": 4.0,
        "blr": 3e-4,
        "min_lr": 0.0,
        "weight_decay": 0.05,
        "beta1": 0.9,
        "beta2": 0.95,
        "precision": "bf16",
        "num_workers": 16,
        "vocab_size": 30000,
    },
    # as that of `refers`
    "quick": {
        "image_px": 64,
        "patch_px": 8,
        "embed_dim": 96,
        "num_heads": 3,
        "depth": 6,
        "decoder_dim": 64,
        "decoder_heads": 2,
        "report_length": 64,
        "bert_dim": 64,
        "bert_depth": 2,
        "bert_heads": 2,
        "vocab_size": 2000,
        "batch_size": 16,
        "epochs": 12,
        "warmup_epochs": 1.0,
        "blr": 0.0048,
        "weight_decay": 0.05,
    },
}


class Method(nn.Module):
    """The encoder that outlives pre-training, and the readers and writers that do not.

    All but the encoder is named as in REFERS's released weights: `fusion`, `textual` and
    `contrastive_bert`.
    """

    def __init__(self, config: Config, *, vocab_size: int) -> None:
        super().__init__()
        self.config, self.size = config, encoder_size(config)
        self.encoder = vit.build_encoder(self.size, fixed_positions=True)
        self.fusion = ViewFusion(config.embed_dim, VIEWS)
        self.textual = Captioner(
            config.embed_dim,
            vocab_size=vocab_size,
            width=config.decoder_dim,
            depth=config.decoder_depth,
            num_heads=config.decoder_heads,
            length=config.report_length,
            dropout=config.decoder_dropout,
        )
        if config.text_model:
            bert = text_tower.read_bert(Path(config.text_model), pooler=False)
        else:
            bert = text_tower.build_bert(
                vocab_size=vocab_size,
                width=config.bert_dim,
                depth=config.bert_depth,
                num_heads=config.bert_heads,
                length=config.report_length,
                dropout=config.bert_dropout,
                pooler=False,
            )
        self.contrastive_bert = text_tower.ReportEmbedding(bert, VIEWS * config.embed_dim)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of one batch, each a scalar; the loop minimises their sum.

        Args:
            batch: `image` (B, V, 3, S, S), normalised; `ids` and `labels` (B, T) for the decoder,
                where label -100 is not scored; `text_ids` and `text_mask` (B, T) for the contrast.

        Returns:
            `loss_report`, cross-entropy of each next word (nats); `loss_contrast`, both directions
            weighted (nats). Under `monitor/`: `token_accuracy` of the next words, the contrast's
            `loss_image_to_text` and `loss_text_to_image` (nats), and `recall_at_1`, the share of
            studies whose own report is the most alike. Shares are in [0, 1].
        """
        config = self.config
        fused = self.see(batch["image"])
        logits = self.textual(batch["ids"][:, :-1], fused.memory)
        words = next_words(logits, batch["labels"], training=self.training)
        report = self.contrastive_bert(batch["text_ids"], batch["text_mask"])
        whole, report = (
            contrast.everyone(x, training=self.training) for x in (fused.whole, report)
        )
        alike = contrast.similarities(whole, report, temperature=config.temperature)
        to_text, to_image = contrast.info_nce(alike), contrast.info_nce(alike.T)
        both = config.image_to_text * to_text + (1 - config.image_to_text) * to_image
        return {
            "loss_report": words.error,
            "loss_contrast": config.contrast_weight * both,
            "monitor/token_accuracy": words.accuracy,
            "monitor/loss_image_to_text": to_text.detach(),
            "monitor/loss_text_to_image": to_image.detach(),
            "monitor/recall_at_1": contrast.recall_at(alike, 1).detach(),
        }

    def see(self, image: Tensor) -> Fused:
        """Return what the views (B, V, 3, S, S) of each study come to."""
        views = vit.encode(self.encoder, image.flatten(0, 1))  # (B * V, 1 + N, D)
        return self.fusion(views.unflatten(0, (-1, VIEWS)))

    def embed(self, batch: dict[str, Tensor]) -> contrast.Embedded:
        """Return study and report as they are contrasted."""
        report = self.contrastive_bert(batch["text_ids"], batch["text_mask"])
        return contrast.Embedded(self.see(batch["image"]).whole, report, batch["text_ids"])


load_tokenizer = captions.load_vocabulary
"""How the file of a tokenizer is read, if not as MRM's."""


def items(
    config: Config, records: Sequence[Record], tokenizer: captions.Vocabulary, *, train: bool
) -> Studies:
    """Return the studies of the records as this method wants them; see `Studies`."""
    own = (
        text_tower.read_tokenizer(Path(config.text_model), config.report_length)
        if config.text_model
        else None
    )
    return Studies(
        records,
        tokenizer,
        px=config.image_px,
        length=config.report_length,
        look=studies.MRM,
        hflip=config.hflip,
        text_tokenizer=own,
        train=train,
    )
