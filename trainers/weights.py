"""Which encoder is in this file, and does it fit?

`reading` opens it without running code in it, and `layouts` knows how each publisher names the
tensors; here they are checked and put in place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers import layouts, normalisation, resnets
from trainers.config import ConfigError, InputError
from trainers.layouts import Found
from trainers.normalisation import Normalisation
from trainers.reading import read_checkpoint
from trainers.resnets import ResNetSize

HEAD_DIM = 64
"""Width of a head in every published layout. Source: Dosovitskiy et al. 2021, table 1."""
FINAL_NORM = ("norm.weight", "norm.bias")
PARTS = ("encoder.", "image_decoder.", "report_decoder.")
"""Where a method keeps what MRM's file holds without a prefix."""
REFERS_PARTS = ("fusion.", "contrastive_bert.", "textual.")
"""What a method keeps where REFERS's file does."""
CONVIRT_PARTS = ("image_projection.", "text_encoder.", "text_projection.")
"""What `convirt` keeps beside its encoder; no published file has these names."""


@dataclass(frozen=True, kw_only=True)
class EncoderSize:
    """Everything that decides what an encoder computes, weights aside; the default is ViT-B/16."""

    image_px: int = 224
    patch_px: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ConfigError(f"`{name}` is {value}; expected at least 1")
        if self.image_px % self.patch_px:
            raise ConfigError(
                f"`image_px` {self.image_px} is not a multiple of `patch_px` {self.patch_px}"
            )
        if self.embed_dim % self.num_heads or self.embed_dim % 4:
            raise ConfigError(
                f"`embed_dim` {self.embed_dim} is not a multiple of 4 and of "
                f"`num_heads` {self.num_heads}"
            )

    @classmethod
    def of(cls, config: Any) -> EncoderSize:
        """Return the size that the settings of a method name, field by field."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_px // self.patch_px

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return self.grid**2


AnySize = EncoderSize | ResNetSize
"""The size of whichever encoder a file holds."""


class Report(NamedTuple):
    """What a file turned out to be."""

    kind: str
    """`mae`, `mrm`, `deepmim`, `refers`, `npz`, `timm`, `resnet`, `convirt` or `cxrlab`."""
    missing: tuple[str, ...]
    """What the file lacks and may lack: the final norm, parts of a method beside its encoder."""
    unexpected: dict[str, int]
    """Tensors that were left aside: how many, by the first part of their names."""
    normalisation: Normalisation | None = None
    """Of the images it was trained on; None where a file of this project does not tell."""

    def __str__(self) -> str:
        aside = ", ".join(f"{name} ({n})" for name, n in self.unexpected.items())
        return (
            f"layout {self.kind}; missing: {', '.join(self.missing) or 'nothing'}; "
            f"left aside: {aside or 'nothing'}"
        )


def load_encoder(path: Path) -> tuple[dict[str, Tensor], AnySize, Report]:
    """Return the encoder in a weights file: its tensors (float32, timm's names), size, a report.

    Raises:
        MissingError: no such file.
        InputError: it cannot be read safely, holds neither a vision transformer nor a ResNet-50,
            or lacks a tensor of it.
    """
    return checked(path, layouts.find(read_checkpoint(path)))


def checked(path: Path, found: Found) -> tuple[dict[str, Tensor], AnySize, Report]:
    """Return what `load_encoder` does of a file that has been read; raises as it does."""
    state = {name: tensor.float().clone() for name, tensor in found.encoder.items()}
    if resnets.MARK in state:
        stages = resnets.checked(path, state, found.kind)
        return (
            state,
            stages,
            Report(found.kind, (), layouts.groups(found.left), found.normalisation),
        )
    depth = 1 + max((int(n.split(".")[1]) for n in state if n.startswith("blocks.")), default=-1)
    projection = state.get("patch_embed.proj.weight")
    if depth == 0 or projection is None or projection.ndim != 4:
        raise InputError(
            f"{path} holds no vision transformer and no ResNet-50, but {_text(found.state)}"
        )
    width, patch_px = projection.shape[0], projection.shape[2]
    needed = encoder_shapes(width, depth, patch_px)
    absent = [name for name in needed if name not in state and name not in FINAL_NORM]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputError(f"{path} lacks the encoder's `{absent[0]}`{more} (layout {found.kind})")
    grid = _side_of(path, state["pos_embed"])
    needed["pos_embed"] = (1, 1 + grid**2, width)
    for name, tensor in state.items():
        if name not in needed:
            raise InputError(f"{path} has `{name}`, which is no part of a plain ViT encoder")
        if tuple(tensor.shape) != needed[name]:
            raise InputError(f"{path}: `{name}` is {tuple(tensor.shape)}; expected {needed[name]}")
        if not tensor.isfinite().all():
            raise InputError(f"{path}: `{name}` holds values that are not finite")
    size = EncoderSize(
        image_px=grid * patch_px,
        patch_px=patch_px,
        embed_dim=width,
        depth=depth,
        num_heads=_heads(path, found, width),
    )
    missing = tuple(name for name in FINAL_NORM if name not in state)
    return state, size, Report(found.kind, missing, layouts.groups(found.left), found.normalisation)


def encoder_shapes(width: int, depth: int, patch_px: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every encoder tensor by its name in timm; a single position row.

    There are 4 + 12 per block (148 for ViT-B) and the two of the final norm.
    """
    inner = 4 * width
    block = {
        "norm1.weight": (width,), "norm1.bias": (width,),
        "attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width), "attn.proj.bias": (width,),
        "norm2.weight": (width,), "norm2.bias": (width,),
        "mlp.fc1.weight": (inner, width), "mlp.fc1.bias": (inner,),
        "mlp.fc2.weight": (width, inner), "mlp.fc2.bias": (width,),
    }  # fmt: skip
    return {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1, width),
        "patch_embed.proj.weight": (width, 3, patch_px, patch_px),
        "patch_embed.proj.bias": (width,),
        **{f"blocks.{i}.{name}": shape for i in range(depth) for name, shape in block.items()},
        "norm.weight": (width,),
        "norm.bias": (width,),
    }


def _heads(path: Path, found: Found, width: int) -> int:
    if found.heads:
        return found.heads
    if found.kind == "cxrlab":
        raise InputError(f"{path} does not say how many heads it has; take the run's `encoder.pt`")
    if width % HEAD_DIM:
        raise InputError(f"{path}: a width of {width} is no multiple of {HEAD_DIM} a head")
    return width // HEAD_DIM


def _side_of(path: Path, table: Tensor) -> int:
    """Return the patches a side of a position table (1, 1 + G * G, D)."""
    rows = table.shape[1] - 1 if table.ndim == 3 else 0
    side = math.isqrt(max(rows, 0))
    if rows < 1 or side * side != rows:
        raise InputError(
            f"{path}: `pos_embed` is {tuple(table.shape)}; expected a class token and a square grid"
        )
    return side


def _text(names: Iterable[str]) -> str:
    return ", ".join(f"{k} ({n})" for k, n in list(layouts.groups(names).items())[:8]) or "nothing"


def resample(table: Tensor, grid: int) -> Tensor:
    """Return a square position table (1, 1 + G * G, D) for `grid` patches a side, bicubic.

    The class token's row stays as it is. Source: MRM's fine-tuning code (14 to 32 patches a side
    for segmentation at 512 pixels).
    """
    side, width = math.isqrt(table.shape[1] - 1), table.shape[2]
    if side == grid:
        return table
    plane = table[:, 1:].reshape(1, side, side, width).permute(0, 3, 1, 2)
    plane = F.interpolate(plane, size=(grid, grid), mode="bicubic", align_corners=False)
    patches = plane.permute(0, 2, 3, 1).reshape(1, grid * grid, width)
    return torch.cat([table[:, :1], patches], dim=1)


def fit_encoder(encoder: nn.Module, state: Mapping[str, Tensor], size: AnySize) -> None:
    """Put what `load_encoder` returned into an encoder of timm's, whatever its image side.

    Positions of a `VisionTransformer` are resampled to its own grid. Its final norm stays as it is
    where the file had none, and so do `fc_norm` and `head`, if it has them; all else must fit.

    Raises:
        InputError: the encoder is of another kind, width, depth, patch or number of heads.
    """
    if isinstance(size, ResNetSize):
        return resnets.fit(encoder, state, size)
    if not hasattr(encoder, "blocks"):
        raise InputError("the weights are of a vision transformer; expected a ResNet-50")
    attention = encoder.blocks[0].attn
    own = (encoder.embed_dim, len(encoder.blocks), encoder.patch_embed.patch_size[0])
    ours = dict(zip(("embed_dim", "depth", "patch_px"), own, strict=True))
    ours["num_heads"] = attention.num_heads
    differing = [
        f"`{name}` {getattr(size, name)} there, {value} here"
        for name, value in ours.items()
        if getattr(size, name) != value
    ]
    if differing:
        raise InputError(f"the weights are of another encoder: {', '.join(differing)}")
    names = encoder.state_dict().keys()
    fitting = {n: t for n, t in state.items() if n in names or n not in FINAL_NORM}
    fitting["pos_embed"] = resample(state["pos_embed"], encoder.patch_embed.grid_size[0])
    result = encoder.load_state_dict(fitting, strict=False)
    absent = [n for n in result.missing_keys if not n.startswith(("norm.", "fc_norm.", "head."))]
    if absent or result.unexpected_keys:
        raise InputError(f"the encoder and the weights differ in {absent + result.unexpected_keys}")


def normalisation_at(path: Path) -> Normalisation:
    """Return what the encoder at `path` was trained with, or MRM's, with a warning.

    A run's own checkpoint need not be there yet: its `config.json` tells.

    Raises:
        MissingError: no such file.
        InputError: it cannot be read.
    """
    beside = path.resolve().parent.parent / "config.json"
    found = None
    if path.parent.name == "checkpoints" and beside.is_file():
        found = normalisation.of_run(json.loads(beside.read_text(encoding="utf-8")))
    if found is None:
        found = layouts.find(read_checkpoint(path)).normalisation
    return normalisation.or_mrms(found, path)


def encoder_content(
    encoder: nn.Module, size: AnySize, *, config: Mapping[str, Any], step: int
) -> dict[str, Any]:
    """Return what `encoder.pt` holds: tensors that load into timm's plain network, and its size.

    `image_px` is that of the encoder's own position table; a ResNet has none. `mean` and `std` are
    those of its images, as far as `config`, that of its run, tells.
    """
    seen = normalisation.of_run(config)
    told = {name: list(values) for name, values in seen._asdict().items()} if seen else {}
    state = {name: tensor.detach().cpu() for name, tensor in encoder.state_dict().items()}
    return {
        "format": layouts.FORMAT,
        "model": state,
        "size": asdict(size),
        **told,
        "config": dict(config),
        "step": step,
    }


def start_from(method: nn.Module, path: Path) -> Report:
    """Start a pre-training from weights: its encoder must fit, its decoders are taken if they do.

    A part (image decoder with its position table, report decoder, each auxiliary head) is taken
    whole or not at all; the report's `missing` names the parts that stay freshly initialised.

    Args:
        method: a module with `encoder` and, beside it, any of `image_decoder`, `report_decoder`
            and `aux_heads`.
        path: any layout; decoders come from a file in MRM's, or from a training of this project.

    Raises:
        MissingError: no such file.
        InputError: as `load_encoder` and `fit_encoder`.
    """
    found = layouts.find(read_checkpoint(path))
    state, size, report = checked(path, found)
    fit_encoder(method.encoder, state, size)
    theirs = {method_name(name): tensor for name, tensor in found.state.items()}
    faults = part_faults(method, found)
    parts = {name: part_of(name) for name in method.state_dict() if not _of_encoder(name)}
    taken = {name: theirs[name] for name, part in parts.items() if not faults[part]}
    absent = [*report.missing, *(part for part, fault in faults.items() if fault)]
    method.load_state_dict(taken, strict=False)
    left = [n for n in found.left if method_name(n) not in taken]
    return Report(report.kind, tuple(absent), layouts.groups(left), report.normalisation)


def part_faults(method: nn.Module, found: Found) -> dict[str, str]:
    """Return for each part of a method beside its encoder why a file cannot give it, or nothing."""
    theirs = {method_name(name): tensor for name, tensor in found.state.items()}
    there = {part_of(name) for name in theirs}
    faults: dict[str, str] = {}
    for name, ours in method.state_dict().items():
        if _of_encoder(name) or faults.setdefault(part_of(name), ""):
            continue
        if part_of(name) not in there:
            faults[part_of(name)] = "the file has none"
        elif name not in theirs:
            faults[part_of(name)] = f"the file lacks `{name}`"
        elif theirs[name].shape != ours.shape:
            shapes = (tuple(theirs[name].shape), tuple(ours.shape))
            faults[part_of(name)] = f"`{name}` is {shapes[0]} there, {shapes[1]} here"
    return faults


def vocab_size_of(path: Path) -> int:
    """Return how many tokens the report decoder in a file knows.

    Raises:
        InputError: the file holds no report decoder.
    """
    tokens = vocab_size_in(layouts.find(read_checkpoint(path)))
    if not tokens:
        raise InputError(f"{path} holds no report decoder")
    return tokens


def vocab_size_in(found: Found) -> int:
    """Return the same of a file that has been read; 0 where it holds no report decoder."""
    # REFERS's file first: beside its decoder it has a BERT, which knows other tokens
    for end in ("textual.embedding.words.weight", "embeddings.word_embeddings.weight"):
        for name, tensor in found.state.items():
            if name.endswith(end):
                return len(tensor)
    return 0


def _of_encoder(name: str) -> bool:
    return name.startswith("encoder.")


def part_of(name: str) -> str:
    """Return to which part of a method its tensor `name` belongs."""
    if name == "decoder_pos_embed":
        return "image_decoder"
    if name.startswith("aux_heads."):
        return ".".join(name.split(".")[:2])
    return name.split(".")[0]


def method_name(name: str) -> str:
    """Return where a method of this project keeps what MRM's or REFERS's file calls `name`."""
    kept = (*PARTS, *REFERS_PARTS, *CONVIRT_PARTS, "aux_", "contrast.")
    if name.startswith(kept) or name == "decoder_pos_embed":
        return name
    if name.startswith(("decoder_", "mask_token")):
        return f"image_decoder.{name}"
    if name.startswith("bert_"):
        return f"report_decoder.{name}"
    return f"encoder.{name}"


def mrm_name(name: str) -> str:
    """Return what MRM's file calls the tensor that a method of this project keeps as `name`."""
    for part in PARTS:
        name = name.removeprefix(part)
    return name
