"""Program: says what a file of weights is, and what each method would take from it.

    python -m trainers.describe FILE

Its answer is one JSON document on stdout. The file is read without running any code in it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainers import catalog, checkpoints, layouts, normalisation, program, weights
from trainers.config import ConfigError, InputError, MissingError, resolve
from trainers.layouts import Found
from trainers.pretrain import method_module, pretrainable, settle_variant
from trainers.reading import read_checkpoint
from trainers.resnets import ResNetSize
from trainers.weights import AnySize, EncoderSize

KINDS = {
    "mae": "MAE",
    "mrm": "MRM",
    "deepmim": "DeepMIM",
    "refers": "REFERS",
    "npz": "Google's ViT (JAX)",
    "timm": "timm's ViT",
    "resnet": "ResNet-50 of torchvision or timm",
    "convirt": "ConVIRT (a re-implementation's ResNet-50)",
    "": "no layout that is known here",
}
SIZES = {(192, 12): "Ti", (384, 12): "S", (768, 12): "B", (1024, 24): "L", (1280, 32): "H"}
"""What a ViT of that width and depth is called. Source: Dosovitskiy et al. 2021, table 1; DeiT."""


def main(argv: Sequence[str]) -> int:
    """Describe the file that `argv` names and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainers.describe", allow_abbrev=False)
    parser.add_argument("file", type=Path, help="weights in any layout")
    given = parser.parse_args(list(argv))

    def work() -> int:
        sys.stdout.write(json.dumps(describe(given.file), indent=2, ensure_ascii=False) + "\n")
        return 0

    return program.guard(work, lambda: None)


def describe(path: Path) -> dict[str, Any]:
    """Return what is in a file of weights, as JSON.

    Raises:
        MissingError: no such file.
        InputError: it cannot be read, or asks for code to be run.
    """
    content = read_checkpoint(path)
    found = layouts.find(content)
    known = normalisation.of_file(content, found.kind)
    encoder = encoder_facts(path, found) | {"normalisation": known._asdict() if known else None}
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "sha256": checkpoints.sha256(path),
        "kind": found.kind,
        "what": what(content, found, encoder),
        "run": run_facts(content),
        "encoder": encoder,
        "tensors_total": len(found.state),
        "parameters": sum(tensor.numel() for tensor in found.state.values()),
        "groups": group_facts(found.state),
        "methods": method_facts(found, encoder),
        "tensors": [
            {"name": name, "shape": list(tensor.shape), "dtype": str(tensor.dtype)[6:]}
            for name, tensor in found.state.items()
        ],
    }


def what(content: Mapping[str, Any], found: Found, encoder: Mapping[str, Any]) -> str:
    """Return in a line what the file is."""
    if found.kind != "cxrlab":
        decoder = ", with its decoder" if "decoder_embed.weight" in found.state else ""
        said = KINDS[found.kind] + (decoder if found.kind == "mae" else "")
    elif content.get("format") == layouts.FORMAT:
        said = "the encoder of a run (encoder.pt)"
    elif content.get("format") == checkpoints.FORMAT:
        said = "a training to go on from (last.pt)"
    else:
        said = "a fine-tuned model (best.pt)"
    name = encoder["name"]
    return f"{said}, {name}" if name and found.kind not in ("resnet", "convirt") else said


def run_facts(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return which run wrote the file, where that stands in it."""
    config = content.get("config")
    if not isinstance(config, Mapping) or "recipe" not in config:
        return None
    about = {key: config.get(key) for key in ("method", "task", "ratio", "preset", "recipe")}
    return {**about, "step": content.get("step")}


def encoder_facts(path: Path, found: Found) -> dict[str, Any]:
    """Return the encoder's size and number of parameters, or what is wrong with it."""
    facts: dict[str, Any] = {"name": "", "size": None, "parameters": None, "missing": []}
    try:
        state, size, report = weights.checked(path, found)
    except InputError as error:
        return {**facts, "problem": str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ")}
    return {
        "name": name_of(size),
        "size": asdict(size),
        "parameters": sum(tensor.numel() for tensor in state.values()),
        "missing": list(report.missing),
        "problem": "",
    }


def name_of(size: AnySize) -> str:
    """Return what an encoder of that size is called: `ViT-B/16`."""
    if isinstance(size, ResNetSize):
        return (
            "ResNet-50" if size.width == ResNetSize().width else f"ResNet-50 of width {size.width}"
        )
    letter = SIZES.get((size.embed_dim, size.depth))
    patch = f"/{size.patch_px}"
    return (
        f"ViT-{letter}{patch}"
        if letter
        else f"ViT{patch}, {size.embed_dim} wide, {size.depth} deep"
    )


def group_facts(state: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Return how many tensors and values begin with each first part of a name."""
    values: dict[str, int] = {}
    for name, tensor in state.items():
        (group,) = layouts.groups([name])
        values[group] = values.get(group, 0) + tensor.numel()
    counts = layouts.groups(state)
    return [{"name": n, "tensors": counts[n], "values": values[n]} for n in counts]


def method_facts(found: Found, encoder: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each method of the catalog what its pre-training would take from the file.

    A method is built in the preset whose encoder is the file's, `paper` where none is. Fine-tuning
    takes the encoder alone, and builds the task around whatever size it has.
    """
    return [method_fact(name, found, encoder) for name in catalog.METHODS]


def method_fact(name: str, found: Found, encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same of one method."""
    facts: dict[str, Any] = {"method": name, "preset": None, "parts": [], "left": {}, "problem": ""}
    if name not in pretrainable():
        return facts | {"problem": "is not pre-trained"}
    try:
        preset, method = build(name, found, encoder["size"])
    except (ConfigError, InputError, MissingError) as error:
        return facts | {"problem": str(error)}
    faults = {"encoder": encoder_fault(method, encoder), **weights.part_faults(method, found)}
    parts = [{"part": part, "taken": not why, "why": why} for part, why in faults.items()]
    return facts | {"preset": preset, "parts": parts, "left": left_aside(method, found, faults)}


def left_aside(method: nn.Module, found: Found, faults: Mapping[str, str]) -> dict[str, int]:
    """Return how many tensors of a file a method has no use for, by their group."""
    own = {name for name in method.state_dict() if not faults[weights.part_of(name)]}
    encoder = [] if faults["encoder"] else set(found.state) - set(found.left)
    used = {name for name in found.left if weights.method_name(name) in own}.union(encoder)
    return layouts.groups(name for name in found.state if name not in used)


def build(name: str, found: Found, size: Mapping[str, Any] | None) -> tuple[str, nn.Module]:
    """Return the preset of a method whose encoder is of that size, else the first, and it built.

    Its tensors have shapes and no values.
    """
    module = method_module(name)
    given: dict[str, Any] = {}
    settle_variant(name, given)
    configs = {}
    for preset, settings in module.PRESETS.items():
        own = {k: v for k, v in settings.items() if k in module.Config.__dataclass_fields__}
        (configs[preset],) = resolve([module.Config], preset=own, given=given)
    sizes = {preset: asdict(module.encoder_size(config)) for preset, config in configs.items()}
    like = [preset for preset in sizes if shape_of(sizes[preset]) == shape_of(size or {})]
    preset = (like or list(configs))[0]
    tokens = weights.vocab_size_in(found) or module.PRESETS[preset].get("vocab_size", 0)
    with torch.device("meta"):
        return preset, module.Method(configs[preset], vocab_size=tokens)


def shape_of(size: Mapping[str, Any]) -> dict[str, Any]:
    """Return a size without the image side, for which positions are resampled."""
    return {key: value for key, value in size.items() if key != "image_px"}


def encoder_fault(method: nn.Module, encoder: Mapping[str, Any]) -> str:
    """Return why a method cannot take the file's encoder, or nothing."""
    if encoder["problem"]:
        return str(encoder["problem"])
    theirs, ours = shape_of(encoder["size"]), shape_of(asdict(method.size))
    if theirs.keys() != ours.keys():
        kinds = ("a vision transformer", "a ResNet-50")
        here = isinstance(method.size, EncoderSize)
        return f"the method has {kinds[not here]}, the file {kinds[here]}"
    differing = [f"`{k}` {theirs[k]} there, {v} here" for k, v in ours.items() if theirs[k] != v]
    return ", ".join(differing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
