from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.assets import download, weights
from cxrlab.lab import Lab
from cxrlab.progress import meter
from trainers.catalog import METHODS

CONTENT = Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PUBLISHED = weights.read_table()


def invoke(lab: Lab, *words: str) -> Any:
    words = ("--lab", str(lab.root), "weights", *words)
    return CliRunner().invoke(cli.app, list(words), env={"COLUMNS": "100"})


@pytest.fixture(autouse=True)
def _served(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.content = CONTENT
    monkeypatch.setattr(download, "WAITS_S", (0.0,))


def file(lab: Lab, name: str = "some.pth") -> Path:
    return lab.pretrained_dir / name


# -- the table


def test_every_row_of_the_table_is_fetched_or_brought_by_hand() -> None:
    for row in PUBLISHED.values():
        assert bool(row.url) != bool(row.page)
        assert row.how
        assert row.title
    files = [row.file for row in PUBLISHED.values()]
    assert len(set(files)) == len(files)


def test_every_baseline_that_is_published_weights_is_in_the_table() -> None:
    named = {entry.weights for entry in METHODS.values() if entry.weights}
    assert named == {"mae", "imagenet"}
    assert all(PUBLISHED[name].url for name in named)


def test_every_teacher_is_in_the_table() -> None:
    named = {entry.teacher for entry in METHODS.values() if entry.teacher}
    assert named == {"dino"}
    assert all(PUBLISHED[name].url for name in named)


def test_only_what_publishers_say_is_taken_for_a_digest() -> None:
    assert PUBLISHED["mae"].md5 == "8cad7c"  # the first digits, which is all they say
    assert all(len(row.sha256) in (0, 64) for row in PUBLISHED.values())


# -- list


def test_the_list_says_what_is_there_and_how_to_get_the_rest(lab: Lab, mirror: Any) -> None:
    file(lab, "ViT-B_16.npz").write_bytes(b"x" * 2048)
    file(lab, "mine.pth").write_bytes(b"y")
    assert invoke(lab, "fetch", mirror.url).exit_code == 0
    listed = {one["name"]: one for one in json.loads(invoke(lab, "list", "--json").stdout)}
    assert list(listed) == [*PUBLISHED, "mine.pth", "some.pth"]
    assert (listed["imagenet"]["there"], listed["imagenet"]["bytes"]) == (True, 2048)
    assert (listed["imagenet"]["sha256"], listed["some.pth"]["sha256"]) == (None, SHA256)
    assert (listed["mae"]["there"], listed["mae"]["how"]) == (False, "cxrlab weights fetch mae")
    assert listed["mrm"]["how"].startswith("by hand, as MRM.pth, from https://drive.google.com/")
    assert listed["mine.pth"]["path"] == str(file(lab, "mine.pth"))


def test_the_list_fits_and_tells_what_is_missing_on_stderr(lab: Lab) -> None:
    result = invoke(lab, "list")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "mae: cxrlab weights fetch mae" in result.stderr
    assert "refers: by hand, as refers_checkpoint.pth" in result.stderr


# -- fetch


def test_a_known_file_gets_the_name_it_is_looked_for_by(lab: Lab, mirror: Any) -> None:
    result = invoke(lab, "fetch", "imagenet", "--url", mirror.url, "--json")
    assert result.exit_code == 0, result.stderr
    path = file(lab, "ViT-B_16.npz")
    assert json.loads(result.stdout) == {
        "name": "imagenet",
        "path": str(path),
        "bytes": len(CONTENT),
        "sha256": SHA256,
        "md5": hashlib.md5(CONTENT).hexdigest(),
        "new": True,
    }
    assert path.read_bytes() == CONTENT


def test_in_a_pipe_it_tells_at_times_how_far_it_is(
    lab: Lab, mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "TELL_S", -1.0)
    lines = invoke(lab, "fetch", mirror.url).stderr.splitlines()
    assert lines[0] == f"some.pth from {mirror.url}"
    assert lines[1] == "0 B of 293.0 KiB, 0 %"
    assert "293.0 KiB of 293.0 KiB, 100 %" in lines


def test_what_was_fetched_first_is_recorded_and_holds_from_then_on(lab: Lab, mirror: Any) -> None:
    first = invoke(lab, "fetch", mirror.url)
    assert "its publisher says no SHA-256" in first.stderr
    sums = file(lab, weights.SUMS)
    assert sums.read_text() == f"{SHA256}  some.pth\n"
    checked = subprocess.run(["sha256sum", "-c", sums.name], cwd=sums.parent, capture_output=True)
    assert checked.returncode == 0
    file(lab).unlink()
    mirror.content = CONTENT[::-1]
    second = invoke(lab, "fetch", mirror.url)
    assert second.exit_code == 4
    assert f"expected {SHA256}" in second.stderr
    assert "SHA256SUMS" in second.stderr
    assert not file(lab).exists()
    assert sums.read_text() == f"{SHA256}  some.pth\n"


def test_a_digest_that_is_demanded_outranks_what_was_recorded(lab: Lab, mirror: Any) -> None:
    invoke(lab, "fetch", mirror.url)
    mirror.content = CONTENT[::-1]
    other = hashlib.sha256(CONTENT[::-1]).hexdigest()
    result = invoke(lab, "fetch", mirror.url, "--again", "--sha256", other.upper())
    assert (result.exit_code, "SHA-256" in result.stderr) == (0, False)
    assert weights.recorded(lab.pretrained_dir) == {"some.pth": other}


def test_a_file_with_another_md5_than_published_is_refused(lab: Lab, mirror: Any) -> None:
    result = invoke(lab, "fetch", "mae", "--url", mirror.url)
    assert result.exit_code == 4
    assert "mae_pretrain_vit_base.pth is another file" in result.stderr
    assert "expected one that begins with 8cad7c" in result.stderr
    assert list(lab.pretrained_dir.iterdir()) == []


def test_a_file_with_the_published_md5_is_taken_and_said_to_be(
    lab: Lab, mirror: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = hashlib.md5(CONTENT).hexdigest()[:6]
    table = tmp_path / "weights.toml"
    table.write_text(
        f'[[weights]]\nname = "x"\nfile = "x.pth"\nurl = "{mirror.url}"\nmd5 = "{start}"\n'
    )
    monkeypatch.setattr(weights, "TABLE", table)
    result = invoke(lab, "fetch", "x")
    assert result.exit_code == 0
    assert f"its md5 begins with {start}, as its publisher says" in result.stderr


def test_what_is_there_is_checked_and_not_fetched_again(lab: Lab, mirror: Any) -> None:
    invoke(lab, "fetch", mirror.url)
    again = invoke(lab, "fetch", mirror.url)
    assert (again.exit_code, "is there already" in again.stdout) == (0, True)
    assert len(mirror.asked) == 1
    file(lab).write_bytes(b"spoilt")
    spoilt = invoke(lab, "fetch", mirror.url)
    assert spoilt.exit_code == 4
    assert "--again" in spoilt.stderr
    assert invoke(lab, "fetch", mirror.url, "--again").exit_code == 0
    assert file(lab).read_bytes() == CONTENT


def test_two_fetches_at_once_lose_no_line_of_each_other(lab: Lab) -> None:
    code = "import sys; from pathlib import Path; from cxrlab.assets import weights\n" + (
        "for i in range(20): weights.record(Path(sys.argv[1]), f'{sys.argv[2]}{i}', 'ab' * 32)"
    )
    racers = [
        subprocess.Popen([sys.executable, "-P", "-c", code, str(lab.pretrained_dir), name])
        for name in "abc"
    ]
    assert [racer.wait() for racer in racers] == [0, 0, 0]
    assert len(weights.recorded(lab.pretrained_dir)) == 60


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("fetch", "mea"), 3, "did you mean `mae`?"),
        (("fetch", "mrm"), 2, "by hand, as MRM.pth, from https://drive.google.com"),
        (("fetch", "ftp://x/y.pth"), 2, "is no address"),
        (("fetch", "mae", "--sha256", "abc"), 2, "64 hexadecimal digits"),
        (("fetch", "https://x/"), 2, "`--name` gives another"),
        (("fetch", "https://x/..%2Fy"), 2, "is no name for a file"),
        (("fetch", "https://x/y", "--name", "../y"), 2, "is no name for a file"),
        (("fetch", "https://x/SHA256SUMS"), 2, "is no name for a file"),
        (("inspect", "mae"), 3, "cxrlab weights fetch mae"),
        (("inspect", "nothing.pth"), 3, "nothing.pth does not exist"),
    ],
)
def test_what_cannot_work_is_two_lines_and_an_exit_code(
    lab: Lab, words: tuple[str, ...], code: int, says: str
) -> None:
    result = invoke(lab, *words)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) <= 3


def test_an_absent_file_is_exit_3_and_a_broken_line_exit_1(lab: Lab, mirror: Any) -> None:
    mirror.statuses = [404]
    gone = invoke(lab, "fetch", mirror.url)
    assert (gone.exit_code, "no such file (404)" in gone.stderr) == (3, True)
    mirror.cuts = [1000, 0, 0]
    cut = invoke(lab, "fetch", mirror.url)
    assert cut.exit_code == 1
    assert "the line is cut; 1000 B of 293.0 KiB are here; trying again in 0 s" in cut.stderr
    assert "hint: the same line goes on from there" in cut.stderr


def test_an_interrupted_fetch_keeps_what_has_come_and_ends_with_130(
    lab: Lab, mirror: Any, wait_until: Callable[..., Any]
) -> None:
    mirror.length = 2 * len(CONTENT)  # so that it waits for a second half
    mirror.hold_s = 30.0
    words = ["--lab", str(lab.root), "weights", "fetch", mirror.url]
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "cxrlab", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    part = file(lab, ".some.pth.part")
    wait_until(lambda: part.exists() and part.stat().st_size == len(CONTENT))
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=900)
    assert child.returncode == 130
    assert "Traceback" not in said
    assert part.stat().st_size == len(CONTENT)
    assert not file(lab).exists()


# -- launch


def test_a_baseline_starts_from_its_published_file(lab: Lab, db: Any) -> None:
    path = file(lab, "mae_pretrain_vit_base.pth")
    path.write_bytes(b"weights")
    words = ["--lab", str(lab.root), "launch", "mae", "--task", "siim", "--dry-run", "--json"]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.stderr
    planned = json.loads(result.stdout)
    assert [one["task"] for one in planned] == ["siim", "siim"]
    command = planned[0]["command"]
    assert command[command.index("--pretrained") + 1] == str(path)
    assert planned[0]["why"] == "starts from the published weights `mae`"


def test_a_baseline_without_its_file_stops_with_3_and_names_the_fetch(lab: Lab, db: Any) -> None:
    words = ["--lab", str(lab.root), "launch", "mae", "--task", "siim"]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 3
    assert "mae_pretrain_vit_base.pth, which is not in" in result.stderr
    assert "hint: `cxrlab weights fetch mae`" in result.stderr


def test_a_file_of_ones_own_is_taken_before_the_published_one(
    lab: Lab, db: Any, tmp_path: Path
) -> None:
    (tmp_path / "own.pth").write_bytes(b"weights")
    words = ["--lab", str(lab.root), "launch", "mae", "--task", "siim", "--dry-run", "--json"]
    result = CliRunner().invoke(cli.app, [*words, "--pretrained", str(tmp_path / "own.pth")])
    command = json.loads(result.stdout)[0]["command"]
    assert command[command.index("--pretrained") + 1] == str(tmp_path / "own.pth")


def test_all_methods_leave_out_those_whose_weights_are_not_there_and_say_so(lab: Lab) -> None:
    words = ["--lab", str(lab.root), "launch", "all", "--task", "shenzhen", "--dry-run", "--json"]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.stderr
    assert not {"mae", "imagenet"} & {one["method"] for one in json.loads(result.stdout)}
    assert "left out: imagenet and mae, whose published weights are not in" in result.stderr
    for row in ("mae", "imagenet"):
        file(lab, PUBLISHED[row].file).write_bytes(b"weights")
    result = CliRunner().invoke(cli.app, words)
    assert {"mae", "imagenet"} <= {one["method"] for one in json.loads(result.stdout)}
    assert "left out" not in result.stderr


# -- inspect


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch sprung",)


@pytest.mark.slow
def test_a_file_is_inspected_by_path_or_by_name_and_tells_its_tensors_when_asked(
    lab: Lab, tmp_path: Path
) -> None:
    import torch

    path = file(lab, "mae_pretrain_vit_base.pth")
    shapes = {"cls_token": (1, 1, 64), "pos_embed": (1, 5, 64), "patch_embed.proj.bias": (64,)}
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    state["patch_embed.proj.weight"] = torch.zeros(64, 3, 8, 8)
    torch.save({"model": state}, path)
    told = json.loads(invoke(lab, "inspect", "mae", "--json").stdout)
    assert (told["kind"], told["path"]) == ("mae", str(path))
    assert "tensors" not in told
    assert told["encoder"]["problem"].startswith("holds no vision transformer")
    lines = invoke(lab, "inspect", str(path), "--tensors").stdout.splitlines()
    assert lines[0].startswith(f"{path}: ")
    assert "cls_token                1 x 1 x 64      float32" in lines
    assert max(map(len, lines[2:])) <= 100
    assert any(line.startswith("  mrm (paper): takes nothing; begins anew: ") for line in lines)


@pytest.mark.slow
def test_a_file_that_wants_to_run_code_is_refused_with_4_by_its_name(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "args": Trap()}, "evil.pth")
    result = invoke(lab, "inspect", "evil.pth")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "evil.pth is refused: it asks to run `posix.system`" in result.stderr
    assert not (tmp_path / "sprung").exists()
