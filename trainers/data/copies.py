"""What does a prepared copy hold beside its shards? A table, a tokenizer, and what it is made of.

The same originals and settings give the same bytes: no times, no hosts, no order of work.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trainers.config import InputError
from trainers.data import fingerprint, prepared, records, shards, store, tables, tokens
from trainers.data.records import Row, Rows
from trainers.data.shards import Form, Job, Kept


@dataclass(frozen=True)
class Order:
    """What is to be prepared, and how."""

    source: Path
    into: Path
    form: Form
    processes: int = 2
    shard_images: int = shards.SHARD_IMAGES
    vocab_size: int = 30000
    tokenizer: Path | None = None
    anew: bool = False


class Entry(NamedTuple):
    """One row of the copy's table."""

    row: Row
    kept: Kept
    image: str
    """Its path in the copy."""


def sort_out(
    jobs: Sequence[Job], rows: Sequence[Row], root: Path
) -> tuple[list[Entry], list[tuple[str, str, str]]]:
    """Return the rows whose image is in the copy, and file, row and reason of the others."""
    kept = {k.name: (job.shard().name, k) for job in jobs for k in shards.read_index(job)}
    entries, skipped = [], []
    for row in rows:
        shard, one = kept[records.name_of(row.record.image, root)]
        if one.reason:
            skipped.append((str(row.record.image), row.where, one.reason))
            continue
        size = (one.width, one.height)
        image = store.entry_path(shard, one.offset, one.length, size, one.name)
        entries.append(Entry(row, one, image))
    return entries, skipped


def finish(
    order: Order,
    read: Rows,
    jobs: Sequence[Job],
    entries: Sequence[Entry],
    skipped: Sequence[Any],
) -> dict[str, Any]:
    """Write the table, the tokenizer, and last `prepared.json`; returns what that says."""
    try:
        before = prepared.read(order.into)
    except InputError:
        before = None  # damaged; it is about to be replaced
    table = order.into / prepared.TABLE
    _write_training(table, entries)
    placed = [
        e.row._replace(record=e.row.record._replace(image=order.into / e.image)) for e in entries
    ]
    # sorted out as a run will, so that counts and tokenizer are what that run would come to
    whole = records.sort_out(Rows(order.into, table, placed, {}))
    about = _about(order, read, jobs, entries, skipped)
    about |= {name: whole.facts[name] for name in ("records", "patients")}
    reports = [record.report for record in whole.train]
    about["tokenizer"] = _tokenizer(order, reports, before, about["training_sha256"])
    shards.write_whole(order.into / prepared.ABOUT, [json.dumps(about, indent=2)])
    return about


def write_table(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a csv table, whole or not at all."""

    def lines() -> Iterator[str]:
        for row in (head, *rows):
            out = io.StringIO()
            # a field is quoted for having in it what ends a line: both kinds of line break
            csv.writer(out, lineterminator="\r\n").writerow(row)
            yield out.getvalue().removesuffix("\r\n")

    shards.write_whole(path, lines())


def _write_training(path: Path, entries: Sequence[Entry]) -> None:
    """Write the records in MRM's form, reports as they are; `split` only where it is known."""
    known = any(entry.row.split for entry in entries)
    head = ["image_path", "report_content", "patient_id", "study_id"]
    head += ["split"] * known + ["original", "sha256"]
    rows = []
    for entry in entries:
        record = entry.row.record
        row = [entry.image, record.report, record.patient, record.study]
        rows.append([*row, *[entry.row.split] * known, entry.kept.name, entry.kept.sha256])
    write_table(path, head, rows)


def _about(
    order: Order,
    read: Rows,
    jobs: Sequence[Job],
    entries: Sequence[Entry],
    skipped: Sequence[Any],
) -> dict[str, Any]:
    """Return what `prepared.json` says, but for the tokenizer; no times, no hosts."""
    facts = read.facts
    source_tables = {facts["table"]: facts["sha256"]}
    if "split_table" in facts:
        source_tables[facts["split_table"]] = facts["split_sha256"]
    empty = sum(not row.record.report.strip() for row in read.rows)
    return {
        "source": {"root": str(read.root.resolve()), "tables": source_tables},
        "fingerprint": facts["fingerprint"],
        "content_fingerprint": fingerprint.of_rows(
            (
                entry.kept.name,
                entry.kept.sha256,
                fingerprint.of_text(entry.row.record.report),
                entry.row.split or "",
            )
            for entry in entries
        ),
        "px": order.form.px,
        "store": order.form.store,
        "method": order.form.method(),
        "images": len({entry.image for entry in entries}),
        "bytes": sum(job.shard().stat().st_size for job in jobs),
        "shards": len(jobs),
        "left_out": {
            "unreadable_images": len({file for file, *_ in skipped}),
            "empty_reports": empty,
            "without_report": facts.get("without_report", 0),
        },
        "training_sha256": tables.sha256(order.into / prepared.TABLE),
    }


def _tokenizer(
    order: Order, reports: Sequence[str], before: dict[str, Any] | None, training_sha256: str
) -> dict[str, Any]:
    """Copy the tokenizer given, keep the one of an earlier call, or train one; say which."""
    path = order.into / prepared.TOKENIZER
    about = {"given": order.tokenizer is not None, "text_field": "raw"}
    if order.tokenizer:
        tokens.load_tokenizer(order.tokenizer, 100)  # refuses what is none
        _write_text(path, order.tokenizer.read_text(encoding="utf-8"))
        return about | {"vocab_size": None, "sha256": tables.sha256(path)}
    about["vocab_size"] = order.vocab_size
    if before and before["training_sha256"] == training_sha256 and path.is_file():
        old = before.get("tokenizer") or {}
        if old == about | {"sha256": tables.sha256(path)}:
            return dict(old)
    tokenizer = tokens.train_tokenizer(reports, order.vocab_size)
    _write_text(path, tokenizer.to_str(pretty=True))
    return about | {"sha256": tables.sha256(path)}


def _write_text(path: Path, text: str) -> None:
    shards.write_whole(path, text.removesuffix("\n").split("\n"))
