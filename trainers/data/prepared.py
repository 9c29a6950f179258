"""What does a prepared copy say of itself? `prepared.json`, the last file that is written.

A folder with shards but without it is a copy that is not finished.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainers.config import InputError
from trainers.data.store import SUFFIXES

ABOUT = "prepared.json"
TABLE = "training.csv"
SKIPPED = "skipped.csv"
TOKENIZER = "tokenizer.json"


def read(folder: Path) -> dict[str, Any] | None:
    """Return what `prepared.json` in `folder` says; None where there is none.

    Raises:
        InputError: it is no JSON object.
    """
    path = folder / ABOUT
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not isinstance(known, dict) or "fingerprint" not in known:
        raise InputError(f"{path} is not what preparing writes; prepare the copy again")
    return known


def is_begun(folder: Path) -> bool:
    """Return whether there are shards in `folder`, finished or not."""
    return any(any(folder.glob(f"images-*{suffix}*")) for suffix in SUFFIXES.values())


def facts(known: dict[str, Any], table: Path, sha256: str) -> dict[str, Any]:
    """Return what a run should say of the copy it read.

    Args:
        known: what `read` gave.
        table: the copy's table of records.
        sha256: of that table as it is.

    Raises:
        InputError: it is not the table that was written.
    """
    if sha256 != known["training_sha256"]:
        raise InputError(f"{table} was changed after the copy was prepared; prepare it again")
    return {
        "fingerprint": known["fingerprint"],
        "content_fingerprint": known["content_fingerprint"],
        "prepared": {name: known[name] for name in ("source", "px", "store", "method", "left_out")},
    }


def tokenizer(folder: Path, *, vocab_size: int, text_field: str) -> Path | None:
    """Return the tokenizer that lies with the copy in `folder`, if it is the one to use.

    One that a person gave is used always; one that was trained on the copy's reports, where a run
    would train just the same.
    """
    known = read(folder)
    about = known.get("tokenizer") if known else None
    if not about or not (folder / TOKENIZER).is_file():
        return None
    fits = about["given"] or (about["vocab_size"], about["text_field"]) == (vocab_size, text_field)
    return folder / TOKENIZER if fits else None
