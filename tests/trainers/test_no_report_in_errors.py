"""No error and no warning quotes a report, whichever column or file it has got into."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from trainers import program
from trainers.config import InputError, MissingError
from trainers.data import cases, labelled, records, split_lists, tables
from trainers.events import EventLog

REPORT = "Heart size is normal without effusion."
WORDS = ("Heart", "normal", "effusion", "HEART")
HEADER = "image_path,report_content,patient_id,split"


def told(act: Callable[[], object]) -> str:
    """Return what an error says, which is one about the data."""
    with pytest.raises((InputError, MissingError)) as caught:
        act()
    return str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        [f"a.png,{REPORT},p1,train"],
        [HEADER, f"a.png,x,p1,{REPORT}"],
        [HEADER, f"{REPORT},x,p1,train"],
        [HEADER, f"a.png,x,{REPORT},train"],
        [HEADER, f"a.png,{REPORT}, and more,p1,train"],
        [HEADER, f"a.png,{REPORT},p1,train", "a.png,another,p1,train"],
        [HEADER, f"a.png,{REPORT},p1,train", f"a.png,{REPORT},p1,val"],
        [HEADER, f"a.png,{REPORT},p1,train", f"b.png,{REPORT},p1,val"],
        [HEADER, f"a.png,{REPORT},p1,train"],
        [HEADER, f'a.png,"{REPORT},p1,train'],
        [f"image_path,image_path,{REPORT},{REPORT}", "a,b,c,d"],
        [HEADER, f"gone.png,{REPORT},p1,train"],
        [HEADER.replace("report_content", REPORT), "a.png,x,p1,train"],
    ],
)
def test_a_table_of_reports_is_refused_without_quoting_one(tmp_path: Path, rows: list[str]) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    (tmp_path / "training.csv").write_text("\n".join(rows) + "\n")
    said = told(lambda: records.read_records(tmp_path))
    assert not any(word in said for word in WORDS), said


def test_lists_and_labels_are_refused_without_quoting_a_report(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(REPORT + "\n")
    (tmp_path / "labels.csv").write_text(f"image,tb\na.png,{REPORT}\n")
    (tmp_path / "other.csv").write_text(f"{REPORT},tb\na.png,1\n")
    for act in (
        lambda: split_lists.read(tmp_path),
        lambda: labelled.read_labels(tmp_path / "labels.csv", [("tb",)]),
        lambda: labelled.read_labels(tmp_path / "other.csv", [("tb",)]),
        lambda: list(tables.rows(tmp_path / "other.csv", ("image",))),
    ):
        said = told(act)
        assert not any(word in said for word in WORDS), said


def test_a_word_is_quoted_and_a_text_only_measured() -> None:
    assert tables.quoted(" trian ") == "`trian`"
    assert tables.quoted(REPORT) == "(a text of 38 letters)"
    assert tables.quoted("x" * 65) == "(a text of 65 letters)"


def test_a_picture_that_cannot_be_drawn_is_warned_of_without_what_was_to_be_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def draw() -> list[tuple[str, str]]:
        raise ValueError(f"cannot set {REPORT}")

    events = EventLog(tmp_path)
    program.show(draw, events)
    events.close()
    lines = (tmp_path / "events.jsonl").read_text()
    assert "ValueError" in json.loads(lines.splitlines()[-1])["message"]
    assert "ValueError" in caplog.text
    assert "in draw" in caplog.text
    assert not any(word in lines + caplog.text for word in WORDS)


def test_a_case_in_two_parts_is_still_named() -> None:
    case = cases.Case("a", "Doe, Jane", Path("a.png"), (0,))
    with pytest.raises(InputError, match="image `a` of patient `Doe, Jane` is in both"):
        cases.refuse_leaks(cases.Split([case], [], [case]), allow_overlap=False)
