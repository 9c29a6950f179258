"""Is the head the UPerNet others know, at the sizes the recipe gives it?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import UperNetConfig
from transformers.models.upernet.modeling_upernet import UperNetFCNHead, UperNetHead

from trainers.modules.upernet import FCNHead, Norm, Pyramid, UPerHead, conv, resize

D, E, C = 10, 7, 2


def copy_weights(theirs: nn.Module, ours: nn.Module, pairs: list[tuple[str, str]]) -> None:
    """Fill `theirs` at random and carry it over, a module at a time."""
    with torch.no_grad():
        for value in theirs.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.1)
    seen = set()
    for their_name, our_name in pairs:
        source, target = theirs.get_submodule(their_name), ours.get_submodule(our_name)
        values = list(source.state_dict().values())
        target.load_state_dict(dict(zip(target.state_dict(), values, strict=True)))
        seen |= {id(p) for p in target.parameters()}
    assert seen == {id(p) for p in ours.parameters()}


def four_scales(grid: int = 6) -> list[torch.Tensor]:
    sizes = (grid * 4, grid * 2, grid, grid // 2)
    return [torch.randn(2, D, size, size) for size in sizes]


def test_the_head_computes_what_transformers_upernet_does():
    torch.manual_seed(0)
    config = UperNetConfig(hidden_size=E, pool_scales=[1, 2, 3, 6], num_labels=C)
    theirs = UperNetHead(config, [D] * 4).eval()
    ours = UPerHead([D] * 4, channels=E, classes=C, dropout=0.1).eval()
    pairs = [(f"psp_modules.{i}.1", f"pooling.parts.{i}.1") for i in range(4)]
    pairs += [(f"lateral_convs.{i}", f"lateral.{i}") for i in range(3)]
    pairs += [(f"fpn_convs.{i}", f"smooth.{i}") for i in range(3)]
    pairs += [("bottleneck", "pooling.join"), ("fpn_bottleneck", "join")]
    pairs += [("classifier", "classify.1")]
    copy_weights(theirs, ours, pairs)
    scales = four_scales()
    torch.testing.assert_close(ours(scales), theirs(scales))


def test_the_auxiliary_head_computes_what_transformers_fcn_head_does():
    torch.manual_seed(0)
    config = UperNetConfig(
        auxiliary_channels=E,
        auxiliary_num_convs=1,
        auxiliary_concat_input=False,
        auxiliary_in_channels=D,
        num_labels=C,
    )
    theirs = UperNetFCNHead(config, [D] * 4).eval()
    ours = FCNHead(D, channels=E, classes=C, dropout=0.1).eval()
    copy_weights(theirs, ours, [("convs.0", "conv"), ("classifier", "classify.1")])
    scales = four_scales()
    torch.testing.assert_close(ours(scales[2]), theirs(scales))


def test_512_pixels_in_patches_of_16_are_scored_at_a_quarter_of_their_side():
    maps = [torch.zeros(1, 8, 32, 32) for _ in range(4)]
    scales = Pyramid(8).eval()(maps)
    assert [tuple(x.shape[2:]) for x in scales] == [(128, 128), (64, 64), (32, 32), (16, 16)]
    scores = UPerHead([8] * 4, channels=4, classes=C, dropout=0.0).eval()(scales)
    assert scores.shape == (1, C, 128, 128)


def test_each_scale_comes_from_the_map_of_its_own_depth():
    pyramid = Pyramid(4).eval()
    maps = [torch.randn(1, 4, 4, 4) for _ in range(4)]
    before = pyramid(maps)
    for level in range(4):
        changed = list(maps)
        changed[level] = maps[level] + 1
        moved = [not torch.equal(a, b) for a, b in zip(before, pyramid(changed), strict=True)]
        assert moved == [i == level for i in range(4)]


def test_resizing_is_bilinear_between_pixel_centres():
    row = torch.tensor([[[[0.0, 1.0]]]])
    assert resize(row, (1, 4)).flatten().tolist() == [0.0, 0.25, 0.75, 1.0]


def test_a_single_image_can_be_trained_on():
    layer = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(D, E, 1)).train()
    out = layer(torch.randn(1, D, 5, 5))
    assert out.isfinite().all()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(D).train()(torch.randn(1, D, 1, 1))


def test_with_several_values_a_channel_the_norm_is_torchs():
    torch.manual_seed(0)
    ours, theirs = Norm(D).train(), nn.BatchNorm2d(D).train()
    x = torch.randn(3, D, 4, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
