"""Does the image decoder answer for the hidden patches, each at its own place?"""

from __future__ import annotations

import pytest
import torch

from trainers.modules import vit
from trainers.modules.image_decoder import ImageDecoder
from trainers.modules.positions import sincos_table


@pytest.mark.parametrize(
    ("width", "heads", "expected"), [(768, 6, 31_306_752), (512, 16, 14_580_736)]
)
def test_the_paper_sizes_have_the_stated_number_of_parameters(width, heads, expected):
    with torch.device("meta"):
        decoder = ImageDecoder(768, width=width, depth=4, num_heads=heads, values=3072)
    assert sum(p.numel() for p in decoder.parameters()) == expected


def test_parameters_are_named_as_in_the_released_weights():
    decoder = ImageDecoder(8, width=8, depth=2, num_heads=2, values=12)
    assert {name.split(".")[0] for name in decoder.state_dict()} == {
        "decoder_embed", "mask_token", "decoder_blocks", "decoder_norm", "decoder_pred",
    }  # fmt: skip
    assert decoder.mask_token.shape == (1, 1, 8)


def test_without_attention_a_hidden_patch_knows_only_the_mask_token_and_its_place():
    torch.manual_seed(0)
    decoder = ImageDecoder(8, width=8, depth=2, num_heads=2, values=5)
    with torch.no_grad():
        for block in decoder.decoder_blocks:
            block.attn.proj.weight.zero_()
            block.mlp.fc2.weight.zero_()
        positions = sincos_table(3, 8)
        mask = vit.mask_from(torch.rand(2, 9), 0.75)
        out = decoder(torch.randn(2, 3, 8), mask, positions)
        for image in range(2):
            for place, patch in enumerate(mask.hide[image].tolist()):
                token = decoder.mask_token[0, 0] + positions[0, 1 + patch]
                expected = decoder.decoder_pred(decoder.decoder_norm(token))
                torch.testing.assert_close(out[image, place], expected)


def test_what_is_seen_changes_what_is_predicted():
    torch.manual_seed(0)
    decoder = ImageDecoder(8, width=8, depth=1, num_heads=2, values=5)
    mask = vit.mask_from(torch.rand(1, 9), 0.75)
    latent = torch.randn(1, 3, 8, requires_grad=True)
    decoder(latent, mask, sincos_table(3, 8)).square().sum().backward()
    assert (latent.grad.abs().sum(dim=2) > 0).all()


def test_seen_patches_may_be_handed_over_in_any_order():
    torch.manual_seed(0)
    decoder = ImageDecoder(8, width=8, depth=2, num_heads=2, values=5).eval()
    positions, latent = sincos_table(3, 8), torch.randn(1, 4, 8)
    noise = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]])
    other = torch.tensor([[0.3, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]])  # kept: 1, 2, 0
    with torch.no_grad():
        first = decoder(latent, vit.mask_from(noise, 2 / 3), positions)
        turned = latent[:, [0, 2, 3, 1]]
        torch.testing.assert_close(decoder(turned, vit.mask_from(other, 2 / 3), positions), first)
