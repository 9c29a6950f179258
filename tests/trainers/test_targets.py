"""Is each target what its definition says, worked out by hand and again in NumPy or by timm?"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from trainers import weights
from trainers.config import ConfigError, InputError, MissingError
from trainers.data.pairs import MEAN, STD
from trainers.methods import deep_mrm, mrm
from trainers.modules import targets, vit

SMALL = {
    "image_px": 32, "patch_px": 8, "embed_dim": 24, "depth": 2, "num_heads": 2,
    "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2,
    "bert_dim": 12, "bert_depth": 1, "bert_heads": 3, "bert_dropout": 0.0, "report_length": 7,
}  # fmt: skip
AUX = {"tap_blocks": "1", "aux_dim": 16, "aux_depth": 1, "aux_heads": 2}


def grey(picture: np.ndarray) -> Tensor:
    """Return a picture (S, S) as a batch (1, 3, S, S)."""
    return torch.from_numpy(picture).float().expand(1, 3, -1, -1)


def batch(px: int = 64) -> dict[str, Tensor]:
    torch.manual_seed(2)
    labels = torch.randint(4, 30, (3, 7))
    return {
        "image": torch.rand(3, 1, px, px).expand(-1, 3, -1, -1).sub(MEAN).div(STD),
        "ids": labels.masked_fill(torch.rand(3, 7) < 0.4, 3),
        "labels": labels,
        "attention_mask": torch.ones(3, 7, dtype=torch.long),
        "noise": torch.rand(3, 16),
    }


def test_the_histogram_of_one_bright_pixel_is_the_one_worked_out_by_hand() -> None:
    # left, right, above and below of it gradients of 2, at the corners of the square root of 2:
    # 4 along each axis (bins 4 and 0), twice the root along each diagonal (bins 2 and 6)
    picture = np.zeros((8, 8))
    picture[4, 4] = 1
    found = targets.histograms(grey(picture), 8, window=False)
    a, d = 4 / math.sqrt(48), 2 * math.sqrt(2) / math.sqrt(48)
    assert found.flatten().tolist() == pytest.approx([a, 0, d, 0, a, 0, d, 0, 0], abs=1e-6)


def test_an_upright_edge_falls_into_the_middle_bin_whichever_side_is_bright() -> None:
    picture = np.tile(np.repeat([0.0, 1.0], 4), (8, 1))
    for each in (picture, 1 - picture):
        found = targets.histograms(grey(each), 8, window=True)
        assert found.flatten().tolist() == pytest.approx([0, 0, 0, 0, 1, 0, 0, 0, 0])


def loops(picture: np.ndarray, patch_px: int, *, window: bool) -> np.ndarray:
    """The definition, pixel by pixel: (N, V) of a picture (S, S)."""
    side = len(picture)
    wide = np.pad(picture, 1, mode="reflect")
    cells = np.zeros((side // 8, side // 8, 9))
    for r in range(side):
        for c in range(side):
            around = wide[r : r + 3, c : c + 3]
            # differences first: along the border they are 0, which is the edge of a bin
            gx = ((around[:, 0] - around[:, 2]) * [1, 2, 1]).sum()
            gy = ((around[0] - around[2]) * [1, 2, 1]).sum()
            strength = np.hypot(gx, gy)
            if window:
                y, x = r % 16 - 7.5, c % 16 - 7.5
                strength *= np.exp(-(x * x + y * y) / (2 * 8.0**2))
            cells[r // 8, c // 8, int(np.floor(np.arctan2(gx, gy) / np.pi * 9)) % 9] += strength
    lengths = np.sqrt((cells**2).sum(axis=2, keepdims=True))
    cells = np.divide(cells, lengths, out=np.zeros_like(cells), where=lengths > 0)
    per = patch_px // 8
    return np.stack(
        [
            cells[r : r + per, c : c + per].ravel()
            for r in range(0, side // 8, per)
            for c in range(0, side // 8, per)
        ]
    )


@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize(("side", "patch_px"), [(48, 16), (24, 8), (64, 32)])
def test_histograms_are_those_of_the_definition_pixel_by_pixel(
    side: int, patch_px: int, window: bool
) -> None:
    picture = np.random.default_rng(0).random((side, side))
    found = targets.histograms(grey(picture).double(), patch_px, window=window)[0].numpy()
    np.testing.assert_allclose(found, loops(picture, patch_px, window=window), atol=2e-5)


@pytest.mark.parametrize(("image_px", "patch_px", "values"), [(224, 16, 144), (64, 8, 36)])
def test_a_patch_has_nine_values_for_each_of_its_cells(
    image_px: int, patch_px: int, values: int
) -> None:
    config = mrm.Config(**{**SMALL, "image_px": image_px, "patch_px": patch_px, "target": "hog"})
    target = targets.ImageTarget(config, image_px // patch_px, mean=MEAN, std=STD)
    hide = torch.arange(5)[None]
    assert target.values == values
    assert target(torch.zeros(1, 3, 2 * image_px, 2 * image_px), hide).shape == (1, 5, values)


def test_an_even_area_has_no_direction_and_light_and_contrast_do_not_count() -> None:
    picture = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    picture[:, :16] = 0.3
    found = targets.histograms(grey(picture), 8, window=True)[0]
    assert not found.reshape(4, 4, 9)[:, 0].any()
    other = targets.histograms(grey(picture * 0.5 + 0.2), 8, window=True)[0]
    assert torch.allclose(found.reshape(4, 4, 9)[:, 2:], other.reshape(4, 4, 9)[:, 2:], atol=1e-4)


@pytest.mark.parametrize("module", [mrm, deep_mrm])
def test_a_decoder_that_says_nothing_of_histograms_errs_by_a_ninth(module) -> None:
    # each cell has length 1 over nine bins
    more = AUX if module is deep_mrm else {}
    made = module.Method(module.Config(**SMALL, **more, target="hog"), vocab_size=30).eval()
    for name, parameter in made.named_parameters():
        if "decoder_pred" in name:
            nn.init.zeros_(parameter)
    losses = made(batch())
    images = [v.item() for k, v in losses.items() if k.startswith("loss_image")]
    assert images == pytest.approx([1 / 9] * (2 if more else 1), rel=1e-5)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A small ViT in timm's layout, as DINO's weights are published there, and timm's model."""
    torch.manual_seed(5)
    made = timm.create_model(
        "vit_tiny_patch16_224.augreg_in21k", pretrained=False, img_size=64, depth=2, num_classes=0,
        embed_dim=128, num_heads=2,
    ).eval()  # fmt: skip
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("teacher") / "dino.pt"
    torch.save(made.state_dict(), path)
    return path, made


def dino(teacher: tuple[Path, nn.Module], module=mrm, **change: object):
    more = AUX if module is deep_mrm else {}
    config = module.Config(
        **{**SMALL, **more, "target": "dino", "teacher": str(teacher[0]), **change}
    )
    torch.manual_seed(1)
    return module.Method(config, vocab_size=30)


def test_features_are_those_of_timm_for_the_whole_image_in_imagenets_normalisation(
    teacher: tuple[Path, nn.Module],
) -> None:
    made, given = dino(teacher), batch()
    hide = torch.arange(16).expand(3, -1)
    plain = given["image"] * STD + MEAN  # 4 patches a side of 16 px: the crop as it is
    constants = timm.data.constants
    mean, std = (
        torch.tensor(v)[:, None, None]
        for v in (constants.IMAGENET_DEFAULT_MEAN, constants.IMAGENET_DEFAULT_STD)
    )
    with torch.no_grad():
        tokens = teacher[1].forward_features((plain - mean) / std)[:, 1:].numpy()
    centred = tokens - tokens.mean(axis=2, keepdims=True)
    wanted = centred / np.sqrt(tokens.var(axis=2, keepdims=True) + 1e-6)
    np.testing.assert_allclose(made.target(given["image"], hide).numpy(), wanted, atol=2e-4)


def test_the_loss_is_the_cosines_of_hidden_patches_worked_out_again(
    teacher: tuple[Path, nn.Module],
) -> None:
    made, given = dino(teacher).eval(), batch()
    mask = vit.mask_from(given["noise"], 0.75)
    with torch.no_grad():
        latent = vit.encode(made.encoder, made.shrink(given["image"]), mask.keep)
        p = made.image_decoder(latent, mask, made.decoder_pos_embed).numpy()
        t = made.target(given["image"], mask.hide).numpy()
        loss = made(given)["loss_image"].item()
    assert p.shape == t.shape == (3, 12, 128)
    cosine = (p * t).sum(2) / np.sqrt((p * p).sum(2) * (t * t).sum(2))
    assert loss == pytest.approx(float((2 - 2 * cosine).mean()), rel=1e-5)


def test_feature_errors_by_hand() -> None:
    target = torch.tensor([[[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]]])
    said = torch.tensor([[[5.0, 0.0], [0.0, 0.5], [0.0, -1.0]]])  # square, alike, opposite
    assert targets.feature_error(said, target, kind="cosine").item() == pytest.approx(2.0)
    # |5|, |2| and |3| from 1 on less a half, 1.5 likewise
    wanted = (4.5 + 1.5 + 0 + 1.0 + 0 + 2.5) / 6
    assert targets.feature_error(said, target, kind="smooth_l1").item() == pytest.approx(wanted)


@pytest.mark.parametrize("module", [mrm, deep_mrm])
def test_a_teacher_is_in_no_checkpoint_and_no_optimiser_and_never_trains(
    teacher: tuple[Path, nn.Module], module
) -> None:
    made = dino(teacher, module).train()
    plain = module.Config(**SMALL, **(AUX if module is deep_mrm else {}))
    assert made.state_dict().keys() == module.Method(plain, vocab_size=30).state_dict().keys()
    (kept,) = made.target.teacher._kept
    theirs = {id(p) for p in kept.parameters()}
    assert not theirs & {id(p) for p in made.parameters()}
    assert not any(p.requires_grad for p in kept.parameters())
    assert not any(part.training for part in kept.modules())
    before = {n: v.clone() for n, v in kept.state_dict().items()}
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    losses = made(batch())
    sum(v for k, v in losses.items() if not k.startswith("monitor/")).backward()
    optimizer.step()
    assert all(torch.equal(v, before[n]) for n, v in kept.state_dict().items())


def test_a_teacher_moves_where_its_student_moves(teacher: tuple[Path, nn.Module]) -> None:
    made = dino(teacher).to(torch.float64)
    (kept,) = made.target.teacher._kept
    assert {p.dtype for p in kept.parameters()} == {torch.float64}


def test_a_student_starts_alike_whatever_its_target(teacher: tuple[Path, nn.Module]) -> None:
    torch.manual_seed(1)
    plain = mrm.Method(mrm.Config(**SMALL), vocab_size=30)
    assert all(
        torch.equal(v, plain.encoder.state_dict()[n])
        for n, v in dino(teacher).encoder.state_dict().items()
    )


def test_a_teacher_of_another_patch_size_gets_an_image_with_as_many_patches(
    teacher: tuple[Path, nn.Module],
) -> None:
    made = dino(teacher, image_px=64)  # 8 patches a side; the teacher knows 4
    assert made.target.teacher.px == 128
    hide = torch.arange(64).expand(2, -1)
    assert made.target(torch.randn(2, 3, 128, 128), hide).shape == (2, 64, 128)


def test_an_encoder_of_this_project_is_shown_images_as_it_knows_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    size = mrm.encoder_size(mrm.Config(**SMALL))
    encoder = vit.build_encoder(size, fixed_positions=True).eval()
    path = tmp_path / "encoder.pt"
    torch.save(weights.encoder_content(encoder, size, config={}, step=1), path)
    own = targets.Teacher(path, 4)
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        tokens = vit.encode(encoder, (image - MEAN) / STD)[:, 1:]
    wanted = torch.nn.functional.layer_norm(tokens, (24,), eps=1e-6)
    assert torch.allclose(own(image), wanted, atol=1e-5)


def test_what_cannot_teach_is_refused(teacher: tuple[Path, nn.Module], tmp_path: Path) -> None:
    state = {k: v for k, v in teacher[1].state_dict().items() if not k.startswith("norm.")}
    torch.save(state, tmp_path / "headless.pt")
    with pytest.raises(InputError, match="final norm"):
        dino((tmp_path / "headless.pt", teacher[1]))
    with pytest.raises(MissingError):
        dino((tmp_path / "nowhere.pt", teacher[1]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"target": "dino"}, "`teacher` is not given"),
        ({"target": "hog", "teacher": "t.pt"}, "`target` is hog"),
        ({"target": "hog", "patch_px": 4, "super_resolution": 1}, "multiple of 8"),
    ],
)
@pytest.mark.parametrize("module", [mrm, deep_mrm])
def test_settings_that_contradict_the_target_are_refused(module, change, says: str) -> None:
    more = AUX if module is deep_mrm else {}
    with pytest.raises(ConfigError, match=says):
        module.Config(**{**SMALL, **more, **change})


def test_what_deep_mrm_shares_with_mrm_is_declared_alike() -> None:
    ours, theirs = mrm.Config.__dataclass_fields__, deep_mrm.Config.__dataclass_fields__
    for name in ours:
        assert theirs[name].default == ours[name].default, name
        assert theirs[name].metadata == ours[name].metadata, name
