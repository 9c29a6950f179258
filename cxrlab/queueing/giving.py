"""Which of the runs that wait start now, on what, and what do the others wait for? Touches nothing.

Values in, values out: `cxrlab.queueing.starting` gathers the facts and carries out what is decided
here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cxrlab.gpus import words as gpu_words
from cxrlab.gpus.memory import Demand
from cxrlab.gpus.whose import Card, Sight, is_gpu
from cxrlab.settings import GpuSettings
from store.claims import Claim
from store.runs import Run

LIMITS = "`[launch.limits]`"


class Decision(NamedTuple):
    """What becomes of a run that waits: devices to start on, or else the reason why not."""

    run: Run
    devices: tuple[str, ...] = ()
    reason: str = ""
    mib: int | None = None
    """How much of each GPU it takes beside others; None holds them alone."""
    room: Mapping[str, int] | None = None
    """How much of each GPU all its runs together may take, where it is shared (MiB)."""


@dataclass(frozen=True)
class Facts:
    """What there is to give, at one moment."""

    sight: Sight
    claims: Sequence[Claim]
    cpu_slots: int
    most_gpus: int | None
    """How many GPUs this lab may hold at once; None for all."""
    room: Mapping[str, int]
    """How many more runs of a task may run; tasks without a limit are not in it."""
    demand: Callable[[Run], Demand]
    """What a run asks of GPUs."""
    no_space: Callable[[Run], str]
    """Why the disk does not do for a run, empty where it does; asked of runs that could start."""
    gpus: GpuSettings = field(default_factory=GpuSettings)
    me: str = ""
    """The user whose agent this is."""


def decide(queued: Sequence[Run], facts: Facts) -> list[Decision]:
    """Return what becomes of each run that waits, in their order.

    A run is not overtaken on GPUs that it could use. One that no GPUs here could ever do for keeps
    nobody waiting, and where GPUs are not known nothing is decided about those who want some.
    """
    room = dict(facts.room)
    slots, table = _Slots(facts), _Table(facts)
    decided = []
    for run in queued:
        if room.get(run.task, 1) < 1:
            reason = f"waits for another {run.task} run to end: {LIMITS}"
            decided.append(Decision(run, reason=reason))
            continue
        found = table.find(run) if run.gpus else slots.find(run)
        if found is None:
            continue
        if found.devices and (full := facts.no_space(run)):
            found = Decision(run, reason=full)
        if found.devices:
            (table if run.gpus else slots).take(found)
            if run.task in room:
                room[run.task] -= 1
        decided.append(found)
    return decided


class _Slots:
    """The places on the CPU that are left."""

    def __init__(self, facts: Facts) -> None:
        held = {claim.device for claim in facts.claims}
        names = (f"cpu:{i}" for i in range(facts.cpu_slots))
        self._left = [name for name in names if name not in held]

    def find(self, run: Run) -> Decision:
        if not self._left:
            return Decision(run, reason="waits for a free CPU slot")
        return Decision(run, (self._left[0],))

    def take(self, decision: Decision) -> None:
        self._left.remove(decision.devices[0])


class _Table:
    """The GPUs that are left, and those that are kept for runs that come first."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._cards = {card.uuid: card for card in facts.sight.cards}
        self._kept: set[str] = set()
        self._said: dict[Demand, str] = {}
        """What those are told who ask for what others before them wait for already."""
        self._held = {claim.device for claim in facts.claims if is_gpu(claim.device)}

    def find(self, run: Run) -> Decision | None:
        """Return where a run starts or why not; None while nobody has looked at the GPUs."""
        sight = self._facts.sight
        if sight.state in ("unread", "stale"):
            return None
        asked = self._facts.demand(run)
        if sight.state == "unknown":
            reason = f"{gpu_words.head(asked)}; {gpu_words.unknown(sight)}"
            return Decision(run, reason=reason)
        if asked in self._said:
            return Decision(run, reason=self._said[asked])
        demand = self._within_reason(asked)
        never = self._never(demand)
        fitting = [] if never else [c for c in self._cards.values() if self._fits(c, demand)]
        allowed = self._allowed(sorted(fitting, key=_order(demand)))
        if not never and len(allowed) >= run.gpus:
            return self._given(run, demand, allowed)
        wanted = {c.uuid for c in self._cards.values() if not never and self._could(c, demand)}
        reason = never or self._not_now(demand, enough=len(fitting) >= run.gpus)
        reason = f"{reason}; {sight.error}" if sight.error else reason
        if wanted <= self._kept:
            self._said[asked] = reason
        self._kept |= wanted
        return Decision(run, reason=reason)

    def take(self, decision: Decision) -> None:
        self._said.clear()
        for uuid in decision.devices:
            card = self._cards[uuid]
            alone = decision.mib is None
            claim = Claim(uuid, decision.run.id, decision.mib, alone, 0.0)
            self._cards[uuid] = replace(
                card,
                word="ours",
                claims=(*card.claims, claim),
                ours_mib=card.ours_mib + (card.spare_mib if alone else decision.mib or 0),
            )
            self._held.add(uuid)

    def _within_reason(self, demand: Demand) -> Demand:
        """Return a demand that something meets: what was learnt elsewhere may be too much here."""
        there = [card for card in self._cards.values() if card.for_runs]
        if demand.mib is None or not there:
            return demand
        share = demand.share and demand.mib <= max(self._most_mib(card) for card in there)
        if demand.told:
            return demand._replace(share=share)
        largest = max(card.capacity_mib for card in there) - self._facts.gpus.busy_mib
        return demand._replace(mib=min(demand.mib, largest), share=share)

    def _never(self, demand: Demand) -> str:
        """Return why a run cannot start whoever leaves; empty where it can."""
        cards, most = list(self._cards.values()), self._facts.most_gpus
        suited = [card for card in cards if self._could(card, demand)]
        if len(suited) >= demand.gpus and (most is None or most >= demand.gpus):
            return ""
        return gpu_words.too_few(demand, cards, suited=len(suited), most=most)

    def _not_now(self, demand: Demand, *, enough: bool) -> str:
        if enough:
            return gpu_words.limited(demand, most=self._facts.most_gpus or 0, held=len(self._held))
        cards = list(self._cards.values())
        return gpu_words.why_not(demand, cards, me=self._facts.me, kept=self._kept)

    def _allowed(self, cards: Sequence[Card]) -> list[Card]:
        """Return the cards without those that would be more than the lab may hold."""
        most = self._facts.most_gpus
        more = len(self._cards) if most is None else most - len(self._held)
        found = []
        for card in cards:
            if card.uuid not in self._held:
                more -= 1
            if card.uuid in self._held or more >= 0:
                found.append(card)
        return found

    def _given(self, run: Run, demand: Demand, cards: Sequence[Card]) -> Decision:
        chosen = cards[: run.gpus]
        devices = tuple(card.uuid for card in chosen)
        if not demand.share:
            return Decision(run, devices)
        room = {card.uuid: self._most_mib(card) for card in chosen}
        return Decision(run, devices, mib=demand.mib, room=room)

    def _could(self, card: Card, demand: Demand) -> bool:
        """Return whether a GPU could do for a run, if it were free."""
        return card.for_runs and card.capacity_mib >= (demand.mib or 0)

    def _fits(self, card: Card, demand: Demand) -> bool:
        if card.uuid in self._kept or not card.for_runs:
            return False
        if not demand.share:
            return card.word == "free" and card.spare_mib >= (demand.mib or 0)
        enough = card.ours_mib + (demand.mib or 0) <= self._most_mib(card)
        return enough and (card.word == "free" or card.may_be_joined)

    def _most_mib(self, card: Card) -> int:
        """Return how much of a GPU runs that share it may take together."""
        bound = self._facts.gpus.share_gib
        return card.spare_mib if bound is None else min(card.spare_mib, int(bound * 1024))


def _order(demand: Demand) -> Callable[[Card], tuple[int, ...]]:
    """Return what is best first: one that is shared already, one of the right size, the emptiest.

    That is the smallest that does, and the largest for a run of which nothing is known.
    """

    def key(card: Card) -> tuple[int, ...]:
        assert card.gpu is not None
        size = card.gpu.total_mib if demand.mib is not None else -card.gpu.total_mib
        return (-card.ours_mib, size, card.gpu.used_mib, card.gpu.index)

    return key
