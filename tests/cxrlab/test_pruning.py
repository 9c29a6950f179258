"""The budget, carried out: on a real registry, real folders, and whatever people do in between."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cxrlab import cli, launch, pruning
from cxrlab.agent import Agent
from cxrlab.errors import Usage
from cxrlab.lab import Lab, find_lab, make_lab
from cxrlab.queueing import steering
from store import artifacts, cells, intake, rebuild, runs
from store.db import open_store, writing

SIZE = 1000


def run_of(lab: Lab, db: Any, *, at: float, of: str = "", **facts: Any) -> runs.Run:
    """Add a run that has saved every kind of checkpoint, `at` a time; it waits yet.

    Its data's fingerprint is `of`: runs of other data are no repeats of one another in a cell.
    """
    id = runs.new_id()
    values = {"method": "mrm", "task": "siim", "ratio": 10, "seed": 0, "preset": "quick",
              "recipe": "a" * 64, "parent": None, "command": ["true"], "gpus": 0}  # fmt: skip
    values |= facts
    folder = lab.runs_dir / f"{id}-mrm-{values['task']}-s{values['seed']}"
    runs.add(db, [runs.NewRun(id=id, folder=str(folder), **values)], at=at)
    (folder / "checkpoints").mkdir(parents=True)
    events = []
    for name in ("best", "last", "encoder", "epoch_1"):
        path = f"checkpoints/{name}.pt"
        (folder / path).write_bytes(b"0" * SIZE)
        events.append({"t": at, "kind": "checkpoint", "kind_of": name, "path": path, "step": 1})
    (folder / "checkpoints" / ".last.pt.1.tmp").write_bytes(b"0" * SIZE)
    result = {"t": at, "kind": "result", "values": {"test/Dice": 0.5}, "bounds": {},
              "data": {"fingerprint": of}}  # fmt: skip
    (folder / "events.jsonl").write_text(
        "".join(json.dumps(event) + "\n" for event in [*events, result])
    )
    intake.take_in(db, id, folder)
    return runs.get(db, id)


def end(db: Any, run: runs.Run, state: str, *, at: float) -> runs.Run:
    runs.change_state(db, run.id, "running", at=at)
    runs.change_state(db, run.id, state, at=at)
    return runs.get(db, run.id)


def saved(run: runs.Run) -> set[str]:
    return {path.name for path in (Path(run.folder) / "checkpoints").iterdir()}


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "120"})


ALL = {"best.pt", "last.pt", "encoder.pt", "epoch_1.pt", ".last.pt.1.tmp"}
KEPT = {"best.pt", "last.pt", "encoder.pt"}


def test_only_what_nobody_needs_goes(lab: Lab, db: Any) -> None:
    older = end(db, run_of(lab, db, at=1.0), "succeeded", at=1.0)
    newer = end(db, run_of(lab, db, at=2.0), "succeeded", at=2.0)
    seed = end(db, run_of(lab, db, at=3.0, seed=1), "succeeded", at=3.0)
    stopped = end(db, run_of(lab, db, at=4.0, seed=2), "stopped", at=4.0)
    failed = end(db, run_of(lab, db, at=0.5), "failed", at=0.5)
    waiting = run_of(lab, db, at=6.0, seed=3)
    found = pruning.look(lab, db)
    assert found.taken == 6 * 5 * SIZE
    gone = pruning.remove(lab, db, found, found.spare(0))
    assert saved(older) == saved(failed) == set()
    assert saved(newer) == saved(seed) == saved(stopped) == KEPT
    assert saved(waiting) == ALL
    assert len(gone) == 5 + 5 + 2 * 3


def test_a_run_that_others_start_from_keeps_its_checkpoints(lab: Lab, db: Any) -> None:
    facts = {"task": "pretrain", "ratio": None}
    first = end(db, run_of(lab, db, at=1.0, **facts), "succeeded", at=1.0)
    named = end(db, run_of(lab, db, at=1.5, **facts), "succeeded", at=1.5)
    end(db, run_of(lab, db, at=2.0, **facts), "succeeded", at=2.0)
    run_of(lab, db, at=3.0, parent=first.id)
    path = f"{named.folder}/checkpoints/epoch_1.pt"
    run_of(lab, db, at=3.0, seed=5, command=["python", "--pretrained", path])
    found = pruning.look(lab, db)
    pruning.remove(lab, db, found, found.spare(0))
    assert saved(first) == KEPT
    assert saved(named) == KEPT | {"epoch_1.pt"}


def test_an_older_run_that_a_cell_of_other_data_cites_keeps_its_checkpoints(
    lab: Lab, db: Any
) -> None:
    older = end(db, run_of(lab, db, at=1.0, of="x"), "succeeded", at=1.0)
    end(db, run_of(lab, db, at=2.0, of="y"), "succeeded", at=2.0)
    found = pruning.look(lab, db)
    assert found.owners[older.id].superseded
    pruning.remove(lab, db, found, found.spare(0))
    assert saved(older) == KEPT


def test_what_comes_to_be_needed_after_the_look_stays(lab: Lab, db: Any) -> None:
    older = end(db, run_of(lab, db, at=1.0), "failed", at=1.0)
    other = end(db, run_of(lab, db, at=1.0, seed=1), "failed", at=1.0)
    third = end(db, run_of(lab, db, at=1.0, seed=2), "failed", at=1.0)
    for seed in range(3):
        newer = end(db, run_of(lab, db, at=2.0, seed=seed), "succeeded", at=2.0)
    found = pruning.look(lab, db)
    spare = [each for each in found.spare(0) if each.file.run != newer.id]
    steering.retry(lab, db, older)
    run_of(lab, db, at=3.0, seed=9, command=[f"--pretrained={other.folder}/checkpoints/best.pt"])
    runs.remove(db, newer.id)
    gone = {each.file.run for each in pruning.remove(lab, db, found, spare)}
    assert saved(older) == saved(other) == ALL
    assert saved(third) == KEPT
    assert older.id not in gone
    assert other.id not in gone


def test_what_was_removed_is_known_to_the_registry_the_folder_and_the_reader(
    lab: Lab, db: Any
) -> None:
    older = end(db, run_of(lab, db, at=1.0), "succeeded", at=1.0)
    end(db, run_of(lab, db, at=2.0), "succeeded", at=2.0)
    result = invoke(lab, "prune", "--budget", "0", "--yes", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["freed"] == sum(file["bytes"] for file in told["removed"]) == 7 * SIZE
    (last,) = artifacts.of_run(db, older.id, "last")
    assert last.removed == pytest.approx(time.time(), abs=600)
    assert "removed to keep within the budget on 20" in invoke(lab, "show", older.id).stdout
    shown = json.loads(invoke(lab, "show", older.id, "--json").stdout)["checkpoints"]
    assert all(file["removed"] for file in shown)
    rebuild.rebuild(db, lab.runs_dir)
    (last,) = artifacts.of_run(db, older.id, "last")
    assert last.removed is not None


def test_an_encoder_that_was_removed_is_not_started_from(lab: Lab, db: Any) -> None:
    facts = {"task": "pretrain", "ratio": None}
    older = end(db, run_of(lab, db, at=1.0, **facts), "succeeded", at=1.0)
    newer = end(db, run_of(lab, db, at=2.0, **facts), "succeeded", at=2.0)
    found = pruning.look(lab, db)
    pruning.remove(lab, db, found, found.spare(0))
    assert [known.run_id for known in launch.pretrainings(db)] == [newer.id]
    with pytest.raises(Usage, match="was removed"):
        launch.pretrained_named(db, older.id)


def test_a_link_and_what_it_points_to_stay(lab: Lab, db: Any, tmp_path: Path) -> None:
    run = end(db, run_of(lab, db, at=1.0), "succeeded", at=1.0)
    outside = tmp_path / "outside.pt"
    outside.write_bytes(b"0" * SIZE)
    (Path(run.folder) / "checkpoints" / "epoch_2.pt").symlink_to(outside)
    (Path(run.folder) / "checkpoints" / "away").symlink_to(tmp_path)
    found = pruning.look(lab, db)
    pruning.remove(lab, db, found, found.spare(0))
    assert outside.exists()
    assert "epoch_2.pt" in saved(run)


def test_prune_lists_and_asks_and_keeps_what_fits(lab: Lab, db: Any) -> None:
    end(db, run_of(lab, db, at=1.0), "succeeded", at=1.0)
    listed = invoke(lab, "prune", "--budget", "4kB", "--dry-run")
    assert listed.exit_code == 0, listed.stderr
    assert ".last.pt.1.tmp" in listed.stdout
    assert "epoch_1" not in listed.stdout
    assert "would be removed; nothing was" in listed.stderr
    asked = invoke(lab, "prune", "--budget", "4kB")
    assert (asked.exit_code, "--yes" in asked.stderr) == (2, True)
    fits = invoke(lab, "prune", "--budget", "1 MB")
    assert (fits.exit_code, fits.stdout) == (0, "")
    over = invoke(lab, "prune", "--budget", "1kB", "--yes")
    assert "all else is needed" in over.stderr
    assert invoke(lab, "prune").exit_code == 2
    assert invoke(lab, "prune", "--budget", "much").exit_code == 2


def test_the_agent_keeps_the_budget_that_is_set(
    lab: Lab, db: Any, wait_until: Callable[..., Any]
) -> None:
    run = end(db, run_of(lab, db, at=1.0), "succeeded", at=1.0)
    agent = Agent(lab, idle_s=1.0)
    agent.one_pass()
    assert saved(run) == ALL
    with lab.settings_file.open("a") as file:
        file.write('[checkpoints]\nbudget = "3.5 kB"\n')
    agent.one_pass()
    wait_until(lambda: saved(run) == KEPT)


@pytest.mark.parametrize("value", ['"much"', "-1", "true", '"-3 GiB"'])
def test_a_budget_that_is_none_is_refused(lab: Lab, value: str) -> None:
    with lab.settings_file.open("a") as file:
        file.write(f"[checkpoints]\nbudget = {value}\n")
    with pytest.raises(Usage, match=r"checkpoints\.budget"):
        find_lab(lab.root)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_people_do_no_cell_and_no_run_loses_what_it_needs(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lab = make_lab(tmp_path_factory.mktemp("labs") / "lab")
    db = open_store(lab.registry)
    made: list[str] = []
    try:
        for moment in range(data.draw(st.integers(6, 16))):
            step(lab, db, made, data, at=float(moment))
    finally:
        db.conn.close()
        shutil.rmtree(lab.root)


def step(lab: Lab, db: Any, made: list[str], data: st.DataObject, *, at: float) -> None:
    """Do one thing that people do, then prune and look whether all that is needed is there."""
    act = data.draw(st.sampled_from(["new", "new", "new", "end", "end", "remove", "retry"]))
    one = runs.get(db, data.draw(st.sampled_from(made))) if made else None
    if act == "new" or one is None:
        finished = [id for id in made if runs.get(db, id).state == "succeeded"]
        parent = data.draw(st.sampled_from([None, *finished[:2]]))
        facts = {"seed": data.draw(st.integers(0, 1)), "recipe": data.draw(st.sampled_from("aaab"))}
        of = data.draw(st.sampled_from("xxy"))
        made.append(run_of(lab, db, at=at, of=of, parent=parent, **facts).id)
    elif act == "end" and one.state in ("queued", "running"):
        state = data.draw(st.sampled_from(["succeeded", "succeeded", "failed", "stopped", "lost"]))
        end(db, one, state, at=at)
    elif act == "retry" and one.state in ("failed", "stopped", "lost"):
        runs.change_state(db, one.id, "queued", at=at)
    elif act == "remove" and not any(runs.get(db, id).parent == one.id for id in made):
        runs.remove(db, one.id)
        shutil.rmtree(one.folder)
        made.remove(one.id)
    before = {id: saved(runs.get(db, id)) for id in made}
    found = pruning.look(lab, db)
    pruning.remove(lab, db, found, found.spare(data.draw(st.integers(0, 20)) * SIZE))
    cited = {id for group in cells.groups(db) for id in group.run_ids}
    alive = [runs.get(db, id) for id in made]
    for run in alive:
        left, lost = saved(run), before[run.id] - saved(run)
        newer = any(
            (other.seed, other.recipe) == (run.seed, run.recipe)
            and other.state == "succeeded"
            and other.created > run.created
            for other in alive
        )
        if run.state == "queued":
            assert not lost
        if run.id in cited or not newer or any(other.parent == run.id for other in alive):
            assert before[run.id] & KEPT <= left


def test_the_registry_holds_when_removing_meets_a_folder_that_is_gone(lab: Lab, db: Any) -> None:
    run = end(db, run_of(lab, db, at=1.0), "succeeded", at=1.0)
    found = pruning.look(lab, db)
    (Path(run.folder) / "checkpoints" / "epoch_1.pt").unlink()
    gone = pruning.remove(lab, db, found, found.spare(0))
    assert [each.file.kind for each in gone] == ["leftover"]
    with writing(db):
        assert runs.get(db, run.id).state == "succeeded"
