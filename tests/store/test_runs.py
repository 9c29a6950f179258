from __future__ import annotations

import re
from typing import Any

import pytest

from store import claims, intake, points, queue, runs
from store.db import StoreError, data_version, open_store


def ids(found: list[runs.Run]) -> list[str]:
    return [run.id for run in found]


def test_a_new_id_is_six_letters_and_digits_and_begins_with_a_letter() -> None:
    made = [runs.new_id() for _ in range(2000)]
    assert all(re.fullmatch("[a-z][a-z2-7]{5}", id) for id in made)
    assert len(set(made)) > 1990


def test_a_run_comes_back_as_it_was_added(db: Any, new_run: Any) -> None:
    new = new_run("aaaaaa", command=["python", "ü b"], priority=3, gpus=2, ratio=None)
    runs.add(db, [new], at=50.0)
    run = runs.get(db, "aaaaaa")
    assert all(getattr(run, name) == getattr(new, name) for name in new._fields)
    assert (run.state, run.reason, run.created, run.queued) == ("queued", "", 50.0, 50.0)
    assert (run.started, run.ended, run.attempt, run.end_outcome) == (None, None, 0, None)


def test_a_run_whose_need_has_not_succeeded_is_blocked_and_says_by_what(
    db: Any, new_run: Any
) -> None:
    need = new_run("bbbbbb", task="pretrain")
    runs.add(db, [new_run("aaaaaa", needs=("bbbbbb",), parent="bbbbbb"), need])
    run = runs.get(db, "aaaaaa")
    assert run.state == "blocked"
    assert run.reason == "waits for bbbbbb (mrm pretrain), which is queued"
    assert run.needs == ("bbbbbb",)


def test_a_run_whose_needs_have_succeeded_is_queued_at_once(
    db: Any, new_run: Any, add_run: Any
) -> None:
    add_run("bbbbbb", state="succeeded")
    runs.add(db, [new_run("aaaaaa", needs=("bbbbbb",))])
    assert runs.get(db, "aaaaaa").state == "queued"


@pytest.mark.parametrize("fields", [{"needs": ("zzzzzz",)}, {"parent": "zzzzzz"}])
def test_none_of_a_batch_is_added_when_one_starts_from_a_run_that_is_not_there(
    db: Any, new_run: Any, fields: dict[str, Any]
) -> None:
    with pytest.raises(runs.NoSuchRun, match="zzzzzz"):
        runs.add(db, [new_run("bbbbbb"), new_run("aaaaaa", **fields)])
    assert runs.count(db) == 0


def test_an_id_that_is_taken_is_refused_by_name(db: Any, new_run: Any) -> None:
    runs.add(db, [new_run("aaaaaa")])
    with pytest.raises(StoreError, match="`aaaaaa` is there"):
        runs.add(db, [new_run("bbbbbb"), new_run("aaaaaa")])
    assert ids(runs.select(db)) == ["aaaaaa"]


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_an_equal_run_that_waits_runs_or_succeeded_is_not_added_again(
    db: Any, new_run: Any, add_run: Any, state: str
) -> None:
    add_run("aaaaaa", state=state, recipe="same")
    assert runs.add_unless_there(db, [new_run("bbbbbb", recipe="same")]) == []
    assert runs.count(db) == 1


@pytest.mark.parametrize("state", ["failed", "stopped", "lost"])
def test_an_equal_run_that_came_to_nothing_does_not_stand_in_the_way(
    db: Any, new_run: Any, add_run: Any, state: str
) -> None:
    add_run("aaaaaa", state=state, recipe="same")
    assert runs.add_unless_there(db, [new_run("bbbbbb", recipe="same")]) == ["bbbbbb"]


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"ratio": 1}, {"ratio": None}, {"method": "random"}, {"recipe": "r2"}]
)
def test_a_run_that_differs_in_one_thing_is_added(
    db: Any, new_run: Any, add_run: Any, other: dict[str, Any]
) -> None:
    add_run("aaaaaa", recipe="same")
    new = new_run("bbbbbb", recipe="same")._replace(**other)
    assert runs.add_unless_there(db, [new]) == ["bbbbbb"]


def test_equal_runs_of_one_batch_are_added_once(db: Any, new_run: Any) -> None:
    batch = [new_run("aaaaaa", recipe="same"), new_run("bbbbbb", recipe="same")]
    assert runs.add_unless_there(db, batch) == ["aaaaaa"]


def test_a_run_behind_one_that_was_not_added_starts_from_the_one_that_is_there(
    db: Any, new_run: Any, add_run: Any
) -> None:
    add_run("aaaaaa", recipe="same", task="pretrain", folder="/runs/a")
    again = new_run("bbbbbb", recipe="same", task="pretrain", folder="/runs/b")
    command = ["finetune", "--pretrained", "/runs/b/checkpoints/encoder.pt"]
    behind = new_run("cccccc", parent="bbbbbb", needs=("bbbbbb",), command=command)
    assert runs.add_unless_there(db, [again, behind]) == ["cccccc"]
    run = runs.get(db, "cccccc")
    assert (run.parent, run.needs, run.state) == ("aaaaaa", ("aaaaaa",), "blocked")
    assert run.command == ["finetune", "--pretrained", "/runs/a/checkpoints/encoder.pt"]


def test_a_unique_prefix_names_a_run_and_an_ambiguous_one_lists_the_candidates(
    db: Any, add_run: Any
) -> None:
    add_run("abcdef", at=1.0)
    add_run("abcxyz", at=2.0)
    assert runs.find(db, "abcd").id == "abcdef"
    assert runs.find(db, "abcxyz").id == "abcxyz"
    with pytest.raises(runs.AmbiguousRun, match="`abcxyz`, `abcdef`") as caught:
        runs.find(db, "abc")
    assert ids(caught.value.candidates) == ["abcxyz", "abcdef"]


@pytest.mark.parametrize("name", ["b", "", "abcdefg", "a%", "ABC"])
def test_what_begins_no_id_names_no_run(db: Any, add_run: Any, name: str) -> None:
    add_run("abcdef")
    with pytest.raises(runs.NoSuchRun):
        runs.find(db, name)


def test_an_id_that_begins_another_one_is_no_ambiguity(db: Any, add_run: Any) -> None:
    add_run("abc")
    add_run("abcdef")
    assert runs.find(db, "abc").id == "abc"


@pytest.fixture
def forty(db: Any, add_run: Any) -> list[runs.Run]:
    """Forty runs of all states, two methods and two tasks, some born in the same second."""
    for n in range(40):
        add_run(
            f"r{chr(97 + n // 26)}{chr(97 + n % 26)}",
            state=runs.STATES[n % 7],
            at=float(n // 3),
            method=("mrm", "random")[n % 2],
            task=("siim", "shenzhen")[n % 3 == 0],
        )
    return [runs.get(db, id) for (id,) in db.conn.execute("select id from runs order by seq")]


@pytest.mark.parametrize("states", [(), ("queued",), ("queued", "lost", "succeeded"), runs.STATES])
@pytest.mark.parametrize("method", [None, "random"])
@pytest.mark.parametrize("task", [None, "shenzhen", "nothing"])
def test_select_gives_what_fits_every_filter_newest_first(
    db: Any, forty: list[runs.Run], states: tuple[str, ...], method: Any, task: Any
) -> None:
    expected = [
        run
        for run in reversed(forty)
        if (not states or run.state in states)
        and method in (None, run.method)
        and task in (None, run.task)
    ]
    filters = {"states": states, "method": method, "task": task}
    assert runs.select(db, **filters) == expected
    assert runs.count(db, **filters) == len(expected)
    assert runs.select(db, **filters, limit=3, offset=2) == expected[2:5]


def test_the_queue_goes_by_priority_and_then_by_age(db: Any, add_run: Any) -> None:
    for id, priority, at in (("old", 0, 1.0), ("new", 0, 2.0), ("urgent", 5, 3.0)):
        add_run(id, priority=priority, at=at)
    add_run("running", state="running", priority=9)
    assert ids(queue.next_queued(db, 10)) == ["urgent", "old", "new"]
    assert ids(queue.next_queued(db, 2)) == ["urgent", "old"]


def test_a_state_changes_with_the_times_that_go_with_it(db: Any, add_run: Any) -> None:
    add_run("aaaaaa", at=1.0)

    def times(state: str, at: float) -> tuple[Any, ...]:
        assert runs.change_state(db, "aaaaaa", state, at=at)
        run = runs.get(db, "aaaaaa")
        assert run.state == state
        return run.queued, run.started, run.ended, run.stop_requested

    assert times("running", 2.0) == (1.0, 2.0, None, None)
    runs.request_stop(db, "aaaaaa", 3.0)
    runs.request_stop(db, "aaaaaa", 4.0)
    assert times("stopped", 5.0) == (1.0, 2.0, 5.0, 3.0)
    assert times("queued", 6.0) == (6.0, 2.0, None, None)
    assert times("running", 7.0) == (6.0, 7.0, None, None)
    assert times("running", 8.0) == (6.0, 7.0, None, None)
    assert times("lost", 9.0) == (6.0, 7.0, 9.0, None)


def test_a_state_that_was_not_expected_is_not_changed(db: Any, add_run: Any) -> None:
    add_run("aaaaaa")
    assert not runs.change_state(db, "aaaaaa", "failed", reason="no", expect=("running",))
    assert (runs.get(db, "aaaaaa").state, runs.get(db, "aaaaaa").reason) == ("queued", "")
    assert runs.change_state(db, "aaaaaa", "running", reason="yes", expect=("lost", "queued"))
    assert runs.get(db, "aaaaaa").reason == "yes"


@pytest.mark.parametrize(
    "act",
    [
        lambda db: runs.get(db, "zzzzzz"),
        lambda db: runs.change_state(db, "zzzzzz", "running"),
        lambda db: runs.start_attempt(db, "zzzzzz", 1.0),
        lambda db: runs.request_stop(db, "zzzzzz", 1.0),
        lambda db: runs.remove(db, "zzzzzz"),
        lambda db: points.last(db, "zzzzzz"),
        lambda db: claims.claim(db, "zzzzzz", ["cpu:0"]),
    ],
)
def test_a_run_that_is_not_there_is_named(db: Any, act: Any) -> None:
    with pytest.raises(runs.NoSuchRun, match="no run is called `zzzzzz`"):
        act(db)


def test_a_blocked_run_is_released_when_all_it_needs_has_succeeded(db: Any, new_run: Any) -> None:
    first, second = new_run("aaaaaa"), new_run("bbbbbb")
    runs.add(db, [first, second, new_run("cccccc", needs=("aaaaaa", "bbbbbb"))])
    assert runs.release_waiting(db) == []
    runs.change_state(db, "aaaaaa", "succeeded")
    assert runs.release_waiting(db) == []
    assert runs.get(db, "cccccc").reason == "waits for bbbbbb (mrm siim), which is queued"
    runs.change_state(db, "bbbbbb", "failed")
    assert runs.release_waiting(db) == []
    assert runs.get(db, "cccccc").reason == "waits for bbbbbb (mrm siim), which is failed"
    runs.change_state(db, "bbbbbb", "succeeded")
    assert runs.release_waiting(db) == ["cccccc"]
    assert (runs.get(db, "cccccc").state, runs.get(db, "cccccc").reason) == ("queued", "")


def test_looking_at_waiting_runs_writes_nothing_when_nothing_has_changed(
    db: Any, new_run: Any, registry: Any
) -> None:
    runs.add(db, [new_run("aaaaaa"), new_run("bbbbbb", needs=("aaaaaa",))])
    other = open_store(registry)
    before = data_version(other)
    runs.release_waiting(db)
    assert data_version(other) == before


def test_attempts_are_numbered_from_one(db: Any, add_run: Any) -> None:
    add_run("aaaaaa")
    assert [runs.start_attempt(db, "aaaaaa", 1.0), runs.start_attempt(db, "aaaaaa", 2.0)] == [1, 2]
    assert runs.get(db, "aaaaaa").attempt == 2


def test_a_new_attempt_does_not_inherit_the_end_of_the_one_before(
    db: Any, add_run: Any, write_events: Any
) -> None:
    folder = add_run("aaaaaa", state="running")
    runs.start_attempt(db, "aaaaaa", 1.0)
    write_events(
        folder,
        {"kind": "start", "step": 0, "attempt": 1},
        {"kind": "end", "outcome": "stopped", "reason": "asked to"},
    )
    intake.take_in(db, "aaaaaa", folder)
    run = runs.get(db, "aaaaaa")
    assert (run.end_outcome, run.end_reason) == ("stopped", "asked to")
    runs.start_attempt(db, "aaaaaa", 2.0)
    run = runs.get(db, "aaaaaa")
    assert (run.end_outcome, run.end_reason) == (None, "")


def test_a_run_is_removed_with_everything_known_of_it(
    db: Any, add_run: Any, write_events: Any
) -> None:
    folder = add_run("aaaaaa", state="running")
    add_run("bbbbbb")
    claims.claim(db, "aaaaaa", ["GPU-1"])
    write_events(
        folder,
        {"kind": "start", "step": 0},
        {"kind": "metrics", "step": 1, "values": {"train/loss": 1.0}},
        {"kind": "warning", "message": "w"},
        {"kind": "sample", "path": "s.png"},
        {"kind": "result", "values": {"test/Dice": 1.0}},
        {"kind": "stranger"},
    )
    assert intake.take_in(db, "aaaaaa", folder) == 6
    tables = ["claims", "points", "results", "artifacts", "warnings", "events", "attempts"]
    rows = {table: db[table].count for table in tables}
    assert rows == dict.fromkeys(tables, 1)
    runs.remove(db, "aaaaaa")
    assert {table: db[table].count for table in tables} == dict.fromkeys(tables, 0)
    assert ids(runs.select(db)) == ["bbbbbb"]
    assert folder.exists()


@pytest.mark.parametrize("how", [{"parent": "aaaaaa"}, {"needs": ("aaaaaa",)}])
def test_a_run_that_others_start_from_is_not_removed_and_they_are_named(
    db: Any, add_run: Any, how: dict[str, Any]
) -> None:
    add_run("aaaaaa")
    add_run("bbbbbb", **how)
    with pytest.raises(StoreError, match="`bbbbbb` start from it"):
        runs.remove(db, "aaaaaa")
    runs.remove(db, "bbbbbb")
    runs.remove(db, "aaaaaa")
    assert runs.count(db) == 0


def test_a_run_changes_places_with_its_neighbour_and_stops_at_the_ends(
    db: Any, new_run: Any
) -> None:
    runs.add(db, [new_run(id * 6) for id in "abc"])
    runs.add(db, [new_run("dddddd", needs=("aaaaaa",))])
    assert queue.move(db, "cccccc", -1)
    assert ids(queue.waiting(db)) == ["aaaaaa", "cccccc", "bbbbbb", "dddddd"]
    assert queue.move(db, "aaaaaa", 1)
    assert ids(queue.waiting(db)) == ["cccccc", "aaaaaa", "bbbbbb", "dddddd"]
    assert not queue.move(db, "cccccc", -1)
    assert not queue.move(db, "bbbbbb", 1)  # what comes after it is in another state
    assert not queue.move(db, "dddddd", -1)
    assert ids(queue.waiting(db)) == ["cccccc", "aaaaaa", "bbbbbb", "dddddd"]
    runs.change_state(db, "aaaaaa", "running")
    with pytest.raises(StoreError, match="only runs that wait"):
        queue.move(db, "aaaaaa", 1)
