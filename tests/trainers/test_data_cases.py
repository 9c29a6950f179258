"""Labelled images: lists as published, leaks refused, and draws that are fair and stay."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainers.config import InputError, MissingError
from trainers.data import cases
from trainers.data.cases import Case, Split
from trainers.data.items import BadItem

REAL = Path("../shared/data/splits")


def some(count, positive=0.3, each=1):
    return [
        Case(f"i{i}", f"p{i // each}", Path(f"{i}.png"), (int(i % 10 < positive * 10),))
        for i in range(count)
    ]


def test_a_mask_may_hold_one_or_255_and_jpegs_blur(tmp_path):
    path = tmp_path / "m.png"
    case = Case("m", "m", tmp_path / "m.jpg", (1,), path)
    for values, expected in (
        ([[0, 1], [1, 0]], [[0, 1], [1, 0]]),
        ([[0, 255], [3, 250]], [[0, 1], [0, 1]]),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
    ):
        Image.fromarray(np.array(values, dtype=np.uint8)).save(path)
        assert cases.read_mask(case, (2, 2)).tolist() == expected


def test_a_mask_of_another_size_is_a_bad_item_that_names_both_sizes(tmp_path):
    path = tmp_path / "掩 膜.png"
    Image.new("L", (8, 6)).save(path)
    case = Case("m", "m", tmp_path / "m.jpg", (0,), path)
    with pytest.raises(BadItem, match="is 8 x 6 pixels, but its image is 6 x 8") as caught:
        cases.read_mask(case, (6, 8))
    assert caught.value.path == str(path)


def test_run_lengths_that_do_not_fit_and_a_broken_mask_are_bad_items(tmp_path):
    case = Case("m", "m", tmp_path / "m.dcm", (1,), ("0 50",))
    with pytest.raises(BadItem, match="beyond 5 x 5"):
        cases.read_mask(case, (5, 5))
    (tmp_path / "m.png").write_bytes(b"")
    with pytest.raises(BadItem, match="the file is empty"):
        cases.read_mask(case._replace(mask=tmp_path / "m.png"), (5, 5))
    with pytest.raises(BadItem, match="has no mask"):
        cases.read_mask(case._replace(mask=None), (5, 5))


def test_a_list_holds_names_or_paths_with_or_without_labels(tmp_path):
    path = tmp_path / "train_list.txt"
    path.write_text(
        "\ufeff1.2.840.10008\n\nfolder/胸 片 1.png 1 0\n00000001_000.png 0 1 1 \n"
        "stage_2_train_images/ab-cd.dcm 1 \r\n00000001_000.png 0 1 1\n",
        encoding="utf-8",
    )
    assert [(line.name, line.fields) for line in cases.read_list(path)] == [
        ("1.2.840.10008", ()),
        ("胸 片 1", ("1", "0")),
        ("00000001_000", ("0", "1", "1")),
        ("ab-cd", ("1",)),
    ]


def test_a_list_with_one_image_labelled_twice_is_refused_with_both_lines(tmp_path):
    path = tmp_path / "train_list.txt"
    path.write_text("a.png 0 1\nb.png 0 1\na.png 1 0\n")
    with pytest.raises(InputError, match=r"train_list.txt:3: `a` .*first at line 1"):
        cases.read_list(path)


def test_lists_are_found_in_the_folder_or_in_splits_and_only_all_together(tmp_path):
    names = ("train_list.txt", "val_list.txt")
    assert cases.needed_lists(tmp_path, names) is None
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / names[0]).touch()
    with pytest.raises(MissingError, match=r"holds `train_list.txt`, but no `val_list.txt`"):
        cases.needed_lists(tmp_path, names)
    (tmp_path / names[1]).touch()
    assert cases.needed_lists(tmp_path, names) == [
        tmp_path / "splits" / names[0],
        tmp_path / names[1],
    ]


def test_an_image_in_two_lists_is_refused_by_name_and_counted_where_allowed():
    every = some(10)
    split = Split(every[:6], every[5:8], every[8:])
    with pytest.raises(InputError, match="image `i5` of patient `p5` is in both the train"):
        cases.refuse_leaks(split, allow_overlap=False)
    cases.refuse_leaks(split, allow_overlap=True)
    assert split.facts["shared_images"] == {"train+val": 1}


def test_a_patient_in_two_lists_is_refused():
    every = some(6, each=2)
    with pytest.raises(InputError, match="patient `p1` is in both the train and the test list"):
        cases.refuse_leaks(Split(every[:3], [], every[3:]), allow_overlap=False)


@settings(deadline=None)
@given(
    count=st.integers(2, 300),
    each=st.integers(1, 4),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_a_draw_divides_patients_and_keeps_the_share_of_each_label(count, each, share, seed):
    every = some(count, each=each)
    first, rest = cases.draw(every, share, seed=seed)
    assert sorted(first + rest) == sorted(every)
    assert not {c.patient for c in first} & {c.patient for c in rest}
    label = {}
    for case in every:
        label[case.patient] = max(label.get(case.patient, 0), case.labels[0])
    for value in (0, 1):
        patients = [p for p in label if label[p] == value]
        taken = {c.patient for c in first if label[c.patient] == value}
        assert abs(len(taken) - share * len(patients)) <= 1


def test_draws_are_the_same_every_time_nested_and_differ_by_seed():
    every = some(400)
    small, _ = cases.draw(every, 0.01, seed=0)
    large, _ = cases.draw(every, 0.1, seed=0)
    assert cases.draw(every[::-1], 0.1, seed=0)[0][::-1] == large
    assert set(small) < set(large)
    assert len(large) == 40
    assert cases.draw(every, 0.1, seed=1)[0] != large


def test_the_ratio_is_the_published_list_where_there_is_one(tmp_path):
    train = some(200)
    drawn, facts = cases.take_ratio(tmp_path, train, 10, seed=0)
    assert len(drawn) == 20
    assert "drawn" in facts["rule"]
    (tmp_path / "train_10.txt").write_text("i7\ni3\n")
    listed, facts = cases.take_ratio(tmp_path, train, 10, seed=0)
    assert [case.name for case in listed] == ["i7", "i3"]
    assert (facts["rule"], facts["images"]) == ("list", 2)
    assert cases.take_ratio(tmp_path, train, 100, seed=0)[0] == train
    (tmp_path / "train_10.txt").write_text("i7\nx9\n")
    with pytest.raises(InputError, match=r"train_10.txt:2: `x9` is not in the training list"):
        cases.take_ratio(tmp_path, train, 10, seed=0)
    for ratio in (0, 101):
        with pytest.raises(InputError, match="expected 1 to 100"):
            cases.take_ratio(tmp_path, train, ratio, seed=0)


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="published lists are not beside this checkout")
def test_the_published_siim_lists_leak_as_the_literature_counts():
    lists = {
        name: [line.name for line in cases.read_list(REAL / "mrm_siim" / f"{name}.txt")]
        for name in ("train_list", "train_10", "val_list", "test_list")
    }
    assert [len(names) for names in lists.values()] == [7969, 797, 1898, 1904]
    shared = {pair: len(names) for pair, names in cases.overlaps(lists).items()}
    assert shared == {
        ("train_list", "train_10"): 797,
        ("train_list", "val_list"): 478,
        ("train_list", "test_list"): 494,
        ("train_10", "val_list"): 55,
        ("train_10", "test_list"): 49,
        ("val_list", "test_list"): 124,
    }


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="published lists are not beside this checkout")
def test_the_published_nih_lists_are_disjoint_and_the_one_percent_is_not_part_of_the_ten():
    lists = {
        name: {line.name for line in cases.read_list(REAL / "mrm_nih" / f"{name}.txt")}
        for name in ("train_list", "val_list", "test_list", "train_10", "train_1")
    }
    assert [len(names) for names in lists.values()] == [78468, 11219, 22433, 7847, 785]
    assert len(lists["train_1"] & lists["train_10"]) == 77
    held_out = {k: lists[k] for k in ("train_list", "val_list", "test_list")}
    assert cases.overlaps(held_out) == {}
