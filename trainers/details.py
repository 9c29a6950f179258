"""What more do a classification's predictions say? A row a class, working points, calibration.

Nothing here chooses a model. Thresholds are chosen on predictions of other patients where those are
given, else on the very predictions that they are then judged by, so that what they reach flatters.
Shapes: N images, C classes. scikit-learn takes a second to load, and is where it is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers import scores

BINS = 15
"""Of equal width over [0, 1]. Source: Guo et al., ICML 2017, section 5."""
LEAST = 0.95
"""The specificity, or sensitivity, that a working point keeps."""
CHOSEN = "thresholds are chosen on these same predictions, so what they reach flatters"
CHOSEN_APART = "thresholds are chosen on other predictions than those that they are judged by"

Floats = NDArray[np.float64]


def of(
    arrays: scores.Arrays, *, seed: int, validation: scores.Arrays | None = None
) -> dict[str, Any]:
    """Return `classes`, of `of_classes`, the number of calibration `bins`, and a `note`."""
    rows = of_classes(arrays, seed=seed, validation=validation)
    note = CHOSEN if validation is None else CHOSEN_APART
    return {"note": note, "bins": BINS, "classes": rows}


def of_classes(
    arrays: scores.Arrays, *, seed: int, validation: scores.Arrays | None = None
) -> list[dict[str, Any]]:
    """Return a row for each class of a classification, in the order of `classes`.

    Args:
        arrays: of `predictions.join_scores`.
        seed: of the bootstrap over patients.
        validation: the same of other images, on which thresholds are chosen; None: on `arrays`.

    Returns:
        `class`, `n`, `positives`, `AUROC` with `low` and `high` (95 %), `average_precision`,
        `calibration` and `points`. Without a positive or without a negative image, all but the
        counts and the calibration are nan and None; scores outside [0, 1] have no calibration.
    """
    from sklearn.metrics import average_precision_score

    chosen_on = arrays if validation is None else validation
    score = np.asarray(arrays["score"], np.float64)
    label = np.asarray(arrays["label"]).astype(bool)
    _, bounds = scores.auroc_bounds(score, label, arrays["patient"], seed=seed)
    rows = []
    for c, name in enumerate(arrays["classes"].tolist()):
        s, truth = score[:, c], label[:, c]
        both = bool(truth.any() and not truth.all())
        at = _chosen(chosen_on, c)
        rows.append(
            {
                "class": name,
                "n": len(truth),
                "positives": int(truth.sum()),
                "AUROC": scores.auroc(s, truth),
                "low": float(bounds[c, 0]),
                "high": float(bounds[c, 1]),
                "average_precision": float(average_precision_score(truth, s)) if both else np.nan,
                "calibration": calibration(s, truth),
                "points": working_points(s, truth, at=at) if both and at else None,
            }
        )
    return rows


def calibration(score: Floats, label: NDArray[np.bool_]) -> dict[str, Any] | None:
    """Return how far probabilities (N,) are from the shares observed; None where they are none.

    Returns:
        `brier`, the mean squared difference from the label (N,); `expected_calibration_error`, the
        mean over images of how far the mean score of a bin of `BINS` is from its share of
        positives; `reliability`, a row for each bin that holds an image: `low` and `high`, its
        ends, `n`, `mean_score` and `share` of positives.
    """
    if not score.size or score.min() < 0 or score.max() > 1:
        return None
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    said = np.bincount(place, weights=score, minlength=BINS)
    true = np.bincount(place, weights=label, minlength=BINS)
    return {
        "brier": float(np.mean((score - label) ** 2)),
        "expected_calibration_error": float(np.abs(said - true).sum() / score.size),
        "reliability": [
            {
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "n": int(count[i]),
                "mean_score": float(said[i] / count[i]),
                "share": float(true[i] / count[i]),
            }
            for i in np.flatnonzero(count).tolist()
        ],
    }


def working_points(
    score: Floats, label: NDArray[np.bool_], *, at: dict[str, float] | None = None
) -> dict[str, dict[str, float]]:
    """Return what scores (N,), some positive and some negative, reach at each threshold.

    A score at or above `threshold` is called positive.

    Args:
        score: the higher the likelier.
        label: the truth (N,).
        at: the thresholds by name; None: those that `thresholds` chooses on these same scores.

    Returns:
        For each name `threshold`, `sensitivity`, `specificity`, and the predictive values `ppv` and
        `npv`, which are nan where nothing is called so.
    """
    points = {}
    for name, threshold in (thresholds(score, label) if at is None else at).items():
        called = score >= threshold
        hits, misses = int((called & label).sum()), int((~called & label).sum())
        alarms, rest = int((called & ~label).sum()), int((~called & ~label).sum())
        points[name] = {
            "threshold": threshold,
            "sensitivity": _share(hits, misses),
            "specificity": _share(rest, alarms),
            "ppv": _share(hits, alarms),
            "npv": _share(rest, misses),
        }
    return points


def thresholds(score: Floats, label: NDArray[np.bool_]) -> dict[str, float]:
    """Return thresholds for scores (N,) of which some are positive and some negative.

    Returns:
        `youden`, where sensitivity + specificity is largest (Source: Youden 1950); and the most
        sensitive one that keeps a specificity of `LEAST`, and the most specific one that keeps that
        sensitivity. Of equals the highest.
    """
    from sklearn.metrics import roc_curve

    missed, found, threshold = roc_curve(label, score, drop_intermediate=False)
    specific = 1 - missed
    # the curve begins with a threshold that no score reaches, which always has full specificity
    chosen = {
        "youden": int(np.argmax(found + specific)),
        "specificity_95": int(np.argmax(np.where(specific >= LEAST, found, -1.0))),
        "sensitivity_95": int(np.argmax(np.where(found >= LEAST, specific, -1.0))),
    }
    return {name: float(threshold[i]) for name, i in chosen.items()}


def _chosen(arrays: scores.Arrays, c: int) -> dict[str, float] | None:
    """Return the thresholds that class `c` of `arrays` gives; None where it cannot give any."""
    label = np.asarray(arrays["label"])[:, c].astype(bool)
    if label.all() or not label.any():
        return None
    return thresholds(np.asarray(arrays["score"], np.float64)[:, c], label)


def _share(right: float, wrong: float) -> float:
    return float(right / (right + wrong)) if right + wrong > 0 else float("nan")


def table(told: dict[str, Any]) -> list[str]:
    """Return what `of` says as lines to read."""
    rows = told["classes"]
    width = max(len("class"), *(len(row["class"]) for row in rows))
    head = f"{'class':{width}}  {'n':>6} {'pos.':>6}  AUROC [95 %]              AP      Brier   ECE"
    lines = [head]
    for row in rows:
        fit = row["calibration"] or {"brier": np.nan, "expected_calibration_error": np.nan}
        lines.append(
            f"{row['class']:{width}}  {row['n']:>6} {row['positives']:>6}  {row['AUROC']:.4f} "
            f"[{row['low']:.4f}, {row['high']:.4f}]  {row['average_precision']:.4f}  "
            f"{fit['brier']:.4f}  {fit['expected_calibration_error']:.4f}"
        )
    lines += ["", f"{'class':{width}}  at              threshold  sens.   spec.   PPV     NPV"]
    for row in rows:
        for name, point in (row["points"] or {}).items():
            lines.append(
                f"{row['class']:{width}}  {name:14}  {point['threshold']:9.4f}  "
                f"{point['sensitivity']:.4f}  {point['specificity']:.4f}  {point['ppv']:.4f}  "
                f"{point['npv']:.4f}"
            )
    return [*lines, "", f"note: {told['note']}"]
