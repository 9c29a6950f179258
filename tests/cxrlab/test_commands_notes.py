"""Notes and open points: written down, listed, ticked off, dropped; harmless however odd."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cxrlab import cli, console, entries
from cxrlab.lab import Lab
from store import notes

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e[bold]红[/bold]"


@pytest.fixture
def say(lab: Lab) -> Any:
    """Run a command line in the lab, in 60 columns; the exit code is checked."""

    def call(*words: str, code: int = 0, stdin: str = "") -> Any:
        result = CliRunner().invoke(
            cli.app, ["--lab", str(lab.root), *words], input=stdin, env={"COLUMNS": "60"}
        )
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def told(say: Any) -> Any:
    return lambda *words: json.loads(say(*words, "--json").stdout)


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the answer to a question come from a person."""
    monkeypatch.setattr("cxrlab.entries.sys", _Terminal())


class _Terminal:
    class stdin:
        @staticmethod
        def isatty() -> bool:
            return True


def texts(found: list[dict[str, Any]]) -> list[str]:
    return [entry["text"] for entry in found]


def test_a_note_is_written_down_with_its_time_and_listed_newest_first(told, clock) -> None:
    clock(1_760_000_000.0)
    first = told("note", "first", "words")
    assert (first["text"], first["written"]) == ("first words", "2025-10-09 08:53")
    clock(1_760_000_060.0)
    told("note", "second")
    assert texts(told("note")) == ["second", "first words"]


def test_empty_lists_say_what_to_type(say: Any) -> None:
    assert '`cxrlab note "text"`' in say("note").stderr
    assert '`cxrlab todo "text"`' in say("todo").stderr
    assert '`cxrlab todo --idea "text"`' in say("todo", "--idea").stderr
    assert say("todo").stdout == ""


def test_open_points_are_ticked_off_and_opened_again_by_number(told: Any) -> None:
    assert [told("todo", text)["number"] for text in ("one", "two", "three")] == [1, 2, 3]
    assert [(e["number"], e["state"]) for e in told("todo", "done", "3", "1")] == [
        (3, "done"), (1, "done"),
    ]  # fmt: skip
    assert texts(told("todo")) == ["two"]
    assert texts(told("todo", "--all")) == ["one", "two", "three"]
    told("todo", "reopen", "1")
    assert texts(told("todo")) == ["one", "two"]


def test_all_done_is_not_the_same_as_nothing_ever_written(say: Any) -> None:
    say("todo", "one")
    say("todo", "done", "1")
    assert "`--all` lists the 1 done" in say("todo").stderr


def test_ideas_are_listed_apart_and_counted(say: Any, told: Any) -> None:
    told("todo", "--idea", "HOG")
    told("todo", "work")
    assert texts(told("todo")) == ["work"]
    assert texts(told("todo", "--idea")) == ["HOG"]
    assert "1 idea" in say("todo").stderr


def test_dropping_asks_and_heeds_the_answer(say: Any, told: Any, at_terminal: None) -> None:
    say("todo", "keep me")
    refused = say("todo", "drop", "1", stdin="n\n", code=1)
    assert "keep me" in refused.stderr
    assert texts(told("todo")) == ["keep me"]
    say("todo", "drop", "1", stdin="y\n")
    assert told("todo", "--all") == []


def test_dropping_without_a_terminal_needs_yes(say: Any, told: Any) -> None:
    say("note", "keep me")
    assert "--yes" in say("note", "drop", "1", code=2).stderr
    assert texts(told("note")) == ["keep me"]
    say("note", "drop", "1", "--yes")
    assert told("note") == []


def test_nothing_is_done_when_one_of_the_numbers_is_wrong(say: Any, told: Any) -> None:
    say("todo", "one")
    assert "number 7" in say("todo", "done", "1", "7", code=3).stderr
    say("note", "a fact")
    assert "is a note" in say("todo", "done", "1", "2", code=2).stderr
    assert texts(told("todo")) == ["one"]


@pytest.mark.parametrize("words", [("todo", "done"), ("note", "drop"), ("todo", " "), ("note", "")])
def test_an_action_without_a_number_and_an_empty_text_are_wrong(say: Any, words) -> None:
    say(*words, code=2)


def test_a_text_may_begin_like_an_action(told: Any) -> None:
    assert told("todo", "done is better than perfect")["text"] == "done is better than perfect"
    assert told("todo", "drop", "the", "baseline")["text"] == "drop the baseline"


def test_a_note_is_about_a_run_or_a_cell(told: Any, say: Any, new_run: Any) -> None:
    new_run(id="aaaaaa")
    assert told("note", "odd curve", "--about", "aaa")["about"] == "aaaaaa"
    assert told("todo", "rerun", "--about", "mrm:siim:10")["about"] == "mrm:siim:10"
    assert texts(told("note", "--about", "aaaaaa")) == ["odd curve"]
    assert texts(told("note", "--about", "mrm:siim:10")) == ["rerun"]
    assert "mrm:nih" in say("note", "--about", "mrm:nih").stderr


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("mrm", "mrm"),
        ("mrm+hog", "mrm+hog"),
        ("siim", "siim"),
        ("pretrain", "pretrain"),
        ("mrm/siim/10/Dice", "mrm:siim:10:Dice"),
    ],
)
def test_a_note_is_about_a_method_or_a_task_as_well(told: Any, name: str, about: str) -> None:
    assert told("note", "text", "--about", name)["about"] == about
    assert texts(told("note", "--about", about)) == ["text"]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("zzzzzz", 3, "no run"),
        ("mrn:siim", 3, "did you mean `mrm`"),
        ("mrm:sim", 3, "did you mean `siim`"),
        ("mrm:siim:0", 2, "no cell"),
        (f"mrm:siim:{'9' * 5000}", 2, "no cell"),
        ("mrm:siim:10:Dices", 2, "no cell"),
        ("mrm:siim:10:Dice:x", 2, "no cell"),
    ],
)
def test_what_a_note_is_about_must_exist(say: Any, name, code, said) -> None:
    assert said in say("note", "text", "--about", name, code=code).stderr


def test_notes_about_a_run_that_is_gone_are_still_found(told: Any, db: Any) -> None:
    notes.add(db, notes.NewEntry("note", "it diverged", about="bbbbbb"))
    assert texts(told("note", "--about", "bbbbbb")) == ["it diverged"]


def test_words_are_found_in_texts_and_headings_in_any_case(told: Any, db: Any) -> None:
    notes.add(db, notes.NewEntry("fact", "MIMIC-CXR", section="数据准备"))
    told("note", "other")
    assert texts(told("note", "--find", "mimic")) == ["MIMIC-CXR"]
    assert texts(told("note", "--find", "数据")) == ["MIMIC-CXR"]
    assert told("note", "--find", "nowhere") == []


def test_a_text_is_read_from_standard_input(say: Any, told: Any) -> None:
    say("note", "-", stdin="line one\nline two\n")
    assert texts(told("note")) == ["line one\nline two"]
    assert "line one\nline two\n" in say("note", "show", "1").stdout
    assert "line one line two" in say("note").stdout


def test_the_list_says_where_an_entry_is_from_and_stays_within_the_width(say: Any, db: Any) -> None:
    new = notes.NewEntry("todo", "的" * 70, "open", "2023-03-08 16:11", "实验", "notebook.md", 17)
    notes.bring_in(db, "notebook.md", [new])
    shown = say("todo").stdout
    assert "实验, notebook.md:17" in shown
    assert "2023-03-08  [ ] 的" in shown
    assert shown.count("的") == 70
    assert max(console.length(line) for line in shown.splitlines()) <= 60


def test_a_long_list_is_cut_and_says_so(say: Any, told: Any) -> None:
    for text in ("one", "two", "three"):
        say("note", text)
    cut = say("note", "-n", "1")
    assert "three" in cut.stdout
    assert "one" not in cut.stdout
    assert "2 older ones" in cut.stderr
    assert len(told("note")) == 3


@pytest.mark.parametrize(
    "words", [("note",), ("note", "show", "1"), ("note", "--all"), ("todo", "--all"),
              ("todo", "done", "2"), ("note", "drop", "1", "--yes")]
)  # fmt: skip
def test_nothing_in_a_text_acts_on_the_terminal(say: Any, db: Any, words) -> None:
    notes.bring_in(db, EVIL, [notes.NewEntry("note", EVIL, section=EVIL)])
    notes.add(db, notes.NewEntry("todo", EVIL, "open", about=EVIL))
    result = say(*words)
    for sign in "\x1b\x07\x9b\u202e":
        assert sign not in result.stdout + result.stderr


def test_a_text_is_kept_as_it_was_typed(told: Any) -> None:
    assert told("note", EVIL)["text"] == EVIL
    assert texts(told("note")) == [EVIL]


def test_bytes_that_are_no_text_do_not_end_the_command(told: Any) -> None:
    assert told("note", "a\udcffb")["text"] == "a\ufffdb"


def test_notes_survive_a_rebuild(say: Any, told: Any, lab: Lab) -> None:
    say("note", "keep")
    say("todo", "this")
    before = told("note", "--all")
    say("rebuild")
    assert told("note", "--all") == before


@given(st.text(st.characters(exclude_categories=["C", "Z", "M"]) | st.just(" "), max_size=80),
       st.integers(12, 40))  # fmt: skip
def test_folding_loses_nothing_and_never_exceeds_the_width(said: str, columns: int) -> None:
    said = " ".join(said.split())
    lines = entries.folded(said, columns=columns)
    assert all(console.length(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(said.split())
