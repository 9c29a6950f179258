"""Are RSNA's table, images and lists read as they were published, and refused where they err?"""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from trainers.config import InputError, MissingError
from trainers.data import located, rsna
from trainers.data.items import BadItem
from trainers.data.located import Located

HEADER = "patientId,x,y,width,height,Target"
SIDES = {"px": 32, "mean": 0.5, "std": 0.5}


def write_dicom(path: Path, pixels: np.ndarray, *, kind: str = "MONOCHROME2") -> None:
    """One radiograph as the competition has it, of 8 bits, or of 16."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = generate_uid(), generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = 8 * pixels.itemsize
    file.update({"PatientID": path.stem, "Modality": "CR"})
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated = file.BitsStored = bits
    file.HighBit, file.PixelRepresentation, file.SamplesPerPixel = bits - 1, 0, 1
    file.PhotometricInterpretation = kind
    file.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def write_set(root: Path, rows: list[str], *, suffix: str = ".png", folder: str = "") -> Path:
    """A table of `rows`, and a square of 48 pixels for each image that it names."""
    for name in {row.split(",")[0] for row in rows}:
        path = root / (folder or "stage_2_train_images") / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(name.encode())).integers(0, 255, (48, 48), np.uint8)
        if suffix == ".dcm":
            write_dicom(path, pixels)
        else:
            Image.fromarray(pixels).save(path)
    table = root / "stage_2_train_labels.csv"
    table.write_text("\n".join([HEADER, *rows]) + "\n")
    return table


def some_rows(count: int) -> list[str]:
    """Ids as the competition has them; of every three images one has two boxes, one has one."""
    rows = []
    for i in range(count):
        name = str(uuid.UUID(int=i * 7919 + 1))
        boxes = [f"{name},{i % 9}.0,4.0,12.0,16.0,1", f"{name},24.0,8.0,10.0,9.0,1"]
        rows += (boxes, boxes[:1], [f"{name},,,,,0"])[i % 3]
    return rows


@pytest.mark.parametrize(("suffix", "folder"), [(".dcm", ""), (".png", ""), (".jpg", "images")])
def test_every_row_is_a_box_and_an_image_without_one_has_none(tmp_path, suffix, folder):
    write_set(tmp_path, some_rows(15), suffix=suffix, folder=folder)
    split = rsna.read(tmp_path, 100)
    known = {case.name: case for case in (*split.train, *split.val, *split.test)}
    assert len(known) == 15
    first = known[str(uuid.UUID(int=1))]
    assert first.boxes == ((0, 4, 12, 16), (24, 8, 10, 9))
    assert first.labels == (1,)
    assert first.patient == first.name
    assert known[str(uuid.UUID(int=2 * 7919 + 1))].boxes == ()
    assert split.facts["boxes"] == 15


def test_the_split_has_mgcas_sizes_and_depends_on_the_ids_alone(tmp_path):
    rows = some_rows(30)
    write_set(tmp_path, rows)
    split = rsna.read(tmp_path, 100)
    assert split.facts["records"] == {"train": 18, "val": 6, "test": 6}
    assert "random_state 0" in split.facts["lists"]
    write_set(tmp_path, rows[::-1])
    again = rsna.read(tmp_path, 100)
    for part in ("train", "val", "test"):
        names = {case.name for case in getattr(split, part)}
        assert {case.name for case in getattr(again, part)} == names
    other = rsna.read(tmp_path, 100, seed=1)
    assert {c.name for c in other.test} != {c.name for c in split.test}


def test_the_competitions_own_number_of_images_is_divided_as_published():
    facts: dict[str, object] = {}
    train, val, test = rsna._drawn([f"{i:05d}" for i in range(26_684)], 0, facts)
    assert [len(part) for part in (train, val, test)] == [16_010, 5_337, 5_337]
    assert len({*train, *val, *test}) == 26_684


def test_shares_lie_in_one_another_and_the_facts_say_how_they_are_drawn(tmp_path):
    write_set(tmp_path, some_rows(60))
    shares = [rsna.read(tmp_path, ratio) for ratio in (10, 50, 100)]
    names = [{case.name for case in share.train} for share in shares]
    assert names[0] < names[1] < names[2]
    assert "nested" in shares[0].facts["ratio"]["rule"]
    assert {c.name for c in shares[0].test} == {c.name for c in shares[2].test}


def test_lists_win_over_a_draw(tmp_path):
    rows = some_rows(6)
    names = [str(uuid.UUID(int=i * 7919 + 1)) for i in range(6)]
    write_set(tmp_path, rows)
    lists = {"train_list": names[:3], "val_list": names[3:4], "test_list": names[4:]}
    lists["train_10"] = names[1:2]
    for name, ids in lists.items():
        text = "".join(f"stage_2_train_images/{i}.dcm 1 \n" for i in ids)
        (tmp_path / f"{name}.txt").write_text(text)
    split = rsna.read(tmp_path, 10)
    assert [c.name for c in split.train] == names[1:2]
    assert [c.name for c in split.test] == names[4:]
    assert split.facts["lists"][0]["file"] == "train_list.txt"
    (tmp_path / "val_list.txt").write_text(names[0] + "\n")
    with pytest.raises(InputError, match=names[0]):
        rsna.read(tmp_path, 100)
    (tmp_path / "val_list.txt").write_text("stranger\n")
    with pytest.raises(InputError, match=r"val_list\.txt:1: image `stranger` has no row"):
        rsna.read(tmp_path, 100)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,1,1,-2,2,1", "`Target` is 1; expected a box of positive size"),
        ("a,-1,1,2,2,1", "`Target` is 1; expected a box of positive size"),
        ("a,1,1,nan,2,1", "`Target` is 1; expected a box of positive size"),
        ("a,,,,,1", "`Target` is 1; expected a box of positive size"),
        ("a,1,1,2,2,0", "`Target` is 0; expected no box"),
        ("a,1,1,2,2,2", "`Target` is `2`; expected 0 or 1"),
        (",1,1,2,2,1", "`patientId` is empty"),
        ("b,,,,,0", "`b` is there with another `Target`"),
        ("b,2,3,4,5,1", "`b` is there with the same box at line 2 already"),
        ("c,,,,,0", "`c` is there with no box at line 3 already"),
        ("a,30,1,19,2,1", r"the box reaches to 49, 3, but the image a.png is 48 x 48 pixels"),
    ],
)
def test_a_row_that_cannot_be_is_named_with_its_line(tmp_path, row, message):
    write_set(tmp_path, ["b,2,3,4,5,1", "c,,,,,0", "a,3,3,5,5,1"])
    table = tmp_path / "stage_2_train_labels.csv"
    table.write_text(f"{HEADER}\nb,2,3,4,5,1\nc,,,,,0\n{row}\n")
    with pytest.raises(InputError) as raised:
        rsna.read(tmp_path, 100)
    assert str(raised.value) == f"{table}:4: {message}"


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingError, match="does not exist"):
        rsna.read(tmp_path / "nowhere", 100)
    with pytest.raises(MissingError, match=r"stage_2_train_labels\.csv"):
        rsna.read(tmp_path, 100)
    table = write_set(tmp_path, some_rows(3))
    for image in (tmp_path / "stage_2_train_images").iterdir():
        image.rename(image.with_stem("x" + image.stem))
    with pytest.raises(MissingError, match=f"no image that {table.name} names"):
        rsna.read(tmp_path, 100)


def test_a_table_from_a_spreadsheet_is_read(tmp_path):
    table = write_set(tmp_path, some_rows(9))
    plain = rsna.read(tmp_path, 100)
    text = table.read_text().replace(",", ";").replace("\n", "\r\n")
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert rsna.read(tmp_path, 100).train == plain.train


def test_inverted_and_16_bit_images_are_seen_alike_and_a_truncated_one_is_named(tmp_path):
    rows = ["a,1,1,2,2,1", "b,1,1,2,2,1", "c,1,1,2,2,1"]
    write_set(tmp_path, rows, suffix=".dcm")
    folder = tmp_path / "stage_2_train_images"
    pixels = np.linspace(0, 255, 48 * 48).astype(np.uint8).reshape(48, 48)
    write_dicom(folder / "a.dcm", pixels)
    write_dicom(folder / "b.dcm", 255 - pixels, kind="MONOCHROME1")
    write_dicom(folder / "c.dcm", pixels.astype(np.uint16) * 16)
    split = rsna.read(tmp_path, 100)
    cases = sorted((*split.train, *split.val, *split.test))
    items = [Located(cases, train=False, **SIDES).item(i, np.random.default_rng(0))
             for i in range(3)]  # fmt: skip
    for item in items[1:]:
        assert (item["image"] - items[0]["image"]).abs().max() < 0.02
    (folder / "b.dcm").write_bytes((folder / "b.dcm").read_bytes()[:900])
    assert rsna.read(tmp_path, 100).facts["records"] == split.facts["records"]
    with pytest.raises(BadItem, match=r"b\.dcm"):
        Located(cases, train=False, **SIDES).item(1, np.random.default_rng(0))


def test_boxes_follow_their_image_when_it_is_shrunk_mirrored_and_cut(tmp_path):
    pixels = np.zeros((30, 60), np.uint8)
    pixels[6:18, 12:36] = 255
    path = tmp_path / "stage_2_train_images" / "a.dcm"
    write_dicom(path, pixels)
    case = rsna.Case("a", "a", path, (1,), boxes=(rsna.Frame(12, 6, 24, 12),))
    tested = Located([case], train=False, **{**SIDES, "px": 60})
    item = tested.item(0, np.random.default_rng(0))
    assert item["image"].shape == (3, 60, 60)
    assert item["truth"].tolist() == [[12, 6, 24, 12]]
    assert item["scale"].tolist() == [1, 1]
    train = Located([case], train=True, hflip=True, crop_min=0.4, **{**SIDES, "px": 120})
    seen = set()
    for seed in range(20):
        item = train.item(0, np.random.default_rng(seed))
        bright = (item["image"][0] > 0).nonzero()
        if int(item["count"]):
            left, top, right, bottom = item["boxes"][0].tolist()
            found = [*bright.min(0).values.flip(0).tolist(), *(bright.max(0).values + 1).flip(0)]
            assert [left, top, right, bottom] == pytest.approx([float(f) for f in found], abs=2)
            seen.add(round(left))
    assert len(seen) > 10


def test_a_part_that_shows_less_than_half_of_a_box_does_not_have_it():
    image = Image.new("L", (64, 64))
    corners = np.array([[0, 0, 8, 8], [28, 28, 36, 36]], float)
    kept = [len(located.crop(image, corners, 0.3, np.random.default_rng(s))[1]) for s in range(30)]
    assert set(kept) == {1, 2}


def test_a_folder_of_images_is_joined_with_a_table_and_strangers_are_left_out(tmp_path, caplog):
    table = write_set(tmp_path / "set", some_rows(6), suffix=".dcm")
    extra = str(uuid.UUID(int=999))
    table.write_text(table.read_text() + f"{extra},1,1,3,3,1\n")
    here = tmp_path / "画像 1" / "deep"
    here.parent.mkdir()
    (tmp_path / "set" / "stage_2_train_images").rename(here)
    cases, missing = rsna.read_folder(tmp_path / "画像 1", table)
    assert (len(cases), missing) == (6, 1)
    assert extra in caplog.text
    with pytest.raises(MissingError, match="none of the 7 images"):
        rsna.read_folder(tmp_path / "set", table)


@pytest.mark.data
def test_real_radiographs_with_boxes_in_these_columns_are_read():
    folder = Path("../shared/data/nih_mass_nodule")
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    cases, missing = rsna.read_folder(folder / "images", folder / "boxes.csv")
    assert (len(cases), missing) == (40, 0)
    assert sum(len(case.boxes) for case in cases) == 229
