"""Which combinations of settings does a command line ask for, and what is a run of them called?

`--set KEY=A,B` and `--sweep KEY=A,B` give a setting several values; a file of sweeps gives many
settings theirs. Every combination is a run. A run is called by what it was told beyond its preset.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cxrlab.asked import MOST_AT_ONCE, settings
from cxrlab.errors import NotFound, Usage
from trainers import catalog

Settings = tuple[tuple[str, str], ...]

RUNS = "runs"
"""The table of a file of sweeps whose every entry is one combination."""

_EXAMPLE = "write `blr = [1e-4, 3e-4]`, or `[[runs]]` and one combination below it"


def combinations(sets: Sequence[str], sweeps: Sequence[str]) -> list[Settings]:
    """Return every combination of what `--set` and `--sweep` were given; one, empty, for nothing.

    A file named by `--sweep` is combined with the rest.

    Raises:
        NotFound: a file of sweeps is not there.
        Usage: a word sets nothing, a file is no file of sweeps, or they are too many.
    """
    axes: list[Sequence[Settings]] = [
        [((key, value),) for value in _several(key, given)] for key, given in settings(list(sets))
    ]
    for word in sweeps:
        axes += _of_word(word) if "=" in word else _of_file(Path(word).expanduser())
    if math.prod(map(len, axes)) > MOST_AT_ONCE:
        raise Usage(f"more than {MOST_AT_ONCE} combinations at once", "sweep fewer values")
    return [tuple(itertools.chain(*parts)) for parts in itertools.product(*axes)]


def _several(key: str, given: str) -> list[str]:
    """Return the values that `--set` was given; some settings are lists themselves."""
    if "," not in given or key.rpartition(".")[2].replace("-", "_") in catalog.LISTS:
        return [given]
    return list(dict.fromkeys(part.strip() for part in given.split(",") if part.strip())) or [given]


def _of_word(word: str) -> list[Sequence[Settings]]:
    ((key, given),) = settings([word])
    values = [part.strip() for part in given.split(",") if part.strip()]
    if not values:
        raise Usage(f"`--sweep {key}=` has no values", "write `--sweep blr=1e-4,3e-4`")
    return [[((key, value),) for value in dict.fromkeys(values)]]


def _of_file(path: Path) -> list[Sequence[Settings]]:
    """Return the axes of a TOML file: lists of values, and combinations under `[[runs]]`."""
    try:
        # numbers as they are written, for that is how they are told
        said = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=str)
    except FileNotFoundError:
        raise NotFound(
            f"`--sweep {path}`: there is no such file", "or write `--sweep KEY=A,B`"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Usage(f"{path} is no file of sweeps: {error}", _EXAMPLE) from None
    each = said.pop(RUNS, None)
    axes: list[Sequence[Settings]] = [
        [((key, value),) for value in dict.fromkeys(_texts(path, key, given))]
        for key, given in _flat(said)
    ]
    if each is not None:
        if not isinstance(each, list) or not all(isinstance(one, dict) and one for one in each):
            raise Usage(f"{path}: `{RUNS}` are no combinations", _EXAMPLE)
        axes.append([_combination(path, one) for one in each])
    if not axes:
        raise Usage(f"{path} sets nothing", _EXAMPLE)
    return axes


def _flat(said: dict[str, Any], under: str = "") -> Iterable[tuple[str, Any]]:
    """Return keys and values; `[pretrain] blr` is `pretrain.blr`."""
    for key, value in said.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{under}{key}.")
        else:
            yield f"{under}{key}", value


def _combination(path: Path, said: dict[str, Any]) -> Settings:
    found = []
    for key, given in _flat(said):
        values = _texts(path, key, given)
        if len(values) != 1:
            raise Usage(f"{path}: `{key}` has {len(values)} values in one of `{RUNS}`", _EXAMPLE)
        found.append((key, values[0]))
    return tuple(found)


def _texts(path: Path, key: str, given: Any) -> list[str]:
    values = given if isinstance(given, list) else [given]
    if not values or any(isinstance(value, list | dict) for value in values):
        raise Usage(f"{path}: `{key}` is no list of values", _EXAMPLE)
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
