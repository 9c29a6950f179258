"""Is the encoder timm's ViT in name and number, and MAE's in the way it drops patches?"""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from scipy.special import erf

from trainers import weights
from trainers.config import ConfigError
from trainers.modules import vit
from trainers.modules.vit import EncoderSize

TINY = EncoderSize(image_px=32, patch_px=8, embed_dim=24, depth=3, num_heads=2)


def tiny_encoder(seed=0, **options):
    """An encoder all of whose tensors are random, so that none can be left out unnoticed."""
    torch.manual_seed(seed)
    encoder = vit.build_encoder(TINY, fixed_positions=True, **options).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.3)
    return encoder


def test_the_paper_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        encoder = vit.build_encoder(EncoderSize(), fixed_positions=True)
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == 85_647_360
    assert sum(p.numel() for p in encoder.parameters()) == 85_798_656


def test_names_and_shapes_are_those_of_timms_own_vit_base():
    with torch.device("meta"):
        ours = vit.build_encoder(EncoderSize(), fixed_positions=True)
        theirs = timm.create_model("vit_base_patch16_224", num_classes=0)
    shapes = {name: tuple(t.shape) for name, t in ours.state_dict().items()}
    assert shapes == {name: tuple(t.shape) for name, t in theirs.state_dict().items()}
    expected = weights.encoder_shapes(768, 12, 16) | {"pos_embed": (1, 197, 768)}
    assert shapes == expected
    assert len(expected) == 148 + 2


def test_without_a_mask_it_computes_what_timm_computes():
    encoder, images = tiny_encoder(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(vit.encode(encoder, images), encoder.forward_features(images))


def test_three_quarters_hidden_of_196_leave_49():
    mask = vit.mask_from(torch.rand(2, 196), 0.75)
    assert mask.keep.shape == (2, 49)
    assert mask.hide.shape == (2, 147)


def test_the_patches_with_the_least_noise_are_kept_in_that_order():
    mask = vit.mask_from(torch.tensor([[0.5, 0.1, 0.9, 0.3, 0.7]]), 0.6)
    assert mask.keep.tolist() == [[1, 3]]
    assert mask.hide.tolist() == [[0, 4, 2]]
    # patch 0 is the third in (1, 3, 0, 4, 2), patch 1 the first, ...
    assert mask.restore.tolist() == [[2, 0, 4, 1, 3]]


def test_restoring_puts_every_patch_where_it_was():
    tokens = torch.randn(3, 16, 5)
    mask = vit.mask_from(torch.rand(3, 16), 0.75)
    mixed = torch.cat([vit.pick(tokens, mask.keep), vit.pick(tokens, mask.hide)], dim=1)
    assert torch.equal(vit.pick(mixed, mask.restore), tokens)


def test_kept_patches_are_encoded_as_an_independent_forward_says():
    encoder, images = tiny_encoder(1), torch.randn(2, 3, 32, 32)
    keep = torch.tensor([[5, 0, 9], [15, 2, 3]])
    with torch.no_grad():
        out, tapped = vit.encode(encoder, images, keep, (1, 2))
    state = {k: v.double().numpy() for k, v in encoder.state_dict().items()}
    for image in range(2):
        expected, after = numpy_encoder(state, images[image].double().numpy(), keep[image].numpy())
        np.testing.assert_allclose(out[image], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(tapped[0][image], after[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(tapped[1][image], after[1], rtol=1e-4, atol=1e-4)


def numpy_encoder(state, image, keep, heads=2, patch=8):
    """The forward of one image, written down again: tokens after the norm, and after each block."""
    side = image.shape[1] // patch
    kernel = state["patch_embed.proj.weight"].reshape(len(state["patch_embed.proj.bias"]), -1)
    tokens = []
    for number in keep:
        row, column = divmod(int(number), side)
        cut = image[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        value = kernel @ cut.reshape(-1) + state["patch_embed.proj.bias"]
        tokens.append(value + state["pos_embed"][0, 1 + number])
    x = np.stack([state["cls_token"][0, 0] + state["pos_embed"][0, 0], *tokens])

    def norm(x, name):
        spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
        return (x - x.mean(axis=-1, keepdims=True)) / spread * state[f"{name}.weight"] + state[
            f"{name}.bias"
        ]

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    after = []
    for i in range(3):
        q, k, v = np.split(linear(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv"), 3, axis=1)
        dim = q.shape[1] // heads
        seen = []
        for h in range(heads):
            part = slice(h * dim, (h + 1) * dim)
            score = np.exp(q[:, part] @ k[:, part].T / np.sqrt(dim))
            seen.append(score / score.sum(axis=1, keepdims=True) @ v[:, part])
        x = x + linear(np.concatenate(seen, axis=1), f"blocks.{i}.attn.proj")
        inner = linear(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")
        inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
        x = x + linear(inner, f"blocks.{i}.mlp.fc2")
        after.append(x)
    return norm(x, "norm"), after


def test_fused_and_plain_attention_agree():
    encoder, images = tiny_encoder(2), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        fused = vit.encode(encoder, images)
        for block in encoder.blocks:
            assert block.attn.fused_attn, "timm does not use fused attention here"
            block.attn.fused_attn = False
        plain = vit.encode(encoder, images)
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


def test_initial_weights_are_xavier_uniform_with_zero_biases():
    torch.manual_seed(0)
    size = EncoderSize(image_px=64, patch_px=16, embed_dim=192, depth=1, num_heads=3)
    encoder = vit.build_encoder(size, fixed_positions=True)
    fc1 = encoder.blocks[0].mlp.fc1
    limit = (6 / (192 + 768)) ** 0.5
    assert fc1.weight.abs().max().item() == pytest.approx(limit, rel=1e-3)
    assert not fc1.bias.any()
    limit = (6 / (192 + 768)) ** 0.5  # the patch projection: 3 * 16 * 16 = 768 in, 192 out
    assert encoder.patch_embed.proj.weight.abs().max().item() == pytest.approx(limit, rel=1e-3)
    assert encoder.cls_token.std().item() == pytest.approx(0.02, rel=0.3)


def test_fixed_positions_are_not_trained_and_free_ones_start_alike():
    fixed = vit.build_encoder(TINY, fixed_positions=True)
    free = vit.build_encoder(TINY, fixed_positions=False)
    assert not fixed.pos_embed.requires_grad
    assert free.pos_embed.requires_grad
    assert torch.equal(fixed.pos_embed, free.pos_embed)


def test_another_image_side_gives_another_grid():
    encoder = vit.build_encoder(TINY, fixed_positions=False, image_px=64)
    assert vit.encode(encoder, torch.randn(1, 3, 64, 64)).shape == (1, 65, 24)


def test_drop_path_grows_to_the_last_block():
    encoder = vit.build_encoder(TINY, fixed_positions=True, drop_path=0.2)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in encoder.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"patch_px": 15}, "patch_px"),
        ({"num_heads": 7}, "num_heads"),
        ({"depth": 0}, "depth"),
        ({"embed_dim": 90, "num_heads": 3}, "embed_dim"),
    ],
)
def test_a_size_that_cannot_be_is_refused_by_name(change, named):
    with pytest.raises(ConfigError, match=named):
        EncoderSize(**change)
