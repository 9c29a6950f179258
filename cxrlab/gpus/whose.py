"""Whose is each GPU: this lab's, somebody else's, free, or about to be? Touches nothing.

A GPU is free after it has been without others in consecutive readings for a while, so that nobody
who is between two epochs, or only just starting, is run over. While runs of this lab hold a GPU
and nobody else is on it, it counts as without others: so it is given on at once when they leave.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cxrlab.gpus import Gpu, Reading
from cxrlab.settings import GpuSettings
from store.claims import Claim

Word = Literal["ours", "others", "free", "settling", "mig", "gone", "left out"]

LEAVE_S = 5.0
"""How long memory may stay taken after a run has left, before it is somebody else's."""

GAP_S = 20.0
"""Readings further apart than this are not consecutive."""


class User(NamedTuple):
    """Somebody else on a GPU; `name` is empty and `mib` None where nobody tells."""

    name: str
    mib: int | None


@dataclass(frozen=True)
class History:
    """What earlier readings showed, as far as it matters."""

    at: float = 0.0
    """When the last reading was."""
    alone_since: Mapping[str, float] = field(default_factory=dict)
    """Since when each GPU has been without others in consecutive readings."""
    held_at: Mapping[str, float] = field(default_factory=dict)
    """When each GPU was last seen held by runs of this lab."""


@dataclass(frozen=True)
class Card:
    """What one GPU is to this lab now."""

    uuid: str
    word: Word
    gpu: Gpu | None
    """None for one that has gone."""
    claims: tuple[Claim, ...] = ()
    others: tuple[User, ...] = ()
    ours_mib: int = 0
    """What runs of this lab use or may yet use."""
    others_mib: int = 0
    alone_since: float | None = None

    @property
    def for_runs(self) -> bool:
        """Whether runs of this lab may ever be put there."""
        return self.word in ("ours", "others", "free", "settling")

    @property
    def spare_mib(self) -> int:
        """How much memory there is without what others use."""
        return 0 if self.gpu is None else self.gpu.total_mib - self.others_mib

    @property
    def capacity_mib(self) -> int:
        """How much memory there would be if others who hold it left."""
        return self.gpu.total_mib if self.gpu and self.word == "others" else self.spare_mib

    @property
    def may_be_joined(self) -> bool:
        """Whether all who hold it are runs of this lab that share it."""
        alone = any(claim.exclusive for claim in self.claims)
        return self.word == "ours" and not self.others and not alone


class Sight(NamedTuple):
    """What is known of the GPUs now."""

    state: Literal["unread", "unknown", "stale", "known"]
    """Runs are put on GPUs only where they are known; a stale reading came too long ago."""
    cards: tuple[Card, ...] = ()
    error: str = ""
    """Why GPUs are not known, or what is amiss with one of them."""
    unknown_since: float | None = None


def is_gpu(device: str) -> bool:
    """Return whether a claimed device is a GPU rather than a place on the CPU."""
    return not device.startswith("cpu:")


def held(history: History, claims: Collection[Claim], now: float) -> History:
    """Return the history with what is held now."""
    devices = {claim.device for claim in claims if is_gpu(claim.device)}
    kept = {uuid: at for uuid, at in history.held_at.items() if now - at < GAP_S}
    return History(history.at, history.alone_since, {**kept, **dict.fromkeys(devices, now)})


def follow(history: History, reading: Reading, *, runs_dir: str, settings: GpuSettings) -> History:
    """Return the history with another reading; one that failed tells nothing."""
    if not reading.known:
        return history
    consecutive = reading.at - history.at <= GAP_S
    since = {}
    for gpu in reading.gpus:
        ours = reading.at - history.held_at.get(gpu.uuid, 0.0) < LEAVE_S
        if not others(gpu, ours=ours, runs_dir=runs_dir, busy_mib=settings.busy_mib):
            before = history.alone_since.get(gpu.uuid) if consecutive else None
            since[gpu.uuid] = reading.at if before is None else before
    return History(reading.at, since, history.held_at)


def others(gpu: Gpu, *, ours: bool, runs_dir: str, busy_mib: int) -> tuple[User, ...]:
    """Return who else uses a GPU.

    Args:
        gpu: the GPU.
        ours: whether runs of this lab hold it, or have just left; what nobody accounts for is
            theirs then.
        runs_dir: where the folders of this lab's runs lie.
        busy_mib: so much memory that nobody accounts for makes a user where it is not ours.
    """
    strangers = [p for p in gpu.processes if not _of_lab(p.folder, runs_dir)]
    computing = sorted((p for p in strangers if p.compute), key=lambda p: p.user)
    if not computing and (ours or gpu.used_mib < busy_mib):
        return ()
    if not computing:
        names = {p.user for p in strangers} or {""}
        return tuple(User(name, None) for name in sorted(names - {""})) or (User("", gpu.used_mib),)
    found = []
    for name, theirs in itertools.groupby(computing, key=lambda p: p.user):
        sizes = [p.mib for p in theirs]
        known = [mib for mib in sizes if mib is not None]
        found.append(User(name, sum(known) if len(known) == len(sizes) else None))
    if len(found) == 1 and found[0].mib is None and not ours:
        return (User(found[0].name, gpu.used_mib),)
    return tuple(found)


def cards(
    reading: Reading,
    claims: Sequence[Claim],
    history: History,
    *,
    runs_dir: str,
    settings: GpuSettings,
    usable: Collection[str],
    marked: Mapping[str, str],
    now: float,
) -> tuple[Card, ...]:
    """Return what each GPU is to this lab, those that have gone last.

    Args:
        reading: the newest, which is known.
        claims: every claim of this lab.
        history: what readings showed, this one included.
        runs_dir: where the folders of this lab's runs lie.
        settings: when a GPU is somebody else's.
        usable: UUIDs of the GPUs that runs of this lab may be put on.
        marked: those that a run of some lab has taken, each with its user.
        now: seconds since the epoch.
    """
    of_gpu: dict[str, list[Claim]] = {}
    for claim in claims:
        if is_gpu(claim.device):
            of_gpu.setdefault(claim.device, []).append(claim)
    found = []
    for gpu in reading.gpus:
        mine = tuple(of_gpu.pop(gpu.uuid, ()))
        just_left = now - history.held_at.get(gpu.uuid, 0.0) < LEAVE_S
        ours = bool(mine) or just_left
        users = others(gpu, ours=ours, runs_dir=runs_dir, busy_mib=settings.busy_mib)
        if not mine and not users and gpu.uuid in marked:  # it is only starting
            users = (User(marked[gpu.uuid], None),)
        since = history.alone_since.get(gpu.uuid)
        word: Word = (
            "ours" if mine
            else "mig" if gpu.mig
            else "left out" if gpu.uuid not in usable
            else "others" if users
            else "free" if since is not None and history.at - since >= settings.settle_s
            else "settling"
        )  # fmt: skip
        found.append(
            Card(
                uuid=gpu.uuid,
                word=word,
                gpu=gpu,
                claims=mine,
                others=users,
                ours_mib=_ours_mib(gpu, mine, runs_dir),
                others_mib=_others_mib(gpu, users, ours=ours),
                alone_since=since,
            )
        )
    gone = [Card(uuid, "gone", None, tuple(mine)) for uuid, mine in sorted(of_gpu.items())]
    return (*found, *gone)


def _of_lab(folder: str, runs_dir: str) -> bool:
    return folder.startswith(f"{runs_dir}/")


def _ours_mib(gpu: Gpu, claims: Sequence[Claim], runs_dir: str) -> int:
    """Return what runs use, or may use by what they claimed, whichever is more of each."""
    used: dict[str, int] = {}
    for process in gpu.processes:
        if _of_lab(process.folder, runs_dir):
            id = process.folder.removeprefix(f"{runs_dir}/").split("-", 1)[0]
            used[id] = used.get(id, 0) + (process.mib or 0)
    return sum(
        gpu.total_mib if each.mib is None else max(each.mib, used.get(each.run, 0))
        for each in claims
    )


def _others_mib(gpu: Gpu, users: Sequence[User], *, ours: bool) -> int:
    told = sum(user.mib or 0 for user in users)
    return told if ours else max(told, gpu.used_mib)
