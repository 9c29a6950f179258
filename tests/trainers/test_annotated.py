"""Are the layouts of reports read as they are shipped, and what is broken named?"""

from __future__ import annotations

import csv
import gzip
import json
import logging
from pathlib import Path

import pytest
from PIL import Image

from trainers.config import InputError, MissingError
from trainers.data import annotated, unseen_reports
from trainers.data.annotated import Kept

OPENI = Path("../shared/data/openi")


def picture(path: Path, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side), 80).save(path)


def iu_entry(name: str, part: str, report: str = "The heart is normal. Lungs are clear.") -> dict:
    return {
        "id": name,
        "report": report,
        "image_path": [f"{name}/0.png", f"{name}/1.png"],
        "split": part,
    }


def write_annotation(root: Path, parts: dict[str, list[dict]], folder: str = "images") -> None:
    for entries in parts.values():
        for entry in entries:
            for path in entry["image_path"]:
                picture(root / folder / path)
    (root / "annotation.json").write_text(json.dumps(parts))


def iu(root: Path) -> dict[str, list[dict]]:
    parts = {
        "train": [iu_entry(f"CXR{n}_IM-0{n}", "train") for n in (11, 12, 13)],
        "val": [iu_entry("CXR21_IM-0021", "val")],
        "test": [iu_entry("CXR31_IM-0031-1001", "test")],
    }
    write_annotation(root, parts)
    return parts


def test_r2gens_indiana_file_gives_two_images_a_report(tmp_path):
    iu(tmp_path)
    split = annotated.read(tmp_path, 100)
    assert [len(part) for part in (split.train, split.val, split.test)] == [3, 1, 1]
    assert split.rules == "iu"
    item = split.test[0]
    assert item.name == item.patient == "CXR31_IM-0031-1001"
    assert [path.relative_to(tmp_path).as_posix() for path in item.images] == [
        "images/CXR31_IM-0031-1001/0.png", "images/CXR31_IM-0031-1001/1.png",
    ]  # fmt: skip
    assert all(path.is_file() for path in item.images)
    assert split.facts["records"] == {"train": 3, "val": 1, "test": 1}


def test_r2gens_mimic_file_names_its_patients(tmp_path):
    def entry(subject: int, part: str) -> dict:
        dicom = f"{subject:08x}-0a0b0c0d-11223344-55667788-99aabbcc"
        path = f"p{str(subject)[:2]}/p{subject}/s5{subject}/{dicom}.jpg"
        return {
            "id": dicom, "study_id": 50000000 + subject, "subject_id": subject,
            "report": "FINDINGS are few.\nNone acute.", "image_path": [path], "split": part,
        }  # fmt: skip

    parts = {"train": [entry(10000032, "train")], "val": [entry(10000764, "val")],
             "test": [entry(10000898, "test")]}  # fmt: skip
    write_annotation(tmp_path, parts, folder=".")  # the images beside the file
    split = annotated.read(tmp_path / "annotation.json", 100)
    assert split.rules == "mimic"
    assert split.train[0].patient == "10000032"
    assert split.train[0].images[0].is_file()


def test_an_empty_report_is_left_out_with_a_line(tmp_path, caplog):
    parts = iu(tmp_path)
    parts["train"][1]["report"] = "  "
    write_annotation(tmp_path, parts)
    with caplog.at_level(logging.WARNING):
        split = annotated.read(tmp_path, 100)
    assert len(split.train) == 2
    assert "annotation.json: `CXR12_IM-012` has an empty report" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["train"][0].pop("report"), "entry 0 of `train` has no `report`"),
        (lambda p: p["train"][2].update(image_path="a.png"), r"entry 2 .*CXR13.* `image_path`"),
        (lambda p: p["test"].append(dict(p["train"][0])), "`CXR11_IM-011` is in both train and"),
        (lambda p: p["train"].append(dict(p["train"][0])), "entry 3 of `train` repeats"),
        (lambda p: p.update(holdout=[]), "`holdout` is no part"),
        (lambda p: p.clear(), "holds no lists"),
    ],
)
def test_a_broken_file_is_refused_with_its_entry(tmp_path, change, message):
    parts = iu(tmp_path)
    change(parts)
    (tmp_path / "annotation.json").write_text(json.dumps(parts))
    with pytest.raises(InputError, match=message):
        annotated.read(tmp_path, 100)


def test_what_is_no_json_is_refused(tmp_path):
    (tmp_path / "annotation.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        annotated.read(tmp_path, 100)


def test_without_images_the_folder_is_wrong(tmp_path):
    (tmp_path / "annotation.json").write_text(
        json.dumps({"train": [iu_entry("a", "train"), iu_entry("b", "train")],
                    "val": [iu_entry("c", "val")], "test": [iu_entry("d", "test")]})
    )  # fmt: skip
    with pytest.raises(MissingError, match="none of 4 images"):
        annotated.read(tmp_path, 100)
    with pytest.raises(MissingError, match="neither `annotation"):
        annotated.read(Path(__file__).parent, 100)
    with pytest.raises(MissingError, match="does not exist"):
        annotated.read(tmp_path / "nowhere", 100)


def write_openi(root: Path) -> None:
    (root / "images").mkdir()
    reports = [
        ("1", "None.", "Chest pain", "Heart size is normal.", "No acute disease.", "train"),
        ("2", "", "", "", "", "train"),
        ("3", "", "", "There is a small effusion, left.", "Effusion.", "train"),
        ("4", "", "", "Clear lungs are seen.", "", "val"),
        ("5", "", "", "Without an image it is.", "", "train"),
    ]
    with (root / "reports.csv").open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file)
        table.writerow("uid comparison indication findings impression split".split())
        table.writerows(reports)
    lines = ["image_path,uid,view,report_content"]
    for uid in "1234":
        for view, end in (("lateral", "2001"), ("frontal", "1001")):
            name = f"images/CXR{uid}_IM-2145-{end}.png"
            picture(root / name)
            lines.append(f"{name},{uid},{view},whatever")
    (root / "image_report_pairs.csv").write_text("\n".join(lines) + "\n")


def test_openi_gives_the_findings_with_the_frontal_image_first(tmp_path, caplog):
    write_openi(tmp_path)
    with caplog.at_level(logging.WARNING):
        split = annotated.read(tmp_path, 100)
    assert split.rules == "iu"
    # what it calls validation is tested on, and a training patient is drawn in its place
    assert [item.name for item in split.test] == ["4"]
    assert len(split.train) == len(split.val) == 1
    everyone = {item.name: item for item in (*split.train, *split.val, *split.test)}
    assert [path.name for path in everyone["1"].images] == [
        "CXR1_IM-2145-1001.png", "CXR1_IM-2145-2001.png",
    ]  # fmt: skip
    assert everyone["1"].report == "Heart size is normal."
    assert split.facts["without_image"] == 1
    assert "reports.csv:3: report `2` is too short" in caplog.text
    both = annotated.read(tmp_path, 100, kept=Kept("findings_impression"))
    texts = {item.name: item.report for item in (*both.train, *both.val)}
    assert texts["1"] == "Heart size is normal. No acute disease."


REPORT = "\n".join(
    [
        " " * 33 + "FINAL REPORT",
        " EXAMINATION:  CHEST (PA AND LAT)",
        " ",
        " FINDINGS: ",
        " ",
        " The lungs are clear of focal",
        " consolidation.",
        " ",
        " IMPRESSION: ",
        " ",
        " No acute process.",
        "",
    ]
)


def write_mimic(root: Path) -> None:
    """Four studies in PhysioNet's tree, the second without findings, and MRM's table beside it."""
    meta, split = ["dicom_id,subject_id,study_id,ViewPosition"], []
    split.append("dicom_id,study_id,subject_id,split")
    parts = ("train", "train", "validate", "test")
    for number, part in enumerate(parts):
        subject, study = f"1000003{number}", f"5041426{number}"
        for view in range(2 if part == "test" else 1):
            dicom = f"{number}{view}aa4b1e-9fd8b4a5-1e6d3b1f-3c4a5b6c-7d8e9f00"
            picture(root / f"files/p10/p{subject}/s{study}/{dicom}.jpg")
            meta.append(f"{dicom},{subject},{study},PA")
            split.append(f"{dicom},{study},{subject},{part}")
        text = REPORT if number != 1 else " IMPRESSION: \n\n No acute process.\n"
        (root / f"files/p10/p{subject}/s{study}.txt").write_text(text)
    for name, lines in (("metadata", meta), ("split", split)):
        path = root / f"mimic-cxr-2.0.0-{name}.csv.gz"
        path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    (root / "training.csv").write_text("image_path,report_content\nnowhere.jpg,some text here\n")


def test_mimics_own_split_is_kept_with_one_item_an_image_and_the_findings_alone(tmp_path):
    write_mimic(tmp_path)
    split = annotated.read(tmp_path, 100)
    assert [len(part) for part in (split.train, split.val, split.test)] == [1, 1, 2]
    assert split.rules == "mimic"
    assert {i.report for i in split.test} == {"The lungs are clear of focal consolidation."}
    assert split.test[0].name.startswith("files/p10/p10000033/s50414263/30aa4b1e")
    assert split.facts["empty_reports"] == 1


def write_pairs(root: Path, *, splits: bool) -> None:
    columns = ["image_path", "report_content"] + ["patient_id", "split"] * splits
    rows = []
    for n in range(12):
        name, part = f"pack/images/n{n}.png", ("train", "train", "val", "test")[n % 4]
        picture(root / name)
        text = "normal" if n == 0 else f"a reading number {n}"
        rows.append([name, text] + [f"P{n}", part] * splits)
    for table in ("pairs.csv", "training.csv") if splits else ("training.csv",):
        with (root / table).open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])


def test_a_table_of_pairs_keeps_its_split(tmp_path, caplog):
    write_pairs(tmp_path, splits=True)
    with caplog.at_level(logging.WARNING):
        split = annotated.read(tmp_path, 100)
    assert [len(part) for part in (split.train, split.val, split.test)] == [5, 3, 3]
    assert "pairs.csv:2: the report has fewer than 3 words" in caplog.text
    short = annotated.read(tmp_path, 100, kept=Kept(fewest_words=1))
    assert len(short.train) == 6


def test_a_table_without_splits_is_divided_by_patient_the_same_way_each_time(tmp_path):
    write_pairs(tmp_path, splits=False)
    one, other = (annotated.read(tmp_path / "training.csv", 100, seed=3) for _ in range(2))
    assert one == other
    names = [{i.name for i in part} for part in (one.train, one.val, one.test)]
    assert len(set.union(*names)) == sum(map(len, names)) == 11
    assert all(names)
    assert len(annotated.read(tmp_path, 20, seed=3).train) < len(one.train)


def test_unseen_images_are_found_by_path_or_bare_name(tmp_path, caplog):
    parts = iu(tmp_path)
    named, rules = unseen_reports.named(tmp_path / "annotation.json")
    assert rules == "iu"
    there, missing = unseen_reports.present(named, tmp_path / "images", tmp_path)
    assert ([i.name for i in there], missing) == (["CXR31_IM-0031-1001"], 0)
    assert len(there[0].images) == 2

    labels = tmp_path / "labels.csv"
    labels.write_text("image,report\nx 1.png,Lungs are clear.\ny.png,Heart.\nz.png,\n")
    for name in ("x 1.jpg", "z.jpg"):
        picture(tmp_path / "deep" / "er" / name)
    named, rules = unseen_reports.named(labels)
    with caplog.at_level(logging.WARNING):
        there, missing = unseen_reports.present(named, tmp_path / "deep", labels)
    assert (rules, [i.name for i in there], missing) == ("mimic", ["x 1"], 2)
    assert "image `y.png`" in caplog.text
    assert "`z` of" in caplog.text
    with pytest.raises(MissingError, match="none of the 3 items"):
        unseen_reports.present(named, tmp_path / "images", labels)
    labels.write_text("image,text\na.png,b\n")
    with pytest.raises(InputError, match="expected the columns `image` and `report`"):
        unseen_reports.named(labels)
    assert parts


@pytest.mark.data
def test_the_real_openi_reports_without_images_are_counted():
    if not OPENI.is_dir():
        pytest.skip(f"{OPENI} is not there")
    split = annotated.read(OPENI, 100)
    assert len(split.train) + len(split.val) + len(split.test) == 4
    assert split.facts["without_image"] == 3506
