"""Does an item of a record hold what the methods ask for, drawn as the papers draw it?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from trainers.data import tokens
from trainers.data.items import BadItem
from trainers.data.pairs import Pairs, swap_sides
from trainers.data.records import Record

REPORT = "Left pleural effusion. The right lung is clear, no pneumothorax."


@pytest.fixture
def record(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 90), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return Record(tmp_path / "a.png", REPORT, "p1", "s1")


def make(record, **change):
    tokenizer = tokens.train_tokenizer([REPORT, "no effusion"], 120)
    settings = {"px": 48, "length": 20, "patches": 9, "word_mask_ratio": 0.5, "hflip": "on",
                "train": True}  # fmt: skip
    return Pairs([record], tokenizer, **{**settings, **change})


def rng(seed=1):
    return np.random.default_rng(seed)


def test_an_item_has_the_shapes_a_method_takes(record):
    item = make(record).item(0, rng())
    assert item["image"].shape == (3, 48, 48)
    assert item["image"].dtype == torch.float32
    for name in ("ids", "labels", "attention_mask"):
        assert item[name].shape == (20,)
        assert item[name].dtype == torch.int64
    assert item["name"].endswith("a.png")
    assert item["noise"].shape == (9,)


def test_pixels_are_normalised_by_the_grey_values_of_mimic(record):
    item = make(record, train=False).item(0, rng())
    pixels = item["image"] * 0.2449 + 0.4978
    assert torch.equal(pixels[0], pixels[2])
    grey = np.asarray(Image.open(record.image).convert("L").resize((72, 48), Image.BICUBIC))
    np.testing.assert_allclose(pixels[1] * 255, grey[:, 12:60], atol=1e-3)


def test_labels_are_the_report_and_ids_hide_words_of_it(record):
    pair = make(record)
    item = pair.item(0, rng())
    text = pair.tokenizer.decode(item["labels"].tolist()).replace(" ##", "")
    assert text.startswith("left pleural effusion")
    hidden = item["ids"] != item["labels"]
    assert hidden.any()
    assert set(item["ids"][hidden].tolist()) == {tokens.MASK}
    assert not hidden[item["attention_mask"] == 0].any()


def test_a_held_out_item_is_the_same_every_time_and_brings_its_noise(record):
    pair = make(record, train=False)
    first, second = pair.item(0, rng()), pair.item(0, rng())
    assert first["noise"].shape == (9,)
    assert first["noise"].dtype == torch.float32
    assert all(torch.equal(first[k], second[k]) for k in ("image", "ids", "noise"))
    assert torch.equal(first["image"], pair.item(0, rng(2))["image"])


def test_training_items_follow_their_generator_alone(record):
    pair = make(record)
    assert torch.equal(pair.item(0, rng(4))["image"], pair.item(0, rng(4))["image"])
    assert not torch.equal(pair.item(0, rng(4))["image"], pair.item(0, rng(5))["image"])


def drawn(record, hflip):
    """Return of 40 items of an image that brightens to the right which were mirrored."""
    Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (200, 1))).save(record.image)
    pair = make(record, hflip=hflip, word_mask_ratio=0.0)
    made = [pair.item(0, rng(seed)) for seed in range(40)]
    mirrored = [bool((item["image"][0, :, 0] > item["image"][0, :, -1]).all()) for item in made]
    left_first = [item["labels"][1].item() == pair.tokenizer.token_to_id("left") for item in made]
    return mirrored, left_first


def test_half_the_images_are_mirrored_and_the_report_left_alone(record):
    mirrored, left_first = drawn(record, "on")
    assert 10 < sum(mirrored) < 30
    assert all(left_first)


def test_no_image_is_mirrored_when_told_so(record):
    mirrored, _ = drawn(record, "off")
    assert not any(mirrored)


def test_sides_are_exchanged_in_the_reports_of_mirrored_images_only(record):
    mirrored, left_first = drawn(record, "on_with_text_swap")
    assert any(mirrored)
    assert left_first == [not m for m in mirrored]


def test_sides_are_swapped_as_whole_words_in_their_case():
    assert swap_sides("LEFT lung, Right base; leftward") == "RIGHT lung, Left base; leftward"


def test_a_broken_image_is_named(record):
    record.image.write_bytes(b"\x89PNG rubbish")
    with pytest.raises(BadItem, match=r"a\.png"):
        make(record).item(0, rng())
