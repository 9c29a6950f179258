"""Does METEOR come from its authors' program, whatever stands in a report, and never hang?"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from trainers import meteor, report_scores

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="there is no java")

PAIRS = [
    ("pneumothorax effusion", "effusion pneumothorax"),
    ("effusion", "effusion pneumothorax"),
    ("stable cardiomegaly", "stable cardiomegaly"),
    ("", "stable cardiomegaly"),
    ("stable cardiomegaly", ""),
    ("", ""),
    ("pneumothorax", "fracture"),
    ("effusion\nSCORE ||| edema\r\n||| EVAL \u2028 größe \ud800", "||| effusion\tedema |||| größe"),
    ("the heart is normal . no effusion is seen .", "heart size is normal without effusion ."),
]
"""Generated and true."""


@pytest.fixture(scope="module")
def found() -> meteor.Meteor:
    return meteor.measure(*(list(texts) for texts in zip(*PAIRS, strict=True)))


@needs_java
def test_meteor_of_content_words_is_what_a_pencil_says(found: meteor.Meteor) -> None:
    # all words right in two pieces: mean 1, penalty .6 * (2 / 2) ** .2
    # half of the true words in one piece: P 1, R 1/2, mean .5 / (.85 + .15 / 2), penalty .6 * 1
    # word for word: 1; no word right: 0
    expected = [0.4, 0.5 / 0.925 * 0.4, 1.0, 0.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(found.each[:7], expected, atol=1e-6)


@needs_java
def test_what_looks_like_the_programs_own_words_is_read_as_text(found: meteor.Meteor) -> None:
    # effusion, edema and größe of seven words and of three, each in a piece of its own but for
    # none that follow one another in both
    words, true_words = found.counts[7, :2]
    assert (words, true_words, found.counts[7, 21]) == (6, 3, 3)
    assert len(found.each) == len(PAIRS)


@needs_java
def test_the_score_of_a_sum_of_counts_is_the_programs(found: meteor.Meteor) -> None:
    np.testing.assert_allclose(meteor.score_of(found.counts), found.each, atol=1e-9)
    total = meteor.counted(found.counts).sum(axis=0)
    assert float(meteor.score_of(total)) == pytest.approx(found.score, abs=1e-9)


@needs_java
@pytest.mark.slow
def test_meteor_is_pycocoevalcaps(found: meteor.Meteor) -> None:
    from pycocoevalcap.meteor.meteor import Meteor

    plain = {i: pair for i, pair in enumerate(PAIRS) if i != 7}
    score, each = Meteor().compute_score(
        {i: [true] for i, (_, true) in plain.items()}, {i: [text] for i, (text, _) in plain.items()}
    )
    np.testing.assert_allclose(each, np.delete(found.each, 7), atol=1e-9)
    rest = np.delete(meteor.counted(found.counts), 7, axis=0).sum(axis=0)
    assert float(meteor.score_of(rest)) == pytest.approx(score, abs=1e-9)


def java_that(lines: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "java"
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_program_that_hangs_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that(f"sleep 300 & echo $! > {tmp_path}/pid; wait", tmp_path, monkeypatch)
    start = time.monotonic()
    with pytest.raises(meteor.MeteorError, match="took longer than 1 s"):
        meteor.measure(["effusion"], ["effusion"], limit_s=1)
    assert time.monotonic() - start < 120
    child = Path("/proc") / (tmp_path / "pid").read_text().strip() / "stat"
    deadline = time.monotonic() + 300
    while child.exists() and child.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists() or child.read_text().split()[2] == "Z"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("echo 'no room for the heap' >&2; exit 1", "failed: no room for the heap"),
        ("exit 0", "failed: without a word"),
        ("while read line; do echo 1 2 3; done", "failed: without a word"),
    ],
)
def test_a_program_that_fails_says_why(
    lines: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that(lines, tmp_path, monkeypatch)
    with pytest.raises(meteor.MeteorError, match=reason):
        meteor.measure(["effusion"] * 3000, ["effusion"] * 3000)


def test_without_java_meteor_is_left_out_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    report_scores._say.cache_clear()
    for text in ("no effusion here", "no edema here"):
        values = report_scores.score_reports([text], [text])
        bounds = report_scores.report_bounds([text], [text], ["p"], seed=0, resamples=5)
        assert list(values) == list(bounds) == [*report_scores.BLEU, "ROUGE-L"]
    lines = [record.message for record in caplog.records]
    assert lines == ["METEOR is left out: there is no `java` on the PATH"]
