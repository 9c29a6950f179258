"""Program: reads the fourteen observations off reports, in CheXbert's form of tables.

    python -m trainers.label_reports --labeller rules --reports FILE.csv --out FILE.csv

The table has a column `Report Impression`. What is written has it too, and one column for each
observation: 1.0 there, 0.0 denied, -1.0 uncertain, empty where nothing is said of it. R2Gen's
`compute_ce.py` reads two such tables, of generated and of true reports.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainers import labellers, program
from trainers.config import ConfigError, InputError
from trainers.data import tables
from trainers.loop import pick_device
from trainers.observations import OBSERVATIONS, Labels, label_reports

COLUMN = "Report Impression"


def main(argv: Sequence[str]) -> int:
    """Label as `argv` says and return the exit code."""
    return program.guard(lambda: _label(argv), lambda: None)


def _label(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainers.label_reports", allow_abbrev=False)
    parser.add_argument("--labeller", required=True, help=", ".join(labellers.NAMES))
    parser.add_argument("--reports", required=True, type=Path, metavar="FILE", help="csv to read")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="csv to write")
    parser.add_argument("--column", default=COLUMN, help="where the texts stand in `--reports`")
    parser.add_argument("--weights", default="", metavar="FILE", help="CheXbert's `chexbert.pth`")
    parser.add_argument(
        "--words", default="", metavar="FILE", help="`vocab.txt` of bert-base-uncased"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    given = parser.parse_args(list(argv))
    if given.out.resolve() == given.reports.resolve():
        raise ConfigError(f"`out` is the table to read, {given.reports}; name another file")
    labeller = labellers.choose(
        given.labeller,
        weights=given.weights,
        words=given.words,
        device=pick_device(given.device),
    )
    texts = [row[given.column] for _, row in tables.rows(given.reports, [given.column])]
    if not texts:
        raise InputError(f"{given.reports} has no report")
    write(given.out, texts, label_reports(texts, labeller))
    sys.stderr.write(f"{given.out}: {len(texts)} read by {given.labeller}\n")
    return 0


def write(path: Path, texts: Sequence[str], labels: Labels) -> None:
    """Write a table as CheXbert does: the text, then its observations."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([COLUMN, *OBSERVATIONS])
        for text, row in zip(texts, labels, strict=True):
            table.writerow([text, *("" if np.isnan(value) else value for value in row.tolist())])
    temporary.replace(path)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
