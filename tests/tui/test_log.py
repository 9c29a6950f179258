"""Following a log of any size, scrolling in it, and what may come in between."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events

from cxrlab.lab import Lab
from cxrlab.tui import held, remembered, tail
from cxrlab.tui.held import Held
from cxrlab.tui.messages import OpenRun
from cxrlab.tui.screens import run
from cxrlab.tui.tail import PIECE, last_piece, next_piece, piece_before
from cxrlab.tui.widgets import log as log_widget
from cxrlab.tui.widgets.log import AT_ONCE, LogView

Wait = Callable[..., Any]
Shown = Callable[[Any], str]

READERS = ("last_piece", "next_piece", "piece_before", "piece_around")


class Gate:
    """Lets reads of the log pass; holds those of one kind until it is opened."""

    def __init__(self) -> None:
        self.holds = ""
        self._shut = ""
        self._open = threading.Event()

    def reader(self, name: str) -> Callable[..., Any]:
        read = getattr(tail, name)

        def held_up(*given: Any, **named: Any) -> Any:
            piece = read(*given, **named)  # it finds what was there when it began
            if name == self._shut:
                self.holds = name
                assert self._open.wait(60)
            return piece

        return held_up

    def shut(self, name: str) -> None:
        self._shut, self.holds = name, ""
        self._open.clear()

    def open(self) -> None:
        self._shut = ""
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Any:
    gate = Gate()
    for name in READERS:
        monkeypatch.setattr(log_widget, name, gate.reader(name))
    yield gate
    gate.open()


@pytest.fixture
def log(full_lab: Lab) -> Path:
    """Give the log of the run that is opened."""
    return next(full_lab.runs_dir.glob("deepaa-*")) / "log.txt"


@pytest.fixture
def opened(until: Wait, shown: Shown) -> Wait:
    """Open the run and wait until the end of its log is shown."""

    async def open_run(pilot: Any, last: str) -> LogView:
        pilot.app.post_message(OpenRun("deepaa"))
        await until(pilot, lambda: last in shown(pilot.app))
        view: LogView = pilot.app.screen.query_one(LogView)
        await until(pilot, lambda: view.has_focus)
        return view

    return open_run


def lines(first: int, last: int) -> str:
    return "".join(f"line {n:06d}\n" for n in range(first, last))


def add(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def rows_of(view: LogView) -> list[str]:
    """Return the lines of the log that are on the screen."""
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


# -- following


async def test_the_log_follows_its_end_until_one_goes_up_and_f_follows_again(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    log.write_text(lines(0, 500))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 000499")
        add(log, "one more\n")
        await until(pilot, lambda: rows_of(view)[-1] == "one more")
        await pilot.press("k", "pageup")
        await until(pilot, lambda: "standing still" in shown(app))
        add(log, "unseen\n")
        await pilot.press("f")
        await until(pilot, lambda: rows_of(view)[-1] == "unseen" and "following" in shown(app))
        await pilot.press("g")
        await until(pilot, lambda: rows_of(view)[0] == "line 000000")
        await pilot.press("G")
        await until(pilot, lambda: rows_of(view)[-1] == "unseen")


@pytest.mark.parametrize("key", ["k", "pageup", "g"])
async def test_what_is_looked_at_stands_still_while_lines_come(
    key: str, full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait,
    gate: Gate,
) -> None:  # fmt: skip
    log.write_text(lines(0, 500))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 000499")
        gate.shut("next_piece")
        await until(pilot, lambda: gate.holds)
        await pilot.press(key)
        await until(pilot, lambda: "standing still" in shown(app))
        before = rows_of(view)
        add(log, lines(500, 700))
        gate.open()
        if key != "g":  # from the top nobody looks for more
            await until(pilot, lambda: view.held.lines[-1].text == "line 000699")
        await until(pilot, lambda: not view._reading)
        assert rows_of(view) == before
        assert not view.following


@pytest.mark.parametrize("key", ["j", "pagedown"])
async def test_who_reaches_the_end_follows_it(
    key: str, full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    log.write_text(lines(0, 500))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 000499")
        await pilot.press("k")
        await until(pilot, lambda: not view.following)
        await pilot.press(key)
        await until(pilot, lambda: "following" in shown(app))
        add(log, "one more\n")
        await until(pilot, lambda: rows_of(view)[-1] == "one more")


async def test_the_wheel_leaves_the_end_and_finds_it_again(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    log.write_text(lines(0, 500))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 000499")
        given = (view, 1, 1, 0, 0, 0, False, False, False)
        view.post_message(events.MouseScrollUp(*given))
        await until(pilot, lambda: "standing still" in shown(app))
        for _ in range(3):
            view.post_message(events.MouseScrollDown(*given))
        await until(pilot, lambda: "following" in shown(app))


async def test_the_end_is_followed_through_every_size_of_the_screen(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, opened: Wait
) -> None:
    log.write_text(lines(0, 500))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 000499")
        for width, height in ((200, 60), (80, 24), (60, 18), (80, 50)):
            await pilot.resize_terminal(width, height)
            await until(pilot, lambda width=width: view.size.width in (width, width - 2))
            await until(pilot, lambda: rows_of(view)[-1] == "line 000499")
            assert view.following
        # a line that is wider than the screen brings a bar, which takes a row
        add(log, "y" * 10_000 + "\nlast\n")
        await until(pilot, lambda: view.show_horizontal_scrollbar)
        await until(pilot, lambda: rows_of(view)[-1] == "last")


async def test_a_line_without_an_end_is_written_over_as_on_a_terminal(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, opened: Wait
) -> None:
    log.write_text(lines(0, 500) + "  1%|▏    | 1/100")
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "1/100")
        add(log, "\r\x1b[32m 50%\x1b[0m|██▌  | 50/100")
        await until(pilot, lambda: rows_of(view)[-1] == " 50%|██▌  | 50/100")
        green = next(s for s in view.render_line(view.size.height - 1) if s.text == " 50%")
        assert green.style is not None
        assert green.style.color is not None
        assert green.style.color.number == 2
        add(log, "\r100%|█████| 100/100\ndone")
        await until(pilot, lambda: rows_of(view)[-2:] == ["100%|█████| 100/100", "done"])
        add(log, " at last\n")
        await until(pilot, lambda: rows_of(view)[-1] == "done at last")


async def test_a_log_that_is_written_anew_is_followed_from_its_new_end(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    log.write_text(lines(0, 500))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 000499")
        log.write_text("fresh\n")
        await until(pilot, lambda: rows_of(view)[:2] == ["fresh", ""])
        add(log, lines(0, 300))
        await until(pilot, lambda: rows_of(view)[-1] == "line 000299")
        await pilot.press("k")
        await until(pilot, lambda: not view.following)
        log.unlink()
        await until(pilot, lambda: "the log is empty so far" in shown(app))
        log.write_text("again\n")
        await until(pilot, lambda: rows_of(view)[0] == "again")


async def test_of_a_log_that_grows_faster_than_it_can_be_read_the_end_is_shown(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, opened: Wait
) -> None:
    log.write_text(lines(0, 500))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 000499")
        for n in range(1, 6):
            text = lines(n * 10**5, (n + 1) * 10**5)
            assert len(text) > AT_ONCE
            add(log, text)
            await until(pilot, lambda n=n: rows_of(view)[-1] == f"line {(n + 1) * 10**5 - 1:06d}")
        assert len(view.held.lines) <= PIECE // 12  # and not all that lies between
        # which is there for who goes up
        for _ in range(3):
            start = view.held.start
            view.scroll_to(y=0, animate=False)
            await until(pilot, lambda start=start: view.held.start < start)
        numbers = [int(line.text.removeprefix("line ")) for line in view.held.lines]
        assert numbers == list(range(numbers[0], 600_000))


# -- what comes in between


async def test_g_goes_to_the_first_line_though_others_are_being_read(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait, gate: Gate
) -> None:
    log.write_text(lines(0, 20_000))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 019999")
        gate.shut("next_piece")
        await until(pilot, lambda: gate.holds)  # the look for new lines
        await pilot.press("g")
        await until(pilot, lambda: "standing still" in shown(app))
        gate.open()
        await until(pilot, lambda: rows_of(view)[0] == "line 000000")
        assert not view.following


async def test_lines_above_are_read_though_others_were_being_read_when_one_came_there(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, opened: Wait, gate: Gate
) -> None:
    log.write_text(lines(0, 20_000))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 019999")
        start = view.held.start
        gate.shut("next_piece")
        await until(pilot, lambda: gate.holds)
        view.scroll_to(y=0, animate=False)  # as with the scroll bar
        first = rows_of(view)[0]
        gate.open()
        await until(pilot, lambda: view.held.start < start)
        assert rows_of(view)[0] == first
        assert not view.following


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        (("pageup", "pageup"), "next_piece"),
        ((), "piece_before"),
        (("g",), "piece_around"),
        (("slash", *"needle", "enter"), "piece_around"),
    ],
)
async def test_f_follows_whatever_is_being_read(
    keys: tuple[str, ...], read: str, full_lab: Lab, log: Path, make_app: Wait, until: Wait,
    shown: Shown, opened: Wait, gate: Gate,
) -> None:  # fmt: skip
    log.write_text("needle\n" + lines(0, 200_000))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 199999")
        gate.shut(read)
        if keys:
            await pilot.press(*keys)
        else:
            view.scroll_to(y=0, animate=False)
        await until(pilot, lambda: gate.holds)
        await until(pilot, lambda: not view.following)
        await pilot.press("f")
        await until(pilot, lambda: view.following)
        gate.open()
        await until(pilot, lambda: rows_of(view)[-1] == "line 199999" and "following" in shown(app))
        add(log, "one more\n")
        await until(pilot, lambda: rows_of(view)[-1] == "one more")


async def test_f_leaves_a_place_far_above_though_lines_there_are_moved_over(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, opened: Wait, gate: Gate
) -> None:
    log.write_text("needle\n" + lines(0, 200_000))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 199999")
        await pilot.press("slash", *"needle", "enter")
        await until(pilot, lambda: rows_of(view)[0] == "needle")
        gate.shut("next_piece")
        await pilot.press("f", "j")
        await until(pilot, lambda: gate.holds)
        gate.open()
        await until(pilot, lambda: rows_of(view)[-1] == "line 199999" and view.following)


async def test_who_goes_up_before_the_end_has_been_read_stays(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, opened: Wait, gate: Gate
) -> None:
    log.write_text(lines(0, 200_000))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 199999")
        await pilot.press("g")
        await until(pilot, lambda: rows_of(view)[0] == "line 000000")
        await pilot.press("pagedown", "pagedown", "pagedown")
        gate.shut("next_piece")
        await pilot.press("f")
        await until(pilot, lambda: gate.holds)
        await pilot.press("pageup")
        await until(pilot, lambda: not view.following)
        before = rows_of(view)
        gate.open()
        await until(pilot, lambda: not view._reading)
        assert rows_of(view) == before
        assert not view.following


async def test_a_match_is_shown_though_lines_come_that_leave_it_behind(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, opened: Wait, gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(run, "LOG_S", 3600)  # it is looked when the test says so
    log.write_text(lines(0, 5000) + "needle\n" + lines(5000, 5100))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 005099")
        add(log, lines(6000, 200_000))
        gate.shut("next_piece")
        view.poll()
        await until(pilot, lambda: gate.holds)
        await pilot.press("slash", *"needle", "enter")
        await until(pilot, lambda: "needle" in rows_of(view))
        gate.open()
        await until(pilot, lambda: not view._asking._busy)
        await pilot.pause()
        assert "needle" in rows_of(view)
        assert not view.following


async def test_a_log_that_cannot_be_read_is_said_to_be_until_it_can(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    log.write_text(lines(0, 500))
    app = make_app(full_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        view = await opened(pilot, "line 000499")

        def stale(*given: Any, **named: Any) -> None:
            raise OSError(errno.ESTALE, "Stale file handle")

        with monkeypatch.context() as broken:
            broken.setattr(log_widget, "next_piece", stale)
            await until(pilot, lambda: "log.txt: Stale file handle" in shown(app))
            assert rows_of(view)[-1] == "line 000499"
        add(log, "one more\n")
        await until(pilot, lambda: rows_of(view)[-1] == "one more")
        assert "Stale" not in shown(app)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "cannot read log.txt: is no plain file"),
        ("zh", "无法读取 log.txt：不是普通文件"),
    ],
)
async def test_what_is_no_log_is_not_called_an_empty_one(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, language: str, said: str
) -> None:
    log.unlink()
    log.mkdir()
    remembered.remember(full_lab, "language", language)
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenRun("deepaa"))
        await until(pilot, lambda: said in shown(app))
        view = app.screen.query_one(LogView)
        await until(pilot, lambda: rows_of(view)[0] == said)
        log.rmdir()
        log.write_text("a line at last\n")
        await until(pilot, lambda: rows_of(view)[0] == "a line at last")
        await until(pilot, lambda: said not in shown(app))


async def test_a_log_that_leads_elsewhere_is_not_read(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("a secret\n")
    log.unlink()
    log.symlink_to(tmp_path / "secret")
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenRun("deepaa"))
        await until(pilot, lambda: "log.txt: leads out of its run folder" in shown(app))
        assert "secret" not in shown(app)


# -- how much is held


async def test_a_large_log_is_read_from_its_end_and_backwards_on_demand(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, opened: Wait
) -> None:
    with log.open("wb") as file:
        file.write(b"first\n")
        file.seek(1 << 30)  # a hole of 1 GiB
        file.write(b"\n" + b"".join(b"line %07d\n" % n for n in range(60_000)))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "line 0059999")
        assert view.held.end - view.held.start <= PIECE
        first = view.held.lines[0].text
        view.scroll_to(y=0, animate=False)
        await until(pilot, lambda: view.held.lines[0].text < first)
        assert rows_of(view)[0] == first
        await pilot.press("g")
        await until(pilot, lambda: rows_of(view)[0] == "first")
        await pilot.press("f")
        await until(pilot, lambda: rows_of(view)[-1] == "line 0059999")


@pytest.mark.parametrize("width", [1, 12, 200, 40_000])
def test_what_is_held_is_bounded_and_stays_where_one_is(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MOST", 4 * PIECE)
    path = tmp_path / "log.txt"
    path.write_bytes((b"x" * (width - 1) + b"\n") * (20 * PIECE // width))
    part = Held.of(last_piece(path))

    def joined() -> bool:
        offsets = [line.offset for line in part.lines]
        taken = part.end - part.start + held.EACH * len(part.lines)
        return offsets == list(range(part.start, part.end, width)) and taken <= held.MOST

    for _ in range(20):  # upwards, with the first line on the screen
        seen, piece = part.lines[0], piece_before(path, part.start)
        part.add_before(piece)
        row = len(piece.lines)
        row -= part.trim(row)
        assert part.lines[row] == seen
        assert joined()
    assert not part.whole
    for _ in range(20):  # and down again, with the last
        seen, row = part.lines[-1], len(part.lines) - 1
        part.add_after(next_piece(path, part.end))
        row -= part.trim(row)
        assert part.lines[row] == seen
        assert joined()


async def test_hostile_text_in_a_log_is_shown_as_text(
    full_lab: Lab, log: Path, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    hostile = "[red]a[/] [/] [@click=app.quit]b[/] \x1b[2J\x1b]0;t\x07 \u202eright"
    log.write_text(f"{hostile}\n{'y' * 10_000}END\nlast\n")
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, "last")
        await until(pilot, lambda: "[red]a[/] [/] [@click=app.quit]b[/] ␛[2J␛]0;t␇" in shown(app))
        assert "\x1b" not in shown(app)
        assert "\u202e" not in shown(app)
        await pilot.press(*["right"] * 3)
        view.scroll_to(x=9_960, animate=False)
        await until(pilot, lambda: "yEND" in shown(app))
        x = view.scroll_offset.x
        await pilot.press("left")
        await until(pilot, lambda: view.scroll_offset.x == x - 8)
