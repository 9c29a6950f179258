"""By whom are the fourteen observations read off reports? The two labellers, by name."""

from __future__ import annotations

from pathlib import Path

import torch

from trainers.config import ConfigError
from trainers.observations import Labeller

NAMES = ("rules", "chexbert")


def choose(
    name: str, *, weights: str = "", words: str = "", device: torch.device | str = "cpu"
) -> Labeller:
    """Return the labeller called `name`.

    Args:
        name: `rules`, or `chexbert`, which needs its files.
        weights: `chexbert.pth`.
        words: `vocab.txt` of bert-base-uncased, or the folder it lies in.
        device: where CheXbert reads.

    Raises:
        ConfigError: no labeller is called that, or CheXbert's files are not named.
        MissingError: one of them is not there.
        InputError: it is not what it should be.
    """
    if name == "rules":
        from trainers.report_rules import Rules

        return Rules()
    if name != "chexbert":
        raise ConfigError(f"`labeller` is `{name}`; expected {', '.join(NAMES)}")
    if not weights or not words:
        raise ConfigError("CheXbert needs both its weights and its words; name both files")
    from trainers import chexbert

    return chexbert.load(Path(weights), Path(words), device=device)
