"""REFERS: write a study's report from three of its views, and find it among other reports.

Source: Zhou et al., "Generalized radiograph representation learning via cross-supervision between
images and free-text radiology reports", Nature Machine Intelligence 2022, and the code released
with it (funnyzhou/REFERS). Where that has a fault, it is mended, and the fault is an option
(`legacy_detach`, `legacy_unknown`, `crop`).

Shapes: B studies, V = 3 views of each, S side of a view in pixels, N patches of a view, D encoder
width, T report tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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

UNKNOWN = 0
"""The id of unknown words in the published tokenizer, and of padding in the released code."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `--method refers` can be told; the defaults are the authors'."""

    image_px: int = option(224, "side of a view, in pixels", aliases=("input_size",))
    patch_px: int = option(16, "side of a patch, in pixels")
    embed_dim: int = option(768, "encoder width")
    depth: int = option(12, "encoder blocks")
    num_heads: int = option(12, "encoder attention heads")
    encoder_dropout: float = option(0.1, "encoder dropout: of its input and in its MLPs")
    decoder_dim: int = option(1024, "report decoder width")
    decoder_depth: int = option(1, "report decoder layers")
    decoder_heads: int = option(16, "report decoder attention heads")
    decoder_dropout: float = option(0.1, "report decoder dropout, of attention too")
    report_length: int = option(100, "tokens of a report; the rest is cut", aliases=("max_len",))
    text_model: str = option(
        "", "folder of a BERT that reads reports, as Bio_ClinicalBERT; else a new one", recipe=False
    )
    text_model_sha256: str = option("", "digest of `text_model`; filled in")
    bert_dim: int = option(768, "width of a new BERT")
    bert_depth: int = option(12, "layers of a new BERT")
    bert_heads: int = option(12, "attention heads of a new BERT")
    bert_dropout: float = option(0.1, "dropout of a new BERT, of attention too")
    bert_rate: float = option(0.1, "learning rate of the BERT, as a share of the others'")
    freeze_embeddings: bool = option(False, "leave the BERT's embeddings as they are")
    freeze_layers: int = option(0, "first layers of the BERT that are left as they are")
    temperature: float = option(0.1, "divides the cosines of the contrast")
    image_to_text: float = option(0.75, "share of image-to-text in the contrast; the rest is back")
    contrast_weight: float = option(1.0, "weight of the contrast beside the report loss")
    legacy_detach: bool = option(
        False, "train image-to-text alone: text-to-image is only added up, as in the released code"
    )
    legacy_unknown: bool = option(
        False, "neither score nor show unknown words, which the released code takes for padding"
    )
    crop: Literal["released", "wider"] = option(
        "released", "upright crops down to 5 % as in the released code, or 20 % and of any shape"
    )
    hflip: Hflip = option(
        "on_with_text_swap", "mirror half the studies, with or without left and right swapped"
    )

    def __post_init__(self) -> None:
        for part in ("encoder", "decoder", "bert"):
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
                            ("freeze_layers", 0), ("bert_rate", 0),
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
    # Source: the released configuration, but for its batch of 2. Two candidates make a contrast of
    # at most ln 2; 64 studies (192 views) are what one card of 80 GB holds with room to spare.
    "paper": {
        "batch_size": 64,
        "steps": 400_000,
        "warmup_steps": 10_000,
        "lr": 3e-3,
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "lookahead_k": 5,
        "lookahead_alpha": 0.5,
        "clip_grad": 10.0,
        "precision": "bf16",
        "num_workers": 16,
        "vocab_size": 10_000,
    },
    # gentle enough to go on from an encoder, as the paper's goes on from ImageNet's: a linear probe
    # of `mae`'s quick encoder keeps most of its gain, which a rate of 3e-3 destroys; so few updates
    # leave the contrast at chance
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
        "bert_rate": 3.0,
        "vocab_size": 2000,
        "batch_size": 16,
        "epochs": 12,
        "warmup_epochs": 1.0,
        "lr": 3e-4,
        "optimizer": "adamw",
        "beta1": 0.9,
        "beta2": 0.95,
        "weight_decay": 0.05,
        "clip_grad": 1.0,
    },
}


class Method(nn.Module):
    """The encoder that outlives pre-training, and the readers and writers that do not.

    All but the encoder is named as in the released weights: `fusion`, `textual` and
    `contrastive_bert`.
    """

    def __init__(self, config: Config, *, vocab_size: int) -> None:
        super().__init__()
        self.config, self.size = config, encoder_size(config)
        self.encoder = vit.build_encoder(
            self.size, fixed_positions=False, dropout=config.encoder_dropout
        )
        self.fusion = ViewFusion(config.embed_dim, VIEWS)
        self.textual = Captioner(
            config.embed_dim,
            vocab_size=vocab_size,
            width=config.decoder_dim,
            depth=config.decoder_depth,
            num_heads=config.decoder_heads,
            length=config.report_length,
            dropout=config.decoder_dropout,
            unseen=UNKNOWN if config.legacy_unknown else None,
        )
        if config.text_model:
            bert = text_tower.read_bert(Path(config.text_model), pooler=True)
        else:
            bert = text_tower.build_bert(
                vocab_size=vocab_size,
                width=config.bert_dim,
                depth=config.bert_depth,
                num_heads=config.bert_heads,
                length=config.report_length,
                dropout=config.bert_dropout,
                pooler=True,
            )
        text_tower.freeze(bert, embeddings=config.freeze_embeddings, layers=config.freeze_layers)
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
        trained = to_image.detach() if config.legacy_detach else to_image
        both = config.image_to_text * to_text + (1 - config.image_to_text) * trained
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


def rate_of(config: Config, name: str) -> float:
    """Return at which share of the learning rate the parameter `name` is trained."""
    return config.bert_rate if name.startswith("contrastive_bert.") else 1.0


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
        look=studies.REFERS if config.crop == "released" else studies.WIDER,
        hflip=config.hflip,
        unscored=UNKNOWN if config.legacy_unknown else None,
        text_tokenizer=own,
        train=train,
    )
