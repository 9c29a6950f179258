"""Under which names does a published file keep its encoder, and which are those in timm?

Known layouts: MAE, MRM, DeepMIM, REFERS (pre-training and flat), `ViT-B_16.npz`, timm (a classifier
fine-tuned by MRM's code among them), ResNets of torchvision, timm and a re-implementation of
ConVIRT, and this project's own `encoder.pt`, `last.pt`, `best.pt`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainers import normalisation, resnets
from trainers.normalisation import Normalisation

FORMAT = "cxrlab-encoder"
"""Marks an `encoder.pt`, whose `size` tells what tensors cannot: the number of heads."""


class Found(NamedTuple):
    """The tensors of a file, sorted; nothing is known yet of their shapes."""

    kind: str
    """`mae`, `mrm`, `deepmim`, `refers`, `npz`, `timm`, `resnet`, `convirt`, `cxrlab`, or empty:
    no encoder."""
    state: dict[str, Tensor]
    """All of them, under the names the layout's owner gave them."""
    encoder: dict[str, Tensor]
    """Those of the encoder in timm's names."""
    left: tuple[str, ...]
    """Names in `state` that made no encoder tensor."""
    heads: int | None
    """Attention heads, where the file tells."""
    normalisation: Normalisation | None = None
    """Of the images it was trained on; None where a file of this project does not tell."""


def find(content: Mapping[str, Any]) -> Found:
    """Recognise the layout of `content` by its names and give the encoder's tensors timm's."""
    found = _find(content)
    return found._replace(normalisation=normalisation.of_file(content, found.kind))


def _find(content: Mapping[str, Any]) -> Found:
    wrapped = next(
        (content[k] for k in ("model", "state_dict") if isinstance(content.get(k), Mapping)), None
    )
    source = content if wrapped is None else wrapped
    state = {
        name.removeprefix("module."): tensor  # DistributedDataParallel puts that in front
        for name, tensor in source.items()
        if isinstance(tensor, Tensor)
    }
    if any(name.startswith("Transformer/encoderblock_0/") for name in state):
        return _from_jax(state)
    mark = "transformer.embeddings.patch_embeddings.weight"
    prefix = _prefix(state, mark)
    if prefix is not None:
        encoder, left = _from_refers(state, f"{prefix}transformer.")
        return Found("refers", state, encoder, left, None)
    about = content.get("config")
    own = content.get("format") == FORMAT or (isinstance(about, Mapping) and "recipe" in about)
    prefix = _prefix(state, "patch_embed.proj.weight")
    if prefix is None:
        return _from_resnet(state, own=own)
    encoder, left = _from_timm(state, prefix)
    kind = "cxrlab" if own else _kind(state, wrapped=wrapped is not None)
    return Found(kind, state, encoder, left, _own_heads(content))


def _prefix(state: Mapping[str, Tensor], mark: str) -> str | None:
    """Return what stands before `mark`, in the shortest of the names that end with it."""
    return min((n.removesuffix(mark) for n in state if n.endswith(mark)), key=len, default=None)


def _kind(state: Mapping[str, Tensor], *, wrapped: bool) -> str:
    top = groups(state)
    if "bert_encoder" in top:
        return "mrm"
    if "decoder_embed1" in top:
        return "deepmim"
    return "mae" if "decoder_embed" in top or (wrapped and "head" not in top) else "timm"


def groups(names: Iterable[str]) -> dict[str, int]:
    """Count tensors by the first part of their names."""
    return dict(Counter(re.split(r"[./]", name)[0] for name in names))


def _own_heads(content: Mapping[str, Any]) -> int | None:
    for key in ("size", "config"):
        about = content.get(key)
        if isinstance(about, Mapping) and isinstance(about.get("num_heads"), int):
            return about["num_heads"]
    return None


_ENCODER = re.compile(
    r"(cls_token|pos_embed|reg_token|patch_embed\..*|blocks\..*|norm\..*|norm_pre\..*)$"
)

Converted = tuple[dict[str, Tensor], tuple[str, ...]]


def _from_timm(state: Mapping[str, Tensor], prefix: str) -> Converted:
    encoder, left = {}, []
    for name, tensor in state.items():
        bare = name.removeprefix(prefix)
        if name.startswith(prefix) and _ENCODER.match(bare):
            encoder[bare] = tensor
        else:
            left.append(name)
    return encoder, tuple(left)


_RESNET = re.compile(r"(conv1|bn1|layer[1-4])\..*$")
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""The parts of torchvision's ResNet by their place in it."""


def _from_resnet(state: dict[str, Tensor], *, own: bool) -> Found:
    """Source: torchvision; edreisMD/ConVIRT-pytorch, whose `res_features` counts its parts; BenchX.

    BenchX's ConVIRT has torchvision's names below `visual.model`, and its projection beside them.
    """

    def named(name: str) -> str:
        counted = re.match(r"res_features\.(\d)\.(.+)$", name)
        return f"{_CHILDREN.get(counted[1])}.{counted[2]}" if counted else name

    names = {named(name): name for name in state}
    prefix = _prefix({new: state[old] for new, old in names.items()}, resnets.MARK)
    if prefix is None:
        return Found("", state, {}, tuple(state), None)
    encoder, left = {}, []
    for new, old in names.items():
        bare = new.removeprefix(prefix)
        if new.startswith(prefix) and _RESNET.match(bare):
            encoder[bare] = state[old]
        else:
            left.append(old)
    convirt = any(old.startswith(("res_features.", "vis_proj")) for old in state)
    kind = "cxrlab" if own else "convirt" if convirt else "resnet"
    return Found(kind, state, encoder, tuple(left), None)


_REFERS = {
    "attention_norm": "norm1", "ffn_norm": "norm2", "attn.out": "attn.proj",
    "ffn.fc1": "mlp.fc1", "ffn.fc2": "mlp.fc2",
}  # fmt: skip
_REFERS_OUTER = {
    "embeddings.patch_embeddings.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.cls_token": "cls_token",
    "encoder.encoder_norm.weight": "norm.weight",
    "encoder.encoder_norm.bias": "norm.bias",
}


def _from_refers(state: Mapping[str, Tensor], prefix: str) -> Converted:
    """Source: the layout of REFERS's released code (its ViT is that of jeonsworld/ViT-pytorch)."""
    encoder: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    left = []
    for name, tensor in state.items():
        bare = name.removeprefix(prefix)
        layer = re.match(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)$", bare)
        if not name.startswith(prefix):
            left.append(name)
        elif bare in _REFERS_OUTER:
            encoder[_REFERS_OUTER[bare]] = tensor
        elif layer and layer[2] in _REFERS:
            encoder[f"blocks.{layer[1]}.{_REFERS[layer[2]]}.{layer[3]}"] = tensor
        elif layer and layer[2] in ("attn.query", "attn.key", "attn.value"):
            thirds.setdefault(f"blocks.{layer[1]}.attn.qkv.{layer[3]}", {})[layer[2][5:]] = tensor
        else:
            left.append(name)
    return {**encoder, **_joined(thirds)}, tuple(left)


def _joined(thirds: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Put query, key and value under one another, where all three are there."""
    order = ("query", "key", "value")
    return {
        name: torch.cat([parts[p] for p in order])
        for name, parts in thirds.items()
        if len(parts) == len(order)
    }


def _from_jax(state: dict[str, Tensor]) -> Found:
    """Source: google-research/vision_transformer, whose kernels are (in, out) and HWIO."""
    encoder: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    left, heads = [], None
    for name, tensor in state.items():
        block = re.match(r"Transformer/encoderblock_(\d+)/(.+)/(\w+)$", name)
        if name in _JAX_OUTER:
            new, turn = _JAX_OUTER[name]
            encoder[new] = turn(tensor)
        elif not block:
            left.append(name)
        elif block[2].startswith(_JAX_ATTENTION) and block[2] != f"{_JAX_ATTENTION}out":
            third = block[2].removeprefix(_JAX_ATTENTION)
            end = "weight" if block[3] == "kernel" else "bias"
            flat = tensor.flatten(1).T if end == "weight" else tensor.flatten()
            thirds.setdefault(f"blocks.{block[1]}.attn.qkv.{end}", {})[third] = flat
            heads = tensor.shape[-2]
        elif (block[2], block[3]) in _JAX_BLOCK:
            new, turn = _JAX_BLOCK[block[2], block[3]]
            encoder[f"blocks.{block[1]}.{new}"] = turn(tensor)
        else:
            left.append(name)
    return Found("npz", state, {**encoder, **_joined(thirds)}, tuple(left), heads)


Turn = Callable[[Tensor], Tensor]


def _same(t: Tensor) -> Tensor:
    return t


def _turned(t: Tensor) -> Tensor:
    return t.flatten(0, -2).T


_JAX_ATTENTION = "MultiHeadDotProductAttention_1/"
_JAX_OUTER: dict[str, tuple[str, Turn]] = {
    "cls": ("cls_token", _same),
    "embedding/kernel": ("patch_embed.proj.weight", lambda t: t.permute(3, 2, 0, 1)),
    "embedding/bias": ("patch_embed.proj.bias", _same),
    "Transformer/posembed_input/pos_embedding": ("pos_embed", _same),
    "Transformer/encoder_norm/scale": ("norm.weight", _same),
    "Transformer/encoder_norm/bias": ("norm.bias", _same),
}
_JAX_BLOCK: dict[tuple[str, str], tuple[str, Turn]] = {
    ("LayerNorm_0", "scale"): ("norm1.weight", _same),
    ("LayerNorm_0", "bias"): ("norm1.bias", _same),
    ("LayerNorm_2", "scale"): ("norm2.weight", _same),
    ("LayerNorm_2", "bias"): ("norm2.bias", _same),
    ("MlpBlock_3/Dense_0", "kernel"): ("mlp.fc1.weight", _turned),
    ("MlpBlock_3/Dense_0", "bias"): ("mlp.fc1.bias", _same),
    ("MlpBlock_3/Dense_1", "kernel"): ("mlp.fc2.weight", _turned),
    ("MlpBlock_3/Dense_1", "bias"): ("mlp.fc2.bias", _same),
    (f"{_JAX_ATTENTION}out", "kernel"): ("attn.proj.weight", _turned),
    (f"{_JAX_ATTENTION}out", "bias"): ("attn.proj.bias", _same),
}
