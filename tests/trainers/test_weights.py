"""Does a file in any published layout give the encoder that was put into it, and harm nobody?"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from trainers import weights
from trainers.config import ConfigError, InputError, MissingError
from trainers.methods import deep_mrm, mrm
from trainers.modules import vit
from trainers.modules.vit import EncoderSize

SIZE = EncoderSize(image_px=32, patch_px=8, embed_dim=128, depth=2, num_heads=2)
SMALL = {
    "image_px": 32, "patch_px": 8, "embed_dim": 128, "depth": 2, "num_heads": 2,
    "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2,
    "bert_dim": 16, "bert_depth": 1, "bert_heads": 2, "report_length": 6,
}  # fmt: skip


def fill(module, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.normal_(std=0.2)
    return module.eval()


@pytest.fixture
def encoder():
    return fill(vit.build_encoder(SIZE, fixed_positions=True), 1)


def features(encoder):
    torch.manual_seed(7)
    with torch.no_grad():
        return vit.encode(encoder, torch.randn(2, 3, 32, 32))


def fresh(size=SIZE):
    return fill(vit.build_encoder(size, fixed_positions=False), 99)


def mrm_layout(method):
    """The tensors of `method` as the released code would have saved them, by hand."""
    state = {}
    for name, tensor in method.state_dict().items():
        for part in ("encoder.", "image_decoder.", "report_decoder."):
            if name.startswith(part):
                name = name[len(part) :]
                break
        state[name] = tensor
    bert = "bert_encoder.model.bert."
    state[f"{bert}embeddings.position_ids"] = torch.arange(6)[None]
    state[f"{bert}pooler.dense.weight"] = torch.randn(16, 16)
    state[f"{bert}pooler.dense.bias"] = torch.randn(16)
    return state


def refers_layout(state, prefix):
    """Query, key and value apart, and the names of the ViT that REFERS took over."""
    names = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.bias",
        "norm.weight": "encoder.encoder_norm.weight",
        "norm.bias": "encoder.encoder_norm.bias",
    }
    inner = {"norm1": "attention_norm", "norm2": "ffn_norm", "attn.proj": "attn.out",
             "mlp.fc1": "ffn.fc1", "mlp.fc2": "ffn.fc2"}  # fmt: skip
    out = {}
    for name, tensor in state.items():
        if name in names:
            out[f"{prefix}transformer.{names[name]}"] = tensor
            continue
        _, number, rest = name.split(".", 2)
        layer = f"{prefix}transformer.encoder.layer.{number}"
        part, end = rest.rsplit(".", 1)
        if part == "attn.qkv":
            for which, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                out[f"{layer}.attn.{which}.{end}"] = third
        else:
            out[f"{layer}.{inner[part]}.{end}"] = tensor
    return out


def jax_layout(state):
    """Kernels as (in, out), heads apart, patches as HWIO."""
    s = {name: tensor.numpy() for name, tensor in state.items()}
    out = {
        "cls": s["cls_token"],
        "Transformer/posembed_input/pos_embedding": s["pos_embed"],
        "embedding/kernel": s["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": s["patch_embed.proj.bias"],
        "Transformer/encoder_norm/scale": s["norm.weight"],
        "Transformer/encoder_norm/bias": s["norm.bias"],
        "head/kernel": np.zeros((128, 10), np.float32),
        "head/bias": np.zeros(10, np.float32),
    }
    for i in range(2):
        to, of = f"Transformer/encoderblock_{i}", f"blocks.{i}"
        attention = f"{to}/MultiHeadDotProductAttention_1"
        for j, which in enumerate(("query", "key", "value")):
            rows = slice(128 * j, 128 * (j + 1))
            kernel = s[f"{of}.attn.qkv.weight"][rows].T
            out[f"{attention}/{which}/kernel"] = kernel.reshape(128, 2, 64)
            out[f"{attention}/{which}/bias"] = s[f"{of}.attn.qkv.bias"][rows].reshape(2, 64)
        out[f"{attention}/out/kernel"] = s[f"{of}.attn.proj.weight"].T.reshape(2, 64, 128)
        out[f"{attention}/out/bias"] = s[f"{of}.attn.proj.bias"]
        for old, new in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            out[f"{to}/{new}/scale"] = s[f"{of}.{old}.weight"]
            out[f"{to}/{new}/bias"] = s[f"{of}.{old}.bias"]
        for old, new in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            out[f"{to}/MlpBlock_3/{new}/kernel"] = s[f"{of}.mlp.{old}.weight"].T
            out[f"{to}/MlpBlock_3/{new}/bias"] = s[f"{of}.mlp.{old}.bias"]
    return out


def write(folder, layout, encoder):
    """Write `encoder` in a published layout; returns the file."""
    state, path = encoder.state_dict(), folder / f"{layout}.pth"
    if layout == "npz":
        path = folder / "ViT-B_16.npz"
        np.savez(path, **jax_layout(state))
        return path
    content = {
        "mae": lambda: {"model": state},
        "mrm": lambda: {
            "model": mrm_layout(method_around(encoder)),
            "epoch": 199,
            "args": argparse.Namespace(model="mrm", lr=None, norm_pix_loss=True),
        },
        "deepmim": lambda: {"model": {**state, "decoder_embed1.weight": torch.zeros(2, 2)}},
        "refers": lambda: {"model": refers_layout(state, "visual.vit."), "iteration": 3},
        "refers_flat": lambda: refers_layout(state, ""),
        "timm": lambda: {**state, "head.weight": torch.zeros(14, 128), "head.bias": torch.ones(14)},
        "timm_distributed": lambda: {
            "state_dict": {f"module.{k}": v for k, v in state.items()}
            | {"head.bias": torch.ones(1)}
        },
    }[layout]()
    torch.save(content, path)
    return path


def method_around(encoder):
    method = fill(mrm.Method(mrm.Config(**SMALL), vocab_size=20), 3)
    method.encoder.load_state_dict(encoder.state_dict())
    return method


LAYOUTS = ["mae", "mrm", "deepmim", "refers", "refers_flat", "npz", "timm", "timm_distributed"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_layout_gives_the_encoder_that_was_saved(tmp_path, encoder, layout):
    state, size, report = weights.load_encoder(write(tmp_path, layout, encoder))
    assert size == SIZE
    assert report.kind == layout.split("_")[0]
    assert report.missing == ()
    other = fresh()
    weights.fit_encoder(other, state, size)
    assert torch.equal(features(other), features(encoder))


def test_an_encoder_of_ours_loads_into_a_plain_timm_vit(tmp_path):
    # a head of 8 values: the file itself must say so
    size = replace(SIZE, embed_dim=24, num_heads=3)
    encoder = fill(vit.build_encoder(size, fixed_positions=True), 1)
    content = weights.encoder_content(encoder, size, config={"recipe": "x"}, step=5)
    torch.save(content, tmp_path / "encoder.pt")
    plain = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0,
        global_pool="", norm_layer=vit.NORM,
    ).eval()  # fmt: skip
    saved = torch.load(tmp_path / "encoder.pt", weights_only=True)
    plain.load_state_dict(saved["model"])
    torch.manual_seed(7)
    with torch.no_grad():
        assert torch.equal(plain(torch.randn(2, 3, 32, 32)), features(encoder))
    _, found, report = weights.load_encoder(tmp_path / "encoder.pt")
    assert found == size
    assert report.kind == "cxrlab"


def test_a_training_state_gives_its_encoder(tmp_path, encoder):
    method = method_around(encoder)
    content = {"model": method.state_dict(), "config": {"recipe": "x", "num_heads": 2}}
    torch.save(content, tmp_path / "last.pt")
    state, size, report = weights.load_encoder(tmp_path / "last.pt")
    assert (size, report.kind) == (SIZE, "cxrlab")
    assert torch.equal(state["blocks.1.mlp.fc1.bias"], encoder.blocks[1].mlp.fc1.bias)


def test_a_file_of_ours_without_a_number_of_heads_is_not_guessed_at(tmp_path, encoder):
    content = {"model": method_around(encoder).state_dict(), "config": {"recipe": "x"}}
    torch.save(content, tmp_path / "best.pt")
    with pytest.raises(InputError, match="does not say how many heads"):
        weights.load_encoder(tmp_path / "best.pt")


@pytest.mark.parametrize("name", [
    n for n in weights.encoder_shapes(128, 2, 8) if not n.startswith("norm.")
])  # fmt: skip
def test_a_file_that_lacks_any_encoder_tensor_is_refused_by_its_name(tmp_path, encoder, name):
    state = encoder.state_dict()
    del state[name]
    torch.save({"model": state}, tmp_path / "x.pth")
    # without a patch projection, nothing shows that it is a vision transformer
    named = "no vision transformer" if name == "patch_embed.proj.weight" else f"`{name}`"
    with pytest.raises(InputError, match=named):
        weights.load_encoder(tmp_path / "x.pth")


def test_the_final_norm_may_be_absent_and_then_stays_as_it_was(tmp_path, encoder):
    state = {k: v for k, v in encoder.state_dict().items() if not k.startswith("norm.")}
    torch.save({**state, "fc_norm.weight": torch.ones(128), "head.bias": torch.ones(2)},
               tmp_path / "x.bin")  # fmt: skip
    state, size, report = weights.load_encoder(tmp_path / "x.bin")
    assert report.missing == ("norm.weight", "norm.bias")
    assert report.unexpected == {"fc_norm": 1, "head": 1}
    other = fresh()
    before = other.norm.weight.clone()
    weights.fit_encoder(other, state, size)
    assert torch.equal(other.norm.weight, before)


def test_a_classifier_keeps_its_own_head_and_fc_norm(tmp_path, encoder):
    state, size, _ = weights.load_encoder(write(tmp_path, "mrm", encoder))
    classifier = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=128, depth=2, num_heads=2, num_classes=14,
        global_pool="avg", norm_layer=vit.NORM,
    )  # fmt: skip
    head = classifier.head.weight.clone()
    weights.fit_encoder(classifier, state, size)
    assert torch.equal(classifier.head.weight, head)
    assert torch.equal(classifier.fc_norm.weight, torch.ones(128))
    assert torch.equal(classifier.blocks[0].norm1.weight, encoder.blocks[0].norm1.weight)


def test_mrms_file_is_reported_group_by_group(tmp_path, encoder):
    _, _, report = weights.load_encoder(write(tmp_path, "mrm", encoder))
    assert report.unexpected["decoder_blocks"] == 12
    assert report.unexpected["bert_mlp"] == 2
    assert set(report.unexpected) == {
        "decoder_pos_embed", "mask_token", "decoder_embed", "decoder_blocks", "decoder_norm",
        "decoder_pred", "bert_mlp", "bert_encoder",
    }  # fmt: skip
    assert "layout mrm" in str(report)


class Trap:
    """Unpickled by an ordinary loader, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_file_that_wants_to_run_code_is_refused_by_name(tmp_path, encoder):
    trap = tmp_path / "sprung"
    torch.save({"model": encoder.state_dict(), "args": Trap(trap)}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"evil\.pth is refused.*posix\.system"):
        weights.load_encoder(tmp_path / "evil.pth")
    assert not trap.exists()


def test_a_namespace_cannot_smuggle_code_in(tmp_path):
    trap = tmp_path / "sprung"
    torch.save({"args": argparse.Namespace(lr=Trap(trap))}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="is refused"):
        weights.read_checkpoint(tmp_path / "evil.pth")
    assert not trap.exists()


def test_the_allow_list_does_not_outlive_the_reading(tmp_path, encoder):
    weights.load_encoder(write(tmp_path, "mrm", encoder))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_pickled_objects_in_an_npz_are_refused(tmp_path):
    trap = tmp_path / "sprung"
    np.savez(tmp_path / "evil.npz", cls=np.array([Trap(trap)], dtype=object))
    with pytest.raises(InputError, match=r"evil\.npz is refused"):
        weights.load_encoder(tmp_path / "evil.npz")
    assert not trap.exists()


@pytest.mark.parametrize("name", ["x.pth", "x.npz", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04rubbish"])
def test_a_file_that_is_none_is_refused_with_its_path(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        weights.load_encoder(tmp_path / name)


@pytest.mark.parametrize("layout", ["mae", "npz"])
def test_a_torn_file_is_refused(tmp_path, encoder, layout):
    path = write(tmp_path, layout, encoder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cannot be read|no file of weights"):
        weights.load_encoder(path)


def test_an_absent_file_is_missing_and_not_wrong(tmp_path):
    with pytest.raises(MissingError, match="does not exist"):
        weights.load_encoder(tmp_path / "x.pth")


def test_a_resnet_is_refused_with_what_it_holds(tmp_path):
    state = {"res_features.0.weight": torch.zeros(3), "bert_l1.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "convirt.pth")
    with pytest.raises(InputError, match=r"res_features \(1\), bert_l1 \(1\)"):
        weights.load_encoder(tmp_path / "convirt.pth")


@pytest.mark.parametrize(
    ("name", "tensor", "named"),
    [
        ("blocks.0.ls1.gamma", torch.ones(128), "no part of a plain ViT"),
        ("blocks.1.mlp.fc1.bias", torch.ones(3), "expected .512,"),
        ("blocks.1.mlp.fc1.bias", torch.full((512,), torch.nan), "not finite"),
        ("pos_embed", torch.ones(1, 16, 128), "a class token and a square grid"),
    ],
)
def test_a_tensor_that_cannot_be_right_is_refused(tmp_path, encoder, name, tensor, named):
    torch.save({"model": {**encoder.state_dict(), name: tensor}}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=named):
        weights.load_encoder(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "change", [{"depth": 3}, {"embed_dim": 64}, {"num_heads": 4}, {"image_px": 64, "patch_px": 16}]
)
def test_weights_of_another_encoder_are_refused_with_what_differs(tmp_path, encoder, change):
    state, size, _ = weights.load_encoder(write(tmp_path, "mae", encoder))
    with pytest.raises(InputError, match=next(reversed(change))):
        weights.fit_encoder(fresh(replace(SIZE, **change)), state, size)


def test_half_precision_files_are_read_as_float32(tmp_path, encoder):
    torch.save({"model": encoder.half().state_dict()}, tmp_path / "x.pth")
    state, _, _ = weights.load_encoder(tmp_path / "x.pth")
    assert {t.dtype for t in state.values()} == {torch.float32}


def test_positions_are_resampled_for_another_image_side(tmp_path, encoder):
    state, size, _ = weights.load_encoder(write(tmp_path, "mae", encoder))
    bigger = fill(vit.build_encoder(SIZE, fixed_positions=False, image_px=64), 5)
    weights.fit_encoder(bigger, state, size)
    assert bigger.pos_embed.shape == (1, 65, 128)
    assert torch.equal(bigger.pos_embed[:, 0], encoder.pos_embed[:, 0])
    assert torch.equal(bigger.blocks[0].attn.qkv.weight, encoder.blocks[0].attn.qkv.weight)


def test_positions_are_resampled_by_cubic_convolution_centre_to_centre():
    table = torch.randn(1, 1 + 14 * 14, 2)
    old = table[0, 1:].reshape(14, 14, 2).double().numpy()

    def weight(d, a=-0.75):  # Keys' kernel, with the constant torch and OpenCV have
        d = abs(d)
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

    along = np.zeros((32, 14))
    for j in range(32):
        centre = (j + 0.5) * 14 / 32 - 0.5
        for i in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            along[j, min(max(i, 0), 13)] += weight(centre - i)
    expected = np.einsum("ri,cj,ijd->rcd", along, along, old).reshape(1024, 2)
    out = weights.resample(table, 32)
    np.testing.assert_allclose(out[0, 1:], expected, atol=1e-4)
    assert torch.equal(out[0, 0], table[0, 0])


def test_a_grid_of_its_own_size_is_left_as_it_is():
    table = torch.randn(1, 17, 8)
    assert weights.resample(table, 4) is table


def small_batch():
    torch.manual_seed(11)
    return {
        "image": torch.randn(2, 3, 64, 64),
        "ids": torch.randint(1, 20, (2, 6)),
        "labels": torch.randint(1, 20, (2, 6)),
        "attention_mask": torch.ones(2, 6, dtype=torch.int64),
        "noise": torch.rand(2, 16),
    }


def losses(method):
    with torch.no_grad():
        return {k: v.item() for k, v in method(small_batch()).items()}


def test_a_pretraining_goes_on_from_mrms_decoders_too(tmp_path, encoder):
    path = write(tmp_path, "mrm", encoder)
    other = fill(mrm.Method(mrm.Config(**SMALL), vocab_size=20), 50)
    report = weights.start_from(other, path)
    assert losses(other) == losses(method_around(encoder))
    assert report.missing == ()
    assert report.unexpected == {"bert_encoder": 3}  # position_ids and the unused pooler


def test_deep_mrm_starts_from_mrm_with_fresh_auxiliary_heads(tmp_path, encoder):
    small = {**SMALL, "tap_blocks": "1", "aux_dim": 16, "aux_depth": 1, "aux_heads": 2}
    other = fill(deep_mrm.Method(deep_mrm.Config(**small), vocab_size=20), 50)
    fresh_head = other.aux_heads[0].decoder_pred.weight.clone()
    report = weights.start_from(other, write(tmp_path, "mrm", encoder))
    assert set(report.missing) == {"aux_pos_embed", "aux_heads.0"}
    assert torch.equal(other.aux_heads[0].decoder_pred.weight, fresh_head)
    ours, theirs = losses(other), losses(method_around(encoder))
    assert ours["loss_image"] == theirs["loss_image"]
    assert ours["loss_report"] == theirs["loss_report"]


def test_a_decoder_of_another_size_stays_fresh_as_a_whole(tmp_path, encoder):
    other = fill(mrm.Method(mrm.Config(**{**SMALL, "decoder_dim": 32}), vocab_size=21), 50)
    before = {k: v.clone() for k, v in other.state_dict().items()}
    report = weights.start_from(other, write(tmp_path, "mrm", encoder))
    assert set(report.missing) == {"image_decoder", "report_decoder"}
    changed = {k.split(".")[0] for k, v in other.state_dict().items() if not v.equal(before[k])}
    assert changed == {"encoder"}


def test_an_mae_file_gives_a_pretraining_its_encoder_alone(tmp_path, encoder):
    other = fill(mrm.Method(mrm.Config(**SMALL), vocab_size=20), 50)
    report = weights.start_from(other, write(tmp_path, "mae", encoder))
    assert set(report.missing) == {"image_decoder", "report_decoder"}
    assert torch.equal(other.encoder.pos_embed, encoder.pos_embed)
    assert not other.encoder.pos_embed.requires_grad


def test_names_go_to_mrms_file_and_back():
    with torch.device("meta"):
        method = mrm.Method(mrm.Config(), vocab_size=30000)
    names = list(method.state_dict())
    assert [weights.method_name(weights.mrm_name(n)) for n in names] == names
    published = {weights.mrm_name(n) for n in names}
    assert published >= {
        "cls_token",
        "decoder_pos_embed",
        "decoder_blocks.3.mlp.fc2.bias",
        "mask_token",
        "bert_mlp.weight",
        "bert_encoder.model.cls.predictions.decoder.bias",
        "bert_encoder.model.bert.encoder.layer.5.output.LayerNorm.bias",
    }


def test_a_width_that_no_published_head_divides_is_refused(tmp_path):
    size = replace(SIZE, embed_dim=24, num_heads=3)
    torch.save({"model": fresh(size).state_dict()}, tmp_path / "x.pth")
    with pytest.raises((InputError, ConfigError), match="no multiple of 64"):
        weights.load_encoder(tmp_path / "x.pth")
