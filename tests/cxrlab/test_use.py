"""What runs use of the machine, from the GPUs and `/proc` to a line of their folders."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from cxrlab import agent, cli, use, use_watch
from cxrlab.gpus import Gpu, GpuProcess, Reading
from cxrlab.gpus import watch as gpu_watch
from cxrlab.lab import Lab, make_lab
from cxrlab.process_trees import Cost, Trees
from store import claims, intake, points, runs
from store import use as seen
from store.db import open_store

Make = Callable[..., runs.Run]
GIB = 2**30
LONG = ("--fake_steps", "2000", "--fake_step_s", "0.05")


def gpu(index: int, busy: int | None, mib: int, watts: int | None, *processes: Any) -> Gpu:
    return Gpu(index, f"GPU-{index}", "H200", mib, 24_576, busy, 60, watts, processes)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / use.FILE_NAME).read_text().splitlines()]


def look(at: float, busy: int, *, watts: int = 0, mib: int = 0, cpu_s: float = 0.0) -> use.Look:
    return use.look(at, [gpu(0, busy, mib, watts)], Cost(cpu_s, mib * GIB // 1024))


def test_a_line_holds_means_by_the_trapezoidal_rule_and_the_most_memory(tmp_path: Path) -> None:
    record = use.Record(tmp_path, 2, began=1000.0)
    record.add(look(10, 100, watts=300, mib=2048, cpu_s=5))
    assert not (tmp_path / use.FILE_NAME).exists()
    record.add(look(20, 50, watts=500, mib=1024, cpu_s=25))
    (line,) = lines(tmp_path)
    assert line == {
        "t": 1020.0,
        "attempt": 2,
        "at": 20,
        "s": 10,
        "values": {
            "gpu/0/memory": 2.0,
            "gpu/0/power": 400.0,
            "gpu/0/temperature": 60.0,
            "gpu/0/utilization": 75.0,
            "host/cpu": 200.0,
            "host/memory": 2.0,
        },
    }


def test_long_runs_have_longer_stretches_and_lose_no_energy(tmp_path: Path) -> None:
    record = use.Record(tmp_path, 1, began=0.0)
    watts = [(7 * n) % 500 for n in range(12_000)]
    for n, power in enumerate(watts):
        record.add(look(10.0 * n, 80, watts=power))
    record.close()
    found = lines(tmp_path)
    assert len(found) < 4000
    energy = sum(line["s"] * line["values"]["gpu/0/power"] for line in found)
    exact = sum(5.0 * (one + two) for one, two in itertools.pairwise(watts))
    assert energy == pytest.approx(exact, rel=1e-5)
    assert sum(line["s"] for line in found) == pytest.approx(119_990)


def test_of_a_gap_nothing_is_told(tmp_path: Path) -> None:
    record = use.Record(tmp_path, 1, began=0.0)
    for at in (0, 10, 500, 510, 5, 15):  # nobody looked for eight minutes; the clock was set back
        record.add(look(at, 90))
    assert [(line["at"], line["s"]) for line in lines(tmp_path)] == [(10, 10), (510, 10), (15, 10)]


def test_a_gpu_that_tells_nothing_or_is_gone_leaves_the_others_their_names(tmp_path: Path) -> None:
    there = [gpu(0, None, 10, None), gpu(3, 40, 10, 100)]
    order = use.in_order(there, ["GPU-3", "GPU-9", "GPU-0"])
    record = use.Record(tmp_path, 1, began=0.0)
    for at in (0, 10):
        record.add(use.look(at, order, None))
    values = lines(tmp_path)[0]["values"]
    assert values["gpu/0/utilization"] == 40.0
    assert "gpu/2/temperature" in values
    assert not any(name.startswith(("gpu/1", "host")) for name in values)
    assert not {"gpu/2/utilization", "gpu/2/power"} & values.keys()


def test_of_a_shared_gpu_a_run_counts_its_own_memory_where_the_driver_tells() -> None:
    mine, theirs = (GpuProcess(pid, "me", mib, True, f"/runs/{pid}") for pid, mib in
                    ((1, 2048), (2, 4096)))  # fmt: skip
    shared = [gpu(0, 90, 7000, 300, mine, theirs)]
    assert use.look(0, shared, None, own="/runs/1").values["gpu/0/memory"] == 2.0
    assert use.look(0, shared, None).values["gpu/0/memory"] == pytest.approx(7000 / 1024)
    assert use.look(0, shared, None, own="/runs/9").values["gpu/0/memory"] > 6


def test_a_torn_line_is_closed_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / use.FILE_NAME
    path.write_text('{"t": 1')
    use.append(path, "{}")
    use.append(path, "{}")
    assert path.read_text() == '{"t": 1\n{}\n{}\n'


@pytest.mark.parametrize("odd", ["pipe", "link"])
def test_what_lies_there_and_is_no_file_is_not_written_to(tmp_path: Path, odd: str) -> None:
    path, elsewhere = tmp_path / use.FILE_NAME, tmp_path / "elsewhere"
    os.mkfifo(path) if odd == "pipe" else path.symlink_to(elsewhere)
    record = use.Record(tmp_path, 1, began=0.0)
    for at in (0, 10):
        record.add(look(at, 90))
    assert not elsewhere.exists()


GROWING = """
import subprocess, sys, time
child = "import time; held = b'x' * (64 << 20); sum(range(10**6)); print('up'); time.sleep(600)"
one = subprocess.Popen([sys.executable, "-uc", child], stdout=subprocess.PIPE)
one.stdout.readline()
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child holds 64 MiB and has worked a little."""
    parent = subprocess.Popen(
        [sys.executable, "-c", GROWING], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    yield parent
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()


def test_a_tree_takes_what_its_members_take_and_no_other_process(
    family: subprocess.Popen[bytes],
) -> None:
    trees = Trees()
    cost = trees.look([family.pid])[family.pid]
    assert 64 * 2**20 < cost.memory < 512 * 2**20
    assert cost.cpu_s > 0
    assert trees.look([family.pid, 2**22 + 1]).keys() == {family.pid}
    assert trees.look([]) == {}


# -- the agent


@pytest.fixture
def watching(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., agent.Agent]:
    """Make an agent that looks at each pass; the GPUs are those of a file."""
    said = lab.settings_file.read_text().replace("gpus = 0", 'gpus = "all"')
    lab.settings_file.write_text(said + "[gpus]\nsettle_s = 0\n")
    monkeypatch.setattr(gpu_watch, "WANTED_S", 0.0)
    monkeypatch.setattr(gpu_watch, "HELD_S", 0.0)
    path = tmp_path / "gpus.json"
    monkeypatch.setenv("CXRLAB_FAKE_GPUS", str(path))
    facts = {"name": "H200", "used_mib": 9216, "total_mib": 24_576, "utilization": 40,
             "power_w": 360, "temperature": 61}  # fmt: skip
    new = path.with_suffix(".new")
    new.write_text(json.dumps([{"index": 0, "uuid": "GPU-0", **facts, "used_mib": 3}]))
    new.replace(path)

    def make() -> agent.Agent:
        made = agent.Agent(lab, idle_s=1.0)
        made.watch.wait_s = 120.0
        made.use = use_watch.UseWatch(period_s=0.0)
        return made

    return make


def passes(working: agent.Agent, wait_until: Callable[..., Any], holds: Callable[[], Any]) -> None:
    """Let an agent work until something holds."""
    wait_until(lambda: (working.one_pass(), holds())[1])


def test_a_run_is_seen_while_it_runs_and_agents_come_and_go(
    lab: Lab, db: Any, trainer: Make, watching: Any, wait_until: Callable[..., Any]
) -> None:
    run = trainer(*LONG, gpus=1)
    folder, first = Path(run.folder), watching()
    path = folder / use.FILE_NAME
    passes(first, wait_until, path.exists)
    before = len(lines(folder))
    with path.open("a") as file:
        file.write('{"t": 1, "att')  # it was killed as it wrote
    second = watching()
    passes(second, wait_until, lambda: len(path.read_text().splitlines()) > before + 2)
    intake.take_in(db, run.id, folder)
    assert points.metric_names(db, run.id)[:4] == [
        f"gpu/0/{name}" for name in ("memory", "power", "temperature", "utilization")
    ]
    used = seen.of_run(db, run.id, now=time.time())
    assert used is not None
    assert (used.gpus, used.utilization) == (1, pytest.approx(40.0))
    assert used.energy_kwh == pytest.approx(360 * used.watched_s / 3.6e6, rel=1e-2)
    assert used.host_gib is not None
    assert 0 < used.host_gib < 4


def test_a_run_on_the_cpu_is_seen_too_and_taken_in_when_it_has_ended(
    lab: Lab, db: Any, trainer: Make, watching: Any, wait_until: Callable[..., Any]
) -> None:
    run, working = trainer("--fake_steps", "200", "--fake_step_s", "0.02"), watching()
    passes(working, wait_until, lambda: runs.get(db, run.id).state == "succeeded")
    used = seen.of_run(db, run.id, now=time.time())
    assert used is not None
    assert (used.gpu_hours, used.utilization) == (None, None)
    assert used.host_gib is not None
    assert used.watched_s <= used.seconds + 1


def test_a_driver_that_does_not_answer_leaves_out_the_gpus_alone(
    lab: Lab, db: Any, trainer: Make, begin: Any
) -> None:
    run = begin(trainer(*LONG, gpus=1))
    claims.claim(db, run.id, ["GPU-0"])
    watch = use_watch.UseWatch(period_s=0.0)
    unknown = Reading((), "the driver does not answer", time.time(), known=False)
    for _ in range(2):
        watch.look(lab, db, unknown)
    assert set(lines(Path(run.folder))[0]["values"]) == {"host/cpu", "host/memory"}


def test_a_run_waits_for_the_next_reading_of_its_gpus_and_not_for_ever(
    lab: Lab, db: Any, trainer: Make, begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(trainer(*LONG, gpus=1))
    claims.claim(db, run.id, ["GPU-0"])
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = use_watch.UseWatch(period_s=10.0)
    first = Reading((gpu(0, 50, 9, 100),), "", 1.0)
    watch.look(lab, db, first)
    for passed in (5.0, 10.0, 15.0):
        now[0] += 5.0
        watch.look(lab, db, first)
        assert not (Path(run.folder) / use.FILE_NAME).exists(), passed
    watch.look(lab, db, first._replace(at=2.0))
    assert lines(Path(run.folder))[0]["values"]["gpu/0/utilization"] == 50.0
    now[0] += 20.0
    watch.look(lab, db, None)
    assert set(lines(Path(run.folder))[1]["values"]) == {"host/cpu", "host/memory"}


def test_on_a_node_a_program_of_its_own_watches_until_its_input_ends(
    tmp_path: Path, family: subprocess.Popen[bytes], wait_until: Callable[..., Any]
) -> None:
    there = [{"index": n, "uuid": f"GPU-{n}", "name": "H200", "used_mib": 1024 * n,
              "total_mib": 24_576, "power_w": 100 * n} for n in range(3)]  # fmt: skip
    gpus = tmp_path / "gpus.json"
    gpus.write_text(json.dumps(there))
    watcher = subprocess.Popen(
        [sys.executable, "-P", "-m", "cxrlab.use", str(tmp_path), "3", str(family.pid),
         "--period-s", "0.05"],
        stdin=subprocess.PIPE,
        env={**os.environ, "CXRLAB_FAKE_GPUS": str(gpus), "CUDA_VISIBLE_DEVICES": "2,1"},
    )  # fmt: skip
    assert watcher.stdin is not None
    try:
        wait_until((tmp_path / use.FILE_NAME).exists)
        watcher.terminate()  # Slurm says so to all of a job; it is not over yet
        before = len((tmp_path / use.FILE_NAME).read_text().splitlines())
        wait_until(lambda: len((tmp_path / use.FILE_NAME).read_text().splitlines()) > before)
        watcher.stdin.close()
        assert watcher.wait(timeout=120) == 0
    finally:
        watcher.kill()
        watcher.wait()
    line = lines(tmp_path)[-1]
    assert line["attempt"] == 3
    assert (line["values"]["gpu/0/power"], line["values"]["gpu/1/memory"]) == (200.0, 1.0)
    assert line["values"]["host/memory"] > 64 / 1024


# -- what is told


def invoke(lab: Lab, *words: str, columns: int = 120) -> str:
    result = CliRunner().invoke(
        cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": str(columns)}
    )
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture
def used(lab: Lab, db: Any, new_run: Make) -> runs.Run:
    """A run that has held two GPUs for 61 h 50 min and was seen for an hour of it."""
    run = new_run(gpus=2, task="pretrain")
    began = time.time() - 61 * 3600 - 50 * 60
    runs.change_state(db, run.id, "running", at=began)
    runs.start_attempt(db, run.id, began)
    events = [
        {"kind": "start", "step": 0, "attempt": 1},
        {"kind": "metrics", "step": 9, "epoch": 1, "values": {"train/loss": 1.5}},
    ]
    write(run, events)
    folder = Path(run.folder)
    values = {"gpu/0/utilization": 30.0, "gpu/1/utilization": 20.0, "gpu/0/memory": 71.25,
              "gpu/0/power": 600.0, "gpu/1/power": 400.0, "host/cpu": 431.0,
              "host/memory": 35.5}  # fmt: skip
    for n in range(1, 61):
        stretch = {"t": began + 60 * n, "attempt": 1, "at": 60 * n, "s": 60, "values": values}
        use.append(folder / use.FILE_NAME, json.dumps(stretch))
    intake.take_in(db, run.id, folder)
    return runs.get(db, run.id)


def write(run: runs.Run, events: list[dict[str, Any]]) -> None:
    with (Path(run.folder) / "events.jsonl").open("a") as file:
        file.writelines(json.dumps({"t": time.time(), **event}) + "\n" for event in events)


def test_show_tells_hours_load_memory_and_energy(lab: Lab, used: runs.Run) -> None:
    said = " ".join(invoke(lab, "show", used.id).split())
    assert (
        "use GPU hours 123.7, GPUs busy 25 %, peak GPU memory 71.2 GiB, GPU energy 1.00 kWh, "
        "CPU load 431 %, peak host memory 35.5 GiB, time seen 2 %"
    ) in said
    facts = json.loads(invoke(lab, "show", used.id, "--json"))["use"]
    assert (facts["utilization"], facts["gpu_gib"]) == (25.0, 71.25)
    assert facts["energy_kwh"] == pytest.approx(1.0)


def test_show_says_what_to_do_about_idle_gpus(lab: Lab, db: Any, trainer: Make, begin: Any) -> None:
    used = begin(trainer(*LONG, gpus=1))
    (Path(used.folder) / "config.json").write_text('{"num_workers": 4}')
    for at in range(60, 660, 60):
        values = {"gpu/0/utilization": 25.0}
        stretch = {"t": 1.0, "attempt": 1, "at": at, "s": 60, "values": values}
        use.append(Path(used.folder) / use.FILE_NAME, json.dumps(stretch))
    told = json.loads(invoke(lab, "show", used.id, "--json"))["next"]
    assert told.startswith("its GPUs were busy 25 % of the last ten minutes; `cxrlab data prepare`")
    assert f"`cxrlab clone {used.id} --set num_workers=8`" in told
    config = {"num_workers": 4, "data_path": str(lab.copy_of("siim"))}
    (Path(used.folder) / "config.json").write_text(json.dumps(config))
    assert "prepare" not in json.loads(invoke(lab, "show", used.id, "--json"))["next"]
    write(used, [{"kind": "metrics", "step": 5000, "values": {"perf/data_wait": 0.01}}])
    intake.take_in(db, used.id, Path(used.folder))
    told = json.loads(invoke(lab, "show", used.id, "--json"))["next"]
    assert "hardly waits for data" in told


def test_runs_have_columns_of_it_where_there_is_room(lab: Lab, used: runs.Run) -> None:
    head, row = invoke(lab, "runs").splitlines()[:2]
    assert "GPU h  busy" in head
    assert "123.7  25 %" in row
    assert "busy" not in invoke(lab, "runs", columns=80)
    assert json.loads(invoke(lab, "runs", "--json"))[0]["use"]["gpus"] == 2


def test_old_runs_tell_their_hours_and_nothing_that_nobody_saw(
    lab: Lab, db: Any, new_run: Make
) -> None:
    run = new_run(gpus=1)
    runs.change_state(db, run.id, "running", at=1000.0)
    runs.start_attempt(db, run.id, 1000.0)
    runs.change_state(db, run.id, "succeeded", at=1000.0 + 5400)
    assert "use         GPU hours 1.5\n" in invoke(lab, "show", run.id)
    new = new_run(gpus=1)
    assert json.loads(invoke(lab, "show", new.id, "--json"))["use"] is None


def test_a_plot_is_of_the_training_unless_it_is_asked_for_the_machine(
    lab: Lab, used: runs.Run
) -> None:
    assert "train/loss" in invoke(lab, "plot", used.id)
    said = invoke(lab, "plot", used.id, "--metric", "gpu/*/utilization")
    assert "gpu/1/utilization" in said
    assert "hours" in said


def test_exports_have_it_over_seconds_apart_from_the_training(
    lab: Lab, used: runs.Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for form in ("tensorboard", "mlflow", "wandb"):
        invoke(lab, "curves", used.id, "--format", form, "--out", str(out / form))
    assert "gpu" not in invoke(lab, "curves", used.id)
    (folder,) = (out / "tensorboard").iterdir()
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in read.Scalars("gpu/0/power")] == list(range(60, 3660, 60))
    (path,) = (out / "mlflow").rglob("metrics/system/gpu/0/power")
    assert path.read_text().splitlines()[-1].endswith(" 600.0 3600")
    other = make_lab(tmp_path / "other")
    for form in ("tensorboard", "mlflow", "wandb"):
        said = invoke(other, "import", form, str(out / form), "--json")
        db = open_store(other.registry)
        assert points.metric_names(db, json.loads(said)[0]["id"]) == ["train/loss"]
        assert runs.get(db, json.loads(said)[0]["id"]).step == 9
        db.conn.close()


def test_the_registry_is_the_same_when_it_is_made_anew(lab: Lab, used: runs.Run) -> None:
    folder = Path(used.folder)
    named = folder.with_name(f"{used.id}-mrm-pretrain-s0")
    folder.rename(named)
    (named / "config.json").write_text("{}")
    lab.registry.unlink()
    invoke(lab, "rebuild")
    db = open_store(lab.registry)
    told = seen.of_run(db, used.id, now=time.time())
    db.conn.close()
    assert told is not None
    assert (told.gpus, told.utilization) == (2, 25.0)
