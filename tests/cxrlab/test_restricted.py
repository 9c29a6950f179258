"""Of a run on a restricted data set no door shows a report or an image, unless the set is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, restricted
from cxrlab.errors import NotFound
from cxrlab.lab import Lab, find_lab, make_lab, set_data_root
from cxrlab.settings_file import read_settings
from cxrlab.tui import file_words, reading_run, telling
from store import intake, runs
from trainers.events import EventLog

SECRET = "heart size is normal"
PICTURE = "samples/reconstruction-1.png"


@pytest.fixture
def locked(lab: Lab) -> Lab:
    """A lab whose records are restricted."""
    source = lab.settings_file.read_text()
    marked = source.replace("[data.mimic_cxr]\n", "[data.mimic_cxr]\nrestricted = true\n")
    lab.settings_file.write_text(marked)
    return find_lab(lab.root)


@pytest.fixture
def finished(db: Any, new_run: Any) -> Any:
    """Make a finished run of a task with a picture and a report as its samples."""

    def finish(task: str) -> runs.Run:
        run = new_run(task=task, ratio=None if task == "pretrain" else 10)
        folder = Path(run.folder)
        events = EventLog(folder)
        events.sample(PICTURE, f"p1: {SECRET}")
        events.sample("samples/reports.md", "two generated reports")
        events.result(values={"val/loss": 1.0} if task == "pretrain" else {"test/Dice": 0.5})
        events.end("succeeded")
        intake.take_in(db, run.id, folder)
        runs.change_state(db, run.id, "succeeded")
        return runs.get(db, run.id)

    return finish


def said_by(lab: Lab, *words: str) -> str:
    result = CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    return result.output


DOORS = [
    ("show", "{run}"),
    ("show", "{run}", "--json"),
    ("runs",),
    ("runs", "--json"),
    ("grid",),
    ("grid", "--json"),
    ("export",),
    ("export", "--json"),
    *(("export", "--format", form) for form in ("html", "latex", "csv", "json")),
    ("data", "list"),
    ("data", "list", "--json"),
]


@pytest.mark.parametrize("door", DOORS, ids=" ".join)
def test_no_command_shows_what_a_restricted_set_holds(
    locked: Lab, finished: Any, door: tuple[str, ...]
) -> None:
    run = finished("pretrain")
    said = said_by(locked, *(word.format(run=run.id) for word in door))
    assert SECRET not in said
    assert PICTURE not in said


def test_show_says_that_it_holds_back_and_shows_what_it_is_asked_for_by_name(
    locked: Lab, finished: Any
) -> None:
    run = finished("pretrain")
    said = said_by(locked, "show", run.id)
    assert "not shown: `mimic_cxr` is restricted; `--include-restricted mimic_cxr`" in said
    assert json.loads(said_by(locked, "show", run.id, "--json"))["restricted"] == "mimic_cxr"
    by_name = ("--include-restricted", "mimic_cxr", "--json")
    shown = json.loads(said_by(locked, "show", run.id, *by_name))
    assert f"p1: {SECRET}" in [sample["caption"] for sample in shown["samples"]]
    assert shown["restricted"] == ""
    another = ("--include-restricted", "siim", "--json")
    assert SECRET not in said_by(locked, "show", run.id, *another)


def test_a_run_on_another_set_shows_its_samples(locked: Lab, finished: Any) -> None:
    run = finished("siim")
    assert "2 files in" in said_by(locked, "show", run.id)
    shown = json.loads(said_by(locked, "show", run.id, "--json"))
    assert len(shown["samples"]) == 2


def test_the_dashboard_shows_no_caption_and_says_why(locked: Lab, finished: Any) -> None:
    run = finished("pretrain")
    for pane in (file_words.files, lambda view, root: telling.facts(view)):
        assert SECRET not in pane(reading_run.read_run(locked, run.id), root=locked.root).plain
    said = file_words.files(reading_run.read_run(locked, run.id), root=locked.root).plain
    assert "`mimic_cxr` is restricted" in said
    by_name = restricted.including(locked, ["mimic_cxr"])
    assert SECRET in file_words.files(reading_run.read_run(by_name, run.id), root=locked.root).plain


def test_a_set_that_does_not_exist_cannot_be_included(locked: Lab, finished: Any) -> None:
    with pytest.raises(NotFound, match="mimic_cx"):
        restricted.including(locked, ["mimic_cx"])
    words = ["--lab", str(locked.root), "show", finished("pretrain").id]
    result = CliRunner().invoke(cli.app, [*words, "--include-restricted", "mimic_cx"])
    assert result.exit_code == 3


def test_sets_are_open_until_they_are_marked_and_the_settings_say_how(tmp_path: Path) -> None:
    made = make_lab(tmp_path / "lab")
    template = made.settings_file.read_text()
    block = template.split("# [data.mimic_cxr]")[1].split("# [data.")[0]
    assert "# restricted = true" in block
    assert template.count("restricted = true") == 1
    used = set_data_root(made, "mimic_cxr", root=tmp_path)
    assert not used.settings.data["mimic_cxr"].restricted
    by_hand = template.replace("# [data.mimic_cxr]\n# root", "[data.mimic_cxr]\nroot")
    made.settings_file.write_text(by_hand.replace("# restricted", "restricted"))
    assert read_settings(made.settings_file).data["mimic_cxr"].restricted


def test_every_module_that_handles_samples_asks_what_is_restricted() -> None:
    package = Path(restricted.__file__).parent
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    door = re.compile(r"\w\.caption\b|samples/")
    doors = {path.name for path, text in sources.items() if door.search(text)}
    asking = {path.name for path, text in sources.items() if "restricted" in text}
    assert {"show.py", "file_words.py"} <= doors
    assert doors <= asking
