"""What does a program say of its training, by the lines it prints or writes?

Three ways of saying it are read: JSON lines as MAE's code and mmsegmentation's write them, lines of
`name: value`, `name=value` or `loss value` as torchvision's logger, timm, mmengine and Swin print
them, and tqdm's bars. What is not understood says nothing. Standard library only.

Source: the output of MAE (`engine_pretrain.py`, `misc.MetricLogger`), torchvision's references,
mmengine's `LoggerHook` and tqdm 4.
"""

from __future__ import annotations

import bisect
import codecs
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

LONGEST = 65_536
"""Characters of one line that are looked at; a longer one is cut into pieces."""

STEP_NAMES = ("step", "global_step", "iter", "iteration", "it", "n_iter", "batch", "steps")
EPOCH_NAMES = ("epoch", "epochs")
_NOT_METRICS = {
    *STEP_NAMES, *EPOCH_NAMES, "eta", "time", "data", "data_time", "max_mem", "mem", "memory",
    "mode", "seed", "rank", "n_parameters", "train", "test", "val",
}  # fmt: skip

# `*+` gives nothing back and counts have a limit, so that no line from outside, of blanks or digits
# alone, keeps the reader busy for minutes or makes a number that Python refuses
_NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?(?:[eE][-+]?\d{1,4}+)?|\.\d++(?:[eE][-+]?\d{1,4}+)?|nan|inf)"
_NAME = r"(?<![\w./-])[\"']?(?P<name>[A-Za-z][\w./@+-]{0,63}+)[\"']?"
_PAIR = re.compile(
    rf"{_NAME}\s*+[=:]\s*+(?P<value>{_NUMBER})(?![\w:/.]\S)(?P<percent>\s?%)?", re.IGNORECASE
)
_BARE = re.compile(rf"{_NAME}\s++(?P<value>{_NUMBER})(?![\w:/.]\S)(?P<percent>\s?%)?", re.I)
"""`loss 0.52 (0.55)`, as PyTorch's ImageNet example and Swin Transformer print it."""

_COUNT = r"\d{1,15}+"
_OF = rf"\[?\s*+(?P<done>{_COUNT})\s*+/\s*+(?P<total>{_COUNT})\s*+\]?"
_TQDM = re.compile(
    rf"(?P<done>{_COUNT})/(?P<total>{_COUNT})\s++\[(?P<spent>[\d:]{{1,20}}+)<(?P<left>[\d:?]{{1,20}}+)"
)
_EPOCH = re.compile(
    r"\bepoch\b(?:\s*+\(\w++\))?\s*+[:=]?\s*+\[?\s*+(?P<epoch>\d{1,15}+(?:\.\d{1,15}+)?)"
    rf"(?:\s*+/\s*+{_COUNT})?\s*+\]?(?:\s*+{_OF})?",
    re.IGNORECASE,
)
_LOOP = re.compile(
    rf"\b(?:train|test|val|valid|validation|eval)\s?:\s*+\[?(?P<epoch>{_COUNT})(?:/{_COUNT})?\]?\s*+"
    rf"\[\s*+(?P<done>{_COUNT})\s*+/\s*+(?P<total>{_COUNT})",
    re.IGNORECASE,
)
"""`Train: 3 [  20/390 (5%)]` of timm, `Train: [3/100][20/390]` of Swin Transformer."""

_ITERATION = re.compile(
    rf"\b(?:iter|iteration|step)\b(?:\s*+\(\w++\))?\s*+[:=]?\s*+{_OF}", re.IGNORECASE
)
_PART = re.compile(
    r"(?<![\w./-])(?P<part>train|training|test|val|valid|validation|eval)(?![\w/-]|\.\w)", re.I
)
_TESTING = re.compile(
    rf"\b(?:test|val|valid|validation|eval)\s?:\s*+\[\s*+{_COUNT}/", re.IGNORECASE
)
_PARTS = {"test": "test", "val": "val", "valid": "val", "validation": "val", "eval": "val"}
"""By what a program calls a part of the data; `train` stands for what names none."""

_ETA = re.compile(
    r"\beta\b\s*+[:=]?\s*+(?:(?P<days>\d{1,6}+)\s*+days?,?\s*+)?(?P<left>\d{1,9}+(?::\d{1,9}+){1,3}+)",
    re.IGNORECASE,
)


class Told(NamedTuple):
    """What one line says."""

    values: Mapping[str, float]
    step: int | None = None
    epoch: float | None = None
    done: int | None = None
    total: int | None = None
    eta_s: float | None = None
    exact: bool = False
    """Whether the step is what the program itself counts by, and never to be counted on from."""
    damaged: bool = False
    """Whether it was to be a JSON line and is none."""

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(self.values) or self.done is not None


class Lines:
    r"""Cuts what comes in any chunks into lines; a line that is written over counts once.

    `\r\n` and `\n` end a line. `\r` alone goes back to its start: what came before it was only
    ever progress, and what counts is what stood there last.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._left = ""
        self.torn = False
        """Whether the line given last is a piece of one: a number at its end may go on."""
        self._cut = False

    def feed(self, chunk: bytes, *, last: bool = False) -> Iterator[tuple[str, bool]]:
        """Give each line that is complete now, and whether it will stay as it is.

        A line that may yet be written over is given too, since it tells the progress.
        """
        text = self._left + self._decoder.decode(chunk, last)
        held = ""
        if text.endswith("\r") and not last:  # the next character decides what it is
            text, held = text[:-1], "\r"
        *whole, rest = re.split(r"\r\n|\n", text)
        for line in whole:
            *before, final = line.split("\r")
            yield from ((part, False) for part in before if part)
            self.torn, self._cut = self._cut, False
            yield final, True
            self.torn = False
        *before, rest = rest.split("\r")
        yield from ((part, False) for part in before if part)
        while len(rest) > LONGEST:
            self.torn = self._cut = True
            yield rest[:LONGEST], True
            rest = rest[LONGEST:]
        if last and rest:
            self.torn = True
            yield rest, True
            rest = ""
        self.torn = False
        self._left = rest + held


def read(line: str, *, torn: bool = False) -> Told:
    """Return what one line says; nothing where it says nothing of a training.

    Args:
        line: without its end.
        torn: whether it may break off; then it is believed only where it is whole JSON, for its
            last number may be the half of one, and its step may be missing.
    """
    stripped = line.strip()
    if stripped.startswith("{") and not stripped.startswith("{'") and len(stripped) > 1:
        try:
            loaded = json.loads(stripped)
        except (ValueError, RecursionError):
            loaded = None
        return _of_json(loaded) if isinstance(loaded, dict) else Told({}, damaged=not torn)
    return Told({}) if torn else _of_text(stripped)


def _of_json(line: Mapping[str, Any]) -> Told:
    numbers = {name: float(value) for name, value in line.items() if _is_number(value)}
    mode = line.get("mode")
    if mode is None and _is_validation(numbers):
        mode = "val"
    part = f"{mode}/" if mode in ("train", "val", "test") else ""
    left_out = _NOT_METRICS if part in ("", "train/") else {*_NOT_METRICS, "lr"}
    values = {part + name: value for name, value in numbers.items() if name.lower() not in left_out}
    # of a validation mmcv's `iter` counts the batches of the validation, and not the training's
    step = None if "mode" in line and mode in ("val", "test") else _first(numbers, STEP_NAMES)
    return Told(named(values), step, _first(numbers, EPOCH_NAMES))


def _is_number(value: object) -> bool:
    """Return whether a value is a number that a float can hold; JSON writes longer ones too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**1000


def _is_validation(numbers: Mapping[str, float]) -> bool:
    """Return whether a line of mmengine, which names no mode, is of a validation.

    Source: mmengine's `LoggerHook.after_val_epoch`, whose lines lack what training has.
    """
    told = {name.lower() for name in numbers}
    training = {"iter", "lr", "memory"} | {name for name in told if "loss" in name}
    return {"step", "time", "data_time"} <= told and not told & training


def _of_text(line: str) -> Told:
    bar = _TQDM.search(line)
    epoch, iteration = _EPOCH.search(line) or _LOOP.search(line), _ITERATION.search(line)
    place = bar or iteration or (epoch if epoch and epoch["done"] else None)
    matches = list(_PAIR.finditer(line))
    if place or _TESTING.search(line):
        matches += [m for m in _BARE.finditer(line) if _is_metric(m["name"], "lr", "grad_norm")]
    parts = _Parts(line)
    pairs: dict[str, float] = {}
    values: dict[str, float] = {}
    said_loss = bool(place or epoch) or "loss" in line.lower()
    for found in matches:
        name = found["name"]
        value = float(found["value"]) / (100 if found["percent"] else 1)
        pairs.setdefault(name, value)
        if name.lower() not in _NOT_METRICS and (said_loss or _is_metric(name)):
            for known, number in named({name: value}, parts.at(found.start())).items():
                values.setdefault(known, number)
    done, total = (int(place["done"]), int(place["total"])) if place else (None, None)
    part = parts.at(place.start() if place else 0)
    odd = total == 0 or (done is not None and total is not None and done > total)
    if odd or part != "train":
        done = total = None  # how far a validation is says nothing of the training
    return Told(
        values,
        _first(pairs, STEP_NAMES),
        float(epoch["epoch"]) if epoch else _first(pairs, EPOCH_NAMES),
        done,
        total,
        _seconds(bar["left"]) if bar else _eta(line),
    )


_WORDS = ("loss", "acc", "auc", "auroc", "dice", "iou", "map", "f1", "bleu", "rouge", "meteor")


class _Parts:
    """Which part of the data a line speaks of at each place, by the last word for one before it."""

    def __init__(self, line: str) -> None:
        found = list(_PART.finditer(line))
        self._starts = [each.start() for each in found]
        self._names = ["train", *(_PARTS.get(each["part"].lower(), "train") for each in found)]

    def at(self, place: int) -> str:
        return self._names[bisect.bisect_left(self._starts, place)]


def _is_metric(name: str, *others: str) -> bool:
    """Return whether a name alone says that its value is worth a curve; `others` do too."""
    if name.lower() in others:
        return True
    parts = re.split(r"[^a-z0-9]+", name.lower())
    return any(part.rstrip("0123456789") in _WORDS or part in _WORDS for part in parts)


def named(values: Mapping[str, float], part: str = "train") -> dict[str, float]:
    """Return values under names with their part of the data in front: `val_loss` as `val/loss`.

    What names no part is of `part`.
    """
    found = {}
    for name, value in values.items():
        head, _, rest = re.sub(r"[_.\s-]", "/", name, count=1).partition("/")
        if "/" in name:
            found[name] = value
        elif rest and head.lower() in ("train", *_PARTS):
            own = _PARTS.get(head.lower(), "train")
            found[f"{own}/{name[len(head) + 1 :]}"] = value
        else:
            found[f"{part}/{name}"] = value
    return found


def _first(numbers: Mapping[str, float], names: tuple[str, ...]) -> Any:
    lowered = {name.lower(): value for name, value in numbers.items()}
    for name in names:
        value = lowered.get(name)
        if value is not None and math.isfinite(value) and 0 <= value < 2**53:
            return int(value) if names is STEP_NAMES else value
    return None


def _eta(line: str) -> float | None:
    found = _ETA.search(line)
    if not found:
        return None
    seconds = _seconds(found["left"])
    return None if seconds is None else seconds + 86_400 * int(found["days"] or 0)


def _seconds(clock: str) -> float | None:
    """Return the seconds of `1:02:03`; None where it is not known yet (`?`)."""
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts):
        return None
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return float(seconds)
