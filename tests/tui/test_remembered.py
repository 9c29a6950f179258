from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from cxrlab.lab import Lab, make_lab
from cxrlab.tui import remembered


def test_what_is_remembered_is_there_the_next_time(empty_lab: Lab) -> None:
    remembered.remember(empty_lab, "theme", "cxrlab-light")
    remembered.remember(empty_lab, "columns", ["run", "state"])
    assert remembered.recall(empty_lab, "theme", "") == "cxrlab-light"
    assert remembered.recall(empty_lab, "columns", []) == ["run", "state"]


def test_each_lab_is_remembered_by_itself(empty_lab: Lab, tmp_path: Path) -> None:
    other = make_lab(tmp_path / "elsewhere" / empty_lab.root.name)
    remembered.remember(empty_lab, "theme", "cxrlab-light")
    assert remembered.recall(other, "theme", "dark") == "dark"


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\udce9", '{"theme": 7}'])
def test_a_file_that_makes_no_sense_counts_as_none(empty_lab: Lab, text: str) -> None:
    remembered.remember(empty_lab, "theme", "cxrlab-light")
    file = remembered.file_of(empty_lab)
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert remembered.recall(empty_lab, "theme", "dark") == "dark"
    remembered.remember(empty_lab, "theme", "cxrlab-contrast")
    assert json.loads(file.read_text())["theme"] == "cxrlab-contrast"


def test_a_folder_that_cannot_be_written_to_is_no_error(
    empty_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv(remembered.STATE_VARIABLE, str(tmp_path / "taken"))
    remembered.remember(empty_lab, "theme", "cxrlab-light")
    assert remembered.recall(empty_lab, "theme", "dark") == "dark"


def test_many_threads_lose_nothing_and_leave_no_other_file(empty_lab: Lab) -> None:
    threads = [
        threading.Thread(target=remembered.remember, args=(empty_lab, f"key{n}", n))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert remembered.read(empty_lab) == {f"key{n}": n for n in range(20)}
    file = remembered.file_of(empty_lab)
    assert list(file.parent.iterdir()) == [file]
