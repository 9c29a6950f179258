from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from cxrlab import columns, grid
from cxrlab.errors import BadInput, NotFound
from cxrlab.exports.markdown import (
    BEGIN,
    END,
    escape,
    markdown,
    put_into,
    source_numbers,
    write_document,
)
from store.cells import Group
from trainers.catalog import METHODS, TASKS


def filled() -> grid.Grid:
    group = Group("mrm", "siim", 10, "Dice", "r", "paper", 0.729, 0.004, 3, 0.7, 0.75, ("a",), 0.7)
    tasks = {name: TASKS[name] for name in ("siim", "siim_legacy", "shenzhen")}
    return grid.build(METHODS, columns.of_tasks(tasks), [group], [], published=grid.read_published())


def rendered(text: str) -> list[list[str]]:
    """Return the texts of the table's cells, as a renderer of GitHub's tables reads them."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and len(rows) < 99:
            parts = [t.content for t in token.children or [] if t.type in ("text", "code_inline")]
            rows[-1].append("".join(parts))
        elif token.type == "table_close":
            return rows
    return []


def test_the_table_renders_with_every_cell_saying_what_the_grid_says() -> None:
    shown = filled()
    table, numbers = rendered(markdown(shown)), source_numbers(shown)
    assert [row[0] for row in table[1:]] == list(METHODS)
    for row, line in zip(shown.rows, table[1:], strict=True):
        for cell, said in zip(row.cells, line[1:], strict=True):
            note = "" if cell.paper is None else str(numbers[cell.paper_source])
            assert said == cell.text() + note


@pytest.mark.parametrize("text", ["a|b", "*x*", "_x_", "[1](2)", "`c`", "<b>", "a\\|b", "#1 ~~x~~"])
def test_what_would_be_markup_is_shown_as_it_is(text: str) -> None:
    assert rendered(f"| h |\n| --- |\n| {escape(text)} |\n")[1] == [text]


def test_an_underscore_within_a_name_is_left_readable() -> None:
    assert escape("deep_mrm") == "deep_mrm"


def test_every_papers_number_has_a_footnote_with_its_source() -> None:
    text = markdown(filled())
    assert "\\[73.2\\]<sup>1</sup>" in text
    assert "\\[91.4\\]<sup>2</sup>" in text
    assert text.count("leaks") == 2


def test_the_metric_is_explained_below_the_table() -> None:
    assert "Dice in percent" in markdown(filled())
    assert "AUROC in percent" not in markdown(filled())


def test_the_same_grid_gives_the_same_text() -> None:
    assert markdown(filled()) == markdown(filled())


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


def test_a_document_is_made_with_a_title_and_kept_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "GRID.md"
    write_document(path, "A grid", "one\n")
    write_document(path, "A grid", "two\n")
    text = path.read_text()
    assert text.startswith("# A grid\n")
    assert "two" in text
    assert "one" not in text
