"""Which radiographs are reports written from, and which of them are trained, validated, tested on?

Read are, the first that is there: R2Gen's `annotation.json` with its images beside it or in
`images/`; Open-i's `reports.csv` with `image_report_pairs.csv`; a table `pairs.csv`; MIMIC-CXR-JPG
as PhysioNet ships it, by its own split; and a table `training.csv`. A table has the columns
`image_path` and `report_content`, and may have `split` and `patient_id`.

Of a report with headers its findings are kept, a report without any is taken whole, and one of
fewer than three words is left out.

Source: R2Gen (Chen et al., EMNLP 2020) for its file, and for one item an image of MIMIC-CXR; that
its texts are the findings alone is not told anywhere, but fits its vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trainers.config import InputError, MissingError
from trainers.data import cases, fingerprint, mimic, r2gen, records, sections, tables
from trainers.data.cases import Case
from trainers.data.wording import Rules

logger = logging.getLogger(__name__)

OPENI = ("reports.csv", "image_report_pairs.csv")
PAIRS = "pairs.csv"
FEWEST_WORDS = 3
"""Source: R2Gen's sizes of MIMIC-CXR, as they are rebuilt."""
HELD_OUT = 0.15
"""Of the patients: what is drawn for validation, or for test, where neither is named."""
FRONTAL_FIRST = {"frontal": 0, "pa": 0, "ap": 0}

Text = Literal["findings", "impression", "findings_impression", "raw"]
SECTIONS: dict[str, tuple[str, ...]] = {
    "findings": ("findings",),
    "impression": ("impression",),
    "findings_impression": ("findings", "impression"),
    "raw": ("findings", "impression"),
}
"""The sections that each means; Open-i's table has no other, so that they are its raw text."""


class Item(NamedTuple):
    """One report, and the radiographs it is written from."""

    name: str
    patient: str
    images: tuple[Path, ...]
    report: str
    """As it is written; never empty."""


@dataclass(frozen=True)
class Split:
    """What to train, validate and test on."""

    train: list[Item]
    val: list[Item]
    test: list[Item]
    rules: Rules
    """Those that R2Gen has for a set like this one."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Counts, the table's SHA-256, and what was drawn by which rule; JSON."""


class Kept(NamedTuple):
    """What is kept of the reports of a set that brings them whole."""

    text: Text = "findings"
    """Which part of a report with headers."""
    fewest_words: int = FEWEST_WORDS
    """A report with fewer is left out."""


class _Found(NamedTuple):
    """What a folder holds, part by part, before anything is drawn; part "" is nobody's."""

    parts: dict[str, list[Item]]
    rules: Rules
    facts: dict[str, Any]


def read(data_path: Path, ratio: int, *, seed: int = 0, kept: Kept | None = None) -> Split:
    """Return the items of `data_path` that `ratio` percent of the patients leave to train on.

    Without a test part the validation part is the test set, and a share of the training patients
    is drawn for validation; without either, both are drawn.

    Args:
        data_path: a folder in one of the layouts, or its `annotation.json` or csv table.
        ratio: percent of the training patients, drawn.
        seed: of whatever no list fixes.
        kept: what is kept of reports; `annotation.json` holds texts that are ready.

    Raises:
        MissingError: the folder, a table or every image looked for is not there.
        InputError: a table is not what it should be, or two parts share an item or a patient.
    """
    found = _reader(data_path)(data_path, kept or Kept())
    _refuse_overlap(found.parts)
    train, val, test, rule = _divide(found.parts, seed)
    if not train:
        raise InputError(f"{data_path} has no report to train on")
    if not 1 <= ratio <= 100:
        raise InputError(f"the ratio is {ratio} percent; expected 1 to 100")
    share = "all of train"
    if ratio < 100:
        train, _ = _draw(train, ratio / 100, seed)
        share = f"{ratio} % of train, drawn by patient, nested, seed {seed}"
    _look_for_images([item.images[0] for item in (*train, *val, *test)])
    parts = {"train": train, "val": val, "test": test}
    facts = found.facts | {
        "rules": found.rules,
        "parts": rule,
        "ratio": {"rule": share},
        "records": {name: len(part) for name, part in parts.items()},
        "patients": {name: len({item.patient for item in part}) for name, part in parts.items()},
        "split_sha256": {
            name: fingerprint.of_rows([(item.name,) for item in sorted(part)])
            for name, part in parts.items()
        },
    }
    return Split(train, val, test, found.rules, facts)


def rules_at(data_path: Path) -> Rules:
    """Return whose rules R2Gen has for a set like the one at `data_path`.

    Raises:
        MissingError: there is no such set.
        InputError: its `annotation.json` is no such file.
    """
    reader = _reader(data_path)
    if reader is _read_annotation:
        return r2gen.rules_of(r2gen.read(_annotation(data_path)))
    return "iu" if reader is _read_openi else "mimic"


def _annotation(data_path: Path) -> Path:
    return data_path if data_path.suffix == ".json" else data_path / r2gen.FILE


def _reader(data_path: Path) -> Callable[[Path, Kept], _Found]:
    if data_path.suffix == ".json" or (data_path / r2gen.FILE).is_file():
        return _read_annotation
    if all((data_path / name).is_file() for name in OPENI):
        return _read_openi
    known = data_path.suffix == ".csv" or mimic.is_tree(data_path)
    names = (PAIRS, "training.csv")
    if not known and not any((data_path / name).is_file() for name in names):
        if not data_path.exists():
            raise MissingError(f"{data_path} does not exist")
        raise MissingError(
            f"{data_path} holds neither `{r2gen.FILE}`, nor `{'` with `'.join(OPENI)}`, nor "
            f"`{PAIRS}`, nor `training.csv`, nor `files/` with PhysioNet's tables"
        )
    return _read_records


def image_root(folder: Path) -> Path:
    """Return where the images of an `annotation.json` in `folder` lie."""
    return folder / "images" if (folder / "images").is_dir() else folder


def item_of(entry: Mapping[str, Any], images: Sequence[Path]) -> Item:
    """Return what an entry of R2Gen's file says, with its images where they lie."""
    name = str(entry["id"])
    return Item(name, str(entry.get("subject_id", name)), tuple(images), entry["report"].strip())


def _read_annotation(data_path: Path, _: Kept) -> _Found:
    path = _annotation(data_path)
    entries = r2gen.read(path)
    root = image_root(path.parent)
    parts: dict[str, list[Item]] = {}
    empty = 0
    for name, part in entries.items():
        seen: set[str] = set()
        for number, entry in enumerate(part):
            item = item_of(entry, [root / image for image in entry["image_path"]])
            if item.name in seen:
                raise InputError(f"{path}: entry {number} of `{name}` repeats `{item.name}`")
            seen.add(item.name)
            if not item.report:
                empty += 1
                logger.warning("%s: `%s` has an empty report; it is left out", path, item.name)
                continue
            parts.setdefault(name, []).append(item)
    rows = [
        (item.name, *map(str, item.images), fingerprint.of_text(item.report), name)
        for name, part in parts.items()
        for item in part
    ]
    facts = {
        "table": path.name,
        "sha256": tables.sha256(path),
        "fingerprint": fingerprint.of_rows(rows),
        "empty_reports": empty,
    }
    return _Found(parts, r2gen.rules_of(entries), facts)


def _read_openi(root: Path, kept: Kept) -> _Found:
    reports, pairs = (root / name for name in OPENI)
    images: dict[str, list[tuple[int, str]]] = {}
    for line, row in tables.rows(pairs, ("image_path", "uid")):
        name, uid = row["image_path"].strip(), row["uid"].strip()
        if not name or not uid:
            raise InputError(f"{pairs}:{line}: `image_path` or `uid` is empty")
        rank = FRONTAL_FIRST.get(row.get("view", "").strip().lower(), 1)
        images.setdefault(uid, []).append((rank, name))
    parts: dict[str, list[Item]] = {}
    counts = {"without_image": 0, "empty_reports": 0}
    rows = []
    for line, row in tables.rows(reports, ("uid", "findings", "impression")):
        uid = row["uid"].strip()
        own = [name for _, name in sorted(images.get(uid, []), key=lambda pair: pair[0])]
        wanted = SECTIONS[kept.text]
        report = " ".join(row[name].strip() for name in wanted if row[name].strip())
        if not own:
            counts["without_image"] += 1
            continue
        if len(report.split()) < max(kept.fewest_words, 1):
            counts["empty_reports"] += 1
            logger.warning("%s:%d: report `%s` is too short; it is left out", reports, line, uid)
            continue
        part = records.SPLITS.get(row.get("split", "").strip().lower(), "")
        item = Item(uid, uid, tuple(root / name for name in own), report)
        parts.setdefault(part, []).append(item)
        rows.append((uid, *own, fingerprint.of_text(report), part))
    facts = {
        "table": reports.name,
        "sha256": tables.sha256(reports),
        "fingerprint": fingerprint.of_rows(rows),
        **counts,
    }
    return _Found(parts, "iu", facts)


def _read_records(data_path: Path, kept: Kept) -> _Found:
    table = data_path / PAIRS
    given = table if data_path.suffix != ".csv" and table.is_file() else data_path
    found = records.read_rows(given, official=True)
    whole: dict[str, str] = {}
    rows = []
    short: list[str] = []
    for row in found.rows:
        report = row.record.report
        if report not in whole:
            whole[report] = keep(report, kept)
        if not whole[report]:
            short.append(row.where)
            continue
        rows.append(row._replace(record=row.record._replace(report=whole[report])))
    if short:
        logger.warning(
            "%s: the report has fewer than %d words, as have %d more; they are left out",
            short[0], kept.fewest_words, len(short) - 1,
        )  # fmt: skip
    divided = records.sort_out(found._replace(rows=rows))
    every = {"train": divided.train, "val": divided.val, "test": divided.test}
    if not any(row.split == "val" for row in rows):
        # what pre-training holds out by a rule of its own is no part of this set
        every |= {"train": [*divided.train, *divided.val], "val": []}
    parts = {
        name: [
            Item(records.name_of(r.image, found.root), r.patient, (r.image,), r.report)
            for r in part
        ]
        for name, part in every.items()
        if part
    }
    names = ("validation", "records", "patients", "report_text", "empty_reports")
    facts = {key: value for key, value in divided.facts.items() if key not in names}
    return _Found(
        parts, "mimic", facts | {"report_text": kept._asdict(), "empty_reports": len(short)}
    )


def keep(report: str, kept: Kept) -> str:
    """Return what is learnt of `report`, on one line; nothing if it is too short.

    A report without any header is kept whole.
    """
    found = {part.name for part in sections.split(report)}
    whole = report
    if kept.text != "raw" and not found <= {sections.PREAMBLE}:
        named = sections.by_name(report)
        whole = " ".join(dict.fromkeys(named[n] for n in SECTIONS[kept.text] if n in named))
    line = " ".join(whole.split())
    return line if len(line.split()) >= kept.fewest_words else ""


def _refuse_overlap(parts: Mapping[str, Sequence[Item]]) -> None:
    for what in ("name", "patient"):
        shared = cases.overlaps({p: [getattr(i, what) for i in part] for p, part in parts.items()})
        word = {"name": "item", "patient": "patient"}[what]
        for (a, b), values in shared.items():
            more = f", as are {len(values) - 1} more" if len(values) > 1 else ""
            raise InputError(
                f"{word} `{values[0]}` is in both {a} and {b}{more}; scores on such parts are not "
                "to be trusted"
            )


def _divide(
    parts: Mapping[str, list[Item]], seed: int
) -> tuple[list[Item], list[Item], list[Item], str]:
    train, val, test = ([*parts.get(name, [])] for name in ("train", "val", "test"))
    train += parts.get("", [])
    drawn = []
    if not test:
        drawn.append("validation" if val else "validation and test")
        test, val = val, []
        if not test:
            test, train = _draw(train, HELD_OUT, seed)
    elif not val:
        drawn.append("validation")
    if not drawn:
        return train, val, test, "as the table has them"
    val, train = _draw(train, HELD_OUT, seed)
    how = f"{drawn[0]} drawn by patient, {HELD_OUT:.0%} of train for each, seed {seed}"
    return train, val, test, how if "test" in drawn[0] or parts.get("test") else (
        f"what is called validation is tested on; {how}"
    )  # fmt: skip


def _draw(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    stand_in = [Case(item.name, item.patient, item.images[0], ()) for item in items]
    taken = {case.name for case in cases.draw(stand_in, share, seed=seed)[0]}
    first = [item for item in items if item.name in taken]
    return first, [item for item in items if item.name not in taken]


def _look_for_images(paths: Sequence[Path]) -> None:
    some = paths[:: max(1, len(paths) // 16)]
    if not any(path.is_file() for path in some):
        raise MissingError(f"none of {len(some)} images looked for exists; the first is {some[0]}")
