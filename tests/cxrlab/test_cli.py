from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, console
from cxrlab.lab import Lab


def cxrlab(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "cxrlab", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=900,
    )


def invoke(*words: str) -> Any:
    return CliRunner().invoke(cli.app, list(words))


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_has_its_file_and_its_help(name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert f"cxrlab {name}" in result.stdout


def test_every_file_of_a_command_is_in_the_table() -> None:
    folder = Path(cli.__file__).parent / "commands"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files == set(cli.COMMANDS)


def test_the_help_lists_every_command_with_what_it_does() -> None:
    said = " ".join(invoke("--help").stdout.split())
    for name, entry in cli.COMMANDS.items():
        assert f"{name} {entry.about}" in said


def test_without_a_command_the_help_is_printed() -> None:
    result = invoke()
    assert result.exit_code == 0
    assert "Usage: cxrlab" in result.stdout


def test_an_unknown_command_is_a_wrong_command_line_and_names_the_nearest() -> None:
    result = invoke("lanch")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: no command is called `lanch`",
        "hint: did you mean `cxrlab launch`?",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs", "--nonsense"), "error: no such option: --nonsense"),
        (("show",), "error: missing argument 'RUN|CELL'"),
        (("launch", "mrm", "--preset", "huge"), "error: invalid value for '--preset': 'huge'"),
    ],
)
def test_a_wrong_option_is_two_lines_and_exit_2(words: tuple[str, ...], said: str) -> None:
    result = invoke(*words)
    assert result.exit_code == 2
    first, hint = result.stderr.splitlines()
    assert first.startswith(said)
    assert hint == f"hint: see `cxrlab {words[0]} --help`"


@pytest.mark.parametrize("words", [("runs",), ("grid", "--json"), ("launch", "mrm"), ("tui",)])
def test_outside_a_lab_a_command_says_so_and_names_init(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*words)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "no lab" in result.stderr
    assert "cxrlab init" in result.stderr


def test_the_lab_is_found_by_option_before_and_behind_the_command_and_by_environment(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ("--lab", str(lab.root), "runs", "--json"),
        ("runs", "--json", "--lab", str(lab.root)),
        ("runs", f"--lab={lab.root}", "--json"),
    ):
        assert (invoke(*words).exit_code, invoke(*words).stdout.strip()) == (0, "[]")
    monkeypatch.setenv("CXRLAB_LAB", str(lab.root))
    assert invoke("runs", "--json").exit_code == 0


def test_what_stands_behind_a_double_dash_is_left_alone() -> None:
    assert cli.globals_first(["run", "--", "--lab", "x"]) == ["run", "--", "--lab", "x"]


def test_a_broken_registry_is_an_error_and_no_traceback(lab: Lab) -> None:
    lab.registry.write_bytes(b"this is no database at all, but long enough to be read as one" * 20)
    ended = cxrlab("--lab", str(lab.root), "runs")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: cannot open the registry")
    assert "Traceback" not in ended.stderr


def test_debug_shows_the_traceback(lab: Lab) -> None:
    lab.registry.write_bytes(b"this is no database at all, but long enough to be read as one" * 20)
    for words, environment in (
        (("--debug", "--lab", str(lab.root), "runs"), {}),
        (("--lab", str(lab.root), "runs", "--debug"), {}),
        (("--lab", str(lab.root), "runs"), {"CXRLAB_DEBUG": "1"}),
    ):
        ended = cxrlab(*words, **environment)
        assert ended.returncode == 1
        assert "Traceback" in ended.stderr


def test_a_pipe_that_closes_early_leaves_no_traceback(lab: Lab, new_run: Any) -> None:
    for _ in range(40):
        new_run()
    line = f"{sys.executable} -P -m cxrlab --lab {lab.root} runs | head -1"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert ended.stdout.startswith("id ")
    assert "Traceback" not in ended.stderr
    assert "error" not in ended.stderr.lower()


def test_a_locale_without_the_symbols_ends_no_command(lab: Lab, new_run: Any) -> None:
    new_run()
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = cxrlab("--lab", str(lab.root), "runs", **environment)
    assert ended.returncode == 0
    assert "queued" in ended.stdout


def on_a_terminal(*words: str, **environment: str) -> str:
    """Return what a command writes on a terminal of its own."""
    master, slave = pty.openpty()
    variables = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "cxrlab", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**variables, "TERM": "xterm-256color", **environment},
    )
    os.close(slave)
    said = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        said += chunk
    child.wait()
    os.close(master)
    return said.decode()


def test_colours_are_on_a_terminal_and_off_with_no_color(lab: Lab, new_run: Any) -> None:
    new_run()
    assert "\x1b[" in on_a_terminal("--lab", str(lab.root), "runs")
    assert "\x1b[" not in on_a_terminal("--lab", str(lab.root), "runs", NO_COLOR="1")
    assert "\x1b[" not in cxrlab("--lab", str(lab.root), "runs").stdout


def complete(lab: Lab, typed: str) -> list[str]:
    ended = cxrlab(
        _CXRLAB_COMPLETE="complete_fish",
        _TYPER_COMPLETE_ARGS=typed,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        CXRLAB_LAB=str(lab.root),
    )
    return [line.split("\t")[0] for line in ended.stdout.splitlines()]


def test_the_shell_completes_commands_runs_methods_and_tasks(lab: Lab, new_run: Any) -> None:
    new_run(id="abcdef")
    new_run(id="bcdefg")
    assert {"runs", "retry", "resume"} <= set(complete(lab, "cxrlab r"))
    assert complete(lab, "cxrlab show ab") == ["abcdef"]
    assert complete(lab, "cxrlab launch deep")[:2] == ["deep_mrm", "deep_mrm+hog"]
    assert complete(lab, "cxrlab launch deep_mrm+h") == ["deep_mrm+hog"]
    assert complete(lab, "cxrlab launch mrm")[:2] == ["mrm", "mrm+hog"]
    assert complete(lab, "cxrlab launch mrm --task shen") == ["shenzhen", "shenzhen_lungs"]
    assert complete(lab, "cxrlab launch mrm --task siim,shenzhen_") == ["siim,shenzhen_lungs"]


def test_completion_outside_a_lab_offers_nothing_and_says_nothing(tmp_path: Path) -> None:
    ended = cxrlab(
        _CXRLAB_COMPLETE="complete_fish",
        _TYPER_COMPLETE_ARGS="cxrlab show a",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        CXRLAB_LAB=str(tmp_path),
    )
    assert (ended.stdout.strip(), ended.stderr) == ("", "")


def test_help_imports_nothing_heavy_not_even_rich() -> None:
    code = (
        "import sys\nfrom cxrlab.cli import main\nsys.argv = ['cxrlab', '--help']\nmain()\n"
        "print(*sorted({n.split('.')[0] for n in sys.modules}), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not set(ended.stderr.split()) & {"torch", "textual", "sqlite_utils", "rich", "numpy"}


def test_a_table_gives_way_in_one_column_and_never_exceeds_its_width() -> None:
    rows = [["a", "long text " * 10, "z"], ["b", "short", "z"]]
    lines = console.table(("one", "two", "three"), rows, gives_way=1, columns=40)
    assert max(map(console.length, lines)) <= 40
    assert "…" in lines[1]
    assert "…" not in lines[2]


def test_wide_characters_count_as_two_columns() -> None:
    first, second = console.table(("a", "b"), [["准备", "x"]])
    assert console.length(first) == console.length(second)


def test_settings_that_are_not_utf_8_are_told_with_their_line(lab: Lab) -> None:
    lab.settings_file.write_bytes(lab.settings_file.read_bytes() + b"# caf\xe9\n")
    lines = lab.settings_file.read_bytes().count(b"\n")
    result = invoke("--lab", str(lab.root), "runs")
    assert result.exit_code == 2
    assert f"cxrlab.toml:{lines}: this is not UTF-8" in result.stderr


def test_a_closed_output_is_no_bug(lab: Lab) -> None:
    line = f"{sys.executable} -P -m cxrlab --lab {lab.root} runs >&-"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert "bug" not in ended.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_json_can_be_read_whatever_the_terminal_speaks(encoding: str, lab: Lab) -> None:
    words = [sys.executable, "-P", "-m", "cxrlab", "--lab", str(lab.root), "grid", "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    ended = subprocess.run(words, capture_output=True, env=environment, timeout=900, check=True)
    rows = json.loads(ended.stdout.decode("utf-8"))
    assert "·" in json.dumps(rows, ensure_ascii=False) or rows
