"""SIIM-ACR: the competition's tree and table, PNG pairs, lists, and what is drawn without them."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from trainers.config import InputError, MissingError
from trainers.data import cases, rle, siim
from trainers.data.transforms import read_image

REAL = Path("../shared/data/siim_format")
SIDE = 16


def write_dicom(path, uid, patient, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPInstanceUID, data.PatientID = uid, patient
    data.Rows = data.Columns = SIDE
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    values = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    data.PixelData = values.tobytes()
    data.save_as(path)


def name(i):
    return f"1.2.276.{i}"


def write_set(root, count=40, positive=lambda i: i % 3 == 0, per_patient=1):
    """Write the competition's layout; every other mask comes in two rows."""
    lines = ["ImageId, EncodedPixels"]
    for i in range(count):
        path = root / "dicom-images-train" / f"9.{i}" / f"8.{i}" / f"{name(i)}.dcm"
        write_dicom(path, name(i), f"patient {i // per_patient}", seed=i)
        if positive(i):
            lines.append(f"{name(i)}, 3 5 11 5")
            if i % 2:
                lines.append(f"{name(i)}, 200 9")
        else:
            lines.append(f"{name(i)}, -1")
    (root / "train-rle.csv").write_text("\n".join(lines) + "\n")


def write_lists(folder, **lists):
    folder.mkdir(exist_ok=True)
    for key, places in lists.items():
        (folder / f"{key}.txt").write_text("".join(f"{name(i)}\n" for i in places))


LISTS = {"train_list": range(30), "val_list": range(30, 35), "test_list": range(35, 40)}


def names(part):
    return [case.name for case in part]


@pytest.mark.parametrize("folder", ["", "splits"])
def test_lists_in_the_root_or_in_splits_are_followed(tmp_path, folder):
    write_set(tmp_path)
    write_lists(tmp_path / folder, **LISTS, train_10=[4, 6, 9], train_1=[6])
    whole = siim.read(tmp_path, 100)
    assert names(whole.train) == [name(i) for i in range(30)]
    assert names(whole.val) == [name(i) for i in range(30, 35)]
    assert names(whole.test) == [name(i) for i in range(35, 40)]
    assert whole.facts["records"] == {"train": 30, "val": 5, "test": 5}
    assert whole.facts["positive"] == {"train": [10], "val": [2], "test": [2]}
    assert names(siim.read(tmp_path, 10).train) == [name(i) for i in (4, 6, 9)]
    assert names(siim.read(tmp_path, 1).train) == [name(6)]


def test_images_are_found_in_the_tree_and_masks_are_the_union_of_their_rows(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, **LISTS)
    case = siim.read(tmp_path, 100).train[3]
    image = read_image(case.image)
    assert np.array_equal(image, pydicom.dcmread(case.image).pixel_array)
    mask = cases.read_mask(case, image.size)
    both = rle.decode("3 5 11 5", SIDE, SIDE) | rle.decode("200 9", SIDE, SIDE)
    assert np.array_equal(mask, both)
    assert case.labels == (1,)
    empty = siim.read(tmp_path, 100).train[1]
    assert not cases.read_mask(empty, image.size).any()
    assert empty.labels == (0,)


def test_pairs_of_png_are_read_too(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(40):
        Image.new("L", (SIDE, SIDE), i).save(tmp_path / "images" / f"{name(i)}.png")
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        mask[2:4, 5] = i % 3 == 0
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name(i)}.png")
    write_lists(tmp_path, **LISTS)
    split = siim.read(tmp_path, 100)
    assert split.facts["positive"] == {"train": [10], "val": [2], "test": [2]}
    assert cases.read_mask(split.train[3], (SIDE, SIDE)).sum() == 2


LEAKING = {"train_list": range(30), "val_list": range(28, 35), "test_list": [*range(33, 40), 3, 4]}


def test_an_image_in_two_lists_is_refused_with_its_patient(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, **LEAKING)
    said = rf"image `{name(28)}` of patient `patient 28` is in both the train and the val"
    with pytest.raises(InputError, match=said):
        siim.read(tmp_path, 100)


def test_a_patient_in_two_lists_is_refused_by_name(tmp_path):
    write_set(tmp_path, per_patient=2)
    write_lists(tmp_path, train_list=range(29), val_list=range(29, 34), test_list=range(34, 40))
    with pytest.raises(InputError, match="patient `patient 14` is in both the train and the val"):
        siim.read(tmp_path, 100)


@pytest.mark.parametrize("place", ["", "splits", "mrm_siim", "splits/mrm_siim"])
def test_legacy_takes_lists_that_share_images_and_counts_what_is_unseen(tmp_path, place):
    write_set(tmp_path)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    write_lists(tmp_path / place, **LEAKING, train_10=[4, 6, 9])
    split = siim.read(tmp_path, 10, protocol="legacy")
    assert names(split.train) == [name(i) for i in (4, 6, 9)]
    assert len(split.test) == 9
    whole = siim.read(tmp_path, 100, protocol="legacy")
    shared = {"train+val": 2, "train+test": 2, "val+test": 2}
    assert whole.facts["shared_images"] == shared
    # 35 to 39 are in no other list, whichever share is trained on; 36 and 39 have a mask
    assert split.facts["unseen"] == whole.facts["unseen"] == {"images": 5, "positive": 2}
    assert siim.seen(tmp_path) == {name(i) for i in range(35)}


def test_legacy_without_its_lists_says_what_it_needs(tmp_path):
    write_set(tmp_path)
    with pytest.raises(MissingError, match="holds none of train_list"):
        siim.read(tmp_path, 100, protocol="legacy")


BENCHX = {"train": range(30), "val": range(30, 35), "test": range(35, 40), "train_10": [4, 6, 9]}


@pytest.mark.parametrize("place", ["", "splits", "benchx_siim", "splits/benchx_siim"])
def test_clean_prefers_the_lists_of_benchx_to_those_of_mrm(tmp_path, place):
    write_set(tmp_path)
    write_lists(tmp_path, train_list=range(30), val_list=range(28, 35), test_list=range(20, 40))
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    write_lists(tmp_path / place, **BENCHX)
    split = siim.read(tmp_path, 10)
    assert split.facts["protocol"] == "clean"
    assert names(split.train) == [name(i) for i in (4, 6, 9)]
    assert names(split.val) == [name(i) for i in range(30, 35)]
    assert names(split.test) == [name(i) for i in range(35, 40)]


def kaggle(i):
    """What the PNG set calls image `i`; the second number says whether it has a pneumothorax."""
    return f"{i}_{'test' if i >= 35 else 'train'}_{int(i % 3 == 0)}_"


def write_kaggle(root, count=40):
    """Write the PNG set's tables, and lists of BenchX in their names."""
    for part, ids in (("train", range(35)), ("test", range(35, count))):
        rows = "".join(f"{kaggle(i)}.png,{name(i)},{int(i % 3 == 0)}\n" for i in ids)
        table = root / f"stage_1_{part}_images.csv"
        table.write_text(f"new_filename,ImageId,has_pneumo\n{rows}")
    (root / "splits").mkdir()
    for part, ids in BENCHX.items():
        (root / "splits" / f"{part}.txt").write_text("".join(f"{kaggle(i)}\n" for i in ids))


def write_pngs(root, called, folders=("png_images", "png_masks")):
    for folder in folders:
        (root / folder).mkdir()
    for i in range(40):
        Image.new("L", (SIDE, SIDE), i).save(root / folders[0] / f"{called(i)}.png")
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        mask[2:4, 5] = 255 * (i % 3 == 0)
        Image.fromarray(mask).save(root / folders[1] / f"{called(i)}.png")


def test_lists_of_benchx_mean_the_same_images_in_dicom_and_in_png(tmp_path):
    dicom, png = tmp_path / "dicom", tmp_path / "png"
    dicom.mkdir(), png.mkdir()
    write_set(dicom)
    write_kaggle(dicom)
    write_pngs(png, kaggle)
    write_kaggle(png)
    one, other = siim.read(dicom, 10), siim.read(png, 10)
    assert names(one.train) == names(other.train) == [kaggle(i) for i in (4, 6, 9)]
    assert names(one.test) == names(other.test)
    assert one.facts["positive"] == other.facts["positive"]
    assert one.train[0].image.name == f"{name(4)}.dcm"
    assert one.train[0].patient == "patient 4"


def test_lists_of_mrm_find_the_images_of_the_png_set(tmp_path):
    write_pngs(tmp_path, kaggle)
    write_kaggle(tmp_path)
    write_lists(tmp_path, **LEAKING)
    split = siim.read(tmp_path, 100, protocol="legacy")
    assert names(split.test)[0] == name(33)
    assert split.test[0].image.name == f"{kaggle(33)}.png"


def test_a_list_of_benchx_that_shares_an_image_is_refused(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, **{**BENCHX, "test": range(33, 40)})
    with pytest.raises(InputError, match=f"image `{name(33)}` of patient `patient 33` is in both"):
        siim.read(tmp_path, 100)


def test_without_lists_patients_are_divided_and_the_facts_say_how(tmp_path):
    write_set(tmp_path, count=80, per_patient=2)
    split = siim.read(tmp_path, 100)
    parts = (split.train, split.val, split.test)
    assert sum(map(len, parts)) == 80
    patients = [{case.patient for case in part} for part in parts]
    assert "patient 0" in set.union(*patients)
    assert sum(map(len, patients)) == 40
    assert [len(p) for p in patients] == [28, 6, 6]
    assert "no clean ones found: drawn by patient" in split.facts["lists"]
    assert siim.read(tmp_path, 100).train == split.train
    assert siim.read(tmp_path, 100, seed=1).train != split.train
    tenth = siim.read(tmp_path, 10)
    assert set(tenth.train) < set(split.train)
    assert tenth.test == split.test


def test_a_listed_image_without_a_row_is_refused_since_nobody_looked_for_a_mask(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, **{**LISTS, "val_list": [30, 99]})
    with pytest.raises(InputError, match=rf"val_list.txt:2: image `{name(99)}` has no mask"):
        siim.read(tmp_path, 100)


def test_a_listed_image_without_a_file_is_left_to_be_skipped_and_counted(tmp_path):
    write_set(tmp_path)
    write_lists(tmp_path, **LISTS)
    next(tmp_path.rglob(f"{name(31)}.dcm")).unlink()
    split = siim.read(tmp_path, 100)
    assert split.facts["missing_images"] == 1
    assert not split.val[1].image.exists()


def test_an_image_that_is_there_twice_is_refused_with_both_paths(tmp_path):
    write_set(tmp_path)
    write_dicom(tmp_path / "dicom-images-test" / "x" / f"{name(3)}.dcm", name(3), "p")
    with pytest.raises(InputError, match=r"is there twice: .*dicom-images-test.* and .*-train"):
        siim.read(tmp_path, 100)


def test_a_table_that_says_both_mask_and_none_is_refused_with_its_line(tmp_path):
    for rows in ("a, -1\na, 3 4", "a, 3 4\na, -1"):
        (tmp_path / "t.csv").write_text(f"ImageId, EncodedPixels\n{rows}\n")
        with pytest.raises(InputError, match=r"t.csv:3: `a` has both a mask and the mark"):
            siim.read_rows(tmp_path / "t.csv")


def test_a_mark_that_is_repeated_is_no_mask(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffImageId;EncodedPixels\na;-1\na; -1\nb;1 2\n")
    assert siim.read_rows(tmp_path / "t.csv") == {"a": (), "b": ("1 2",)}


def test_a_wrong_folder_is_named(tmp_path):
    with pytest.raises(MissingError, match="nowhere does not exist"):
        siim.read(tmp_path / "nowhere", 100)
    with pytest.raises(MissingError, match="holds no images"):
        siim.read(tmp_path, 100)
    (tmp_path / "images").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "images" / "a.png")
    with pytest.raises(MissingError, match=r"train-rle.csv"):
        siim.read(tmp_path, 100)


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="files in SIIM's format are not beside this checkout")
def test_files_in_the_real_format_are_read_with_their_masks():
    split = siim.read(REAL, 100)
    assert split.facts["records"] == {"train": 16, "val": 4, "test": 4}
    pixels = {}
    for line in (REAL / "mapping.csv").read_text().splitlines()[1:]:
        pixels[line.split(",")[0]] = int(line.split(",")[-1])
    for case in split.test:
        image = read_image(case.image)
        assert image.size == (1024, 1024)
        assert cases.read_mask(case, image.size).sum() == pixels[case.name]


SPLITS = Path("../shared/data/splits")
ROWS = Path("../shared/data/siim_real")


def write_listed(root, uids):
    """Write a table in which no image has a mask, and one image, so that the set is not empty."""
    (root / "images").mkdir()
    rows = "".join(f"{uid}, -1\n" for uid in uids)
    (root / "train-rle.csv").write_text(f"ImageId, EncodedPixels\n{rows}")
    Image.new("L", (SIDE, SIDE)).save(root / "images" / f"{uids[0]}.png")


@pytest.mark.data
@pytest.mark.skipif(not SPLITS.is_dir(), reason="the published lists are not beside this checkout")
def test_the_released_lists_leak_as_is_known_and_are_left_aside_by_clean(tmp_path):
    listed = [cases.read_list(SPLITS / "mrm_siim" / name) for name in siim.MRM_LISTS]
    write_listed(tmp_path, sorted({line.name for lines in listed for line in lines}))
    shutil.copytree(SPLITS / "mrm_siim", tmp_path / "splits")
    legacy = siim.read(tmp_path, 100, protocol="legacy")
    assert legacy.facts["records"] == {"train": 7969, "val": 1898, "test": 1904}
    shared = {"train+val": 478, "train+test": 494, "val+test": 124}
    assert legacy.facts["shared_images"] == shared
    assert legacy.facts["unseen"]["images"] == 1286
    assert siim.read(tmp_path, 10, protocol="legacy").facts["records"]["train"] == 797
    assert siim.clean_lists(tmp_path) is None
    shutil.copytree(SPLITS / "benchx_siim", tmp_path / "benchx_siim")
    assert [path.name for path in siim.clean_lists(tmp_path)] == [
        "train.txt",
        "val.txt",
        "test.txt",
    ]


@pytest.mark.data
@pytest.mark.skipif(not SPLITS.is_dir(), reason="the published lists are not beside this checkout")
def test_the_lists_of_benchx_share_nothing(tmp_path):
    listed = [cases.read_list(SPLITS / "benchx_siim" / name) for name in siim.LISTS]
    write_listed(tmp_path, sorted({line.name for lines in listed for line in lines}))
    shutil.copytree(SPLITS / "benchx_siim", tmp_path / "splits")
    clean = siim.read(tmp_path, 1)
    assert clean.facts["records"] == {"train": 93, "val": 1372, "test": 1372}
    assert clean.facts["shared_images"] == {}
    assert siim.read(tmp_path, 100).facts["records"]["train"] == 9303


@pytest.mark.data
@pytest.mark.skipif(
    not ROWS.is_dir(), reason="rows of the competition are not beside this checkout"
)
def test_real_rows_are_decoded_to_the_pixels_and_boxes_that_are_known():
    rows = siim.read_rows(ROWS / "train-rle-sample.csv")
    with (ROWS / "expected_decoded.csv").open() as file:
        expected = list(csv.DictReader(file))
    assert len(expected) == len(rows) == 40
    for known in expected:
        runs = rows[known["ImageId"]]
        mask = rle.union(runs, 1024, 1024)
        assert mask.sum() == int(known["mask_pixels"])
        assert max(1, len(runs)) == int(known["rows"])
        if runs:
            box = [int(known[key]) for key in ("xmin", "ymin", "xmax", "ymax")]
            down, across = np.nonzero(mask)
            assert [across.min(), down.min(), across.max(), down.max()] == box
    assert sum(len(runs) > 1 for runs in rows.values()) == 5


def test_the_table_of_the_second_stage_is_taken_before_that_of_the_first(tmp_path):
    write_set(tmp_path)
    rows = (tmp_path / "train-rle.csv").read_text()
    (tmp_path / "stage_2_train.csv").write_text(rows)
    (tmp_path / "train-rle.csv").write_text("".join(rows.splitlines(keepends=True)[:5]))
    _, facts = siim.index(tmp_path)
    assert facts["table"] == "stage_2_train.csv"
    assert facts["annotated"] == 40
