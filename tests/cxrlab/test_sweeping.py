from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from typer.testing import CliRunner

from cxrlab import cli, naming, sweeping
from cxrlab.errors import CxrlabError, NotFound, Usage
from cxrlab.lab import Lab
from store import runs
from trainers import catalog, normalisation

FILE = """
blr = [1e-4, 3e-4]
norm_pix_loss = true
[pretrain]
mask_ratio = [0.5, 0.75]
[[runs]]
weight_decay = 0.05
drop_path = 0.1
[[runs]]
weight_decay = 0.3
"""


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "100"})


def test_a_setting_with_several_values_is_several_runs() -> None:
    found = sweeping.combinations(["blr=1e-4,3e-4", "epochs=5", "siim.steps=1,2"], [])
    assert found == [
        (("blr", blr), ("epochs", "5"), ("siim.steps", steps))
        for blr in ("1e-4", "3e-4")
        for steps in ("1", "2")
    ]


def test_a_setting_that_is_a_list_stays_one() -> None:
    assert sweeping.combinations(["pretrain.tap_blocks=3,6,9"], []) == [
        (("pretrain.tap_blocks", "3,6,9"),)
    ]
    assert len(sweeping.combinations([], ["mean=0.4,0.5"])) == 2


def test_every_setting_that_takes_commas_is_known_to_the_catalog() -> None:
    known = {"methods": catalog.METHODS, "tasks": catalog.TASKS}
    for kind, names in known.items():
        for name in {catalog.base_of(name) for name in names} if kind == "methods" else names:
            try:
                config = importlib.import_module(f"trainers.{kind}.{name}").Config
            except ModuleNotFoundError:  # a baseline, which has no file of its own
                continue
            kinds = get_type_hints(config)
            for field in config.__dataclass_fields__.values():
                help = str(field.metadata.get("help", ""))
                if kinds[field.name] is normalisation.Levels or "with commas" in help:
                    assert field.name in catalog.LISTS, (name, field.name)
                if isinstance(field.default, str) and "," in field.default:
                    assert field.name in catalog.LISTS, (name, field.name)


def test_a_file_gives_lists_and_combinations(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(FILE)
    found = sweeping.combinations(["epochs=3"], [str(file)])
    assert len(found) == 2 * 2 * 2
    assert found[0] == (
        ("epochs", "3"), ("blr", "1e-4"), ("norm_pix_loss", "true"), ("pretrain.mask_ratio", "0.5"),
        ("weight_decay", "0.05"), ("drop_path", "0.1"),
    )  # fmt: skip
    assert found[-1][-2:] == (("pretrain.mask_ratio", "0.75"), ("weight_decay", "0.3"))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("blr = [", Usage),
        ("", Usage),
        ("blr = []", Usage),
        ("blr = [[1]]", Usage),
        ("runs = 3", Usage),
        ("[[runs]]\nblr = [1, 2]", Usage),
        (f"a = {list(range(2000))}", Usage),
        (None, NotFound),
    ],
)
def test_a_file_that_is_none_is_refused(
    tmp_path: Path, content: str | None, kind: type[CxrlabError]
) -> None:
    file = tmp_path / "sweep.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(kind):
        sweeping.combinations([], [str(file)])


def test_a_run_is_called_by_what_it_was_told_beyond_its_preset() -> None:
    command = ["python", "--seed", "1", "--threads", "2", "--blr=1e-4", "--no_flip", "--fast"]
    assert naming.name(command) == "blr=1e-4 flip=false fast=true"
    assert naming.name(command, longest=10) == "blr=1e-4 …"
    assert naming.name(command[:5]) == ""
    assert naming.name([*command, "--", "python", "mine.py"]) == ""


def test_a_sweep_names_its_runs_wherever_they_are_listed(
    lab: Lab, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)
    assert "settings" not in invoke(lab, "runs").stdout
    result = invoke(lab, "launch", "mrm", "--set", "fake_steps=3,5")
    assert result.exit_code == 0, result.stderr
    assert "mrm pretrain seed 0 fake_steps=3" in result.stdout
    listed = invoke(lab, "runs").stdout
    assert "settings" in listed
    assert "fake_steps=5" in listed
    told = json.loads(invoke(lab, "runs", "--json").stdout)
    assert {run["name"] for run in told} == {"fake_steps=3", "fake_steps=5"}
    run = runs.get(db, told[0]["id"])
    assert naming.what(run) == f"mrm pretrain seed 0 {told[0]['name']}"
    assert told[0]["name"] in invoke(lab, "show", run.id).stdout
    assert "fake_steps=5" in invoke(lab, "queue").stdout


def test_a_repeat_is_queued_where_it_is_asked_for(
    lab: Lab, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)
    line = ["launch", "mrm", "--task", "siim", "--ratio", "10", "--json"]
    first = json.loads(invoke(lab, *line).stdout)
    assert [run["new"] for run in first] == [True, True]
    assert [run["new"] for run in json.loads(invoke(lab, *line).stdout)] == [False]
    repeat = json.loads(invoke(lab, *line, "--again").stdout)
    assert [run["new"] for run in repeat] == [True]
    assert repeat[0]["recipe"] == first[1]["recipe"]
    assert repeat[0]["parent"] == first[0]["id"]
    assert runs.count(db) == 3
    both = json.loads(invoke(lab, *line, "--task", "pretrain", "--again").stdout)
    assert [run["new"] for run in both] == [True, True]
    assert both[1]["parent"] == both[0]["id"]
