from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab import torchrun
from cxrlab.backends import local
from cxrlab.lab import Lab
from cxrlab.torchrun import Failure
from store import runs
from trainers.adapt import free_port

# as torch 2.13 prints it
SUMMARY = """\
W1129 17:34:18 torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 16626 closing
E1129 17:34:18 torch/distributed/api.py:1002] failed (exitcode: {status}) local_rank: 1 (pid: 7) of
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
=======================================================
/tmp/fx/rank.py FAILED
-------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-29_17:34:18
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : -15 (pid: 16626)  (SIGTERM)
  error_file: <N/A>
  traceback : Signal 15 (SIGTERM) received by PID 16626
-------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-29_17:34:18
  host      : localhost
  rank      : 5 (local_rank: 1)
  exitcode  : {status} (pid: 7) {named}
  error_file: <N/A>
  traceback : {trace}
=======================================================
"""


@pytest.mark.parametrize(
    ("status", "trace", "failure"),
    [
        (-9, "Signal 9 (SIGKILL) received by PID 7", Failure(5, -9, "")),
        (3, "To enable traceback see: https://pytorch.org/docs", Failure(5, 3, "")),
        (
            1,
            "Traceback (most recent call last):\n    File x\n  KeyError: 'y'\n  ",
            Failure(5, 1, "KeyError: 'y'"),
        ),
    ],
)
def test_the_first_failure_is_read_with_its_rank(status: int, trace: str, failure: Failure) -> None:
    log = "some log\n" + SUMMARY.format(status=status, named="", trace=trace)
    assert torchrun.read(log).failure == failure


def test_a_rank_that_only_lost_its_peer_is_not_the_first_whatever_torchrun_says() -> None:
    log = SUMMARY.format(
        status=1, named="", trace="RuntimeError: [gloo/tcp/pair.cc:545] Connection reset by peer"
    ).replace("-15 (pid: 16626)  (SIGTERM)", "-9 (pid: 16626)  (SIGKILL)")
    assert torchrun.read(log).failure == Failure(0, -9, "")


def test_a_rank_that_failed_and_was_then_ended_has_failed_of_itself() -> None:
    log = SUMMARY.format(status=-15, named="", trace="Traceback\n    KeyError: 'y'\n  ")
    failure = torchrun.read(log).failure
    assert failure == Failure(5, -15, "KeyError: 'y'")
    assert torchrun.in_words(failure) == "rank 5 failed: KeyError: 'y'"


def test_a_failure_is_known_before_torchrun_has_summed_it_up() -> None:
    log = "".join(SUMMARY.format(status=-9, named="", trace="").splitlines(keepends=True)[:2])
    assert torchrun.read(log).failure == Failure(1, -9, "")


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("torch...api.RendezvousTimeoutError\n", "rendezvous timed out: not all nodes came"),
        (
            "RendezvousConnectionError: The connection to the C10d store has failed.",
            "rendezvous failed: nobody answers at its address",
        ),
        (
            "torch.distributed.DistStoreError: Timed out after 1801 seconds waiting for clients. "
            "1/2 clients joined.",
            "rendezvous timed out after 1801 s: 1 of 2 processes came",
        ),
        (
            "The client socket has timed out after 60000ms while trying to connect to (h, 29500).",
            "rendezvous timed out after 60 s: nobody answers at h:29500",
        ),
        ("errno: 98 - EADDRINUSE: address already in use", "rendezvous failed: its port is taken"),
        ("step 3 of 4", ""),
    ],
)
def test_why_processes_did_not_meet_is_said_in_words(log: str, words: str) -> None:
    assert torchrun.read(log).meeting == words


def test_only_a_lost_peer_is_explained_by_another_rank() -> None:
    lost = "RuntimeError: [..gloo/transport/tcp/pair.cc:545] Connection reset by peer"
    assert torchrun.explains(Failure(1, -9, ""), lost)
    assert not torchrun.explains(Failure(0, 1, ""), lost)
    assert not torchrun.explains(Failure(1, 1, ""), "GPU out of memory: tried to allocate")


@pytest.mark.parametrize(
    ("command", "used"),
    [
        (["python", "-P", "-m", "torch.distributed.run", "--standalone"], True),
        (["/venv/bin/torchrun", "x.py"], True),
        (["python", "-m", "trainers.pretrain"], False),
    ],
)
def test_torchrun_is_recognised(command: list[str], used: bool) -> None:
    assert torchrun.is_used(command) is used


RANK = Path(__file__).parents[2] / "benchmarks" / "fault_rank.py"
TORCHRUN = [sys.executable, "-P", "-m", "torch.distributed.run"]


@pytest.fixture
def make_ranks(lab: Lab, new_run: Any) -> Callable[..., runs.Run]:
    """Add a run of two ranks, one of which a fault befalls."""

    def make(fault: str, *options: str) -> runs.Run:
        id = runs.new_id()
        folder = str(lab.runs_dir / f"{id}-ranks")
        how = options or ("--standalone", "--nproc-per-node=2")
        command = [*TORCHRUN, *how, str(RANK), "--output_dir", folder, "--fault", fault]
        run: runs.Run = new_run(id=id, folder=folder, command=command)
        return run

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        ("kill", "lost", r"rank 1 was ended by SIGKILL \(kill -9\)"),
        # where the other rank was the quicker to end, torchrun ends this one on its way out
        ("oom", "failed", r"rank 1 (ended with exit status 1|failed): GPU out of memory: CUDA out"),
    ],
)
def test_one_rank_dead_is_named_and_its_exit(
    make_ranks: Any,
    begin: Any,
    wait_for_state: Any,
    wait_until: Any,
    fault: str,
    state: str,
    reason: str,
) -> None:
    run = begin(make_ranks(fault))
    ended = wait_for_state(run.id, *runs.ENDED)
    assert ended.state == state
    assert re.match(reason, ended.reason), ended.reason
    # a rank's own word of its end is there before torchrun has seen it, and cleared up
    wait_until(lambda: local.processes(Path(run.folder)) == [])


@pytest.mark.slow
def test_a_rendezvous_that_times_out_says_so(
    make_ranks: Any, begin: Any, wait_for_state: Any
) -> None:
    meeting = ("--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d")
    where = (f"--rdzv-endpoint=localhost:{free_port()}", "--rdzv-conf=join_timeout=2")
    ended = wait_for_state(begin(make_ranks("none", *meeting, *where)).id, *runs.ENDED)
    assert (ended.state, ended.reason) == ("failed", "rendezvous timed out: not all nodes came")
