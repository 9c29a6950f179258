from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cxrlab.backends import slurm
from cxrlab.backends.slurm import Seen
from cxrlab.job_states import JobEvidence, decide, why_pending
from cxrlab.states import Evidence

NOW = 1000.0
BEGUN = {"attempt": 1, "started": 100.0, "ended": None, "slurm": {"nodes": "n1"}}
ENDED = {**BEGUN, "ended": 900.0, "exit_code": 143, "signal": None}


def job(seen: Seen | None, record: dict[str, Any] | None = None, **more: Any) -> JobEvidence:
    ours = {key: more.pop(key) for key in ("outcome", "stop_requested", "last_line") if key in more}
    evidence = Evidence(record=record, **ours)
    known = {"number": "12", "submitted": 50.0, "asked": 999.0, "now": NOW, **more}
    return JobEvidence(seen=seen, run=evidence, **known)


@pytest.mark.parametrize(
    ("evidence", "state", "says"),
    [
        (job(Seen("PENDING", "Resources")), "queued", "are taken (job 12)"),
        (job(Seen("CONFIGURING")), "queued", "waits for its turn in Slurm (job 12)"),
        (job(None, asked=0.0), "queued", "handed in to Slurm (job 12)"),
        (job(None), "lost", "job 12 is gone from Slurm, and never began"),
        (job(Seen("RUNNING", nodes="n1")), "running", "starting on n1"),
        (job(Seen("CANCELLED")), "stopped", "job 12 was cancelled in Slurm"),
        (job(Seen("FAILED"), last_line="module: not found"), "failed", "module: not found"),
        (job(Seen("RUNNING", nodes="n[1-2]"), BEGUN), "running", "on n[1-2]"),
        (job(Seen("SUSPENDED", nodes="n1"), BEGUN), "running", "on n1, suspended by Slurm"),
        (job(Seen("RUNNING", nodes="n1"), BEGUN, stop_requested=True), "running", "stopping"),
        (job(None, BEGUN, asked=99.0), "running", "on n1"),
        (job(None, BEGUN), "lost", "job 12 is gone from Slurm, and left no word"),
        (job(None, BEGUN, outcome="succeeded"), "succeeded", ""),
        (job(Seen("PENDING", "Priority"), BEGUN), "queued", "started again by Slurm"),
        (job(Seen("PENDING"), BEGUN, asked=101.0), "running", "on n1"),
        (job(Seen("TIMEOUT"), BEGUN), "lost", "at its time limit before it had saved"),
        (job(Seen("NODE_FAIL", nodes="n1"), BEGUN), "lost", "n1 failed"),
        (job(Seen("PREEMPTED"), BEGUN), "lost", "preempted by a job of higher priority"),
        (job(Seen("OUT_OF_MEMORY"), BEGUN), "failed", "out of memory"),
        (job(Seen("CANCELLED"), BEGUN, stop_requested=True), "stopped", "did not end when asked"),
        (job(Seen("CANCELLED"), BEGUN, outcome="failed"), "failed", ""),
        (job(Seen("COMPLETED"), {**ENDED, "exit_code": 0}), "succeeded", ""),
        (job(Seen("RUNNING"), ENDED, outcome="stopped", stop_requested=True), "stopped", ""),
        (job(Seen("RUNNING"), {**ENDED, "ended": 990.0}), "running", "ending"),
        (job(Seen("CANCELLED"), ENDED, outcome="stopped"), "stopped", "was cancelled in Slurm"),
        (job(Seen("TIMEOUT"), {**ENDED, "signal": 9}), "lost", "time limit"),
        (job(Seen("OUT_OF_MEMORY"), {**ENDED, "exit_code": None, "signal": 9}), "failed", "memory"),
        (
            job(Seen("PENDING", "BeginTime"), {**ENDED, "requeue": True}),
            "queued",
            "time limit, and",
        ),
        (job(Seen("CANCELLED"), {**ENDED, "requeue": True}), "stopped", "cancelled in Slurm"),
        (
            job(Seen("FAILED"), {**ENDED, "requeue": True}, outcome="stopped"),
            "lost",
            "and Slurm did not start it again",
        ),
        (
            job(Seen("FAILED"), {**ENDED, "short_of_time": True}, outcome="stopped"),
            "stopped",
            "may not start again more often",
        ),
        (
            job(Seen("FAILED"), {**ENDED, "short_of_time": True, "starts_again": False}),
            "stopped",
            "ended at its time limit; a program of your own",
        ),
        (
            job(Seen("FAILED"), {**ENDED, "requeue_refused": "disabled"}, outcome="stopped"),
            "stopped",
            "Slurm does not start it again: disabled",
        ),
    ],
)
def test_a_state_follows_from_the_folder_and_from_slurm(
    evidence: JobEvidence, state: str, says: str
) -> None:
    verdict = decide(evidence)
    assert verdict.state == state
    assert says in verdict.reason


def test_where_slurm_is_silent_what_is_believed_says_since_when() -> None:
    silent = replace(
        job(Seen("RUNNING", nodes="n1"), BEGUN),
        unknown_since=900.0,
        clock="17:45",
        error="squeue took longer than 30 s",
    )
    assert decide(silent) == (
        "running",
        "on n1; unknown since 17:45: squeue took longer than 30 s",
    )
    assert decide(replace(silent, run=Evidence(record={**ENDED, "exit_code": 0}))).reason == ""


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("", "waits for its turn in Slurm"),
        ("Priority", "jobs of higher priority come first"),
        ("QOSMaxGRESPerUser", "a limit of its QOS is reached (QOSMaxGRESPerUser)"),
        ("AssocGrpGRES", "a limit of its account or user is reached (AssocGrpGRES)"),
        ("ReqNodeNotAvail, UnavailableNodes:n3", "a node it asks for is not available"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_reasons_to_wait_are_put_into_words(reason: str, says: str) -> None:
    assert says in why_pending(Seen("PENDING", reason))


def test_what_squeue_prints_is_read_arrays_included() -> None:
    printed = (
        "12|PENDING|Priority||cxrlab-abc234-0f0f0f\n"
        "13_0|RUNNING|None|gpu[01-02]|a|b\n"
        "13_1|TIMEOUT|TimeLimit|gpu03|x\n"
        "slurm_load_jobs error: something\n"
    )
    assert slurm.read_squeue(printed) == {
        "12": Seen("PENDING", "Priority", "", "cxrlab-abc234-0f0f0f"),
        "13_0": Seen("RUNNING", "", "gpu[01-02]", "a|b"),
        "13_1": Seen("TIMEOUT", "TimeLimit", "gpu03", "x"),
    }


def test_what_sacct_prints_is_read_arrays_included() -> None:
    printed = (
        "JobID|State|NodeList|JobName\n"
        "12|CANCELLED by 1000|gpu01|cxrlab-abc234-0f0f0f\n"
        "13_[2-3]|PENDING|None assigned|cxrlab-b\n"
        "13_0|NODE_FAIL|gpu02|cxrlab-b\n"
    )
    found = slurm.read_sacct(printed)
    assert found["12"] == Seen("CANCELLED", "", "gpu01", "cxrlab-abc234-0f0f0f")
    assert (found["13_2"].state, found["13_3"].state) == ("PENDING", "PENDING")
    assert found["13_0"].state == "NODE_FAIL"


@pytest.mark.parametrize(
    ("printed", "number"),
    [("12\n", "12"), ("12;cluster\n", "12"), ("sbatch: a word\n34\n", "34"), ("no\n", "")],
)
def test_the_number_is_read_from_what_sbatch_prints(printed: str, number: str) -> None:
    assert slurm.number_of(printed) == number
