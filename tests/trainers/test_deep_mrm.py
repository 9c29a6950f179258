"""Is deep MRM MRM, with the same image loss asked for at earlier blocks?"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainers.config import ConfigError
from trainers.methods import deep_mrm, mrm
from trainers.modules.positions import sincos_table

SMALL = {
    "image_px": 16, "patch_px": 4, "embed_dim": 24, "depth": 4, "num_heads": 2,
    "decoder_dim": 16, "decoder_depth": 2, "decoder_heads": 2,
    "bert_dim": 12, "bert_depth": 1, "bert_heads": 2, "bert_dropout": 0.0, "report_length": 7,
}  # fmt: skip
AUX = {"tap_blocks": "1,3", "aux_dim": 32, "aux_depth": 1, "aux_heads": 4}


def method(**change):
    torch.manual_seed(1)
    made = deep_mrm.Method(deep_mrm.Config(**{**SMALL, **AUX, **change}), vocab_size=30).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.25)
    return made


def batch():
    torch.manual_seed(2)
    labels = torch.randint(4, 30, (3, 7))
    ids = labels.clone()
    ids[:, 2] = 3
    return {
        "image": torch.randn(3, 3, 32, 32),
        "ids": ids,
        "labels": labels,
        "attention_mask": torch.ones(3, 7, dtype=torch.int64),
        "noise": torch.rand(3, 16),
    }


def losses(made):
    with torch.no_grad():
        return {name: value.item() for name, value in made(batch()).items()}


def plain_mrm_of(deep):
    """MRM with the weights of `deep`, by name: an MRM loader can read it."""
    plain = mrm.Method(mrm.Config(**SMALL), vocab_size=30).eval()
    result = plain.load_state_dict(deep.state_dict(), strict=False)
    assert result.missing_keys == []
    assert {name.split(".")[0] for name in result.unexpected_keys} == {"aux_heads", "aux_pos_embed"}
    return plain


def test_the_last_blocks_losses_are_mrms():
    deep = method()
    ours, theirs = losses(deep), losses(plain_mrm_of(deep))
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs)


@pytest.mark.parametrize(("head", "number"), [(0, 1), (1, 3)])
def test_an_auxiliary_loss_is_mrms_on_an_encoder_cut_off_there_and_not_normed(head, number):
    deep = method()
    size = {**SMALL, "depth": number, "decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 4}
    cut = mrm.Method(mrm.Config(**size), vocab_size=30).eval()
    state = {k: v for k, v in deep.encoder.state_dict().items() if k in cut.encoder.state_dict()}
    cut.encoder.load_state_dict(state)
    cut.encoder.norm = nn.Identity()
    cut.image_decoder.load_state_dict(deep.aux_heads[head].state_dict())
    expected = losses(cut)["loss_image"]
    assert losses(deep)[f"loss_image_{number}"] == pytest.approx(expected, rel=1e-5)


def test_the_paper_size_adds_three_heads_of_the_stated_size():
    with torch.device("meta"):
        deep = deep_mrm.Method(deep_mrm.Config(), vocab_size=30000)
        plain = mrm.Method(mrm.Config(), vocab_size=30000)
    count = [sum(p.numel() for p in m.parameters()) for m in (deep, plain)]
    assert count[0] - count[1] == 3 * 14_580_736
    assert [name for name, _ in deep.aux_heads.named_children()] == ["0", "1", "2"]
    assert deep.taps == (6, 8, 10)
    assert deep.aux_heads[2].mask_token.shape == (1, 1, 512)


def test_the_heads_share_one_table_with_the_usual_frequencies():
    deep = method(pos_embed_legacy=True)
    assert torch.equal(deep.aux_pos_embed, sincos_table(4, 32))
    assert [n for n, _ in deep.named_buffers() if "pos_embed" in n] == [
        "decoder_pos_embed",
        "aux_pos_embed",
    ]


def test_each_head_has_a_mask_token_of_its_own():
    first, second = (head.mask_token for head in method().aux_heads)
    assert not torch.equal(first, second)


def test_a_sum_adds_each_head_with_its_weight():
    plain, half = losses(method()), losses(method(aux_weight=0.5))
    for name in ("loss_image_1", "loss_image_3"):
        assert half[name] == pytest.approx(0.5 * plain[name])
    assert half["loss_image"] == plain["loss_image"]
    assert half["loss_report"] == plain["loss_report"]


def test_a_mean_weighs_all_images_losses_together_as_much_as_the_report():
    summed, mean = losses(method()), losses(method(deep_loss_reduction="mean"))
    images = ("loss_image", "loss_image_1", "loss_image_3")
    assert sum(mean[n] for n in images) == pytest.approx(sum(summed[n] for n in images) / 3)
    assert mean["loss_report"] == summed["loss_report"]
    # with weights 1, 1/4, 1/4 the mean divides by their sum
    weighted = losses(method(deep_loss_reduction="mean", aux_weight=0.25))
    assert weighted["loss_image"] == pytest.approx(summed["loss_image"] / 1.5)
    assert weighted["loss_image_3"] == pytest.approx(0.25 * summed["loss_image_3"] / 1.5)


def gradients_of(loss):
    deep = method().train()
    deep(batch())[loss].backward()
    return {n: p.grad is not None and bool(p.grad.any()) for n, p in deep.named_parameters()}


def test_an_auxiliary_loss_trains_the_blocks_up_to_its_own_and_no_further():
    reached = gradients_of("loss_image_3")
    assert reached["encoder.patch_embed.proj.weight"]
    assert reached["encoder.blocks.2.mlp.fc2.weight"]
    assert reached["aux_heads.1.mask_token"]
    for name in ("encoder.blocks.3.mlp.fc2.weight", "encoder.norm.weight",
                 "aux_heads.0.mask_token", "image_decoder.mask_token"):  # fmt: skip
        assert not reached[name]


def test_the_report_hangs_on_the_last_block_alone():
    reached = gradients_of("loss_report")
    assert reached["encoder.norm.weight"]
    assert not any(on for name, on in reached.items() if name.startswith("aux_heads."))


@pytest.mark.parametrize("tap_blocks", ["", "0,1", "1,4", "3,1", "1,1", "two", "1,"])
def test_blocks_that_cannot_be_tapped_are_refused(tap_blocks):
    with pytest.raises(ConfigError, match="tap_blocks"):
        deep_mrm.Config(**{**SMALL, **AUX, "tap_blocks": tap_blocks})


@pytest.mark.parametrize(
    "change", [{"aux_dim": 30}, {"aux_dim": 6, "aux_heads": 3}, {"aux_depth": 0},
               {"aux_weight": -1.0}],
)  # fmt: skip
def test_a_head_that_cannot_work_is_refused_by_its_setting(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        deep_mrm.Config(**{**SMALL, **AUX, **change})
