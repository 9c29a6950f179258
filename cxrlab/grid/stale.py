"""Which results no longer follow from the encoder that they started from? Touches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.cells import Encoder, Group
    from store.finished import Start

ON_THE_WAY = "checkpoints/epoch_*.pt"
"""An encoder that is kept while its run goes on, whatever becomes of the run."""

_DIGEST = 8
"""How much of a digest is told."""


def reasons(groups: Iterable[Group], encoders: Mapping[str, Encoder]) -> dict[Group, str]:
    """Return those of `groups` that are stale, and why; as quick where most start from one."""
    known: dict[Start, str] = {}
    found: dict[Group, str] = {}
    for group in groups:
        for start in group.starts:
            if start not in known:
                known[start] = _of_start(start, encoders, ())
            if known[start]:
                found.setdefault(group, known[start])
    return found


def reason(group: Group, encoders: Mapping[str, Encoder]) -> str:
    """Return why the number of `group` is stale, in a clause; empty where it is not.

    It is when a pre-training that one of its runs starts from is gone, is no longer finished, has
    another checkpoint by now, or is stale itself.

    Args:
        group: runs of one cell.
        encoders: all pre-trainings that these runs start from, and those they start from in turn.
    """
    return next(filter(None, (_of_start(start, encoders, ()) for start in group.starts)), "")


def _of_start(start: Start, encoders: Mapping[str, Encoder], seen: tuple[str, ...]) -> str:
    if not start.run_id or start.run_id in seen:
        return ""
    now = encoders.get(start.run_id)
    if now is None:
        return f"its encoder's run {start.run_id} is gone"
    if now.state != "succeeded" and not PurePath(start.path).match(ON_THE_WAY):
        return f"its encoder's run {start.run_id} is {now.state} by now"
    digest = next((sha for path, sha in now.files if start.path.endswith(path)), "")
    if start.sha256 and digest and digest != start.sha256:
        before, after = start.sha256[:_DIGEST], digest[:_DIGEST]
        return f"the checkpoint of {start.run_id} was replaced: {before} then, {after} now"
    if now.start is None:
        return ""
    return _of_start(now.start, encoders, (*seen, start.run_id))
