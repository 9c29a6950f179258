"""How near are generated reports to the true ones, in words and in what they find?

In words: `BLEU-1` to `BLEU-4` (of all reports together, closest reference length), `ROUGE-L` (beta
1.2, mean over reports) and `METEOR` (of all reports together), by pycocoevalcap as R2Gen uses it:
words are what blanks part, without its tokenizer. Texts are scored as they are given, so whoever
calls cleans both sides alike.

In findings: precision, recall and F1 over what a labeller reads in both. Only what is stated as
there counts: uncertain and denied are as if not spoken of (R2Gen's rule). `P`, `R`, `F1` are means
over the fourteen observations, as in the papers; beside them `_micro` (all observations pooled),
`_micro5` (five of them pooled) and `_example` (of each report, then their mean). An observation
that neither side has, like a report without any, counts 0, as scikit-learn's `zero_division=0`.

Sources: Chen et al., "Generating Radiology Reports via Memory-driven Transformer", EMNLP 2020, its
released code and `compute_ce.py` of its successor.
Shapes: N reports, R resamples, C observations.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.rouge.rouge import Rouge

from trainers import meteor as jar
from trainers.observations import FIVE, OBSERVATIONS, Labeller, Labels, label_reports
from trainers.scores import RESAMPLES, Floats, Interval, interval, patient_draws

logger = logging.getLogger(__name__)

BLEU = tuple(f"BLEU-{n}" for n in range(1, 5))
TINY, SMALL = 1e-15, 1e-9
"""What pycocoevalcap adds to counts above and below a line, so that nothing is divided by 0."""


class Words(NamedTuple):
    """What is counted in each pair of reports, and what all of them score."""

    values: dict[str, float]
    bleu: Floats
    """(N, 10): words generated, words true, n-grams generated (4), of them right (4)."""
    rouge: Floats
    """(N,)."""
    meteor: Floats | None
    """(N, 23), or None where there is no METEOR."""


def score_reports(
    generated: Sequence[str], reference: Sequence[str], *, meteor: bool = True
) -> dict[str, float]:
    """Return `BLEU-1` to `BLEU-4`, `ROUGE-L` and `METEOR`, each in [0, 1]; nan without reports.

    An empty text has no words right; against an empty one it is right for ROUGE-L alone. A text of
    k words has no longer n-grams: among such alone, BLEU beyond k is next to 0.

    Args:
        generated: one text a report.
        reference: the true text of each.
        meteor: False saves the ten seconds and more that its Java program takes to start. Where
            there is no Java, `METEOR` is left out and a warning says so.
    """
    return dict(count_words(tuple(generated), tuple(reference), meteor=meteor).values)


def report_bounds(
    generated: Sequence[str],
    reference: Sequence[str],
    patient: ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    meteor: bool = True,
) -> dict[str, Interval]:
    """Return the 95 % percentile interval of each of `score_reports`; patients are drawn."""
    counted = count_words(tuple(generated), tuple(reference), meteor=meteor)
    if not counted.rouge.size:
        return {name: (float("nan"), float("nan")) for name in counted.values}
    drawn = [
        weighted_words(counted, weight)
        for weight in patient_draws(patient, seed=seed, resamples=resamples)
    ]
    return {
        name: interval(np.concatenate([part[name] for part in drawn])) for name in counted.values
    }


def weighted_words(counted: Words, weight: NDArray[np.integer]) -> dict[str, Floats]:
    """Return (R,) each score in words under each column of `weight` (N, R)."""
    share = weight.astype(np.float64)
    values = dict(zip(BLEU, bleu_of(counted.bleu.T @ share), strict=True))
    values["ROUGE-L"] = counted.rouge @ share / share.sum(axis=0)
    if counted.meteor is not None:
        values["METEOR"] = jar.score_of((jar.counted(counted.meteor).T @ share).T)
    return values


# `score` and `bounds` of one evaluation ask for the same texts
@lru_cache(maxsize=4)
def count_words(generated: tuple[str, ...], reference: tuple[str, ...], *, meteor: bool) -> Words:
    """Return what `score_reports` counts, report by report."""
    if len(generated) != len(reference):
        raise ValueError(f"{len(generated)} generated reports for {len(reference)} true ones")
    pairs = [
        (" ".join(g.split()), " ".join(r.split()))
        for g, r in zip(generated, reference, strict=True)
    ]
    scorer, rouge = BleuScorer(n=4), Rouge()
    for text, truth in pairs:
        scorer += (text, [truth])
    bleu, _ = scorer.compute_score(option="closest", verbose=0)
    each = np.array([rouge.calc_score([text], [truth]) for text, truth in pairs], np.float64)
    nothing = float("nan")
    values = dict(zip(BLEU, bleu if pairs else [nothing] * 4, strict=True))
    values["ROUGE-L"] = float(each.mean()) if pairs else nothing
    counts = np.array(
        [[c["testlen"], *c["reflen"], *c["guess"], *c["correct"]] for c in scorer.ctest], np.float64
    ).reshape(len(pairs), 10)
    found = _meteor(pairs) if meteor and pairs else None
    if found is not None:
        values["METEOR"] = found.score
    return Words(values, counts, each, None if found is None else found.counts)


def _meteor(pairs: Sequence[tuple[str, str]]) -> jar.Meteor | None:
    try:
        return jar.measure([text for text, _ in pairs], [truth for _, truth in pairs])
    except jar.MeteorError as error:
        _say(f"METEOR is left out: {error}")
        return None


@cache
def _say(line: str) -> None:
    """Warn once, however often reports are scored."""
    logger.warning(line)


def bleu_of(counts: Floats) -> Floats:
    """Return (4, ...) BLEU-1 to BLEU-4 of summed counts (10, ...), as pycocoevalcap has them."""
    words, true_words, made, right = counts[0], counts[1], counts[2:6], counts[6:10]
    order = np.arange(1, 5).reshape(4, *[1] * (counts.ndim - 1))
    precision = np.cumprod((right + TINY) / (made + SMALL), axis=0) ** (1 / order)
    ratio = (words + TINY) / (true_words + SMALL)
    return precision * np.exp(np.minimum(0.0, 1 - 1 / ratio))


def clinical_scores(
    generated: Sequence[str], reference: Sequence[str], *, labeller: Labeller
) -> dict[str, float]:
    """Return precision, recall and F1 of what `labeller` reads in the generated reports.

    The names end in the labeller's suffix; see `matrix_scores`, which takes what was read.
    """
    labels = [label_reports(texts, labeller) for texts in (generated, reference)]
    return matrix_scores(*labels, suffix=labeller.suffix)


def matrix_scores(generated: Labels, reference: Labels, *, suffix: str) -> dict[str, float]:
    """Return the clinical scores of two label matrices (N, 14); nan without reports.

    Returns:
        `P`, `R`, `F1`; the same with `_micro`, `_micro5` and `_example`; `F1/OBSERVATION` of each.
        `suffix` comes before a `/`, else last: `P_rules`, `F1_micro_rules`, `F1_rules/Edema`.
    """
    once = np.ones((len(generated), 1))
    scored = _clinical(generated, reference, once) if len(generated) else None
    return {
        _named(name, suffix): float("nan") if scored is None else float(scored[name][0])
        for name in _names()
    }


def matrix_bounds(
    generated: Labels,
    reference: Labels,
    patient: ArrayLike,
    *,
    suffix: str,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return the 95 % percentile interval of each of `matrix_scores`; patients are drawn."""
    if not len(generated):
        return {_named(name, suffix): (float("nan"), float("nan")) for name in _names()}
    drawn = [
        _clinical(generated, reference, weight.astype(np.float64))
        for weight in patient_draws(patient, seed=seed, resamples=resamples)
    ]
    return {
        _named(name, suffix): interval(np.concatenate([part[name] for part in drawn]))
        for name in _names()
    }


def label_arrays(
    generated: Sequence[str], reference: Sequence[str], *, labeller: Labeller
) -> dict[str, Labels]:
    """Return what `labeller` reads on both sides, to be stored beside the texts.

    The arrays (N, 14) are called `generated_labels` and `reference_labels`, with the labeller's
    suffix; `stored_scores` and `stored_bounds` find them again.
    """
    return {
        f"{side}_labels{labeller.suffix}": label_reports(texts, labeller)
        for side, texts in (("generated", generated), ("reference", reference))
    }


def stored_scores(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, float]:
    """Return the clinical scores of every labeller whose matrices are in `arrays`; maybe none."""
    values: dict[str, float] = {}
    for suffix, *labels in _stored(arrays):
        values |= matrix_scores(*labels, suffix=suffix)
    return values


def stored_bounds(arrays: Mapping[str, NDArray[np.generic]], seed: int) -> dict[str, Interval]:
    """Return the 95 % intervals of `stored_scores`, by a bootstrap over `patient` (N,)."""
    bounds: dict[str, Interval] = {}
    for suffix, *labels in _stored(arrays):
        bounds |= matrix_bounds(*labels, arrays["patient"], suffix=suffix, seed=seed)
    return bounds


def _stored(arrays: Mapping[str, NDArray[np.generic]]) -> Iterator[tuple[str, Labels, Labels]]:
    for name in arrays:
        if name.startswith("generated_labels"):
            suffix = name.removeprefix("generated_labels")
            yield suffix, arrays[name], arrays[f"reference_labels{suffix}"]


def _names() -> list[str]:
    kinds = [f"{name}{kind}" for kind in ("", "_micro", "_micro5", "_example") for name in _TRIPLE]
    return kinds + [f"F1/{name}" for name in OBSERVATIONS]


_TRIPLE = ("P", "R", "F1")


def _named(name: str, suffix: str) -> str:
    head, slash, observation = name.partition("/")
    return f"{head}{suffix}{slash}{observation}"


def _clinical(generated: Labels, reference: Labels, weight: Floats) -> dict[str, Floats]:
    """Return each score as (R,) under each column of `weight` (N, R): how often a report counts."""
    said, true = generated == 1, reference == 1
    both, said, true = (part.astype(np.float64) for part in (said & true, said, true))
    hits, claims, facts = (part.T @ weight for part in (both, said, true))  # (C, R) each
    five = [OBSERVATIONS.index(name) for name in FIVE]
    classes = _triple(hits, claims, facts)
    per_report = _triple(both.sum(axis=1), said.sum(axis=1), true.sum(axis=1))
    kinds = {
        "": [value.mean(axis=0) for value in classes],
        "_micro": _triple(hits.sum(axis=0), claims.sum(axis=0), facts.sum(axis=0)),
        "_micro5": _triple(*(part[five].sum(axis=0) for part in (hits, claims, facts))),
        "_example": [value @ weight / weight.sum(axis=0) for value in per_report],
    }
    scored = {
        f"{name}{kind}": value
        for kind, values in kinds.items()
        for name, value in zip(_TRIPLE, values, strict=True)
    }
    named = zip(OBSERVATIONS, classes[2], strict=True)
    return scored | {f"F1/{name}": value for name, value in named}


def _triple(hits: Floats, claims: Floats, facts: Floats) -> list[Floats]:
    """Return precision, recall and F1; 0 where nothing is divided by nothing."""
    return [_ratio(hits, claims), _ratio(hits, facts), _ratio(2 * hits, claims + facts)]


def weighted_labels(
    arrays: Mapping[str, NDArray[np.generic]], weight: NDArray[np.integer]
) -> dict[str, Floats]:
    """Return (R,) each of `stored_scores` under each column of `weight` (N, R)."""
    values: dict[str, Floats] = {}
    for suffix, *labels in _stored(arrays):
        scored = _clinical(*labels, weight.astype(np.float64))
        values |= {_named(name, suffix): value for name, value in scored.items()}
    return values


def _ratio(part: Floats, whole: Floats) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
