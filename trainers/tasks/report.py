"""Does an encoder help to write reports? R2Gen's decoder and protocol; metric: BLEU-4.

Reports are cleaned, cut and numbered as R2Gen has it (`trainers.data.wording`), written by its
transformer with a relational memory (`trainers.modules.report_writer`), and scored against the
true ones as cut to its length. `BLEU-4` stands beside `BLEU-4_constant`, its floor: what the one
training report that is most like all of them would score, written under every image.

Source: Chen et al., "Generating Radiology Reports via Memory-driven Transformer", EMNLP 2020, and
its released code. Ours: the pre-trained encoder, whose patches after the last block get a fresh
norm, in place of ResNet-101; half a cosine for the learning rate, the norm of the gradient clipped,
and plain Adam; weight decay on matrices alone; bf16.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trainers import normalisation, predictions, report_judging, report_samples
from trainers.config import ConfigError, InputError, option
from trainers.data import annotated, unseen_reports, wording
from trainers.data.annotated import Text
from trainers.data.pairs import Hflip
from trainers.data.reported import Reported
from trainers.data.wording import Rules, Vocabulary
from trainers.modules import captioner, encoders
from trainers.modules.report_writer import ReportWriter
from trainers.normalisation import Levels
from trainers.predictions import Written
from trainers.weights import AnySize

logger = logging.getLogger(__name__)

METRIC = report_judging.METRIC
COMPARED = 5_000
"""Training reports, at most, among which the most typical is looked for."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `--task report` can be told; the defaults are R2Gen's."""

    image_px: int = option(224, "side of the square the network sees, in pixels")
    drop_path: float = option(0.0, "stochastic depth of the encoder's last block")
    mean: Levels = option("auto", "mean grey value, in [0, 1], or three; auto: as pre-trained")
    std: Levels = option("auto", "standard deviation of the same, likewise")
    cache: bool = option(False, "keep resized images in memory", recipe=False)
    hflip: Hflip = option(
        "on", "whether half the training images are mirrored, and texts with them"
    )
    freeze: bool = option(False, "leave the encoder as it is")
    encoder_rate: float = option(0.5, "share of the learning rate that the encoder gets")
    rules: Literal["auto", "iu", "mimic"] = option(
        "auto", "R2Gen's rules for cleaning, words, length and images; auto: as the data are"
    )
    report_text: Text = option("findings", "the part of reports with headers that is written")
    min_words: int = option(3, "words of the shortest report that is kept, where none are cleaned")
    threshold: int = option(0, "how often a word must be there to be known; 0: 3 (iu), 10 (mimic)")
    max_length: int = option(0, "tokens after which reports are cut; 0: 60 (iu), 100 (mimic)")
    min_length: int = option(0, "fewest words that are written")
    images: int = option(0, "radiographs that a report is written from; 0: 2 (iu), 1 (mimic)")
    beam_size: int = option(3, "beams of the search for the most probable report; 1 is greedy")
    reference: Literal["cut", "full"] = option(
        "cut", "whether true reports are scored as cut to known words and length, or in full"
    )
    val_items: int = option(0, "reports to validate on, spread over the part; 0: all")
    chexbert_weights: str = option(
        "", "CheXbert's `chexbert.pth`; without it the clinical scores are by rules", recipe=False
    )
    chexbert_words: str = option("", "`vocab.txt` of bert-base-uncased, for CheXbert", recipe=False)
    writer_width: int = option(512, "width of the transformer that writes")
    writer_depth: int = option(3, "layers of its encoder, and of its decoder")
    writer_heads: int = option(8, "heads of each attention in it")
    writer_inner: int = option(512, "width within each MLP of it")
    memory_slots: int = option(3, "slots of its relational memory; 0: none, a plain transformer")
    dropout: float = option(0.1, "share of words, attention and hidden values dropped in it")
    patch_dropout: float = option(0.5, "share of the projected patches' values dropped")

    def __post_init__(self) -> None:
        for name in ("image_px", "beam_size", "writer_width", "writer_depth", "writer_heads",
                     "writer_inner", "min_words"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected at least 1")
        for name in ("threshold", "max_length", "min_length", "images", "val_items",
                     "memory_slots", "encoder_rate"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected 0 or more")
        for name in ("drop_path", "dropout", "patch_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected in [0, 1)")
        if bool(self.chexbert_weights) != bool(self.chexbert_words):
            raise ConfigError("give both `chexbert_weights` and `chexbert_words`, or neither")
        if self.writer_width % (2 * self.writer_heads):
            raise ConfigError(
                f"`writer_width` is {self.writer_width}; expected an even multiple of "
                f"`writer_heads`, {self.writer_heads}"
            )
        normalisation.settle(self)


PRESETS: dict[str, dict[str, Any]] = {
    # R2Gen lowers its rate by a fifth every epoch, clips each value at 0.1, and has AMSGrad
    "paper": {
        "optimizer": "adam",
        "lr": 1e-4,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 5e-5,
        "clip_grad": 1.0,
        "schedule": "cosine",
        "schedule_lead": 1,
        "batch_size": 16,
        "epochs": 30,
        "precision": "bf16",
        "num_workers": 8,
    },
    # impressions are shorter than findings, and say more of the image: tuned on generated
    # radiographs with one large finding, where a randomly initialised encoder then beats the best
    # constant report; with all fourteen findings it does not within a minute
    "quick": {
        "image_px": 64,
        "hflip": "off",
        "cache": True,
        "report_text": "impression",
        "threshold": 3,
        "max_length": 60,
        "val_items": 32,
        "writer_width": 64,
        "writer_depth": 1,
        "writer_heads": 4,
        "writer_inner": 128,
        "memory_slots": 0,
        "dropout": 0.0,
        "patch_dropout": 0.0,
        "encoder_rate": 1.0,
        "optimizer": "adamw",
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.05,
        "clip_grad": 1.0,
        "schedule": "cosine",
        "schedule_lead": 1,
        "batch_size": 16,
        "steps": 500,
        "warmup_steps": 20,
        "eval_every": 250,
    },
}


class Splits(NamedTuple):
    """What to train, validate and test on, and what a model must know of it beforehand."""

    train: Reported
    val: Reported
    test: Reported
    facts: dict[str, Any]
    vocabulary: Vocabulary
    constant: str
    """The training report that is most like all of them, as cut."""


class Task(nn.Module):
    """The encoder, a fresh norm of its patches, and a writer that has as many words as are known.

    The words stand in the training reports, so that the writer is there only after `prepare`, or
    when weights are loaded, which carry them along.
    """

    def __init__(self, config: Config, encoder_size: AnySize) -> None:
        super().__init__()
        self.config, self.size = config, encoder_size
        self.encoder = encoders.build(
            encoder_size, image_px=config.image_px, drop_path=config.drop_path
        )
        if config.freeze:
            self.encoder.requires_grad_(False)
        self.patch_norm = encoders.patch_norm(encoder_size)
        self.writer: ReportWriter | None = None
        self.vocabulary: Vocabulary | None = None
        self.constant = ""

    def prepare(self, splits: Splits) -> None:
        """Take over the words of the training reports, and the most typical of these."""
        self._know(splits.vocabulary, splits.constant)

    def _know(self, vocabulary: Vocabulary, constant: str) -> None:
        if self.vocabulary not in (None, vocabulary):
            raise InputError(
                "the training reports have other words than those that the weights were trained on"
            )
        self.constant = constant
        if self.vocabulary is not None:
            return
        config, self.vocabulary = self.config, vocabulary
        writer = ReportWriter(
            self.size.embed_dim,
            vocab_size=vocabulary.size,
            width=config.writer_width,
            depth=config.writer_depth,
            num_heads=config.writer_heads,
            inner=config.writer_inner,
            length=vocabulary.length,
            slots=config.memory_slots,
            dropout=config.dropout,
            patch_dropout=config.patch_dropout,
        )
        self.writer = writer.to(next(self.encoder.parameters()).device)

    def get_extra_state(self) -> Tensor:
        """Return words and most typical report as bytes, for the weights' file."""
        known = self.vocabulary.to_json() if self.vocabulary else ""
        text = json.dumps([known, self.constant])
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over what `get_extra_state` gave; torch loads it before the writer's weights."""
        known, constant = json.loads(bytes(state.cpu().tolist()).decode())
        if known:
            self._know(wording.from_json(known), constant)

    def train(self, mode: bool = True) -> Task:
        """Set training on or off; a frozen encoder's stays off."""
        super().train(mode)
        if self.config.freeze:
            self.encoder.eval()
        return self

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the loss of one batch.

        Args:
            batch: `image` (B, I, 3, P, P), normalised; `ids` and `labels` (B, T).

        Returns:
            `words`, the mean cross-entropy over the scored words (nats), and `monitor/accuracy`,
            the share of them, in [0, 1], that were the most probable.
        """
        # no longer than the longest report: the memory takes a step for every place
        longest = max(int((batch["labels"] != captioner.IGNORED).sum(dim=1).max()), 2)
        ids, labels = batch["ids"][:, : longest - 1], batch["labels"][:, :longest]
        logits = self._writer()(self._patches(batch["image"]), ids)
        told = captioner.next_words(logits, labels, training=self.training)
        return {"words": told.error, "monitor/accuracy": told.accuracy}

    def predict(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return `generated` and `reference`, B texts each, and `constant`, one."""
        config, vocabulary = self.config, self.vocabulary
        written = self._writer().write(
            self._patches(batch["image"]),
            beams=config.beam_size,
            longest=vocabulary.length,
            shortest=config.min_length,
        )
        true = [
            vocabulary.cut(report)
            if config.reference == "cut"
            else " ".join(wording.clean(report, vocabulary.rules).split())
            for report in batch["report"]
        ]
        generated = [vocabulary.text(ids) for ids in written.tolist()]
        return {"generated": generated, "reference": true, "constant": self.constant}

    def _writer(self) -> ReportWriter:
        if self.writer is None:
            raise RuntimeError("no words are known; `prepare` comes first")
        return self.writer

    def _patches(self, image: Tensor) -> Tensor:
        """Return the patches (B, I * N, E) of images (B, I, 3, P, P), one after the other."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze):
            patches = encoders.patches(self.encoder, image.flatten(0, 1))
        return self.patch_norm(patches).unflatten(0, image.shape[:2]).flatten(1, 2)


def rate_of(config: Config, name: str) -> float:
    """Return the share of the learning rate that a parameter is trained at.

    Source: R2Gen, 5e-5 for what sees and 1e-4 for the rest.
    """
    return config.encoder_rate if name.startswith("encoder.") else 1.0


join = predictions.join_reports


def collect(batch: Mapping[str, Any], said: Mapping[str, Any]) -> list[Written]:
    """Return what was written about each image of a test batch."""
    texts = zip(batch["name"], batch["patient"], said["generated"], said["reference"], strict=True)
    return [Written(*item, said["constant"]) for item in texts]


def complete(
    config: Config, arrays: predictions.Arrays, device: torch.device
) -> predictions.Arrays:
    """Return `arrays` with what labellers read in the reports; see `report_judging.label`."""
    weights, words = config.chexbert_weights, config.chexbert_words
    return report_judging.label(arrays, weights=weights, words=words, device=device)


validation_score = report_judging.quick_score
score = report_judging.score
bounds = report_judging.bounds


def settle(given: dict[str, Any]) -> None:
    """Put the rules that suit the data into `given`, so that no recipe stands for two.

    Raises:
        MissingError: the data set's folder holds no reports.
        InputError: its `annotation.json` is not what it should be.
    """
    data_path = Path(str(given.get("data_path", "")))
    if given.get("rules", "auto") == "auto" and given.get("data_path") and data_path.exists():
        given["rules"] = annotated.rules_at(data_path)


def open_splits(config: Config, data_path: Path, *, ratio: int, seed: int) -> Splits:
    """Return the splits that `ratio` percent of the training patients give; see `annotated.read`.

    Raises:
        InputError: no word is there often enough to be known.
    """
    kept = annotated.Kept(config.report_text, config.min_words)
    split = annotated.read(data_path, ratio, seed=seed, kept=kept)
    rules: Rules = split.rules if config.rules == "auto" else config.rules
    vocabulary = wording.learn(
        [item.report for item in split.train],
        rules,
        threshold=config.threshold or wording.THRESHOLD[rules],
        length=config.max_length or wording.LENGTH[rules],
    )
    if vocabulary.words == (wording.UNKNOWN,):
        raise InputError(
            f"{data_path}: no word is in the training reports often enough; lower `threshold`"
        )
    some = split.train[:: -(-len(split.train) // COMPARED)]
    constant = wording.typical([vocabulary.cut(item.report) for item in some])
    facts = split.facts | {"rules": rules, "words": len(vocabulary.words)}
    settings = _settings(config, rules)
    return Splits(
        Reported(split.train, vocabulary=vocabulary, hflip=config.hflip, **settings),
        Reported(_spread(split.val, config.val_items), **settings),
        Reported(split.test, **settings),
        facts,
        vocabulary,
        constant,
    )


def _settings(config: Config, rules: Rules) -> dict[str, Any]:
    return {
        "px": config.image_px,
        "images": config.images or wording.IMAGES[rules],
        "mean": config.mean,
        "std": config.std,
        "cache": config.cache,
    }


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """Return `most` of `items`, spread evenly over them; all if that is 0."""
    if not most or most >= len(items):
        return list(items)
    places = np.linspace(0, len(items) - 1, most).round().astype(int)
    return [items[place] for place in places]


def open_folder(config: Config, images: Path, labels: Path) -> Reported:
    """Return, to test on, what `labels` names and `images` holds; see `unseen_reports.named`.

    Raises:
        MissingError: none of the images is there.
    """
    named, rules = unseen_reports.named(labels)
    there, missing = unseen_reports.present(named, images, labels)
    if config.rules != "auto":
        rules = config.rules
    return Reported(there, missing=missing, **_settings(config, rules))


def samples(arrays: Mapping[str, Any], test: Reported, folder: Path) -> Any:
    """Write some of the generated reports beside the true ones; see `report_samples.draw`."""
    return report_samples.draw(arrays, test.picture, folder)
