"""Does the detection task run from a folder to a score that can be computed again?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers import catalog, evaluate, finetune, overlays, predictions
from trainers.config import resolve
from trainers.data import generate
from trainers.data.batch import collate
from trainers.tasks import rsna
from trainers.training import Training


def write_generated(root: Path, count: int, px: int) -> Path:
    others = set(generate.COLLECTIONS) - {"rsna"}
    none = [word for name in sorted(others) for word in (f"--{name}", "0")]
    line = ["--out", str(root), "--rsna", str(count), "--image_px", str(px), "--workers", "1"]
    assert generate.main([*line, *none]) == 0
    return root / "rsna"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generated(tmp_path_factory.mktemp("generated"), 30, 64)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two updates with the preset for a CPU; one test image is cut short."""
    path = tmp_path_factory.mktemp("run")
    argv = ["--task", "rsna", "--preset", "quick", "--data_path", str(folder), "--steps", "2",
            "--warmup_steps", "0", "--eval_every", "2", "--batch_size", "4", "--output_dir",
            str(path), "--device", "cpu", "--threads", "1"]  # fmt: skip
    name = (folder / "test_list.txt").read_text().split()[0]
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:1500])
    try:
        assert finetune.main(argv) == 0
    finally:
        (folder / name).write_bytes(whole)
    return path


def test_a_run_ends_with_the_published_and_the_full_metric_and_says_which_is_which(run, folder):
    result = json.loads((run / "result.json").read_text())
    assert result["metric"] == catalog.TASKS["rsna"].metric == rsna.METRIC == "mAP"
    names = {"mAP", "AP50", "AP_coco", "mAP_mgca", "mgca_share"}
    assert {f"test/{name}" for name in names} <= result["values"].keys()
    assert {f"test/{name}" for name in names} == result["bounds"].keys()
    assert result["selected_by"] == "val/mAP"
    assert result["skipped"] == 1
    assert result["data"]["boxes"] > 0
    tested = len((folder / "test_list.txt").read_text().splitlines())
    with np.load(run / "predictions.npz") as arrays:
        assert len(arrays["names"]) == tested - 1


def test_every_metric_is_computed_again_from_the_predictions(run):
    result = json.loads((run / "result.json").read_text())
    again = evaluate.recompute("rsna", [run / "predictions.npz"], seed=0)
    for name, value in again["values"].items():
        assert value == pytest.approx(result["values"][name], nan_ok=True)


def test_pictures_show_true_and_predicted_boxes(run):
    result = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    shown = [event for event in result if event["kind"] == "sample"]
    assert shown
    for event in shown:
        path = next(v for v in event.values() if str(v).endswith(".png"))
        assert Image.open(run / path).size == (overlays.SIDE_PX, overlays.SIDE_PX)


def test_boxes_come_back_in_the_pixels_of_the_original():
    batch = {
        "name": ["a"], "patient": ["p"], "height": torch.tensor([50]), "width": torch.tensor([200]),
        "scale": torch.tensor([[0.32, 0.32]]), "truth": [np.array([[10.0, 5.0, 20.0, 15.0]])],
    }  # fmt: skip
    boxes = torch.tensor([[[3.2, 1.6, 9.6, 6.4], [0.0, 20.0, 9.0, 30.0], [0.0, 0.0, 0.0, 0.0]]])
    said = {"boxes": boxes, "score": torch.tensor([[0.9, 0.8, 0.0]])}
    arrays = rsna.join([rsna.collect(batch, said)])
    found, score, truth = predictions.boxes_of(arrays, 0)
    assert found == pytest.approx(truth, abs=1e-4)  # the second lay in the padding
    assert score == pytest.approx([0.9])
    assert rsna.score(arrays)["mAP"] == pytest.approx(1)


def test_the_picture_has_a_blue_and_an_orange_frame_where_the_boxes_are():
    image = Image.new("L", (128, 128))
    drawn = overlays.draw_boxes(
        image, np.array([[64.0, 64, 32, 32]]), np.array([0.5]), np.array([[16.0, 80, 24, 24]])
    )
    pixels = np.asarray(drawn)
    assert pixels[300, 256].tolist() == list(overlays.PREDICTED)
    assert pixels[360, 64].tolist() == list(overlays.TRUE)
    assert pixels[300, 300].tolist() == [0, 0, 0]


def test_any_folder_can_be_tested_on_with_the_competitions_table(folder, tmp_path):
    config = rsna.Config(image_px=32)
    table = folder / "stage_2_train_labels.csv"
    unseen = rsna.open_folder(config, folder, table)
    assert (len(unseen), unseen.missing) == (30, 0)
    test = rsna.open_splits(config, folder, ratio=100, seed=0).test
    rng = np.random.default_rng(0)
    same = next(i for i, case in enumerate(unseen.cases) if case.name == test.cases[0].name)
    assert torch.equal(unseen.item(same, rng)["image"], test.item(0, rng)["image"])
    few = tmp_path / "few"
    few.mkdir()
    for case in unseen.cases[:2]:
        (few / case.image.name).write_bytes(case.image.read_bytes())
    some = rsna.open_folder(config, few, table)
    assert (len(some), some.missing) == (2, 28)


@pytest.mark.parametrize("preset", ["paper", "quick"])
@pytest.mark.parametrize("ratio", [1, 10, 100])
def test_each_preset_names_settings_that_exist(preset, ratio):
    chosen = {**rsna.PRESETS[preset], **rsna.BY_RATIO.get((preset, ratio), {})}
    training, config = resolve([Training, rsna.Config], preset=chosen, given={})
    if preset == "paper":
        assert (config.head, config.freeze, config.image_px) == ("yolo", True, 224)
        assert (training.lr, training.batch_size) == ((2e-4, 8) if ratio == 1 else (5e-4, 16))


@pytest.mark.data
@pytest.mark.parametrize(
    ("images", "labels", "count"),
    [
        ("nih_mass_nodule/images", "nih_mass_nodule/boxes.csv", 40),
        ("shenzhen/images", "shenzhen/lung_boxes.csv", 434),
    ],
)
def test_real_radiographs_with_boxes_can_be_tested_on(images, labels, count):
    root = Path("../shared/data")
    if not (root / labels).is_file():
        pytest.skip(f"{root / labels} is not there")
    unseen = rsna.open_folder(rsna.Config(image_px=64), root / images, root / labels)
    assert len(unseen) == count
    batch = collate([unseen.item(i, np.random.default_rng(0)) for i in range(2)])
    assert batch["image"].shape == (2, 3, 64, 64)
    assert all(len(truth) for truth in batch["truth"])
