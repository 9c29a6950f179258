from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cxrlab.gpus import Gpu, GpuProcess, Reading, whose
from cxrlab.gpus import watch as gpu_watch
from cxrlab.lab import Lab
from cxrlab.settings import GpuSettings, LaunchSettings
from store.claims import Claim

IDLE = Gpu(0, "GPU-0", "H200", 3, 24_000, 0, 30, 75)
CLAIM = Claim("GPU-0", "aaaaaa", None, True, 0.0)


class Source:
    """A source of readings that says what it is told to, fails, or hangs until it is let go."""

    def __init__(self) -> None:
        self.says: Callable[[], Reading] = lambda: Reading((IDLE,), "", gpu_watch.time.time())
        self.asked = 0
        self.let_go = threading.Event()

    def __call__(self) -> Reading:
        self.asked += 1
        return self.says()

    def hang(self) -> Reading:
        self.let_go.wait(120)
        return Reading((IDLE,), "", gpu_watch.time.time())


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.let_go.set()


@pytest.fixture
def lab(lab: Lab) -> Lab:
    launch, gpus = LaunchSettings(), GpuSettings(settle_s=0)
    return replace(lab, settings=replace(lab.settings, launch=launch, gpus=gpus))


@pytest.fixture
def watch(source: Source, monkeypatch: pytest.MonkeyPatch) -> gpu_watch.Watch:
    """A watch that reads at every look, and waits for what it has asked for."""
    monkeypatch.setattr(gpu_watch, "WANTED_S", 0.0)
    return gpu_watch.Watch(source, wait_s=120)


def test_nothing_is_read_while_no_run_wants_or_holds_a_gpu(
    lab: Lab, watch: gpu_watch.Watch, source: Source
) -> None:
    place = Claim("cpu:0", "aaaaaa", None, True, 0.0)
    assert watch.look(lab, [place], wanted=False).state == "unread"
    assert source.asked == 0
    assert watch.look(lab, [CLAIM], wanted=False).state == "known"


def test_a_look_shows_whose_each_gpu_is(lab: Lab, watch: gpu_watch.Watch) -> None:
    assert [card.word for card in watch.look(lab, [], wanted=True).cards] == ["free"]
    assert [card.word for card in watch.look(lab, [CLAIM], wanted=True).cards] == ["ours"]
    only = replace(lab, settings=replace(lab.settings, launch=LaunchSettings(gpus=("GPU-9", 1))))
    assert [card.word for card in watch.look(only, [], wanted=True).cards] == ["left out"]


@pytest.mark.parametrize("raises", [False, True])
def test_a_reading_that_fails_is_a_state_with_its_beginning_and_ends_with_the_next(
    lab: Lab, watch: gpu_watch.Watch, source: Source, raises: bool
) -> None:
    def fail() -> Reading:
        if raises:
            raise RuntimeError("boom")
        return Reading((), "boom", 1_000.0 + source.asked, known=False)

    healthy, source.says = source.says, fail
    first, second = (watch.look(lab, [CLAIM], wanted=True) for _ in range(2))
    assert (first.state, first.cards) == ("unknown", ())
    assert "boom" in first.error
    assert first.unknown_since is not None
    assert second.unknown_since == first.unknown_since
    source.says = healthy
    assert watch.look(lab, [CLAIM], wanted=True).state == "known"
    assert watch.unknown_since is None


def test_a_source_that_hangs_never_holds_up_a_look_and_is_said_to(
    lab: Lab,
    watch: gpu_watch.Watch,
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., Any],
) -> None:
    assert watch.look(lab, [], wanted=True).state == "known"
    source.says = source.hang
    watch.wait_s = 0.0
    monkeypatch.setattr(gpu_watch, "FRESH_S", -1.0)
    assert watch.look(lab, [], wanted=True).state == "stale"
    monkeypatch.setattr(gpu_watch, "HUNG_S", -1.0)
    for _ in range(3):
        sight = watch.look(lab, [CLAIM], wanted=True)
        assert (sight.state, sight.error) == ("unknown", "the driver does not answer")
        assert sight.unknown_since is not None
    wait_until(lambda: source.asked == 2)  # the thread may be late to ask
    watch.look(lab, [CLAIM], wanted=True)
    assert source.asked == 2  # nobody asks again one who has not answered
    source.let_go.set()
    monkeypatch.undo()
    watch.wait_s = 120
    assert watch.look(lab, [CLAIM], wanted=True).state == "known"


def test_before_the_first_answer_nothing_is_known(
    lab: Lab, watch: gpu_watch.Watch, source: Source
) -> None:
    source.says, watch.wait_s = source.hang, 0.0
    assert watch.look(lab, [], wanted=True).state == "unread"


def test_who_looks_once_is_shown_what_the_agent_has_seen_over_time(
    lab: Lab, watch: gpu_watch.Watch, source: Source
) -> None:
    settles = replace(lab, settings=replace(lab.settings, gpus=GpuSettings(settle_s=3600)))
    reading = Reading((IDLE,), "", gpu_watch.time.time())
    assert gpu_watch.glance(settles, reading, []).cards[0].word == "free"
    watch.look(settles, [], wanted=True)
    assert gpu_watch.glance(settles, reading, []).cards[0].word == "settling"
    source.says = lambda: Reading((), "boom", 77.0, known=False)
    watch.look(settles, [], wanted=True)
    failed = Reading((), "boom", 99.0, known=False)
    assert gpu_watch.glance(settles, failed, []).unknown_since == 77.0
    lab.gpus_seen.write_text("{}")
    assert gpu_watch.glance(settles, failed, []).unknown_since == 99.0


def test_processes_of_the_labs_runs_are_told_from_others_by_their_folder(
    lab: Lab, watch: gpu_watch.Watch, source: Source
) -> None:
    mine = GpuProcess(1, "me", 9_000, True, f"{lab.runs_dir}/aaaaaa-mrm")
    for process, word in ((mine, "ours"), (mine._replace(folder=""), "ours")):
        gpu = replace(IDLE, used_mib=9_000, processes=(process,))
        source.says = lambda gpu=gpu: Reading((gpu,), "", gpu_watch.time.time())  # type: ignore[misc]
        (card,) = watch.look(lab, [CLAIM], wanted=True).cards
        assert (card.word, bool(card.others)) == (word, not process.folder)


def test_a_note_that_cannot_be_written_stops_nobody(
    lab: Lab, watch: gpu_watch.Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.gpus_seen.with_suffix(".new").mkdir()
    assert watch.look(lab, [], wanted=True).state == "known"
    assert gpu_watch.seen(lab, gpu_watch.time.time()) is None


def test_what_an_agent_saw_long_ago_counts_for_nothing(
    lab: Lab, watch: gpu_watch.Watch, source: Source
) -> None:
    watch.look(lab, [], wanted=True)
    now = gpu_watch.time.time()
    found: Any = gpu_watch.seen(lab, now)
    assert found.history.alone_since
    assert gpu_watch.seen(lab, now + whose.GAP_S + 60) is None
