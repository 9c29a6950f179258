"""In what do two configurations differ, and which difference is the likeliest to move a score?

Functions from values to values. Differences are grouped by topic, and topics have one fixed order,
that of `TOPICS`: docs/decisions/significance.md says why. Batch and learning rate are compared by
what they come to, images an update and the peak rate, not by the settings that make them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

TOPICS = (
    "preset",
    "data",
    "split",
    "initial weights",
    "architecture",
    "normalisation",
    "objective",
    "batch and learning rate",
    "schedule",
    "optimiser",
    "augmentation",
    "other",
)
"""What a difference can be about, what moves a score most first."""

RATE_BATCH = 256
"""Images an update that `blr` is given for."""

_SETTINGS: Mapping[str, str] = {
    "data": "data_version text_field report_text reference rules min_words val_items images text",
    "split": "split split_seed split_lists_sha256 negatives",
    "initial weights": "freeze freeze_layers freeze_embeddings text_model_sha256 teacher_sha256",
    "architecture": "image_encoder image_px patch_px embed_dim depth num_heads resnet_width "
    "decoder_dim decoder_depth decoder_heads bert_dim bert_depth bert_heads aux_dim aux_depth "
    "aux_heads tap_blocks projection_dim contrast_dim head hidden channels aux_channels "
    "proposals samples writer_width writer_depth writer_heads writer_inner memory_slots "
    "vocab_size tokenizer_sha256 pos_embed_legacy super_resolution report_length",
    "normalisation": "mean std",
    "objective": "mask_ratio target norm_pix_loss hog_window dino_loss word_mask_ratio "
    "mlm_positions report_weight contrast contrast_weight contrast_ramp temperature condition "
    "condition_columns condition_ridge condition_table_sha256 image_to_text deep_loss_reduction "
    "aux_weight focal_weight dice_weight legacy_detach legacy_unknown",
    "batch and learning rate": "batch_size accum_iter lr blr bert_rate encoder_rate layer_decay",
    "schedule": "epochs steps warmup_epochs warmup_steps min_lr schedule schedule_lead "
    "plateau_patience plateau_factor eval_every",
    "optimiser": "optimizer beta1 beta2 momentum weight_decay clip_grad lookahead_k "
    "lookahead_alpha ema_decay",
    "augmentation": "hflip crop crop_min distortion antialias drop_path dropout encoder_dropout "
    "decoder_dropout bert_dropout patch_dropout",
}
TOPIC_OF = {name: topic for topic, names in _SETTINGS.items() for name in names.split()}
"""The topic of each setting; one that is not here is of `other`."""

_BATCH = ("batch_size", "accum_iter", "lr", "blr")
_NOT_COMPARED = frozenset(
    "program recipe method model task ratio preset seed output_dir resume device threads "
    "num_workers micro_batch log_every save_every_s keep_every compile cache data_path pretrained "
    "pretrained_sha256 "
    "encoder_recipe split_lists tokenizer text_model teacher condition_table chexbert_weights "
    "chexbert_words mean std".split()
)
"""What says where or which repeat, and what is compared by what it comes to."""


class Difference(NamedTuple):
    """One topic in which two configurations differ."""

    topic: str
    part: str
    """`pre-training` or `fine-tuning`; empty for both."""
    said: str
    """In words, ours against theirs."""

    @property
    def rank(self) -> int:
        """Its place in `TOPICS`."""
        return TOPICS.index(self.topic)


class Rate(NamedTuple):
    """What batch and learning rate come to."""

    batch_size: int
    accum_iter: int
    processes: int
    lr: float
    """The peak learning rate, once the batch is taken into account."""

    @property
    def batch(self) -> int:
        """Images an update."""
        return self.batch_size * self.accum_iter * self.processes

    def product(self) -> str:
        """Return how the batch is made: `128 (64 x 2 x 1)`."""
        return f"{self.batch} ({self.batch_size} x {self.accum_iter} x {self.processes})"


def ranked(found: Iterable[Difference]) -> list[Difference]:
    """Return differences by `TOPICS`, pre-training before fine-tuning, each once."""
    order = ("", "pre-training", "fine-tuning")
    return sorted(dict.fromkeys(found), key=lambda each: (each.rank, order.index(each.part)))


def of_settings(
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    *,
    part: str,
    processes: int = 1,
    their_processes: int = 1,
) -> list[Difference]:
    """Return in what a run's configuration differs from another's, a difference a topic.

    Args:
        ours: as a run's `config.json` has it.
        theirs: likewise, such as a preset's; a setting that only one has is not compared.
        part: which training it is of.
        processes: in how many `ours` trained.
        their_processes: in how many `theirs` did; a preset is for one.
    """
    found = []
    if ours.get("preset") == "quick" and theirs.get("preset") == "paper":
        said = "preset `quick`: toy sizes and a short schedule, from which most of the rest follows"
        found.append(Difference("preset", part, said))
    found += of_rates(rate_of(ours, processes), rate_of(theirs, their_processes), part=part)
    by_topic: dict[str, list[str]] = {}
    for name, value in ours.items():
        if name in theirs and name not in (*_BATCH, *_NOT_COMPARED) and value != theirs[name]:
            said = f"`{name}` {shown(value)} against {shown(theirs[name])}"
            by_topic.setdefault(TOPIC_OF.get(name, "other"), []).append(said)
    found += [Difference(topic, part, ", ".join(said)) for topic, said in by_topic.items()]
    return ranked(found)


def rate_of(config: Mapping[str, Any], processes: int) -> Rate | None:
    """Return what batch and learning rate come to; None where the configuration does not tell."""
    try:
        size, accumulated = int(config["batch_size"]), int(config["accum_iter"])
        lr, blr = float(config["lr"]), float(config["blr"])
    except (KeyError, TypeError, ValueError):
        return None
    return Rate(
        size, accumulated, processes, lr or blr * size * accumulated * processes / RATE_BATCH
    )


def of_rates(ours: Rate | None, theirs: Rate | None, *, part: str) -> list[Difference]:
    """Return how two trainings differ in images an update and in the peak learning rate."""
    if ours is None or theirs is None:
        return []
    same_rate = abs(ours.lr - theirs.lr) <= 1e-9 * max(ours.lr, theirs.lr)
    rates = f"learning rate {ours.lr:g} against {theirs.lr:g}"
    if ours.batch == theirs.batch:
        said = "" if same_rate else f"{rates}, at the same effective batch of {ours.batch}"
    else:
        said = f"effective batch {ours.product()} against {theirs.product()}, "
        said += f"at the same absolute learning rate of {ours.lr:g}" if same_rate else rates
    return [Difference("batch and learning rate", part, said)] if said else []


def normalisation(ours: Iterable[float], theirs: Iterable[float]) -> bool:
    """Return whether two lists of grey values, one for all channels or one each, are the same."""
    a, b = ([round(float(value), 4) for value in values] for values in (ours, theirs))
    length = max(len(a), len(b))
    return (a * length if len(a) == 1 else a) == (b * length if len(b) == 1 else b)


def shown(value: Any) -> str:
    """Write a setting: digests by their first digits, nothing as such."""
    if isinstance(value, str):
        if len(value) == 64 and set(value) <= set("0123456789abcdef"):
            return value[:12]
        return value or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
