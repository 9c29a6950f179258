"""A test image that an encoder was pre-trained on is found: by pixels, as a copy, by patient."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainers.data import across, check, kept


def picture(seed: int, side: int = 64) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 256, (9, 9), dtype=np.uint8)
    return Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, Path]:
    """Records of twelve images, and Shenzhen's layout with thirty others."""
    records, judged = tmp_path / "records", tmp_path / "判断 set"
    with_header = [("image_path", "report_content", "patient_id", "split")]
    for i in range(12):
        save(records / "images" / f"r {i}.png", picture(1000 + i))
        split = "train" if i < 10 else "validate"
        with_header.append((f"images/r {i}.png", f"Report {i}.", f"person-{i}", split))
    with (records / "training.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(with_header)
    for i in range(30):
        save(judged / "images" / f"c{i}.png", picture(i))
    for part, places in (("train", range(20)), ("val", range(20, 30))):
        lines = "".join(f"c{i}.png {1 - i % 2} {i % 2}\n" for i in places)
        (judged / f"{part}_list.txt").write_text(lines)
    return {"mimic_cxr": records, "shenzhen": judged}


def compared(capsys: Any, sets: dict[str, Path], *more: str) -> tuple[int, dict[str, Any], str]:
    words = [f"--set={name}={root}" for name, root in sets.items()]
    status = across.main([*words, "--json", *more])
    out, err = capsys.readouterr()
    return status, json.loads(out), err


def test_sets_that_share_nothing_pass(sets: dict[str, Path], capsys: Any) -> None:
    status, report, _ = compared(capsys, sets)
    assert (status, report["faults"], report["notes"], report["shared"]) == (0, [], [], [])
    assert report["facts"]["compared"] == {"mimic_cxr": 12, "shenzhen": 30}


def test_a_test_image_that_was_pretrained_on_is_a_fault_however_it_is_called(
    sets: dict[str, Path], capsys: Any
) -> None:
    save(sets["mimic_cxr"] / "images" / "r 3.png", picture(25))
    small = picture(27, side=256).resize((200, 200))
    save(sets["mimic_cxr"] / "images" / "r 4.png", small)
    status, report, _ = compared(capsys, sets)
    assert status == 1
    found = {(one["part"], one["pretraining_part"], one["by"]): one for one in report["shared"]}
    assert set(found) == {("test", "train", "pixels"), ("test", "train", "near copies")}
    one = found["test", "train", "pixels"]
    assert (one["count"], one["pairs"][0][1]) == (1, "c25")
    assert one["pairs"][0][0].endswith("r 3.png")
    assert found["test", "train", "near copies"]["pairs"][0][1] == "c27"
    said = [fault["message"] for fault in report["faults"]]
    assert said[0] == "1 images of shenzhen test are in mimic_cxr train, pixel for pixel: c25"
    assert report["faults"][0]["path"] == str(sets["shenzhen"])


def test_an_image_to_fine_tune_on_is_noted_and_no_fault(sets: dict[str, Path], capsys: Any) -> None:
    save(sets["mimic_cxr"] / "images" / "r 11.png", picture(5))
    status, report, _ = compared(capsys, sets)
    assert (status, report["faults"]) == (0, [])
    parts = [(one["part"], one["pretraining_part"]) for one in report["shared"]]
    assert parts in ([("train", "val")], [("val", "val")])
    assert "are in mimic_cxr val, pixel for pixel: c5" in report["notes"][0]


def test_a_patient_in_both_is_found_by_name_and_bare_numbers_are_not_compared(
    sets: dict[str, Path], capsys: Any
) -> None:
    rows = "".join(f"c{i}.png,{'person-2' if i == 22 else i}\n" for i in range(30))
    (sets["shenzhen"] / "metadata.csv").write_text(f"image_path,patient_id\n{rows}")
    table = sets["mimic_cxr"] / "training.csv"
    table.write_text(table.read_text().replace("person-3", "23"))
    status, report, _ = compared(capsys, sets)
    assert status == 1
    assert [(one["by"], one["pairs"]) for one in report["shared"]] == [
        ("patients", [["person-2", "person-2"]])
    ]


def test_images_are_opened_once_and_again_when_their_files_change(
    sets: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    folder = tmp_path / "hashes"
    _, _, first = compared(capsys, sets, "--kept", str(folder))
    assert "opened 30 of 30 images" in first
    _, report, second = compared(capsys, sets, "--kept", str(folder))
    assert "opened" not in second
    assert report["facts"]["compared"] == {"mimic_cxr": 12, "shenzhen": 30}
    save(sets["mimic_cxr"] / "images" / "r 3.png", picture(25, side=65))
    status, _, third = compared(capsys, sets, "--kept", str(folder))
    assert (status, "opened 1 of 1 images" in third) == (1, True)


def test_a_check_of_one_set_keeps_what_comparing_needs(
    sets: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    folder = tmp_path / "hashes"
    for name, root in sets.items():
        words = ["--dataset", name, "--data_path", str(root), "--kept", str(folder / f"{name}.tsv")]
        assert check.main([*words, "--json"]) == 0
    capsys.readouterr()
    _, _, said = compared(capsys, sets, "--kept", str(folder))
    assert "opened" not in said


def test_damaged_lines_are_forgotten_and_the_others_kept(tmp_path: Path) -> None:
    images = [save(tmp_path / f"{i}.png", picture(i)) for i in range(3)]
    file = tmp_path / "kept.tsv"
    kept.write(file, {path: kept.Hashes(b"p" * 16, b"h" * 32) for path in images})
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0][:-5], "nonsense", lines[1], lines[2] + "zz"]) + "\n")
    assert set(kept.read(file)) == {images[0], images[1]} - {images[0]}
    os.utime(images[1], ns=(1, 1))
    assert kept.read(file) == {}
    assert kept.read(tmp_path / "none.tsv") == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "mimic_cxr=x"], "names mimic_cxr and another"),
        (["--set", "siim=x", "--set", "nih=y"], "names mimic_cxr and another"),
        (["--set", "mimic_cxr=x", "--set", "nothing=y"], "names mimic_cxr and another"),
    ],
)
def test_what_cannot_be_compared_is_refused(words: list[str], said: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        across.main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_set_that_is_not_there_is_named(sets: dict[str, Path], capsys: Any) -> None:
    words = [f"--set=mimic_cxr={sets['mimic_cxr']}", "--set=shenzhen=/nowhere"]
    assert across.main(words) == 3
    assert "/nowhere does not exist" in capsys.readouterr().err


REAL = Path("../shared/data")


@pytest.mark.data
@pytest.mark.long
@pytest.mark.skipif(not REAL.is_dir(), reason="real radiographs are not beside this checkout")
def test_real_packs_share_what_they_are_known_to_share(capsys: Any) -> None:
    sets = {"mimic_cxr": REAL, "shenzhen": REAL / "shenzhen", "siim": REAL / "siim_format"}
    status, report, _ = compared(capsys, sets)
    counts = {
        (one["set"], one["part"], one["by"]): one["count"]
        for one in report["shared"]
        if one["pretraining_part"] == "train"
    }
    # Shenzhen's own test list is in no training table; lung masks in SIIM's format are its images
    assert status == 1
    assert not any(key[:2] == ("shenzhen", "test") for key in counts)
    assert counts["siim", "test", "near copies"] == 4
    assert counts["shenzhen", "train", "pixels"] == 373
