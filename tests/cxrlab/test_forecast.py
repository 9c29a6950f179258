from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.filling import forecast, schedule
from cxrlab.filling.forecast import Job
from cxrlab.lab import Lab
from store import intake, runs, work
from store.work import Spent
from trainers.events import EventLog


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "110"})


def asked(lab: Lab, *words: str) -> dict[str, Any]:
    result = invoke(lab, "forecast", *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def spent(**facts: Any) -> Spent:
    values = {
        "id": "aaaaaa",
        "method": "mrm",
        "task": "siim",
        "ratio": 10,
        "preset": "paper",
        "recipe": "r",
        "gpus": 1,
        "state": "succeeded",
        "total": 100,
        "steps": 100,
        "seconds": 3600.0,
        **facts,
    }
    return Spent(**values)


def job(**facts: Any) -> Job:
    values = {"method": "mrm", "task": "siim", "ratio": 10, "seed": 0, "preset": "paper", "gpus": 1}
    return Job(**(values | facts))


@st.composite
def forests(draw: st.DrawFn, *, most: int, unknown: bool = True) -> list[Job]:
    """Jobs of which each starts from none or from an earlier one."""
    found: list[Job] = []
    for index in range(draw(st.integers(1, most))):
        length = st.floats(0, 1e6) if not unknown else st.none() | st.floats(0, 1e6)
        found.append(
            job(
                seed=index,
                gpus=draw(st.integers(0, 2)),
                seconds=draw(length),
                fills=draw(st.booleans()),
                after=draw(st.none() | st.integers(0, index - 1)) if index else None,
            )
        )
    return found


@given(forests(most=30))
def test_the_order_has_every_job_once_and_none_before_what_it_starts_from(jobs: list[Job]) -> None:
    order = forecast.order(jobs)
    assert sorted(order) == list(range(len(jobs)))
    place = {index: number for number, index in enumerate(order)}
    for index, one in enumerate(jobs):
        assert one.after is None or place[one.after] < place[index]


def waited(jobs: list[Job], order: tuple[int, ...]) -> float:
    """How long cells stay empty, summed over cells, where one job is done after the other."""
    ends = itertools.accumulate(jobs[i].seconds or 0.0 for i in order)
    return sum(end for i, end in zip(order, ends, strict=True) if jobs[i].fills)


@settings(max_examples=40)
@given(forests(most=6, unknown=False))
def test_no_other_order_fills_cells_sooner_on_one_place(jobs: list[Job]) -> None:
    def allowed(order: tuple[int, ...]) -> bool:
        return all(jobs[i].after is None or jobs[i].after in order[:n] for n, i in enumerate(order))

    every = filter(allowed, itertools.permutations(range(len(jobs))))
    best = min(waited(jobs, order) for order in every)
    assert waited(jobs, tuple(forecast.order(jobs))) == pytest.approx(best)


def test_a_long_pre_training_goes_before_short_runs_only_where_it_pays() -> None:
    jobs = [
        job(task="pretrain", ratio=None, seconds=10.0, fills=True),
        job(seed=1, seconds=1.0, after=0),
        job(seed=2, seconds=1.0, after=0),
        job(method="random", seconds=3.0),  # 1/3 a second, where the three together give 3/12
        job(method="random", seed=1, seconds=5.0),  # 1/5
    ]
    assert forecast.order(jobs) == [3, 0, 1, 2, 4]


@given(forests(most=30))
def test_the_total_is_the_sum_of_its_parts(jobs: list[Job]) -> None:
    whole = forecast.total(jobs)
    parts = [forecast.total([one]) for one in jobs]
    for name in ("runs", "unknown", "cells"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)
    for name in ("seconds", "gpu_seconds"):
        assert getattr(whole, name) == pytest.approx(sum(getattr(part, name) for part in parts))


@settings(max_examples=60)
@given(forests(most=20), st.integers(0, 3), st.integers(1, 3))
def test_no_place_is_used_twice_at_once_and_nothing_starts_early(
    jobs: list[Job], gpus: int, slots: int
) -> None:
    order = forecast.order(jobs)
    found = schedule.spans(jobs, order, gpus=gpus, cpu_slots=slots, limits={"siim": 2})
    for index, span in found.items():
        after = jobs[index].after
        assert after is None or found[after].end <= span.start
        assert span.end == span.start + (jobs[index].seconds or 0.0)
    for moment in {span.start for span in found.values()}:
        at_once = [jobs[i] for i, span in found.items() if span.start <= moment < span.end]
        assert sum(one.gpus for one in at_once) <= gpus
        assert sum(not one.gpus for one in at_once) <= slots
        assert len(at_once) <= 2
    for index, one in enumerate(jobs):
        fits = one.seconds is not None and one.gpus <= gpus
        waits_in_vain = one.after is not None and one.after not in found
        assert (index in found) == (fits and not waits_in_vain)


def test_runs_go_on_all_places_at_once() -> None:
    jobs = [job(seed=seed, gpus=0, seconds=10.0) for seed in range(5)]
    found = schedule.spans(jobs, range(5), gpus=0, cpu_slots=2)
    assert [found[i].start for i in range(5)] == [0, 0, 10, 10, 20]


def test_finished_runs_of_the_newest_recipe_say_how_long_another_takes() -> None:
    measured = [
        spent(id="new001", recipe="n", seconds=100.0),
        spent(id="new002", recipe="n", seconds=300.0, steps=50),  # 600 s in full
        spent(id="old001", recipe="o", seconds=9000.0),
        spent(id="cut001", recipe="n", seconds=1.0, steps=1, state="failed"),
    ]
    found = forecast.estimate(job(), measured)
    assert found is not None
    assert (found.seconds, found.runs) == (350.0, ("new001", "new002"))
    assert forecast.estimate(job(recipe="o"), measured).seconds == 9000.0  # type: ignore[union-attr]


def test_a_step_at_another_share_counts_where_the_number_of_steps_is_known() -> None:
    measured = [
        spent(id="mrm100", ratio=100, total=1000, steps=1000, seconds=2000.0),
        spent(id="ran010", method="random", total=50, steps=50, seconds=999.0),
    ]
    found = forecast.estimate(job(), measured)
    assert found is not None
    assert found.seconds == 2.0 * 50
    assert "mrm100" in found.basis
    assert "ran010" in found.basis


@pytest.mark.parametrize(
    "other",
    [{"preset": "quick"}, {"gpus": 0}, {"task": "nih"}, {"method": "refers"}, {"ratio": 100}],
)
def test_what_was_measured_of_something_else_says_nothing(other: dict[str, Any]) -> None:
    assert forecast.estimate(job(), [spent(**other)]) is None
    assert forecast.left(job(), None).seconds is None


def test_another_methods_times_count_only_on_a_persons_word() -> None:
    measured = [spent(method="refers")]
    assert forecast.estimate(job(), measured) is None
    found = forecast.estimate(job(), measured, like="refers")
    assert found is not None
    assert found.seconds == 3600.0
    assert found.basis.startswith("assumed to be like refers")


def test_what_is_done_is_not_counted_again() -> None:
    whole = forecast.Estimate(100.0, "", ())
    assert forecast.left(job(done=75, total=100), whole).seconds == 25.0
    assert forecast.left(job(seconds=3.0, state="running"), whole).seconds == 3.0


def write(run: runs.Run, db: Any, *, began: float, ended: float, steps: int, total: int) -> None:
    """Write what a trainer would have that made `steps` of `total`, and take it in."""
    folder = Path(run.folder)
    with db.conn:
        db.conn.execute("update runs set attempt = attempt + 1 where id = ?", (run.id,))
    lines = [
        {"t": began, "kind": "start", "step": 0, "total_steps": total},
        {"t": ended, "kind": "progress", "done": steps, "total": total, "eta_s": None},
    ]
    if steps == total:
        lines.append({"t": ended, "kind": "end", "outcome": "succeeded"})
    with (folder / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    intake.take_in(db, run.id, folder)
    if steps == total:
        runs.change_state(db, run.id, "succeeded")


def test_time_spent_is_that_of_every_attempt_without_the_steps_made_twice(
    new_run: Any, db: Any
) -> None:
    run = new_run()
    folder = Path(run.folder)
    lines = [
        {"t": 100.0, "kind": "start", "step": 0, "total_steps": 10},
        {"t": 160.0, "kind": "progress", "done": 6, "total": 10},
        {"t": 170.0, "kind": "end", "outcome": "stopped"},
        {"t": 1000.0, "kind": "start", "step": 5, "total_steps": 10},  # step 6 is made again
        {"t": 1060.0, "kind": "progress", "done": 10, "total": 10},
        {"t": 1070.0, "kind": "end", "outcome": "succeeded"},
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    intake.take_in(db, run.id, folder)
    (found,) = work.spent(db, "mrm", "pretrain")
    assert (found.steps, found.seconds, found.total) == (10, 140.0, 10)


def test_a_lab_that_has_measured_nothing_says_so_and_gives_no_hours(lab: Lab) -> None:
    known = asked(lab, "mrm", "--task", "siim")
    assert [(r["task"], r["ratio"], r["seconds"]) for r in known["runs"]] == [
        ("pretrain", None, None),
        ("siim", 10, None),
        ("siim", 100, None),
    ]
    assert known["total"]["hours"] == 0
    assert (known["total"]["unknown"], known["total"]["wall_hours"]) == (3, None)
    said = invoke(lab, "forecast", "mrm", "--task", "siim").stdout
    assert "of unknown length" in said
    assert "mrm: pretrain; siim 10 %, 100 %" in said


def test_the_pre_training_is_counted_once_and_hours_are_summed(
    lab: Lab, new_run: Any, db: Any
) -> None:
    pre = new_run(recipe="p")
    write(pre, db, began=0.0, ended=7200.0, steps=100, total=100)
    (Path(pre.folder) / "checkpoints").mkdir()
    cell = {"task": "siim", "ratio": 10, "recipe": "f", "parent": pre.id}
    write(new_run(**cell, seed=0), db, began=0.0, ended=3600.0, steps=10, total=10)
    known = asked(lab, "mrm", "--task", "siim", "--ratio", "10", "--seed", "0,1,2")
    assert [(r["seed"], r["state"], r["seconds"], r["fills"]) for r in known["runs"]] == [
        (1, "planned", 3600.0, False),
        (2, "planned", 3600.0, False),
    ]
    assert known["total"]["hours"] == 2.0
    assert known["total"]["gpu_hours"] == 0.0
    assert known["total"]["wall_hours"] == 1.0  # two places
    runs.remove(db, known["runs"][0]["measured_in"][0])
    runs.remove(db, pre.id)
    again = asked(lab, "mrm", "--task", "siim")
    assert [run["task"] for run in again["runs"]].count("pretrain") == 1


def test_what_runs_and_waits_is_told_first_with_the_time_it_still_takes(
    lab: Lab, new_run: Any, db: Any
) -> None:
    write(new_run(recipe="p"), db, began=0.0, ended=1000.0, steps=100, total=100)
    waiting = new_run(recipe="p", seed=7)
    known = asked(lab, "random", "--task", "shenzhen")
    assert [(r["id"], r["state"], r["seconds"]) for r in known["runs"]] == [
        (waiting.id, "queued", 1000.0),
        (None, "planned", None),
    ]


def test_cells_without_data_are_named_with_the_reason_and_not_counted(lab: Lab) -> None:
    known = asked(lab, "random", "--task", "nih")
    assert known["runs"] == []
    assert known["left_out"] == [
        {"method": "random", "task": "nih", "cells": 3, "why": "`[data.nih]` is not in cxrlab.toml"}
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("mrn",), 3, "did you mean `mrm`?"),
        (("--task", "sim"), 3, "did you mean `siim`?"),
        (("--ratio", "7"), 2, "no column has the ratio 7"),
        (("--like", "mrn"), 3, "did you mean `mrm`?"),
    ],
)
def test_names_that_are_none_are_told(
    lab: Lab, words: tuple[str, ...], code: int, said: str
) -> None:
    result = invoke(lab, "forecast", *words)
    assert result.exit_code == code
    assert said in result.stderr


def test_a_table_ends_with_the_sum_and_the_rule(lab: Lab, new_run: Any, db: Any) -> None:
    write(new_run(recipe="p"), db, began=0.0, ended=5400.0, steps=100, total=100)
    for ratio in (10, 100):
        cell = {"task": "siim", "ratio": ratio, "recipe": f"f{ratio}", "seed": 0}
        write(new_run(**cell), db, began=0.0, ended=1800.0, steps=10, total=10)
    result = invoke(lab, "forecast", "mrm", "--task", "siim", "--seed", "0,1")
    assert "2 runs for 0 empty cells: 1.0 hours, 0.00 GPU-hours" in result.stdout
    assert "order: most cells per hour first" in result.stdout.replace("\n", " ")


def test_the_total_of_the_document_is_that_of_its_runs(lab: Lab, new_run: Any, db: Any) -> None:
    EventLog(Path(new_run().folder)).close()
    write(new_run(recipe="p", seed=0), db, began=0.0, ended=500.0, steps=5, total=5)
    known = asked(lab)
    seconds = sum(run["seconds"] or 0.0 for run in known["runs"])
    assert known["total"]["hours"] == pytest.approx(seconds / 3600)
    assert known["total"]["runs"] == len(known["runs"])
    assert replace(job(), seconds=1.0).gpu_seconds == 1.0
