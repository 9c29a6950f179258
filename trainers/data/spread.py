"""Which patients make a share of a set in which an image may have several labels, or none?

Stratifying by whole combinations of labels, as `cases.draw` does, asks for more patients than a
share of 1 % has: ChestX-ray14 knows some eight hundred combinations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from trainers.data.cases import Case


def draw(cases: Sequence[Case], share: float, *, seed: int) -> tuple[list[Case], list[Case]]:
    """Divide `cases` in two, by patient, with each label in proportion; both keep their order.

    Patients are grouped by the rarest label that any image of theirs has, each group is shuffled
    and spread evenly over [0, 1), and the share is what comes first; one patient of each group
    comes before all others, so that a small share lacks no label. Draws for different shares are
    nested: what a small one takes, a larger one takes as well.

    Args:
        cases: in any order; the draw depends on the patients' names alone.
        share: of the images that the first part gets, as nearly as whole patients allow, and at
            least one patient.
        seed: of the draw.

    Returns:
        The share, and the rest.
    """
    order = _ordered(cases, seed)
    often = Counter(case.patient for case in cases)
    upto = np.cumsum([often[patient] for patient in order])
    count = int(np.abs(upto - share * len(cases)).argmin()) + 1 if order else 0
    taken = set(order[:count])
    first = [case for case in cases if case.patient in taken]
    return first, [case for case in cases if case.patient not in taken]


def _ordered(cases: Sequence[Case], seed: int) -> list[str]:
    """Return the patients in the order in which they are taken."""
    labels: dict[str, tuple[int, ...]] = {}
    for case in cases:
        earlier = labels.get(case.patient, (0,) * len(case.labels))
        labels[case.patient] = tuple(map(max, earlier, case.labels))
    often = np.sum(list(labels.values()), axis=0) if labels else np.zeros(0)
    groups: dict[int, list[str]] = {}
    for patient in sorted(labels):
        own = [i for i, label in enumerate(labels[patient]) if label]
        groups.setdefault(min(own, key=lambda i: (often[i], i), default=-1), []).append(patient)
    places: list[tuple[float, str]] = []
    for group, patients in sorted(groups.items()):
        rng = np.random.default_rng([seed, group + 1])
        rank = rng.permutation(len(patients))
        place = (rank + rng.random(len(patients))) / len(patients) - (rank == 0)
        places += zip(place.tolist(), patients, strict=True)
    return [patient for _, patient in sorted(places)]
