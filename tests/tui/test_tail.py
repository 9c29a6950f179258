from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cxrlab.harmless import LONGEST, log_line
from cxrlab.tui.tail import PIECE, Line, last_piece, next_piece, piece_before


def lines_of(count: int) -> bytes:
    return b"".join(b"line %06d\n" % n for n in range(count))


def test_the_end_of_a_large_log_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(lines_of(50_000))
    piece = last_piece(log)
    assert piece.lines[-1].text == "line 049999"
    assert piece.lines[0].text.startswith("line ")
    assert len(piece.lines) <= PIECE // 12
    assert piece.end == log.stat().st_size


def test_pieces_read_backwards_join_to_the_whole_file(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(lines_of(20_000))
    piece = last_piece(log)
    lines = piece.lines
    while piece.start > 0:
        piece = piece_before(log, piece.start)
        lines = piece.lines + lines
    assert [line.text for line in lines] == [f"line {n:06d}" for n in range(20_000)]
    assert lines[7] == Line(7 * 12, "line 000007")


def test_reading_on_gives_only_what_is_new(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"one\ntwo\n")
    end = last_piece(log).end
    with log.open("ab") as file:
        file.write(b"three\nfou")
    piece = next_piece(log, end)
    assert [line.text for line in piece.lines] == ["three"]
    assert piece.unfinished == Line(end + 6, "fou")
    assert next_piece(log, piece.end).unfinished == Line(end + 6, "fou")


def test_a_log_written_anew_is_noticed(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(lines_of(100))
    end = last_piece(log).end
    log.write_bytes(b"fresh\n")
    piece = next_piece(log, end)
    assert piece.anew
    assert [line.text for line in piece.lines] == ["fresh"]


def test_a_missing_log_is_an_empty_one(tmp_path: Path) -> None:
    assert last_piece(tmp_path / "none").lines == []
    assert next_piece(tmp_path / "none", 0).lines == []


def test_a_line_without_an_end_is_not_read_again_for_ever(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"50%\r" * (PIECE // 2))
    end = 0
    for _ in range(2):
        piece = next_piece(log, end)
        assert piece.end == end + PIECE
        assert [line.text for line in piece.lines] == ["50%"]
        end = piece.end
    assert piece.whole


def test_what_is_left_of_a_cut_line_is_shown_above_it(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"one\n" + b"x" * (PIECE + 100) + b"y")
    last = last_piece(log)
    assert last.lines[0].offset == last.start == 105
    before = piece_before(log, last.start)
    assert [line.text for line in before.lines] == ["one", "x" * 101]
    assert before.end == last.start


def test_the_end_is_wanted_more_than_all_that_lies_between(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(lines_of(50_000))
    on = next_piece(log, 0)
    assert [on.lines[0].text, on.anew, on.whole] == ["line 000000", False, False]
    end = next_piece(log, 0, follow=True)
    assert [end.lines[-1].text, end.anew, end.whole] == ["line 049999", True, True]


LINES = st.one_of(st.text("ab \t\r~\x7f\x00\x1bé", max_size=12), st.text(max_size=12)).map(
    str.encode
)


@given(st.lists(LINES.filter(lambda raw: b"\n" not in raw and b"\x1b[" not in raw), max_size=6))
def test_plain_lines_are_read_as_all_others_are(tmp_path_factory: Any, raws: list[bytes]) -> None:
    log = tmp_path_factory.getbasetemp() / "log.txt"
    log.write_bytes(b"".join(raw + b"\n" for raw in raws))
    assert [line.text for line in last_piece(log).lines] == [log_line(raw) for raw in raws]


def test_a_plain_line_that_never_ends_is_cut_too(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"x" * (LONGEST + 5) + b"\n")
    (line,) = last_piece(log).lines
    assert line.text == "x" * LONGEST + " … (5 characters more)"
