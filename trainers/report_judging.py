"""How good are generated reports, and how good would one and the same report for all be?

Takes the arrays of `trainers.predictions`. Beside `BLEU-4` and each labeller's `F1` stands its
floor, `BLEU-4_constant` and `F1_constant`: what the one training report that is most like all of
them scores, written under every image.

Shapes: N reports, 14 observations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from trainers import labellers, predictions, report_scores
from trainers.observations import label_reports

METRIC, FLOOR = "BLEU-4", "BLEU-4_constant"
CONSTANT = "constant_labels"
"""Begins the name of what a labeller reads in the constant report, (1, 14)."""


def label(
    arrays: predictions.Arrays, *, weights: str, words: str, device: torch.device
) -> predictions.Arrays:
    """Return `arrays` with what the labellers read in the reports, as (N, 14) matrices.

    By rules always, and by CheXbert where its files are given. The constant report has one row.

    Args:
        arrays: of `predictions.join_reports`.
        weights: CheXbert's `chexbert.pth`, or nothing.
        words: its `vocab.txt`.
        device: where CheXbert reads.
    """
    chosen = [labellers.choose("rules")]
    if weights:
        chosen.append(labellers.choose("chexbert", weights=weights, words=words, device=device))
    generated, reference, constant = (
        arrays[name].tolist() for name in ("generated", "reference", "constant")
    )
    labelled = dict(arrays)
    for labeller in chosen:
        labelled |= report_scores.label_arrays(generated, reference, labeller=labeller)
        labelled[f"{CONSTANT}{labeller.suffix}"] = label_reports(constant, labeller)
    return labelled


def quick_score(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores in words but METEOR, whose program takes long to start."""
    return _word_scores(arrays, meteor=False)


def score(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Return every score in words and in findings, and the floors; see `report_scores`."""
    values = _word_scores(arrays, meteor=True) | report_scores.stored_scores(arrays)
    for suffix, floor in _floors(arrays):
        values[f"F1{suffix}_constant"] = report_scores.stored_scores(floor)[f"F1{suffix}"]
    return values


def _word_scores(arrays: Mapping[str, Any], *, meteor: bool) -> dict[str, float]:
    generated, reference = arrays["generated"].tolist(), arrays["reference"].tolist()
    values = report_scores.score_reports(generated, reference, meteor=meteor)
    floor = report_scores.score_reports(_constant(arrays), reference, meteor=False)
    return {**values, FLOOR: floor[METRIC]}


def bounds(arrays: Mapping[str, Any], seed: int) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of `score`, by a bootstrap over patients."""
    generated, reference = arrays["generated"].tolist(), arrays["reference"].tolist()
    patient, words = arrays["patient"], report_scores.report_bounds
    found = words(generated, reference, patient, seed=seed)
    floor = words(_constant(arrays), reference, patient, seed=seed, meteor=False)
    found[FLOOR] = floor[METRIC]
    found |= report_scores.stored_bounds(arrays, seed)
    for suffix, labels in _floors(arrays):
        found[f"F1{suffix}_constant"] = report_scores.stored_bounds(labels, seed)[f"F1{suffix}"]
    return found


def _floors(arrays: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each labeller's suffix, and its labels were the constant report written for all."""
    for name, labels in arrays.items():
        if name.startswith(CONSTANT):
            suffix = name.removeprefix(CONSTANT)
            true = arrays[f"reference_labels{suffix}"]
            yield (
                suffix,
                {
                    f"generated_labels{suffix}": np.repeat(labels, len(true), axis=0),
                    f"reference_labels{suffix}": true,
                    "patient": arrays["patient"],
                },
            )


def _constant(arrays: Mapping[str, Any]) -> list[str]:
    return arrays["constant"].tolist() * len(arrays["names"])
