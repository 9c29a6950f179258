from __future__ import annotations

import signal
from typing import Any

import pytest

from cxrlab.states import Evidence, decide

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
