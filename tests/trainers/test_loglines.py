from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.loglines import Lines, read

MAE = (
    '{"train_lr": 2.5e-06, "train_loss": 1.2345, "epoch": 3}',
    {"train/lr": 2.5e-06, "train/loss": 1.2345},
    None,
    3.0,
)
MMSEG = (
    '{"mode": "train", "epoch": 1, "iter": 50, "lr": 0.001, "memory": 5000, "decode.loss_seg": '
    '0.69, "time": 0.3}',
    {"train/lr": 0.001, "train/decode.loss_seg": 0.69},
    50,
    1.0,
)
MMSEG_VAL = (
    '{"mode": "val", "iter": 400, "mIoU": 0.61, "mDice": 0.74}',
    {"val/mIoU": 0.61, "val/mDice": 0.74},
    None,  # of a validation it is how many batches that had
    None,
)


@pytest.mark.parametrize(("line", "values", "step", "epoch"), [MAE, MMSEG, MMSEG_VAL])
def test_json_lines_are_read(
    line: str, values: dict[str, float], step: int | None, epoch: float | None
) -> None:
    told = read(line)
    assert dict(told.values) == values
    assert (told.step, told.epoch) == (step, epoch)


def test_torchvisions_logger_is_read() -> None:
    told = read(
        "Epoch: [7]  [ 20/390]  eta: 0:05:11  lr: 0.000001  loss: 1.2345 (1.3456)  time: 0.8425  "
        "data: 0.0002  max mem: 5566"
    )
    assert dict(told.values) == {"train/lr": 0.000001, "train/loss": 1.2345}
    assert (told.epoch, told.done, told.total, told.eta_s) == (7.0, 20, 390, 311.0)


def test_mmengines_lines_are_read() -> None:
    told = read(
        "2023/03/20 21:00:00 - mmengine - INFO - Iter(train) [  100/40000]  lr: 9.9e-03  eta: "
        "1 day, 4:05:06  time: 0.25  loss: 0.5310  decode.acc_seg: 71.25"
    )
    assert told.values["train/loss"] == 0.5310
    assert told.values["train/decode.acc_seg"] == 71.25
    assert (told.done, told.total, told.eta_s) == (100, 40000, 86400 + 4 * 3600 + 5 * 60 + 6)


def test_a_bar_of_tqdm_is_progress_and_an_eta() -> None:
    told = read(" 43%|████▎     | 43/100 [00:10<00:13,  4.20it/s, loss=0.52, AUROC=0.81]")
    assert dict(told.values) == {"train/loss": 0.52, "train/AUROC": 0.81}
    assert (told.done, told.total, told.eta_s) == (43, 100, 13.0)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("step=120 loss=0.5 val_loss=0.6", {"train/loss": 0.5, "val/loss": 0.6}),
        ("Test AUROC: 0.8123", {"test/AUROC": 0.8123}),
        ("val/Dice: 72.9%", {"val/Dice": pytest.approx(0.729)}),
        ("epoch 3 loss=nan", {"train/loss": pytest.approx(math.nan, nan_ok=True)}),
    ],
)
def test_names_and_values_are_read(line: str, values: dict[str, float]) -> None:
    assert dict(read(line).values) == values


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Namespace(accum_iter=2, batch_size=64, blr=0.0003)",
        "listening on 127.0.0.1:12345",
        "2023-03-20 21:00:00,123 INFO seed: 3",
        "loading http://host:80/x?loss:1/2",
        "{not json: 3}",
        '{"a": true, "b": "0.5"}',
        "reading /a/loss:0/b",
    ],
)
def test_what_is_no_measurement_says_nothing(line: str) -> None:
    assert not read(line), read(line)


PRINTED = (
    "start\r\n 0%| | 0/3 [00:00<?, ?it/s]\r 33%|█ | 1/3 [00:01<00:02]\r"
    "100%|███| 3/3 [00:03<00:00]\n"
    "Lösung: loss: 0.5\nrest"
)


@given(st.lists(st.integers(0, len(PRINTED.encode())), max_size=12))
def test_lines_are_the_same_in_whatever_chunks_they_come(cuts: list[int]) -> None:
    raw = PRINTED.encode()
    edges = [0, *sorted(cuts), len(raw)]
    lines = Lines()
    found = [each for a, b in itertools.pairwise(edges) for each in lines.feed(raw[a:b])]
    found += lines.feed(b"", last=True)
    assert [line for line, stays in found if stays] == [
        "start",
        "100%|███| 3/3 [00:03<00:00]",
        "Lösung: loss: 0.5",
        "rest",
    ]
    passing = [line for line, stays in found if not stays]
    assert passing == [" 0%| | 0/3 [00:00<?, ?it/s]", " 33%|█ | 1/3 [00:01<00:02]"]


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading(raw: bytes) -> None:
    lines = Lines()
    for line, _ in [*lines.feed(raw), *lines.feed(b"", last=True)]:
        read(line)


def test_a_line_without_an_end_is_not_kept_in_memory() -> None:
    lines = Lines()
    pieces = [line for _ in range(40) for line, _ in lines.feed(b"x" * 10_000)]
    assert sum(map(len, pieces)) > 300_000
