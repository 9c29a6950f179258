"""Sets as they come: a bad item is named and skipped, and what stops a set names file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from trainers.config import InputError
from trainers.data import check, records, shenzhen, siim
from trainers.data.batch import Seeded, collate
from trainers.data.segmented import Segmented
from trainers.data.transforms import read_image

SIDE = 24
SETTINGS = {"px": 16, "mean": 0.5, "std": 0.25}


def uid(i: int) -> str:
    return f"1.2.276.{i}"


def write_dicom(path: Path, values: np.ndarray, *, inverted: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = path.stem
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPInstanceUID, data.PatientID = path.stem, f"patient of {path.stem}"
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * values.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    data.PixelData = values.tobytes()
    data.save_as(path)


@pytest.fixture
def siim_root(tmp_path: Path) -> Path:
    """SIIM's layout in a folder with a blank and Chinese characters; a BOM and semicolons."""
    root = tmp_path / "气胸 数据 set"
    ramp = np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1))
    rows = ["ImageId; EncodedPixels"]
    for i in range(8):
        path = root / "dicom-images-train" / f"检查 {i}" / "s" / f"{uid(i)}.dcm"
        if i == 1:
            write_dicom(path, ramp.astype(np.uint16) * 16)
        elif i == 2:
            write_dicom(path, 255 - ramp, inverted=True)
        else:
            write_dicom(path, ramp)
        rows.append(f"{uid(i)}; {'30 9' if i % 2 else '-1'}")
    (root / "train-rle.csv").write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")
    for part, ids in (("train", range(4)), ("val", (4, 5)), ("test", (6, 7))):
        (root / f"{part}.txt").write_text("".join(f"{uid(i)}\n" for i in ids))
    return root


def image_of(root: Path, i: int) -> Path:
    return next(root.rglob(f"{uid(i)}.dcm"))


def batch_of(part: list[Any]) -> dict[str, Any]:
    items = Seeded(Segmented(part, train=False, **SETTINGS), 0)
    return collate([items[0, i] for i in range(len(part))])


def test_siim_in_a_chinese_folder_with_deep_and_inverted_dicoms_is_read(siim_root: Path) -> None:
    split = siim.read(siim_root, 100)
    batch = batch_of(split.train)
    assert not batch["skipped"]
    assert batch["name"] == [uid(i) for i in range(4)]
    plain, deep, inverted = (np.asarray(read_image(image_of(siim_root, i))) for i in range(3))
    assert np.abs(plain.astype(int) - deep.astype(int)).max() <= 1
    assert np.abs(plain.astype(int) - inverted.astype(int)).max() <= 1


@pytest.mark.parametrize("kept", [0, 200])
def test_a_broken_dicom_is_skipped_by_name_and_the_others_go_on(siim_root: Path, kept: int) -> None:
    path = image_of(siim_root, 2)
    path.write_bytes(path.read_bytes()[:kept])
    batch = batch_of(siim.read(siim_root, 100).train)
    assert batch["name"] == [uid(0), uid(1), uid(3)]
    assert [bad.path for bad in batch["skipped"]] == [str(path)]


def test_run_lengths_beyond_the_image_are_skipped_by_name(siim_root: Path) -> None:
    table = siim_root / "train-rle.csv"
    table.write_text(table.read_text().replace("30 9", "30 9999", 1))
    batch = batch_of(siim.read(siim_root, 100).train)
    assert [Path(bad.path).stem for bad in batch["skipped"]] == [uid(1)]
    assert "mask cannot be read" in batch["skipped"][0].reason


def test_an_id_that_is_both_empty_and_masked_stops_with_its_line(siim_root: Path) -> None:
    table = siim_root / "train-rle.csv"
    table.write_text(table.read_text() + f"{uid(1)}; -1\n")
    with pytest.raises(InputError, match=rf"train-rle.csv:10: `{uid(1)}` has both"):
        siim.read(siim_root, 100)


def test_a_siim_image_in_two_lists_stops_with_its_patient(siim_root: Path) -> None:
    with (siim_root / "test.txt").open("a") as file:
        file.write(f"{uid(3)}\n")
    said = f"image `{uid(3)}` of patient `patient of {uid(3)}` is in both the train and the test"
    with pytest.raises(InputError, match=said):
        siim.read(siim_root, 100)


def test_checking_siim_takes_the_clean_lists_and_names_what_is_broken(siim_root: Path) -> None:
    path = image_of(siim_root, 2)
    path.write_bytes(b"")
    report = check.check("siim", siim_root)
    assert report["facts"]["records"] == {"train": 4, "val": 2, "test": 2}
    # what is left shows the same picture eight times, which is a fault as well
    assert [fault["path"] for fault in report["faults"]].count(str(path)) == 1


@pytest.fixture
def lungs(tmp_path: Path) -> Path:
    """Shenzhen's layout with lung masks, in such a folder too."""
    root = tmp_path / "深圳 set"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    noise = np.random.default_rng(0)
    for i in range(12):
        pixels = noise.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"肺 {i}.png")
        Image.fromarray((pixels > 99).astype(np.uint8) * 255).save(root / "masks" / f"肺 {i}.png")
    for part, ids in (("train", range(8)), ("val", (8, 9)), ("test", (10, 11))):
        lines = "".join(f"肺 {i}.png {1 - i % 2} {i % 2}\r\n" for i in ids)
        (root / f"{part}_list.txt").write_text("\ufeff" + lines, encoding="utf-8")
    return root


def test_shenzhens_broken_images_and_masks_are_skipped_by_name(lungs: Path) -> None:
    whole = (lungs / "images" / "肺 1.png").read_bytes()
    (lungs / "images" / "肺 1.png").write_bytes(b"")
    (lungs / "images" / "肺 2.png").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (SIDE, SIDE + 1)).save(lungs / "masks" / "肺 3.png")
    batch = batch_of(shenzhen.read(lungs, 100, lungs=True).train)
    assert batch["name"] == [f"肺 {i}" for i in (0, 4, 5, 6, 7)]
    named = [Path(bad.path).relative_to(lungs).as_posix() for bad in batch["skipped"]]
    assert named == ["images/肺 1.png", "images/肺 2.png", "masks/肺 3.png"]
    assert "24 x 25 pixels, but its image is 24 x 24" in batch["skipped"][2].reason


def test_an_image_that_shenzhens_lists_name_twice_with_other_labels_stops_with_its_line(
    lungs: Path,
) -> None:
    with (lungs / "train_list.txt").open("a", encoding="utf-8") as file:
        file.write("肺 0.png 0 1\n")
    with pytest.raises(InputError, match=r"train_list.txt:9: `肺 0` is there twice"):
        shenzhen.read(lungs, 100)


def test_records_tell_their_split_and_leave_empty_reports_out(tmp_path: Path) -> None:
    def read(order: list[int], empty: int = -1) -> dict[str, Any]:
        rows = [f"{i}.png,{'  ' if i == empty else f'Report {i}.'},p{i},train" for i in order]
        rows += ["9.png,Held out.,p9,validate"]
        header = "image_path,report_content,patient_id,split"
        (tmp_path / "training.csv").write_text("\n".join([header, *rows]) + "\n")
        return records.read_records(tmp_path).facts

    for i in range(10):
        Image.new("L", (8, 8)).save(tmp_path / f"{i}.png")
    first, turned, fewer = read([0, 1, 2]), read([2, 0, 1]), read([0, 1, 2], empty=1)
    assert first["split_sha256"] == turned["split_sha256"]
    assert fewer["empty_reports"] == 1
    assert fewer["split_sha256"]["train"] != first["split_sha256"]["train"]
    assert fewer["split_sha256"]["val"] == first["split_sha256"]["val"]
