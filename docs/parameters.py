"""Writes docs/parameters.md: every parameter of every method at `paper` size.

    python docs/parameters.py          # writes the page; a test holds it to the code

Nothing is allocated: the networks are built on torch's meta device.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import torch
from torch import nn

from trainers import catalog, pretrain
from trainers.config import resolve

PAGE = Path(__file__).with_name("parameters.md")

HEAD = """\
# Parameters

Every parameter of every method as the preset `paper` builds it, before any weights are loaded.
`{0-11}` stands for each number in that range. `fixed` are tables that are not trained. The
vocabulary is that of the preset. `python docs/parameters.py` writes this page.
"""


def methods() -> list[str]:
    """Return the methods with a file of their own."""
    return [name for name in pretrain.pretrainable() if name == catalog.base_of(name)]


def build(name: str) -> nn.Module:
    """Return a method at `paper` size on the meta device."""
    module = pretrain.method_module(name)
    preset = pretrain.preset_of(module, "paper", lambda option: None)
    own = {k: v for k, v in preset.items() if k in module.Config.__dataclass_fields__}
    (config,) = resolve([module.Config], preset=own, given={})
    vocab_size = preset.get("vocab_size", 0) if pretrain.reads_reports(module) else 0
    with torch.device("meta"):
        return module.Method(config, vocab_size=vocab_size)


def collapsed(names: Iterable[str]) -> str:
    """Return names that differ in numbers alone as one, `blocks.{0-11}.norm1.weight`."""
    numbers = [tuple(int(n) for n in re.findall(r"(?<=\.)\d+(?=\.)", name)) for name in names]
    ranges = [(min(place), max(place)) for place in zip(*numbers, strict=True)]
    everything = set(product(*(range(low, high + 1) for low, high in ranges)))
    if everything != set(numbers):
        raise ValueError(f"{numbers} are not a block of numbers")
    spelled = iter(f"{{{low}-{high}}}" if low < high else str(low) for low, high in ranges)
    return re.sub(r"(?<=\.)\d+(?=\.)", lambda found: next(spelled), next(iter(names)))


def rows(model: nn.Module) -> Iterator[str]:
    """Return the lines of a table of tensors, those alike in one."""
    groups: dict[tuple[str, tuple[int, ...], bool], list[str]] = {}
    trained = {name: True for name, p in model.named_parameters() if p.requires_grad}
    for name, tensor in model.state_dict().items():
        bare = re.sub(r"(?<=\.)\d+(?=\.)", "#", name)
        groups.setdefault((bare, tuple(tensor.shape), name in trained), []).append(name)
    for (_, shape, learns), names in groups.items():
        try:
            spelled = [collapsed(names)]
        except ValueError:
            spelled = names
        for name in spelled:
            size = " × ".join(map(str, shape)) or "1"
            yield f"| `{name}` | {size} | {'' if learns else 'fixed'} |"


def page() -> str:
    """Return the text of docs/parameters.md."""
    said = [HEAD, "| method | trained | encoder alone | fixed |", "| --- | ---: | ---: | ---: |"]
    tables = []
    for name in methods():
        model = build(name)
        trained = count(p for p in model.parameters() if p.requires_grad)
        encoder = count(p for p in model.encoder.parameters() if p.requires_grad)
        everything = count(model.state_dict(keep_vars=True).values())
        said.append(f"| `{name}` | {trained:,} | {encoder:,} | {everything - trained:,} |")
        tables += [f"\n## `{name}`\n", "| name | shape | |", "| --- | --- | --- |", *rows(model)]
    return "\n".join([*said, *tables]) + "\n"


def count(tensors: Iterable[torch.Tensor]) -> int:
    """Return how many numbers different tensors hold; a tied one counts once."""
    return sum(t.numel() for t in {id(t): t for t in tensors}.values())


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
