from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainers.events import EventLog
from trainers.loglines import Told, read
from trainers.tally import Tally


@pytest.fixture
def tally(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Take lines, each of standard output or with its source in front, and return the events."""

    def events_of(*lines: str | tuple[str, Told], epochs: int | None = None) -> list[Any]:
        log = EventLog(tmp_path)
        made = Tally(log, epochs)
        for line in lines:
            source, told = ("", read(line)) if isinstance(line, str) else line
            made.take(told, stays=True, source=source)
        log.close()
        return [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]

    return events_of


def points(events: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    told = [event for event in events if event["kind"] == "metrics" and name in event["values"]]
    return [(event["step"], event["values"][name]) for event in told]


def test_steps_count_on_over_epochs(tally: Any) -> None:
    events = tally(
        "Epoch: [0]  [0/2] loss: 3", "Epoch: [0]  [1/2] loss: 2", "Epoch: [1]  [0/2] loss: 1"
    )
    told = [event for event in events if event["kind"] == "metrics"]
    assert [event["step"] for event in told] == [0, 1, 2]
    assert [event["epoch"] for event in told] == [0, 0, 1]


def test_a_bar_that_begins_anew_counts_on(tally: Any) -> None:
    bars = [f"{i}/2 [00:01<00:01, loss={i}]" for i in (1, 2, 1, 2)]
    assert [step for step, _ in points(tally(*bars), "train/loss")] == [1, 2, 3, 4]


def test_a_bar_of_a_validation_does_not_move_the_training_on(tally: Any) -> None:
    bars = ["Train: 10/10 [00:01<00:01, loss=1]", "Val: 3/90 [00:01<00:01, loss=2]"]
    events = tally(*bars, "Train: 1/10 [00:01<00:01, loss=0.5]")
    assert points(events, "train/loss") == [(10, 1.0), (11, 0.5)]
    assert points(events, "val/loss") == [(10, 2.0)]


def test_progress_is_of_all_epochs_where_their_number_is_known(tally: Any) -> None:
    (told,) = (
        e for e in tally("Epoch: [3]  [50/100] loss: 1", epochs=10) if e["kind"] == "progress"
    )
    assert (told["done"], told["total"]) == (350, 1000)


def test_iterations_counted_within_an_epoch_count_on(tally: Any) -> None:
    lines = [f'{{"mode": "train", "epoch": {e}, "iter": {i}, "loss": {e * i}}}'
             for e in (1, 2, 3) for i in (50, 100)]  # fmt: skip
    steps = [step for step, _ in points(tally(*lines), "train/loss")]
    assert steps == [50, 100, 150, 200, 250, 300]


def test_two_ways_of_counting_do_not_meet_in_one_curve(tally: Any) -> None:
    events = tally(
        "Epoch: [0]  [20/100] loss: 3",
        ("tb", Told({"train/loss": 2.9, "train/lr": 0.1}, step=200, exact=True)),
        "Epoch: [0]  [40/100] loss: 2",
        ("tb", Told({"train/loss": 1.9, "train/lr": 0.2}, step=400, exact=True)),
    )
    assert points(events, "train/loss") == [(20, 3.0), (40, 2.0)]
    assert points(events, "train/lr") == [(200, 0.1), (400, 0.2)]


def test_a_summary_of_an_epoch_stands_where_the_printed_updates_are(tally: Any) -> None:
    summary = ("log.txt", read('{"val_loss": 0.25, "epoch": 0}'))
    assert points(tally("Epoch: [0]  [90/100] loss: 3", summary), "val/loss") == [(90, 0.25)]
