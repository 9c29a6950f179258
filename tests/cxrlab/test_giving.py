from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from cxrlab.gpus import Gpu, whose
from cxrlab.gpus.memory import Demand
from cxrlab.queueing import giving
from cxrlab.settings import GpuSettings
from store.claims import Claim
from store.runs import Run

GIB = 1024
COUNT = itertools.count()


def run(*, gpus: int = 1, task: str = "pretrain", mib: int | None = None, **facts: Any) -> Run:
    """A run that waits; what it asks of a GPU stands in its own fields."""
    blank = dict.fromkeys(Run._fields)
    values = {"id": f"run{next(COUNT)}", "task": task, "gpus": gpus, "gpu_mib": mib, **facts}
    return Run(**{**blank, "needs": (), **values})  # type: ignore[arg-type]


def demand(run: Run) -> Demand:
    return Demand(run.gpus, run.gpu_mib, told=run.held is None, share=bool(run.share))


def card(index: int, word: whose.Word = "free", gib: int = 80, **facts: Any) -> whose.Card:
    seen = Gpu(index, f"GPU-{index}", "H200", 0, gib * GIB, 0, 30, 75)
    return whose.Card(f"GPU-{index}", word, seen, **facts)


def held(index: int, run: str = "aaaaaa", mib: int | None = None, gib: int = 80) -> whose.Card:
    claim = Claim(f"GPU-{index}", run, mib, mib is None, 0.0)
    ours = gib * GIB if mib is None else mib
    return card(index, "ours", gib, claims=(claim,), ours_mib=ours)


def facts(*cards: whose.Card, sight: whose.Sight | None = None, **more: Any) -> giving.Facts:
    values: dict[str, Any] = {
        "sight": sight or whose.Sight("known", cards),
        "claims": [claim for each in cards for claim in each.claims],
        "cpu_slots": 1,
        "most_gpus": None,
        "room": {},
        "demand": demand,
        "no_space": lambda run: "",
        "me": "me",
        **more,
    }
    return giving.Facts(**values)


def given(queued: Sequence[Run], facts: giving.Facts) -> list[tuple[str, ...]]:
    return [decision.devices for decision in giving.decide(queued, facts)]


def reason(queued: Run, *cards: whose.Card, **more: Any) -> str:
    (decision,) = giving.decide([queued], facts(*cards, **more))
    assert not decision.devices
    return decision.reason


@pytest.mark.parametrize("number", [1, 4, 8])
def test_each_gpu_is_given_to_one_run_and_no_more(number: int) -> None:
    cards = [card(index) for index in range(number)]
    decided = giving.decide([run() for _ in range(number + 2)], facts(*cards))
    assert [each.devices for each in decided[:number]] == [(c.uuid,) for c in cards]
    assert {each.mib for each in decided} == {None}
    span = {1: "GPU 0 is", 4: "GPUs 0-3 are", 8: "GPUs 0-7 are"}[number]
    for late in decided[number:]:
        assert (late.devices, late.reason) == ((), f"needs 1 GPU; {span} held by this lab's runs")


def test_a_waiting_run_is_told_what_it_needs_and_who_has_it() -> None:
    anna = card(2, "others", 24, others=(whose.User("anna", 18 * GIB),), others_mib=18 * GIB)
    mine = card(3, "others", 24, others=(whose.User("me", None),))
    small, free = card(1, "free", 16), card(4, "settling", 24)
    said = reason(run(mib=22 * GIB), held(0), small, anna, mine, free)
    assert said == (
        "needs 1 GPU with 22 GiB; GPU 0 is held by this lab's runs; GPU 1 has 16 GiB; "
        "GPU 2 is held by another user (anna, 18 GiB); "
        "GPU 3 is held by another program of yours; "
        "GPU 4 is free and watched for a while before use"
    )


def test_gpus_of_the_same_people_are_named_together() -> None:
    anna, both = (whose.User("anna", 9),), (whose.User("anna", 9), whose.User("bob", 9))
    cards = [card(i, "others", others=anna) for i in (0, 1, 2, 5)]
    assert reason(run(), *cards, card(3, "others", others=both)) == (
        "needs 1 GPU; GPUs 0-2, 5 are held by another user (anna); "
        "GPU 3 is held by other users (anna, 1 GiB; bob, 1 GiB)"
    )


def test_a_run_goes_to_the_smallest_gpu_that_has_the_memory() -> None:
    cards = [card(0, gib=80), card(1, gib=24), card(2, gib=16)]
    assert given([run(mib=20 * GIB), run()], facts(*cards)) == [("GPU-1",), ("GPU-0",)]


def test_memory_that_others_use_a_little_of_does_not_count() -> None:
    nearly = card(0, gib=24, others_mib=400)
    assert given([run(mib=24 * GIB - 400)], facts(nearly)) == [("GPU-0",)]
    assert reason(run(mib=24 * GIB - 399), nearly) == (
        "needs 1 GPU with 24 GiB; the largest has 24 GiB"
    )


def test_what_was_learnt_of_another_machine_is_no_reason_to_wait_for_ever() -> None:
    learnt = run(mib=60 * GIB, held=1.0)  # `held` stands for not told, see `demand`
    assert given([learnt], facts(card(0, gib=24), card(1, gib=48))) == [("GPU-1",)]


def test_a_run_that_no_gpu_here_could_do_for_says_so_and_keeps_nobody_waiting() -> None:
    decided = giving.decide([run(mib=200 * GIB), run(gpus=3), run()], facts(card(0), card(1)))
    assert [each.devices for each in decided] == [(), (), ("GPU-0",)]
    assert [each.reason for each in decided[:2]] == [
        "needs 1 GPU with 200 GiB; the largest has 80 GiB",
        "needs 3 GPUs; there are 2 for this lab",
    ]


def test_only_so_many_have_the_memory() -> None:
    said = reason(run(gpus=2, mib=50 * GIB), card(0), card(1, gib=24))
    assert said == "needs 2 GPUs with 50 GiB each; only 1 GPU has as much"


def test_a_run_is_not_overtaken_on_gpus_it_waits_for_but_is_on_others() -> None:
    big, small = card(0, "ours", 80), card(1, gib=24)
    wants_big, wants_any = run(mib=60 * GIB), run(mib=10 * GIB)
    assert given([wants_big, wants_any], facts(held(0), small)) == [(), ("GPU-1",)]
    wants_two = run(gpus=2)
    decided = giving.decide([wants_two, run()], facts(card(0), held(1)))
    assert [each.devices for each in decided] == [(), ()]
    assert decided[0].reason.endswith("GPU 0 is free; GPU 1 is held by this lab's runs")
    assert decided[1].reason.startswith("needs 1 GPU; GPU 0 is kept for an earlier run")
    assert big.word == "ours"


def test_the_lab_holds_no_more_gpus_than_it_may() -> None:
    cards = (held(0), card(1), card(2))
    decided = giving.decide([run(), run()], facts(*cards, most_gpus=2))
    assert [each.devices for each in decided] == [("GPU-1",), ()]
    assert decided[1].reason == "needs 1 GPU; this lab holds 2 of the 2 that it may"
    assert reason(run(gpus=3), *cards, most_gpus=2) == ("needs 3 GPUs; this lab may hold 2 at once")


@pytest.mark.parametrize(
    ("cannot", "words"),
    [
        (card(0, "mig"), "GPU 0 is in MIG mode and left alone"),
        (whose.Card("GPU-f3", "gone", None), "GPU-f3 is gone"),
    ],
)
def test_gpus_that_cannot_be_given_are_left_alone_and_named(cannot: whose.Card, words: str) -> None:
    assert reason(run(), cannot) == f"needs 1 GPU; there are none for this lab; {words}"
    assert reason(run(), cannot, held(1)).startswith(f"needs 1 GPU; {words}; GPU 1")


def test_gpus_that_are_not_known_make_gpu_runs_wait_and_cpu_runs_go_on(
    clock: object,
) -> None:
    unknown = whose.Sight("unknown", (), "the driver does not answer", 50_580.0)
    decided = giving.decide([run(mib=22 * GIB), run(gpus=0)], facts(sight=unknown))
    assert decided[0].reason == (
        "needs 1 GPU with 22 GiB; GPUs unknown since 14:03: the driver does not answer"
    )
    assert decided[1].devices == ("cpu:0",)


@pytest.mark.parametrize("state", ["unread", "stale"])
def test_nothing_is_decided_of_gpus_before_they_are_looked_at(state: Any) -> None:
    wants = run()
    decided = giving.decide([wants, run(gpus=0)], facts(sight=whose.Sight(state, (card(0),))))
    assert [each.devices for each in decided] == [("cpu:0",)]


def test_runs_share_a_gpu_as_long_as_the_sum_of_their_needs_fits() -> None:
    queued = [run(mib=30 * GIB, share=True) for _ in range(6)]
    decided = giving.decide(queued, facts(card(0), card(1)))
    assert [each.devices for each in decided] == [
        ("GPU-0",), ("GPU-0",), ("GPU-1",), ("GPU-1",), (), ()
    ]  # fmt: skip
    assert {(each.mib, each.room["GPU-0"]) for each in decided[:2] if each.room} == {
        (30 * GIB, 80 * GIB)
    }


def test_the_bound_of_the_settings_holds_for_those_who_share() -> None:
    bound = facts(card(0), gpus=GpuSettings(share_gib=40))
    queued = [run(mib=20 * GIB, share=True) for _ in range(3)]
    assert given(queued, bound) == [("GPU-0",), ("GPU-0",), ()]
    assert giving.decide([run(mib=50 * GIB, share=True)], bound)[0].mib is None  # alone


def test_nobody_joins_one_that_holds_its_gpu_alone_nor_does_it_join_others() -> None:
    sharing = run(mib=10 * GIB, share=True)
    assert given([sharing], facts(held(0))) == [()]
    assert given([run()], facts(held(0, mib=10 * GIB))) == [()]
    assert given([sharing, run(), sharing], facts(card(0), card(1))) == [
        ("GPU-0",), ("GPU-1",), ("GPU-0",)
    ]  # fmt: skip


def test_a_gpu_on_which_a_neighbour_has_come_is_joined_by_nobody() -> None:
    beside = held(0, mib=10 * GIB)
    crowded = card(
        0, "ours", claims=beside.claims, ours_mib=10 * GIB, others=(whose.User("anna", 9),)
    )
    assert given([run(mib=10 * GIB, share=True)], facts(crowded)) == [()]


def test_limits_and_a_full_disk_hold_one_run_and_not_the_next() -> None:
    full = run()
    told = facts(card(0), room={"siim": 1}, no_space=lambda one: "no disk" if one is full else "")
    decided = giving.decide([full, run(task="siim"), run(task="siim")], told)
    assert [(each.devices, each.reason) for each in decided] == [
        ((), "no disk"),
        (("GPU-0",), ""),
        ((), "waits for another siim run to end: `[launch.limits]`"),
    ]
