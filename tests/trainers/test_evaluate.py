"""The evaluation program: metrics from predictions, losses from a saved batch."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from trainers import evaluate, weights
from trainers.methods import deep_mrm, mrm

SMALL = {"image_px": 32, "patch_px": 8, "embed_dim": 64, "num_heads": 1, "depth": 12,
         "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2, "bert_dim": 16,
         "bert_depth": 1, "bert_heads": 2, "report_length": 12}  # fmt: skip
OPTIONS = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, 50, (3, 12), generator=generator)
    content = {
        "image": torch.randn(3, 3, 64, 64, generator=generator),
        "ids": torch.where(torch.rand(3, 12, generator=generator) < 0.5, 3, labels),
        "labels": labels,
        "attention_mask": torch.ones(3, 12, dtype=torch.int64),
        "noise": torch.rand(3, 16, generator=generator),
    }
    torch.save(content, tmp_path / "batch.pt")
    return tmp_path / "batch.pt"


def published(model: torch.nn.Module, path: Path) -> Path:
    """Save `model` under MRM's published names, with the Namespace that its file carries."""
    state = {weights.mrm_name(name): tensor for name, tensor in model.state_dict().items()}
    torch.save({"model": state, "epoch": 199, "args": argparse.Namespace(lr=1.0)}, path)
    return path


def losses(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, float]:
    assert evaluate.main(["--task", "pretrain", *words, *OPTIONS, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["values"]


def test_the_losses_of_a_saved_batch_are_those_of_the_files_weights(
    tmp_path: Path, batch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    model = mrm.Method(mrm.Config(**SMALL), vocab_size=50).eval()
    file = published(model, tmp_path / "MRM.pth")
    said = losses(capsys, "--method", "mrm", "--pretrained", str(file), "--batch", str(batch))
    with torch.no_grad():
        parts = model(torch.load(batch, weights_only=True))
    assert said["loss_image"] == pytest.approx(parts["loss_image"].item(), rel=1e-6)
    assert said["loss_report"] == pytest.approx(parts["loss_report"].item(), rel=1e-6)
    assert said["loss"] == pytest.approx(said["loss_image"] + said["loss_report"])


def test_a_file_without_decoders_is_refused_since_their_losses_would_be_noise(
    tmp_path: Path, batch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = mrm.Method(mrm.Config(**SMALL), vocab_size=50)
    file = published(model, tmp_path / "MRM.pth")
    words = ["--task", "pretrain", "--method", "deep_mrm", "--pretrained", str(file)]
    assert evaluate.main([*words, "--batch", str(batch), *OPTIONS]) == 4
    assert "aux_heads" in capsys.readouterr().err


def test_a_batch_that_lacks_a_tensor_names_it(
    tmp_path: Path, batch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = deep_mrm.Method(deep_mrm.Config(**SMALL), vocab_size=50)
    file = published(model, tmp_path / "own.pth")
    content = torch.load(batch, weights_only=True)
    del content["labels"]
    torch.save(content, batch)
    words = ["--task", "pretrain", "--method", "deep_mrm", "--pretrained", str(file)]
    assert evaluate.main([*words, "--batch", str(batch), *OPTIONS]) == 4
    assert "labels" in capsys.readouterr().err


def test_metrics_are_recomputed_from_predictions_as_scikit_learn_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (60, 1)).astype(np.uint8)
    score = np.round(label * 0.3 + rng.random((60, 1)), 1)  # rounded, so that there are ties
    names = np.array([f"{i}.png" for i in range(60)])
    file = tmp_path / "predictions.npz"
    classes = np.array(["tuberculosis"])
    np.savez(file, names=names, patient=names, score=score, label=label, classes=classes)
    assert evaluate.main(["--task", "shenzhen", "--predictions", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["values"]["test/AUROC"] == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    low, high = said["bounds"]["test/AUROC"]
    assert low < said["values"]["test/AUROC"] < high


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--task", "nothing", "--predictions", "x.npz"], 3),
        (["--task", "siim", "--predictions", "x.npz"], 3),
    ],
)
def test_what_is_not_there_ends_with_3(words: list[str], code: int) -> None:
    assert evaluate.main(words) == code
