"""Searching a log of any size, its errors, and its colours."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events

from cxrlab.harmless import log_line
from cxrlab.lab import Lab
from cxrlab.tui import tail
from cxrlab.tui.messages import OpenRun
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.tail import CHUNK, ERRORS, OVERLAP, match_after, match_before, needle, next_piece
from cxrlab.tui.widgets import log as log_widget
from cxrlab.tui.widgets.log import LogView
from cxrlab.tui.widgets.log_search import LogSearch

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


def never() -> bool:
    return False


@pytest.fixture
def log(full_lab: Lab) -> Path:
    """Give the log of the run that is opened."""
    return next(full_lab.runs_dir.glob("deepaa-*")) / "log.txt"


@pytest.fixture
def opened(until: Wait, shown: Shown) -> Wait:
    """Open the run and wait until the end of its log is shown."""

    async def open_run(pilot: Any, last: str) -> LogView:
        pilot.app.post_message(OpenRun("deepaa"))
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await until(pilot, lambda: last in shown(pilot.app))
        view: LogView = pilot.app.screen.query_one(LogView)
        await until(pilot, lambda: view.has_focus)
        return view

    return open_run


def line_of(view: LogView) -> str:
    """Return the line that is marked as the match; nothing where none is."""
    return next((line.text for line in view.held.lines if line.offset == view._marked), "")


# -- in the file


def test_matches_are_found_from_any_place_in_both_directions(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"".join(b"step %06d\n" % n for n in range(100_000)))  # several chunks
    sought = needle("STEP 0")._replace(fold=True)
    assert match_before(path, sought, None, never) == 99_999 * 12
    sought = needle("7777")
    found, end = [], None
    while (end := match_before(path, sought, end, never)) is not None:
        found.append(end // 12)
    assert found == [n for n in reversed(range(100_000)) if "7777" in f"{n:06d}"]
    back = [found[-1]]
    while (at := match_after(path, sought, back[-1] * 12, never)) is not None:
        back.append(at // 12)
    assert back == found[::-1]


def test_a_match_across_the_bound_of_what_is_read_is_found(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    for before in (CHUNK - 3, CHUNK + OVERLAP, 3 * CHUNK):
        path.write_bytes(b"x" * before + b"needle" + b"y" * (CHUNK - 3))
        assert match_before(path, needle("needle"), None, never) is not None
    path.write_bytes(b"a\n" + b"x" * (CHUNK - 5) + b"needle\nb")
    assert match_before(path, needle("needle"), None, never) in range(2, CHUNK)
    assert match_after(path, needle("needle"), 0, never) in range(2, CHUNK)


def test_what_is_not_shown_is_not_found_and_colours_do_not_hide(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"\x1b[1mne\x1b[0medle\nneedle 50%\rdone\nnothing\n")
    assert match_before(path, needle("needle"), None, never) == 0
    assert match_before(path, needle("Needle"), None, never) is None
    assert match_before(path, needle("[1m"), None, never) is None
    assert match_before(tmp_path / "none", ERRORS, None, never) is None


def test_searching_ends_when_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"needle\n")
    with path.open("ab") as file:
        file.truncate(1 << 40)  # never read to its end
    asked = iter([False, False, True])
    assert match_before(path, needle("needle"), None, lambda: next(asked)) is None
    asked = iter([False, False, True])
    assert match_after(path, needle("needle"), 0, lambda: next(asked)) is None


def test_a_line_with_colours_reads_as_without_them(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    parts = ["\t", "ab", "\x1b[31m", "\x1b[0m", "\x1b[2J", "\x1b]0;t\x07", "\x1b", "[1m", "中",
             "\ufeff", "\u202e", "\x9b31m", "\x1b[38:2::1:2:3m", f"\x1b[{'9' * 5000}m",
             "\r"]  # fmt: skip
    chance = random.Random(1)
    for _ in range(300):
        raw = "".join(chance.choices(parts, k=9)).encode()
        path.write_bytes(raw + b"\n")
        [line] = next_piece(path, 0).lines
        assert line.text == log_line(raw)
        assert all(0 <= at <= len(line.text) for at, _ in line.colours)


# -- on the screen


async def test_slash_searches_upwards_and_n_and_shift_n_go_on(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    log.write_text("".join(f"line {n} {'Loss' if n % 1000 == 7 else ''}\n" for n in range(30_000)))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 29999")
        await pilot.press("slash")
        await until(pilot, lambda: "search the log upwards" in shown(app))
        await pilot.press(*"loss", "enter")
        await until(pilot, lambda: line_of(view) == "line 29007 Loss")
        await until(pilot, lambda: "line 29007 Loss" in shown(app) and "`n` older" in shown(app))
        assert not app.screen.query_one(LogSearch).display
        assert not view.following
        await pilot.press("n")
        await until(pilot, lambda: line_of(view) == "line 28007 Loss")
        await pilot.press("n")
        await until(pilot, lambda: "line 27007 Loss" in shown(app))
        await pilot.press("N")
        await until(pilot, lambda: line_of(view) == "line 28007 Loss")
        await pilot.press("N")
        await until(pilot, lambda: line_of(view) == "line 29007 Loss")
        await pilot.press("N")
        await until(pilot, lambda: "no newer match" in shown(app))
        assert line_of(view) == "line 29007 Loss"
        # the oldest is there too, and the end again
        await pilot.press("slash", *"line 7 l", "enter")
        await until(pilot, lambda: "line 7 Loss" in shown(app))
        await pilot.press("n")
        await until(pilot, lambda: "no older match" in shown(app))
        await pilot.press("end")
        await until(pilot, lambda: "line 29999" in shown(app) and "following" in shown(app))
        with log.open("a") as file:
            file.write("one more\n")
        await until(pilot, lambda: "one more" in shown(app))


async def test_what_is_not_there_is_said_and_the_log_is_followed_on(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    log.write_text("nothing bad\n")
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "nothing bad")
        await pilot.press("n")
        await until(pilot, lambda: "nothing searched yet" in shown(app))
        await pilot.press("slash", *"[red]", "enter")
        await until(pilot, lambda: "not found: [red]" in shown(app))
        await pilot.press("E")
        await until(pilot, lambda: "no error found" in shown(app))
        assert view.following
        await pilot.press("slash", "q", "escape")
        await until(pilot, lambda: view.has_focus)
        assert isinstance(app.screen, RunScreen)


async def test_shift_e_goes_to_the_newest_error_and_again_to_the_older(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    bad = {5: "torch: CUDA out of memory", 900: "Traceback (most recent call last):",
           907: "ValueError: no", 1500: "job FAILED"}  # fmt: skip
    log.write_text("".join(f"{bad.get(n, f'good {n}')}\n" for n in range(2000)))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "good 1999")
        for n in sorted(bad, reverse=True):
            await pilot.press("E")
            await until(pilot, lambda n=n: line_of(view) == bad[n] and bad[n] in shown(app))
        await pilot.press("N")
        await until(pilot, lambda: line_of(view) == bad[900])
        await pilot.press("f", "E")  # from the end again
        await until(pilot, lambda: line_of(view) == bad[1500])


async def test_a_match_far_above_is_shown_without_what_lies_between(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    log.write_bytes(b"before\nthe needle here\nbehind\n")
    with log.open("ab") as file:
        file.truncate(64 << 20)
        file.seek(0, 2)
        file.write(b"\n" + b"".join(b"line %06d\n" % n for n in range(5000)))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 004999")
        await pilot.press("slash", *"needle", "enter")
        await until(pilot, lambda: "the needle here" in shown(app))
        assert [line.text for line in view.held.lines[:3]] == [
            "before",
            "the needle here",
            "behind",
        ]
        row = next(y for y in range(view.size.height) if "needle" in view.render_line(y).text)
        struck = [s for s in view.render_line(row) if s.style is not None and s.style.reverse]
        assert [segment.text for segment in struck] == ["needle"]
        await pilot.press("G")
        await until(pilot, lambda: "line 004999" in shown(app) and "following" in shown(app))
        assert "needle" not in shown(app)


async def test_escape_stops_a_search_and_stays_on_the_screen(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    log.write_text("needle\nlast\n")
    let_go = threading.Event()
    ended: list[int | None] = []

    def slow(path: Path, sought: Any, end: Any, stopped: Callable[[], bool]) -> int | None:
        while not stopped() and not let_go.wait(0.01):
            pass
        ended.append(tail.match_before(path, sought, end, stopped))
        return ended[-1]

    monkeypatch.setattr(log_widget, "match_before", slow)
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        try:
            await opened(pilot, "last")
            await pilot.press("slash", *"needle", "enter")
            await until(pilot, lambda: "searching, `Esc` stops" in shown(app))
            await pilot.press("escape")
            await until(pilot, lambda: "search stopped" in shown(app) and ended == [None])
            assert isinstance(app.screen, RunScreen)
        finally:
            let_go.set()


async def test_colours_of_the_log_are_kept_and_nothing_else_acts(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    log.write_text(
        "\x1b[31mred\x1b[0m plain \x1b[1;38;2;1;2;3mbold\x1b[22m [b]x[/] \x1b[8mhidden\x1b[5m\n"
        "\x1b[32mgreen\x1b]8;;http://a\x1b\\link \x1bP1q\x1b[2Jx\x9b2J\x1b[?1049h\n"
        f"\x1b[{'9' * 5000}mlong\x1b[38;2m end\n"
    )
    app = make_app(full_lab)
    async with app.run_test(size=(120, 30)) as pilot:
        view = await opened(pilot, "long end")
        first = {s.text: s.style for s in view.render_line(0) if s.style is not None}
        assert first["red"].color.number == 1
        assert first["bold"].bold
        assert first["bold"].color.triplet == (1, 2, 3)
        assert not first["hidden"].conceal
        assert first[" plain "].color == view.rich_style.color
        second = "green␛]8;;http://a␛\\link ␛P1q␛[2Jx\ufffd2J␛[?1049h"
        assert view.render_line(1).text.rstrip() == second
        assert "\x1b" not in shown(app)
        assert not any(s.style.link for y in range(3) for s in view.render_line(y) if s.style)


async def test_help_and_palette_name_the_keys(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    log.write_text("old RuntimeError\n" + "good\n" * 500 + "last\n")
    app = make_app(full_lab)
    async with app.run_test(size=(110, 45)) as pilot:
        view = await opened(pilot, "last")
        await pilot.press("question_mark")
        for said in ("Search the log upwards.", "The next older match.", "newest error"):
            await until(pilot, lambda said=said: said in shown(app))
        await pilot.press("escape", "colon", *"error")
        await until(pilot, lambda: "Error" in shown(app) and "newest error" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("c", "E")  # from another page too
        await until(pilot, lambda: line_of(view) == "old RuntimeError")


async def test_the_line_goes_with_the_focus_but_stays_while_another_window_has_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deep_mrm" in shown(app))
        app.post_message(OpenRun("deepaa"))
        await until(pilot, lambda: "step 260/600" in shown(app))
        await pilot.press("slash", "n", "e")
        field = app.screen.query_one(LogSearch)
        await until(pilot, lambda: field.value == "ne")
        app.post_message(events.AppBlur())
        await until(pilot, lambda: app.screen.focused is None)
        assert field.display
        app.post_message(events.AppFocus())
        await until(pilot, lambda: app.screen.focused is field)
        await pilot.press("tab")
        await until(pilot, lambda: not field.display)
