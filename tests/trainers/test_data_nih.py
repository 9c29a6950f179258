"""ChestX-ray14: NIH's layout, MRM's and REFERS's lists, shares that no list fixes, and bad data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.config import InputError, MissingError
from trainers.data import cases, nih, spread
from trainers.data.cases import Case

REAL = Path("../shared/data")
needs_real = pytest.mark.skipif(
    not (REAL / "nih").is_dir(), reason="the sample of real radiographs is not beside this checkout"
)
HEADER_2017 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
HEADER_2020 = HEADER_2017.removesuffix(",")
COUNT = 60


def name(i):
    return f"{1 + i // 2:08d}_{i % 2:03d}.png"


def labels(i):
    """Every third image has nothing; the others have one or two findings."""
    return [] if i % 3 == 0 else sorted({nih.CLASSES[i % 14], nih.CLASSES[(i // 3) % 14]})


def bits(i):
    return " ".join("1" if label in labels(i) else "0" for label in nih.CLASSES)


def place(i, layout):
    folder = 1 + i * 12 // COUNT
    return {
        "twelve": f"images_{folder:03d}/images/{name(i)}",
        "twelve flat": f"images_{folder:03d}/{name(i)}",
        "one": f"images/{name(i)}",
        "flat": name(i),
    }[layout]


def write_images(root, layout="twelve"):
    for i in range(COUNT):
        path = root / place(i, layout)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i).save(path)


def write_table(root, file="Data_Entry_2017.csv", change=lambda line: line, bom=False):
    tail = "," if file == "Data_Entry_2017.csv" else ""
    rows = [HEADER_2017 if tail else HEADER_2020]
    for i in range(COUNT):
        said = "|".join(labels(i)) or "No Finding"
        rows.append(f"{name(i)},{said},{i % 2},{1 + i // 2},058Y,M,PA,2682,2749,0.143,0.143" + tail)
    text = "".join(f"{change(row)}\n" for row in rows)
    (root / file).write_text(text, encoding="utf-8-sig" if bom else "utf-8")


def write_list(root, file, places, line):
    (root / file).write_text("".join(f"{line(i)}\n" for i in places), encoding="utf-8")


def write_official(root, layout="twelve", **options):
    write_images(root, layout)
    write_table(root, **options)
    write_list(root, "train_val_list.txt", range(48), name)
    write_list(root, "test_list.txt", range(48, COUNT), name)


def write_mrm(root, layout="one", line=lambda i: f"{name(i)} {bits(i)}", test="test_list.txt"):
    write_images(root, layout)
    parts = {"train_list": range(40), "val_list": range(40, 48)}
    for part, places in parts.items():
        write_list(root, f"{part}.txt", places, line)
    write_list(root, test, range(48, COUNT), line)
    write_list(root, "train_10.txt", range(4, 12), line)
    write_list(root, "train_1.txt", (0, 4), line)


def names(part):
    return [case.name for case in part]


def bare(places):
    return [name(i).removesuffix(".png") for i in places]


@pytest.mark.parametrize("layout", ["twelve", "twelve flat", "one", "flat"])
def test_the_official_lists_are_read_with_the_tables_labels_from_any_layout(tmp_path, layout):
    write_official(tmp_path, layout)
    split = nih.read(tmp_path, 100)
    assert names(split.test) == bare(range(48, COUNT))
    assert sorted(names(split.train) + names(split.val)) == bare(range(48))
    assert all(case.image.is_file() for case in (*split.train, *split.val, *split.test))
    for i, case in zip(range(48, COUNT), split.test, strict=True):
        assert case.patient == str(1 + i // 2)
        assert " ".join(map(str, case.labels)) == bits(i)
    assert split.facts["split"] == "official"
    assert split.facts["labels"]["file"] == "Data_Entry_2017.csv"
    assert split.facts["without_file"] == 0


def test_validation_and_shares_of_the_official_lists_are_by_patient_and_nested(tmp_path):
    write_official(tmp_path)
    whole = nih.read(tmp_path, 100)
    assert len(whole.val) == 6
    parts = [{case.patient for case in part} for part in (whole.train, whole.val, whole.test)]
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    tenth, half = nih.read(tmp_path, 10), nih.read(tmp_path, 50)
    assert names(tenth.val) == names(whole.val)
    assert set(names(tenth.train)) < set(names(half.train)) < set(names(whole.train))
    assert nih.read(tmp_path, 10, seed=1).facts["ratio"] != tenth.facts["ratio"]


def test_mrms_lists_win_and_their_own_labels_count(tmp_path):
    write_mrm(tmp_path)
    write_table(tmp_path, change=lambda line: line.replace("No Finding", "Hernia"))
    write_list(tmp_path, "train_val_list.txt", range(48), name)
    split = nih.read(tmp_path, 100)
    assert [len(part) for part in (split.train, split.val, split.test)] == [40, 8, 12]
    assert split.train[0].labels == (0,) * 14
    assert (split.facts["split"], split.facts["labels"]) == ("MRM's lists", "the lists' own")
    assert names(nih.read(tmp_path, 10).train) == bare(range(4, 12))
    assert names(nih.read(tmp_path, 1).train) == bare((0, 4))


def test_a_one_percent_list_beside_the_ten_percent_list_is_said_to_be_another_draw(tmp_path):
    write_mrm(tmp_path)
    nested = nih.read(tmp_path, 1).facts["nested"]
    assert nested == {
        "train_1.txt": 2, "train_10.txt": 8, "shared": 1, "train_1_is_part_of_train_10": False
    }  # fmt: skip


def test_refers_lists_with_folders_give_the_same_cases(tmp_path):
    ours, theirs = tmp_path / "mrm", tmp_path / "refers"
    write_mrm(ours)
    write_mrm(theirs, "twelve flat", lambda i: f"{place(i, 'twelve flat')} {bits(i)}")
    for part in ("train", "val", "test"):
        one, two = (getattr(nih.read(root, 100), part) for root in (ours, theirs))
        assert [case._replace(image=Path()) for case in one] == [
            case._replace(image=Path()) for case in two
        ]


def test_both_test_lists_are_told_by_their_labels(tmp_path):
    write_mrm(tmp_path, test="mrm_test_list.txt")
    write_table(tmp_path, "Data_Entry_2017_v2020.csv")
    write_list(tmp_path, "train_val_list.txt", range(50), name)
    write_list(tmp_path, "test_list.txt", range(50, COUNT), name)
    assert len(nih.read(tmp_path, 100).test) == 12
    official = nih.read(tmp_path, 100, split="official")
    assert len(official.test) == 10
    assert official.facts["labels"]["file"] == "Data_Entry_2017_v2020.csv"
    # MRM's shares belong to MRM's lists
    assert "drawn" in nih.read(tmp_path, 10, split="official").facts["ratio"]["rule"]
    (tmp_path / "mrm_test_list.txt").unlink()
    with pytest.raises(MissingError, match="has no labels and is NIH's own"):
        nih.read(tmp_path, 100)


def test_without_a_test_list_the_validation_list_is_the_test_set_and_that_is_said(tmp_path):
    write_mrm(tmp_path)
    (tmp_path / "test_list.txt").unlink()
    split = nih.read(tmp_path, 100)
    assert names(split.test) == bare(range(40, 48))
    assert "the validation list is the test set" in split.facts["test"]


@pytest.mark.parametrize(
    ("options", "file"),
    [
        ({"bom": True}, "Data_Entry_2017.csv"),
        ({"change": lambda line: line.replace(",", ";")}, "Data_Entry_2017.csv"),
        ({"change": lambda line: line.replace(",", "\t")}, "Data_Entry_2017_v2020.csv"),
    ],
)
def test_a_table_with_a_mark_or_another_delimiter_reads_alike(tmp_path, options, file):
    write_table(tmp_path, file, **options)
    entries = nih.read_table(tmp_path / file)
    assert entries["00000001_001"].labels == tuple(map(int, bits(1).split()))
    assert len(entries) == COUNT


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Pleural Thickening", r"csv:5: the label `Pleural Thickening` .*`Pleural_Thickening`"),
        ("Effusion|Oedema", r"csv:5: the label `Oedema` is none of the fourteen.*`Edema`"),
        ("No Finding|Mass", r"csv:5: .* contradict each other"),
    ],
)
def test_an_unknown_label_is_an_error_with_its_row_and_the_nearest(tmp_path, said, expected):
    write_official(tmp_path, change=lambda line: line.replace("No Finding", said))
    table = tmp_path / "Data_Entry_2017.csv"
    lines = table.read_text().splitlines()
    lines[1] = lines[1].replace(said, "No Finding")
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=expected):
        nih.read(tmp_path, 100)


def test_an_image_in_two_lists_is_refused_with_its_patient(tmp_path):
    write_mrm(tmp_path)
    write_list(tmp_path, "test_list.txt", (3, *range(48, COUNT)), lambda i: f"{name(i)} {bits(i)}")
    with pytest.raises(
        InputError, match="image `00000002_001` of patient `2` is in both the train"
    ):
        nih.read(tmp_path, 100)


def test_a_patient_in_two_official_lists_is_refused(tmp_path):
    write_official(tmp_path)
    write_list(tmp_path, "train_val_list.txt", range(47), name)
    write_list(tmp_path, "test_list.txt", range(47, COUNT), name)
    with pytest.raises(InputError, match="patient `24` is in both the train and the test"):
        nih.read(tmp_path, 100)


def test_an_image_twice_with_different_labels_is_refused_with_both_lines(tmp_path):
    write_official(tmp_path)
    table = tmp_path / "Data_Entry_2017.csv"
    row = table.read_text().splitlines()[1]
    table.write_text(table.read_text() + row + "\n")
    assert len(nih.read_table(table)) == COUNT
    table.write_text(table.read_text() + row.replace("No Finding", "Mass") + "\n")
    with pytest.raises(InputError, match=rf"csv:{COUNT + 3}: image .* twice .* at line 2"):
        nih.read(tmp_path, 100)


def test_a_line_with_too_few_labels_and_one_without_a_row_are_refused(tmp_path):
    write_mrm(tmp_path)
    with (tmp_path / "val_list.txt").open("a") as file:
        file.write("99999999_000.png 0 1\n")
    with pytest.raises(InputError, match=r"val_list.txt:9: .* has 2 labels; expected 14"):
        nih.read(tmp_path, 100)
    official = tmp_path / "official"
    write_official(official)
    with (official / "test_list.txt").open("a") as file:
        file.write("99999999_000.png\n")
    with pytest.raises(InputError, match=r"test_list.txt:13: `99999999_000` has no row"):
        nih.read(official, 100)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"`train_list.txt`.*`train_val_list.txt`"):
        nih.read(tmp_path, 100)
    write_list(tmp_path, "train_val_list.txt", range(48), name)
    with pytest.raises(MissingError, match="holds no images"):
        nih.read(tmp_path, 100)
    with pytest.raises(MissingError, match="MRM's lists"):
        nih.read(tmp_path, 100, split="mrm")


def test_a_name_in_two_folders_is_taken_from_nihs_and_counted(tmp_path):
    write_mrm(tmp_path, "twelve")
    (tmp_path / "images_64").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "images_64" / name(0))
    split = nih.read(tmp_path, 100)
    assert split.train[0].image.parts[-3] == "images_001"
    assert split.facts["same_name_elsewhere"] == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Data_Entry.csv", f"{HEADER_2020}\n00000007_000.png,Mass,0,7,50,F,PA,1,1,1,1\n"),
        ("名 单.txt", "a/00000007_000.png 0 0 0 0 1" + " 0" * 9 + "\n"),
        ("own.csv", f"image,{','.join(nih.CLASSES)}\n00000007_000,0,0,0,0,1{',0' * 9}\n"),
    ],
)
def test_labels_of_any_folder_come_in_three_forms(tmp_path, file, text):
    (tmp_path / file).write_text(text, encoding="utf-8")
    (found,) = nih.named(tmp_path / file)
    assert (found.name, found.patient) == ("00000007_000", "7")
    assert [c for c, yes in zip(nih.CLASSES, found.labels, strict=True) if yes] == ["Mass"]


def many(patients, seed=0):
    """Patients with one to four images each, and labels of which the last are rare."""
    rng = np.random.default_rng(seed)
    often = np.geomspace(0.3, 0.01, 14)
    return [
        Case(f"p{p}_{i}", f"p{p}", Path(), tuple((rng.random(14) < often).astype(int).tolist()))
        for p in range(patients)
        for i in range(int(rng.integers(1, 5)))
    ]


def test_a_drawn_share_has_its_size_every_label_and_whole_patients():
    every = many(2000)
    for share in (0.01, 0.1, 0.125):
        first, rest = spread.draw(every, share, seed=0)
        assert len(first) / len(every) == pytest.approx(share, abs=0.001)
        assert not {case.patient for case in first} & {case.patient for case in rest}
        assert np.sum([case.labels for case in first], axis=0).min() > 0
    totals = np.sum([case.labels for case in every], axis=0)
    tenth = np.sum([case.labels for case in spread.draw(every, 0.1, seed=0)[0]], axis=0)
    assert np.abs(tenth / totals - 0.1).max() < 0.04


def test_drawn_shares_are_nested_and_follow_from_seed_and_names_alone():
    every = many(300)
    small, large = (set(names(spread.draw(every, share, seed=3)[0])) for share in (0.02, 0.2))
    assert small < large
    assert set(names(spread.draw(every[::-1], 0.2, seed=3)[0])) == large
    assert set(names(spread.draw(every, 0.2, seed=4)[0])) != large


@pytest.mark.data
@needs_real
def test_the_published_lists_have_the_published_sizes_and_no_patient_in_two():
    parts = {
        part: [
            Case(line.name, nih.patient_of(line.name), Path(), ())
            for line in cases.read_list(REAL / "splits/mrm_nih" / f"{part}_list.txt")
        ]
        for part in ("train", "val", "test")
    }
    assert [len(part) for part in parts.values()] == [78_468, 11_219, 22_433]
    cases.refuse_leaks(cases.Split(**parts), allow_overlap=False)
    assert nih.nesting(REAL / "splits/mrm_nih")["shared"] == 77


@pytest.mark.data
@needs_real
def test_the_real_pack_is_read_whole():
    split = nih.read(REAL / "nih", 100)
    assert len(split.train) + len(split.val) == 725
    assert (len(split.test), split.facts["without_file"]) == (94, 0)
