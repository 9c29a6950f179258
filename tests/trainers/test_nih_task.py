"""Do the classifications of ChestX-ray14 and of the COVID-19 collection read and score?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers import finetune, scores
from trainers.config import MissingError, resolve
from trainers.data import nih
from trainers.data.batch import Seeded, collate
from trainers.tasks import covid, covid_viral
from trainers.tasks import nih as task
from trainers.training import Training

CONFIG = task.Config(image_px=32, drop_path=0.0, crop_min=0.6)
PARTS = {"train": range(24), "val": range(24, 36), "test": range(36, 48)}


def name(i: int) -> str:
    return f"{i:08d}_000"


def bits(i: int) -> list[int]:
    return [int((i + c) % 3 == 0) for c in range(14)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """ChestX-ray14 by MRM's lists; images in folders with a blank and Chinese characters above."""
    root = tmp_path / "胸 片"
    (root / "images_001" / "images").mkdir(parents=True)
    for i in range(48):
        image = np.random.default_rng(i).integers(0, 255, (40, 36), dtype=np.uint8)
        Image.fromarray(image).save(root / "images_001" / "images" / f"{name(i)}.png")
    for part, places in PARTS.items():
        lines = [f"{name(i)}.png {' '.join(map(str, bits(i)))}\n" for i in places]
        (root / f"{part}_list.txt").write_text("".join(lines))
    return root


def test_items_carry_fourteen_labels_and_the_scores_name_each(folder: Path) -> None:
    splits = task.open_splits(CONFIG, folder, ratio=100, seed=0)
    batch = collate([splits.test.item(i, np.random.default_rng(0)) for i in range(12)])
    assert batch["image"].shape == (12, 3, 32, 32)
    assert batch["label"].tolist() == [bits(i) for i in PARTS["test"]]
    arrays = task.join([task.collect(batch, {"logit": batch["label"].float()})])
    values = task.score(arrays)
    assert values["AUROC"] == 1
    assert set(values) == {"AUROC", *(f"AUROC/{label}" for label in nih.CLASSES)}


def test_torn_and_empty_images_are_named_and_the_rest_of_the_batch_goes_on(folder: Path) -> None:
    splits = task.open_splits(CONFIG, folder, ratio=100, seed=0)
    empty, torn = (splits.train.cases[i].image for i in (0, 1))
    empty.write_bytes(b"")
    torn.write_bytes(torn.read_bytes()[:200])
    items = Seeded(splits.train, 0)
    batch = collate([items[0, i] for i in range(4)])
    assert [Path(bad.path).name for bad in batch["skipped"]] == [f"{name(0)}.png", f"{name(1)}.png"]
    assert batch["name"] == [name(2), name(3)]


def test_a_folder_of_images_is_tested_by_the_labels_that_name_them(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = tmp_path / "Data_Entry_2017.csv"
    rows = [",".join([*nih.TABLE_COLUMNS, "View Position"])]
    rows += [f"{name(i)}.png,{'Effusion|Mass' if i % 2 else 'No Finding'},{i},PA" for i in (3, 4)]
    labels.write_text("\n".join([*rows, f"{name(99)}.png,Edema,99,PA"]) + "\n")
    found = task.open_folder(CONFIG, folder, labels)
    assert [(case.name, case.patient, sum(case.labels)) for case in found.cases] == [
        (name(3), "3", 2), (name(4), "4", 0)
    ]  # fmt: skip
    assert found.missing == 1
    assert name(99) in caplog.text
    assert found.item(0, np.random.default_rng(0))["label"].tolist() == list(found.cases[0].labels)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingError, match="none of the 3 images"):
        task.open_folder(CONFIG, empty, labels)


@pytest.mark.parametrize(("module", "column"), [(covid, "is_covid"), (covid_viral, "is_viral")])
def test_a_folder_of_the_covid_collection_is_tested_by_a_table_or_a_list(
    folder: Path, tmp_path: Path, module: object, column: str
) -> None:
    config = module.Config(image_px=32)  # type: ignore[attr-defined]
    table = tmp_path / "own.csv"
    table.write_text(f"name,{column}\n{name(1)},1\n{name(2)},0\n")
    listed = tmp_path / "list.txt"
    listed.write_text(f"{name(1)}.jpg 1\n{name(2)}.jpg 0\n")
    for labels in (table, listed):
        found = module.open_folder(config, folder, labels)  # type: ignore[attr-defined]
        assert [case.labels for case in found.cases] == [(1,), (0,)]


@pytest.mark.parametrize(
    ("preset", "ratio", "steps", "lr", "warmup"),
    [
        ("paper", 1, 3_000, 3e-2, 50),
        ("paper", 10, 30_000, 3e-3, 500),
        ("paper", 100, 200_000, 3e-3, 5_000),
    ],
)
def test_the_schedule_grows_with_the_labels_as_published(
    preset: str, ratio: int, steps: int, lr: float, warmup: int
) -> None:
    chosen = {**task.PRESETS[preset], **task.BY_RATIO.get((preset, ratio), {})}
    training, config = resolve([Training, task.Config], preset=chosen, given={})
    assert (training.steps, training.lr, training.warmup_steps) == (steps, lr, warmup)
    assert (training.batch_size, training.momentum, training.weight_decay) == (96, 0.9, 0)
    assert (config.image_px, config.drop_path) == (224, 0.1)


@pytest.mark.parametrize("module", [covid, covid_viral])
def test_the_covid_recipe_is_the_published_one(module: object) -> None:
    chosen = module.PRESETS["paper"]  # type: ignore[attr-defined]
    training, _ = resolve([Training, module.Config], preset=chosen, given={})  # type: ignore[attr-defined]
    assert (training.steps, training.lr, training.warmup_steps) == (1_000, 3e-2, 50)


def test_the_recipe_says_which_lists_the_folder_has(folder: Path, tmp_path: Path) -> None:
    line = ["--task", "nih", "--preset", "quick", "--data_path", str(folder)]
    ours = finetune.configure(line).flat
    assert ours["split"] == "mrm"
    official = tmp_path / "official"
    official.mkdir()
    (official / "train_val_list.txt").write_text("a.png\n")
    theirs = finetune.configure([*line[:-1], str(official)]).flat
    assert theirs["split"] == "official"
    assert ours["recipe"] != theirs["recipe"]


def test_a_few_steps_end_with_a_result_that_says_what_it_was_tested_on(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    line = [
        "--task", "nih", "--preset", "quick", "--data_path", str(folder), "--output_dir", str(run),
        "--device", "cpu", "--threads", "1", "--image_px", "32", "--steps", "2",
        "--warmup_steps", "0", "--eval_every", "2",
    ]  # fmt: skip
    assert finetune.main(line) == 0
    result = json.loads((run / "result.json").read_text())
    assert 0 <= result["values"]["test/AUROC"] <= 1
    assert result["selected_by"] == "val/AUROC"
    assert result["data"]["split"] == "MRM's lists"
    assert len(result["bounds"]) == 15
    with np.load(run / "predictions_val.npz") as kept:
        assert kept["names"].tolist() == [name(i) for i in PARTS["val"]]
        assert scores.label_scores(kept)["AUROC"] == result["values"]["val/AUROC"]
