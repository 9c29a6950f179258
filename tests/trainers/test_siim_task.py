"""Does the pneumothorax task read, sample, score and learn as its recipe says?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers import evaluate, finetune, overlays, predictions, scores
from trainers.config import ConfigError, InputError, resolve
from trainers.data import segmented
from trainers.data.batch import collate
from trainers.data.items import BadItem
from trainers.modules import segmentation
from trainers.modules.vit import EncoderSize
from trainers.tasks import shenzhen_lungs, siim
from trainers.training import Training

SIZE = EncoderSize(image_px=32, patch_px=8, embed_dim=24, depth=2, num_heads=2)
TINY = {"image_px": 32, "channels": 8, "aux_channels": 4, "drop_path": 0.0, "dropout": 0.0}
REAL = Path("../shared/data/siim_format")


def write_pair(root: Path, name: str, *, positive: bool, size=(48, 48), seed: int = 0) -> None:
    """A noisy square, and a mask of the bright part in it, if there is one."""
    rng = np.random.default_rng([seed, *name.encode()])
    width, height = size
    image = rng.integers(0, 60, size=(height, width)).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    if positive:
        top, left = (int(rng.integers(0, side // 2)) for side in (height, width))
        mask[top : top + height // 2, left : left + width // 2] = 1
        image[mask == 1] += 180
    for folder, pixels in (("images", image), ("masks", mask * 255)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / folder / f"{name}.png")


def write_set(root: Path, lists: dict[str, list[str]]) -> None:
    """A folder as `siim.read` takes it; names that begin with `p` have a mask."""
    for name in {name for names in lists.values() for name in names}:
        write_pair(root, name, positive=name.startswith("p"))
    for part, names in lists.items():
        (root / f"{part}.txt").write_text("\n".join(names) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lists = {
        "train_list": [f"p{i}" for i in range(5)] + [f"n{i}" for i in range(15)],
        "val_list": ["p90", "n90"],
        "test_list": ["p80", "p81", "n80"],
        "train_10": ["p1", "n3"],
    }
    write_set(tmp_path, lists)
    return tmp_path


def open_tiny(folder: Path, ratio: int = 100, **options) -> siim.Splits:
    return siim.open_splits(siim.Config(**TINY, **options), folder, ratio=ratio, seed=0)


def test_an_epoch_has_every_positive_and_two_fifths_as_many_negatives(folder):
    train = open_tiny(folder).train
    names = [train.cases[i].name for i in train.epoch_indices(np.random.default_rng(0))]
    assert sorted(n for n in names if n.startswith("p")) == [f"p{i}" for i in range(5)]
    negatives = [n for n in names if n.startswith("n")]
    assert len(negatives) == len(set(negatives)) == 2


def test_other_epochs_have_other_negatives_and_another_order(folder):
    train = open_tiny(folder).train
    epochs = [train.epoch_indices(np.random.default_rng(e)).tolist() for e in range(60)]
    assert epochs[0] == train.epoch_indices(np.random.default_rng(0)).tolist()
    assert len({tuple(epoch) for epoch in epochs}) == 60
    drawn = {train.cases[i].name for epoch in epochs for i in epoch}
    assert len([n for n in drawn if n.startswith("n")]) == 15


def test_where_negatives_are_few_all_of_them_are_taken(folder):
    train = open_tiny(folder, negatives=100.0).train
    assert sorted(train.epoch_indices(np.random.default_rng(0))) == list(range(20))


def test_the_ratio_is_that_of_the_list(folder):
    splits = open_tiny(folder, ratio=10)
    assert [case.name for case in splits.train.cases] == ["p1", "n3"]
    assert [len(part) for part in (splits.val, splits.test)] == [2, 3]


LEAKING = {
    "train_list": ["p1", "p2", "n1"],
    "val_list": ["p3", "n2"],
    "test_list": ["p1", "p3", "p4", "n3"],
    "train_10": ["p2"],
}


def test_lists_that_share_an_image_are_the_legacy_protocols_alone(tmp_path):
    write_set(tmp_path, LEAKING)
    with pytest.raises(InputError, match="`p1` is in both the train and the test list"):
        open_tiny(tmp_path)
    splits = open_tiny(tmp_path, split="legacy")
    assert len(splits.train) == 3
    assert splits.facts["shared_images"] == {"train+test": 1, "val+test": 1}


@pytest.mark.parametrize("ratio", [10, 100])
def test_legacy_predictions_say_what_was_seen_and_give_dice_without_it(tmp_path, ratio, capsys):
    write_set(tmp_path, LEAKING)
    test = open_tiny(tmp_path, ratio=ratio, split="legacy").test
    batch = collate([test.item(i, np.random.default_rng(0)) for i in range(4)])
    # right in `p1` and `p3`, which are also in other lists; all foreground in `p4` and `n3`
    right = batch["image"][:, 0] - (0.5 - 0.4978) / 0.2449
    margin = torch.stack([right[0], right[1], torch.ones(32, 32), torch.ones(32, 32)])
    arrays = siim.join([siim.collect(batch, {"margin": margin})])
    assert arrays["seen"].tolist() == [1, 1, 0, 0]
    np.savez_compressed(tmp_path / "predictions.npz", **arrays)
    words = ["--predictions", str(tmp_path / "predictions.npz"), "--json"]
    assert evaluate.main(["--task", "siim_legacy", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    values = {name.removeprefix("test/"): value for name, value in found["values"].items()}
    p4 = scores.dice_per_image(scores.overlap_of(arrays))[2]
    assert 0.1 < p4 < 0.7
    assert values["Dice_unseen"] == pytest.approx(p4 / 2)
    assert values["Dice_unseen_positive"] == pytest.approx(p4)
    assert values["Dice_unseen_nothing"] == 0.5
    assert values["Dice_nothing"] == 0.25
    assert values["Dice"] > 0.55
    low, high = found["bounds"]["test/Dice_unseen"]
    assert low <= values["Dice_unseen"] <= high


def test_where_every_image_was_seen_dice_without_them_is_no_number(tmp_path):
    write_set(tmp_path, {**LEAKING, "test_list": ["p1", "p2"]})
    test = open_tiny(tmp_path, split="legacy").test
    batch = collate([test.item(i, np.random.default_rng(0)) for i in range(2)])
    arrays = siim.join([siim.collect(batch, {"margin": torch.ones(2, 32, 32)})])
    assert np.isnan(siim.score(arrays)["Dice_unseen"])
    assert "Dice_unseen" not in siim.bounds(arrays, seed=0)


def test_clean_predictions_say_nothing_of_what_was_seen(folder):
    test = open_tiny(folder).test
    batch = collate([test.item(i, np.random.default_rng(0)) for i in range(2)])
    arrays = siim.join([siim.collect(batch, {"margin": torch.ones(2, 32, 32)})])
    assert "seen" not in arrays
    assert not any("unseen" in name for name in siim.score(arrays))


def test_each_protocol_is_a_task_and_neither_takes_the_others_name(tmp_path, capsys):
    def configured(*words: str) -> dict:
        assert finetune.main([*words, "--preset", "quick", "--print-config"]) == 0
        return json.loads(capsys.readouterr().out)

    clean, legacy = configured("--task", "siim"), configured("--task", "siim_legacy")
    assert (clean["task"], clean["split"]) == ("siim", "clean")
    assert (legacy["task"], legacy["split"]) == ("siim_legacy", "legacy")
    assert clean["recipe"] != legacy["recipe"]
    file = tmp_path / "config.json"
    file.write_text(json.dumps(legacy))
    assert configured("--config", str(file)) == legacy
    assert finetune.main(["--task", "siim", "--split", "legacy", "--print-config"]) == 2
    assert "`siim` with `split` legacy is the task `siim_legacy`" in capsys.readouterr().err
    assert finetune.main(["--task", "siim_legacy", "--split", "clean", "--print-config"]) == 2
    assert "`siim_legacy` is `siim` with `split` legacy" in capsys.readouterr().err


def test_image_and_mask_are_flipped_together(folder):
    train = open_tiny(folder).train
    index = [case.name for case in train.cases].index("p3")
    views = [train.item(index, np.random.default_rng(seed)) for seed in range(12)]
    seen = {view["mask"].numpy().tobytes() for view in views}
    assert len(seen) == 2
    for view in views:
        bright = view["image"][0] > (0.5 - 0.4978) / 0.2449
        assert (bright.byte() == view["mask"]).float().mean() > 0.97


def test_a_wide_image_is_padded_below_and_the_padding_is_marked(tmp_path):
    write_set(tmp_path, {"train_list": ["n1"], "val_list": ["n2"], "test_list": ["n3"]})
    write_pair(tmp_path, "n1", positive=False, size=(64, 32))
    item = open_tiny(tmp_path).train.item(0, np.random.default_rng(0))
    assert item["image"].shape == (3, 32, 32)
    assert set(item["mask"][:16].unique().tolist()) == {0}
    assert set(item["mask"][16:].unique().tolist()) == {segmented.PADDING}
    assert item["image"][:, 16:].unique().tolist() == pytest.approx([-0.4978 / 0.2449])
    assert segmented.PADDING == segmentation.IGNORE


def test_truth_and_prediction_have_the_images_original_size(tmp_path):
    write_set(tmp_path, {"train_list": ["p1"], "val_list": ["p2"], "test_list": ["p3", "p4"]})
    write_pair(tmp_path, "p3", positive=True, size=(90, 61))
    test = open_tiny(tmp_path).test
    rng = np.random.default_rng(0)
    batch = collate([test.item(i, rng) for i in range(2)])
    # a network that is right wherever the image is bright
    said = {"margin": batch["image"][:, 0] - (0.5 - 0.4978) / 0.2449}
    arrays = siim.join([siim.collect(batch, said)])
    assert arrays["height"].tolist() == [61, 48]
    assert arrays["width"].tolist() == [90, 48]
    prediction, truth = predictions.masks_of(arrays, 0)
    assert prediction.shape == truth.shape == (61, 90)
    expected = np.asarray(Image.open(tmp_path / "masks" / "p3.png")) > 0
    np.testing.assert_array_equal(truth, expected)
    assert siim.score(arrays)["Dice_positive"] > 0.93
    low, high = siim.bounds(arrays, seed=0)["Dice"]
    assert low <= siim.score(arrays)["Dice"] <= high


def test_a_broken_image_is_named_and_the_others_go_on(folder):
    (folder / "images" / "p80.png").write_bytes(b"")
    test = open_tiny(folder).test
    rng = np.random.default_rng(0)
    bad = next(i for i, case in enumerate(test.cases) if case.name == "p80")
    with pytest.raises(BadItem, match=r"p80\.png"):
        test.item(bad, rng)
    assert test.item((bad + 1) % 3, rng)["name"] != "p80"


def test_what_is_cached_is_what_is_read(folder):
    rngs = [np.random.default_rng(7) for _ in range(3)]
    plain, cached = open_tiny(folder).train, open_tiny(folder, cache=True).train
    views = [plain.item(2, rngs[0]), cached.item(2, rngs[1]), cached.item(2, rngs[2])]
    for view in views[1:]:
        assert torch.equal(view["image"], views[0]["image"])
        assert torch.equal(view["mask"], views[0]["mask"])


def test_overlays_show_the_outlines_where_the_masks_end(folder):
    test = open_tiny(folder).test
    batch = collate([test.item(i, np.random.default_rng(0)) for i in range(3)])
    everywhere = {"margin": torch.ones(3, 32, 32)}
    arrays = siim.join([siim.collect(batch, everywhere)])
    written = siim.samples(arrays, test, folder / "run")
    pictures = [np.asarray(Image.open(folder / "run" / path)) for path, _ in written]
    assert [caption.split(":")[0][0] for _, caption in written] == ["p", "p", "n"]
    # below the legend, blue is where a true mask is, and orange frames the whole image
    true = [np.all(picture[40:] == overlays.TRUE, axis=2).any() for picture in pictures]
    assert true == [True, True, False]
    for picture in pictures:
        assert picture.shape == (overlays.SIDE_PX, overlays.SIDE_PX, 3)
        assert picture[-1, 256].tolist() == list(overlays.PREDICTED)


def test_the_worst_and_the_best_are_among_the_overlays():
    full, half, none = np.ones((4, 4)), np.tri(4), np.zeros((4, 4))
    pack = predictions.pack_mask
    items = [
        predictions.Masked(str(i), str(i), (4, 4), pack(p), pack(t))
        for i, (p, t) in enumerate(
            [(half, full), (full, full), (none, full), (none, none), (half, none), (full, none)]
        )
    ]
    arrays = predictions.join_masks([items])
    dice = scores.dice_per_image(scores.overlap_of(arrays))
    assert overlays.telling(arrays, dice, most=3) == [1, 2, 5]
    assert overlays.telling(arrays, dice, most=9) == [1, 0, 2, 5]


@pytest.mark.parametrize("module", [siim, shenzhen_lungs])
@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_each_preset_names_settings_that_exist(module, preset):
    chosen = dict(module.PRESETS[preset])
    for ratio in (1, 10):
        chosen.update(getattr(module, "BY_RATIO", {}).get((preset, ratio), {}))
        training, config = resolve([Training, module.Config], preset=chosen, given={})
        assert training.schedule == "poly"
        assert config.image_px == chosen.get("image_px", 512)


def test_a_negative_share_of_negatives_is_refused():
    with pytest.raises(ConfigError, match="`negatives` is -1"):
        siim.Config(negatives=-1)


def test_it_learns_to_outline_what_is_bright_and_beats_predicting_nothing(tmp_path):
    torch.manual_seed(0)
    lists = {
        "train_list": [f"p{i}" for i in range(12)] + [f"n{i}" for i in range(12)],
        "val_list": ["p90"],
        "test_list": [f"p{i}" for i in range(50, 56)] + [f"n{i}" for i in range(50, 56)],
    }
    write_set(tmp_path, lists)
    splits = open_tiny(tmp_path, cache=True)
    model = siim.Task(siim.Config(**TINY), SIZE).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(40):
        rng = np.random.default_rng(step)
        chosen = splits.train.epoch_indices(rng)[:8]
        batch = collate([splits.train.item(int(i), rng) for i in chosen])
        optimizer.zero_grad()
        sum(model(batch).values()).backward()
        optimizer.step()
    model.eval()
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        batch = collate([splits.test.item(i, rng) for i in range(len(splits.test))])
        found = siim.score(siim.join([siim.collect(batch, model.predict(batch))]))
    assert found["Dice_nothing"] == 0.5
    assert found["Dice"] > 0.7
    assert found["Dice_positive"] > 0.7


@pytest.mark.data
def test_real_dicoms_give_masks_of_their_own_size_and_patients():
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not there")
    splits = siim.open_splits(siim.Config(**TINY), REAL, ratio=100, seed=0)
    item = splits.test.item(0, np.random.default_rng(0))
    assert (int(item["height"]), int(item["width"])) == (1024, 1024)
    truth = predictions.unpack_mask(item["truth"], (1024, 1024))
    assert 0.1 < truth.mean() < 0.6  # lungs
    seen = splits.train.item(0, np.random.default_rng(0))
    assert 0.1 < seen["mask"].float().mean() < 0.6
