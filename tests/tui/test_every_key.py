"""Every key of every screen does something that can be seen: every_key.txt says what.

A key that is bound and has no line there fails, one whose line is not seen to come true, and one
that somebody else takes than its line says.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.widgets import TextArea

from cxrlab.lab import Lab, find_lab
from cxrlab.tui import app as tui_app
from cxrlab.tui import screens, widgets
from cxrlab.tui.messages import OpenRun
from cxrlab.tui.screens import launch as launch_screen
from cxrlab.tui.widgets.table import Table
from store import intake, notes
from store.db import open_store
from store.notes import NewEntry

Wait = Callable[..., Any]
Shown = Callable[[Any], str]

LIMIT_S = 120.0
"""How long a key has, on a slow machine, to be seen to do something."""


class Line(NamedTuple):
    """A line of every_key.txt."""

    whose: str
    keys: list[str]
    there: list[str]
    gone: list[str]

    def holds(self, seen: str) -> bool:
        """Say whether it has come true."""
        return all(part in seen for part in self.there) and not any(p in seen for p in self.gone)


def walks() -> dict[str, list[Line]]:
    """Return the lines of every part of every_key.txt."""
    found: dict[str, list[Line]] = {}
    for raw in Path(__file__).with_name("every_key.txt").read_text(encoding="utf-8").splitlines():
        if raw.startswith("["):
            lines = found[raw.strip("[]")] = []
        elif raw and not raw.startswith("#"):
            keys, _, expected = raw[13:].partition("  ")
            parts = [part.strip() for part in expected.split(" & ")]
            gone = [part[1:] for part in parts if part.startswith("!")]
            there = [part for part in parts if not part.startswith("!")]
            lines.append(Line(raw[:13].strip(), keys.split(), there, gone))
    return found


WALKS = walks()
EMPTY, RUN = "a lab in which nothing has run", "a run"
LEAVING = [name for name in WALKS if name.startswith("leaving")]
FULL = [name for name in WALKS if name not in (EMPTY, RUN, *LEAVING)]


def bound() -> set[tuple[str, str]]:
    """Return every class of the dashboard that binds keys, with each of them."""
    for package in (screens, widgets):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    modules = [m for name, m in sys.modules.items() if name.startswith("cxrlab.tui")]
    classes = {c for m in modules for c in vars(m).values() if isinstance(c, type)}
    return {
        ("App" if issubclass(each, App) else each.__name__, key.key)
        for each in classes
        if issubclass(each, DOMNode) and each.__module__.startswith("cxrlab.")
        for binding in each.__dict__.get("BINDINGS", ())
        for key in Binding.make_bindings([binding])
    }


def test_every_key_has_its_line() -> None:
    told = {
        (line.whose, line.keys[0]) for walk in WALKS.values() for line in walk if line.whose != "-"
    }
    assert sorted(bound() - told) == []
    assert sorted(told - bound()) == []


def seen(app: Any, shown: Shown, told: Shown) -> str:
    """Return all that a person can see of the dashboard, and where things stand in it."""
    if not app.is_running or app._exit:
        return f"left {app.return_value or ''}"
    screen = app.screen
    parts = [shown(app), told(app), f"copied: {app.clipboard}", f"on {type(screen).__name__}"]
    parts += [f"focus {screen.focused.id if screen.focused else ''};", f"theme {app.theme}"]
    parts += [f"shows {getattr(screen, 'run_id', '')}", f"page {getattr(screen, 'page', '')}"]
    parts += [f"cursor {table.row},{table.column}" for table in screen.query(Table)]
    parts += [f"{text.document.line_count} lines" for text in screen.query(TextArea)]
    parts += [
        f"{widget.id} at {widget.scroll_offset.x},{widget.scroll_offset.y}"
        for widget in screen.query("LogView, VerticalScroll, Table")
    ]
    return "\n".join(parts)


@pytest.fixture
def walked(until: Wait, shown: Shown, told: Shown, taken: list[Any]) -> Callable[..., Any]:
    """Press every key of a walk, and wait for what is seen then."""

    async def walk(pilot: Any, name: str) -> None:
        app = pilot.app
        for line in WALKS[name]:
            app.clear_notifications()
            await pilot.pause()
            before = seen(app, shown, told)
            assert not line.holds(before), f"{line} is seen before the key is pressed:\n{before}"
            taken.clear()
            for key in line.keys:
                await pilot.press(*(key[1:] if key.startswith("'") else [key]))
            try:
                await until(
                    pilot, lambda line=line: line.holds(seen(app, shown, told)), limit_s=LIMIT_S
                )
            except AssertionError:
                raise AssertionError(f"{line} is not seen:\n{seen(app, shown, told)}") from None
            if line.whose != "-":
                assert [line.whose in names for names in taken] == [True], f"{line}: {taken}"

    return walk


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The names of the classes of whoever has taken a key."""
    found: list[set[str]] = []
    run = tui_app.CxrlabApp.run_action

    async def noted(self: Any, action: Any, node: Any = None, *given: Any) -> bool:
        took = await run(self, action, node, *given)
        if took and node is not None:
            found.append({each.__name__ for each in type(node).__mro__})
        return took

    monkeypatch.setattr(tui_app.CxrlabApp, "run_action", noted)
    return found


@pytest.fixture
def keyed_lab(full_lab: Lab, add_run: Wait) -> Lab:
    """A lab of many things, whose trainers are not there; the log of `siimaa` is long and wide."""
    for seed, id in enumerate(("queuea", "queueb", "queuec")):
        add_run(full_lab, id, "random", "siim", ratio=10, seed=seed, state="queued")
    folder = next(full_lab.runs_dir.glob("siimaa-*"))
    log = "".join(f"line {n} {'x' * 200} ERROR\n" for n in range(100))
    (folder / "log.txt").write_text(log)
    (folder / "samples").mkdir()
    with (folder / "events.jsonl").open("a") as events:
        for step in range(3):
            Image.new("RGB", (64, 32), (250, 10, 10)).save(folder / f"samples/{step}.png")
            events.write(
                f'{{"t": {step + 1}, "kind": "sample", "path": "samples/{step}.png", '
                f'"caption": "lungs", "step": {step}}}\n'
            )
    db = open_store(full_lab.registry)
    intake.take_in(db, "siimaa", folder)
    for kind, state in (("fact", ""), ("note", ""), ("idea", "open"), ("todo", "open")):
        notes.add(db, NewEntry(kind, f"this is a {kind}", state, "2026-01-04 10:00"))
    db.close()
    source = full_lab.settings_file.read_text()
    nowhere = 'pretrain_program = "/nowhere.py"\nfinetune_program = "/nowhere.py"\n'
    source = source.replace("[launch]\n", f"[launch]\n{nowhere}")
    data = (f'[data.{name}]\nroot = "/"\n' for name in ("mimic_cxr", "siim"))
    full_lab.settings_file.write_text("".join([source, *data]))
    return find_lab(full_lab.root)


LONG_WORK = "print('\\n'.join(map(str, range(99))), flush=True); import time; time.sleep(600)"
"""What a command beside the dashboard says and does until it is stopped."""


async def test_every_key_of_an_empty_lab(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, walked: Wait
) -> None:
    app = make_app(empty_lab, command=lambda lab, errand: [sys.executable, "-c", LONG_WORK])
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has run" in shown(app))
        await walked(pilot, EMPTY)


@pytest.mark.parametrize("name", FULL)
async def test_every_key_of_a_full_lab(
    keyed_lab: Lab,
    make_app: Wait,
    until: Wait,
    shown: Shown,
    walked: Wait,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(launch_screen, "QUIET_S", 1e6)  # the trainers are asked by Enter alone
    app = make_app(keyed_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app) and "CPU slots" in shown(app))
        await walked(pilot, name)


async def test_every_key_of_a_run(
    keyed_lab: Lab, make_app: Wait, until: Wait, shown: Shown, walked: Wait
) -> None:
    app = make_app(keyed_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app))
        app.post_message(OpenRun("siimaa"))
        await until(pilot, lambda: "metric 2 of" in shown(app) and "line 99" in shown(app))
        await walked(pilot, RUN)


@pytest.mark.parametrize("name", LEAVING)
async def test_keys_that_leave(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, walked: Wait, name: str
) -> None:
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has run" in shown(app))
        await walked(pilot, name)
