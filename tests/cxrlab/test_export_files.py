from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cxrlab.errors import BadInput, NotFound
from cxrlab.exports.files import (
    COMMENTS,
    PERCENT,
    put_into,
    write,
    write_document,
    write_whole,
)

BEGIN, END = COMMENTS


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "README.md"
    path.write_bytes(text.encode())
    return path


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    before, after = "# Title  \n\nprose | with pipes\n", "\nmore\n\n  end without newline"
    path = file(tmp_path, f"{before}{BEGIN}\nold\nolder\n{END}{after}")
    assert put_into(path, "| new |\n")
    text = path.read_text()
    assert text.startswith(f"{before}{BEGIN}\n")
    assert text.endswith(f"{END}{after}")
    assert "| new |" in text
    assert "old" not in text.replace(before, "")


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    path = file(tmp_path, f"{BEGIN}\n{END}\n")
    assert put_into(path, "x\n")
    seen = path.stat().st_ino, path.stat().st_mtime_ns
    assert not put_into(path, "x\n")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == seen


def test_line_ends_of_windows_are_kept(tmp_path: Path) -> None:
    path = file(tmp_path, f"a\r\n{BEGIN}\r\n{END}\r\nb\r\n")
    put_into(path, "x\ny\n")
    content = path.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n")
    assert b"x\r\ny\r\n" in content


def test_mode_and_link_of_the_file_are_kept(tmp_path: Path) -> None:
    path = file(tmp_path, f"{BEGIN}\n{END}\n")
    path.chmod(0o640)
    link = tmp_path / "link.md"
    link.symlink_to(path)
    put_into(link, "x\n")
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "x" in path.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no markers\n", "has no line"),
        (f"{BEGIN}\n", f"has no line `{END}`"),
        (f"{END}\n{BEGIN}\n", "stands before"),
        (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n", "on lines 1, 3"),
        (f"see `{BEGIN}` and `{END}`\n", "has no line"),
    ],
)
def test_a_file_without_exactly_one_pair_of_markers_is_refused_and_left_alone(
    tmp_path: Path, text: str, said: str
) -> None:
    path = file(tmp_path, text)
    with pytest.raises(BadInput, match="README") as caught:
        put_into(path, "x\n")
    assert said in str(caught.value)
    assert path.read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["README.md"]


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        put_into(tmp_path / "none.md", "x\n")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(tmp_path, f"{BEGIN}\nold\n{END}\n")

    def full(handle: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        put_into(path, "x\n")
    assert path.read_text() == f"{BEGIN}\nold\n{END}\n"
    assert [each.name for each in tmp_path.iterdir()] == ["README.md"]


def test_markers_of_latex_are_lines_of_comment(tmp_path: Path) -> None:
    path = file(tmp_path, f"a\n  {PERCENT.begin}\nold\n{PERCENT.end}\nb\n")
    assert put_into(path, "new\n", PERCENT)
    assert path.read_text() == f"a\n  {PERCENT.begin}\n\nnew\n\n{PERCENT.end}\nb\n"


def test_an_error_says_which_markers_to_put(tmp_path: Path) -> None:
    path = file(tmp_path, f"{BEGIN}\n{END}\n")
    with pytest.raises(BadInput) as caught:
        put_into(path, "x", PERCENT)
    assert "% cxrlab:grid" in caught.value.hint


def test_a_new_file_is_written_readable_as_the_mask_allows(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    old = os.umask(0o022)
    try:
        assert write(path, b"a")
    finally:
        os.umask(old)
    assert path.read_bytes() == b"a"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_that_says_the_same_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    write(path, b"a")
    seen = path.stat().st_ino
    assert not write(path, b"a")
    assert path.stat().st_ino == seen


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        write(tmp_path / "none" / "new.csv", b"a")
    assert not list(tmp_path.iterdir())


def test_a_document_is_made_with_a_title_and_kept_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "GRID.md"
    write_document(path, "A grid", "one\n")
    write_document(path, "A grid", "two\n")
    text = path.read_text()
    assert text.startswith("# A grid\n")
    assert "two" in text
    assert "one" not in text


@pytest.mark.parametrize("write", [write, write_whole])
def test_a_pipe_is_written_to_and_stays_one(write: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        write(pipe, b"the grid")
        assert read.result(timeout=60) == b"the grid"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("write", [write, write_whole])
def test_a_device_is_neither_read_nor_replaced(write: Any) -> None:
    with pytest.raises(OSError, match="No space left"):
        write(Path("/dev/full"), b"the grid")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_device_has_no_markers() -> None:
    with pytest.raises(BadInput, match="is a device or a pipe"):
        put_into(Path("/dev/zero"), "x\n")
