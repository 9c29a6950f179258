"""A chart as a file, drawn by a child that has matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cxrlab import programs
from cxrlab.chart import Chart
from cxrlab.errors import Usage
from cxrlab.lab import Lab

KINDS = (".png", ".svg", ".pdf")


def checked(path: Path) -> Path:
    """Return where a picture is to be written.

    Raises:
        Usage: its name does not end as a picture's does.
    """
    if path.suffix.lower() not in KINDS:
        raise Usage(f"`--out {path}` is no picture", f"its name must end in {', '.join(KINDS)}")
    return path.expanduser().absolute()


def write(lab: Lab, chart: Chart, path: Path) -> None:
    """Write the chart to `path`, whose folder is made.

    Raises:
        CxrlabError: it cannot be drawn, or not be written there.
    """
    question = {"out": str(path), **chart.as_facts()}
    programs.answer_of(
        lab,
        [sys.executable, "-P", "-m", "trainers.draw"],
        wanted="picture",
        key="path",
        given=json.dumps(question),
    )
