"""Pairs of a radiograph and a sentence: what ConVIRT is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import processors

from trainers.data import tokens
from trainers.data.items import BadItem
from trainers.data.records import Record
from trainers.data.sentence_pairs import SentencePairs, view

REPORT = "FINDINGS: Left effusion. IMPRESSION: Right lung clear."


@pytest.fixture
def record(tmp_path: Path) -> Record:
    pixels = np.tile(np.arange(90, dtype=np.uint8) + 80, (70, 1))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return Record(tmp_path / "a.png", REPORT, "p", "s")


def make(record, **change):
    tokenizer = tokens.train_tokenizer([REPORT], 80)
    given = {
        "px": 40,
        "length": 12,
        "framed": False,
        "text": "sentence",
        "distortion": 1.0,
        "hflip": "on",
        "train": True,
        **change,
    }
    return SentencePairs([record], tokenizer, **given)


def rng(seed=0):
    return np.random.default_rng(seed)


def words(pairs, item):
    return pairs.tokenizer.decode(item["ids"].tolist()).replace(" ##", "")


def test_an_item_is_an_image_and_one_sentence(record):
    pairs = make(record)
    items = [pairs.item(0, rng(seed)) for seed in range(12)]
    assert set(items[0]) == {"name", "image", "ids", "attention_mask"}
    assert items[0]["image"].shape == (3, 40, 40)
    assert items[0]["ids"].shape == items[0]["attention_mask"].shape == (12,)
    assert {words(pairs, item) for item in items} == {"left effusion .", "right lung clear ."}
    assert items[0]["attention_mask"].sum() == (items[0]["ids"] != tokens.PAD).sum()


def test_a_training_item_follows_from_its_generator_alone(record):
    pairs = make(record)
    first, second, other = (pairs.item(0, rng(seed))["image"] for seed in (4, 4, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_held_out_image_is_the_middle_as_it_is(record):
    pairs = make(record, train=False)
    first, second = pairs.item(0, rng(1)), pairs.item(0, rng(2))
    assert torch.equal(first["image"], second["image"])
    again = pairs.item(0, rng(1))
    assert torch.equal(first["ids"], again["ids"])


def test_views_keep_to_the_range_of_grey_values():
    image = Image.fromarray(rng().integers(0, 256, (64, 80), dtype=np.uint8))
    views = [np.asarray(view(image, 48, rng(seed), mirrored=False)) for seed in range(40)]
    assert {v.shape for v in views} == {(48, 48)}
    assert {v.dtype for v in views} == {np.dtype(np.uint8)}
    means = [v[12:36, 12:36].mean() for v in views]
    assert 0.5 * 127 < min(means) < 0.8 * 127 < 1.2 * 127 < max(means) < 1.5 * 127


def test_sides_are_exchanged_in_the_sentences_of_mirrored_images_only(record):
    """The image brightens to the right, unless it is mirrored."""
    pairs = make(record, hflip="on_with_text_swap")
    mirrored = 0
    for seed in range(40):
        item = pairs.item(0, rng(seed))
        middle = item["image"][0, 15:25]
        turned = bool(middle[:, 12].mean() > middle[:, 28].mean())
        said = words(pairs, item)
        assert said in (
            ("right effusion .", "left lung clear .")
            if turned
            else ("left effusion .", "right lung clear .")
        )
        mirrored += turned
    assert 10 < mirrored < 30


def test_a_text_models_tokenizer_frames_cuts_and_pads_by_itself(record):
    pairs = make(record, framed=True)
    pairs.tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [MASK]", special_tokens=[("[CLS]", tokens.CLS), ("[MASK]", tokens.MASK)]
    )
    tokens.with_length(pairs.tokenizer, 12)
    ids = pairs.item(0, rng())["ids"]
    seen = ids[ids != tokens.PAD]
    assert (seen[0], seen[-1]) == (tokens.CLS, tokens.MASK)
    assert len(ids) == 12


def test_a_broken_image_is_named(record):
    record.image.write_bytes(b"no image")
    with pytest.raises(BadItem, match=r"a\.png"):
        make(record).item(0, rng())


def test_of_a_report_read_whole_findings_and_impression_are_seen(record):
    pairs = make(record, text="report", length=20)
    said = {words(pairs, pairs.item(0, rng(seed))) for seed in range(4)}
    assert said == {"left effusion . right lung clear ."}


def test_without_distortion_an_image_is_only_cropped_and_mirrored(record):
    image = Image.fromarray(np.full((60, 70), 200, dtype=np.uint8))
    plain = np.asarray(view(image, 32, rng(), mirrored=False, strength=0.0))
    assert (plain == 200).all()
    assert not (np.asarray(view(image, 32, rng(), mirrored=False)) == 200).all()


def test_half_a_distortion_is_less_than_the_whole():
    image = Image.new("L", (60, 60), 100)
    spread = {
        strength: np.std(
            [np.asarray(view(image, 40, rng(s), mirrored=False, strength=strength))[20, 20]
             for s in range(60)]
        )
        for strength in (0.5, 1.0)
    }  # fmt: skip
    assert spread[1.0] > 1.5 * spread[0.5] > 0
