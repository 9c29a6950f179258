"""Are the facts that records are compared by found, and found for the right record?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.config import InputError, MissingError
from trainers.data.conditions import Conditioned, read_codes
from trainers.data.records import Record

DICOM = "0a1b2c3d-11111111-22222222-33333333-4444444{}"


def records(root: Path) -> list[Record]:
    """Three images of two studies, as they lie in MIMIC-CXR-JPG."""
    return [
        Record(root / "files/p10/p10000001" / f"s{study}" / f"{DICOM.format(i)}.jpg",
               "clear .", "10000001", str(study))
        for i, study in enumerate((50000001, 50000001, 50000002))
    ]  # fmt: skip


def metadata(root: Path, views: list[str]) -> Path:
    root.mkdir(exist_ok=True)
    path = root / "mimic-cxr-2.0.0-metadata.csv"
    lines = [f"{DICOM.format(i)},10000001,{view}" for i, view in enumerate(views)]
    path.write_text("\n".join(["dicom_id,subject_id,ViewPosition", *lines]) + "\n")
    return path


def test_mimics_metadata_is_found_above_the_images(tmp_path: Path) -> None:
    metadata(tmp_path, ["PA", "AP", "PA"])
    assert read_codes(records(tmp_path), ["ViewPosition"], None).tolist() == [[1], [0], [1]]


def test_images_of_mrms_own_resized_files_are_known_by_the_same_number(tmp_path: Path) -> None:
    metadata(tmp_path, ["PA", "AP", "PA"])
    resized = [r._replace(image=r.image.with_name(f"{r.image.stem}-512.jpg"))
               for r in records(tmp_path)]  # fmt: skip
    assert read_codes(resized, ["ViewPosition"], None).tolist() == [[1], [0], [1]]


def test_a_prepared_copy_leads_to_the_metadata_of_its_source(tmp_path: Path) -> None:
    metadata(tmp_path / "source", ["PA", "AP", "PA"])
    copy = tmp_path / "copy"
    copy.mkdir()
    about = {"fingerprint": "f", "source": {"root": str(tmp_path / "source"), "tables": {}}}
    (copy / "prepared.json").write_text(json.dumps(about))
    assert read_codes(records(copy), ["ViewPosition"], None).tolist() == [[1], [0], [1]]


def test_a_number_means_the_same_in_every_list_of_records(tmp_path: Path) -> None:
    metadata(tmp_path, ["LL", "AP", "PA"])
    every = read_codes(records(tmp_path), ["ViewPosition"], None)
    assert torch.equal(read_codes(records(tmp_path)[1:], ["ViewPosition"], None), every[1:])


def test_what_is_not_known_is_a_category_of_its_own(tmp_path: Path) -> None:
    metadata(tmp_path, ["PA", ""])
    assert read_codes(records(tmp_path), ["ViewPosition"], None).tolist() == [[1], [0], [2]]


def test_a_table_of_studies_gives_several_columns(tmp_path: Path) -> None:
    table = tmp_path / "chexpert.csv"
    table.write_text("study_id,Edema,Fracture\n50000001,1.0,\ns50000002,0.0,-1.0\n")
    found = read_codes(records(tmp_path), ["Edema", "Fracture"], table).tolist()
    assert found == [[1, 0], [1, 0], [0, 1]]


def test_a_table_of_paths_names_them_from_its_own_folder(tmp_path: Path) -> None:
    each = records(tmp_path)
    lines = [f"{r.image.relative_to(tmp_path)},{side}" for r, side in zip(each, "LRL", strict=True)]
    (tmp_path / "training.csv").write_text("\n".join(["image_path,side", *lines]) + "\n")
    assert read_codes(each, ["side"], tmp_path / "training.csv").tolist() == [[0], [1], [0]]


def test_an_age_counts_by_its_decade(tmp_path: Path) -> None:
    table = tmp_path / "ages.csv"
    lines = [f"{50000001 + i},{age}" for i, age in enumerate([41, 49, *range(60, 70)])]
    table.write_text("\n".join(["study_id,age", *lines]) + "\n")
    some = [r._replace(study=str(50000001 + i)) for i, r in enumerate(records(tmp_path))]
    assert read_codes(some, ["age"], table).tolist() == [[0], [0], [1]]


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="condition_table"):
        read_codes(records(tmp_path), ["ViewPosition"], None)
    metadata(tmp_path, ["PA", "AP", "PA"])
    with pytest.raises(InputError, match="ViewPositions"):
        read_codes(records(tmp_path), ["ViewPositions"], None)
    other = [r._replace(image=Path("/elsewhere/1.jpg")) for r in records(tmp_path)]
    with pytest.raises(InputError, match="no row of 1"):
        read_codes(other, ["ViewPosition"], tmp_path / "mimic-cxr-2.0.0-metadata.csv")
    nameless = tmp_path / "nameless.csv"
    nameless.write_text("who,age\nx,1\n")
    with pytest.raises(InputError, match="dicom_id"):
        read_codes(records(tmp_path), ["age"], nameless)


def test_items_carry_their_own_categories() -> None:
    class Numbers:
        def __len__(self) -> int:
            return 2

        def item(self, index: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
            return {"number": torch.tensor(index)}

    made = Conditioned(Numbers(), torch.tensor([[4, 5], [6, 7]]))
    item = made.item(1, np.random.default_rng(0))
    assert len(made) == 2
    assert item["condition"].tolist() == [6, 7]
    assert item["number"].item() == 1
