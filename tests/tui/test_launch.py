from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from cxrlab.errors import Usage
from cxrlab.lab import Lab
from cxrlab.tui.answers import MOST_SEEDS, Manner, priority_of, ratios_of, seeds_of, settings_of
from cxrlab.tui.messages import OpenLaunch
from cxrlab.tui.screens.launch import Launch
from cxrlab.tui.widgets.choice import Choice
from store import mending, runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


@pytest.fixture
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what is queued in the queue."""
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab: None)


@pytest.mark.parametrize(
    ("typed", "seeds"),
    [
        ("0", (0,)),
        ("0,1,2", (0, 1, 2)),
        ("2 0", (2, 0)),
        ("0-3", (0, 1, 2, 3)),
        ("0..2", (0, 1, 2)),
        ("1,1", (1,)),
    ],
)
def test_seeds_are_a_list_or_a_range(typed: str, seeds: tuple[int, ...]) -> None:
    assert seeds_of(typed) == seeds


@pytest.mark.parametrize(
    "typed", ["", "a", "-1", "1-", "0-99999999", "3-1", "[red]", "9" * 5000, f"0-{'9' * 5000}"]
)
def test_what_is_no_seed_is_refused(typed: str) -> None:
    with pytest.raises(Usage):
        seeds_of(typed)
    assert len(seeds_of(f"0-{MOST_SEEDS - 1}")) == MOST_SEEDS


def test_settings_with_several_values_are_a_combination_each() -> None:
    assert settings_of("") == [()]
    assert settings_of("blr=1e-4,3e-4 siim.epochs=2") == [
        (("blr", "1e-4"), ("siim.epochs", "2")),
        (("blr", "3e-4"), ("siim.epochs", "2")),
    ]
    for typed in ("blr", "'blr=1"):
        with pytest.raises(Usage):
            settings_of(typed)


def test_a_priority_is_a_whole_number() -> None:
    assert [priority_of(typed) for typed in ("", " 3 ", "-2")] == [0, 3, -2]
    for typed in ("x", "1.5", "--1", "99999999", "9" * 5000):
        with pytest.raises(Usage):
            priority_of(typed)


def test_what_is_wrong_is_said_again_only_as_far_as_there_is_room() -> None:
    with pytest.raises(Usage) as refused:
        ratios_of("9" * 5000)
    assert "(4,940 characters more)" in refused.value.message


async def test_the_form_says_what_runs_first(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("deep_mrm", "siim", 100))
        await until(pilot, lambda: "1  deep_mrm siim 100 % seed 0" in shown(app))
        assert "waits for deepaa" in shown(app)
        await pilot.press("left")  # the paper preset has no pre-training yet
        await until(pilot, lambda: "1  deep_mrm pretrain seed 0" in shown(app))
        assert "2  deep_mrm siim 100 % seed 0" in shown(app)


async def test_enter_before_the_plan_is_there_launches_what_it_becomes(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_out, gate = Launch._work_out, threading.Event()

    def late(self: Launch, given: Any) -> Any:
        gate.wait(60)
        return work_out(self, given)

    monkeypatch.setattr(Launch, "_work_out", late)
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 100))
        await until(pilot, lambda: isinstance(app.screen, Launch))
        await pilot.press("enter")
        gate.set()
        await until(pilot, lambda: "does not say where" in shown(app).replace("\n", " "))


async def test_seeds_typed_change_what_is_listed(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 100))
        await until(pilot, lambda: "1  random siim 100 % seed 0" in shown(app))
        await pilot.press("tab", "tab", "end", "comma", "4")
        await until(pilot, lambda: "2  random siim 100 % seed 4" in shown(app))
        await pilot.press("x")
        await until(pilot, lambda: "expected a form like" in shown(app))
        assert "random siim 100 % seed 4" not in shown(app)
        await pilot.press("enter")
        await pilot.pause(0.3)
        assert isinstance(app.screen, Launch)


async def test_the_form_tells_time_and_disk_by_what_was_measured(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        app.post_message(OpenLaunch("mrm", "siim", 10))
        await until(pilot, lambda: "takes" in shown(app))
        assert "takes   the CPU" in shown(app)
        assert "(measured in siimca, siimba, siimaa, of the recipe)" in shown(app)
        assert "disk    unknown" in shown(app)
        await pilot.press("tab", "tab", *",1")
        await until(pilot, lambda: "in all, done in" in shown(app))
        app.screen.dismiss()
        app.post_message(OpenLaunch("deep_mrm", "shenzhen", 100))
        await until(pilot, lambda: "time    unknown" in shown(app))


async def test_the_trainers_recipe_is_in_the_form_and_what_was_set_reaches_the_run(
    lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown, db: Any
) -> None:
    app = make_app(lab)
    async with app.run_test(size=(120, 40)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 10))
        await until(pilot, lambda: "1  random siim 10 % seed 0" in shown(app))
        await pilot.press("f3")
        await until(pilot, lambda: "have not answered yet" in told(app))
        await pilot.press(*["tab"] * 4, *"fake_steps=7,8", "tab", *"5")
        await until(pilot, lambda: "2  random siim 10 % seed 0 fake_steps=8" in shown(app))
        await until(pilot, lambda: shown(app).count(" random siim: ") == 2)
        await pilot.press("f3")
        await until(pilot, lambda: "random siim, recipe" in shown(app))
        assert "fake_steps" in shown(app)
        await pilot.press("escape", "enter")
        await until(pilot, lambda: "random siim 10 % seed 0: queued" in told(app))
    made = runs.select(db)
    assert {run.priority for run in made} == {5}
    commands = [" ".join(run.command) for run in made]
    for steps in ("7", "8"):
        assert any("fake_steps" in command and steps in command for command in commands)


async def test_a_priority_that_is_none_is_told(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 100))
        await until(pilot, lambda: "what runs" in shown(app))
        await pilot.press("f4")
        await until(pilot, lambda: app.screen.query_one("#priority").display)
        await pilot.press(*["down"] * 5, *"soon")
        await until(pilot, lambda: "expected a whole number" in shown(app))


async def test_labels_typed_change_the_cells_that_are_launched(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 10))
        await until(pilot, lambda: "Launch random siim 10 %" in shown(app))
        await pilot.press("tab", *",100")
        await until(pilot, lambda: "2  random siim 100 % seed 0" in shown(app))
        assert "Launch random siim 10,100 %" in shown(app)
        await pilot.press("ctrl+u")  # all that the task has
        await until(pilot, lambda: "Launch random siim ─" in shown(app))
        await until(pilot, lambda: "2  random siim 100 % seed 0" in shown(app))
        await pilot.press(*"7")
        await until(pilot, lambda: "no ratio 7" in shown(app))
        await pilot.press(*"x")
        await until(pilot, lambda: "expected percents" in shown(app))


async def test_what_f4_unfolds_reaches_the_run_and_is_told_while_folded(
    lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown, db: Any, no_agent: None
) -> None:
    app = make_app(lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 10))
        await until(pilot, lambda: "1  random siim 10 % seed 0" in shown(app))
        assert "backend" not in shown(app)
        await pilot.press("tab", "tab", "tab", "right", "right", "f4")  # one GPU
        await until(pilot, lambda: "backend" in shown(app))
        await pilot.press("tab", "tab", *"5", "tab", "right", "tab", *"22", "tab", "right")
        await pilot.press("f4")
        await until(pilot, lambda: "backend" not in shown(app))
        await until(pilot, lambda: "priority 5, on OOM halve, memory 22, share on" in shown(app))
        await until(pilot, lambda: "recipe" in shown(app) and "random siim:" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "random siim 10 % seed 0: queued" in told(app), limit_s=120)
    (made,) = runs.select(db)
    assert (made.gpus, made.priority, made.gpu_mib, made.share) == (1, 5, 22 * 1024, True)
    assert mending.of_run(db, made.id).on_oom == "halve"


async def test_the_cluster_an_encoder_and_another_run_of_the_same_can_be_asked_for(
    lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown, db: Any, new_run: Any,
    no_agent: None,
) -> None:  # fmt: skip
    first = new_run(method="mrm", task="pretrain", id="encodr")
    runs.change_state(db, first.id, "succeeded")
    app = make_app(lab)
    async with app.run_test(size=(120, 40)) as pilot:  # where nothing is folded away
        app.post_message(OpenLaunch("mrm", "siim", 10))
        await until(pilot, lambda: "1  mrm siim 10 % seed 0" in shown(app))
        app.screen.query_one("#backend").focus()
        await pilot.press("tab", *"2")
        await until(pilot, lambda: "this machine is one node" in shown(app))
        await pilot.press("shift+tab", "right", "tab", "tab", *"siim")
        await until(pilot, lambda: "neither a run nor a file" in shown(app))
        await pilot.press("ctrl+u", *"enco", "tab", "right")
        await until(pilot, lambda: "starts from encodr" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "mrm siim 10 % seed 0: " in told(app), limit_s=120)
    made = runs.select(db, task="siim")[0]
    assert (made.backend, made.nodes, made.parent) == ("slurm", 2, "encodr")


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("memory", "much", "expected GiB"),
        ("memory", "0", "expected GiB"),
        ("memory", "nan", "expected GiB"),
        ("nodes", "x", "expected a whole number"),
        ("nodes", "9" * 5000, "expected a whole number"),
        ("nodes", "2", "this machine is one node"),
    ],
)
def test_what_runs_cannot_ask_for_is_refused(field: str, typed: str, said: str) -> None:
    with pytest.raises(Usage, match=said):
        Manner(**{field: typed}).check()
    Manner(memory="22 GiB", nodes="2", backend="slurm").check()


async def test_arrows_go_between_fields_and_space_chooses(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 100))
        await until(pilot, lambda: "what runs" in shown(app))
        await pilot.press("down", "down", "down", "space", "right", "l", "left", "h")
        assert app.screen.query_one("#gpus", Choice).value == "cpu"
        await pilot.press("up", "up", "up", "h")
        assert app.screen.query_one("#preset", Choice).value == "paper"


async def test_a_lab_without_data_says_so_and_queues_nothing(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 100))
        await until(pilot, lambda: "1  random siim 100 % seed 0" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "does not say where" in shown(app).replace("\n", " "))
        assert "[data.siim]" in shown(app)
        assert isinstance(app.screen, Launch)
    db = open_store(full_lab.registry)
    assert runs.count(db) == 11
