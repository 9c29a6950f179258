"""Are these predictions of the same test images, and if so, which rows belong together?

Images are paired by name. Where a run lacks some (they could not be read, or its list was another),
those that all runs have are compared, and whoever asks is told how many.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers import weighing
from trainers.config import InputError, MissingError
from trainers.predictions import Arrays, chosen


class Paired(NamedTuple):
    """Runs on the same images in the same order."""

    runs: list[Arrays]
    patient: NDArray[np.generic]
    """(N,) whose images they are."""
    notes: list[str]
    """What a reader of the comparison must know."""


def read(path: Path) -> Arrays:
    """Return the predictions of one run.

    Raises:
        MissingError: no such file.
        InputError: it is none of ours, or names an image twice.
    """
    if not path.is_file():
        raise MissingError(f"predictions {path} do not exist")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        weighing.kind_of(arrays)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    images = len(arrays["names"])
    if not images or len(np.unique(arrays["names"])) != images:
        raise InputError(f"{path} names no image, or one of them twice")
    return arrays


def pair(runs: Sequence[Arrays]) -> Paired:
    """Return the predictions of the images that all `runs` have.

    Raises:
        InputError: they have none in common, or what is true of an image differs.
    """
    kinds = sorted({weighing.kind_of(run) for run in runs})
    if len(kinds) > 1:
        raise InputError(f"predictions of {' and of '.join(kinds)} do not compare")
    common = reduce(np.intersect1d, [run["names"] for run in runs])
    sizes = [len(run["names"]) for run in runs]
    if not common.size:
        raise InputError(
            f"no test image is in all of the predictions; they name {_and(sizes)} images"
        )
    alike = [chosen(run, _places(run["names"], common)) for run in runs]
    for name in weighing.TRUTH[kinds[0]]:
        if not all(np.array_equal(run[name], alike[0][name]) for run in alike if name in run):
            raise InputError(
                f"the predictions differ in `{name}`, which should be the same, of the "
                f"{common.size} images that all have: they are not of one test set"
            )
    notes = []
    if common.size < max(sizes):
        notes.append(
            f"compared on the {common.size} test images that all have, of {_and(sizes)}; the "
            "scores are those on these images"
        )
    patient, unlike = _patients(alike)
    notes += ["the predictions name patients differently: the coarsest names count"] * unlike
    return Paired(alike, patient, notes)


def _and(numbers: Sequence[int]) -> str:
    return " and ".join(str(number) for number in sorted(set(numbers)))


def _places(names: NDArray[np.generic], wanted: NDArray[np.generic]) -> NDArray[np.int64]:
    order = np.argsort(names)
    return order[np.searchsorted(names, wanted, sorter=order)]


def _patients(runs: Sequence[Arrays]) -> tuple[NDArray[np.generic], bool]:
    """Return whose the images are, and whether the runs say different things of it.

    Predictions made elsewhere may take each image for a patient.
    """
    told = [run["patient"] for run in runs]
    unlike = not all(np.array_equal(names, told[0]) for names in told)
    return min(told, key=lambda names: len(np.unique(names))), unlike
