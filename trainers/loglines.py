"""What does a program say of its training, by the lines it prints or writes?

Three ways of saying it are read: JSON lines as MAE's code and mmsegmentation's write them, lines of
`name: value` or `name=value` as torchvision's logger, timm and mmengine print them, and tqdm's
bars. What is not understood says nothing. Standard library only.

Source: the output of MAE (`engine_pretrain.py`, `misc.MetricLogger`), torchvision's references,
mmengine's `LoggerHook` and tqdm 4.
"""

from __future__ import annotations

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
    "mode", "seed", "rank", "n_parameters",
}  # fmt: skip

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf)"
_PAIR = re.compile(
    rf"(?<![\w./-])(?P<name>[A-Za-z][\w./@+-]{{0,63}})\s*(?:=|:)\s*(?P<value>{_NUMBER})(?![\w:/.]\S)"
    rf"(?P<percent>\s?%)?",
    re.IGNORECASE,
)
_OF = r"\[?\s*(?P<done>\d+)\s*/\s*(?P<total>\d+)\s*\]?"
_TQDM = re.compile(r"(?P<done>\d+)/(?P<total>\d+)\s+\[(?P<spent>[\d:]+)<(?P<left>[\d:?]+)")
_EPOCH = re.compile(
    r"\bepoch\b(?:\s*\(\w+\))?\s*[:=]?\s*\[?\s*(?P<epoch>\d+(?:\.\d+)?)(?:\s*/\s*\d+)?\s*\]?"
    rf"(?:\s*{_OF})?",
    re.IGNORECASE,
)
_ITERATION = re.compile(rf"\b(?:iter|iteration|step)\b(?:\s*\(\w+\))?\s*[:=]?\s*{_OF}", re.I)
_PART = re.compile(r"(?P<part>test|val|valid|validation|eval)\b", re.IGNORECASE)
_PARTS = {"test": "test", "val": "val", "valid": "val", "validation": "val", "eval": "val"}
"""By what a program calls a part of the data; `train` stands for what names none."""

_ETA = re.compile(r"\beta\s*[:=]\s*(?:(?P<days>\d+)\s*days?,?\s*)?(?P<left>\d+(?::\d+)+)", re.I)


class Told(NamedTuple):
    """What one line says."""

    values: Mapping[str, float]
    step: int | None = None
    epoch: float | None = None
    done: int | None = None
    total: int | None = None
    eta_s: float | None = None

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
            yield final, True
        *before, rest = rest.split("\r")
        yield from ((part, False) for part in before if part)
        while len(rest) > LONGEST:
            yield rest[:LONGEST], True
            rest = rest[LONGEST:]
        if last and rest:
            yield rest, True
            rest = ""
        self._left = rest + held


def read(line: str) -> Told:
    """Return what one line says; nothing where it says nothing of a training."""
    stripped = line.strip()
    if stripped.startswith("{") and stripped.endswith("}"):
        try:
            loaded = json.loads(stripped)
        except ValueError:
            loaded = None
        if isinstance(loaded, dict):
            return _of_json(loaded)
    return _of_text(stripped)


def _of_json(line: Mapping[str, Any]) -> Told:
    numbers = {
        str(name): float(value)
        for name, value in line.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    mode = line.get("mode")
    part = f"{mode}/" if mode in ("train", "val", "test") else ""
    values = {
        part + name: value for name, value in numbers.items() if name.lower() not in _NOT_METRICS
    }
    return Told(_named(values), _first(numbers, STEP_NAMES), _first(numbers, EPOCH_NAMES))


def _of_text(line: str) -> Told:
    bar = _TQDM.search(line)
    epoch, iteration = _EPOCH.search(line), _ITERATION.search(line)
    place = bar or iteration or (epoch if epoch and epoch["done"] else None)
    pairs = {
        found["name"]: float(found["value"]) / (100 if found["percent"] else 1)
        for found in _PAIR.finditer(line)
    }
    values = {name: value for name, value in pairs.items() if name.lower() not in _NOT_METRICS}
    if not bar and not place and not epoch and "loss" not in line.lower():
        values = {name: value for name, value in values.items() if _is_metric(name)}
    done, total = (int(place["done"]), int(place["total"])) if place else (None, None)
    if total == 0 or (done is not None and total is not None and done > total):
        done = total = None
    part = _PART.match(line)
    return Told(
        _named(values, _PARTS[part["part"].lower()] if part else "train"),
        _first(pairs, STEP_NAMES),
        float(epoch["epoch"]) if epoch else _first(pairs, EPOCH_NAMES),
        done,
        total,
        _seconds(bar["left"]) if bar else _eta(line),
    )


_WORDS = ("loss", "acc", "auc", "auroc", "dice", "iou", "map", "f1", "bleu", "rouge", "meteor")


def _is_metric(name: str) -> bool:
    """Return whether a name alone says that its value is worth a curve."""
    parts = re.split(r"[^a-z0-9]+", name.lower())
    return any(part.rstrip("0123456789") in _WORDS or part in _WORDS for part in parts)


def _named(values: Mapping[str, float], part: str = "train") -> dict[str, float]:
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
        if value is not None and math.isfinite(value) and value >= 0:
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
