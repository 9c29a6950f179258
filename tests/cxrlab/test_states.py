from __future__ import annotations

import signal
from typing import Any

import pytest

from cxrlab.states import Evidence, decide
from cxrlab.torchrun import Failure, Told

STARTED: dict[str, Any] = {"host": "box", "trainer": {"pid": 2, "start": 9}, "ended": None}


def ended(**how: Any) -> dict[str, Any]:
    return {**STARTED, "ended": 1.0, "exit_code": None, "signal": None, **how}


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        (Evidence(ended(exit_code=0)), "succeeded"),
        (Evidence(ended(exit_code=1)), "failed"),
        (Evidence(ended(exit_code=2)), "failed"),
        (Evidence(ended(exit_code=127)), "failed"),
        (Evidence(ended(exit_code=143)), "stopped"),
        (Evidence(ended(exit_code=130)), "stopped"),
        (Evidence(ended(signal=signal.SIGTERM)), "stopped"),
        (Evidence(ended(signal=signal.SIGKILL)), "lost"),
        (Evidence(ended(signal=signal.SIGKILL), stop_requested=True), "stopped"),
        (Evidence(ended(signal=signal.SIGSEGV)), "failed"),
        (Evidence(STARTED, runner_alive=True, trainer_alive=True), "running"),
        (Evidence(STARTED, trainer_alive=True), "running"),
        (Evidence(STARTED, runner_alive=True), "running"),
        (Evidence(STARTED), "lost"),
        (Evidence(STARTED, stop_requested=True), "stopped"),
        (Evidence(STARTED, outcome="succeeded"), "succeeded"),
        (Evidence(STARTED, same_boot=False), "lost"),
        (Evidence(STARTED, same_boot=False, outcome="stopped"), "stopped"),
        (Evidence(STARTED, same_host=False, beat_age_s=5), "running"),
        (Evidence(STARTED, same_host=False, beat_age_s=500), "lost"),
        (Evidence(None, since_start_s=3), "running"),
        (Evidence(None, since_start_s=30, runner_alive=True), "running"),
        (Evidence(None, since_start_s=30), "lost"),
        (Evidence(None, folder_there=False), "lost"),
    ],
)
def test_the_state_follows_from_the_evidence(evidence: Evidence, state: str) -> None:
    assert decide(evidence).state == state


@pytest.mark.parametrize("outcome", ["succeeded", "stopped", "failed"])
@pytest.mark.parametrize(
    "record", [ended(exit_code=1), ended(exit_code=0), ended(signal=9), STARTED]
)
def test_the_end_event_outranks_the_exit_record(outcome: str, record: dict[str, Any]) -> None:
    assert decide(Evidence(record, outcome=outcome, end_reason="why")) == (outcome, "why")


def test_an_end_event_does_not_end_a_trainer_that_lives() -> None:
    evidence = Evidence(STARTED, runner_alive=True, trainer_alive=True, outcome="succeeded")
    assert decide(evidence).state == "running"


def test_silence_is_said_and_is_not_death() -> None:
    evidence = Evidence(STARTED, runner_alive=True, trainer_alive=True, quiet_s=14 * 60 + 20)
    assert decide(evidence) == ("running", "quiet for 14 min")


def test_a_long_silence_is_said_in_hours() -> None:
    evidence = Evidence(STARTED, runner_alive=True, trainer_alive=True, quiet_s=3 * 3600 + 300)
    assert decide(evidence) == ("running", "quiet for 3 h 05 min")


def test_a_failure_without_an_event_takes_the_last_line_of_the_log_as_its_reason() -> None:
    evidence = Evidence(ended(exit_code=1), last_line="ValueError: no such thing")
    assert decide(evidence) == ("failed", "ValueError: no such thing")


def test_a_failure_that_said_nothing_still_has_a_reason() -> None:
    assert decide(Evidence(ended(exit_code=7))).reason == "exit status 7, and nothing in its log"


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(STARTED),
        Evidence(STARTED, same_boot=False),
        Evidence(STARTED, same_host=False),
        Evidence(None, since_start_s=60),
        Evidence(None, folder_there=False),
        Evidence(ended(signal=9)),
    ],
)
def test_a_lost_run_always_says_why(evidence: Evidence) -> None:
    verdict = decide(evidence)
    assert verdict.state == "lost"
    assert verdict.reason


OOM = {"where": "cgroup", "limit": 64 * 2**20}


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (
            Evidence(ended(signal=9, oom={"where": "process", "limit": None})),
            ("lost", "killed by the kernel: out of memory (host)"),
        ),
        (
            Evidence(ended(signal=9, oom=OOM)),
            ("lost", "killed by the kernel: out of memory (host), limited to 64.0 MiB"),
        ),
        (
            Evidence(ended(exit_code=1, oom=OOM | {"limit": None}), last_line="a worker died"),
            (
                "failed",
                "a process of it was killed by the kernel: out of memory (host): a worker died",
            ),
        ),
        (
            Evidence(
                ended(exit_code=1, oom=OOM | {"limit": None}), outcome="failed", end_reason="so"
            ),
            ("failed", "a process of it was killed by the kernel: out of memory (host): so"),
        ),
        (
            Evidence(ended(signal=9, oom=OOM), stop_requested=True),
            ("stopped", "killed, because it did not end when asked to"),
        ),
        (
            Evidence(ended(signal=9)),
            ("lost", "killed from outside with SIGKILL (kill -9)"),
        ),
    ],
)
def test_want_of_memory_is_told_apart_from_kill_9(
    evidence: Evidence, verdict: tuple[str, str]
) -> None:
    assert decide(evidence) == verdict


LIVES = {"runner_alive": True, "trainer_alive": True}


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (
            Evidence(STARTED, quiet_s=14 * 60 + 9, usual_s=3.0, stall_s=60, **LIVES),
            "stalled: no event for 14 min, usually every 3 s",
        ),
        (
            Evidence(STARTED, quiet_s=31, usual_s=0.051, stall_s=30, **LIVES),
            "stalled: no event for 30 s, usually every 0.051 s",
        ),
        (Evidence(STARTED, quiet_s=59, usual_s=3.0, stall_s=60, **LIVES), ""),
        (
            Evidence(STARTED, quiet_s=900, usual_s=3.0, stall_s=60, frozen=True, **LIVES),
            "frozen by a signal (SIGSTOP)",
        ),
        (
            Evidence(STARTED, quiet_s=900, usual_s=3.0, stall_s=60, paused="why", **LIVES),
            "paused: why",
        ),
    ],
)
def test_a_run_that_goes_on_says_what_is_odd(evidence: Evidence, reason: str) -> None:
    assert decide(evidence) == ("running", reason)


PEER = "RuntimeError: [gloo/tcp/pair.cc:545] Read error: Connection reset by peer"


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (
            Evidence(ended(exit_code=1), ranks=Told(Failure(1, -9, ""))),
            ("lost", "rank 1 was ended by SIGKILL (kill -9)"),
        ),
        (
            Evidence(
                ended(exit_code=1),
                outcome="failed",
                end_reason=PEER,
                ranks=Told(Failure(1, -9, "")),
            ),
            ("lost", "rank 1 was ended by SIGKILL (kill -9)"),
        ),
        (
            Evidence(ended(exit_code=1, oom=OOM), ranks=Told(Failure(1, -9, ""))),
            (
                "lost",
                "rank 1 was killed by the kernel: out of memory (host), limited to 64.0 MiB",
            ),
        ),
        (
            Evidence(ended(exit_code=1), ranks=Told(Failure(3, 1, "KeyError: 'x'"))),
            ("failed", "rank 3 ended with exit status 1: KeyError: 'x'"),
        ),
        (
            Evidence(
                ended(exit_code=1),
                outcome="failed",
                end_reason="GPU out of memory: x",
                ranks=Told(Failure(1, 1, "GPU out of memory: y")),
            ),
            ("failed", "GPU out of memory: x"),
        ),
        (
            Evidence(ended(exit_code=1), ranks=Told(None, "rendezvous timed out")),
            ("failed", "rendezvous timed out"),
        ),
        (
            Evidence(STARTED, ranks=Told(Failure(1, -9, "")), **LIVES),
            ("running", "rank 1 was ended by SIGKILL; the others are being ended"),
        ),
    ],
)
def test_the_rank_that_failed_first_is_named(evidence: Evidence, verdict: tuple[str, str]) -> None:
    assert decide(evidence) == verdict
