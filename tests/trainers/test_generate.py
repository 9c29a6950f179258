from __future__ import annotations

import csv
import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from trainers.data import cases, covid, covid_layout, generate, records, rle, shenzhen, siim, tables
from trainers.data.findings import LABELS

COUNTS = ["--mimic", "30", "--nih", "80", "--siim", "40", "--rsna", "30", "--shenzhen", "40",
          "--covid", "60"]  # fmt: skip
SMALL = ["--count", "30", *COUNTS, "--image_px", "64"]
REAL = Path("../shared/data")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated") / "data"
    assert generate.main(["--out", str(out), *SMALL, "--workers", "1"]) == 0
    return out


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def table(path: Path) -> list[dict[str, str]]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return list(csv.DictReader(text.splitlines()))


def drawn(folder: Path) -> list[dict]:
    return [json.loads(line) for line in lines(folder / "drawn.jsonl")]


def test_two_processes_write_the_same_bytes_as_one(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    command = [sys.executable, "-P", "-m", "trainers.data.generate", "--out", str(out)]
    subprocess.run([*command, *SMALL, "--workers", "2"], check=True, capture_output=True)
    assert hashes(out) == hashes(made)


def test_two_seeds_share_no_picture(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "other"
    small = ["--count", "12", "--nih", "0", "--rsna", "0", "--image_px", "64", "--workers", "1"]
    assert generate.main(["--out", str(out), *small, "--seed", "1"]) == 0
    pictures = {h for name, h in hashes(out).items() if name.endswith((".jpg", ".png", ".dcm"))}
    assert pictures
    assert not pictures & set(hashes(made).values())


def test_every_set_has_as_many_pictures_as_asked_for(made: Path) -> None:
    counts = json.loads((made / "generated.json").read_text())["images"]
    assert counts == {"mimic_cxr": 36, "nih": 80, "siim": 40, "rsna": 30, "shenzhen": 40,
                      "covid": 60}  # fmt: skip
    for folder, suffix in (("mimic_cxr", "jpg"), ("nih", "png"), ("siim", "dcm"), ("rsna", "dcm")):
        assert len(list((made / folder).rglob(f"*.{suffix}"))) == counts[folder]
    assert len(list((made / "shenzhen/images").glob("*.jpg"))) == 40
    assert len(list((made / "covid/images").glob("*.jpg"))) == 60


def test_no_patient_is_in_two_splits(made: Path) -> None:
    split = table(made / "mimic_cxr/mimic-cxr-2.0.0-split.csv.gz")
    assert {r["split"] for r in split} == {"train", "validate", "test"}
    assert len({(r["subject_id"], r["split"]) for r in split}) == len(
        {r["subject_id"] for r in split}
    )
    of: dict[str, set[str]] = {}
    for name in ("train_list", "val_list", "mrm_test_list"):
        for line in lines(made / f"nih/{name}.txt"):
            of.setdefault(line[:8], set()).add(name)
    assert all(len(parts) == 1 for parts in of.values())


def test_some_patients_come_more_than_once(made: Path) -> None:
    rows = table(made / "mimic_cxr/mimic-cxr-2.0.0-metadata.csv.gz")
    assert len({r["subject_id"] for r in rows}) < len({r["study_id"] for r in rows}) <= len(rows)


@pytest.mark.parametrize("folder", ["nih", "siim", "rsna", "shenzhen"])
def test_the_small_lists_lie_in_one_another(made: Path, folder: str) -> None:
    whole, tenth, hundredth = (
        lines(made / folder / f"{name}.txt") for name in ("train_list", "train_10", "train_1")
    )
    assert set(hundredth) <= set(tenth) <= set(whole)
    assert 0 < len(hundredth) <= len(tenth) < len(set(whole)) + 1


def test_the_smallest_list_has_positives_of_every_label(made: Path) -> None:
    rows = [line.split()[1:] for line in lines(made / "nih/train_1.txt")]
    there = [line.split()[1:] for line in lines(made / "nih/train_list.txt")]
    for column in range(14):
        whole = sum(r[column] == "1" for r in there)
        assert sum(r[column] == "1" for r in rows) >= min(3, whole) > 0


def test_the_mimic_reader_finds_every_pair(made: Path) -> None:
    found = records.read_records(made / "mimic_cxr")
    assert len(found.train) + len(found.val) == 30
    assert all(r.report.startswith("FINAL REPORT ") for r in found.train)


def test_the_report_file_holds_the_words_of_the_training_table(made: Path) -> None:
    rows = table(made / "mimic_cxr/training.csv")
    assert list(rows[0]) == ["image_path", "report_content"]
    for row in rows:
        text = (made / "mimic_cxr" / Path(row["image_path"]).parent).with_suffix(".txt").read_text()
        assert " ".join(text.split()) == row["report_content"]
        assert "\n FINDINGS: \n" in text
        assert "\n IMPRESSION: \n" in text


@pytest.mark.parametrize("ratio", [1, 10, 100])
def test_the_siim_reader_takes_the_lists(made: Path, ratio: int) -> None:
    split = siim.read(made / "siim", ratio)
    assert (len(split.val), len(split.test)) == (4, 8)
    assert {c.labels[0] for c in split.train} == {0, 1}


def test_the_run_lengths_describe_the_drawn_pneumothorax(made: Path) -> None:
    known, _ = siim.index(made / "siim")
    told = {Path(d["image"]).stem: d for d in drawn(made) if d["set"] == "siim"}
    for name, case in known.items():
        mask = cases.read_mask(case, (64, 64))
        boxes = [b for label, b in told[name]["boxes"] if label == "Pneumothorax"]
        assert bool(boxes) == bool(mask.any())
        for x, y, width, height in boxes:
            inside = mask[int(y) : int(y + height), int(x) : int(x + width)]
            assert inside.sum() == mask.sum()


def test_a_pneumothorax_lies_within_the_picture_on_its_side(made: Path) -> None:
    known, _ = siim.index(made / "siim")
    checked = 0
    for d in drawn(made):
        found = [f for f in d["findings"] if f["name"] == "Pneumothorax"]
        if d["set"] == "siim" and found:
            mask = cases.read_mask(known[Path(d["image"]).stem], (64, 64))
            centre = np.argwhere(mask)[:, 1].mean()
            middle = 32 * (1 + d["view"]["dx"] * d["view"]["scale"])
            assert (centre > middle) == (found[0]["side"] == "left")
            checked += 1
    assert checked > 10


def test_the_siim_table_looks_like_the_real_one(made: Path) -> None:
    text = (made / "siim/train-rle.csv").read_text()
    assert text.startswith("ImageId, EncodedPixels\n")
    assert all(row.split(",")[1].startswith(" ") for row in text.splitlines()[1:])
    assert any(row.endswith(", -1") for row in text.splitlines())
    paths = list((made / "siim").rglob("*.dcm"))
    assert {len(p.relative_to(made / "siim").parts) for p in paths} == {4}
    header = pydicom.dcmread(paths[0])
    assert header.SOPInstanceUID == paths[0].stem
    assert header.SeriesInstanceUID == paths[0].parent.name
    assert header.pixel_array.shape == (64, 64)


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="no real radiographs beside the checkout")
@pytest.mark.parametrize(
    ("real", "own"),
    [
        ("siim_real/train-rle-sample.csv", "siim/train-rle.csv"),
        ("nih/Data_Entry_2017_v2020_subset.csv", "nih/Data_Entry_2017_v2020.csv"),
        ("nih/BBox_List_2017_subset.csv", "nih/BBox_List_2017.csv"),
        ("shenzhen/metadata.csv", "shenzhen/metadata.csv"),
        ("shenzhen/training.csv", "mimic_cxr/training.csv"),
    ],
)
def test_headers_equal_the_real_ones(made: Path, real: str, own: str) -> None:
    first, second = ((p).read_bytes().split(b"\n")[0] for p in (REAL / real, made / own))
    assert first.rstrip(b"\r") == second


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="no real radiographs beside the checkout")
def test_a_dicom_has_the_tags_of_a_real_one(made: Path) -> None:
    real = pydicom.dcmread(next((REAL / "siim_real").glob("1.*.dcm")))
    own = pydicom.dcmread(next((made / "siim").rglob("*.dcm")))
    assert {e.keyword for e in own} == {e.keyword for e in real}
    assert own.file_meta.TransferSyntaxUID == real.file_meta.TransferSyntaxUID
    for keyword in ("SOPClassUID", "Modality", "BitsStored", "SamplesPerPixel", "ConversionType"):
        assert own[keyword].value == real[keyword].value


def test_the_shenzhen_reader_takes_labels_and_lung_masks(made: Path) -> None:
    split = shenzhen.read(made / "shenzhen", 100)
    whole = [*split.train, *split.val, *split.test]
    assert len(whole) == 40
    assert sum(c.labels[0] for c in whole) == 20
    assert all(c.name.endswith(f"_{c.labels[0]}") for c in whole)
    masked = [c for c in whole if isinstance(c.mask, Path)]
    assert 30 < len(masked) < 40
    for case in masked:
        mask = cases.read_mask(case, (64, 64))
        assert 0.1 < mask.mean() < 0.45
        assert mask[:, :32].any()
        assert mask[:, 32:].any()


def test_tuberculosis_lies_where_the_reading_says(made: Path) -> None:
    told = {d["image"]: d for d in drawn(made) if d["set"] == "shenzhen"}
    for row in table(made / "shenzhen/metadata.csv"):
        found = [f for f in told[row["image_path"]]["findings"] if f["name"] == "Tuberculosis"]
        assert bool(found) == (row["tb"] == "1") == (row["findings"] != "normal")
        for f in found:
            assert f["side"] in row["findings"]
            assert ("upper" in row["findings"]) == (f["zone"] == "upper")


def test_rsna_boxes_lie_in_the_picture_and_agree_with_the_classes(made: Path) -> None:
    boxes = table(made / "rsna/stage_2_train_labels.csv")
    kinds = {r["patientId"]: r["class"] for r in table(
        made / "rsna/stage_2_detailed_class_info.csv")}  # fmt: skip
    listed = {
        line.split()[0].split("/")[1].removesuffix(".dcm"): line.split()[1]
        for name in ("train_list", "val_list", "test_list")
        for line in lines(made / f"rsna/{name}.txt")
    }
    assert {r["patientId"] for r in boxes} == set(kinds) == set(listed)
    assert set(kinds.values()) == {"Normal", "No Lung Opacity / Not Normal", "Lung Opacity"}
    for row in boxes:
        assert (row["Target"] == "1") == (kinds[row["patientId"]] == "Lung Opacity")
        assert row["Target"] == listed[row["patientId"]]
        if row["Target"] == "1":
            x, y, width, height = (float(row[k]) for k in ("x", "y", "width", "height"))
            assert 0 <= x < x + width <= 64
            assert 0 <= y < y + height <= 64


def test_nih_lists_and_table_say_the_same(made: Path) -> None:
    entries = {
        row["Image Index"]: row for _, row in tables.rows(
            made / "nih/Data_Entry_2017_v2020.csv", ("Image Index", "Finding Labels"))
    }  # fmt: skip
    mrm = [line.split() for name in ("train_list", "val_list", "mrm_test_list")
           for line in lines(made / f"nih/{name}.txt")]  # fmt: skip
    official = lines(made / "nih/train_val_list.txt") + lines(made / "nih/test_list.txt")
    assert sorted(official) == sorted(entries) == sorted(row[0] for row in mrm)
    for name, *bits in mrm:
        named = {label for label, bit in zip(LABELS, bits, strict=True) if bit == "1"}
        assert entries[name]["Finding Labels"] == ("|".join(sorted(named)) or "No Finding")
        assert (made / "nih/images" / name).is_file()


def test_siim_negatives_have_other_findings_as_often_as_positives(made: Path) -> None:
    others = {True: [0, 0], False: [0, 0]}
    for job in generate.COLLECTIONS["siim"].plan(3, 2000, 64):
        has = "Pneumothorax" in job.names
        others[has][0] += 1
        others[has][1] += len(job.names) > has
    rates = [ill / count for count, ill in others.values()]
    assert abs(rates[0] - rates[1]) < 0.05
    assert min(rates) > 0.5


@pytest.mark.parametrize("what", ["devices", "gain", "projection", "scale"])
def test_exposure_and_devices_tell_nothing_of_the_finding(what: str) -> None:
    jobs = generate.COLLECTIONS["siim"].plan(3, 3000, 64)
    value = {
        "devices": lambda j: len(j.worn),
        "gain": lambda j: j.view.gain,
        "projection": lambda j: j.view.projection == "AP",
        "scale": lambda j: j.view.scale,
    }[what]
    numbers = np.array([float(value(j)) for j in jobs])
    sick = np.array([j.facts["positive"] for j in jobs])
    difference = numbers[sick].mean() - numbers[~sick].mean()
    assert abs(difference) < 4 * numbers.std() * (1 / sick.sum() + 1 / (~sick).sum()) ** 0.5


def test_pictures_differ_in_brightness_but_are_not_clipped(made: Path) -> None:
    grey = [np.asarray(Image.open(p)) for p in sorted((made / "nih/images").glob("*.png"))]
    means = [g.mean() for g in grey]
    assert np.std(means) > 8
    assert np.mean([(g == 255).mean() for g in grey]) < 0.05


@pytest.mark.parametrize("question", ["covid", "viral"])
def test_the_covid_reader_divides_the_collections_own_table_by_patient(
    made: Path, question: covid.Question
) -> None:
    split = covid.read(made / "covid", question, 100)
    assert "drawn by group" in split.facts["by"]
    parts = [{case.patient for case in part} for part in (split.train, split.val, split.test)]
    assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])
    for part in (split.train, split.val, split.test):
        assert {case.labels for case in part} == {(0,), (1,)}
        assert all(case.image.is_file() for case in part)
    whole = [*split.train, *split.val, *split.test]
    assert len(whole) < 60 if question == "viral" else len(whole) == 60
    assert len(set().union(*parts)) < len(whole)  # some come more than once


def test_the_covid_table_says_what_was_drawn(made: Path) -> None:
    told = {d["image"]: d for d in drawn(made) if d["set"] == "covid"}
    text = (made / "covid/metadata.csv").read_text()
    assert text.startswith(covid_layout.HEADER + "\n")
    for row in table(made / "covid/metadata.csv"):
        found = told[f"{row['folder']}/{row['filename']}"]["findings"]
        names = [f["name"] for f in found]
        if row["finding"].endswith("COVID-19"):
            assert (names, found[0]["side"]) == (["Infiltration"], "bilateral")
            assert found[0]["zone"] in ("mid", "lower")
        assert ("Consolidation" in names) == ("Bacterial" in row["finding"])
        assert (names == []) == (row["finding"] == "No Finding")
        assert f"{row['age']}-year-old" in row["clinical_notes"]
        assert row["modality"] == "X-ray"


def test_a_folder_of_a_version_with_fewer_sets_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "old"
    small = ["--count", "12", "--nih", "0", "--siim", "0", "--rsna", "0", "--shenzhen", "0"]
    line = ["--out", str(out), *small, "--image_px", "64", "--workers", "1"]
    assert generate.main(line) == 0
    assert not (out / "covid").exists()
    known = json.loads((out / "generated.json").read_text())
    del known["settings"]["covid"]
    (out / "generated.json").write_text(json.dumps(known))
    assert generate.main(line) == 0
    assert generate.main([*line, "--covid", "12"]) == 2


def test_a_finished_folder_is_left_alone(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(made)
    assert generate.main(["--out", str(made), *SMALL]) == 0
    assert "already" in capsys.readouterr().err
    assert generate.main(["--out", str(made), *SMALL, "--seed", "5"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert hashes(made) == before


def test_progress_is_json_lines_that_end_with_the_counts(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "trainers.data.generate", "--out", str(tmp_path / "a")]
    small = ["--count", "12", "--nih", "0", "--siim", "0", "--rsna", "0", "--image_px", "64"]
    done = subprocess.run([*command, *small, "--json-progress"], check=True, capture_output=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[-1]["kind"] == "end"
    assert told[-1]["images"] == {"mimic_cxr": 16, "shenzhen": 12}
    assert told[-2]["done"] == told[-2]["total"] == 28


@pytest.mark.parametrize("bad", [["--count", "0"], ["--workers", "x"], ["--siim", "-1"], ["--x"]])
def test_a_wrong_option_exits_with_2(bad: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        generate.main(["--out", str(tmp_path / "a"), *bad])
    assert stopped.value.code == 2
    assert not (tmp_path / "a").exists()


def test_a_mask_of_two_parts_makes_two_rows(made: Path) -> None:
    from trainers.data.pictures import _runs

    mask = np.zeros((64, 64), bool)
    mask[5:20, 5:15] = mask[40:60, 30:50] = True
    rows = _runs(mask)
    assert len(rows) == 2
    assert (rle.union(rows, 64, 64) == mask).all()
