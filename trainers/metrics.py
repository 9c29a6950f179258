"""What does each number mean: which way is better, in which unit, averaged how, chosen how?

One table for all that tasks and methods emit, read by trainers, grid and exports, so that no number
goes without its meaning and no two of different meaning are compared. Standard library only.

A name may begin with its part of the data (`test/`) and end in one class (`AUROC/Hernia`); `_rules`
says that findings were read by rules, `_constant` and `_nothing` that it is a floor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

PARTS = ("train", "val", "test", "linear", "knn")
"""What may stand before a name: a part of the data, or how `trainers.probe` classifies."""


class Metric(NamedTuple):
    """What a number means."""

    definition: str
    averaging: str
    better: Literal["higher", "lower", "neither"] = "higher"
    """`neither` for floors and counts, which tell how to read another number."""
    unit: Literal["share", "nats", "s", "squared error", "pairs"] = "share"


_IMAGES, _POOLED = "mean over test images", "pooled over all test images"
_CLASSES = "macro: mean over classes that have positives and negatives"
_RECORDS = "mean over held-out records"
_OVERLAPS = "mean over overlaps, over all test images together"
_NONE = "none"

_DICE = {
    "Dice": Metric(
        "Dice of predicted and true mask of each test image; without a true mask 1 where nothing "
        "is predicted, else 0",
        _IMAGES,
    ),
    "Dice_positive": Metric(
        "Dice of predicted and true mask, of the test images that have a true mask",
        "mean over test images with a true mask",
    ),
    "Dice_pooled": Metric("Dice over the pixels of all test images as of one", _POOLED),
    "Dice_nothing": Metric(
        "what `Dice` is for predicting nothing anywhere: its floor", _IMAGES, "neither"
    ),
}

_TRIPLE = {
    "P": "precision: which share of the findings stated in generated reports is in the true ones",
    "R": "recall: which share of the findings stated in true reports is in the generated ones",
    "F1": "harmonic mean of precision and recall of the findings that reports state",
}
_KINDS = {
    "": "macro: mean over the fourteen observations",
    "_micro": "micro: all observations of all reports pooled",
    "_micro5": "micro: five observations of all reports pooled",
    "_example": "mean over reports",
}
_READERS = {"": "read by CheXbert", "_rules": "read by rules"}

METRICS: dict[str, Metric] = {
    "AUROC": Metric(
        "area under the ROC curve: the share of pairs of a positive and a negative test image that "
        "the scores put in order, a tie half",
        _CLASSES,
    ),
    "accuracy": Metric(
        "share of test images whose class is told rightly at some threshold", _IMAGES
    ),
    "average_precision": Metric(
        "mean precision over the recall gained at each score, without interpolation", _CLASSES
    ),
    **_DICE,
    **{
        name.replace("Dice", "Dice_unseen"): value._replace(
            definition=value.definition.replace("`Dice`", "`Dice_unseen`")
            + "; only of images that are in no training or validation list"
        )
        for name, value in _DICE.items()
    },
    "mAP": Metric(
        "average precision of boxes at overlaps of 0.4 to 0.75 by 0.05; healthy images and all "
        "predictions count",
        _OVERLAPS,
    ),
    "mAP_mgca": Metric(
        "average precision of boxes at overlaps of 0.4 to 0.75 by 0.05 by MGCA's rules: only boxes "
        "of a confidence of 0.5 or more, only images that have one of them and a true box",
        "mean over overlaps, over the images that count",
    ),
    "mgca_share": Metric("share of the test images that `mAP_mgca` looks at", _IMAGES, "neither"),
    "AP50": Metric("average precision of boxes at an overlap of 0.5", _POOLED),
    "AP_coco": Metric("average precision of boxes at overlaps of 0.5 to 0.95 by 0.05", _OVERLAPS),
    **{
        f"BLEU-{n}": Metric(
            f"n-grams of 1 to {n} words shared with the true reports, by their geometric mean and "
            "brevity",
            "pooled over all reports",
        )
        for n in range(1, 5)
    },
    "METEOR": Metric("words matched by form, stem and synonym (METEOR 1.5)", "pooled over reports"),
    "ROUGE-L": Metric("longest common subsequence, F of beta 1.2", "mean over reports"),
    **{
        f"{name}{kind}{reader}": Metric(f"{said}, {read}", averaging)
        for name, said in _TRIPLE.items()
        for kind, averaging in _KINDS.items()
        for reader, read in _READERS.items()
    },
    **{
        f"{name}_constant": Metric(
            f"what `{name}` is for one typical training report written for all: its floor",
            averaging,
            "neither",
        )
        for name, averaging in (
            ("BLEU-4", "pooled over all reports"),
            ("F1", _KINDS[""]),
            ("F1_rules", _KINDS[""]),
        )
    },
    "loss": Metric(
        "sum of a method's own weighted losses on held-out records; no two methods compare by it",
        _RECORDS,
        "lower",
        "nats",
    ),
    "time": Metric("how long pre-training trained, over all its attempts", _NONE, "lower", "s"),
    "image_error": Metric(
        "squared error of the targets of hidden patches, as the method scales them",
        _RECORDS,
        "lower",
        "squared error",
    ),
    "token_accuracy": Metric("share of next words that are found", _RECORDS),
    "masked_token_accuracy": Metric("share of hidden words that are found", _RECORDS),
    "retrieval_pool": Metric("pairs among which `recall_at_K` looks", _NONE, "neither", "pairs"),
}
"""By name. What methods emit in families, `loss_X` and `recall_at_K`, is told by `find`."""


def find(name: str) -> Metric | None:
    """Return what a number called `name` means; None where no definition is known."""
    head, _, rest = name.partition("/")
    if head in PARTS:
        head, _, rest = rest.partition("/")
    known = METRICS.get(head) or METRICS.get(re.sub(r"_\d+$", "", head)) or _of_family(head)
    if known is None or not rest:
        return known
    return known._replace(averaging=f"none: `{rest}` alone")


def _of_family(name: str) -> Metric | None:
    if name.startswith("loss_"):
        said = f"`{name.removeprefix('loss_')}`, one of a method's own losses on held-out records"
        return Metric(said, _RECORDS, "lower", "nats")
    if match := re.fullmatch(
        r"recall_at_(\d+)(?:_(?:image_)?to_(?:text|image)|_text_to_image)?", name
    ):
        said = f"share of images or texts whose own partner is among the {match[1]} most alike"
        return Metric(said, "mean over queries of one pool")
    return None


def facts(name: str) -> dict[str, str | None]:
    """Return the meaning of a number as JSON has it: null where no definition is known."""
    known = find(name)
    return dict.fromkeys(Metric._fields) if known is None else known._asdict()


def described(names: Iterable[str]) -> dict[str, dict[str, str | None]]:
    """Return the meaning of each of `names`, once for all parts of the data and all classes."""
    heads: dict[str, None] = {}
    for name in names:
        head, _, rest = name.partition("/")
        heads[rest.partition("/")[0] if head in PARTS else head] = None
    return {head: facts(head) for head in heads}


def selection(selected_by: str | None) -> str:
    """Return by which rule the model was chosen that was tested, `test at best validation AUROC`.

    Args:
        selected_by: as results have it: `val/AUROC`, `last epoch`, or nothing where it is not told.
    """
    if not selected_by:
        return "not told"
    part, _, name = selected_by.partition("/")
    return f"test at best validation {name}" if part == "val" else f"held-out at {selected_by}"


def difference(wanted: str, given: str) -> str:
    """Return why a number in `given` is not compared with `wanted`; empty where they are one.

    The message defines both.
    """
    if wanted == given:
        return ""
    told = [f"`{name}` is {_in_words(name)}" for name in (given, wanted)]
    return f"`{given}` does not compare with `{wanted}`: {'; '.join(told)}"


def _in_words(name: str) -> str:
    known = find(name)
    if known is None:
        return "of no definition that is known here"
    return f"the {known.definition} ({known.averaging}; {known.unit}, better {known.better})"
