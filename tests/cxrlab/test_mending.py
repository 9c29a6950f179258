from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, mending, putting_back, refresh
from cxrlab.backends import local
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab, find_lab
from cxrlab.queueing import steering
from cxrlab.settings import LaunchSettings
from cxrlab.states import OUT_OF_TIME, Verdict
from store import mending as kept
from store import queue, results, runs
from store.mending import Mending

Make = Callable[..., runs.Run]
NOW = 1_760_000_000.0
SETTINGS = LaunchSettings(retry_lost=3, on_oom="halve")
CONFIG = {"batch_size": 64, "accum_iter": 2, "micro_batch": 0}
OOM = Verdict("failed", "GPU out of memory: CUDA out of memory")
LOST = Verdict("lost", "killed from outside with SIGKILL (kill -9)")


NEVER = Mending()


def decided(run: runs.Run, verdict: Verdict, known: Mending = NEVER, **other: Any) -> Any:
    given = {"config": CONFIG, "settings": SETTINGS, "now": NOW} | other
    return mending.after(run, verdict, known, **given)


@pytest.mark.parametrize(
    ("losses", "said", "wait_s"),
    [(0, "lost once", 30.0), (1, "lost twice", 120.0), (2, "lost 3 times", 600.0)],
)
def test_a_lost_run_starts_again_after_ever_longer_waits(
    new_run: Make, clock: Any, losses: int, said: str, wait_s: float
) -> None:
    mend = decided(new_run(), LOST, Mending(losses=losses))
    assert mend.back
    assert mend.reason.startswith(f"{said}, killed from outside with SIGKILL (kill -9); starts")
    assert mend.known.not_before == NOW + wait_s
    assert mend.known.losses == losses + 1


def test_the_time_of_the_next_start_is_told(new_run: Make, clock: Any) -> None:
    mend = decided(new_run(), LOST, Mending(losses=1))
    assert mend.reason.endswith("; starts again at 08:55")  # 08:53:20 and two minutes


def test_a_run_that_is_lost_again_and_again_is_left_to_a_person(new_run: Make) -> None:
    mend = decided(new_run(), LOST, Mending(losses=3))
    assert not mend.back
    assert mend.reason.endswith("lost 4 times, and not started again by itself")


def test_losses_are_counted_anew_after_an_attempt_that_lived(new_run: Make) -> None:
    run = new_run()._replace(started=NOW - 2 * mending.LIVED_S)
    assert decided(run, LOST, Mending(losses=3)).known.losses == 1


def test_a_run_whose_time_is_always_too_short_is_left_to_a_person(new_run: Make) -> None:
    run = new_run()._replace(started=NOW - 12 * mending.LIVED_S)
    out_of_time = Verdict("lost", OUT_OF_TIME)
    assert decided(run, out_of_time, Mending(losses=2)).back
    assert not decided(run, out_of_time, Mending(losses=3)).back


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("failed", "`lr` is -1; expected 0 or more"),
        Verdict("failed", "train/loss is not finite at step 3"),
        Verdict("stopped", ""),
        Verdict("succeeded", ""),
        Verdict("lost", "its folder is gone"),
    ],
)
def test_nothing_else_is_tried_again(new_run: Make, verdict: Verdict) -> None:
    assert decided(new_run(), verdict) is None


def test_a_lab_may_leave_lost_runs_alone(new_run: Make) -> None:
    assert decided(new_run(), LOST, settings=LaunchSettings(retry_lost=0)) is None


@pytest.mark.parametrize(
    ("config", "smaller", "times"),
    [
        (CONFIG, 32, 4),
        (CONFIG | {"micro_batch": 32}, 16, 8),
        (CONFIG | {"batch_size": 9, "accum_iter": 1}, 3, 3),
    ],
)
def test_micro_batches_are_halved_and_the_update_stays_the_same(
    new_run: Make, config: dict[str, Any], smaller: int, times: int
) -> None:
    run = new_run(command=["python", "train", "--micro_batch=77"])
    mend = decided(run, OOM, config=config)
    assert mend.back
    assert mend.command == ["python", "train", f"--micro_batch={smaller}"]
    assert mend.reason.endswith(f"goes on with {smaller}, accumulated {times} times")


@pytest.mark.parametrize(
    ("facts", "config", "floor", "said"),
    [
        ({"method": "convirt"}, CONFIG, 1, "compares the records of a micro-batch"),
        ({}, CONFIG | {"contrast": "infonce"}, 1, "compares the records of a micro-batch"),
        ({}, CONFIG | {"micro_batch": 1}, 1, "of 1 are the smallest allowed"),
        ({}, CONFIG, 64, "of 64 are the smallest allowed"),
    ],
)
def test_where_halving_cannot_be_it_says_why(
    new_run: Make, facts: dict[str, Any], config: dict[str, Any], floor: int, said: str
) -> None:
    settings = LaunchSettings(on_oom="halve", oom_floor=floor)
    mend = decided(new_run(**facts), OOM, config=config, settings=settings)
    assert not mend.back
    assert said in mend.reason


def test_a_program_of_ones_own_is_not_halved(new_run: Make) -> None:
    assert decided(new_run(command=["adapt", "--", "train.py"]), OOM) is None


def test_a_program_of_ones_own_starts_again_only_where_it_was_said_to_go_on(new_run: Make) -> None:
    left = decided(new_run(command=["adapt", "--", "train.py", "--restartable"]), LOST)
    assert not left.back
    assert left.reason.startswith(f"{LOST.reason}; a program of your own")
    assert decided(new_run(command=["adapt", "--restartable", "--", "train.py"]), LOST).back


def test_what_a_run_was_told_counts_before_what_the_lab_says(new_run: Make) -> None:
    assert decided(new_run(), OOM, Mending("stop")) is None
    assert decided(new_run(), OOM, Mending("halve"), settings=LaunchSettings()).back


# -- carried out


def told(lab: Lab, **settings: Any) -> Lab:
    text = lab.settings_file.read_text().replace("retry_lost = 0\n", "")
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    lab.settings_file.write_text(text.replace("[launch]\n", f"[launch]\n{lines}"))
    return find_lab(lab.root)


def look_until(lab: Lab, db: Any, id: str, wait_until: Any, *states: str) -> runs.Run:
    def look() -> runs.Run | None:
        refresh.refresh(lab, db)
        run = runs.get(db, id)
        return run if run.state in states else None

    run: runs.Run = wait_until(look)
    return run


def test_a_killed_run_is_put_back_and_waits_its_time(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_until: Any
) -> None:
    mended = told(lab, retry_lost=3)
    run = begin(trainer("--fake_end", "signal:9"))
    back = look_until(mended, db, run.id, wait_until, "queued", "lost")
    assert back.state == "queued"
    assert back.reason.startswith("lost once, killed from outside with SIGKILL (kill -9); starts")
    assert queue.next_queued(db, 10) == []
    (attempt,) = results.attempts(db, run.id)
    assert (attempt.outcome, attempt.reason) == ("lost", LOST.reason)
    queue.release(db, [run.id])
    assert [each.id for each in queue.next_queued(db, 10)] == [run.id]


def test_a_time_that_a_clock_set_back_has_left_far_ahead_holds_no_run(
    db: Any, new_run: Make
) -> None:
    run = new_run()
    kept.keep(db, run.id, Mending(not_before=time.time() + 86400))
    assert [each.id for each in queue.next_queued(db, 10)] == [run.id]


def test_a_run_without_gpu_memory_goes_on_with_less_until_it_fits(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_until: Any
) -> None:
    halving = told(lab, on_oom="halve")
    run = begin(trainer("--batch_size=16", "--fake_fits", "4"))
    for smaller in (8, 4):
        back = look_until(halving, db, run.id, wait_until, "queued", "failed")
        assert (back.state, back.command[-1]) == ("queued", f"--micro_batch={smaller}")
        run = begin(back)
    assert look_until(halving, db, run.id, wait_until, *runs.ENDED).state == "succeeded"
    first, second, _ = results.attempts(db, run.id)
    assert "GPU out of memory" in first.reason
    assert "GPU out of memory" in second.reason


def test_retry_cuts_micro_batches_where_asked(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_until: Any
) -> None:
    run = begin(trainer("--batch_size=16", "--fake_fits", "8"))
    failed = look_until(lab, db, run.id, wait_until, "failed")
    putting_back.choose(lab, db, failed, "halve")
    assert runs.get(db, run.id).command[-1] == "--micro_batch=8"
    compared = failed._replace(method="convirt")
    with pytest.raises(CxrlabError, match="compares the records"):
        putting_back.choose(lab, db, compared, "halve")


def test_a_stalled_run_is_ended_and_goes_on_where_the_lab_says_so(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_until: Any
) -> None:
    run = begin(trainer("--fake_steps", "20", "--fake_hang", "12"))
    events = Path(run.folder) / "events.jsonl"
    wait_until(lambda: '"step": 12,' in events.read_text())  # a busy machine may halt it before
    ending = told(lab, on_stall="restart", stall_factor=3, stall_least_s=0.5)
    back = look_until(ending, db, run.id, wait_until, "queued", "stopped", "failed", "lost")
    assert back.state == "queued"
    assert back.reason == "ended because it had stalled at step 12; goes on, 1 of 3 times"
    assert steering.attempt_command(back)[-2] == "--resume"


def test_a_person_who_stops_a_run_that_was_to_go_on_ends_it(
    lab: Lab, db: Any, trainer: Make, begin: Make
) -> None:
    run = begin(trainer("--fake_steps", "100000", "--fake_step_s", "0.05"))
    kept.keep(db, run.id, Mending(ending=1))
    assert steering.stop(lab, db, runs.get(db, run.id)).state == "stopped"


def test_a_retry_by_hand_counts_anew(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_for_state: Any
) -> None:
    run = begin(trainer("--fake_steps", "100000", "--fake_step_s", "0.05"))
    record = local.read_record(Path(run.folder), 1)
    assert record is not None
    os.kill(record["trainer"]["pid"], signal.SIGKILL)
    lost = wait_for_state(run.id, "lost")
    kept.keep(db, run.id, Mending("halve", losses=3))
    steering.resume(lab, db, lost)
    assert kept.of_run(db, run.id) == Mending("halve")


def launched(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), "launch", *words])


def test_launch_notes_what_to_do_where_a_gpu_has_too_little_memory(
    lab: Lab, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab: None)
    assert launched(lab, "mrm", "--on-oom", "halve").exit_code == 0
    (run,) = runs.select(db)
    assert kept.of_run(db, run.id) == Mending("halve")


def test_launch_cuts_no_micro_batch_whose_records_are_compared(lab: Lab, db: Any) -> None:
    refused = launched(lab, "convirt", "--on-oom", "halve")
    assert refused.exit_code == 2
    assert runs.select(db) == []
