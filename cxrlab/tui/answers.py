"""What do the answers in a form mean? The same in every form that launches."""

from __future__ import annotations

import shlex

from cxrlab import sweeping
from cxrlab.errors import CxrlabError, Usage
from cxrlab.tui import sentences

GPUS: dict[str, int | None] = {"auto": None, "cpu": 0, "1": 1, "2": 2, "4": 4, "8": 8}
"""What can be chosen for the GPUs of each run, and what the engine makes of it."""

MOST_SEEDS = 20
MOST_PRIORITY = 1_000_000


def seeds_of(typed: str) -> tuple[int, ...]:
    """Return the seeds of `0`, `0,1,2` or `0-4`; `0..4` is the same as `0-4`.

    Raises:
        Usage: it is none of these.
    """
    found: list[int] = []
    for part in typed.replace("..", "-").replace(" ", ",").split(","):
        first, dash, last = part.partition("-")
        if not part:
            continue
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise Usage(f"seeds are `{typed.strip()}`; expected a form like `0`, `0,1,2` or `0-4`")
        end = int(last) if dash else int(first)
        if end - int(first) >= MOST_SEEDS:
            raise Usage(f"at most {MOST_SEEDS} seeds can be launched at once")
        found += range(int(first), end + 1)
    if not 0 < len(set(found)) <= MOST_SEEDS:
        raise Usage(f"name one to {MOST_SEEDS} seeds, such as `0` or `0,1,2`")
    return tuple(dict.fromkeys(found))


def settings_of(typed: str) -> list[sweeping.Settings]:
    """Return the settings of `blr=1e-4,3e-4 pretrain.epochs=20`, each combination for itself.

    As `--set` takes them: several values of one are a run for each.

    Raises:
        Usage: one of the words is no setting, or a quotation mark is open.
    """
    try:
        words = shlex.split(typed)
    except ValueError:
        raise Usage(f"settings are `{typed.strip()}`; a quotation mark is open") from None
    for word in words:
        if not word.partition("=")[1]:
            raise Usage(f"`{word}` sets nothing", "write `KEY=VALUE`, with blanks between them")
    return sweeping.combinations(words, [])


def priority_of(typed: str) -> int:
    """Return a priority; nothing typed is 0.

    Raises:
        Usage: it is no whole number, or a very large one.
    """
    word = typed.strip() or "0"
    if not word.removeprefix("-").isdecimal() or abs(int(word)) > MOST_PRIORITY:
        raise Usage(f"the priority is `{word}`; expected a whole number, higher ones start first")
    return int(word)


def in_full(error: CxrlabError) -> str:
    """Return what is wrong and what to do, a line each."""
    lines = [error.message, error.hint] if error.hint else [error.message]
    return "\n".join(map(sentences.said, lines))
