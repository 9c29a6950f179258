"""Are REFERS's losses those of its released code and names, worked out again in NumPy?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import erf, expit, log_softmax

from trainers import pretrain, weights
from trainers.config import ConfigError, resolve
from trainers.data import studies
from trainers.methods import baselines, refers, refers_mrm
from trainers.modules import vit
from trainers.training import Training

# published files say 64 a head
SMALL = {
    "image_px": 16, "patch_px": 8, "embed_dim": 128, "depth": 2, "num_heads": 2,
    "decoder_dim": 24, "decoder_depth": 2, "decoder_heads": 3,
    "bert_dim": 12, "bert_depth": 2, "bert_heads": 3, "report_length": 7,
}  # fmt: skip
METHODS = [refers, refers_mrm]


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors are worked on faster by one thread, on a busy machine by far."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def method(module=refers, **change):
    """An eval-mode method all of whose parameters are random, so that none goes unnoticed."""
    torch.manual_seed(1)
    made = module.Method(module.Config(**{**SMALL, **change}), vocab_size=30).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.normal_(std=0.2)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.add_(1)  # else each layer would shrink what it passes on
    return made


def batch():
    torch.manual_seed(2)
    ids = torch.randint(3, 30, (4, 7))
    ids[:, 0], ids[0, 3], ids[1, 5:], ids[3, 4:] = 1, 0, 0, 0
    labels = ids.clone()
    labels[1, 5:] = labels[3, 4:] = -100
    text = torch.randint(3, 30, (4, 7))
    text[2, 4:] = 0
    return {
        "image": torch.randn(4, 3, 3, 16, 16),
        "ids": ids,
        "labels": labels,
        "text_ids": text,
        "text_mask": (text != 0).long(),
    }


BLOCK = {
    "norm1": "attention_norm", "norm2": "ffn_norm", "attn.proj": "attn.out",
    "mlp.fc1": "ffn.fc1", "mlp.fc2": "ffn.fc2",
}  # fmt: skip
OUTER = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.bias",
    "norm.weight": "encoder.encoder_norm.weight",
    "norm.bias": "encoder.encoder_norm.bias",
}


def published(made):
    """The state of a method under the names in `checkpoint_{iteration}.pth`."""
    state = {}
    for name, value in made.state_dict().items():
        if not name.startswith("encoder."):
            state[name] = value
            continue
        bare = name.removeprefix("encoder.")
        if bare in OUTER:
            state[f"visual.vit.transformer.{OUTER[bare]}"] = value
            continue
        _, number, rest = bare.split(".", 2)
        part, end = rest.rsplit(".", 1)
        layer = f"visual.vit.transformer.encoder.layer.{number}"
        if part == "attn.qkv":
            for third, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[f"{layer}.attn.{third}.{end}"] = piece
        else:
            state[f"{layer}.{BLOCK[part]}.{end}"] = value
    return {name: value.clone() for name, value in state.items()}


class Reference:
    """REFERS in NumPy, float64, with the names of the published file."""

    def __init__(self, state):
        self.state = {name: value.double().numpy() for name, value in state.items()}

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
                score = score + np.where(seen, 0.0, -1e30)
            share = np.exp(score - score.max(-1, keepdims=True))
            parts.append(share / share.sum(-1, keepdims=True) @ v_h)
        return np.concatenate(parts, axis=-1)

    def view(self, image):
        """One view (3, 16, 16) as class token and four patches (5, 128)."""
        root = "visual.vit.transformer"
        pieces = [image[:, r : r + 8, c : c + 8].ravel() for r in (0, 8) for c in (0, 8)]
        kernel = self.state[f"{root}.embeddings.patch_embeddings.weight"].reshape(128, -1)
        x = np.stack(pieces) @ kernel.T + self.state[f"{root}.embeddings.patch_embeddings.bias"]
        x = np.concatenate([self.state[f"{root}.embeddings.cls_token"][0], x])
        x = x + self.state[f"{root}.embeddings.position_embeddings"][0]
        for i in range(2):
            layer = f"{root}.encoder.layer.{i}"
            h = self.norm(x, f"{layer}.attention_norm", 1e-6)
            q, k, v = (self.linear(h, f"{layer}.attn.{n}") for n in ("query", "key", "value"))
            x = x + self.linear(self.attend(q, k, v, 2), f"{layer}.attn.out")
            h = self.gelu(self.linear(self.norm(x, f"{layer}.ffn_norm", 1e-6), f"{layer}.ffn.fc1"))
            x = x + self.linear(h, f"{layer}.ffn.fc2")
        return self.norm(x, f"{root}.encoder.encoder_norm", 1e-6)

    def fused(self, views):
        seen = [self.view(view) for view in views]
        features = [tokens[1:] + tokens[:1] for tokens in seen]
        beside = np.concatenate(features, axis=1)  # (4, 384)
        weighted = [
            expit(self.linear(beside, f"fusion.fc{i}")) * feature
            for i, feature in enumerate(features, start=1)
        ]
        return np.concatenate(weighted), np.concatenate([tokens[0] for tokens in seen])

    def word_errors(self, ids, labels, memory, legacy):
        """The error of each scored next word, and whether it had the highest logit."""
        s = self.state
        x = s["textual.embedding.words.weight"][ids]
        x = x + s["textual.embedding.positions.weight"][: len(ids)]
        x = self.norm(x, "textual.embedding.layer_norm", 1e-8)
        if legacy:
            x = x * (ids != 0)[:, None]
        memory = self.linear(memory, "textual.visual_projection")
        before = np.tril(np.ones((len(ids), len(ids)), dtype=bool))
        for i in range(2):
            layer = f"textual.transformer.layers.{i}"
            for kind, norm, seen in (("self_attn", "norm1", before),
                                     ("multihead_attn", "norm2", None)):  # fmt: skip
                kernel = np.split(s[f"{layer}.{kind}.in_proj_weight"], 3)
                bias = np.split(s[f"{layer}.{kind}.in_proj_bias"], 3)
                other = x if kind == "self_attn" else memory
                q, k, v = (
                    t @ w.T + b for t, w, b in zip((x, other, other), kernel, bias, strict=True)
                )
                out = self.linear(self.attend(q, k, v, 3, seen), f"{layer}.{kind}.out_proj")
                x = self.norm(x + out, f"{layer}.{norm}", 1e-5)
            out = self.linear(self.gelu(self.linear(x, f"{layer}.linear1")), f"{layer}.linear2")
            x = self.norm(x + out, f"{layer}.norm3", 1e-5)
        logits = x @ s["textual.output.weight"].T + s["textual.output.bias"]
        logp = log_softmax(logits, axis=1)
        where = [t for t in range(len(ids) - 1) if labels[t + 1] != -100]
        if legacy:
            where = [t for t in where if labels[t + 1] != 0]
        return [(-logp[t, labels[t + 1]], logp[t].argmax() == labels[t + 1]) for t in where]

    def text(self, ids, mask, pooled):
        bert = "contrastive_bert.text_encoder"
        s = self.state
        x = s[f"{bert}.embeddings.word_embeddings.weight"][ids]
        x = x + s[f"{bert}.embeddings.position_embeddings.weight"][: len(ids)]
        x = x + s[f"{bert}.embeddings.token_type_embeddings.weight"][0]
        x = self.norm(x, f"{bert}.embeddings.LayerNorm", 1e-12)
        for i in range(2):
            layer = f"{bert}.encoder.layer.{i}"
            q, k, v = (
                self.linear(x, f"{layer}.attention.self.{n}") for n in ("query", "key", "value")
            )
            out = self.linear(
                self.attend(q, k, v, 3, mask[None] == 1), f"{layer}.attention.output.dense"
            )
            x = self.norm(x + out, f"{layer}.attention.output.LayerNorm", 1e-12)
            inner = self.gelu(self.linear(x, f"{layer}.intermediate.dense"))
            out = self.linear(inner, f"{layer}.output.dense")
            x = self.norm(x + out, f"{layer}.output.LayerNorm", 1e-12)
        first = x[0]
        if pooled:
            first = np.tanh(self.linear(first, f"{bert}.pooler.dense"))
        return self.linear(first, "contrastive_bert.fc")

    def losses(self, given, *, legacy=False, pooled=True):
        words, whole, reports = [], [], []
        for i in range(len(given["ids"])):
            memory, image = self.fused(given["image"][i].double().numpy())
            ids, labels = given["ids"][i].numpy(), given["labels"][i].numpy()
            words += self.word_errors(ids, labels, memory, legacy)
            text_ids, mask = given["text_ids"][i].numpy(), given["text_mask"][i].numpy()
            whole.append(image)
            reports.append(self.text(text_ids, mask, pooled))
        v, u = (np.stack(x) / np.linalg.norm(x, axis=1, keepdims=True) for x in (whole, reports))
        alike = v @ u.T / 0.1
        to_text = -log_softmax(alike, axis=1).diagonal().mean()
        to_image = -log_softmax(alike, axis=0).diagonal().mean()
        errors, hits = zip(*words, strict=True)
        return {
            "loss_report": np.mean(errors),
            "loss_contrast": 0.75 * to_text + 0.25 * to_image,
            "monitor/token_accuracy": np.mean(hits),
            "monitor/loss_image_to_text": to_text,
            "monitor/loss_text_to_image": to_image,
            "monitor/recall_at_1": np.mean(alike.argmax(axis=1) == np.arange(len(v))),
        }


@pytest.mark.parametrize("module", METHODS)
def test_the_losses_are_those_of_an_independent_forward_on_the_published_names(module):
    made, given = method(module), batch()
    expected = Reference(published(made)).losses(given, pooled=module is refers)
    with torch.no_grad():
        losses = made(given)
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=2e-5), name


def test_the_released_codes_way_with_unknown_words_is_an_option():
    made, given = method(legacy_unknown=True), batch()
    expected = Reference(published(made)).losses(given, legacy=True)
    given["labels"][given["labels"] == 0] = -100  # as `captions.caption` leaves them
    with torch.no_grad():
        losses = made(given)
    assert losses["loss_report"].item() == pytest.approx(expected["loss_report"], rel=2e-5)
    plain = Reference(published(made)).losses(given)
    assert plain["loss_report"] != pytest.approx(expected["loss_report"], rel=1e-3)


@pytest.mark.parametrize("module", METHODS)
def test_a_published_pretraining_is_gone_on_from_with_every_part(tmp_path, module):
    made = method(module)
    path = tmp_path / "checkpoint_400000.pth"
    torch.save({"model": published(made), "optimizer": {}, "scheduler": {}, "iteration": 4}, path)
    torch.manual_seed(5)
    fresh = module.Method(module.Config(**SMALL), vocab_size=30).eval()
    report = weights.start_from(fresh, path)
    assert (report.kind, report.missing, report.unexpected) == ("refers", (), {})
    for name, value in made.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name
    assert weights.vocab_size_of(path) == 30


def test_the_visual_tower_alone_is_enough_to_start_from(tmp_path):
    made = method()
    flat = {
        name.removeprefix("visual.vit."): value
        for name, value in published(made).items()
        if name.startswith("visual.")
    }
    torch.save(flat, tmp_path / "refers_checkpoint.pth")
    fresh = refers.Method(refers.Config(**SMALL), vocab_size=30).eval()
    report = weights.start_from(fresh, tmp_path / "refers_checkpoint.pth")
    assert report.missing == ("fusion", "textual", "contrastive_bert")
    image = torch.randn(2, 3, 16, 16)
    expected = np.stack([Reference(published(made)).view(x.double().numpy()) for x in image])
    with torch.no_grad():
        np.testing.assert_allclose(
            vit.encode(fresh.encoder, image).numpy(), expected, rtol=1e-4, atol=1e-4
        )


def test_the_paper_size_has_the_published_shapes():
    with torch.device("meta"):
        made = refers.Method(refers.Config(), vocab_size=10000)
    shapes = {name: tuple(value.shape) for name, value in made.state_dict().items()}
    expected = {
        "encoder.pos_embed": (1, 197, 768),
        "fusion.fc1.weight": (1, 2304),
        "fusion.fc3.bias": (1,),
        "contrastive_bert.fc.weight": (2304, 768),
        "contrastive_bert.text_encoder.encoder.layer.11.output.dense.weight": (768, 3072),
        "textual.visual_projection.weight": (1024, 768),
        "textual.embedding.words.weight": (10000, 1024),
        "textual.embedding.positions.weight": (100, 1024),
        "textual.embedding.layer_norm.weight": (1024,),
        "textual.transformer.layers.0.self_attn.in_proj_weight": (3072, 1024),
        "textual.transformer.layers.0.multihead_attn.out_proj.bias": (1024,),
        "textual.transformer.layers.0.linear1.weight": (4096, 1024),
        "textual.output.weight": (10000, 1024),
        "textual.output.bias": (10000,),
    }
    assert {name: shapes[name] for name in expected} == expected
    assert not any(name.startswith("textual.transformer.layers.1.") for name in shapes)


def text_gradient(**change):
    made = method(image_to_text=0.0, **change)
    losses = made(batch())
    total = losses["loss_report"] + losses["loss_contrast"]
    total.backward()
    return losses["loss_contrast"].item(), made.contrastive_bert.fc.weight.grad


def test_both_directions_are_trained_unless_the_released_fault_is_asked_for():
    """With all weight on text-to-image, the text can learn from that direction alone."""
    value, gradient = text_gradient()
    legacy_value, legacy_gradient = text_gradient(legacy_detach=True)
    assert value == legacy_value
    assert gradient.abs().sum() > 0
    assert not legacy_gradient.any()


def test_the_released_fault_leaves_three_quarters_of_one_direction():
    detached = method(legacy_detach=True)
    detached(batch())["loss_contrast"].backward()
    one = method(image_to_text=1.0)
    (0.75 * one(batch())["loss_contrast"]).backward()
    for (name, a), b in zip(detached.named_parameters(), one.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, msg=name)


@pytest.mark.parametrize("module", METHODS)
@pytest.mark.parametrize("loss", ["loss_report", "loss_contrast"])
def test_each_loss_alone_trains_the_encoder(module, loss):
    made = method(module).train()
    made(batch())[loss].backward()
    silent = [
        n
        for n, p in made.encoder.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert silent == []
    assert made.encoder.pos_embed.requires_grad == (module is refers)


@pytest.mark.parametrize("module", METHODS)
def test_every_parameter_is_used(module):
    made = method(module).train()
    losses = made(batch())
    sum(v for k, v in losses.items() if not k.startswith("monitor/")).backward()
    assert [n for n, p in made.named_parameters() if p.requires_grad and p.grad is None] == []
    assert not any(v.requires_grad for k, v in losses.items() if k.startswith("monitor/"))


def test_the_weight_of_the_contrast_can_be_changed():
    with torch.no_grad():
        plain, heavier = method()(batch()), method(contrast_weight=3.0)(batch())
    assert heavier["loss_contrast"].item() == pytest.approx(3 * plain["loss_contrast"].item())
    assert heavier["loss_report"].item() == plain["loss_report"].item()


def test_no_word_is_foretold_from_itself_or_from_what_follows():
    made, given = method(), batch()
    given["labels"][:, 1:] = -100
    given["labels"][:, 3] = given["ids"][:, 3]
    with torch.no_grad():
        before = made(given)["loss_report"]
        given["ids"][:, 3:] = 7
        assert made(given)["loss_report"] == before
        given["ids"][:, 2] = 7
        assert made(given)["loss_report"] != before


def test_every_view_reaches_the_report_and_the_contrast():
    made, given = method(), batch()
    with torch.no_grad():
        before = made(given)
        for view in range(3):
            other = {**given, "image": given["image"].clone()}
            other["image"][:, view] += torch.randn(4, 3, 16, 16)
            after = made(other)
            assert after["loss_report"] != before["loss_report"]
            assert after["loss_contrast"] != before["loss_contrast"]


def test_dropout_of_refers_is_in_the_encoders_input_and_mlps_and_off_in_eval_mode():
    made = method(encoder_dropout=0.4, decoder_dropout=0.0, bert_dropout=0.0)
    image = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.manual_seed(0)
        still = vit.encode(made.encoder, image)
        assert torch.equal(still, vit.encode(made.encoder, image))
        made.train()
        assert not torch.equal(vit.encode(made.encoder, image), still)
    rates = {n: m.p for n, m in made.encoder.named_modules() if isinstance(m, torch.nn.Dropout)}
    on = {name for name, p in rates.items() if p}
    assert on == {"pos_drop", *(f"blocks.{i}.mlp.drop{j}" for i in (0, 1) for j in (1, 2))}
    fresh = refers_mrm.Method(refers_mrm.Config(**SMALL), vocab_size=30)
    assert not any(m.p for m in fresh.encoder.modules() if isinstance(m, torch.nn.Dropout))


def test_the_text_encoder_learns_more_slowly_in_refers_alone():
    config = refers.Config()
    assert refers.rate_of(config, "contrastive_bert.fc.weight") == 0.1
    assert refers.rate_of(config, "textual.output.weight") == 1.0
    assert refers.rate_of(config, "encoder.blocks.0.attn.qkv.weight") == 1.0
    assert not hasattr(refers_mrm, "rate_of")


def test_a_part_of_the_text_encoder_can_be_left_as_it_is():
    made = method(freeze_embeddings=True, freeze_layers=1).train()
    made(batch())["loss_contrast"].backward()
    bert = made.contrastive_bert.text_encoder
    assert all(p.grad is None for p in bert.embeddings.parameters())
    assert all(p.grad is None for p in bert.encoder.layer[0].parameters())
    assert all(p.grad is not None for p in bert.encoder.layer[1].parameters())


@pytest.mark.parametrize("module", METHODS)
@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_presets_name_only_settings_that_exist_and_fit(module, preset):
    classes = [pretrain.Config, Training, module.Config]
    _, training, config = resolve(classes, preset=module.PRESETS[preset], given={})
    assert module.encoder_size(config) == baselines.size_of(preset)
    if preset == "quick":
        return
    assert config == module.Config()
    if module is refers:
        assert (training.optimizer, training.lr, training.weight_decay) == ("sgd", 3e-3, 1e-4)
        assert (training.steps, training.warmup_steps) == (400_000, 10_000)
        assert (training.lookahead_k, training.lookahead_alpha) == (5, 0.5)
        assert training.clip_grad == 10
    else:
        assert training.optimizer == "adamw"
        assert training.blr * training.batch_size * training.accum_iter / 256 == 1.5e-4
        assert (training.epochs, training.warmup_epochs) == (20, 4)


def test_each_method_sees_radiographs_as_its_paper_does():
    looks = [m.items(m.Config(), [], None, train=True).look for m in METHODS]
    assert looks == [studies.REFERS, studies.MRM]
    wider = refers.items(refers.Config(crop="wider"), [], None, train=True)
    assert wider.look == studies.WIDER
    assert (wider.hflip, refers_mrm.Config().hflip) == ("on_with_text_swap", "off")


@pytest.mark.parametrize(
    "change",
    [
        {"decoder_dropout": 1.0}, {"bert_dropout": -0.1}, {"decoder_heads": 5}, {"bert_heads": 5},
        {"decoder_depth": 0}, {"bert_depth": 0}, {"report_length": 2}, {"contrast_weight": -1.0},
        {"temperature": 0.0}, {"image_to_text": 1.5}, {"patch_px": 5}, {"num_heads": 5},
    ],
)  # fmt: skip
@pytest.mark.parametrize("module", METHODS)
def test_a_setting_that_cannot_work_is_refused_by_its_name(module, change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        module.Config(**{**SMALL, **change})


@pytest.mark.parametrize("change", [{"encoder_dropout": 1.0}, {"freeze_layers": -1},
                                    {"bert_rate": -1.0}])  # fmt: skip
def test_so_is_one_that_only_refers_has(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        refers.Config(**{**SMALL, **change})


@pytest.mark.parametrize("module", METHODS)
def test_a_few_steps_in_bf16_lower_a_finite_loss(module):
    torch.manual_seed(0)
    made, given = module.Method(module.Config(**SMALL), vocab_size=30), batch()
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    seen = []
    for _ in range(6):
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


@pytest.mark.parametrize("module", METHODS)
def test_a_few_studies_learnt_by_heart_find_their_reports_and_foretell_them(module):
    torch.manual_seed(0)
    made = module.Method(module.Config(**{**SMALL, "embed_dim": 24}), vocab_size=30)
    given = batch()
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3)
    for _ in range(80):
        losses = made(given)
        (losses["loss_report"] + losses["loss_contrast"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        losses = made.eval()(given)
    assert losses["monitor/recall_at_1"] == 1
    assert losses["loss_contrast"] < 0.3  # from ln 4
    assert losses["monitor/token_accuracy"] > 0.7
