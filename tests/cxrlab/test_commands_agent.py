from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, unit
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab, make_lab


@pytest.fixture(autouse=True)
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user's units lie, in a folder of the test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "systemd" / "user"


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), "agent", *words])


def test_the_unit_is_printed_and_nothing_is_written(lab: Lab, units: Path) -> None:
    result = invoke(lab, "install")
    assert result.exit_code == 0, result.stderr
    read = configparser.ConfigParser(interpolation=None, strict=False)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(result.stdout)
    service = read["Service"]
    assert f'"cxrlab.agent" "{lab.root}"' in service["ExecStart"]
    assert service["KillMode"] == "process"
    assert "systemctl --user enable --now" in result.stderr
    assert "loginctl enable-linger" in result.stderr
    assert not units.exists()


def test_a_written_unit_is_not_enabled_and_can_be_removed(lab: Lab, units: Path) -> None:
    told = json.loads(invoke(lab, "install", "--write", "--json").stdout)
    path = Path(told["path"])
    assert (path.parent, told["written"], told["enabled"]) == (units, True, False)
    assert path.read_text() == told["content"]
    assert invoke(lab, "install", "--write").exit_code == 0
    assert invoke(lab, "uninstall").exit_code == 0
    assert list(units.iterdir()) == []
    assert invoke(lab, "uninstall").exit_code == 3


def test_an_enabled_unit_is_not_removed(lab: Lab, units: Path) -> None:
    path = unit.write(lab)
    (units / "default.target.wants").mkdir()
    (units / "default.target.wants" / path.name).symlink_to(path)
    result = invoke(lab, "uninstall")
    assert result.exit_code == 1
    assert f"systemctl --user disable --now {path.name}" in result.stderr
    assert path.exists()
    assert "systemd starts another" in invoke(lab, "stop").stderr


def test_a_unit_of_somebody_else_is_left_alone(lab: Lab, units: Path) -> None:
    path = unit.path_of(lab)
    path.parent.mkdir(parents=True)
    path.write_text("[Unit]\n")
    assert invoke(lab, "install", "--write").exit_code == 1
    assert invoke(lab, "uninstall").exit_code == 1
    assert path.read_text() == "[Unit]\n"


def test_labs_of_one_name_have_units_of_their_own(tmp_path: Path) -> None:
    labs = [make_lab(tmp_path / place / "lab") for place in ("a", "b")]
    assert len({unit.name_of(one) for one in labs}) == 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_the_unit_of_an_odd_folder(tmp_path: Path) -> None:
    path = unit.write(make_lab(tmp_path / 'a 100 % "lab" $HOME'))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(path)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert path.name not in done.stderr, done.stderr


def test_what_a_unit_would_take_for_its_own_is_disarmed(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / 'a 100 % "lab" $HOME')
    command = unit.text_of(lab).split("ExecStart=")[1].splitlines()[0]
    assert 'a 100 %% \\"lab\\" $$HOME"' in command
    assert command.startswith(f'"{sys.executable}" ')


def test_a_line_break_in_a_path_cannot_add_a_line(tmp_path: Path, lab: Lab) -> None:
    odd = lab.__class__(root=tmp_path / "a\nExecStart=evil", settings=lab.settings)
    with pytest.raises(CxrlabError, match="cannot name"):
        unit.text_of(odd)
