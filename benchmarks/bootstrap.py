"""Is the bootstrap of AUROCs quick enough? Seconds for NIH's size, against a scikit-learn loop."""

from __future__ import annotations

import sys
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from trainers import scores

IMAGES, PATIENTS, CLASSES, RESAMPLES, PEER_RESAMPLES = 25_596, 2_797, 14, 1_000, 5


def main() -> int:
    """Print both times and their ratio; the peer's is scaled up from a few resamples."""
    rng = np.random.default_rng(0)
    label = (rng.random((IMAGES, CLASSES)) < np.linspace(0.002, 0.17, CLASSES)).astype(np.uint8)
    score = rng.normal(size=label.shape) + label
    patient = rng.integers(0, PATIENTS, size=IMAGES)

    begun = time.perf_counter()
    mean, _ = scores.auroc_bounds(score, label, patient, seed=0, resamples=RESAMPLES)
    ours_s = time.perf_counter() - begun

    begun = time.perf_counter()
    for _ in range(PEER_RESAMPLES):
        chosen = rng.integers(0, IMAGES, size=IMAGES)
        roc_auc_score(label[chosen], score[chosen], average="macro")
    peer_s = (time.perf_counter() - begun) / PEER_RESAMPLES * RESAMPLES

    print(f"{RESAMPLES} resamples of {IMAGES} x {CLASSES}: interval {mean[0]:.4f} to {mean[1]:.4f}")
    print(
        f"cxrlab {ours_s:.1f} s, scikit-learn in a loop {peer_s:.1f} s: {peer_s / ours_s:.1f} times"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
