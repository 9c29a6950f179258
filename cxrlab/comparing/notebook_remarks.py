"""What do notebooks tell that might explain a number: launch lines, and remarks in words?"""

from __future__ import annotations

from cxrlab.comparing.differences import Difference
from cxrlab.imports.launch_line import LaunchLine, read_launch_lines
from store import notebook, notes
from store.db import Database
from trainers.catalog import METHODS

Place = tuple[str, str, int | None, str]
"""Method, task, ratio and metric."""

_WORDS = {
    "normalisation": ("标准化", "归一化", "normali"),
    "initial weights": ("预训练权重", "imagenet", "initial weights", "initiali"),
}
"""By which words a notebook's remark is taken to be of a topic."""


def own_numbers(db: Database) -> dict[Place, notebook.Number]:
    """Return what notebooks say was measured, by cell; of several the one brought in last."""
    return {number.cell: number for number in notebook.numbers(db) if number.origin == "own"}


def launch_lines(db: Database) -> dict[str, LaunchLine]:
    """Return the launch lines that notebooks tell, by the method they pre-train."""
    found: dict[str, LaunchLine] = {}
    for entry in notes.select(db, kinds=("command",)):
        for line in read_launch_lines(entry.text):
            method = line.options.get("model") or line.options.get("method") or ""
            if method in METHODS and "task" not in line.options:
                found.setdefault(method, line)
    return found


def remarks(db: Database, source: str, method: str) -> list[Difference]:
    """Return what a notebook itself remarks on a method, or on all of them, by its words."""
    found = []
    for entry in notes.select(db, kinds=("fact",)):
        words = entry.text.lower()
        about = [name for name in METHODS if words.replace("-", "_").startswith(name)]
        if entry.source != source or (about and method not in about):
            continue
        for topic, signs in _WORDS.items():
            if any(sign in words for sign in signs) and "http" not in words:
                said = f"the notebook remarks: {entry.text} ({source}:{entry.line})"
                found.append(Difference(topic, "", said))
                break
    return found
