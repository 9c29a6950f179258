"""Checking a folder: what is broken or leaks is a fault, named; what is well passes."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainers.catalog import DATASETS
from trainers.data import check, likeness
from trainers.data.inventory import FINDINGS, READERS

REAL = Path("../shared/data")
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason="the sample of real radiographs is not beside this checkout"
)


def picture(seed, side=48):
    rough = np.random.default_rng(seed).integers(0, 256, (9, 9), dtype=np.uint8)
    return Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC)


def save(path, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path, **options)
    return path


def run(capsys, dataset, root, *more):
    status = check.main(["--dataset", dataset, "--data_path", str(root), "--json", *more])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else None, err


def write_shenzhen(root):
    for i in range(30):
        save(root / "images" / f"c{i}.png", i)
        if i % 2:
            (root / "masks").mkdir(exist_ok=True)
            Image.new("L", (48, 48), 255).save(root / "masks" / f"c{i}.png")
    for part, places in (("train", range(20)), ("val", range(20, 30))):
        lines = "".join(f"c{i}.png {1 - i % 2} {i % 2}\n" for i in places)
        (root / f"{part}_list.txt").write_text(lines)


def write_records(root):
    rows = [
        (f"图像/{i} a.jpg", f"Report {i}.", f"p{i // 2}", "train" if i < 14 else "test")
        for i in range(20)
    ]
    for row in rows:
        save(root / row[0], int(row[0].split("/")[1].split()[0]))
    with (root / "training.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(("image_path", "report_content", "patient_id", "split"))
        out.writerows(rows)


def write_nih(root):
    folders = ("images_001/images", "images_002/images")
    rows, lists = [], {"train_list": [], "val_list": [], "test_list": []}
    for i in range(30):
        name = f"{i // 2:08d}_{i % 2:03d}.png"
        save(root / folders[i % 2] / name, i)
        rows.append(f"{name},{'Mass|Hernia' if i % 3 == 0 else 'No Finding'},0,{i // 2},50,F,PA")
        labels = [int(i % 3 == 0 and f in ("Mass", "Hernia")) for f in FINDINGS]
        part = ("train_list", "val_list", "test_list")[0 if i < 20 else 1 if i < 24 else 2]
        lists[part].append(f"{name} {' '.join(map(str, labels))}")
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View"
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *rows]) + "\n")
    lists["train_1"] = lists["train_list"][:2]
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")


def write_rsna(root):
    rows = ["patientId,x,y,width,height,Target"]
    for i in range(10):
        save(root / "stage_2_train_images" / f"u-{i}.png", i)
        boxes = [f"u-{i},3.0,4.0,5.0,6.0,1", f"u-{i},20.0,4.0,5.0,6.0,1"]
        rows += boxes if i % 2 else [f"u-{i},,,,,0"]
    (root / "stage_2_train_labels.csv").write_text("\n".join(rows) + "\n")


def write_siim(root):
    rows = ["ImageId, EncodedPixels"]
    for i in range(30):
        save(root / "images" / f"1.2.{i}.png", i)
        rows.append(f"1.2.{i}, {'100 50' if i % 2 else '-1'}")
    (root / "train-rle.csv").write_text("\n".join(rows) + "\n")


def write_covid(root):
    rows = ["image_path,patient_id,finding,is_covid,is_viral,split"]
    for i in range(24):
        save(root / "images" / f"{i:03d}_图 {i}.png", i)
        part = "train" if i < 12 else "val" if i < 18 else "test"
        covid = int(i % 3 > 0)
        viral = 1 if covid else (0, "")[i % 2]
        rows.append(f"images/{i:03d}_图 {i}.png,P{i // 2},,{covid},{viral},{part}")
        if i % 2:
            (root / "masks").mkdir(exist_ok=True)
            Image.new("L", (48, 48), 255).save(root / "masks" / f"{i:03d}_图 {i}.png")
    (root / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


WRITERS = {
    "mimic_cxr": write_records,
    "siim": write_siim,
    "shenzhen": write_shenzhen,
    "nih": write_nih,
    "covid": write_covid,
    "rsna": write_rsna,
}


def test_every_data_set_of_the_catalog_can_be_checked():
    assert set(READERS) == set(DATASETS) == set(WRITERS)


@pytest.mark.parametrize("dataset", WRITERS)
def test_a_sound_folder_passes_and_a_broken_image_in_it_is_a_fault(capsys, tmp_path, dataset):
    WRITERS[dataset](tmp_path)
    status, report, err = run(capsys, dataset, tmp_path)
    assert report["faults"] == []
    assert status == 0
    assert report["dataset"] == dataset
    assert report["root"] == str(tmp_path)
    count = report["facts"]["opened"]
    assert f"opened {count} of {count} images" in err

    images = sorted(p for p in tmp_path.rglob("*.*g") if p.parent.name != "masks")
    assert len(images) == count
    images[1].write_bytes(b"")
    images[2].write_bytes(images[2].read_bytes()[:200])
    Image.new("L", (48, 48), 7).save(images[3])
    status, report, _ = run(capsys, dataset, tmp_path)
    assert status == 1
    told = {fault["path"]: fault["message"] for fault in report["faults"]}
    assert told.keys() == {str(path) for path in images[1:4]}
    assert told[str(images[1])] == "the file is empty"
    assert "decoded" in told[str(images[2])]
    assert re.fullmatch("shows nothing: every pixel is [678]", told[str(images[3])])


def test_counts_labels_and_masks_are_reported(capsys, tmp_path):
    write_shenzhen(tmp_path)
    _, report, _ = run(capsys, "shenzhen", tmp_path)
    facts = report["facts"]
    assert facts["records"] == {"train": 16, "val": 4, "test": 10}
    assert facts["positive"]["all"] == {"tb": 15}
    assert facts["positive"]["test"] == {"tb": 5}
    assert facts["masks"]["read"] == facts["masks"]["not_empty"] == 15
    assert facts["masks"]["largest_share"] == 1
    assert facts["pixels"] == {"smallest": 48, "largest": 48}


def test_a_mask_of_another_size_and_one_without_an_image_are_faults(capsys, tmp_path):
    write_shenzhen(tmp_path)
    Image.new("L", (40, 48), 255).save(tmp_path / "masks" / "c1.png")
    Image.new("L", (48, 48), 255).save(tmp_path / "masks" / "stray.png")
    status, report, _ = run(capsys, "shenzhen", tmp_path)
    told = {Path(f["path"]).name: f["message"] for f in report["faults"]}
    assert status == 1
    assert told == {
        "c1.png": "is 40 x 48 pixels, but its image is 48 x 48",
        "stray.png": "is the mask of no image",
    }


def test_a_missing_image_is_a_fault_with_the_path_it_should_have(capsys, tmp_path):
    write_records(tmp_path)
    (tmp_path / "图像/3 a.jpg").unlink()
    status, report, _ = run(capsys, "mimic_cxr", tmp_path)
    assert status == 1
    assert report["faults"] == [
        {"path": str(tmp_path / "图像/3 a.jpg"), "message": "no such file or directory"}
    ]


def test_an_image_and_a_patient_in_two_splits_are_faults_and_all_are_listed(capsys, tmp_path):
    write_nih(tmp_path)
    lists = [(tmp_path / f"{part}_list.txt") for part in ("train", "test")]
    moved = lists[0].read_text().splitlines()[:3]  # patient 0 with both images, patient 1 with one
    lists[1].write_text(lists[1].read_text() + "\n".join(moved) + "\n")
    status, report, _ = run(capsys, "nih", tmp_path)
    assert status == 1
    assert report["facts"]["overlap"]["images"] == {
        "train+test": ["00000000_000", "00000000_001", "00000001_000"]
    }
    assert report["facts"]["overlap"]["patients"] == {"train+test": ["0", "1"]}
    messages = [fault["message"] for fault in report["faults"]]
    assert messages == [
        "3 images are in both train and test: 00000000_000, 00000000_001, 00000001_000",
        "2 patients are in both train and test: 0, 1",
    ]


def test_the_same_pixels_by_two_names_are_a_fault_and_a_pressed_copy_is_noted(capsys, tmp_path):
    write_shenzhen(tmp_path)
    images = tmp_path / "images"
    (images / "c25.png").write_bytes((images / "c4.png").read_bytes())
    (images / "c27.png").unlink()
    picture(6).resize((40, 40)).save(images / "c27.jpg", quality=70)
    (tmp_path / "masks" / "c27.png").unlink()
    status, report, _ = run(capsys, "shenzhen", tmp_path)
    assert status == 1
    (same,) = report["facts"]["overlap"]["same_pixels"]
    assert {same[part] for part in same if part != "bits"} == {"c4", "c25"}
    (fault,) = report["faults"]
    assert Path(fault["path"]).name == "c4.png"
    assert "c25.png, in test" in fault["message"]
    (alike,) = report["facts"]["overlap"]["look_alikes"]
    assert {alike[part] for part in alike if part != "bits"} == {"c6", "c27"}
    assert any("`c6`" in note and "`c27`" in note for note in report["notes"])


def test_lists_that_name_unknown_images_or_exceed_the_whole_list_are_faults(capsys, tmp_path):
    write_nih(tmp_path)
    with (tmp_path / "val_list.txt").open("a") as file:
        file.write(f"99999999_000.png {' '.join('0' * 14)}\n")
    (tmp_path / "train_10.txt").write_text((tmp_path / "val_list.txt").read_text())
    status, report, _ = run(capsys, "nih", tmp_path)
    told = {(Path(f["path"]).name, f["message"]) for f in report["faults"]}
    assert status == 1
    assert ("val_list.txt:5", "image `99999999_000` is unknown: it has no row and no file") in told
    assert any(where == "train_10.txt" and "not in train_list.txt" in m for where, m in told)


def test_nihs_own_lists_are_taken_where_there_are_no_others(capsys, tmp_path):
    write_nih(tmp_path)
    train, val = tmp_path / "train_list.txt", tmp_path / "val_list.txt"
    bare = [line.split()[0] for p in (train, val) for line in p.read_text().splitlines()]
    for path in (train, val, tmp_path / "train_1.txt"):
        path.unlink()
    (tmp_path / "train_val_list.txt").write_text("\n".join(bare))
    status, report, _ = run(capsys, "nih", tmp_path)
    assert status == 0
    assert report["facts"]["records"] == {"train": 24, "val": 0, "test": 6}
    assert report["facts"]["positive"]["all"]["Hernia"] == 10


def test_labels_that_differ_between_table_and_lists_are_noted_and_the_lists_count(capsys, tmp_path):
    write_nih(tmp_path)
    path = tmp_path / "val_list.txt"
    name, *labels = path.read_text().split("\n")[0].split()
    rest = path.read_text().split("\n", 1)[1]
    path.write_text(f"{name} {' '.join('1' for _ in labels)}\n{rest}")
    _, report, _ = run(capsys, "nih", tmp_path)
    assert "images whose labels differ between table and lists: 1" in report["notes"]
    assert report["facts"]["positive"]["all"]["Edema"] == 1


def test_boxes_that_cannot_be_and_rows_that_disagree_are_faults(capsys, tmp_path):
    write_rsna(tmp_path)
    table = tmp_path / "stage_2_train_labels.csv"
    table.write_text(
        table.read_text() + "u-1,,,,,1\nu-0,1,1,2,2,0\nu-1,1,1,-2,2,1\nu-1,,,,,0\nu-0,,,,,maybe\n"
        "u-3,40,4,9,6,1\nu-3,20,4,5,6,1\nu-0,,,,,0\n"
    )
    status, report, _ = run(capsys, "rsna", tmp_path)
    told = {f["path"].rpartition(":")[2]: f["message"] for f in report["faults"]}
    assert status == 1
    assert told == {
        "17": "`Target` is 1; expected a box of positive size",
        "18": "`Target` is 0; expected no box",
        "19": "`Target` is 1; expected a box of positive size",
        "20": "`u-1` is there with another `Target`",
        "21": "`Target` is `maybe`; expected 0 or 1",
        "22": "the box reaches to 49, 10, but the image u-3.png is 48 x 48 pixels",
        "23": "`u-3` is there with the same box at line 7 already",
        "24": "`u-0` is there with no box at line 2 already",
    }


def test_empty_reports_are_counted_and_noted(capsys, tmp_path):
    write_records(tmp_path)
    table = tmp_path / "training.csv"
    table.write_text(table.read_text().replace("Report 3.", " "))
    status, report, _ = run(capsys, "mimic_cxr", tmp_path)
    assert status == 0
    assert report["facts"]["empty_reports"] == 1
    assert report["notes"] == ["1 reports are empty and will be left out"]


def test_what_is_not_there_ends_with_3_and_what_is_malformed_with_4(capsys, tmp_path):
    status, report, err = run(capsys, "nih", tmp_path / "nowhere")
    assert (status, report) == (3, None)
    assert err.startswith("error: ")
    assert "nowhere does not exist" in err
    for dataset in READERS:
        (tmp_path / dataset).mkdir()
        status, report, err = run(capsys, dataset, tmp_path / dataset)
        assert (status, report) == (3, None)
        assert str(tmp_path / dataset) in err
    write_records(tmp_path)
    (tmp_path / "training.csv").write_text("image_path,text\na.jpg,x\n")
    status, report, err = run(capsys, "mimic_cxr", tmp_path)
    assert (status, report) == (4, None)
    assert "training.csv:1" in err


def test_without_json_the_same_is_told_in_lines(capsys, tmp_path):
    write_shenzhen(tmp_path)
    (tmp_path / "images" / "c3.png").write_bytes(b"")
    assert check.main(["--dataset", "shenzhen", "--data-path", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"fault: {tmp_path / 'images' / 'c3.png'}: the file is empty" in lines
    assert lines[-1] == f"1 faults in shenzhen at {tmp_path}"


def test_the_number_of_processes_changes_nothing(capsys, tmp_path):
    write_siim(tmp_path)
    (tmp_path / "images" / "1.2.9.png").write_bytes(b"x")
    reports = [run(capsys, "siim", tmp_path, "--processes", n)[1] for n in ("1", "3")]
    assert reports[0] == reports[1]
    assert len(reports[0]["faults"]) == 1


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20))
def test_near_pairs_are_those_that_counting_bits_finds(seed, count_a, count_b):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (3, 32), dtype=np.uint8)

    def near_base():
        bits = np.unpackbits(base[rng.integers(3)])
        bits[rng.choice(256, size=rng.integers(0, 14), replace=False)] ^= 1
        return np.packbits(bits).tobytes()

    a, b = ([near_base() for _ in range(n)] for n in (count_a, count_b))
    counted = {
        (i, j): bin(int.from_bytes(x) ^ int.from_bytes(y)).count("1")
        for i, x in enumerate(a)
        for j, y in enumerate(b)
    }
    expected = {(i, j, bits) for (i, j), bits in counted.items() if bits <= likeness.NEAR}
    assert set(likeness.near_pairs(a, b)) == expected


@pytest.mark.data
@needs_real
def test_copies_of_real_images_are_near_and_different_patients_are_not(tmp_path):
    paths = sorted((REAL / "shenzhen" / "images").glob("*.jpg"))[:80]
    hashes, copies = [], []
    for path in paths:
        with Image.open(path) as image:
            hashes.append(likeness.difference_hash(image.convert("L")))
            image.convert("L").resize((300, 300)).save(tmp_path / "c.jpg", quality=60)
        with Image.open(tmp_path / "c.jpg") as copy:
            copies.append(likeness.difference_hash(copy))
    found = {(i, j) for i, j, _ in likeness.near_pairs(hashes, copies)}
    assert found == {(i, i) for i in range(len(paths))}


@pytest.mark.data
@needs_real
@pytest.mark.parametrize(
    ("dataset", "folder", "count"),
    [("siim", "siim_format", 24), ("mimic_cxr", "openi", 4), ("mimic_cxr", "covid", 114)],
)
def test_real_folders_pass(capsys, dataset, folder, count):
    status, report, _ = run(capsys, dataset, REAL / folder)
    assert report["faults"] == []
    assert status == 0
    assert report["facts"]["opened"] == count


def test_a_fingerprint_follows_images_labels_and_splits_and_nothing_else(tmp_path, capsys):
    write_shenzhen(tmp_path / "a")
    write_shenzhen(tmp_path / "b")
    first = run(capsys, "shenzhen", tmp_path / "a")[1]["facts"]["fingerprint"]
    assert run(capsys, "shenzhen", tmp_path / "b")[1]["facts"]["fingerprint"] == first
    found = {first}
    lists = tmp_path / "b" / "train_list.txt"
    lists.write_text("".join(lists.read_text().splitlines(keepends=True)[1:]))
    found.add(run(capsys, "shenzhen", tmp_path / "b")[1]["facts"]["fingerprint"])
    save(tmp_path / "b" / "images" / "c3.png", 99)
    found.add(run(capsys, "shenzhen", tmp_path / "b")[1]["facts"]["fingerprint"])
    assert len(found) == 3


def write_annotation(root, *, images="images"):
    parts = {}
    for part, places in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 12))):
        parts[part] = []
        for i in places:
            name = f"p10/p100000{i:02d}/s500000{i:02d}/{i}.jpg"
            save(root / images / name, i)
            report = f"the heart is normal . no effusion {i} ."
            parts[part].append({"id": f"{i}", "study_id": 50000000 + i, "subject_id": 10000000 + i,
                                "report": report, "image_path": [name], "split": part})  # fmt: skip
    return parts


@pytest.mark.parametrize("images", ["images", "."])
def test_a_folder_of_r2gens_is_checked_by_its_annotation(images, tmp_path, capsys):
    parts = write_annotation(tmp_path, images=images)
    (tmp_path / "annotation.json").write_text(json.dumps(parts))
    status, report, _ = run(capsys, "mimic_cxr", tmp_path)
    assert (status, report["faults"]) == (0, [])
    facts = report["facts"]
    assert facts["records"] == {"train": 6, "val": 2, "test": 4}
    assert (facts["reports"], facts["distinct_reports"], facts["opened"]) == (12, 12, 12)
    assert "for `report` alone" in report["notes"][0]
    parts["test"][0]["image_path"] = parts["train"][0]["image_path"]
    parts["test"][1]["subject_id"] = parts["val"][0]["subject_id"]
    parts["test"][2]["id"] = parts["test"][3]["id"]
    parts["val"][1]["report"] = " "
    (tmp_path / "annotation.json").write_text(json.dumps(parts))
    broken = tmp_path / images / parts["train"][1]["image_path"][0]
    broken.write_bytes(broken.read_bytes()[:60])
    status, report, _ = run(capsys, "mimic_cxr", tmp_path)
    assert status == 1
    told = " | ".join(f"{fault['path']} {fault['message']}" for fault in report["faults"])
    assert "1 images are in both train and test" in told
    assert "1 patients are in both val and test: 10000006" in told
    assert "entry 3 of `test` repeats `11`" in told
    assert str(broken) in told
    assert "1 reports are empty" in " ".join(report["notes"])


def test_an_annotation_that_is_none_ends_with_4(tmp_path, capsys):
    (tmp_path / "annotation.json").write_text('{"train": [{"id": "1"}]}')
    status, _, err = run(capsys, "mimic_cxr", tmp_path)
    assert status == 4
    assert "entry 0 of `train` has no `report` that is text" in err
