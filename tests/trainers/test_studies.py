"""Is a study three of its own radiographs and its report, mirrored together or not at all?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers.data import captions, studies, tokens
from trainers.data.batch import collate
from trainers.data.items import BadItem
from trainers.data.records import Record
from trainers.data.studies import Studies

REPORT = "Left pleural effusion. The right lung is clear, no pneumothorax."


def write(path: Path, grey: int) -> Path:
    """A picture of one grey with a bright left half, so that a view tells which it is of."""
    pixels = np.full((60, 90), grey, dtype=np.uint8)
    pixels[:, :45] += 20
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """A study of four radiographs, between the two of another study."""
    greys = {"a": 10, "b": 50, "c": 90, "d": 130}
    four = [Record(write(tmp_path / f"{n}.png", g), REPORT, "p1", "s1") for n, g in greys.items()]
    two = [Record(write(tmp_path / f"{n}.png", 200), "Normal.", "p2", "s2") for n in "xy"]
    return [two[0], *four, two[1]]


def make(records: list[Record], **change) -> Studies:
    vocabulary = captions.WordPieces(
        tokens.with_length(tokens.train_tokenizer([REPORT, "Normal."], 120), 40)
    )
    settings = {"px": 24, "length": 40, "look": studies.REFERS._replace(jitter=False),
                "hflip": "off", "train": True}  # fmt: skip
    return Studies(records, vocabulary, **{**settings, **change})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def greys(view: torch.Tensor) -> torch.Tensor:
    """The 8-bit values of a view as REFERS normalises it."""
    return view[0] * 255 * 0.229 + 255 * 0.485


def shown(item: dict) -> list[int]:
    """Which radiograph each view is of, whichever half of it is seen."""
    return [int((float(greys(view).min()) - 9) // 40) for view in item["image"]]


def test_records_of_one_study_are_one_item_in_the_order_they_come(records: list[Record]) -> None:
    found = studies.group(records)
    assert [len(study.images) for study in found] == [2, 4]
    assert [path.name for path in found[1].images] == ["a.png", "b.png", "c.png", "d.png"]
    assert len(make(records)) == 2


def test_a_report_is_never_read_beside_an_image_it_is_not_about(records: list[Record]) -> None:
    records[2] = records[2]._replace(report="Another report.")
    assert [(len(s.images), s.report) for s in studies.group(records)] == [
        (2, "Normal."), (3, REPORT), (1, "Another report."),
    ]  # fmt: skip


def test_studies_of_two_patients_are_kept_apart_even_if_they_share_a_number(
    records: list[Record],
) -> None:
    same = [r._replace(study="1", report="Normal.") for r in records]
    assert [len(study.images) for study in studies.group(same)] == [2, 4]


def test_an_item_has_the_shapes_a_method_takes(records: list[Record]) -> None:
    item = make(records).item(1, rng())
    assert item["image"].shape == (3, 3, 24, 24)
    assert item["image"].dtype == torch.float32
    for name in ("ids", "labels", "text_ids", "text_mask"):
        assert item[name].shape == (40,)
        assert item[name].dtype == torch.int64
    batch = collate([item, make(records).item(0, rng())])
    assert batch["image"].shape == (2, 3, 3, 24, 24)


def test_views_are_drawn_with_replacement_and_evenly(records: list[Record]) -> None:
    made = make(records)
    drawn = [shown(made.item(1, rng(seed))) for seed in range(400)]
    assert any(len(set(views)) < 3 for views in drawn)
    share = np.bincount(np.ravel(drawn), minlength=4) / 1200
    assert (abs(share - 0.25) < 0.05).all()
    thrice = np.mean([len(set(views)) == 1 for views in drawn])
    assert thrice == pytest.approx(1 / 16, abs=0.03)


def test_held_out_the_first_views_are_taken_and_over_again_where_there_are_fewer(
    records: list[Record],
) -> None:
    made = make(records, train=False)
    item = made.item(1, rng(1))
    assert shown(item) == [0, 1, 2]
    assert item["name"].endswith("a.png")
    again = made.item(1, rng(2))
    for name in ("image", "ids", "labels", "text_ids", "text_mask"):
        assert torch.equal(item[name], again[name]), name
    two = make(records[:1] + records[5:], train=False).item(0, rng())
    assert torch.equal(two["image"][0], two["image"][2])


def test_held_out_refers_squeezes_a_radiograph_and_mrm_takes_its_middle(
    records: list[Record],
) -> None:
    rng_pixels = np.random.default_rng(0).integers(0, 256, (60, 90), dtype=np.uint8)
    Image.fromarray(rng_pixels).save(records[1].image)
    whole = Image.fromarray(rng_pixels)
    view = make(records, train=False).item(1, rng())["image"][0]
    squeezed = np.asarray(whole.resize((24, 24), Image.BILINEAR))
    np.testing.assert_allclose(greys(view), squeezed, atol=1e-3)
    np.testing.assert_allclose((view[1] * 0.224 + 0.456) * 255, squeezed, atol=1e-3)
    view = make(records, train=False, look=studies.MRM).item(1, rng())["image"][0]
    middle = np.asarray(whole.resize((36, 24), Image.BICUBIC))[:, 6:30]
    np.testing.assert_allclose((view[2] * 0.2449 + 0.4978) * 255, middle, atol=1e-3)


def turned(view: torch.Tensor) -> bool:
    values = greys(view)
    return bool(values[:, -1].mean() > values[:, 0].mean())


def halves(records: list[Record], hflip: str) -> list[tuple[list[bool], dict]]:
    whole = studies.REFERS._replace(jitter=False, scale=(1.0, 1.0), ratio=(1.5, 1.5))
    made = make(records, hflip=hflip, look=whole)
    items = [made.item(1, rng(seed)) for seed in range(60)]
    return [([turned(view) for view in item["image"]], item) for item in items]


def test_all_views_are_mirrored_together_half_the_time_and_the_words_with_them(
    records: list[Record],
) -> None:
    found = halves(records, "on_with_text_swap")
    assert all(len(set(views)) == 1 for views, _ in found)
    mirrored = [item for views, item in found if views[0]]
    plain = [item for views, item in found if not views[0]]
    assert 15 < len(mirrored) < 45
    vocabulary = make(records).vocabulary
    swapped = captions.caption(vocabulary, REPORT.replace("Left", "Right").replace(
        "The right", "The left"), 40)  # fmt: skip
    same = captions.caption(vocabulary, REPORT, 40)
    for item in mirrored:
        assert item["ids"].tolist() == item["text_ids"].tolist() == swapped.ids.tolist()
    for item in plain:
        assert item["ids"].tolist() == item["text_ids"].tolist() == same.ids.tolist()


def test_flips_can_be_left_out_or_leave_the_words_alone(records: list[Record]) -> None:
    assert not any(any(views) for views, _ in halves(records, "off"))
    found = halves(records, "on")
    assert {views[0] for views, _ in found} == {True, False}
    assert len({tuple(item["ids"].tolist()) for _, item in found}) == 1


def test_each_view_is_cropped_by_itself(records: list[Record]) -> None:
    made = make(records[:1], look=studies.MRM)
    views = made.item(0, rng(5))["image"]
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(views[1], views[2])


def test_jitter_changes_brightness_of_each_view(records: list[Record]) -> None:
    made = make(records[:1], look=studies.REFERS._replace(scale=(1.0, 1.0), ratio=(1.5, 1.5)))
    means = [float(greys(view).mean()) for view in made.item(0, rng(2))["image"]]
    assert np.ptp(means) > 5


def test_crops_of_the_released_code_are_upright_and_those_of_mrm_of_any_shape() -> None:
    for look, low, high in ((studies.REFERS, 0.6, 1.0), (studies.MRM, 0.75, 4 / 3)):
        generator = rng(0)
        shapes = []
        for _ in range(300):
            box = studies.transforms.draw_crop(400, 400, look.scale, look.ratio, generator)
            shapes.append(box.width / box.height)
        assert min(shapes) > low - 0.05
        assert max(shapes) < high + 0.05
        assert np.ptp(shapes) > 0.3


def test_the_contrast_can_have_a_tokenizer_of_its_own(records: list[Record]) -> None:
    own = tokens.with_length(tokens.train_tokenizer(["another", REPORT], 90), 40)
    item = make(records, text_tokenizer=own, hflip="on_with_text_swap").item(1, rng())
    plain, swapped = (own.encode(text) for text in (REPORT, studies.swap_sides(REPORT)))
    assert item["text_ids"].tolist() in (plain.ids, swapped.ids)
    assert item["text_mask"].tolist() in (plain.attention_mask, swapped.attention_mask)
    assert item["text_ids"].tolist() != item["ids"].tolist()


def test_a_study_is_left_out_with_the_path_of_a_radiograph_that_cannot_be_read(
    records: list[Record],
) -> None:
    records[1].image.write_bytes(b"")
    with pytest.raises(BadItem, match=r"a\.png"):
        make(records, train=False).item(1, rng())
