"""How is it said whose a GPU is, and what a run that wants some waits for?

Numbers that change from one reading to the next are rounded: a thousand waiting runs say the same,
and are written anew only when it is another thing that they wait for.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Sequence

from cxrlab import text
from cxrlab.gpus.memory import Demand
from cxrlab.gpus.whose import Card, Sight, User


def head(demand: Demand) -> str:
    """Return what a run needs: `needs 2 GPUs with 22 GiB each`."""
    memory = "" if demand.mib is None else f" with {gib(demand.mib)}"
    each = " each" if memory and demand.gpus > 1 else ""
    return f"needs {text.plural(demand.gpus, 'GPU')}{memory}{each}"


def gib(mib: float) -> str:
    """Write MiB as whole GiB: `22 GiB`."""
    return f"{max(1, round(mib / 1024))} GiB"


def unknown(sight: Sight) -> str:
    """Return that nothing is known of the GPUs, since when, and why."""
    since = sight.unknown_since
    clock = "" if since is None else f" since {time.strftime('%H:%M', time.localtime(since))}"
    return f"GPUs unknown{clock}: {sight.error}"


def too_few(demand: Demand, cards: Sequence[Card], *, suited: int, most: int | None) -> str:
    """Return why a run can never start as things are.

    Args:
        demand: what it asks for.
        cards: every GPU of this machine.
        suited: how many of them have the memory.
        most: how many the lab may hold; None for all.
    """
    if most is not None and most < demand.gpus:
        return f"{head(demand)}; this lab may hold {most} at once"
    mine = [card for card in cards if card.for_runs]
    if len(mine) < demand.gpus:
        there = f"there {'is' if len(mine) == 1 else 'are'} {len(mine) or 'none'} for this lab"
        left = [_group([card], "") for card in cards if card not in mine]
        return "; ".join([head(demand), there, *filter(None, left)])
    if not suited:
        return f"{head(demand)}; the largest has {gib(max(c.capacity_mib for c in mine))}"
    return f"{head(demand)}; only {text.plural(suited, 'GPU')} {_have(suited)} as much"


def limited(demand: Demand, *, most: int, held: int) -> str:
    """Return that GPUs are free, and that the lab may not hold more."""
    return f"{head(demand)}; this lab holds {held} of the {most} that it may"


def why_not(demand: Demand, cards: Sequence[Card], *, me: str, kept: Collection[str]) -> str:
    """Return what stands in the way of a run on each GPU.

    Args:
        demand: what it asks for.
        cards: every GPU of this machine.
        me: this user, whose other programs are not another user's.
        kept: UUIDs of the GPUs that runs before it wait for.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Card]] = {}
    for card in cards:
        word: str = card.word
        if card.for_runs and card.capacity_mib < (demand.mib or 0):
            word = "small"
        elif card.word == "free" and card.uuid in kept:
            word = "kept"
        names = tuple(user.name for user in card.others) if word == "others" else ()
        groups.setdefault((word, names), []).append(card)
    parts = [_group(alike, me, word) for (word, _), alike in groups.items()]
    return "; ".join([head(demand), *filter(None, parts)])


def owner(card: Card, *, me: str) -> str:
    """Return whose a GPU is, in a table's cell."""
    if card.word in ("ours", "gone"):
        beside = (
            f", beside {_users(card.others, me) or _whose(card.others, me)}" if card.others else ""
        )
        runs = ", ".join(claim.run for claim in card.claims)
        return f"{'gone, ' if card.word == 'gone' else ''}ours: {runs}{beside}"
    if card.word == "others":
        return f"{_whose(card.others, me)}: {_users(card.others, me)}".removesuffix(": ")
    words = {"mig": "MIG, left alone", "left out": "not for runs"}
    beside = f", {_users(card.others, me)}" if card.others else ""
    return words.get(card.word, card.word) + beside


def numbers(cards: Sequence[Card]) -> str:
    """Name GPUs by their indices: `GPU 2`, `GPUs 0-3, 6`; one that is gone by its UUID."""
    found = sorted(card.gpu.index for card in cards if card.gpu is not None)
    spans = []
    for _, run in itertools.groupby(enumerate(found), key=lambda pair: pair[1] - pair[0]):
        span = [index for _, index in run]
        spans += [f"{span[0]}-{span[-1]}"] if len(span) > 2 else [str(index) for index in span]
    if not found:
        return ", ".join(card.uuid for card in cards)
    return f"{'GPU' if len(cards) == 1 else 'GPUs'} {', '.join(spans)}"


def _group(cards: Sequence[Card], me: str, word: str = "") -> str:
    word = word or cards[0].word
    named, one = numbers(cards), len(cards) == 1
    verb = "is" if one else "are"
    if word == "others":
        users = _users(cards[0].others, me, sizes=one)
        who = _whose(cards[0].others, me)
        return f"{named} {verb} held by {who}" + (f" ({users})" if users else "")
    if word == "small":
        return f"{named} {_have(len(cards))} {gib(max(card.capacity_mib for card in cards))}"
    states = {
        "ours": "held by this lab's runs",
        "settling": "free and watched for a while before use",
        "free": "free",
        "kept": "kept for an earlier run",
        "mig": "in MIG mode and left alone",
        "gone": "gone",
    }
    return f"{named} {verb} {states[word]}" if word in states else ""


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _whose(users: Sequence[User], me: str) -> str:
    if {user.name for user in users} == {me}:
        return "another program of yours"
    return "another user" if len(users) == 1 else "other users"


def _users(users: Sequence[User], me: str, *, sizes: bool = True) -> str:
    """Return who uses a GPU and how much: `anna, 18 GiB; bob`."""
    parts = []
    for user in users:
        name = "" if _whose(users, me).endswith("yours") else user.name
        size = gib(user.mib) if sizes and user.mib is not None else ""
        parts.append(", ".join(filter(None, (name, size))))
    return "; ".join(filter(None, parts))
