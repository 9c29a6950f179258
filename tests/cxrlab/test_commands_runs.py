from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, console
from cxrlab.lab import Lab
from store import intake, runs
from trainers.events import EventLog

KEYS = ("id", "method", "task", "ratio", "seed", "state", "reason")


def invoke(lab: Lab, *words: str, columns: int = 80) -> Any:
    return CliRunner().invoke(
        cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": str(columns)}
    )


def document(lab: Lab, *words: str) -> Any:
    result = invoke(lab, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_an_empty_lab_says_what_to_type_next(lab: Lab) -> None:
    result = invoke(lab, "runs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "cxrlab launch" in result.stderr


def test_runs_are_listed_newest_first_with_the_keys_of_the_contract(lab: Lab, new_run: Any) -> None:
    made = [new_run(method="mrm", task="siim", ratio=10) for _ in range(3)]
    found = document(lab, "runs")
    assert [run["id"] for run in found] == [run.id for run in reversed(made)]
    assert all(key in run for run in found for key in KEYS)
    assert (found[0]["task"], found[0]["ratio"], found[0]["state"]) == ("siim", 10, "queued")


def test_the_table_fits_80_columns_and_loses_no_reason(lab: Lab, db: Any, new_run: Any) -> None:
    reason = "CUDA out of memory while reading " + "/a/very/long/folder/name" * 2 + " and so on"
    run = new_run(method="deep_mrm", task="shenzhen_lungs", ratio=100, seed=123456)
    runs.change_state(db, run.id, "failed", reason=reason)
    said = invoke(lab, "runs").stdout
    assert max(map(console.length, said.splitlines())) <= 80
    assert reason.replace(" ", "") in "".join(said.split())
    for word in (run.id, "failed", "deep_mrm", "shenzhen_lungs", "100 %", "123456"):
        assert word in said


def test_filters_choose_and_limits_say_what_is_left_out(lab: Lab, db: Any, new_run: Any) -> None:
    kept = new_run(method="deep_mrm", task="siim", ratio=10)
    new_run(method="mrm")
    stopped = new_run(method="mrm")
    runs.change_state(db, stopped.id, "stopped")
    assert [run["id"] for run in document(lab, "runs", "--method", "deep_mrm")] == [kept.id]
    assert [run["id"] for run in document(lab, "runs", "--state", "stopped")] == [stopped.id]
    assert len(document(lab, "runs", "--task", "pretrain")) == 2
    result = invoke(lab, "runs", "-n", "1")
    assert "2 older ones not shown" in result.stderr


def test_a_filter_finds_runs_by_what_they_were_set_to(lab: Lab, new_run: Any) -> None:
    made = [
        new_run(method="mrm", task="siim", ratio=10, seed=seed, recipe=f"{seed:064}")
        for seed in range(3)
    ]
    for run in made:
        folder = Path(run.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"blr": 1e-4 * (1 + run.seed)}))
    found = document(lab, "runs", "--filter", "blr>1.5e-4 seed<2")
    assert [run["id"] for run in found] == [made[1].id]
    both = document(lab, "runs", "--filter", "task:siim", "--method", "mrm")
    assert [run["id"] for run in both] == [run.id for run in reversed(made)]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--filter", "state:runing"), "running"),
        (("--filter", "metod:mrm"), "method"),
        (("--state", "runing"), "running"),
        (("--method", "deep_mmr"), "deep_mrm"),
        (("--task", "shenzen"), "shenzhen"),
    ],
)
def test_an_unknown_filter_names_the_nearest(lab: Lab, words: tuple[str, str], hint: str) -> None:
    result = invoke(lab, "runs", *words)
    assert result.exit_code == 3
    assert f"did you mean `{hint}`?" in result.stderr


def test_when_nothing_fits_it_says_so(lab: Lab, new_run: Any) -> None:
    new_run()
    result = invoke(lab, "runs", "--state", "failed")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "the only run does not fit" in result.stderr


def test_a_queue_that_nobody_starts_is_told(lab: Lab, new_run: Any) -> None:
    new_run()
    assert "cxrlab agent start" in invoke(lab, "runs").stderr


def test_an_ambiguous_prefix_lists_the_candidates(lab: Lab, new_run: Any) -> None:
    new_run(id="abcdef")
    new_run(id="abcxyz")
    result = invoke(lab, "show", "abc")
    assert result.exit_code == 2
    assert "abcdef" in result.stderr
    assert "abcxyz" in result.stderr
    assert invoke(lab, "show", "abcd").exit_code == 0


def test_an_unknown_run_is_exit_3(lab: Lab) -> None:
    for command in ("show", "logs", "stop", "resume", "retry"):
        result = invoke(lab, command, "zzzzzz")
        assert result.exit_code == 3
        assert result.stderr.startswith("error: no run is called `zzzzzz`")


def trained(db: Any, run: runs.Run, **result: Any) -> None:
    events = EventLog(Path(run.folder))
    events.start(0, total_steps=10)
    events.progress(10, 10, eta_s=0.0)
    events.warning("image is broken", path="x.png")
    events.checkpoint("best", "checkpoints/best.pt", step=10, sha256="b" * 64)
    if run.task == "pretrain":
        events.checkpoint("encoder", "checkpoints/encoder.pt", step=10, sha256="e" * 64)
    events.result(**result)
    events.end("succeeded")
    intake.take_in(db, run.id, Path(run.folder))
    runs.change_state(db, run.id, "succeeded")


def test_show_tells_results_origin_checkpoints_and_warnings(
    lab: Lab, db: Any, new_run: Any
) -> None:
    parent = new_run(method="deep_mrm")
    trained(db, parent, values={"val/loss": 1.0})
    run = new_run(
        method="deep_mrm", task="siim", ratio=10, parent=parent.id, needs=(parent.id,),
        command=["python", "a b"],
    )  # fmt: skip
    trained(
        db, run, values={"test/Dice": 0.7294, "val/Dice": 0.7}, selected_by="val/Dice",
        bounds={"test/Dice": [0.70, 0.75]}, checkpoint="checkpoints/best.pt", skipped=2,
        checkpoint_sha256="b" * 64,
        encoder={"path": f"{parent.folder}/checkpoints/encoder.pt", "sha256": "e" * 64,
                 "run": Path(parent.folder).name},
    )  # fmt: skip
    known = document(lab, "show", run.id)
    assert all(key in known for key in KEYS)
    assert known["encoder"]["run"] == parent.id
    assert known["encoder"]["sha256"] == "e" * 64
    number = {"metric": "test/Dice", "value": 0.7294, "low": 0.7, "high": 0.75}
    meaning = {"unit": "share", "better": "higher", "averaging": "mean over test images"}
    chosen = {"selection": "test at best validation Dice"}
    assert known["results"][0].items() >= (number | meaning | chosen).items()
    assert known["checkpoints"][0]["sha256"] == "b" * 64
    assert (known["warnings"], known["skipped"]) == (1, 2)
    assert known["attempts"][0]["attempt"] == 1
    said = invoke(lab, "show", run.id).stdout
    for part in (
        "deep_mrm siim 10 %", "succeeded", "test/Dice 72.9", "[70.0, 75.0]", "chosen by val/Dice",
        parent.id, "e" * 64, "b" * 64, "image is broken x.png", run.folder, "python 'a b'",
    ):  # fmt: skip
        assert part in said


def test_show_prints_the_line_of_descent_down_to_published_weights(
    lab: Lab, db: Any, new_run: Any
) -> None:
    first, second = new_run(method="mae"), new_run(method="mrm")
    run = new_run(method="mrm", task="siim", ratio=10, parent=second.id)
    published = {"path": "/pretrained/mae_pretrain_vit_base.pth", "run": None, "sha256": "0" * 64}
    trained(db, first, values={"val/loss": 1.0}, selected_by="last epoch", encoder=published)
    for made, start in ((second, first), (run, second)):
        path = f"{start.folder}/checkpoints/encoder.pt"
        started = {"path": path, "run": Path(start.folder).name, "sha256": start.id[0] * 64}
        trained(db, made, values={"val/loss": 1.0}, selected_by="last epoch", encoder=started)
    known = document(lab, "show", run.id)
    assert known["descent"][0] == known["encoder"]
    assert [each["run"] for each in known["descent"]] == [second.id, first.id, None]
    assert known["descent"][2]["sha256"] == "0" * 64
    said = invoke(lab, "show", run.id).stdout
    line = ("siim 10 %", f"of run {second.id}", f"of run {first.id}", "mae_pretrain_vit_base.pth")
    places = [said.index(part) for part in (*line, "0" * 64)]
    assert places == sorted(places)


def test_show_of_a_waiting_run_names_the_run_it_will_start_from(
    lab: Lab, db: Any, new_run: Any
) -> None:
    parent = new_run()
    run = new_run(task="siim", ratio=10, parent=parent.id, needs=(parent.id,))
    known = document(lab, "show", run.id)
    assert known["state"] == "blocked"
    assert (known["encoder"]["run"], known["encoder"]["sha256"]) == (parent.id, None)
    assert f"waits for {parent.id}" in invoke(lab, "show", run.id).stdout


def test_the_grid_shows_a_result_and_its_json_has_the_keys_of_the_contract(
    lab: Lab, db: Any, new_run: Any
) -> None:
    trained(
        db,
        new_run(task="siim_legacy", ratio=10),
        values={"test/Dice": 0.7294},
        selected_by="val/Dice",
    )
    assert "72.9 (1) [73.2]" in invoke(lab, "grid").stdout
    cells = document(lab, "grid")
    wanted = (
        "method",
        "task",
        "ratio",
        "metric",
        "value",
        "sd",
        "n",
        "low",
        "high",
        "paper",
        "state",
    )
    assert all(key in cell for cell in cells for key in wanted)
    (cell,) = [c for c in cells if c["value"] is not None]
    assert (cell["task"], cell["ratio"], cell["value"], cell["paper"]) == (
        "siim_legacy",
        10,
        0.7294,
        0.732,
    )


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_the_grid_fits_the_terminal(lab: Lab, columns: int) -> None:
    said = invoke(lab, "grid", columns=columns).stdout
    assert max(map(console.length, said.splitlines())) <= columns
    assert "deep_mrm" in said


def test_an_empty_grid_says_what_to_type(lab: Lab) -> None:
    assert "cxrlab launch" in invoke(lab, "grid").stderr


def test_export_prints_markdown_and_puts_it_into_a_file(lab: Lab, tmp_path: Path) -> None:
    printed = invoke(lab, "export", "--format", "markdown")
    assert printed.stdout.startswith("| method ")
    file = tmp_path / "README.md"
    file.write_text("a\n<!-- cxrlab:grid -->\n<!-- /cxrlab:grid -->\nb\n")
    assert invoke(lab, "export", "--into", str(file)).exit_code == 0
    assert printed.stdout.strip() in file.read_text()
    result = invoke(lab, "export", "--into", str(tmp_path / "none.md"))
    assert result.exit_code == 3
    file.write_text("nothing\n")
    assert invoke(lab, "export", "--into", str(file)).exit_code == 4


def test_show_puts_every_dice_beside_what_predicting_nothing_scores(
    lab: Lab, db: Any, new_run: Any
) -> None:
    run = new_run(method="mrm", task="siim_legacy", ratio=10)
    values = {
        "Dice": 0.73,
        "Dice_nothing": 0.647,
        "Dice_unseen": 0.96,
        "Dice_unseen_nothing": 0.958,
    }
    events = EventLog(Path(run.folder))
    events.result(
        values={f"test/{name}": value for name, value in values.items()},
        data={"split_sha256": {"train": "a" * 64, "val": "b" * 64, "test": "c" * 64}},
    )
    events.end("succeeded")
    intake.take_in(db, run.id, Path(run.folder))
    runs.change_state(db, run.id, "succeeded")
    said = invoke(lab, "show", run.id, columns=120).stdout
    assert "test/Dice 73.0, predicting nothing 64.7" in said
    assert "test/Dice_unseen 96.0, predicting nothing 95.8" in said
    assert f"split train {'a' * 12}, val {'b' * 12}, test {'c' * 12}" in said
    (cell,) = [c for c in document(lab, "grid") if c["task"] == "siim_legacy" and c["n"]]
    assert (cell["floor"], cell["test_split"], cell["not_comparable"]) == (0.647, "c" * 64, "")


def test_show_tells_the_next_step_and_what_was_noted(lab: Lab, db: Any, new_run: Any) -> None:
    run = new_run()
    runs.change_state(db, run.id, "failed", reason="GPU out of memory: tried to allocate 2 GiB")
    folder = Path(run.folder)
    (folder / "config.json").write_text(json.dumps({"batch_size": 64, "accum_iter": 2}))
    assert invoke(lab, "note", "smaller next time", "--about", run.id).exit_code == 0
    known = document(lab, "show", run.id)
    assert "--set batch_size=32 --set accum_iter=4" in known["next"]
    assert known["notes"] == ["smaller next time"]
    said = " ".join(invoke(lab, "show", run.id).stdout.split())
    assert "note smaller next time" in said
    assert f"`cxrlab clone {run.id} --set batch_size=32" in said


def test_runs_are_tagged_listed_and_found_by_their_tags(lab: Lab, new_run: Any) -> None:
    first, second = new_run(method="mrm"), new_run(method="refers")
    assert document(lab, "tag", first.id, second.id, "+baseline", "+draft")[0] == {
        "id": first.id,
        "tags": ["baseline", "draft"],
    }
    assert document(lab, "tag", second.id, "-draft")[0]["tags"] == ["baseline"]
    assert document(lab, "tag") == {"baseline": 2, "draft": 1}
    assert [run["id"] for run in document(lab, "runs", "--filter", "tag:draft")] == [first.id]
    assert document(lab, "show", first.id)["tags"] == ["baseline", "draft"]
    assert "#baseline #draft" in invoke(lab, "runs").stdout
    assert invoke(lab, "tag", first.id).stdout == f"{first.id}  #baseline #draft\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [(("+x",), "no run is named"), (("{run}", "+a,b"), "is no tag"), (("{run}", "+"), "is no tag")],
)
def test_what_is_no_tag_is_refused(lab: Lab, new_run: Any, words: Any, said: str) -> None:
    run = new_run(method="mrm")
    result = invoke(lab, "tag", *(word.format(run=run.id) for word in words))
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("columns", [79, 60, 40])
def test_a_narrow_terminal_is_told_the_most_that_fits(columns: int, lab: Lab, new_run: Any) -> None:
    run = new_run(method="deep_mrm", task="shenzhen_lungs", ratio=100)
    lines = invoke(lab, "runs", columns=columns).stdout.splitlines()
    assert max(map(console.length, lines)) <= columns
    assert run.id in lines[1]
    assert "shenzhen_lungs" in lines[1] or columns == 40
    head = invoke(lab, "runs", columns=80).stdout.splitlines()[0]
    assert head.split() == ["id", "state", "method", "task", "ratio", "seed", "done", "when"]
