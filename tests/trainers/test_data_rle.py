"""Run lengths: the competition's own rule, worked by hand, there and back."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from trainers.data import rle, siim

REAL = Path("../shared/data/siim_real")
MASKS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=24)).map(
    lambda values: values % 2
)


@given(MASKS)
def test_what_is_encoded_is_decoded_again(mask):
    height, width = mask.shape
    assert np.array_equal(rle.decode(rle.encode(mask), width, height), mask)


@given(MASKS)
def test_a_decoded_mask_is_what_walking_from_pixel_to_pixel_gives(mask):
    height, width = mask.shape
    text = rle.encode(mask)
    flat, at = [0] * (width * height), 0
    numbers = [] if text == "-1" else [int(n) for n in text.split()]
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        at += gap
        for _ in range(length):
            flat[at] = 1
            at += 1
    walked = [[flat[x * height + y] for x in range(width)] for y in range(height)]
    assert walked == mask.tolist()


def test_pixels_are_counted_down_the_columns_and_gaps_from_the_run_before():
    mask = rle.decode("1 2 3 1", 3, 4)  # 3 wide, 4 high: pixels 1, 2 and 6
    assert mask.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert rle.encode(mask) == "1 2 3 1"


def test_runs_that_touch_or_have_no_length_are_read():
    assert rle.decode("0 2 0 2 1 0", 2, 3).tolist() == [[1, 1], [1, 0], [1, 0]]


@pytest.mark.parametrize("text", ["-1", " -1", "", "  "])
def test_the_mark_for_no_mask_is_an_empty_mask(text):
    mask = rle.decode(text, 5, 2)
    assert mask.shape == (2, 5)
    assert not mask.any()
    assert rle.encode(mask) == "-1"


def test_several_rows_are_parts_of_one_mask():
    assert rle.union(["0 2", "1 2", "-1"], 2, 2).tolist() == [[1, 1], [1, 0]]
    assert not rle.union([], 2, 2).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3", "3 run lengths; expected pairs"),
        ("1 x", "not whole numbers"),
        ("1 -2", "a run length is -2"),
        ("3 2", "end at pixel 5, beyond 2 x 2"),
    ],
)
def test_what_cannot_be_a_mask_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        rle.decode(text, 2, 2)


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="SIIM-ACR's sample is not beside this checkout")
def test_real_rows_decode_to_the_expected_pixels():
    with (REAL / "expected_decoded.csv").open(newline="") as file:
        expected = {row["ImageId"]: row for row in csv.DictReader(file)}
    found = siim.read_rows(REAL / "train-rle-sample.csv")
    assert found.keys() == expected.keys()
    for name, runs in found.items():
        mask, row = rle.union(runs, 1024, 1024), expected[name]
        assert mask.sum() == int(row["mask_pixels"])
        assert max(len(runs), 1) == int(row["rows"])
        if runs:
            ys, xs = np.nonzero(mask)
            sides = [xs.min(), ys.min(), xs.max(), ys.max()]
            assert sides == [int(row[k]) for k in ("xmin", "ymin", "xmax", "ymax")]
