from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cxrlab.checkup import Finding
from cxrlab.lab import Lab
from cxrlab.tui import words
from cxrlab.tui.screens.doctor import DoctorScreen, Looked, title_of
from cxrlab.tui.widgets.table import Table

Wait = Callable[..., Any]
Shown = Callable[[Any], str]

WELL = Finding("python", "ok", "3.11")
FAULT = Finding("disk", "missing", "nothing is left", "cxrlab rm RUN")
WARNING = Finding("gpus", "warning", "none \x1b[2J [red]here[/]", "buy one")


async def test_each_thing_is_shown_as_soon_as_it_was_looked_at(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    go_on = threading.Event()

    def look(lab: Lab) -> Iterator[Finding]:
        assert lab is empty_lab
        yield WELL
        go_on.wait(60)
        yield FAULT

    app = make_app(empty_lab, look=look)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("6")
        await until(pilot, lambda: "✓ ok      python" in shown(app) and "looking …" in shown(app))
        await pilot.press("2", "6")  # the keys are alive meanwhile
        go_on.set()
        await until(pilot, lambda: "✗ missing disk" in shown(app))
        await until(pilot, lambda: "✗ 1 missing   ✓ 1 ok" in shown(app))
        assert "looking" not in shown(app)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ("✗ 1 missing   ! 2 warnings   ✓ 1 ok", "! 1 warning   · 2 notes")),
        ("zh", ("✗ 1 项缺失   ! 2 条警告   ✓ 1 项正常", "! 1 条警告   · 2 条提示")),
    ],
)
def test_the_title_counts_in_words(language: str, said: tuple[str, str]) -> None:
    note = Finding("weights", "note", "not there")
    words.speak(language)
    titles = [
        title_of(Looked(found, over=True)).plain.strip()
        for found in ((WARNING, FAULT, WELL, WARNING), (note, WARNING, note))
    ]
    assert titles == list(said)


async def test_n_goes_to_the_next_fault_and_y_copies_what_fixes_it(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(empty_lab, look=lambda lab: iter((WELL, FAULT, WELL, WARNING)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("6")
        await until(pilot, lambda: "gpus" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: "nothing to fix" in told(app))
        await pilot.press("n")
        await until(pilot, lambda: "fix  cxrlab rm RUN" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: app.clipboard == "cxrlab rm RUN")
        await pilot.press("n")
        assert app.screen.query_one(Table).row == 3
        assert "none ␛[2J [red]here[/]" in shown(app)
        await pilot.press("n")
        assert app.screen.query_one(Table).row == 1


async def test_where_all_is_well_n_says_so(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(empty_lab, look=lambda lab: iter((WELL,)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("6")
        await until(pilot, lambda: "✓ 1 ok" in shown(app))
        await pilot.press("n")
        await until(pilot, lambda: "everything is well" in told(app))


async def test_r_looks_again_and_what_an_earlier_look_finds_is_ignored(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    go_on, looks = threading.Event(), []

    def look(lab: Lab) -> Iterator[Finding]:
        looks.append(lab)
        if len(looks) == 1:
            go_on.wait(60)
            yield FAULT
        else:
            yield WELL

    app = make_app(empty_lab, look=look)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("6")
        await until(pilot, lambda: len(looks) == 1)
        await pilot.press("r")
        await until(pilot, lambda: "✓ 1 ok" in shown(app))
        go_on.set()
        await pilot.press("r")
        await until(pilot, lambda: len(looks) == 3 and "✓ 1 ok" in shown(app))
        assert "disk" not in shown(app)


async def test_a_check_that_fails_is_told_and_ends_the_look(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    def look(lab: Lab) -> Iterator[Finding]:
        yield WELL
        raise OSError("the disk is gone")

    app = make_app(empty_lab, look=look)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("6")
        await until(pilot, lambda: "✗ OSError: the disk is gone" in shown(app))
        assert isinstance(app.screen, DoctorScreen)
        assert "✓ 1 ok" in shown(app)
