from __future__ import annotations

from typing import Any

import pytest

from store import artifacts, intake, runs
from store.db import StoreError


@pytest.fixture
def saved(db: Any, add_run: Any, write_events: Any) -> Any:
    """Make a pre-training that has saved an encoder at a given time."""

    def save(id: str, *, at: float, state: str = "succeeded", **fields: Any) -> None:
        folder = add_run(id, state=state, **{"task": "pretrain", "ratio": None, **fields})
        event = {"kind": "checkpoint", "kind_of": "encoder", "path": "checkpoints/encoder.pt"}
        write_events(folder, event | {"t": at, "step": 9, "sha256": id * 8})
        intake.take_in(db, id, folder)

    return save


def test_the_encoder_saved_last_is_the_newest(db: Any, saved: Any) -> None:
    saved("aaaaaa", at=20.0)
    saved("bbbbbb", at=30.0)
    saved("cccccc", at=10.0)
    encoder = artifacts.newest_encoder(db, "mrm")
    folder = runs.get(db, "bbbbbb").folder
    assert (encoder.run_id, encoder.recipe) == ("bbbbbb", "recipe-of-bbbbbb")
    assert str(encoder.path) == f"{folder}/checkpoints/encoder.pt"
    assert (encoder.saved, encoder.sha256) == (30.0, "bbbbbb" * 8)


@pytest.mark.parametrize(
    "other", [{"state": "running"}, {"state": "failed"}, {"method": "deep_mrm"}, {"task": "siim"}]
)
def test_only_a_finished_pretraining_of_the_method_has_an_encoder(
    db: Any, saved: Any, other: dict[str, Any]
) -> None:
    saved("aaaaaa", at=20.0, **other)
    with pytest.raises(StoreError, match="no pre-training of `mrm` has finished"):
        artifacts.newest_encoder(db, "mrm")


def test_a_preset_that_is_asked_for_leaves_the_others_out(db: Any, saved: Any) -> None:
    saved("aaaaaa", at=20.0, preset="paper")
    saved("bbbbbb", at=30.0, preset="quick")
    assert artifacts.newest_encoder(db, "mrm", preset="paper").run_id == "aaaaaa"
    with pytest.raises(StoreError, match="`mrm` with preset `tiny`"):
        artifacts.newest_encoder(db, "mrm", preset="tiny")


def test_a_file_written_again_is_one_artifact_with_its_latest_step(
    db: Any, add_run: Any, write_events: Any
) -> None:
    folder = add_run("aaaaaa")
    for step in (1, 2, 3):
        last = {"kind": "checkpoint", "kind_of": "last", "path": "checkpoints/last.pt"}
        write_events(folder, last | {"t": float(step), "step": step, "sha256": str(step)})
    write_events(folder, {"kind": "sample", "t": 9.0, "path": "s.png", "caption": "rebuilt"})
    intake.take_in(db, "aaaaaa", folder)
    sample, last_checkpoint = artifacts.of_run(db, "aaaaaa")
    assert (last_checkpoint.path, last_checkpoint.step) == (folder / "checkpoints/last.pt", 3)
    assert last_checkpoint.sha256 == "3"
    assert (sample.kind, sample.path, sample.caption) == ("sample", folder / "s.png", "rebuilt")
    assert artifacts.of_run(db, "aaaaaa", "last") == [last_checkpoint]
    assert artifacts.of_run(db, "aaaaaa", "best") == []
