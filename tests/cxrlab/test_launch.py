from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab import launch, plan, refresh
from cxrlab.backends import local
from cxrlab.errors import CxrlabError, NotFound, Usage
from cxrlab.lab import Lab
from cxrlab.queueing import steering
from store import queue, runs
from store.db import StoreError

Make = Callable[..., runs.Run]
LONG = ("--fake_steps", "100000", "--fake_step_s", "0.05")


def carry_out(lab: Lab, db: Any, *tasks: str, **options: Any) -> list[launch.Launched]:
    values = {"ratios": [10] if "siim" in tasks else [], "preset": "quick", **options}
    pretrained = launch.pretrained_named(db, values.pop("pretrained", "auto"))
    wants = plan.wanted(["deep_mrm"], tasks, pretrained=pretrained, **values)
    return launch.carry_out(lab, db, plan.plan(wants, launch.pretrainings(db)))


def encoder_of(run: runs.Run) -> str:
    return run.command[run.command.index("--pretrained") + 1]


def test_without_an_encoder_a_pre_training_is_queued_and_the_task_blocked_behind_it(
    lab: Lab, db: Any
) -> None:
    first, second = carry_out(lab, db, "siim")
    assert (first.task, first.state) == ("pretrain", "queued")
    assert (second.task, second.ratio, second.state) == ("siim", 10, "blocked")
    assert second.reason == f"waits for {first.id} (deep_mrm pretrain), which is queued"
    waiting, parent = runs.get(db, second.id), runs.get(db, first.id)
    assert (waiting.parent, waiting.needs) == (first.id, (first.id,))
    assert encoder_of(waiting) == f"{parent.folder}/checkpoints/encoder.pt"
    recipe = waiting.command[waiting.command.index("--encoder_recipe") + 1]
    assert recipe == parent.recipe


def test_every_waiting_run_has_a_reason(lab: Lab, db: Any) -> None:
    carry_out(lab, db, "siim", seeds=[0, 1, 2])
    refresh.refresh(lab, db)
    assert all(run.reason for run in runs.select(db, states=runs.WAITING))


def test_a_run_folder_says_how_it_was_configured_and_how_to_rerun_it_by_hand(
    lab: Lab, db: Any, tmp_path: Path
) -> None:
    (first,) = carry_out(lab, db, "pretrain", seeds=[7])
    run = runs.get(db, first.id)
    folder = Path(run.folder)
    assert folder == lab.runs_dir / f"{run.id}-deep_mrm-pretrain-s7"
    config = json.loads((folder / "config.json").read_text())
    assert (config["seed"], config["output_dir"]) == (7, str(folder))
    assert config["recipe"] == run.recipe
    line = (folder / "command.txt").read_text().strip()
    path, *words = shlex.split(line)
    assert words == run.command
    assert path.startswith(f"PYTHONPATH={lab.code_dir}/")
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=bare, timeout=900, check=False)
    assert done.returncode == 0
    assert (folder / "checkpoints" / "encoder.pt").exists()


def test_the_folder_of_a_task_names_its_ratio(lab: Lab, db: Any) -> None:
    _, second = carry_out(lab, db, "siim")
    folder = Path(runs.get(db, second.id).folder)
    assert folder.name == f"{second.id}-deep_mrm-siim-10-s0"
    assert json.loads((folder / "config.json").read_text())["pretrained"].endswith("encoder.pt")


def test_a_second_launch_of_a_cell_queues_nothing_and_names_what_is_there(
    lab: Lab, db: Any
) -> None:
    before = carry_out(lab, db, "siim")
    again = carry_out(lab, db, "siim")
    assert [one.id for one in again] == [before[1].id]
    assert not any(one.new for one in again)
    assert again[0].why == "is there already"
    assert runs.count(db) == 2
    assert len(list(lab.runs_dir.iterdir())) == 2


def test_another_setting_makes_another_run(lab: Lab, db: Any) -> None:
    carry_out(lab, db, "siim")
    (other,) = carry_out(lab, db, "siim", overrides=(("fake_score", "0.7"),))
    assert other.new


def test_the_pre_training_with_the_same_settings_is_found_again(lab: Lab, db: Any) -> None:
    settings = (("pretrain.fake_steps", "4"),)
    first, _ = carry_out(lab, db, "siim", overrides=settings)
    again, other = carry_out(lab, db, "siim", overrides=settings, seeds=[1])
    assert (again.id, again.new) == (first.id, False)
    assert runs.get(db, other.id).parent == first.id


def test_a_cell_that_failed_or_was_lost_is_queued_anew(lab: Lab, db: Any) -> None:
    (first,) = carry_out(lab, db, "pretrain")
    for state in ("failed", "lost", "stopped"):
        runs.change_state(db, first.id, state)
        (again,) = carry_out(lab, db, "pretrain")
        assert again.new
        runs.change_state(db, again.id, "failed")


@pytest.mark.slow
def test_launches_at_once_make_exactly_the_runs_asked_for(lab: Lab, db: Any) -> None:
    code = (
        "import sys; from cxrlab import launch, plan; from cxrlab.lab import find_lab\n"
        "from store.db import open_store\n"
        "lab = find_lab(); db = open_store(lab.registry)\n"
        "wants = plan.wanted(['deep_mrm', 'random'], ['siim', sys.argv[1]], seeds=[0, 1],\n"
        "                    preset='quick', ratios=[100])\n"
        "launch.carry_out(lab, db, plan.plan(wants, launch.pretrainings(db)))\n"
    )
    tasks = ["shenzhen", "shenzhen_lungs"] * 3
    racers = [
        subprocess.Popen([sys.executable, "-P", "-c", code, task], cwd=lab.runs_dir)
        for task in tasks
    ]
    assert [racer.wait(timeout=900) for racer in racers] == [0] * 6
    made = runs.select(db)
    cells = {(run.method, run.task, run.ratio, run.seed) for run in made}
    assert len(made) == len(cells) == 1 + 2 * 3 * 2
    (parent,) = [run for run in made if run.task == "pretrain"]
    tuned = [run for run in made if run.method == "deep_mrm" and run.task != "pretrain"]
    assert {(run.parent, run.needs, encoder_of(run)) for run in tuned} == {
        (parent.id, (parent.id,), f"{parent.folder}/checkpoints/encoder.pt")
    }
    assert len(list(lab.runs_dir.iterdir())) == len(made)
    for run in made:
        assert shlex.split((Path(run.folder) / "command.txt").read_text())[1:] == run.command
    assert len(list(lab.code_dir.glob("[!.]*"))) == 1


def test_a_setting_the_trainer_refuses_is_shown_and_nothing_is_queued(lab: Lab, db: Any) -> None:
    refusal = "no setting is called `epoch`; did you mean `epochs`?"
    with pytest.raises(Usage) as caught:
        carry_out(lab, db, "siim", overrides=(("fake_refuse", refusal),))
    assert (caught.value.code, caught.value.message) == (2, refusal)
    assert runs.count(db) == 0
    assert list(lab.runs_dir.iterdir()) == []


def test_a_launch_does_not_depend_on_the_working_directory(
    lab: Lab, db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    first, _ = carry_out(lab, db, "siim")
    assert first.new


def test_weights_of_a_file_are_started_from_by_their_absolute_path(
    lab: Lab, db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mae.pth").write_text("weights")
    monkeypatch.chdir(tmp_path)
    (only,) = carry_out(lab, db, "siim", pretrained="mae.pth")
    run = runs.get(db, only.id)
    assert encoder_of(run) == str(tmp_path / "mae.pth")
    assert (run.parent, run.state) == (None, "queued")


def test_a_run_can_be_named_to_start_from(lab: Lab, db: Any) -> None:
    (first,) = carry_out(lab, db, "pretrain")
    carry_out(lab, db, "pretrain", seeds=[1])
    (tuned,) = carry_out(lab, db, "siim", pretrained=first.id[:4])
    assert runs.get(db, tuned.id).parent == first.id


def test_what_is_neither_run_nor_file_cannot_be_started_from(lab: Lab, db: Any) -> None:
    with pytest.raises(NotFound):
        launch.pretrained_named(db, "nothing")


def test_a_run_without_an_encoder_cannot_be_started_from(lab: Lab, db: Any, new_run: Make) -> None:
    failed, task = new_run(), new_run(task="siim", ratio=10)
    runs.change_state(db, failed.id, "failed")
    for run in (failed, task):
        with pytest.raises(Usage):
            launch.pretrained_named(db, run.id)


def test_on_a_machine_with_gpus_a_run_takes_one_unless_told_otherwise(
    lab: Lab, db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = {"index": 0, "uuid": "GPU-a", "name": "H200", "used_mib": 9, "total_mib": 99}
    (tmp_path / "gpus.json").write_text(json.dumps([item]))
    monkeypatch.setenv("CXRLAB_FAKE_GPUS", str(tmp_path / "gpus.json"))
    lab.settings_file.write_text(lab.settings_file.read_text().replace("gpus = 0", 'gpus = "all"'))
    from cxrlab.lab import find_lab

    wants = plan.wanted(["random"], ["shenzhen"], preset="quick", seeds=[0])
    made = plan.plan(wants, [])
    (by_default,) = launch.carry_out(find_lab(lab.root), db, made)
    run = runs.get(db, by_default.id)
    assert (run.gpus, run.command[run.command.index("--device") + 1]) == (1, "cuda")
    assert launch.prepare(find_lab(lab.root), db, made, gpus=0)[0].run.gpus == 0
    assert launch.prepare(lab, db, made)[0].run.gpus == 0


def test_a_plan_can_be_prepared_without_queueing_it(lab: Lab, db: Any) -> None:
    prepared = launch.prepare(lab, db, plan.plan(plan.wanted(["mrm"], [], preset="quick"), []))
    assert prepared[0].config["method"] == "mrm"
    assert prepared[0].there is None
    assert runs.count(db) == 0
    assert list(lab.runs_dir.iterdir()) == []


def test_stopping_a_waiting_run_keeps_it_from_starting(lab: Lab, db: Any) -> None:
    first, second = carry_out(lab, db, "siim")
    for launched in (second, first):
        stopped = steering.stop(lab, db, runs.get(db, launched.id))
        assert (stopped.state, stopped.reason) == ("stopped", "stopped while it waited")
    assert queue.next_queued(db, 9) == []


def test_stopping_a_running_run_lets_it_write_a_checkpoint(
    lab: Lab, db: Any, trainer: Make, begin: Make
) -> None:
    run = begin(trainer(*LONG))
    stopped = steering.stop(lab, db, run)
    assert (stopped.state, stopped.reason) == ("stopped", "SIGTERM received")
    last = json.loads((Path(run.folder) / "checkpoints" / "last.pt").read_text())
    assert last["step"] == stopped.step
    assert local.processes(Path(run.folder)) == []


def test_a_run_that_will_not_stop_is_killed_with_all_its_children(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_until: Callable[..., Any]
) -> None:
    run = begin(trainer(*LONG, "--fake_deaf", "--fake_child"))
    folder = Path(run.folder)
    wait_until(lambda: len(local.processes(folder)) == 4)
    began = time.monotonic()
    stopped = steering.stop(lab, db, run, 0.5)
    assert (stopped.state, stopped.reason) == (
        "stopped",
        "killed, because it did not end when asked to",
    )
    assert time.monotonic() - began < lab.settings.launch.stop_grace_s
    assert wait_until(lambda: not local.processes(folder))


def test_a_run_whose_runner_is_dead_can_be_stopped(
    lab: Lab, db: Any, trainer: Make, begin: Make
) -> None:
    run = begin(trainer(*LONG))
    os.kill(local.read_record(Path(run.folder), 1)["runner"]["pid"], 9)  # type: ignore[index]
    assert steering.stop(lab, db, run).state == "stopped"


def test_asking_twice_to_stop_asks_the_trainer_once(
    lab: Lab, db: Any, trainer: Make, begin: Make
) -> None:
    run = begin(trainer("--fake_step_s", "1.5", "--fake_steps", "9"))
    assert steering.ask_to_stop(db, run) == "runner"
    asked = runs.get(db, run.id)
    assert asked.stop_requested is not None
    assert steering.stop(lab, db, asked).reason == "SIGTERM received"


def test_what_has_ended_cannot_be_stopped(lab: Lab, db: Any, new_run: Make) -> None:
    run = new_run()
    runs.change_state(db, run.id, "succeeded")
    with pytest.raises(CxrlabError, match="is succeeded"):
        steering.stop(lab, db, runs.get(db, run.id))


@pytest.mark.parametrize(
    ("state", "act"), [("stopped", "resume"), ("lost", "resume"), ("failed", "retry")]
)
def test_a_run_that_ended_early_goes_on_from_its_last_checkpoint(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_for_state: Make, state: str, act: str
) -> None:
    ends = {"stopped": "status:143", "lost": "signal:9", "failed": "fail"}
    run = begin(trainer("--fake_steps", "4", "--fake_end", ends[state]))
    ended = wait_for_state(run.id, state)
    queued = getattr(steering, act)(lab, db, ended)
    assert (queued.state, queued.attempt) == ("queued", 1)
    last = str(Path(run.folder) / "checkpoints" / "last.pt")
    assert steering.attempt_command(queued) == [*run.command, "--resume", last]
    again = begin(queued._replace(command=[*run.command, "--fake_end", "succeed"]))
    assert again.attempt == 2
    done = wait_for_state(run.id, *runs.ENDED)
    assert done.state == "succeeded"
    assert "training from step 4" in (Path(run.folder) / "log.txt").read_text()


def test_without_a_checkpoint_a_run_begins_anew(lab: Lab, db: Any, new_run: Make) -> None:
    run = new_run()
    runs.change_state(db, run.id, "lost")
    assert steering.attempt_command(steering.resume(lab, db, runs.get(db, run.id))) == ["true"]


def test_a_run_stopped_while_blocked_is_blocked_again_when_resumed(lab: Lab, db: Any) -> None:
    first, second = carry_out(lab, db, "siim")
    again = steering.resume(lab, db, steering.stop(lab, db, runs.get(db, second.id)))
    assert (again.state, again.reason) == (
        "blocked",
        f"waits for {first.id} (deep_mrm pretrain), which is queued",
    )
    runs.change_state(db, first.id, "succeeded")
    refresh.refresh(lab, db)
    assert runs.get(db, second.id).state == "queued"


@pytest.mark.parametrize(
    ("state", "act"), [("failed", "resume"), ("succeeded", "resume"), ("succeeded", "retry")]
)
def test_what_cannot_go_on_says_so(lab: Lab, db: Any, new_run: Make, state: str, act: str) -> None:
    run = new_run()
    runs.change_state(db, run.id, state)
    with pytest.raises(CxrlabError, match="has failed" if state == "failed" else "is succeeded"):
        getattr(steering, act)(lab, db, runs.get(db, run.id))
    assert runs.get(db, run.id).state == state


def test_no_second_trainer_is_put_into_a_folder_where_one_lives(
    lab: Lab, db: Any, trainer: Make, begin: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "_KILL_WAIT_S", 0.2)
    run = begin(trainer(*LONG))
    runs.change_state(db, run.id, "lost")
    with pytest.raises(CxrlabError, match="live on"):
        steering.resume(lab, db, runs.get(db, run.id))


def test_removing_takes_row_and_folder(lab: Lab, db: Any, new_run: Make) -> None:
    run = new_run()
    steering.remove(lab, db, run)
    assert runs.count(db) == 0
    assert not Path(run.folder).exists()


def test_removing_leaves_a_folder_outside_the_lab_alone(
    lab: Lab, db: Any, new_run: Make, tmp_path: Path
) -> None:
    run = new_run(folder=str(tmp_path / "elsewhere"))
    steering.remove(lab, db, run)
    assert Path(run.folder).exists()


def test_what_runs_or_is_started_from_cannot_be_removed(lab: Lab, db: Any) -> None:
    first, second = carry_out(lab, db, "siim")
    with pytest.raises(StoreError, match=second.id):
        steering.remove(lab, db, runs.get(db, first.id))
    runs.change_state(db, second.id, "running")
    with pytest.raises(CxrlabError, match="is running"):
        steering.remove(lab, db, runs.get(db, second.id))
    assert Path(runs.get(db, first.id).folder).exists()
