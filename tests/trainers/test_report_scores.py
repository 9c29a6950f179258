"""Are the scores of reports what other code makes of the same texts and labels?"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from trainers import report_scores, scores
from trainers.data import layouts
from trainers.observations import FIVE, OBSERVATIONS, label_reports
from trainers.report_rules import Rules

KINDS = {"": "macro", "_micro": "micro", "_example": "samples"}


def ngrams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def bleu(generated: list[str], reference: list[str], order: int) -> float:
    """Papineni et al. 2002, section 2.3, with one reference each."""
    logs = 0.0
    for n in range(1, order + 1):
        pairs = [
            (ngrams(g.split(), n), ngrams(r.split(), n))
            for g, r in zip(generated, reference, strict=True)
        ]
        right = sum((made & true).total() for made, true in pairs)
        logs += np.log(right / sum(made.total() for made, _ in pairs)) / order
    c = sum(len(g.split()) for g in generated)
    r = sum(len(r.split()) for r in reference)
    return float(np.exp(min(0.0, 1 - r / c) + logs))


def rouge(generated: str, reference: str) -> float:
    """Lin 2004, section 3.1, with beta 1.2."""
    x, y = reference.split(), generated.split()

    @cache
    def common(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return 0
        if x[i - 1] == y[j - 1]:
            return common(i - 1, j - 1) + 1
        return max(common(i - 1, j), common(i, j - 1))

    length = common(len(x), len(y))
    if not length:
        return 0.0
    recall, precision = length / len(x), length / len(y)
    return (1 + 1.2**2) * recall * precision / (recall + 1.2**2 * precision)


def random_texts(seed: int, count: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(list("abcd"), size=rng.integers(1, 25))) for _ in range(count)]


def findings(seed: int, count: int) -> list[str]:
    reports = [job.facts["report"].flat for job in layouts.plan_mimic(seed, count, 64)]
    return [report.split("FINDINGS:")[1].lower().replace(".", " .") for report in reports]


@pytest.mark.parametrize("texts", [random_texts, findings])
def test_bleu_and_rouge_are_those_of_their_papers(texts) -> None:
    generated, reference = texts(1, 60), texts(2, 60)
    values = report_scores.score_reports(generated, reference, meteor=False)
    for n in range(1, 5):
        assert values[f"BLEU-{n}"] == pytest.approx(bleu(generated, reference, n), abs=1e-6)
    each = [rouge(g, r) for g, r in zip(generated, reference, strict=True)]
    assert values["ROUGE-L"] == pytest.approx(np.mean(each), abs=1e-6)


def test_bleu_of_one_sentence_is_what_a_pencil_says() -> None:
    # words 3 of 4, pairs 1 of 3 ("no pleural"), shorter than the truth: exp(1 - 5 / 4)
    values = report_scores.score_reports(
        ["no pleural fluid seen"], ["no pleural effusion is seen"], meteor=False
    )
    brief = np.exp(-1 / 4)
    assert values["BLEU-1"] == pytest.approx(brief * 3 / 4, abs=1e-6)
    assert values["BLEU-2"] == pytest.approx(brief * np.sqrt(3 / 4 * 1 / 3), abs=1e-6)
    assert values["BLEU-4"] < 1e-3


def test_the_same_texts_score_one() -> None:
    texts = findings(3, 20)
    values = report_scores.score_reports(texts, [f" {text}\n" for text in texts], meteor=False)
    assert list(values.values()) == pytest.approx([1.0] * 5, abs=1e-6)


def test_an_empty_text_has_nothing_right() -> None:
    values = report_scores.score_reports([""], ["no effusion"], meteor=False)
    assert list(values.values()) == [0.0] * 5


def test_a_word_alone_has_no_pairs() -> None:
    values = report_scores.score_reports(["normal"], ["normal"], meteor=False)
    assert values["BLEU-1"] == pytest.approx(1.0, abs=1e-6)
    assert values["BLEU-2"] < 0.01


def test_without_reports_nothing_is_known() -> None:
    assert np.isnan(list(report_scores.score_reports([], []).values())).all()
    nothing = np.zeros((0, 14))
    assert np.isnan(list(report_scores.matrix_scores(nothing, nothing, suffix="").values())).all()


def test_texts_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="1 generated reports for 2 true ones"):
        report_scores.score_reports(["a"], ["a", "b"], meteor=False)


def test_the_bounds_are_those_of_a_bootstrap_that_scores_every_draw_anew() -> None:
    generated, reference = random_texts(4, 30), random_texts(5, 30)
    patient = [f"p{i // 2}" for i in range(30)]
    bounds = report_scores.report_bounds(
        generated, reference, patient, seed=3, resamples=20, meteor=False
    )
    (weight,) = scores.patient_draws(patient, seed=3, resamples=20)
    drawn = []
    for column in weight.T:
        chosen = np.repeat(np.arange(30), column)
        some = [[texts[i] for i in chosen] for texts in (generated, reference)]
        drawn.append(report_scores.score_reports(*some, meteor=False))
    for name, (low, high) in bounds.items():
        expected = np.percentile([values[name] for values in drawn], [2.5, 97.5])
        assert (low, high) == pytest.approx(tuple(expected), abs=1e-9)
    assert len(bounds) == 5


def matrices(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice([1, 0, -1, np.nan], p=[0.3, 0.2, 0.2, 0.3], size=(2, count, 14))
    labels[1, :, 3] = 0  # never true
    labels[:, :, 4] = np.nan  # never true and never said
    labels[0, :, 5] = -1  # never said
    labels[:, 0] = np.nan  # a report in which neither finds anything
    return list(labels)


def scikit_learns(generated: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    said, true = (np.nan_to_num(labels) == 1 for labels in (generated, reference))
    values = {}
    for kind, average in KINDS.items():
        found = precision_recall_fscore_support(true, said, average=average, zero_division=0)
        values |= {f"{name}{kind}": v for name, v in zip(("P", "R", "F1"), found, strict=False)}
    five = [OBSERVATIONS.index(name) for name in FIVE]
    found = precision_recall_fscore_support(
        true[:, five], said[:, five], average="micro", zero_division=0
    )
    values |= {f"{name}_micro5": v for name, v in zip(("P", "R", "F1"), found, strict=False)}
    _, _, each, _ = precision_recall_fscore_support(true, said, zero_division=0)
    return values | {f"F1/{n}": v for n, v in zip(OBSERVATIONS, each, strict=True)}


def test_clinical_scores_are_scikit_learns_with_classes_and_reports_that_have_nothing() -> None:
    generated, reference = matrices(6, 200)
    values = report_scores.matrix_scores(generated, reference, suffix="")
    assert values == pytest.approx(scikit_learns(generated, reference), abs=1e-9)
    assert values["F1/Edema"] == 0.0


def test_clinical_bounds_are_those_of_a_bootstrap_that_scores_every_draw_anew() -> None:
    generated, reference = matrices(7, 40)
    patient = np.arange(40) // 2
    bounds = report_scores.matrix_bounds(
        generated, reference, patient, suffix="", seed=1, resamples=10
    )
    (weight,) = scores.patient_draws(patient, seed=1, resamples=10)
    draws = [np.repeat(np.arange(40), column) for column in weight.T]
    drawn = [scikit_learns(generated[chosen], reference[chosen]) for chosen in draws]
    for name, (low, high) in bounds.items():
        expected = np.percentile([values[name] for values in drawn], [2.5, 97.5])
        assert (low, high) == pytest.approx(tuple(expected), abs=1e-9)


def test_what_rules_read_never_stands_under_chexberts_names() -> None:
    read = report_scores.clinical_scores(["no edema"], ["edema"], labeller=Rules())
    chexberts = report_scores.matrix_scores(*matrices(8, 5), suffix="")
    assert not set(read) & set(chexberts)
    assert len(read) == len(chexberts)
    assert {"F1_rules", "F1_micro_rules", "F1_rules/Edema"} <= set(read)


def test_a_report_that_denies_what_is_there_scores_nothing_for_it() -> None:
    read = report_scores.clinical_scores(
        ["there is no edema", "large effusion"], ["edema", "effusion"], labeller=Rules()
    )
    assert read["F1_rules/Edema"] == 0.0
    assert read["F1_rules/Pleural Effusion"] == 1.0


def test_each_different_text_is_read_once() -> None:
    asked = []

    class Counting(Rules):
        def __call__(self, texts):
            asked.extend(texts)
            return super().__call__(texts)

    labels = label_reports(["edema", "fracture", "edema"], Counting())
    assert asked == ["edema", "fracture"]
    np.testing.assert_array_equal(labels[0], labels[2])
    assert labels.shape == (3, 14)


def test_stored_labels_give_the_scores_of_the_texts_again() -> None:
    generated, reference = findings(9, 30), findings(10, 30)
    arrays = report_scores.label_arrays(generated, reference, labeller=Rules())
    patient = np.arange(len(generated))
    direct = report_scores.clinical_scores(generated, reference, labeller=Rules())
    assert report_scores.stored_scores(arrays) == direct
    bounds = report_scores.stored_bounds(arrays | {"patient": patient}, 0)
    assert list(bounds) == list(direct)
    assert report_scores.stored_scores({"patient": patient}) == {}
