"""By which of a record's facts are records compared, and where do these facts stand?

In a column of any table that names images or studies; without one, in MIMIC-CXR-JPG's metadata
above the images, whose `ViewPosition` says how a radiograph was taken.

Shapes: Q columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.config import InputError, MissingError
from trainers.data import prepared, tables
from trainers.data.items import Items
from trainers.data.records import Record

KEYS = ("dicom_id", "image_path", "study_id")
"""Columns that say whose row it is; the first that a table has is taken."""

FEW = 10
"""A column of numbers with more different ones than this is taken by its tens."""

_DICOM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")


class Conditioned:
    """Items together with the categories that their records are compared by."""

    def __init__(self, items: Items, codes: Tensor) -> None:
        self.items, self.codes = items, codes

    def __len__(self) -> int:
        return len(self.items)

    def item(self, index: int, rng: np.random.Generator) -> Mapping[str, Tensor | str]:
        """Return the item with `condition` (Q,), numbers of categories.

        Raises:
            BadItem: its files cannot be used.
        """
        return {**self.items.item(index, rng), "condition": self.codes[index]}


def read_codes(records: Sequence[Record], columns: Sequence[str], table: Path | None) -> Tensor:
    """Return for each record and column the number of its category, (records, Q).

    A number means the same in every list of records, as it counts the values of the whole table. A
    record that has no row, and an empty field, are categories too.

    Args:
        records: whose facts.
        columns: of the table.
        table: a csv file; None looks for MIMIC-CXR-JPG's metadata above the images, or above those
            that a prepared copy was made from.

    Raises:
        MissingError: there is no such table.
        InputError: it lacks a column, or has no row of any record.
    """
    path = table or _metadata_above(records[0].image)
    rows = [row for _, row in tables.rows(path, columns)]
    key = next((name for name in KEYS if rows and name in rows[0]), None)
    if key is None:
        raise InputError(f"{path} has no row with one of {', '.join(KEYS)}")
    categories = [_categories([row[column].strip() for row in rows]) for column in columns]
    known = {
        _name_in_table(row[key], key, path): codes
        for row, codes in zip(rows, zip(*categories, strict=True), strict=True)
    }
    names = [_name_of(record, key) for record in records]
    if not any(name in known for name in names):
        raise InputError(f"{path} has no row of {names[0]} or any other record, by its `{key}`")
    nobody = tuple(max(each) + 1 for each in categories)
    return torch.tensor([known.get(name, nobody) for name in names])


def _metadata_above(image: Path) -> Path:
    for folder in image.parents:
        known = prepared.read(folder)
        for place in (folder, *([Path(known["source"]["root"])] if known else [])):
            found = sorted(place.glob("mimic-cxr-2*-metadata.csv*"))
            if found:
                return found[0]
    raise MissingError(
        f"no `mimic-cxr-2.0.0-metadata.csv` lies above {image}; name a table with "
        "`--condition_table`"
    )


def _categories(values: Sequence[str]) -> list[int]:
    """Return the numbers of the values in ascending order; of many numbers, those of their tens."""
    if len(set(values)) > FEW and all(_is_number(value) for value in values if value):
        values = [str(int(float(value) // 10)) if value else "" for value in values]
    numbers = {value: number for number, value in enumerate(sorted(set(values)))}
    return [numbers[value] for value in values]


def _is_number(value: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d*)?", value) is not None


def _name_in_table(value: str, key: str, table: Path) -> Any:
    if key == "image_path":
        return table.parent / value.strip()
    return value.strip().removeprefix("s") if key == "study_id" else value.strip()


def _name_of(record: Record, key: str) -> Any:
    if key == "image_path":
        return record.image
    if key == "study_id":
        return record.study.removeprefix("s")
    found = _DICOM.search(record.image.name)  # MRM's own files are called DICOM-512.jpg
    return found[0] if found else record.image.stem
