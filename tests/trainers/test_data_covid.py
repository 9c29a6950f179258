"""COVID-19 Image Data Collection: two questions, three divisions, groups that stay whole."""

from pathlib import Path

import pytest
from PIL import Image

from trainers.config import InputError, MissingError
from trainers.data import covid

REAL = Path("../shared/data/covid")
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason="the sample of real radiographs is not beside this checkout"
)
COLUMNS = (
    "image_path", "patient_id", "finding", "is_covid", "is_viral", "mrm_covid1_split",
    "mrm_viral1_split", "refers_split", "split",
)  # fmt: skip
COUNT = 40
OWN_HEADER = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,"
    "went_icu,in_icu,needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,"
    "neutrophil_count,lymphocyte_count,view,modality,date,location,folder,filename,doi,url,"
    "license,clinical_notes,other_notes,"
)


def name(i):
    return f"{i:03d}_图 像-{i}.main.pdf-001.jpg"


def part(i, of=COUNT):
    return "train" if i < of * 0.6 else "val" if i < of * 0.8 else "test"


def row(i):
    """Two images a patient; one of four has no COVID-19, and every other of those bacteria."""
    group = i // 2
    is_covid = int(group % 4 > 0)
    viral = 1 if is_covid else ("0", "")[(group // 4) % 2]
    # the published division tears patients apart
    torn = ("train", "train", "val", "test")[(i + i // 4) % 4]
    return f"images/{name(i)},C{group},,{is_covid},{viral},{torn},{torn},{torn},{part(i)}"


def write_images(root, suffix="jpg"):
    (root / "images").mkdir(parents=True)
    for i in range(COUNT):
        Image.new("L", (8, 8), i).save(root / "images" / Path(name(i)).with_suffix(f".{suffix}"))


def write_table(root, change=lambda line: line, bom=False):
    lines = [",".join(COLUMNS), *map(row, range(COUNT))]
    text = "".join(f"{change(line)}\n" for line in lines)
    (root / "metadata.csv").write_text(text, encoding="utf-8-sig" if bom else "utf-8")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "有 空格"
    write_images(root)
    write_table(root)
    return root


def torn(split):
    parts = [{case.patient for case in part} for part in (split.train, split.val, split.test)]
    return parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_groups_come_from_the_tables_column_and_stay_whole(folder):
    split = covid.read(folder, "covid", 100)
    assert split.facts["records"] == {"train": 24, "val": 8, "test": 8}
    assert split.facts["by"] == "column `split`"
    assert not torn(split)
    assert all(case.image.is_file() for case in split.test)
    assert [case.labels for case in split.train[:4]] == [(0,), (0,), (1,), (1,)]


@pytest.mark.parametrize("division", ["mrm", "refers"])
def test_a_published_division_is_taken_on_request_and_its_torn_patients_are_counted(
    folder, division
):
    split = covid.read(folder, "covid", 100, division=division)
    assert torn(split)
    assert sum(split.facts["shared_patients"].values()) >= len(torn(split))
    assert split.facts["division"] == division


def test_lists_of_both_forms_win_over_the_column(folder):
    for said in ("train", "val", "test"):
        lines = [f"{name(i)} {int(i // 2 % 4 > 0)}\n" for i in range(COUNT) if part(i) == said]
        (folder / f"iscovid_{said}.txt").write_text("".join(lines), encoding="utf-8")
    listed = covid.read(folder, "covid", 100)
    assert listed.facts["by"] == "lists"
    for said in ("train", "val", "test"):
        path = folder / f"iscovid_{said}.txt"
        two = path.read_text(encoding="utf-8").replace(" 0\n", " 1 0\n").replace(" 1\n", " 0 1\n")
        path.write_text(two, encoding="utf-8")
    again = covid.read(folder, "covid", 100)
    assert (again.train, again.val, again.test) == (listed.train, listed.val, listed.test)


def test_viral_against_bacterial_is_drawn_by_group_where_the_column_leaves_a_part_one_label(folder):
    split = covid.read(folder, "viral", 100)
    assert "drawn by group" in split.facts["by"]
    assert not torn(split)
    every = (*split.train, *split.val, *split.test)
    assert len(every) == 36  # four images are neither viral nor bacterial
    for p in (split.train, split.val, split.test):
        assert {case.labels for case in p} == {(0,), (1,)}


def test_a_part_with_one_label_only_is_refused(folder):
    text = (folder / "metadata.csv").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not (",0,0," in line and ",val," in line)]
    (folder / "metadata.csv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="part of the split `mrm` of `viral` has only label 1"):
        covid.read(folder, "viral", 100, division="mrm")


def test_a_group_in_two_lists_is_refused_with_the_patient(folder):
    text = (folder / "metadata.csv").read_text(encoding="utf-8").splitlines()
    text[1] = text[1].removesuffix("train") + "test"
    (folder / "metadata.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="patient `C0` is in both the train and the test"):
        covid.read(folder, "covid", 100)


def test_bad_labels_and_images_twice_are_refused_with_their_line(folder):
    write_table(folder, lambda line: line.replace("C3,,1", "C3,,yes"))
    with pytest.raises(InputError, match=r"metadata.csv:8: `is_covid` is `yes`"):
        covid.read(folder, "covid", 100)
    write_table(folder)
    with (folder / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write(row(2).replace(",1,1,", ",0,0,") + "\n")
    with pytest.raises(InputError, match=rf"metadata.csv:{COUNT + 2}: .* twice .* at line 4"):
        covid.read(folder, "covid", 100)


@pytest.mark.parametrize("bom", [True, False])
def test_a_mark_and_another_delimiter_change_nothing(folder, bom):
    before = covid.read(folder, "covid", 100)
    write_table(folder, lambda line: line.replace(",", ";"), bom=bom)
    assert covid.read(folder, "covid", 100).train == before.train


def test_the_collections_own_table_is_read_without_its_ct_slices_and_lateral_views(tmp_path):
    write_images(tmp_path)
    kinds = ("Viral/COVID-19", "Bacterial/Streptococcus", "Viral/SARS", "Fungal/Pneumocystis")
    findings = [*(f"Pneumonia/{kind}" for kind in kinds), "todo"]
    rows = [OWN_HEADER]
    for i in range(COUNT):
        cells = dict.fromkeys(OWN_HEADER.split(","), "")
        seen = "CT" if i >= 38 else "X-ray"
        cells |= {"patientid": str(i // 2), "finding": findings[i // 2 % 5], "modality": seen,
                  "view": "L" if i in (36, 37) else "PA", "folder": "images",
                  "filename": name(i)}  # fmt: skip
        rows.append(",".join(cells.values()) + ",")
    rows[0] = OWN_HEADER.removesuffix(",")
    rows[1:] = [line.removesuffix(",,") for line in rows[1:]]
    (tmp_path / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    table = covid.read_table(tmp_path / "metadata.csv", "covid")
    assert len(table) == 36
    assert [row.label for row in list(table.values())[:10:2]] == [1, 0, 0, 0, None]
    viral = covid.read_table(tmp_path / "metadata.csv", "viral")
    assert [row.label for row in list(viral.values())[:10:2]] == [1, 0, 1, None, None]
    split = covid.read(tmp_path, "covid", 100)
    assert not torn(split)
    assert "drawn by group" in split.facts["by"]


def test_mrms_misprint_is_read_as_meant(tmp_path):
    (tmp_path / "isviral_test.txt").write_text("gr1_lrg-a.jpg 11\ngr1_lrg-b.jpg 1\n1-27.jpg 0\n")
    found = covid.named(tmp_path / "isviral_test.txt", "viral")
    assert [(case.name, *case.labels) for case in found] == [
        ("gr1_lrg-a", 1), ("gr1_lrg-b", 1), ("1-27", 0)
    ]  # fmt: skip


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"no `metadata.csv` and no `iscovid_train.txt`"):
        covid.read(tmp_path, "covid", 100)
    write_table(tmp_path)
    with pytest.raises(MissingError, match="none of the 40 images is in"):
        covid.read(tmp_path, "covid", 100)


@pytest.mark.data
@needs_real
def test_the_real_pack_divides_as_its_description_says():
    split = covid.read(REAL, "covid", 100)
    assert split.facts["records"] == {"train": 232, "val": 37, "test": 37}
    assert not torn(split)
    viral = covid.read(REAL, "viral", 100)
    assert sum(viral.facts["records"].values()) == 219
    assert (
        sum(case.labels == (0,) for p in (viral.train, viral.val, viral.test) for case in p) == 14
    )
