"""`cxrlab data prepare`: which data runs read from then on, and what the data are called."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrlab import cli, programs
from cxrlab.assets import copies, versions
from cxrlab.errors import BadInput
from cxrlab.lab import Lab, make_lab
from cxrlab.plan import Step
from cxrlab.settings import DataSettings
from store import intake, results
from trainers.events import EventLog


def invoke(lab: Lab, *words: str) -> Any:
    given = ["--lab", str(lab.root), *words]
    return CliRunner().invoke(cli.app, given, env={"COLUMNS": "200"})


@pytest.fixture
def real(lab: Lab) -> Lab:
    """The lab, with a set of ten pictures in MRM's form, called V3."""
    root = lab.settings.data["mimic_cxr"].root
    rng = np.random.default_rng(0)
    with (root / "training.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image_path", "report_content"])
        for i in range(10):
            Image.fromarray(rng.integers(0, 255, (70, 60), dtype=np.uint8)).save(root / f"{i}.png")
            out.writerow([f"{i}.png", f"FINDINGS: Clear {i}."])
    text = lab.settings_file.read_text()
    lab.settings_file.write_text(
        text.replace(f'root = "{root}"', f'root = "{root}"\nversion = "V3"')
    )
    return make_lab(lab.root)


def prepared(lab: Lab, *more: str) -> Any:
    return invoke(lab, "data", "prepare", "mimic_cxr", "--px", "48", "--jobs", "1", *more)


def pretraining(lab: Lab, **change: Any) -> list[str]:
    step = Step("mrm", "pretrain", None, 0, "quick", **change)
    return programs.command(
        lab, step, None, folder=lab.runs_dir / "x", machine=programs.Machine(0, 1, 1)
    )


def after(command: list[str], option: str) -> str | None:
    return command[command.index(option) + 1] if option in command else None


@pytest.mark.slow
def test_runs_read_the_copy_once_it_is_there_and_until_the_table_changes(real: Lab) -> None:
    root = real.settings.data["mimic_cxr"].root
    assert after(pretraining(real), "--data_path") == str(root)
    done = prepared(real)
    assert done.exit_code == 0, done.stderr
    assert "mimic_cxr: 10 images" in done.stdout
    assert "10 images to prepare: about " in done.stderr
    copy = real.root / ".cxrlab" / "prepared" / "mimic_cxr"
    command = pretraining(real)
    assert after(command, "--data_path") == str(copy)
    assert after(command, "--data_version") == "V3"
    launched = invoke(real, "launch", "mrm", "--dry-run")
    assert launched.exit_code == 0, launched.stderr
    assert f"prepared copy: {copy} (48 px, raw)" in launched.stderr
    with (root / "training.csv").open("a") as file:
        file.write("0.png,FINDINGS: Clear 0.\n")
    stale = invoke(real, "launch", "mrm", "--dry-run")
    assert stale.exit_code == 4
    assert "is out of date" in stale.stderr
    assert "`cxrlab data prepare mimic_cxr` brings it up to date" in stale.stderr
    with pytest.raises(BadInput, match=r"training\.csv has changed since"):
        pretraining(real)
    again = prepared(real)
    assert "10 of 10 images are there already" in again.stderr
    assert after(pretraining(real), "--data_path") == str(copy)


@pytest.mark.slow
def test_version_fingerprint_and_counts_are_listed(real: Lab) -> None:
    (before,) = [one for one in listed(real) if one["name"] == "mimic_cxr"]
    assert (before["version"], before["fingerprint"], before["prepared"]) == ("V3", None, None)
    told = prepared(real, "--json")
    assert told.exit_code == 0, told.stderr
    made = json.loads(told.stdout)
    (now,) = [one for one in listed(real) if one["name"] == "mimic_cxr"]
    assert now["fingerprint"] == made["fingerprint"]
    assert now["records"] == made["records"]
    assert sum(now["records"].values()) == 10
    assert (now["prepared"]["state"], now["prepared"]["px"]) == ("fits", 48)
    said = invoke(real, "data", "list").stdout
    assert f"version V3, fingerprint {made['fingerprint'][:12]}, 9 train, 1 val" in said
    checked = invoke(real, "data", "check", "mimic_cxr", "--json")
    assert json.loads(checked.stdout)[0]["facts"]["fingerprint"] == made["fingerprint"]


def listed(lab: Lab) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(invoke(lab, "data", "list", "--json").stdout)
    return answer


@pytest.mark.slow
def test_a_copy_elsewhere_is_told_how_to_be_used_and_then_is(real: Lab, tmp_path: Path) -> None:
    place = tmp_path / "fast disk"
    done = prepared(real, "--into", str(place), "--store", "jpeg")
    assert done.exit_code == 0, done.stderr
    assert f'`prepared = "{place}"` under [data.mimic_cxr]' in done.stderr
    assert copies.find(real, "mimic_cxr") is None
    text = real.settings_file.read_text()
    real.settings_file.write_text(
        text.replace('version = "V3"', f'version = "V3"\nprepared = "{place}"')
    )
    lab = make_lab(real.root)
    assert after(pretraining(lab), "--data_path") == str(place)
    for path in lab.settings.data["mimic_cxr"].root.iterdir():
        path.unlink()
    lab.settings.data["mimic_cxr"].root.rmdir()  # the originals may be put away
    assert after(pretraining(lab), "--data_path") == str(place)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("siim",), 2, "needs no preparing"),
        (("mimik",), 3, "did you mean `mimic_cxr`?"),
        (("mimic_cxr", "--px", "3"), 2, "px"),
        (("mimic_cxr", "--root", "/nowhere"), 3, "/nowhere does not exist"),
    ],
)
def test_what_cannot_be_prepared_is_said(
    lab: Lab, words: tuple[str, ...], code: int, says: str
) -> None:
    answer = invoke(lab, "data", "prepare", *words)
    assert answer.exit_code == code
    assert says in answer.stderr


def test_an_unfinished_copy_is_not_read_and_a_damaged_one_refused(lab: Lab) -> None:
    folder = lab.copy_of("mimic_cxr")
    folder.mkdir(parents=True)
    (folder / "images-00000-0123456789ab.grey").touch()
    found = copies.find(lab, "mimic_cxr")
    assert found is not None
    assert (found.state, copies.told(found)) == (
        "unfinished", f"{folder}, not used: it is not finished"
    )  # fmt: skip
    assert copies.to_read(lab, "mimic_cxr") is None
    (folder / "prepared.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read"):
        copies.to_read(lab, "mimic_cxr")


def test_a_table_that_would_now_come_first_makes_a_copy_stale(lab: Lab) -> None:
    folder = lab.copy_of("mimic_cxr")
    folder.mkdir(parents=True)
    root = lab.settings.data["mimic_cxr"].root
    (folder / "prepared.json").write_text(json.dumps({"source": {"tables": {}}}))
    assert copies.to_read(lab, "mimic_cxr") is not None
    (root / "training.csv").touch()
    with pytest.raises(BadInput, match=r"training\.csv is there now"):
        copies.to_read(lab, "mimic_cxr")


def test_one_version_of_two_fingerprints_is_said_aloud(lab: Lab) -> None:
    lab.settings.data["siim"] = DataSettings(lab.settings.data["siim"].root, "V1")  # type: ignore[index]
    assert versions.note(lab, "siim", {"fingerprint": "a" * 64, "records": {"train": 3}}) == ""
    assert versions.note(lab, "siim", {"fingerprint": "a" * 64}) == ""
    wrong = versions.note(lab, "siim", {"fingerprint": "b" * 64})
    assert "version `V1` of siim was other data" in wrong
    assert "aaaaaaaaaaaa then, bbbbbbbbbbbb now" in wrong
    assert versions.seen(lab, "siim")["fingerprint"] == "b" * 64
    assert versions.note(lab, "shenzhen", {"fingerprint": "a" * 64}) == ""
    assert versions.note(lab, "shenzhen", {"fingerprint": "b" * 64}) == ""  # has no name
    assert versions.note(lab, "nih", {"fingerprint": "b" * 64}) == ""  # the lab has none
    lab.settings.data["siim"] = DataSettings(lab.root, "V1")  # type: ignore[index]
    assert versions.seen(lab, "siim") == {}


def test_a_run_is_shown_with_its_data_and_the_runs_that_mean_other_data(
    lab: Lab, db: Any, new_run: Callable[..., Any]
) -> None:
    ids = []
    for fingerprint in ("a" * 64, "b" * 64, "a" * 64):
        run = new_run()
        events = EventLog(Path(run.folder), enabled=True)
        data = {"version": "V3", "fingerprint": fingerprint, "records": {"train": 1234, "val": 5},
                "prepared": {"source": {"root": "/mimic"}, "px": 512}}  # fmt: skip
        events.result(method="mrm", task="pretrain", values={"val/loss": 1.0}, bounds={}, data=data)
        events.end("succeeded")
        intake.take_in(db, run.id, Path(run.folder))
        ids.append(run.id)
    assert len(results.of_data_version(db, "pretrain", "V3")) == 3
    known = json.loads(invoke(lab, "show", ids[0], "--json").stdout)
    assert known["data"]["other_data"] == [ids[1]]
    said = invoke(lab, "show", ids[1]).stdout
    assert "data        version V3; fingerprint bbbbbbbbbbbb; 1,234 train, 5 val" in said
    assert "a prepared copy of /mimic, 512 px" in said
    assert f"version V3 was other data in {ids[0]}, {ids[2]}" in said
