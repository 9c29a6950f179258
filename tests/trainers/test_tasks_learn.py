"""Does every task learn on generated radiographs? `quick` beats a stated floor with three seeds.

`LEARNS` says for each task on what data, over which floor and by which margin; what was measured
stands in docs/task_learning.md. One case alone: `-m long -k "[siim-0]"`; with
`--junitxml FILE -o junit_family=xunit1` the file says what was reached.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou, nms

from trainers import average_precision, catalog, finetune, predictions, report_scores
from trainers.data import findings, generate, phantom, reports
from trainers.data.batch import collate
from trainers.data.pictures import Job, draw
from trainers.modules import detection

SEEDS = (0, 1, 2)

Floor = Callable[[dict[str, float], Any, Any], float]
"""Of a run's values, its task's file and its splits: what no look at the image reaches."""


def chance(values: dict[str, float], module: Any, splits: Any) -> float:
    """AUROC of any score that says nothing of the image."""
    return 0.5


def nothing(values: dict[str, float], module: Any, splits: Any) -> float:
    """Dice of predicting nothing, which beats every other constant mask here."""
    return values["test/Dice_nothing"]


def one_mask(values: dict[str, float], module: Any, splits: Any) -> float:
    """Dice of what is lung in a share of the training masks, of shares the best on the test set."""
    rng = np.random.default_rng(0)
    masks = [splits.train.item(i, rng)["mask"] == 1 for i in range(len(splits.train))]
    often = torch.stack(masks).float().mean(dim=0)  # (P, P)
    tests = [splits.test.item(i, rng) for i in range(len(splits.test))]
    scored = []
    for share in (0.3, 0.4, 0.5, 0.6):
        parts = []
        for item in tests:
            batch = collate([item])
            batch.pop("skipped")
            parts.append(module.collect(batch, {"margin": often[None] - share}))
        scored.append(module.score(module.join(parts))["Dice"])
    return max(scored)


def same_boxes(values: dict[str, float], module: Any, splits: Any) -> float:
    """Score of giving every test image the boxes that training images have most."""
    boxes = np.array([box for case in splits.train.cases for box in case.boxes])
    corners = torch.tensor(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
    score = box_iou(corners, corners).mean(dim=1)
    kept = nms(corners, score, detection.NMS_IOU)[: detection.MOST].numpy()
    items = [
        predictions.Boxed(
            case.name, case.patient, (64, 64), boxes[kept], score.numpy()[kept],
            np.array(case.boxes, float).reshape(-1, 4),
        )
        for case in splits.test.cases
    ]  # fmt: skip
    return average_precision.box_scores(predictions.join_boxes([items]))["mAP"]


def one_report(values: dict[str, float], module: Any, splits: Any) -> float:
    """BLEU-4 of the training report that is most like all of them, under every image."""
    return values["test/BLEU-4_constant"]


class Learns(NamedTuple):
    """What a task learns from, and what it must then score."""

    data: tuple[str, int, int]
    """Whose generator, how many images, and their side (pixels)."""
    floor: Floor
    margin: float
    """Over the floor, in the task's metric."""
    options: tuple[str, ...] = ()
    """Of the fine-tuning, beyond `--preset quick`."""


LEARNS = {
    "nih": Learns(("nih", 1000, 96), chance, 0.08),
    "siim": Learns(("siim", 500, 64), nothing, 0.15),
    "shenzhen": Learns(("shenzhen", 400, 96), chance, 0.2),
    "shenzhen_lungs": Learns(("shenzhen", 400, 96), one_mask, 0.1),
    "covid": Learns(("covid", 700, 96), chance, 0.15, ("--lr", "1e-3", "--steps", "200")),
    "covid_viral": Learns(("covid", 700, 96), chance, 0.15, ("--lr", "1e-3", "--steps", "200")),
    "rsna": Learns(("rsna", 700, 64), same_boxes, 0.04),
    "report": Learns(("large", 400, 64), one_report, 0.06),
}


def draw_large(root: Path, count: int, px: int) -> None:
    """Draw radiographs with one large finding of three, or none, and write their reports.

    With all fourteen findings at any size `quick` sees too little to beat the constant report.
    """
    names = ("Effusion", "Consolidation", "Pneumothorax")
    rows = [("image_path", "report_content", "patient_id", "split")]
    for number in range(count):
        rng = np.random.default_rng([5, number])
        body, view = phantom.draw_anatomy(rng), phantom.draw_view(rng)
        found: tuple[findings.Finding, ...] = ()
        if rng.random() < 0.75:
            name = names[int(rng.integers(len(names)))]
            drawn = (findings.DRAW[name](rng) for _ in itertools.count())
            found = (next(finding for finding in drawn if finding.size == "large"),)
        written = reports.write(found, worn=(), anatomy=body, projection=view.projection,
                                follow_up=False, rng=rng)  # fmt: skip
        job = Job(path=f"images/{number}.png", px=px, anatomy=body, view=view, findings=found)
        draw(job, root)
        part = "test" if number % 5 == 0 else "val" if number % 10 == 1 else "train"
        rows.append((job.path, written.flat, f"P{number}", part))
    with (root / "training.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int, int], Path]:
    """Generate each set once, when it is first asked for."""
    made: dict[tuple[str, int, int], Path] = {}

    def generated(name: str, count: int, px: int) -> Path:
        root = tmp_path_factory.mktemp(name)
        if name == "large":
            draw_large(root, count, px)
            return root
        few = [word for other in generate.COLLECTIONS for word in (f"--{other}", "0")]
        line = ["--out", str(root / "all"), *few, f"--{name}", str(count), "--image_px", str(px)]
        assert generate.main([*line, "--workers", "1"]) == 0
        return root / "all" / generate.COLLECTIONS[name].folder

    def of(name: str, count: int, px: int) -> Path:
        key = (name, count, px)
        if key not in made:
            made[key] = generated(*key)
        return made[key]

    return of


def test_the_table_has_a_margin_for_every_task() -> None:
    assert set(LEARNS) == set(catalog.main_tasks())
    assert all(each.margin > 0 for each in LEARNS.values())


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", LEARNS)
def test_quick_beats_what_no_look_at_the_image_reaches(
    task: str,
    seed: int,
    folder_of: Callable[[str, int, int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setattr(report_scores, "_meteor", lambda pairs: None)  # Java takes ten seconds
    learns = LEARNS[task]
    folder, run = folder_of(*learns.data), tmp_path / "run"
    line = [
        "--task", task, "--preset", "quick", "--data_path", str(folder), "--output_dir", str(run),
        "--seed", str(seed), "--device", "cpu", "--threads", "1", *learns.options,
    ]  # fmt: skip
    assert finetune.main(line) == 0
    result = json.loads((run / "result.json").read_text())
    _, _, config = finetune.configure(line).configs
    module = finetune.task_module(task)
    splits = module.open_splits(config, folder, ratio=100, seed=0)
    floor = learns.floor(result["values"], module, splits)
    reached = result["values"][f"test/{result['metric']}"]
    for name, value in (("reached", reached), ("floor", floor), ("s", result["train_seconds"])):
        record_property(name, value)  # for `--junitxml`
    assert reached > floor + learns.margin
