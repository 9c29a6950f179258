"""How near is a generated report to the true one by METEOR 1.5? Asks its authors' Java program.

The program comes with pycocoevalcap and is spoken to as that library does, a line a report; here
line ends and `|||`, which would be taken for its own, are blanks, and it has a time limit. Without
Java there is no METEOR: no other implementation knows its paraphrases, so none stands in for it.

Source: Denkowski and Lavie, "Meteor Universal", WMT 2014.
Shapes: N reports, 23 numbers that the program counts in each.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.meteor import meteor as published

JAR = Path(published.__file__).with_name(published.METEOR_JAR)
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
"""Of exact, stem, synonym and paraphrase matches; with the four above as `-l en` sets them."""
COUNTS = 23
"""Words and function words of both texts, four kinds of match by four, chunks, words matched."""
START_S, EACH_S = 180.0, 0.5
"""Time limits, for reading the paraphrases (ten seconds and more) and for every report."""

Floats = NDArray[np.float64]


class MeteorError(Exception):
    """Why there is no METEOR."""


class Meteor(NamedTuple):
    """What the program says of a set of reports."""

    score: float
    """Of all reports together: their counts are added up first."""
    each: Floats
    """(N,) of every report by itself."""
    counts: Floats
    """(N, 23)."""


def measure(
    generated: Sequence[str], reference: Sequence[str], *, limit_s: float | None = None
) -> Meteor:
    """Return the METEOR of generated reports against one true report each.

    Raises:
        MeteorError: there is no Java, it fails, or it takes longer than `limit_s` (by default
            three minutes and half a second a report).
    """
    java = shutil.which("java")
    if java is None:
        raise MeteorError("there is no `java` on the PATH")
    limit_s = START_S + EACH_S * len(generated) if limit_s is None else limit_s
    pairs = [(_line(g), _line(r)) for g, r in zip(generated, reference, strict=True)]
    # its numbers and texts are to depend on no locale
    command = [java, "-Dfile.encoding=UTF-8", "-Duser.language=en", "-Xmx2G", "-jar", str(JAR)]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            [*command, "-", "-", "-stdio", "-l", "en", "-norm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as child,
    ):
        late = threading.Timer(limit_s, _end, [child])
        end = time.monotonic() + limit_s
        late.start()
        try:
            return _ask(child.stdin, child.stdout, pairs)
        except (OSError, ValueError):
            if time.monotonic() >= end:
                raise MeteorError(f"its Java program took longer than {limit_s:g} s") from None
            complaints.seek(0)
            said = complaints.read().decode("utf-8", "replace").strip().split("\n")[-1]
            raise MeteorError(f"its Java program failed: {said or 'without a word'}") from None
        finally:
            late.cancel()
            _end(child)
            with contextlib.suppress(OSError):  # what it has not read is lost
                child.stdin.close()


def _end(child: subprocess.Popen[str]) -> None:
    """Kill the program and whatever script it was started through."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _line(text: str) -> str:
    return " ".join(re.sub(r"\|{3,}", " ", text).split())


def _ask(ask: IO[str], answer: IO[str], pairs: Sequence[tuple[str, str]]) -> Meteor:
    said = []
    for generated, reference in pairs:
        ask.write(f"SCORE ||| {reference} ||| {generated}\n")
        ask.flush()
        said.append(answer.readline().strip())
    counts = np.array([line.split() for line in said], np.float64).reshape(len(pairs), COUNTS)
    ask.write(" ||| ".join(["EVAL", *said]) + "\n")
    ask.flush()
    each = np.array([float(answer.readline()) for _ in pairs])
    return Meteor(float(answer.readline()), each, counts)


def counted(counts: Floats) -> Floats:
    """Return counts (N, 23) as the program adds them up: a whole match is no chunk."""
    counts = counts.copy()
    counts[_whole(counts), 20] = 0
    return counts


def score_of(counts: Floats) -> Floats:
    """Return the METEOR of counts (..., 23): of each report, or of sums over several.

    It equals what the program says; it is here for the thousand sums of a bootstrap.
    """
    words, true_words, function, true_function = np.moveaxis(counts[..., :4], -1, 0)
    # for each kind of match: content words of either text, then function words of either
    matches = np.moveaxis(counts[..., 4:20].reshape(*counts.shape[:-1], 4, 4), -1, 0) @ WEIGHTS
    content, true_content, common, true_common = matches
    chunks, matched, true_matched = np.moveaxis(counts[..., 20:], -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = _mix(content, common) / _mix(words - function, function)
        recall = _mix(true_content, true_common) / _mix(true_words - true_function, true_function)
        mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
        pieces = 2 * chunks / (matched + true_matched)
    score = mean * (1 - GAMMA * np.where(_whole(counts), 0.0, pieces) ** BETA)
    return np.where(matched > 0, score, 0.0)


def _mix(content: Floats, function: Floats) -> Floats:
    return DELTA * content + (1 - DELTA) * function


def _whole(counts: Floats) -> NDArray[np.bool_]:
    """Return which texts match from end to end in one piece, which costs nothing."""
    both = (counts[..., 21] == counts[..., 0]) & (counts[..., 22] == counts[..., 1])
    return both & (counts[..., 20] == 1)
