"""Does the segmenter see through the encoder what it should, and learn from what it should?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from timm.models.beit import Beit

from trainers.config import ConfigError
from trainers.data import segmented
from trainers.data.transforms import pad_to, resize_keep
from trainers.modules import segmentation
from trainers.modules.backbone import DenseFeatures, taps_of
from trainers.modules.vit import NORM, EncoderSize, build_encoder

SIZE = EncoderSize(image_px=32, patch_px=8, embed_dim=24, depth=4, num_heads=2)
CONFIG = segmentation.Config(image_px=48, channels=8, aux_channels=4)


def scores_for(mask: torch.Tensor, margin: float) -> torch.Tensor:
    """Scores that say `mask` with certainty `margin`."""
    sign = mask.float() * 2 - 1
    return torch.stack([-sign, sign], dim=1) * margin


def batch(count: int = 2) -> dict[str, torch.Tensor]:
    return {
        "image": torch.randn(count, 3, 48, 48),
        "mask": torch.randint(0, 2, (count, 48, 48), dtype=torch.uint8),
    }


def test_at_first_the_features_are_those_of_the_plain_encoder_before_its_last_norm():
    encoder = build_encoder(SIZE, fixed_positions=False).eval()
    image = torch.randn(2, 3, 32, 32)
    ours = DenseFeatures(encoder, taps=(0, 1, 2, 3))(encoder, image)
    theirs = encoder.forward_intermediates(
        image, indices=[0, 1, 2, 3], norm=False, output_fmt="NCHW", intermediates_only=True
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_with_bias_and_scales_the_features_are_those_of_timms_beit():
    torch.manual_seed(0)
    encoder = build_encoder(SIZE, fixed_positions=False).eval()
    extras = DenseFeatures(encoder, taps=(3,))
    beit = Beit(
        img_size=32, patch_size=8, embed_dim=24, depth=4, num_heads=2, num_classes=0,
        use_abs_pos_emb=True, use_rel_pos_bias=True, init_values=1.0, norm_layer=NORM,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for part in (encoder, extras):
            for parameter in part.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.3)
        for block in encoder.blocks:
            block.attn.qkv.bias[24:48] = 0  # BEiT's keys have no bias
        state = encoder.state_dict()
        for i, extra in enumerate(extras.blocks):
            bias = state.pop(f"blocks.{i}.attn.qkv.bias")
            state[f"blocks.{i}.attn.q_bias"] = bias[:24]
            state[f"blocks.{i}.attn.v_bias"] = bias[48:]
            for name, value in extra.named_parameters():
                where = "attn." if name == "relative_position_bias_table" else ""
                state[f"blocks.{i}.{where}{name}"] = value
        missing = beit.load_state_dict(state, strict=False).missing_keys
    assert not [name for name in missing if not name.startswith("fc_norm")]
    image = torch.randn(2, 3, 32, 32)
    (theirs,) = beit.forward_intermediates(
        image, indices=[3], norm=False, output_fmt="NCHW", intermediates_only=True
    )
    (ours,) = extras(encoder, image)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_twelve_blocks_are_tapped_where_the_recipe_says():
    assert taps_of(12) == (3, 5, 7, 11)


@given(st.integers(1, 40))
def test_any_depth_is_tapped_in_order_and_at_its_last_block(depth):
    taps = taps_of(depth)
    assert list(taps) == sorted(taps)
    assert taps[0] >= 0
    assert taps[-1] == depth - 1


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_shallow_encoder_gives_four_maps_too(depth):
    size = EncoderSize(image_px=32, patch_px=8, embed_dim=24, depth=depth, num_heads=2)
    model = segmentation.Segmenter(CONFIG, size).eval()
    assert model.predict(batch())["margin"].shape == (2, 48, 48)


def test_every_trained_parameter_gets_a_gradient():
    model = segmentation.Segmenter(CONFIG, SIZE).train()
    losses = model(batch())
    assert set(losses) == {"focal", "dice", "aux"}
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert model.encoder.pos_embed.grad.abs().sum() > 0
    assert model.extras.blocks[0].relative_position_bias_table.grad.abs().sum() > 0
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["encoder.norm.weight", "encoder.norm.bias"]


def test_the_last_norm_of_the_encoder_plays_no_role():
    model = segmentation.Segmenter(CONFIG, SIZE).eval()
    data = batch()
    before = model.predict(data)["margin"]
    torch.nn.init.normal_(model.encoder.norm.weight)
    assert torch.equal(before, model.predict(data)["margin"])


def test_bf16_comes_close_to_full_precision():
    torch.manual_seed(0)
    model, data = segmentation.Segmenter(CONFIG, SIZE).eval(), batch()
    with torch.inference_mode():
        full = model(data)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(data)
    for name, value in full.items():
        assert rough[name].dtype == torch.float32
        assert rough[name].item() == pytest.approx(value.item(), rel=0.03)


def test_an_image_side_that_patches_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"`image_px` is 50; expected a multiple .* of 8 pixels"):
        segmentation.Segmenter(segmentation.Config(image_px=50), SIZE)


def test_undecided_scores_cost_an_eighth_of_ln_2():
    mask = torch.randint(0, 2, (1, 4, 4))
    focal, _ = segmentation.losses(torch.zeros(1, 2, 4, 4), mask)
    # alpha 1/2, (1 - 1/2)^2, and -ln 1/2
    assert focal.item() == pytest.approx(0.5 * 0.25 * math.log(2))


def test_dice_loss_is_half_of_one_minus_the_smoothed_dice():
    mask = torch.zeros(1, 2, 4, dtype=torch.int64)
    mask[0, 0, :3] = 1
    # half foreground everywhere: 2 * 3/2 + 1 over 8/4 + 3 + 1
    _, undecided = segmentation.losses(torch.zeros(1, 2, 2, 4), mask)
    assert undecided.item() == pytest.approx((1 - 4 / 6) / 2)
    _, nothing = segmentation.losses(scores_for(torch.zeros(1, 2, 4), 50.0), mask)
    assert nothing.item() == pytest.approx((1 - 1 / 4) / 2)
    focal, right = segmentation.losses(scores_for(mask, 50.0), mask)
    assert right.item() == pytest.approx(0, abs=1e-6)
    assert focal.item() == pytest.approx(0, abs=1e-6)


def test_nothing_is_learnt_from_padding():
    torch.manual_seed(0)
    mask = torch.randint(0, 2, (2, 6, 6))
    mask[:, 4:] = segmented.PADDING
    scores = torch.randn(2, 2, 6, 6, requires_grad=True)
    whole = segmentation.losses(scores, mask)
    cut = segmentation.losses(scores[:, :, :4], mask[:, :4])
    torch.testing.assert_close(whole, cut)
    sum(whole).backward()
    assert scores.grad[:, :, 4:].abs().sum() == 0
    assert scores.grad[:, :, :4].abs().sum() > 0


def test_a_mask_of_padding_alone_costs_nothing_and_is_finite():
    mask = torch.full((1, 4, 4), segmentation.IGNORE)
    focal, dice = segmentation.losses(torch.randn(1, 2, 4, 4), mask)
    assert focal == 0
    assert dice == 0


def test_losses_have_the_recipes_weights():
    model = segmentation.Segmenter(CONFIG, SIZE).eval()
    data = batch()
    scales = model.pyramid(model.extras(model.encoder, data["image"]))
    focal, dice = segmentation.losses(model.head(scales), data["mask"].long())
    aux_focal, aux_dice = segmentation.losses(model.aux_head(scales[2]), data["mask"].long())
    found = model(data)
    torch.testing.assert_close(found["focal"], 2 * focal)
    torch.testing.assert_close(found["dice"], dice)
    torch.testing.assert_close(found["aux"], 0.8 * aux_focal + 0.4 * aux_dice)


@given(st.integers(8, 90), st.integers(8, 90))
def test_a_mask_comes_back_at_the_images_own_size_without_the_padding(height, width):
    image = Image.new("L", (width, height), 255)
    seen = np.asarray(pad_to(resize_keep(image, 32, side="long"), 32))
    # foreground where the image lies, background in the padding
    margin = torch.from_numpy(seen.astype(np.float32)) / 255 * 2 - 1
    assert segmentation.to_original(margin, height, width).all()
    nothing = segmentation.to_original(-margin, height, width)
    assert nothing.shape == (height, width)
    assert not nothing.any()


def test_a_half_that_is_found_is_the_half_of_the_original():
    margin = -torch.ones(32, 32)
    margin[:, :16] = 1
    mask = segmentation.to_original(margin, 100, 200)  # 16 rows of image, 16 of padding
    assert mask[:, :99].all()
    assert not mask[:, 101:].any()
