"""Are MRM's losses those of the paper's released code, worked out again in NumPy?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import erf, logsumexp

from trainers import pretrain, weights
from trainers.config import ConfigError, resolve
from trainers.methods import baselines, deep_mrm, mrm
from trainers.modules.positions import sincos_table
from trainers.training import Training

SMALL = {
    "image_px": 16, "patch_px": 4, "embed_dim": 24, "depth": 2, "num_heads": 2,
    "decoder_dim": 16, "decoder_depth": 2, "decoder_heads": 2,
    "bert_dim": 12, "bert_depth": 2, "bert_heads": 3, "bert_dropout": 0.0, "report_length": 7,
}  # fmt: skip


def method(**change):
    """An eval-mode MRM all of whose parameters are random, so that none goes unnoticed."""
    torch.manual_seed(1)
    made = mrm.Method(mrm.Config(**{**SMALL, **change}), vocab_size=30).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.25)
    return made


def batch(px=32):
    torch.manual_seed(2)
    labels = torch.randint(4, 30, (3, 7))
    labels[1, 5:] = 0
    ids = labels.clone()
    ids[0, 2:4] = ids[1, 1] = ids[2, 5] = 3
    return {
        "image": torch.randn(3, 3, px, px),
        "ids": ids,
        "labels": labels,
        "attention_mask": (labels != 0).long(),
        "noise": torch.rand(3, 16),
    }


class Reference:
    """MRM in NumPy, float64, with the names of the published file."""

    def __init__(self, made):
        self.state = {
            weights.mrm_name(k): v.detach().double().numpy() for k, v in made.state_dict().items()
        }

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, x, name, eps):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    @staticmethod
    def gelu(x):
        return x * 0.5 * (1 + erf(x / np.sqrt(2)))

    @staticmethod
    def attend(q, k, v, heads, seen=None):
        parts = []
        for q_h, k_h, v_h in zip(*(np.split(t, heads, axis=-1) for t in (q, k, v)), strict=True):
            score = q_h @ k_h.T / np.sqrt(q_h.shape[-1])
            if seen is not None:
                score = score + np.where(seen, 0.0, -1e30)[None]
            share = np.exp(score - score.max(-1, keepdims=True))
            parts.append(share / share.sum(-1, keepdims=True) @ v_h)
        return np.concatenate(parts, axis=-1)

    def block(self, x, name, heads):
        qkv = self.linear(self.norm(x, f"{name}.norm1", 1e-6), f"{name}.attn.qkv")
        q, k, v = np.split(qkv, 3, axis=-1)
        x = x + self.linear(self.attend(q, k, v, heads), f"{name}.attn.proj")
        inner = self.linear(self.norm(x, f"{name}.norm2", 1e-6), f"{name}.mlp.fc1")
        return x + self.linear(self.gelu(inner), f"{name}.mlp.fc2")

    @staticmethod
    def halve(image):
        """Bicubic, not antialiased: each new pixel lies in the middle of the old 2nd and 3rd."""
        taps = np.array([-0.09375, 0.59375, 0.59375, -0.09375])
        for axis in (1, 2):
            n = image.shape[axis]
            at = np.clip(np.arange(0, n, 2)[:, None] + np.arange(-1, 3), 0, n - 1)
            image = np.moveaxis(np.moveaxis(image, axis, -1)[..., at] @ taps, -1, axis)
        return image

    @staticmethod
    def cut(image, px):
        side = image.shape[1] // px
        return np.stack(
            [
                image[:, r * px : (r + 1) * px, c * px : (c + 1) * px].transpose(1, 2, 0).ravel()
                for r in range(side)
                for c in range(side)
            ]
        )

    def encode(self, image, order, kept, depth=2, heads=2):
        pieces = self.cut(self.halve(image), 4)  # row, column, channel
        kernel = self.state["patch_embed.proj.weight"].transpose(0, 2, 3, 1).reshape(24, -1)
        positions = self.state["pos_embed"][0]
        x = pieces @ kernel.T + self.state["patch_embed.proj.bias"] + positions[1:]
        x = np.concatenate([self.state["cls_token"][0] + positions[:1], x[order[:kept]]])
        for i in range(depth):
            x = self.block(x, f"blocks.{i}", heads)
        return self.norm(x, "norm", 1e-6)

    def image_loss(self, image, order, kept, latent, norm_pix):
        x = self.linear(latent, "decoder_embed")
        full = np.empty((17, x.shape[1]))
        full[0] = x[0]
        full[1 + order[:kept]] = x[1:]
        full[1 + order[kept:]] = self.state["mask_token"][0, 0]
        x = full + self.state["decoder_pos_embed"][0]
        for i in range(2):
            x = self.block(x, f"decoder_blocks.{i}", 2)
        predicted = self.linear(self.norm(x, "decoder_norm", 1e-6), "decoder_pred")[1:]
        target = self.cut(image, 8)
        if norm_pix:
            spread = np.sqrt(target.var(axis=1, ddof=1, keepdims=True) + 1e-6)
            target = (target - target.mean(axis=1, keepdims=True)) / spread
        error = ((predicted - target) ** 2).mean(axis=1)
        return error[order[kept:]].sum(), 16 - kept

    def word_errors(self, ids, labels, attention_mask, latent):
        bert = "bert_encoder.model.bert"
        s = self.state
        x = (
            s[f"{bert}.embeddings.word_embeddings.weight"][ids]
            + s[f"{bert}.embeddings.position_embeddings.weight"][: len(ids)]
            + s[f"{bert}.embeddings.token_type_embeddings.weight"][0]
        )
        x = self.norm(x, f"{bert}.embeddings.LayerNorm", 1e-12)
        x = x + self.linear(latent, "bert_mlp")[1:].mean(axis=0)
        for i in range(2):
            layer = f"{bert}.encoder.layer.{i}"
            q, k, v = (
                self.linear(x, f"{layer}.attention.self.{n}") for n in ("query", "key", "value")
            )
            seen = self.attend(q, k, v, 3, attention_mask.astype(bool))
            seen = self.linear(seen, f"{layer}.attention.output.dense")
            x = self.norm(x + seen, f"{layer}.attention.output.LayerNorm", 1e-12)
            inner = self.gelu(self.linear(x, f"{layer}.intermediate.dense"))
            out = self.linear(inner, f"{layer}.output.dense")
            x = self.norm(x + out, f"{layer}.output.LayerNorm", 1e-12)
        head = "bert_encoder.model.cls.predictions"
        x = self.gelu(self.linear(x, f"{head}.transform.dense"))
        x = self.norm(x, f"{head}.transform.LayerNorm", 1e-12)
        logits = x @ s[f"{head}.decoder.weight"].T + s[f"{head}.bias"]
        return logsumexp(logits, axis=1) - logits[np.arange(len(ids)), labels]

    def losses(self, given, norm_pix=True):
        image_sum = image_count = 0
        every, masked = [], []
        for i in range(len(given["image"])):
            image = given["image"][i].double().numpy()
            order, kept = np.argsort(given["noise"][i].numpy()), 4
            latent = self.encode(image, order, kept)
            error, count = self.image_loss(image, order, kept, latent, norm_pix)
            image_sum, image_count = image_sum + error, image_count + count
            ids, labels = given["ids"][i].numpy(), given["labels"][i].numpy()
            errors = self.word_errors(ids, labels, given["attention_mask"][i].numpy(), latent)
            every.extend(errors)
            masked.extend(errors[ids == 3])
        return image_sum / image_count, np.mean(every), np.mean(masked)


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_the_losses_are_those_of_an_independent_forward(norm_pix_loss):
    made, given = method(norm_pix_loss=norm_pix_loss), batch()
    image, every, masked = Reference(made).losses(given, norm_pix=norm_pix_loss)
    with torch.no_grad():
        losses = made(given)
    assert losses["loss_image"].item() == pytest.approx(image, rel=1e-5)
    assert losses["loss_report"].item() == pytest.approx(every, rel=1e-5)
    assert losses["monitor/loss_report_masked"].item() == pytest.approx(masked, rel=1e-5)


def test_with_masked_positions_the_report_loss_is_the_hidden_words_alone():
    _, _, masked = Reference(method()).losses(batch())
    with torch.no_grad():
        losses = method(mlm_positions="masked")(batch())
    assert losses["loss_report"].item() == pytest.approx(masked, rel=1e-5)


def test_the_loss_weights_are_one_to_one_and_can_be_changed():
    with torch.no_grad():
        plain, heavier = method()(batch()), method(report_weight=3.0)(batch())
    assert heavier["loss_report"].item() == pytest.approx(3 * plain["loss_report"].item())
    assert heavier["loss_image"].item() == plain["loss_image"].item()


def test_the_paper_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        made = mrm.Method(mrm.Config(), vocab_size=30000)
    pooler = 384 * 384 + 384  # in the released file, unused, and not built here
    trained = sum(p.numel() for p in made.parameters() if p.requires_grad)
    assert trained + pooler == 151_302_576
    tables = made.encoder.pos_embed.numel() + made.decoder_pos_embed.numel()
    assert trained + tables + pooler == 151_605_168


@pytest.mark.parametrize("loss", ["loss_image", "loss_report"])
def test_each_loss_alone_trains_every_part_of_the_encoder(loss):
    made = method().train()
    made(batch())[loss].backward()
    silent = [
        name
        for name, p in made.encoder.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert silent == []


def test_every_parameter_is_used():
    made = method().train()
    losses = made(batch())
    (losses["loss_image"] + losses["loss_report"]).backward()
    assert [n for n, p in made.named_parameters() if p.requires_grad and p.grad is None] == []
    assert not losses["monitor/loss_report_masked"].requires_grad


def test_hidden_pixels_reach_neither_the_report_nor_the_prediction():
    made, given = method(super_resolution=1, norm_pix_loss=False), batch(px=16)
    hidden = int(given["noise"][0].argmax())
    row, column = divmod(hidden, 4)
    with torch.no_grad():
        before = made(given)
        given["image"][0, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] += 5
        after = made(given)
    assert after["loss_report"] == before["loss_report"]
    assert after["loss_image"] != before["loss_image"]


def test_without_noise_each_batch_is_masked_anew():
    made, given = method(), batch()
    del given["noise"]
    torch.manual_seed(0)
    with torch.no_grad():
        first, second = made(given)["loss_image"], made(given)["loss_image"]
        torch.manual_seed(0)
        again = made(given)["loss_image"]
    assert first != second
    assert first == again


def test_the_decoders_position_table_is_the_usual_one_unless_told_otherwise():
    assert torch.equal(method().decoder_pos_embed, sincos_table(4, 16))
    legacy = method(pos_embed_legacy=True)
    assert torch.equal(legacy.decoder_pos_embed, sincos_table(4, 16, legacy=True))
    assert not torch.equal(legacy.decoder_pos_embed, method().decoder_pos_embed)
    fresh = mrm.Method(mrm.Config(**SMALL, pos_embed_legacy=True), vocab_size=30)
    assert torch.equal(fresh.encoder.pos_embed, sincos_table(4, 24))


def test_antialiasing_changes_the_encoders_input():
    image = batch()["image"]
    plain, smooth = method().shrink(image), method(antialias=True).shrink(image)
    assert plain.shape == smooth.shape == (3, 3, 16, 16)
    assert smooth.std() < plain.std()


@pytest.mark.parametrize("module", [mrm, deep_mrm])
@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_presets_name_only_settings_that_exist_and_fit(module, preset):
    classes = [pretrain.Config, Training, module.Config]
    _, training, config = resolve(classes, preset=module.PRESETS[preset], given={})
    assert mrm.encoder_size(config) == baselines.size_of(preset)
    if preset == "paper":
        assert config == module.Config()
        assert training.batch_size * training.accum_iter == 256
        assert (training.epochs, training.warmup_epochs, training.blr) == (200, 40, 1.5e-4)
        assert (training.beta1, training.beta2, training.weight_decay) == (0.9, 0.95, 0.05)


def test_a_baseline_of_an_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match="paper, quick"):
        baselines.size_of("huge")


@pytest.mark.parametrize(
    "change",
    [
        {"mask_ratio": 1.0}, {"mask_ratio": 0.0}, {"mask_ratio": 0.99}, {"word_mask_ratio": 1.5},
        {"super_resolution": 0}, {"decoder_depth": 0}, {"bert_depth": 0}, {"report_length": 2},
        {"bert_dropout": 1.0}, {"report_weight": -1.0}, {"decoder_heads": 3}, {"bert_heads": 5},
        {"patch_px": 5}, {"num_heads": 5},
    ],
)  # fmt: skip
def test_a_setting_that_cannot_work_is_refused_by_its_name(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        mrm.Config(**{**SMALL, **change})


@pytest.mark.parametrize("module", [mrm, deep_mrm])
def test_two_steps_in_bf16_lower_a_finite_loss(module):
    torch.manual_seed(0)
    taps = {"tap_blocks": "1", "aux_dim": 16, "aux_heads": 2} if module is deep_mrm else {}
    made, given = module.Method(module.Config(**SMALL, **taps), vocab_size=30), batch()
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3)
    seen = []
    for _ in range(4):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = made(given)
        total = sum(v for k, v in losses.items() if not k.startswith("monitor/"))
        assert total.dtype == torch.float32
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(total.item())
    assert np.isfinite(seen).all()
    assert seen[-1] < seen[0]
