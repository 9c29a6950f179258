"""Checkpoints: whole or absent, and exact."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers import checkpoints
from trainers.config import InputError, MissingError


def test_a_write_that_fails_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"step": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        checkpoints.save(path, {"step": 2})
    assert checkpoints.load(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_torn_file_is_an_input_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"model": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"last\.pt"):
        checkpoints.load(path)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        checkpoints.load(tmp_path / "none.pt")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"evil\.pt"):
        checkpoints.load(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_every_random_generator_goes_on_from_where_it_was(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "s.pt", checkpoints.random_states())
    drawn = (random.random(), np.random.rand(), torch.rand(1).item())
    checkpoints.restore_random_states(checkpoints.load(tmp_path / "s.pt"))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == drawn


def test_only_a_training_state_is_taken_for_one(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "last.pt", {"format": checkpoints.FORMAT})
    checkpoints.save(tmp_path / "mae.pth", {"model": {"cls_token": torch.zeros(1)}})
    assert checkpoints.is_training_state(tmp_path / "last.pt")
    assert not checkpoints.is_training_state(tmp_path / "mae.pth")
    assert not checkpoints.is_training_state(tmp_path / "none.pth")
