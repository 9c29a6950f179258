"""Program: judges an encoder without training it, by a linear probe and by nearest neighbours.

    python -m trainers.probe --task shenzhen --data_path DIR --pretrained RUN/checkpoints/encoder.pt

The features of an image are the mean of its patch tokens after the last block, which is what
fine-tuning starts from. Nothing is drawn at random once the encoder is there.
Shapes: N images, D encoder width, C classes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader

from trainers import catalog, metrics, normalisation, program, scores, weights
from trainers.config import ConfigError, InputError, MissingError, resolve
from trainers.data.batch import Seeded, collate
from trainers.events import finite
from trainers.finetune import take_normalisation, task_module
from trainers.loop import pick_device, to_device
from trainers.methods import baselines
from trainers.modules import encoders

STRENGTHS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
"""Inverse L2 penalties among which validation chooses."""
NEIGHBOURS, TEMPERATURE = 20, 0.07
"""Source: Wu et al. 2018 (non-parametric instance discrimination), as DINO's evaluation has it."""

Floats = NDArray[np.float64]


class Features(NamedTuple):
    """What an encoder makes of a split."""

    features: Floats
    """(N, D)."""
    label: NDArray[np.uint8]
    """(N, C)."""
    patient: NDArray[np.str_]
    """(N,)."""


def main(argv: Sequence[str]) -> int:
    """Probe as `argv` says and return the exit code."""
    return program.guard(lambda: _probe(argv), lambda: None)


def _probe(argv: Sequence[str]) -> int:
    tasks = [name for name, entry in catalog.TASKS.items() if entry.metric == "AUROC"]
    parser = argparse.ArgumentParser(prog="python -m trainers.probe", allow_abbrev=False)
    parser.add_argument("--task", required=True, help=", ".join(tasks))
    parser.add_argument("--data_path", "--data-path", required=True, metavar="DIR")
    parser.add_argument("--pretrained", default="", metavar="FILE", help="none: a random encoder")
    parser.add_argument("--preset", default="quick", help="sizes of images and of a random encoder")
    for name in normalisation.Normalisation._fields:
        parser.add_argument(f"--{name}", help="grey value; default: the encoder's")
    parser.add_argument("--ratio", type=int, default=100, help="percent of the training labels")
    parser.add_argument("--seed", type=int, default=0, help="of a random encoder and the bootstrap")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    given = parser.parse_args(list(argv))
    if given.task not in tasks:
        raise MissingError(
            f"no classification is called `{given.task}`; there are {', '.join(tasks)}"
        )
    module = task_module(given.task)
    if given.preset not in module.PRESETS:
        raise ConfigError(f"`preset` is `{given.preset}`; expected {', '.join(module.PRESETS)}")
    own = module.Config.__dataclass_fields__
    preset = {k: v for k, v in module.PRESETS[given.preset].items() if k in own}
    names = normalisation.Normalisation._fields
    own_levels = {n: getattr(given, n) for n in names if getattr(given, n) is not None}
    if given.pretrained:
        otherwise = dict.fromkeys(names, normalisation.AUTO)
        take_normalisation(own_levels, otherwise, Path(given.pretrained))
    (config,) = resolve([module.Config], preset=preset, given=own_levels)
    torch.manual_seed(given.seed)
    encoder = _encoder(given.pretrained, given.preset, image_px=config.image_px)
    encoder.to(pick_device(given.device))
    splits = module.open_splits(config, Path(given.data_path), ratio=given.ratio, seed=0)
    train, val, test = (
        embed(encoder, part) for part in (splits.train.still(), splits.val, splits.test)
    )
    linear, strength = linear_scores(train, val, test)
    said = {"linear": linear, "knn": neighbour_scores(train, test)}
    values: dict[str, float] = {}
    bounds: dict[str, list[float]] = {}
    for name, score in said.items():
        values[f"{name}/AUROC"] = scores.mean_auroc(score, test.label)
        mean, _ = scores.auroc_bounds(score, test.label, test.patient, seed=given.seed)
        bounds[f"{name}/AUROC"] = list(mean)
    facts = {
        "task": given.task,
        "pretrained": given.pretrained,
        "mean": config.mean,
        "std": config.std,
        "values": values,
        "bounds": bounds,
        "metrics": metrics.described(values),
        "penalty": strength,
        "images": {"train": len(train.label), "val": len(val.label), "test": len(test.label)},
    }
    if given.json:
        print(json.dumps(finite(facts), indent=2))
    else:
        for name, value in values.items():
            low, high = bounds[name]
            print(f"{name:14} {value:.4f}  95 % {low:.4f} to {high:.4f}")
    return 0


def _encoder(pretrained: str, preset: str, *, image_px: int) -> encoders.Encoder:
    if not pretrained:
        return encoders.build(baselines.size_of(preset), image_px=image_px, drop_path=0.0)
    state, size, _ = weights.load_encoder(Path(pretrained))
    encoder = encoders.build(size, image_px=image_px, drop_path=0.0)
    weights.fit_encoder(encoder, state, size)
    return encoder


@torch.inference_mode()
def embed(encoder: encoders.Encoder, split: Any, *, batch_size: int = 64) -> Features:
    """Return the features of every readable image of a split that is not augmented.

    Raises:
        InputError: no image can be read.
    """
    device = next(encoder.parameters()).device
    encoder.eval()
    each = [(0, i) for i in range(len(split))]
    cut = [each[i : i + batch_size] for i in range(0, len(each), batch_size)]
    features, labels, patients = [], [], []
    for batch in DataLoader(Seeded(split, 0), batch_sampler=cut, collate_fn=collate):
        batch.pop("skipped")
        if not batch:
            continue
        image = to_device(batch, device)["image"]
        features.append(encoders.summarise(encoder, image).double().cpu().numpy())
        labels.append(batch["label"].numpy())
        patients += batch["patient"]
    if not features:
        raise InputError("no image of a split can be read")
    return Features(np.concatenate(features), np.concatenate(labels), np.array(patients, dtype=str))


def linear_scores(train: Features, val: Features, test: Features) -> tuple[Floats, float]:
    """Return the log-odds (N, C) of a logistic regression on standardised features.

    One penalty serves all classes: the one with the best mean AUROC on `val`, which is returned
    too. A class with one label alone in `train` gets zeros.
    """
    scaler = StandardScaler().fit(train.features)

    def fitted(strength: float, split: Features) -> Floats:
        columns = []
        for label in train.label.T:
            if label.min() == label.max():
                columns.append(np.zeros(len(split.label)))
                continue
            model = LogisticRegression(C=strength, max_iter=2000)
            model.fit(scaler.transform(train.features), label)
            columns.append(model.decision_function(scaler.transform(split.features)))
        return np.stack(columns, axis=1)

    reached = {c: np.nan_to_num(scores.mean_auroc(fitted(c, val), val.label)) for c in STRENGTHS}
    best = max(STRENGTHS, key=lambda c: reached[c])  # the strongest penalty of equally good ones
    return fitted(best, test), best


def neighbour_scores(train: Features, test: Features) -> Floats:
    """Return (N, C), in [0, 1]: the labels of the nearest training images, weighted by likeness.

    Likeness is exp(cosine / `TEMPERATURE`) over features centred on the training mean, without
    which the cosines of an untrained encoder are all nearly one.
    """
    centre = train.features.mean(axis=0)
    known, asked = (_unit(split.features - centre) for split in (train, test))
    cosine = asked @ known.T
    k = min(NEIGHBOURS, len(known))
    nearest = np.argpartition(-cosine, k - 1, axis=1)[:, :k]  # (N, k)
    weight = np.exp((np.take_along_axis(cosine, nearest, axis=1) - 1) / TEMPERATURE)
    return np.einsum("nk,nkc->nc", weight, train.label[nearest]) / weight.sum(axis=1)[:, None]


def _unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
