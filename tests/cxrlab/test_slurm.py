"""Runs that a real Slurm starts, of two nodes on loopback: `docs/slurm.md` shows the recipe.

Each process of the tests has a Slurm of its own, in a folder and on ports of its own. Without
`slurmctld` or without root they are skipped.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrlab import agent, launch, plan
from cxrlab.lab import Lab, find_lab
from cxrlab.queueing import steering
from store import queue, runs

ROOT = Path(__file__).parents[2]
FAKE_TRAINER = ROOT / "tests/fake_trainer.py"
LIMIT_S = 300.0


def cluster_module() -> Any:
    """Return tests/slurm_cluster.py, which no package holds."""
    spec = importlib.util.spec_from_file_location("slurm_cluster", ROOT / "tests/slurm_cluster.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


clusters = cluster_module()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(clusters.missing()), reason=f"no Slurm here: {clusters.missing()}"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Slurm of two nodes."""
    made = clusters.started()
    yield made
    made.stop()


@pytest.fixture
def slurm_lab(lab: Lab, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The lab, whose runs that Slurm starts; its agent finds `cluster`."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    source = lab.settings_file.read_text().replace("[launch]", '[launch]\nbackend = "slurm"')
    lab.settings_file.write_text(f"{source}\n[slurm]\ngpus_per_node = 0\n")
    yield find_lab(lab.root)
    with contextlib.suppress(Exception):
        agent.end(lab)
    cluster.ask("scancel", "--user=root")


@pytest.fixture
def begun(slurm_lab: Lab, db: Any) -> Callable[..., list[str]]:
    """Launch pre-trainings (or what `task` names) and return their ids, pre-trainings first."""

    def begin(*tasks: str, settings: dict[str, Any] | None = None, **options: Any) -> list[str]:
        lab = find_lab(slurm_lab.root)
        overrides = tuple((key, str(value)) for key, value in (settings or {}).items())
        seeds = options.pop("seeds", [0])
        wants = plan.wanted(
            ["mrm"], list(tasks), seeds=seeds, preset="quick", overrides=overrides, ratios=[]
        )
        made = plan.plan(wants, launch.pretrainings(db))
        launched = launch.carry_out(lab, db, made, **options)
        agent.ensure_agent(lab, idle_s=60)
        return [run.id for run in launched]

    return begin


def set_slurm(lab: Lab, *lines: str) -> None:
    """Add settings to `[slurm]`, which is the last table of the file."""
    source = lab.settings_file.read_text()
    lab.settings_file.write_text(source + "".join(f"{line}\n" for line in lines))


def cli(*words: str) -> Any:
    """Call the command as a person does; returns what `--json` prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cxrlab", *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout


def folder_of(db: Any, id: str) -> Path:
    return Path(runs.get(db, id).folder)


def record(db: Any, id: str, attempt: int) -> dict[str, Any]:
    return json.loads((folder_of(db, id) / f"attempts/{attempt}.json").read_text())


def test_seeds_go_in_as_one_array_and_finetuning_behind_them(
    begun: Any, db: Any, slurm_lab: Lab, wait_for_state: Any, cluster: Any
) -> None:
    ids = begun("siim", seeds=[0, 1], settings={"pretrain.fake_steps": 5})
    ends = [wait_for_state(id, "succeeded", "failed", "lost", limit_s=LIMIT_S) for id in ids]
    assert [run.state for run in ends] == ["succeeded"] * len(ids), [run.reason for run in ends]
    orders = [json.loads((Path(run.folder) / "slurm.json").read_text()) for run in ends]
    (first,) = {order["job"] for order in orders if runs.get(db, ids[0]).folder in order["command"]}
    tuned = [o["job"].split("_") for o, run in zip(orders, ends, strict=True) if run.task == "siim"]
    ratios = len(tuned) // 2
    assert len({main for main, _ in tuned}) == ratios  # an array for each ratio, of two seeds
    assert sorted(index for _, index in tuned) == ["0"] * ratios + ["1"] * ratios
    assert all(int(main) > int(first.split("_")[0]) for main, _ in tuned)
    assert all(run.job is None and run.backend == "slurm" for run in ends)
    shown = cli("--lab", str(slurm_lab.root), "show", ids[-1], "--json")
    assert shown["jobs"][0]["job"] == orders[-1]["job"]
    assert shown["attempts"][0]["host"] == record(db, ids[-1], 1)["host"]


def test_a_run_says_what_it_waits_for_and_is_called_off(
    begun: Any, db: Any, slurm_lab: Lab, wait_for_state: Any, wait_until: Any, cluster: Any
) -> None:
    cluster.ask("sbatch", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 300")
    wait_until(lambda: "RUNNING" in cluster.ask("squeue", "-h", "-o", "%T"))
    (id,) = begun()
    wait_until(lambda: "taken" in wait_for_state(id, "queued").reason, limit_s=LIMIT_S)
    number = runs.get(db, id).job
    assert f"waits in Slurm: the nodes or GPUs it needs are taken (job {number})" in (
        runs.get(db, id).reason
    )
    assert cli("--lab", str(slurm_lab.root), "queue", "--json")[0]["job"] == number
    queue.hold(db, [id])  # which takes it out of Slurm's queue
    wait_until(lambda: runs.get(db, id).job is None, limit_s=LIMIT_S)
    queue.release(db, [id])
    again = wait_until(lambda: wait_for_state(id, "queued").job, limit_s=LIMIT_S)
    assert again != number
    assert "called off" not in cli("--lab", str(slurm_lab.root), "stop", id)
    assert (runs.get(db, id).state, runs.get(db, id).reason) == (
        "stopped",
        "stopped while it waited",
    )
    asked = lambda: cluster.ask("squeue", "-h", "-t", "all", "-j", again, "-o", "%T").strip()  # noqa: E731
    wait_until(lambda: asked() == "CANCELLED")


def test_a_stopped_run_has_saved_and_goes_on(
    begun: Any, db: Any, slurm_lab: Lab, wait_for_state: Any, wait_until: Any
) -> None:
    (id,) = begun(settings={"fake_steps": 100_000})
    wait_until(lambda: wait_for_state(id, "running").step, limit_s=LIMIT_S)
    assert "on n" in wait_until(lambda: wait_for_state(id, "running").reason, limit_s=LIMIT_S)
    (stopped,) = cli("--lab", str(slurm_lab.root), "stop", id, "--json")
    assert (stopped["state"], stopped["reason"]) == ("stopped", "SIGTERM received")
    saved = json.loads((folder_of(db, id) / "checkpoints/last.pt").read_text())["step"]
    steering.resume(slurm_lab, db, runs.get(db, id))
    agent.ensure_agent(slurm_lab)
    wait_until(lambda: (wait_for_state(id, "running").step or 0) > saved, limit_s=LIMIT_S)
    assert f"training from step {saved}" in (folder_of(db, id) / "log.txt").read_text()


def test_what_slurm_cancels_is_stopped_and_says_so(
    begun: Any, db: Any, wait_for_state: Any, wait_until: Any, cluster: Any
) -> None:
    # SIGTERM does not end this one, so that Slurm kills it, and its runner writes nothing down
    (id,) = begun(settings={"fake_steps": 100_000, "fake_deaf": "true"})
    wait_until(lambda: wait_for_state(id, "running").step, limit_s=LIMIT_S)
    number = runs.get(db, id).job
    cluster.ask("scancel", number)
    ended = wait_for_state(id, "stopped", "lost", "failed", limit_s=LIMIT_S)
    assert (ended.state, ended.reason) == ("stopped", f"job {number} was cancelled in Slurm")


def test_what_slurm_refuses_has_failed_and_says_why(
    begun: Any, slurm_lab: Lab, wait_for_state: Any
) -> None:
    set_slurm(slurm_lab, 'partition = "gpuu"')
    (id,) = begun()
    failed = wait_for_state(id, "failed", limit_s=LIMIT_S)
    assert "invalid partition" in failed.reason.lower()


def test_a_run_saves_at_its_time_limit_and_goes_on_by_itself(
    begun: Any, db: Any, slurm_lab: Lab, wait_for_state: Any, wait_until: Any, cluster: Any
) -> None:
    # a minute is the least; Slurm looks at limits every half minute, and warns that much early
    set_slurm(slurm_lab, "time = 1", "save_s = 59")
    (id,) = begun(settings={"fake_steps": 100_000})
    number = wait_until(lambda: wait_for_state(id, "queued", "running").job, limit_s=LIMIT_S)
    wait_until(lambda: (folder_of(db, id) / "attempts/2.json").exists(), limit_s=LIMIT_S)
    run = wait_until(
        lambda: (r := wait_for_state(id, "running")).attempt == 2 and r.step and r, limit_s=LIMIT_S
    )
    assert run.job == number  # the same job, started again
    first = record(db, id, 1)
    assert (first["exit_code"], first["short_of_time"], first["requeue"]) == (143, True, True)
    log = folder_of(db, id) / "log.txt"
    words = "training from step "
    wait_until(lambda: log.read_text().count(words) == 2, limit_s=LIMIT_S)
    saved = int(log.read_text().split(words)[2].split()[0])
    assert saved > 0
    cluster.ask("scancel", number)
    wait_for_state(id, "stopped", limit_s=LIMIT_S)


def steps(folder: Path) -> list[list[int]]:
    """Return the steps that each attempt has logged."""
    found: list[list[int]] = []
    for line in (folder / "events.jsonl").read_text().split("\n")[:-1]:
        event = json.loads(line)
        if event["kind"] == "start":
            found.append([])
        elif event["kind"] == "metrics":
            found[-1].append(event["step"])
    return found


def goes_on(db: Any, id: str, wait_for_state: Any, wait_until: Any) -> runs.Run:
    """Return a run once its second attempt trains."""
    folder = folder_of(db, id)
    wait_until(lambda: len(logged := steps(folder)) == 2 and logged[1], limit_s=LIMIT_S)
    return wait_until(
        lambda: (r := wait_for_state(id, "running", limit_s=LIMIT_S)).attempt == 2 and r,
        limit_s=LIMIT_S,
    )


@pytest.fixture
def node_down(cluster: Any) -> Iterator[Callable[[str], None]]:
    """Set a node down, as Slurm does with one that fails."""
    down = []

    def fail(node: str) -> None:
        down.append(node)
        cluster.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    yield fail
    for node in down:
        cluster.ask("scontrol", "update", f"nodename={node}", "state=resume")
    cluster.until(lambda: "down" not in cluster.ask("sinfo", "-h", "-N", "-o", "%T"), "the node")


def test_a_preempted_run_saves_waits_and_goes_on(
    begun: Any, db: Any, wait_for_state: Any, wait_until: Any, cluster: Any
) -> None:
    (id,) = begun(settings={"fake_steps": 100_000})
    wait_until(lambda: wait_for_state(id, "running").step, limit_s=LIMIT_S)
    more = ["--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null"]
    urgent = cluster.ask("sbatch", "--parsable", *more, "--wrap=sleep 300").strip()
    told = lambda: wait_for_state(id, "queued", "running").reason  # noqa: E731
    wait_until(lambda: told().startswith("started again by Slurm; "), limit_s=LIMIT_S)
    cluster.ask("scancel", urgent)
    goes_on(db, id, wait_for_state, wait_until)
    logged = [step for attempt in steps(folder_of(db, id)) for step in attempt]
    assert logged == list(range(1, len(logged) + 1))


@pytest.mark.long
def test_a_run_that_was_lost_with_its_node_is_handed_in_again(
    begun: Any, db: Any, slurm_lab: Lab, wait_for_state: Any, wait_until: Any, node_down: Any
) -> None:
    source = slurm_lab.settings_file.read_text().replace("retry_lost = 0", "retry_lost = 3")
    slurm_lab.settings_file.write_text(source)
    set_slurm(slurm_lab, "max_requeues = 0")  # so that Slurm does not start it again itself
    (id,) = begun(settings={"fake_steps": 100_000})
    wait_until(lambda: wait_for_state(id, "running").step, limit_s=LIMIT_S)
    job, node = runs.get(db, id).job, record(db, id, 1)["slurm"]["nodes"]
    node_down(node)
    # looked at by the agent alone, which has read that lost runs are put back
    back = wait_until(lambda: (r := runs.get(db, id)).state != "running" and r, limit_s=LIMIT_S)
    assert back.reason.startswith(f"lost once, {node} failed; starts again at ")
    assert cli("--lab", str(slurm_lab.root), "queue", "--json")[0]["reason"] == back.reason
    cli("--lab", str(slurm_lab.root), "queue", "release", id)
    assert goes_on(db, id, wait_for_state, wait_until).job != job
    before, after = steps(folder_of(db, id))
    assert after[0] in (before[-1], before[-1] + 1)


@pytest.mark.long
def test_a_node_that_was_given_up_and_lives_on_does_not_train_beside_the_next(
    begun: Any, db: Any, wait_for_state: Any, wait_until: Any, cluster: Any, node_down: Any
) -> None:
    (id,) = begun(settings={"fake_steps": 100_000})
    wait_until(lambda: wait_for_state(id, "running").step, limit_s=LIMIT_S)
    node = record(db, id, 1)["slurm"]["nodes"]
    daemon = cluster.node_daemon(node)
    daemon.send_signal(signal.SIGSTOP)  # it hears nothing of what Slurm wants
    try:
        node_down(node)
        run = goes_on(db, id, wait_for_state, wait_until)
        assert record(db, id, 2)["slurm"]["nodes"] != node
        assert record(db, id, 1)["signal"] == signal.SIGKILL
        before, after = steps(Path(run.folder))
        assert after == list(range(after[0], after[0] + len(after)))  # nobody else writes
        assert after[0] in (before[-1], before[-1] + 1)
    finally:
        daemon.send_signal(signal.SIGCONT)


@pytest.mark.long
def test_one_seed_of_an_array_is_cut_and_goes_on_without_the_other(
    begun: Any, db: Any, wait_for_state: Any, wait_until: Any, cluster: Any
) -> None:
    first, second = begun(seeds=[0, 1], settings={"fake_steps": 100_000})
    for id in (first, second):
        wait_until(lambda id=id: wait_for_state(id, "running").step, limit_s=LIMIT_S)
    number, other = (runs.get(db, id).job for id in (first, second))
    assert (number, other) == (f"{number[:-2]}_0", f"{number[:-2]}_1")
    cluster.ask("scancel", "--batch", "--signal=USR1", number)
    assert goes_on(db, first, wait_for_state, wait_until).job == number
    logged = [step for attempt in steps(folder_of(db, first)) for step in attempt]
    assert logged == list(range(1, len(logged) + 1))
    assert wait_for_state(second, "running").attempt == 1


def records_in(root: Path) -> Path:
    """Make a folder of 40 small pictures with reports in MRM's form."""
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    words = "no focal consolidation small left pleural effusion heart size is normal".split()
    with (root / "training.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "report_content"])
        for i in range(40):
            Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(root / f"{i}.png")
            said = ". ".join(" ".join(rng.choice(words, 4)) for _ in range(3))
            writer.writerow([f"{i}.png", f"FINAL REPORT FINDINGS: {said}."])
    return root


TINY = (
    "image_px=32 patch_px=8 embed_dim=24 num_heads=2 image_encoder=vit bert_dim=16 bert_depth=1 "
    "bert_heads=2 projection_dim=8 report_length=12 vocab_size=200 log_every=1 text=sentence "
    "distortion=1 warmup_epochs=0"
).split()


@pytest.fixture
def real(slurm_lab: Lab, db: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Launch a tiny pre-training by the real trainer, and return its id."""
    source = slurm_lab.settings_file.read_text().replace(str(FAKE_TRAINER), "trainers.pretrain")
    slurm_lab.settings_file.write_text(source)
    records_in(slurm_lab.settings.data["mimic_cxr"].root)

    def begin(*settings: str, nodes: int = 1, backend: str = "slurm") -> str:
        lab = find_lab(slurm_lab.root)
        overrides = tuple(tuple(one.split("=")) for one in (*TINY, *settings))
        wants = plan.wanted(["convirt"], [], preset="quick", overrides=overrides, again=True)
        where = launch.Where(backend, nodes)
        (launched,) = launch.carry_out(lab, db, plan.plan(wants, []), gpus=0, where=where)
        assert launched.new  # else a run is compared with itself
        agent.ensure_agent(lab, idle_s=60)
        return launched.id

    return begin


def losses(folder: Path) -> list[float]:
    """Return the training losses by step, the later attempt's where two logged one."""
    found: dict[int, float] = {}
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "metrics" and "train/loss" in event["values"]:
            found[event["step"]] = event["values"]["train/loss"]
    return [found[step] for step in sorted(found)]


def test_two_nodes_learn_what_one_process_learns_and_save_together_when_stopped(
    real: Any, db: Any, slurm_lab: Lab, wait_for_state: Any, wait_until: Any
) -> None:
    long = real("steps=100000", "batch_size=4", nodes=2)
    events = folder_of(db, long) / "events.jsonl"
    wait_until(lambda: events.exists() and '"step": 4,' in events.read_text(), limit_s=400)
    one = real("steps=4", "batch_size=8", backend="local")
    (stopped,) = cli("--lab", str(slurm_lab.root), "stop", long, "--json")
    assert stopped["state"] == "stopped"
    assert stopped["reason"].startswith("SIGTERM received; resumable")
    assert (folder_of(db, long) / "checkpoints/last.pt").is_file()
    assert record(db, long, 1)["slurm"]["nodes"] == "n[1-2]"
    two = real("steps=4", "batch_size=4", nodes=2)
    ends = [wait_for_state(id, "succeeded", "failed", "lost", limit_s=400) for id in (two, one)]
    assert [run.state for run in ends] == ["succeeded"] * 2, [run.reason for run in ends]
    theirs, ours = (losses(Path(run.folder)) for run in ends)
    assert len(theirs) == 4
    assert theirs == pytest.approx(ours, rel=1e-5)


@pytest.mark.long  # two trainings, and Slurm's wait before it starts a job anew
def test_a_run_that_was_short_of_time_ends_as_one_that_was_not(
    real: Any, db: Any, wait_for_state: Any, wait_until: Any, cluster: Any
) -> None:
    cut = real("steps=300", "batch_size=8")
    events = folder_of(db, cut) / "events.jsonl"
    wait_until(lambda: events.exists() and '"train/loss"' in events.read_text(), limit_s=400)
    number = wait_until(lambda: runs.get(db, cut).job)
    cluster.ask("scancel", "--batch", "--signal=USR1", number)  # as Slurm does near the limit
    wait_until(lambda: record(db, cut, 1)["ended"], limit_s=400)
    assert record(db, cut, 1)["requeue"], "it was done before it was cut"
    whole = real("steps=300", "batch_size=8", backend="local")
    ended = ("succeeded", "failed", "lost", "stopped")
    ends = [wait_for_state(id, *ended, limit_s=400) for id in (cut, whole)]
    assert [run.state for run in ends] == ["succeeded"] * 2, [run.reason for run in ends]
    assert ends[0].attempt == 2
    theirs, ours = (losses(Path(run.folder)) for run in ends)
    assert (len(theirs), theirs) == (300, ours)
