"""Are features from a published layout those of a forward written from that layout's own names?

The files are made here tensor by tensor, never from an encoder of ours, and the forwards know
nothing of timm.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainers import weights
from trainers.modules import vit

D, HEADS, DEPTH, PATCH, GRID = 192, 3, 3, 16, 4


def images():
    return torch.randn(2, 3, GRID * PATCH, GRID * PATCH, generator=torch.Generator().manual_seed(1))


def drawn(shapes, seed):
    """Fixed values, of a size that keeps activations near 1; none at its usual start."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.standard_normal(shape) * scale).astype(np.float32)
        for name, (shape, scale) in shapes.items()
    }


def features_here(path):
    """What this project computes with the encoder of a file."""
    state, size, _ = weights.load_encoder(path)
    assert (size.embed_dim, size.depth, size.num_heads) == (D, DEPTH, HEADS)
    encoder = vit.build_encoder(size, fixed_positions=True).eval()
    weights.fit_encoder(encoder, state, size)
    with torch.no_grad():
        return vit.encode(encoder, images())


# -- Google's ViT-B_16.npz: kernels (in, out), heads apart, patches as height, width, channel


def jax_shapes():
    head, inner = D // HEADS, 4 * D
    shapes = {
        "cls": ((1, 1, D), 1.0),
        "embedding/kernel": ((PATCH, PATCH, 3, D), (PATCH * PATCH * 3) ** -0.5),
        "embedding/bias": ((D,), 0.3),
        "Transformer/posembed_input/pos_embedding": ((1, 1 + GRID**2, D), 0.5),
        "Transformer/encoder_norm/scale": ((D,), 1.0),
        "Transformer/encoder_norm/bias": ((D,), 0.3),
        "head/kernel": ((D, 10), 0.1),
        "head/bias": ((10,), 0.1),
    }
    for i in range(DEPTH):
        at = f"Transformer/encoderblock_{i}"
        attention = f"{at}/MultiHeadDotProductAttention_1"
        for third in ("query", "key", "value"):
            shapes[f"{attention}/{third}/kernel"] = ((D, HEADS, head), D**-0.5)
            shapes[f"{attention}/{third}/bias"] = ((HEADS, head), 0.3)
        shapes[f"{attention}/out/kernel"] = ((HEADS, head, D), D**-0.5)
        shapes[f"{attention}/out/bias"] = ((D,), 0.3)
        for dense, (before, after) in (("Dense_0", (D, inner)), ("Dense_1", (inner, D))):
            shapes[f"{at}/MlpBlock_3/{dense}/kernel"] = ((before, after), before**-0.5)
            shapes[f"{at}/MlpBlock_3/{dense}/bias"] = ((after,), 0.3)
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes[f"{at}/{norm}/scale"] = ((D,), 1.0)
            shapes[f"{at}/{norm}/bias"] = ((D,), 0.3)
    return shapes


def jax_features(p, pictures):
    """A pre-norm ViT in the file's own terms, each head by itself; float64."""

    def norm(x, at):
        centred = x - x.mean(-1, keepdims=True)
        return (
            centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * p[f"{at}/scale"] + p[f"{at}/bias"]
        )

    def attend(x, at):
        out = p[f"{at}/out/bias"]
        for h in range(HEADS):
            q, k, v = (
                x @ p[f"{at}/{third}/kernel"][:, h] + p[f"{at}/{third}/bias"][h]
                for third in ("query", "key", "value")
            )
            score = np.exp(q @ k.T / np.sqrt(q.shape[1]))
            out = out + score / score.sum(1, keepdims=True) @ v @ p[f"{at}/out/kernel"][h]
        return out

    def feed(x, at):
        x = torch.from_numpy(x @ p[f"{at}/Dense_0/kernel"] + p[f"{at}/Dense_0/bias"])
        return F.gelu(x).numpy() @ p[f"{at}/Dense_1/kernel"] + p[f"{at}/Dense_1/bias"]

    p = {name: value.astype(np.float64) for name, value in p.items()}
    found = []
    for picture in pictures.double().numpy().transpose(0, 2, 3, 1):  # height, width, channel
        rows = [
            np.tensordot(picture[r : r + PATCH, c : c + PATCH], p["embedding/kernel"], axes=3)
            for r in range(0, GRID * PATCH, PATCH)
            for c in range(0, GRID * PATCH, PATCH)
        ]
        x = np.concatenate([p["cls"][0], np.stack(rows) + p["embedding/bias"]])
        x = x + p["Transformer/posembed_input/pos_embedding"][0]
        for i in range(DEPTH):
            at = f"Transformer/encoderblock_{i}"
            x = x + attend(norm(x, f"{at}/LayerNorm_0"), f"{at}/MultiHeadDotProductAttention_1")
            x = x + feed(norm(x, f"{at}/LayerNorm_2"), f"{at}/MlpBlock_3")
        found.append(norm(x, "Transformer/encoder_norm"))
    return np.stack(found)


def test_googles_npz_computes_here_what_its_own_names_say(tmp_path):
    params = drawn(jax_shapes(), 2)
    np.savez(tmp_path / "ViT-B_16.npz", **params)
    ours = features_here(tmp_path / "ViT-B_16.npz").numpy()
    np.testing.assert_allclose(ours, jax_features(params, images()), rtol=1e-4, atol=1e-4)


# -- REFERS: query, key and value apart, a class token that positions already count


def refers_shapes(prefix):
    inner = 4 * D
    at = f"{prefix}transformer.embeddings"
    shapes = {
        f"{at}.patch_embeddings.weight": ((D, 3, PATCH, PATCH), (PATCH * PATCH * 3) ** -0.5),
        f"{at}.patch_embeddings.bias": ((D,), 0.3),
        f"{at}.position_embeddings": ((1, 1 + GRID**2, D), 0.5),
        f"{at}.cls_token": ((1, 1, D), 1.0),
        f"{prefix}transformer.encoder.encoder_norm.weight": ((D,), 1.0),
        f"{prefix}transformer.encoder.encoder_norm.bias": ((D,), 0.3),
    }
    for i in range(DEPTH):
        at = f"{prefix}transformer.encoder.layer.{i}"
        sizes = {f"attn.{name}": (D, D) for name in ("query", "key", "value", "out")}
        sizes |= {"ffn.fc1": (inner, D), "ffn.fc2": (D, inner)}
        for name, (rows, columns) in sizes.items():
            shapes[f"{at}.{name}.weight"] = ((rows, columns), columns**-0.5)
            shapes[f"{at}.{name}.bias"] = ((rows,), 0.3)
        for name in ("attention_norm", "ffn_norm"):
            shapes[f"{at}.{name}.weight"] = ((D,), 1.0)
            shapes[f"{at}.{name}.bias"] = ((D,), 0.3)
    return shapes


def refers_features(state, pictures, prefix):
    """The image encoder in the file's own terms; float64."""
    s = {name.removeprefix(f"{prefix}transformer."): t.double() for name, t in state.items()}

    def linear(x, at):
        return x @ s[f"{at}.weight"].T + s[f"{at}.bias"]

    def norm(x, at):
        return F.layer_norm(x, (D,), s[f"{at}.weight"], s[f"{at}.bias"], eps=1e-6)

    kernel = s["embeddings.patch_embeddings.weight"].reshape(D, -1)
    cut = F.unfold(pictures.double(), PATCH, stride=PATCH).transpose(1, 2)  # row by row
    x = cut @ kernel.T + s["embeddings.patch_embeddings.bias"]
    x = torch.cat([s["embeddings.cls_token"].expand(len(x), -1, -1), x], dim=1)
    x = x + s["embeddings.position_embeddings"]
    for i in range(DEPTH):
        at = f"encoder.layer.{i}"
        seen = norm(x, f"{at}.attention_norm")
        q, k, v = (
            linear(seen, f"{at}.attn.{n}").unflatten(2, (HEADS, -1))
            for n in ("query", "key", "value")
        )
        share = (torch.einsum("bqhd,bkhd->bhqk", q, k) * (D // HEADS) ** -0.5).softmax(-1)
        mixed = torch.einsum("bhqk,bkhd->bqhd", share, v).flatten(2)
        x = x + linear(mixed, f"{at}.attn.out")
        x = x + linear(F.gelu(linear(norm(x, f"{at}.ffn_norm"), f"{at}.ffn.fc1")), f"{at}.ffn.fc2")
    return norm(x, "encoder.encoder_norm")


@pytest.mark.parametrize("prefix", ["visual.vit.", ""])
def test_refers_computes_here_what_its_own_names_say(tmp_path, prefix):
    state = {n: torch.from_numpy(t) for n, t in drawn(refers_shapes(prefix), 3).items()}
    others = {"textual.output.bias": torch.zeros(4), "contrastive_bert.fc.bias": torch.zeros(4)}
    content = {"model": {**state, **others}, "iteration": 7} if prefix else state
    torch.save(content, tmp_path / "refers.pth")
    expected = refers_features(state, images(), prefix)
    np.testing.assert_allclose(
        features_here(tmp_path / "refers.pth"), expected, rtol=1e-4, atol=1e-4
    )
