"""`cxrlab gap`: distances to the papers, and what might explain them, the likeliest first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.comparing import differences, gap
from cxrlab.comparing.differences import TOPIC_OF, TOPICS, Difference
from cxrlab.comparing.gap_page import page
from cxrlab.lab import Lab, make_lab
from store import intake, runs
from store.db import open_store
from trainers.events import EventLog

NOTEBOOK = """03/08/2023 16:11

图像预处理操作差异:
1. 标准化参数不同
2. MRM的图像预训练权重可能不是来自于imagenet，确实不是而是来自于MAE

**执行代码**:
```shell
python -m torch.distributed.launch --nproc_per_node=1 pretrain.py \\
    --accum_iter 2 --batch_size 64 --model mrm --norm_pix_loss --mask_ratio 0.75 --epochs 200 \\
    --warmup_epochs 40 --blr 3e-4 --weight_decay 0.05 \\
    --resume ./pretrained/mae_pretrain_vit_base.pth --data_path /dataset/mimic_cxr/
```

**实验记录**:
<table>
<tr><td></td><td></td><td colspan='3'> 分类任务(NIH Chest X-Ray) </td></tr>
<tr><td> 序号 </td><td> 方法 </td><td> 1%(LR) </td><td> 10%(LR) </td><td> 100%(LR) </td></tr>
<tr><td> (1) </td><td> mrm </td><td> 79.2% (79.4%)</td><td></td><td> 86.0% (85.9%)</td></tr>
</table>
"""
PAPER_RUN = {
    "program": "finetune", "task": "nih", "method": "mrm", "preset": "paper", "ratio": 10,
    "batch_size": 96, "accum_iter": 1, "lr": 0.003, "blr": 1.5e-4, "steps": 30000,
    "mean": 0.4978, "std": 0.2449, "weight_decay": 0.0, "drop_path": 0.1, "seed": 3,
}  # fmt: skip
PAPER_PRETRAINING = {
    "program": "pretrain", "method": "mrm", "preset": "paper", "batch_size": 64, "accum_iter": 4,
    "lr": 0.0, "blr": 1.5e-4, "epochs": 200, "mask_ratio": 0.75,
}  # fmt: skip


def invoke(lab: Lab, *words: str, columns: int = 100) -> Any:
    line = ["--lab", str(lab.root), *words]
    return CliRunner().invoke(cli.app, line, env={"COLUMNS": str(columns)})


def add(lab: Lab, id: str, config: dict[str, Any], result: dict[str, Any], **facts: Any) -> None:
    folder = lab.runs_dir / f"{id}-test"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    values = {
        "id": id, "method": config["method"], "task": "nih", "ratio": 10, "seed": 0,
        "preset": config["preset"], "recipe": id * 8, "folder": str(folder), "parent": None,
        "command": ["true"], "gpus": 0, **facts,
    }  # fmt: skip
    db = open_store(lab.registry)
    runs.add(db, [runs.NewRun(**values)])
    events = EventLog(folder)
    events.result(**result)
    events.end("succeeded")
    events.close()
    intake.take_in(db, id, folder)
    runs.change_state(db, id, "succeeded")
    db.conn.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab with an own run of mrm at 10 %, a toy one of refers, and a notebook."""
    made = make_lab(tmp_path_factory.mktemp("gap") / "lab")
    pretrained = {"path": "/somewhere/ViT-B_16.npz", "run": "", "sha256": "1" * 64}
    add(
        made, "mrmpre", {**PAPER_PRETRAINING, "accum_iter": 2, "mask_ratio": 0.5},
        {"values": {"val/loss": 1.0}, "encoder": pretrained},
        task="pretrain", ratio=None, gpus=1,
    )  # fmt: skip
    data = {"records": {"train": 70, "val": 10, "test": 500},
            "split_sha256": {"train": "a" * 64, "test": "b" * 64}}  # fmt: skip
    add(
        made, "mrmten", {**PAPER_RUN, "lr": 0.001, "steps": 300},
        {"values": {"test/AUROC": 0.82}, "bounds": {"test/AUROC": [0.79, 0.85]}, "data": data,
         "encoder": {"path": "/x/encoder.pt", "run": "mrmpre-test", "sha256": "2" * 64}},
        parent="mrmpre",
    )  # fmt: skip
    add(
        made, "refers", {**PAPER_RUN, "method": "refers", "preset": "quick", "batch_size": 8},
        {"values": {"test/AUROC": 0.6}, "encoder": {"path": "/x/refers_checkpoint.pth"}},
    )  # fmt: skip
    notebook = made.root / "notebook.md"
    notebook.write_text(NOTEBOOK, encoding="utf-8")
    result = invoke(made, "import", "notebook", str(notebook))
    assert result.exit_code == 0, result.stderr
    return made


@pytest.fixture(scope="module")
def told(lab: Lab) -> list[dict[str, Any]]:
    """What `gap --json` says of every cell; the trainers are asked once for all tests."""
    result = invoke(lab, "gap", "--json")
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def cell(told: list[dict[str, Any]], method: str, task: str, ratio: int) -> dict[str, Any]:
    (found,) = [g for g in told if (g["method"], g["task"], g["ratio"]) == (method, task, ratio)]
    return found


def as_gap(one: dict[str, Any]) -> gap.Gap:
    known = {name: value for name, value in one.items() if name != "distance"}
    found = tuple(Difference(**each) for each in one["differences"])
    return gap.Gap(**{**known, "differences": found, "notes": tuple(one["notes"])})


def said(one: dict[str, Any], topic: str, part: str) -> str:
    found = [d["said"] for d in one["differences"] if (d["topic"], d["part"]) == (topic, part)]
    return found[0] if found else ""


def test_the_cell_furthest_behind_comes_first_and_empty_ones_last(told):
    distances = [one["distance"] for one in told]
    known = [d for d in distances if d is not None]
    assert known == sorted(known)
    assert distances[len(known) :] == [None] * (len(told) - len(known))
    assert told[0]["method"] == "refers"


def test_a_runs_distance_stands_with_its_interval_and_source(told):
    one = cell(told, "mrm", "nih", 10)
    assert (one["origin"], one["where"], one["paper"]) == ("runs", "mrmten", 0.84)
    assert one["distance"] == pytest.approx(0.82 - 0.84)
    assert (one["low"], one["high"], one["n"]) == (0.79, 0.85, 1)
    assert "ICLR 2023" in one["source"]
    assert "the paper's number is within the 95 % interval over test patients" in one["notes"]
    assert any("one run" in note for note in one["notes"])


def test_settings_are_held_against_the_papers_preset(told):
    one = cell(told, "mrm", "nih", 10)
    assert said(one, "schedule", "fine-tuning") == "`steps` 300 against 30000"
    rate = said(one, "batch and learning rate", "fine-tuning")
    assert rate == "learning rate 0.001 against 0.003, at the same effective batch of 96"
    assert said(one, "objective", "pre-training") == "`mask_ratio` 0.5 against 0.75"
    assert said(one, "optimiser", "fine-tuning") == ""
    assert said(one, "normalisation", "fine-tuning") == ""


def test_the_pre_training_behind_a_run_is_held_against_the_papers_too(told):
    one = cell(told, "mrm", "nih", 10)
    assert said(one, "batch and learning rate", "pre-training") == (
        "effective batch 128 (64 x 2 x 1) against 256 (64 x 4 x 1), "
        "learning rate 7.5e-05 against 0.00015"
    )
    assert said(one, "initial weights", "pre-training") == (
        "`imagenet` against MAE's ViT-B/16, trained on ImageNet's images without labels"
    )
    assert "500 images" in said(one, "data", "")
    assert "22,433" in said(one, "data", "")


def test_differences_come_in_the_stated_order(told):
    for one in told:
        ranks = [TOPICS.index(each["topic"]) for each in one["differences"]]
        assert ranks == sorted(ranks)
    assert cell(told, "refers", "nih", 10)["differences"][0]["topic"] == "preset"


def test_grey_values_that_are_not_the_encoders_are_a_difference(told):
    one = cell(told, "refers", "nih", 10)
    assert said(one, "normalisation", "fine-tuning") == (
        "mean 0.4978, deviation 0.2449 against mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225"
    )


def test_the_authors_own_encoder_is_no_difference_in_pre_training(told):
    parts = {d["part"] for d in cell(told, "refers", "nih", 10)["differences"]}
    assert parts == {"fine-tuning"}


def test_a_notebooks_launch_line_is_held_against_the_paper(told):
    one = cell(told, "mrm", "nih", 1)
    assert (one["origin"], one["value"]) == ("notebook", 0.792)
    assert said(one, "batch and learning rate", "pre-training") == (
        "effective batch 128 (64 x 2 x 1) against 256 (64 x 4 x 1), "
        "at the same absolute learning rate of 0.00015"
    )
    assert said(one, "schedule", "pre-training") == ""  # 200 epochs, 40 of warm-up, as published
    assert any("its fine-tuning is not recorded" in note for note in one["notes"])


def test_a_notebooks_own_remarks_are_told_as_such(told):
    one = cell(told, "mrm", "nih", 100)
    assert "标准化参数不同" in said(one, "normalisation", "")
    assert "MAE" in said(one, "initial weights", "")
    assert "notebook.md:5" in said(one, "initial weights", "")


def test_a_number_that_is_not_the_authors_own_says_so(told):
    assert any("Not the authors" in note for note in cell(told, "convirt", "nih", 10)["notes"])


def test_people_get_the_same_with_the_rest_left_out(told):
    mrm = [as_gap(one) for one in told if one["method"] == "mrm"]
    lines = page(mrm, columns=90, everything=False)
    assert lines[0] == "mrm nih 10 % AUROC: -2.0 (82.0 (1), paper 84.0)"
    assert lines[1].startswith("   1. data:")
    assert any("further differences; `--all` tells them" in line for line in lines)
    assert "no number of this lab yet: mrm siim_legacy 10 % Dice" in " ".join(lines)
    assert max(map(len, lines)) <= 90
    everything = "\n".join(page(mrm, columns=90, everything=True))
    assert "`--all`" not in everything
    assert "the paper's number: Zhou et al." in everything


def test_what_a_notebook_says_does_nothing_to_the_terminal(told):
    one = as_gap(cell(told, "mrm", "nih", 100))
    remark = Difference("data", "", "see \x1b]0;title\x07 here")
    lines = page([replace(one, differences=(remark,))], columns=90, everything=False)
    assert "\x1b]" not in "".join(lines)
    assert "see ␛]0;title␇ here" in "".join(lines)


def test_an_unknown_method_ends_with_3(lab):
    result = invoke(lab, "gap", "mrn")
    assert (result.exit_code, "did you mean `mrm`" in result.stderr) == (3, True)


def test_every_setting_of_every_trainer_has_a_topic_or_is_left_out_on_purpose():
    import dataclasses

    from trainers import catalog, finetune, pretrain
    from trainers.training import Training

    classes = [pretrain.Config, finetune.Config, Training]
    classes += [pretrain.method_module(name).Config for name in pretrain.pretrainable()]
    classes += [finetune.task_module(name).Config for name in catalog.main_tasks()]
    names = {f.name for c in classes for f in dataclasses.fields(c)}
    other = {"precision", "batch", "beam_size", "threshold", "max_length", "min_length"}
    known = {*TOPIC_OF, *differences._NOT_COMPARED, *other}
    assert names - known == set()
    assert set(TOPIC_OF.values()) <= set(TOPICS)


def test_the_same_rate_at_another_batch_is_said_to_be_the_same():
    ours = {"batch_size": 64, "accum_iter": 2, "lr": 0.0, "blr": 3e-4}
    theirs = {"batch_size": 64, "accum_iter": 4, "lr": 0.0, "blr": 1.5e-4}
    (one,) = differences.of_settings(ours, theirs, part="pre-training")
    assert one.said.endswith("at the same absolute learning rate of 0.00015")
    assert differences.of_settings(ours, theirs, part="pre-training", processes=2)[0].said == (
        "learning rate 0.0003 against 0.00015, at the same effective batch of 256"
    )
    assert differences.of_settings(theirs, theirs, part="pre-training") == []


def test_what_says_where_or_which_repeat_is_no_difference():
    ours = {"seed": 1, "output_dir": "a", "recipe": "b", "num_workers": 4, "own": 3}
    theirs = {"seed": 2, "output_dir": "c", "recipe": "d", "num_workers": 8}
    assert differences.of_settings(ours, theirs, part="fine-tuning") == []


def test_grey_values_are_equal_however_they_are_written():
    assert differences.normalisation([0.5], [0.5, 0.5, 0.5])
    assert not differences.normalisation([0.5], [0.5, 0.4, 0.5])


def test_a_difference_is_told_once():
    one = Difference("data", "", "x")
    late = Difference("optimiser", "fine-tuning", "y")
    assert differences.ranked([late, one, one]) == [one, late]


def test_files_are_called_by_their_published_names():
    assert gap.published_name("./pretrained/mae_pretrain_vit_base.pth") == "mae"
    assert gap.published_name("mae_pretrain_vit_base_full.pth") == "mae"
    assert gap.published_name("/x/mine.pth") == "mine.pth"
    assert gap.initial_of([]) == "random"


def test_every_recipe_of_a_paper_names_a_method_and_known_weights():
    from cxrlab.assets import weights
    from trainers.catalog import METHODS, TASKS

    recipes, lists = gap.read_recipes()
    assert set(recipes) <= set(METHODS)
    assert {recipe["initial"] for recipe in recipes.values()} <= set(weights.read_table())
    assert set(lists) <= set(TASKS)
    assert Path(gap.RECIPES).is_file()
