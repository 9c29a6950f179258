from __future__ import annotations

from typing import Any

from cxrlab.gpus import Gpu, GpuProcess, Reading, whose
from cxrlab.settings import GpuSettings
from store.claims import Claim

RUNS = "/lab/runs"
SETTINGS = GpuSettings(settle_s=10.0)


def gpu(index: int = 0, used_mib: int = 3, *processes: GpuProcess, **facts: Any) -> Gpu:
    return Gpu(
        index, f"GPU-{index}", "H200", used_mib, 24_000, 0, 30, 75, tuple(processes), **facts
    )


def process(user: str, mib: int | None, run: str = "", *, compute: bool = True) -> GpuProcess:
    return GpuProcess(1, user, mib, compute, f"{RUNS}/{run}-mrm" if run else "")


def claim(run: str, device: str = "GPU-0", mib: int | None = None) -> Claim:
    return Claim(device, run, mib, mib is None, 0.0)


class Play:
    """Readings one after the other, as the agent sees them; the GPUs may all be used."""

    def __init__(self, settings: GpuSettings = SETTINGS) -> None:
        self.settings = settings
        self.history = whose.History()

    def see(self, at: float, *seen: Gpu, claims: tuple[Claim, ...] = ()) -> list[whose.Card]:
        reading = Reading(tuple(seen), "", at)
        self.history = whose.held(self.history, claims, at)
        self.history = whose.follow(self.history, reading, runs_dir=RUNS, settings=self.settings)
        return self.look(at, reading, claims)

    def look(self, at: float, reading: Reading, claims: tuple[Claim, ...]) -> list[whose.Card]:
        return list(
            whose.cards(
                reading,
                claims,
                self.history,
                runs_dir=RUNS,
                settings=self.settings,
                usable={each.uuid for each in reading.gpus},
                marked={},
                now=at,
            )
        )

    def words(self, at: float, *seen: Gpu, claims: tuple[Claim, ...] = ()) -> list[str]:
        return [card.word for card in self.see(at, *seen, claims=claims)]


def test_a_gpu_is_free_once_it_was_without_others_for_long_enough() -> None:
    play = Play()
    assert [play.words(at, gpu())[0] for at in (100, 105, 109.9, 110)] == [
        "settling",
        "settling",
        "settling",
        "free",
    ]


def test_one_reading_with_others_begins_the_waiting_anew() -> None:
    play = Play()
    play.words(100, gpu())
    assert play.words(109, gpu(0, 9000, process("anna", 8000))) == ["others"]
    assert play.words(111, gpu()) == ["settling"]
    assert play.words(120, gpu()) == ["settling"]
    assert play.words(121, gpu()) == ["free"]


def test_readings_far_apart_are_not_consecutive() -> None:
    play = Play()
    play.words(100, gpu())
    assert play.words(100 + whose.GAP_S + 1, gpu()) == ["settling"]


def test_a_reading_that_failed_tells_nothing() -> None:
    play = Play()
    play.words(100, gpu())
    before = play.history
    failed = Reading((), "boom", 105.0, known=False)
    assert whose.follow(before, failed, runs_dir=RUNS, settings=SETTINGS) is before


def test_a_gpu_that_our_run_leaves_is_free_at_once() -> None:
    play = Play()
    busy = gpu(0, 20_000, process("me", 19_000, run="aaaaaa"))
    for at in range(100, 130):
        assert play.words(at, busy, claims=(claim("aaaaaa"),)) == ["ours"]
    last = Reading((busy,), "", 129.0)
    (card,) = play.look(129.4, last, ())  # its memory was still taken when it was last read
    assert (card.word, card.others, card.spare_mib) == ("free", (), 24_000)
    assert play.words(130, gpu(0, 4_000)) == ["free"]


def test_memory_that_stays_behind_makes_it_somebody_elses_after_a_while() -> None:
    play = Play()
    play.words(100, gpu(0, 20_000), claims=(claim("aaaaaa"),))
    assert play.words(101, gpu(0, 9_000)) == ["settling"]
    assert play.words(101 + whose.LEAVE_S, gpu(0, 9_000)) == ["others"]


def test_a_neighbour_who_came_while_our_run_was_there_keeps_it_when_the_run_leaves() -> None:
    play = Play()
    for at in range(100, 120):
        play.words(at, gpu(0, 9_000), claims=(claim("aaaaaa"),))
    anna = gpu(0, 20_000, process("me", 9_000, run="aaaaaa"), process("anna", 11_000))
    (card,) = play.see(120, anna, claims=(claim("aaaaaa"),))
    assert (card.word, card.others) == ("ours", (whose.User("anna", 11_000),))
    (card,) = play.look(120.4, Reading((anna,), "", 120), ())
    assert card.word == "others"


def test_others_compute_or_hold_memory_and_those_who_draw_a_little_do_not_count() -> None:
    play = Play(GpuSettings(settle_s=0))
    assert play.words(100, gpu(0, 30, process("anna", 20))) == ["others"]
    assert play.words(101, gpu(0, 499, process("root", 300, compute=False))) == ["free"]
    (card,) = play.see(102, gpu(0, 500, process("root", 300, compute=False)))
    assert (card.word, card.others) == ("others", (whose.User("root", None),))
    (card,) = play.see(103, gpu(0, 500))
    assert (card.word, card.others) == ("others", (whose.User("", 500),))


def test_each_user_is_named_once_with_all_that_they_hold() -> None:
    seen = gpu(0, 9_000, process("bob", 1_000), process("anna", 2_000), process("anna", 3_000))
    (card,) = Play().see(100, seen)
    assert card.others == (whose.User("anna", 5_000), whose.User("bob", 1_000))
    assert card.others_mib == 9_000


def test_runs_of_another_lab_are_others() -> None:
    (card,) = Play().see(100, gpu(0, 9_000, GpuProcess(1, "me", 8_000, True, "/other/runs/b-x")))
    assert card.others == (whose.User("me", 8_000),)


def test_a_gpu_in_mig_mode_is_left_alone() -> None:
    assert Play(GpuSettings(settle_s=0)).words(100, gpu(mig=True)) == ["mig"]


def test_a_gpu_that_is_claimed_and_no_longer_there_is_gone() -> None:
    play = Play(GpuSettings(settle_s=0))
    held = (claim("aaaaaa", "GPU-1"), claim("bbbbbb", "cpu:0"))
    assert play.words(100, gpu(0), gpu(1), claims=held) == ["free", "ours"]
    cards = play.see(101, gpu(0), claims=held)
    assert [(card.word, card.uuid, card.gpu) for card in cards[1:]] == [("gone", "GPU-1", None)]


def test_what_shares_a_gpu_counts_with_what_it_claimed_or_uses_whichever_is_more() -> None:
    seen = gpu(0, 9_000, process("me", 2_000, run="aaaaaa"), process("me", 6_000, run="bbbbbb"))
    held = (claim("aaaaaa", mib=4_000), claim("bbbbbb", mib=5_000))
    (card,) = Play().see(100, seen, claims=held)
    assert (card.ours_mib, card.may_be_joined) == (10_000, True)
    (alone,) = Play().see(100, seen, claims=(claim("aaaaaa"),))
    assert (alone.ours_mib, alone.may_be_joined) == (24_000, False)
