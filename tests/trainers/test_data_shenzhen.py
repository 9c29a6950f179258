"""Shenzhen: published lists, the validation list as test set, and lungs for part of the images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.config import InputError, MissingError
from trainers.data import cases, shenzhen
from trainers.data.transforms import read_image

REAL = Path("../shared/data/shenzhen")


def name(i):
    return f"CHNCXR_{i:04d}_{i % 2}"


def line(i, suffix="jpg"):
    return f"{name(i)}.{suffix} {1 - i % 2} {i % 2}"


def write_set(root, count=100, masked=lambda i: i % 4 != 0, ending=""):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(count):
        Image.new("L", (8, 8), i).save(root / "images" / f"{name(i)}.png")
        if masked(i):
            Image.new("L", (8, 8), 255).save(root / "masks" / f"{name(i)}{ending}.png")


def write_lists(root, **lists):
    for key, places in lists.items():
        (root / f"{key}_list.txt").write_text("".join(f"{line(i)}\n" for i in places))


def names(part):
    return {case.name for case in part}


def test_three_lists_are_taken_as_they_are(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, train=range(70), val=range(70, 80), test=range(80, 100))
    split = shenzhen.read(tmp_path, 100)
    assert [case.name for case in split.val] == [name(i) for i in range(70, 80)]
    assert split.facts["records"] == {"train": 70, "val": 10, "test": 20}
    assert split.facts["positive"] == {"train": [35], "val": [5], "test": [10]}
    # the lists say .jpg, the files are .png
    assert all(case.image.is_file() for case in split.train)


def test_without_a_test_list_the_validation_list_is_the_test_set_and_that_is_said(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, train=range(80), val=range(80, 100))
    split = shenzhen.read(tmp_path, 100)
    assert names(split.test) == {name(i) for i in range(80, 100)}
    assert split.facts["records"] == {"train": 68, "val": 12, "test": 20}
    assert split.facts["positive"] == {"train": [34], "val": [6], "test": [10]}
    assert names(split.train) | names(split.val) == {name(i) for i in range(80)}
    assert "the validation list is the test set" in split.facts["test"]
    assert shenzhen.read(tmp_path, 100).val == split.val
    assert shenzhen.read(tmp_path, 10).val == split.val
    assert shenzhen.read(tmp_path, 10).facts["records"]["train"] == 6


@pytest.mark.parametrize("ending", ["", "_mask"])
def test_lungs_are_the_same_parts_less_the_images_without_a_mask(tmp_path, ending):
    write_set(tmp_path, ending=ending)
    write_lists(tmp_path, train=range(80), val=range(80, 100))
    whole = shenzhen.read(tmp_path, 100)
    lungs = shenzhen.read(tmp_path, 100, lungs=True)
    unmasked = {name(i) for i in range(0, 100, 4)}
    for part in ("train", "val", "test"):
        assert names(getattr(lungs, part)) == names(getattr(whole, part)) - unmasked
    assert cases.read_mask(lungs.train[0], (8, 8)).all()


def test_patients_of_the_metadata_are_not_torn_apart(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, train=range(80), val=range(80, 100))
    rows = "".join(f"images/{name(i)}.png;P{i // 4}\n" for i in range(100))
    (tmp_path / "metadata.csv").write_text("image_path;patient_id\n" + rows)
    split = shenzhen.read(tmp_path, 100)
    train, val = ({case.patient for case in part} for part in (split.train, split.val))
    assert not train & val
    assert len(train | val) == 20
    (tmp_path / "metadata.csv").write_text(
        f"image_path,patient_id\nimages/{name(2)}.png,P\nimages/{name(90)}.png,P\n"
    )
    with pytest.raises(InputError, match="patient `P` is in both the train and the val list"):
        shenzhen.read(tmp_path, 100)


def test_an_image_in_two_lists_is_refused_under_the_name_of_the_lists(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, train=range(70), val=range(69, 80), test=range(80, 100))
    with pytest.raises(InputError, match=rf"image `{name(69)}` is in both the train and the val"):
        shenzhen.read(tmp_path, 100)


def test_labels_other_than_one_of_two_are_refused_with_the_line(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, train=range(80), val=range(80, 100))
    for labels in ("1 1", "0 0", "1", ""):
        (tmp_path / "val_list.txt").write_text(f"{line(80)}\n{name(81)}.png {labels}\n")
        with pytest.raises(InputError, match=r"val_list.txt:2: labels are `.*`; expected `1 0`"):
            shenzhen.read(tmp_path, 100)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(MissingError, match="holds no images"):
        shenzhen.read(tmp_path, 100)
    write_set(tmp_path, count=20, masked=lambda i: False)
    with pytest.raises(MissingError, match=r"no `train_list.txt`"):
        shenzhen.read(tmp_path, 100)
    write_lists(tmp_path, train=range(10))
    with pytest.raises(MissingError, match=r"but no `val_list.txt`"):
        shenzhen.read(tmp_path, 100)
    write_lists(tmp_path, val=range(10, 20))
    with pytest.raises(MissingError, match="no lung masks"):
        shenzhen.read(tmp_path, 100, lungs=True)
    write_lists(tmp_path, val=range(30, 40))
    with pytest.raises(MissingError, match="none of the 10 images"):
        shenzhen.read(tmp_path, 100)


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="the Shenzhen set is not beside this checkout")
def test_the_real_set_is_read_with_the_published_sizes():
    split = shenzhen.read(REAL, 100)
    assert split.facts["records"] == {"train": 394, "val": 69, "test": 67}
    lungs = shenzhen.read(REAL, 100, lungs=True)
    every = (*lungs.train, *lungs.val, *lungs.test)
    assert len(every) == 434
    image = read_image(every[0].image)
    assert 0.05 < np.mean(cases.read_mask(every[0], image.size)) < 0.5
