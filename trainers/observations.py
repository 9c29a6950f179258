"""What does a report say of the fourteen observations that clinical scores are made of?

A labeller reads reports and gives each observation 1 (there), 0 (denied), -1 (uncertain) or nan
(not spoken of). There are two, `trainers.chexbert` and `trainers.report_rules`; what they find is
never put under one name, so each has a suffix for the names of its scores.

Shapes: N reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

OBSERVATIONS = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices", "No Finding",
)  # fmt: skip
"""In CheXbert's order. Source: Smit et al., "CheXbert", EMNLP 2020, and its released code."""

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""Over which some papers average. Source: Irvin et al., "CheXpert", AAAI 2019, its test tasks."""

Labels = NDArray[np.float64]


class Labeller(Protocol):
    """Reads reports."""

    suffix: str
    """Ends the name of every score made with it; empty for CheXbert, which papers report."""

    def __call__(self, texts: Sequence[str]) -> Labels:
        """Return (N, 14) of 1, 0, -1 or nan, in the order of `OBSERVATIONS`."""
        ...


def label_reports(texts: Sequence[str], labeller: Labeller) -> Labels:
    """Return what `labeller` reads in `texts`, (N, 14); each different text is read once."""
    if not texts:
        return np.zeros((0, len(OBSERVATIONS)))
    # a model repeats itself: most of what it writes stands under several images
    place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return labeller(list(place))[[place[text] for text in texts]]
