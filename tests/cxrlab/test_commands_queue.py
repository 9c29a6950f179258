from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.agent import Agent
from cxrlab.lab import Lab
from store import queue, runs


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "80"})


def order(lab: Lab) -> list[str]:
    result = invoke(lab, "queue", "--json")
    assert result.exit_code == 0, result.stderr
    return [run["id"] for run in json.loads(result.stdout)]


@pytest.fixture
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)


def test_an_empty_queue_says_what_to_type_next(lab: Lab) -> None:
    result = invoke(lab, "queue")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "cxrlab launch" in result.stderr


def test_runs_move_first_last_and_before_another(lab: Lab, new_run: Any) -> None:
    a, b, c, d = (new_run().id for _ in range(4))
    assert order(lab) == [a, b, c, d]
    invoke(lab, "queue", "first", d, c)
    assert order(lab) == [d, c, a, b]
    invoke(lab, "queue", "last", d)
    assert order(lab) == [c, a, b, d]
    invoke(lab, "queue", "before", d, a)
    assert order(lab) == [c, d, a, b]
    invoke(lab, "queue", "priority", "9", b)
    assert order(lab) == [b, c, d, a]


def test_moving_before_another_keeps_equals_in_their_order(lab: Lab, db: Any, new_run: Any) -> None:
    a, b, c, d = (new_run().id for _ in range(4))
    queue.put_before(db, d, c)
    assert [run.id for run in queue.waiting(db)] == [a, b, d, c]
    queue.put_before(db, c, a)
    assert [run.id for run in queue.waiting(db)] == [c, a, b, d]
    queue.put_before(db, a, a)
    assert [run.id for run in queue.waiting(db)] == [c, a, b, d]


def test_only_runs_that_wait_have_a_place_and_none_is_moved_otherwise(
    lab: Lab, db: Any, new_run: Any
) -> None:
    waits, done = new_run(), new_run()
    runs.change_state(db, done.id, "succeeded")
    result = invoke(lab, "queue", "hold", waits.id, done.id)
    assert result.exit_code == 1
    assert "only runs that wait" in result.stderr
    assert runs.get(db, waits.id).held is None


def test_a_held_run_is_passed_over_until_it_is_released(
    lab: Lab, db: Any, trainer: Any, no_agent: None
) -> None:
    first, second = trainer(), trainer()
    said = invoke(lab, "queue", "hold", first.id).stdout
    assert "held; `cxrlab queue release` lets it start" in " ".join(said.split())
    agent = Agent(lab, idle_s=1.0)
    agent.one_pass()
    assert runs.get(db, first.id).state == "queued"
    assert runs.get(db, second.id).state == "running"
    invoke(lab, "queue", "release")
    agent.one_pass()
    assert runs.get(db, first.id).state == "running"


def test_a_blocked_run_that_is_held_waits_on_when_its_turn_comes(
    lab: Lab, db: Any, new_run: Any, no_agent: None
) -> None:
    parent = new_run()
    child = new_run(task="siim", ratio=10, needs=(parent.id,))
    queue.hold(db, [child.id])
    runs.change_state(db, parent.id, "succeeded")
    Agent(lab, idle_s=1.0).one_pass()
    run = runs.get(db, child.id)
    assert (run.state, run.reason) == ("queued", queue.HELD)


def test_a_task_has_no_more_runs_at_once_than_its_limit(
    lab: Lab, db: Any, trainer: Any, no_agent: None
) -> None:
    lab.settings_file.write_text(
        lab.settings_file.read_text() + "\n[launch.limits]\npretrain = 1\n"
    )
    first, second = trainer(), trainer()
    Agent(lab, idle_s=1.0).one_pass()
    assert runs.get(db, first.id).state == "running"
    waits = runs.get(db, second.id)
    assert waits.state == "queued"
    assert waits.reason == "waits for another pretrain run to end: `[launch.limits]`"


@pytest.mark.parametrize("reasons", [["boom at 1"] * 2, ["boom at 1", "other", "boom at 3"]])
def test_failures_that_are_few_or_differ_hold_nothing(
    lab: Lab, db: Any, new_run: Any, reasons: list[str], no_agent: None
) -> None:
    made = [new_run() for _ in range(4)]
    for run, reason in zip(made, reasons, strict=False):
        runs.change_state(db, run.id, "failed", reason=reason)
    Agent(lab, idle_s=1.0).one_pass()
    assert queue.waiting(db) == [] or all(run.held is None for run in queue.waiting(db))


def test_three_failures_alike_hold_all_that_wait_for_the_same(
    lab: Lab, db: Any, new_run: Any, no_agent: None
) -> None:
    failed = [new_run() for _ in range(3)]
    waits = [new_run() for _ in range(5)]
    other = new_run(method="deep_mrm", command=["true"])
    for number, run in enumerate(failed):
        runs.change_state(db, run.id, "failed", reason=f"no file number {number}")
    agent = Agent(lab, idle_s=1.0)
    agent.one_pass()
    held = [runs.get(db, run.id) for run in waits]
    assert all(run.state == "queued" and run.held is not None for run in held)
    assert held[0].reason.startswith(f"held, for {failed[2].id}, {failed[1].id}, {failed[0].id}")
    assert "no file number 2" in held[0].reason
    assert runs.get(db, other.id).state == "running"
    queue.release(db, [run.id for run in waits])
    agent.one_pass()
    assert "running" in [runs.get(db, run.id).state for run in waits]
