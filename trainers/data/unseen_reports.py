"""Which reports does a label file hold, and where in a folder do their radiographs lie?

For an evaluation apart from training; see `trainers.data.labelled`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from trainers.config import InputError, MissingError
from trainers.data import cases, labelled, r2gen, tables
from trainers.data.annotated import Item, item_of
from trainers.data.wording import IMAGES, Rules

logger = logging.getLogger(__name__)

TEXT_COLUMNS = ("report", "report_content")


def named(labels: Path) -> tuple[list[Item], Rules]:
    """Return the items that a label file names, whose images are yet to be found, and its rules.

    Args:
        labels: R2Gen's `annotation.json`, whose test part is taken where it has one, else all of
            it; or a csv table with the image's name and `report` or `report_content`, which is
            taken to follow MIMIC-CXR's rules.

    Raises:
        MissingError: no such file.
        InputError: it is neither.
    """
    if labels.suffix == ".json":
        entries = r2gen.read(labels)
        rules = r2gen.rules_of(entries)
        chosen = entries.get("test") or [entry for part in entries.values() for entry in part]
        many = IMAGES[rules]
        return [item_of(e, [Path(p) for p in e["image_path"][:many]]) for e in chosen], rules
    if not labels.is_file():
        raise MissingError(f"{labels} does not exist")
    return _table(labels), "mimic"


def _table(labels: Path) -> list[Item]:
    found: dict[str, Item] = {}
    for line, row in tables.rows(labels, ()):
        columns = {name.lower(): name for name in row}
        image = next((columns[c] for c in labelled.NAME_COLUMNS if c in columns), None)
        text = next((columns[c] for c in TEXT_COLUMNS if c in columns), None)
        if image is None or text is None:
            raise InputError(f"{labels}:1: expected the columns `image` and `report`")
        whose = next((columns[c] for c in labelled.PATIENT_COLUMNS if c in columns), None)
        name = cases.bare_name(row[image].strip())
        if not name:
            raise InputError(f"{labels}:{line}: `{image}` is empty")
        patient = (row[whose].strip() if whose else "") or name
        item = Item(name, patient, (Path(row[image].strip()),), row[text].strip())
        earlier = found.setdefault(name, item)
        if earlier != item:
            raise InputError(f"{labels}:{line}: `{name}` is there twice with different reports")
    return list(found.values())


def present(wanted: Sequence[Item], images: Path, labels: Path) -> tuple[list[Item], int]:
    """Return the items all of whose images lie in `images`, and how many others there are.

    A warning names each image that is missing and each report that is empty.

    Raises:
        MissingError: none is there.
    """
    files = _found_below(images, [path for item in wanted for path in item.images])
    there = []
    for item in wanted:
        if not item.report:
            logger.warning("`%s` of %s has an empty report; it is left out", item.name, labels)
            continue
        absent = [path for path in item.images if path not in files]
        for path in absent:
            logger.warning("image `%s` of %s is not in %s", path, labels, images)
        if not absent:
            there.append(item._replace(images=tuple(files[path] for path in item.images)))
    if not there:
        raise MissingError(f"none of the {len(wanted)} items that {labels} names is in {images}")
    return there, len(wanted) - len(there)


def _found_below(images: Path, wanted: Sequence[Path]) -> dict[Path, Path]:
    """Return where each wanted image lies: at its own path below `images`, or by its bare name."""
    if not images.is_dir():
        raise MissingError(f"{images} is no folder of images")
    placed = {path: images / path for path in wanted if (images / path).is_file()}
    rest = {path: cases.bare_name(path.name) for path in wanted if path not in placed}
    by_name = labelled.find_images(images, set(rest.values())) if rest else {}
    return placed | {path: by_name[name] for path, name in rest.items() if name in by_name}
