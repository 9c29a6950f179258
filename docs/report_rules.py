"""Measures how well the rule-based labeller reads reports; its tables stand in report_metrics.md.

    python docs/report_rules.py                                  # on generated reports
    python docs/report_rules.py --openi /dataset/openi/reports.csv

Generated reports are held against what was drawn. Open-i's are held against the terms that its
curators gave each report (`mesh_major`), where a term means an observation; the rules were written
looking at its `train` rows alone.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainers.data import layouts, reports, tables
from trainers.observations import OBSERVATIONS, label_reports
from trainers.report_rules import Rules

DRAWN = {
    "Cardiomegaly": ("Cardiomegaly",),
    "Lung Opacity": ("Infiltration",),
    "Lung Lesion": ("Mass", "Nodule"),
    "Edema": ("Edema",),
    "Consolidation": ("Consolidation",),
    "Pneumonia": ("Pneumonia",),
    "Atelectasis": ("Atelectasis",),
    "Pneumothorax": ("Pneumothorax",),
    "Pleural Effusion": ("Effusion",),
    "Pleural Other": ("Pleural_Thickening",),
}
"""Findings of the generator that an observation states."""

TERMS = {
    "Cardiomegaly": r"Cardiomegaly(?!/borderline)|Cardiac Shadow/enlarged",
    "Lung Opacity": r"Opacity|Infiltrate|Airspace Disease|Density/lung",
    "Lung Lesion": r"Nodule|Mass(?!/breast|/mediastinum)|(Opacity|Density)/lung.*/round",
    "Edema": r"Pulmonary Edema|Pulmonary Congestion|Heart Failure",
    "Consolidation": r"Consolidation",
    "Pneumonia": r"Pneumonia(?!ctomy)",
    "Atelectasis": r"Pulmonary Atelectasis",
    "Pneumothorax": r"Pneumothorax|Hydropneumothorax",
    "Pleural Effusion": r"Pleural Effusion|Hydropneumothorax",
    "Pleural Other": r"(Thickening|Cicatrix|Calcinosis)/pleura",
    "Fracture": r"Fractures, Bone",
    "Support Devices": r"Catheters, Indwelling|(Implanted )?Medical Device|Tube, Inserted|Stents",
}
"""Beginnings of the terms of Open-i that mean an observation."""

Truth = Mapping[str, NDArray[np.bool_]]


def generated(count: int) -> tuple[list[str], Truth]:
    """Return texts and what they state."""
    jobs = layouts.plan_mimic(0, count, 64)
    texts = [job.facts["report"].flat.split("FINDINGS:")[1] for job in jobs]
    drawn = [{finding.name for finding in job.findings} for job in jobs]
    true = {
        name: np.array([not found.isdisjoint(names) for found in drawn])
        for name, names in DRAWN.items()
    }
    worn = [
        any(reports.DEVICES[device] in text.replace("- ", "-") for device in job.worn)
        for job, text in zip(jobs, texts, strict=True)
    ]
    return texts, true | {"Support Devices": np.array(worn)}


def openi(path: Path, split: str) -> tuple[list[str], Truth]:
    """Return texts and what their terms state; reports without a text or a term are left out."""
    rows = [
        row
        for _, row in tables.rows(path, ["report_content", "mesh_major", "split"])
        if row["split"] == split
        and row["report_content"].strip()
        and row["mesh_major"] not in ("", "No Indexing")
    ]
    true = {
        name: np.array(
            [any(re.match(term, given) for given in row["mesh_major"].split(";")) for row in rows]
        )
        for name, term in TERMS.items()
    }
    return [row["report_content"] for row in rows], true


def table(texts: Sequence[str], true: Truth) -> str:
    """Return a table of Markdown, an observation a row."""
    labels = label_reports(texts, Rules())
    lines = [
        f"| {len(texts):,} reports | there | P | R | read as uncertain | as denied |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in (name for name in OBSERVATIONS if name in true):
        said, there = labels[:, OBSERVATIONS.index(name)], true[name]
        right = int((there & (said == 1)).sum())
        cells = [
            str(int(there.sum())),
            _share(right, int((said == 1).sum())),
            _share(right, int(there.sum())),
            str(int((there & (said == -1)).sum())),
            str(int((there & (said == 0)).sum())),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "–"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="generated reports")
    parser.add_argument("--openi", type=Path, help="Open-i's reports.csv")
    given = parser.parse_args()
    print(f"generated\n\n{table(*generated(given.count))}")
    for split in ("train", "val") if given.openi else ():
        print(f"\nOpen-i, {split}\n\n{table(*openi(given.openi, split))}")


if __name__ == "__main__":
    main()
