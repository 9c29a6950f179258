"""Does the tuberculosis task read, score and learn as its recipe says?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from trainers import predictions
from trainers.config import resolve
from trainers.data.batch import collate
from trainers.data.items import BadItem
from trainers.modules.vit import EncoderSize
from trainers.tasks import shenzhen, shenzhen_lungs
from trainers.training import Training

SIZE = EncoderSize(image_px=32, patch_px=8, embed_dim=24, depth=2, num_heads=2)
CONFIG = shenzhen.Config(image_px=32, drop_path=0.0, crop_min=0.6)
REAL = Path("../shared/data/shenzhen")


def write_set(root: Path, parts: dict[str, int]) -> None:
    """Half of each part is normal and dark, half has tuberculosis and is bright in a corner."""
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    number = 0
    for part, count in parts.items():
        lines = []
        for _ in range(count):
            tb = number % 2
            name = f"CHNCXR_{number:04}_{tb}"
            rng = np.random.default_rng(number)
            image = rng.integers(0, 90, size=(40, 52)).astype(np.uint8)
            image[:20, :20] += 120 * tb
            Image.fromarray(image).save(root / "images" / f"{name}.png")
            if number % 3:
                mask = np.zeros((40, 52), np.uint8)
                mask[10:30, 5:20] = 255
                Image.fromarray(mask).save(root / "masks" / f"{name}.png")
            lines.append(f"{name}.png {1 - tb} {tb}")
            number += 1
        (root / f"{part}_list.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_set(tmp_path, {"train": 24, "val": 8, "test": 12})
    return tmp_path


def test_items_carry_what_the_scores_need(folder):
    splits = shenzhen.open_splits(CONFIG, folder, ratio=100, seed=0)
    assert [len(part) for part in splits[:3]] == [24, 8, 12]
    batch = collate([splits.test.item(i, np.random.default_rng(0)) for i in range(12)])
    assert batch["image"].shape == (12, 3, 32, 32)
    assert batch["label"].flatten().tolist() == [0, 1] * 6
    said = {"logit": batch["image"].flatten(1).mean(dim=1, keepdim=True)}
    arrays = shenzhen.join([shenzhen.collect(batch, said)])
    assert arrays["classes"].tolist() == ["tb"]
    assert shenzhen.score(arrays) == {"AUROC": 1.0}
    assert shenzhen.bounds(arrays, seed=0) == {"AUROC": (1.0, 1.0)}


def test_the_test_view_is_torchvisions_resize_and_center_crop(folder):
    test = shenzhen.open_splits(CONFIG, folder, ratio=100, seed=0).test
    found = test.item(3, np.random.default_rng(0))["image"]
    image = Image.open(test.cases[3].image)
    expected = v2.Compose(
        [
            v2.Resize(32),
            v2.CenterCrop(32),
            v2.Grayscale(3),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.4978] * 3, [0.2449] * 3),
        ]
    )(image)
    torch.testing.assert_close(found, expected.as_subclass(torch.Tensor))


def test_training_views_follow_from_their_generator_and_differ_otherwise(folder):
    train = shenzhen.open_splits(CONFIG, folder, ratio=100, seed=0).train
    views = [train.item(0, np.random.default_rng(seed))["image"] for seed in (0, 0, 1)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_what_is_cached_is_what_is_read(folder):
    config = shenzhen.Config(image_px=32, cache=True)
    cached = shenzhen.open_splits(config, folder, ratio=100, seed=0).test
    plain = shenzhen.open_splits(CONFIG, folder, ratio=100, seed=0).test
    rng = np.random.default_rng(0)
    for _ in range(2):
        assert torch.equal(cached.item(1, rng)["image"], plain.item(1, rng)["image"])


def test_a_truncated_image_is_named(folder):
    test = shenzhen.open_splits(CONFIG, folder, ratio=100, seed=0).test
    path = test.cases[0].image
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadItem, match=path.name):
        test.item(0, np.random.default_rng(0))


def test_lungs_are_outlined_only_where_a_mask_was_drawn(folder):
    config = shenzhen_lungs.Config(image_px=32, channels=8, aux_channels=4)
    splits = shenzhen_lungs.open_splits(config, folder, ratio=100, seed=0)
    assert [len(part) for part in splits[:3]] == [16, 5, 8]
    train, rng = splits.train, np.random.default_rng(0)
    assert sorted(train.epoch_indices(rng)) == list(range(16))
    batch = collate([splits.test.item(i, rng) for i in range(2)])
    arrays = shenzhen_lungs.join([shenzhen_lungs.collect(batch, {"margin": -batch["image"][:, 0]})])
    assert predictions.masks_of(arrays, 0)[1].sum() == 20 * 15
    assert shenzhen_lungs.score(arrays)["Dice_nothing"] == 0


@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_each_preset_names_settings_that_exist(preset):
    training, config = resolve(
        [Training, shenzhen.Config], preset=shenzhen.PRESETS[preset], given={}
    )
    assert training.clip_grad == 1.0
    if preset == "paper":
        given = (training.optimizer, training.momentum, training.weight_decay)
        assert given == ("sgd", 0.9, 0)
    assert config.image_px == (224 if preset == "paper" else 64)


def test_it_learns_to_tell_bright_corners_from_dark_ones(tmp_path):
    write_set(tmp_path, {"train": 64, "val": 8, "test": 24})
    splits = shenzhen.open_splits(CONFIG, tmp_path, ratio=100, seed=0)
    torch.manual_seed(0)
    model = shenzhen.Task(CONFIG, SIZE).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=3e-2, momentum=0.9)
    for step in range(60):
        rng = np.random.default_rng(step)
        chosen = rng.choice(64, size=16, replace=False)
        batch = collate([splits.train.item(int(i), rng) for i in chosen])
        optimizer.zero_grad()
        model(batch)["bce"].backward()
        optimizer.step()
    model.eval()
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        batch = collate([splits.test.item(i, rng) for i in range(24)])
        arrays = shenzhen.join([shenzhen.collect(batch, model.predict(batch))])
    assert shenzhen.score(arrays)["AUROC"] > 0.9


@pytest.mark.data
def test_the_published_lists_give_463_and_67_images():
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not there")
    splits = shenzhen.open_splits(CONFIG, REAL, ratio=100, seed=0)
    assert len(splits.train) + len(splits.val) == 463
    assert len(splits.test) == 67
    lungs = shenzhen_lungs.open_splits(shenzhen_lungs.Config(), REAL, ratio=100, seed=0)
    assert sum(len(part) for part in lungs[:3]) == 434
    assert not {c.name for c in splits.test.cases} & {c.name for c in splits.train.cases}
