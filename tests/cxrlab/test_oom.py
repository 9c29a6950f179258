from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrlab import oom
from store import runs

Make = Callable[..., runs.Run]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for what the kernel tells of process 7, in a group of version 2."""
    monkeypatch.setattr(oom, "PROC", tmp_path / "proc")
    monkeypatch.setattr(oom, "CGROUPS", tmp_path / "cgroups")
    monkeypatch.setattr(oom, "KERNEL_LOG", tmp_path / "none")
    (tmp_path / "proc" / "7").mkdir(parents=True)
    (tmp_path / "cgroups" / "job").mkdir(parents=True)
    (tmp_path / "proc" / "7" / "cgroup").write_text("0::/job\n")
    tell(tmp_path)
    return tmp_path


def tell(kernel: Path, *, cgroup: int = 0, machine: int = 0, limit: str = "max") -> None:
    (kernel / "cgroups" / "job" / "memory.events").write_text(f"oom 1\noom_kill {cgroup}\n")
    (kernel / "cgroups" / "job" / "memory.max").write_text(f"{limit}\n")
    (kernel / "proc" / "vmstat").write_text(f"pgfault 12\noom_kill {machine}\n")


def test_no_kill_is_no_witness(kernel: Path) -> None:
    tell(kernel, cgroup=3, machine=3)
    assert oom.Watch(7).at_the_end() is None


def test_a_kill_in_the_control_group_is_told_with_its_limit(kernel: Path) -> None:
    watch = oom.Watch(7)
    tell(kernel, cgroup=1, machine=1, limit="1024")
    assert watch.at_the_end() == oom.Witness("cgroup", 1024)


def test_a_kill_on_the_machine_is_told(kernel: Path) -> None:
    watch = oom.Watch(7)
    tell(kernel, machine=1)
    assert watch.at_the_end() == oom.Witness("machine")


def test_a_kill_that_was_seen_while_the_process_still_lived_counts_for_one_more_look(
    kernel: Path,
) -> None:
    watch = oom.Watch(7)
    tell(kernel, cgroup=1)
    watch.look()
    assert watch.at_the_end() is not None
    watch.look()
    assert watch.at_the_end() is None


def test_the_group_is_remembered_when_the_process_is_gone(kernel: Path) -> None:
    watch = oom.Watch(7)
    (kernel / "proc" / "7" / "cgroup").unlink()
    watch.look()
    tell(kernel, cgroup=1)
    assert watch.at_the_end() == oom.Witness("cgroup")


def test_groups_of_version_1_are_read_too(kernel: Path) -> None:
    (kernel / "proc" / "7" / "cgroup").write_text("4:cpu,memory:/a\n0::/\n")
    folder = kernel / "cgroups" / "memory" / "a"
    folder.mkdir(parents=True)
    (folder / "memory.oom_control").write_text("under_oom 0\noom_kill 4\n")
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    group = oom.group_of(7)
    assert group is not None
    assert (oom.kills_told(group.kills), oom.limit_of(group)) == (4, None)


def test_where_nothing_can_be_read_nothing_is_said(kernel: Path) -> None:
    (kernel / "proc" / "7" / "cgroup").unlink()
    (kernel / "proc" / "vmstat").unlink()
    watch = oom.Watch(7)
    watch.look()
    assert watch.at_the_end() is None


@pytest.mark.parametrize(("since", "found"), [(0.0, {7}), (100.0, set())])
def test_the_kernels_log_names_the_process(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, since: float, found: set[int]
) -> None:
    log = kernel / "kmsg"
    log.write_text("3,1,52000000,-;Out of memory: Killed process 7 (python) total-vm:1kB\n")
    monkeypatch.setattr(oom, "KERNEL_LOG", log)
    assert oom.killed_by_kernel(since) == found


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of this machine's own with little memory; needs root."""
    parent = Path("/sys/fs/cgroup/memory")
    folder = parent / f"cxrlab-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(96 * 2**20))
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    yield folder
    for pid in (folder / "cgroup.procs").read_text().split():
        (parent / "cgroup.procs").write_text(pid)
    folder.rmdir()


def test_a_run_that_the_kernel_kills_for_its_memory_says_so(
    small_group: Path, new_run: Any, begin: Make, wait_for_state: Make, db: Any
) -> None:
    code = (
        "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "kept = []\n"
        "while True: kept.append(bytearray(b'x' * 2**20))"
    )
    run = begin(new_run(command=[sys.executable, "-c", code, str(small_group)]))
    lost = wait_for_state(run.id, *runs.ENDED)
    assert lost.state == "lost"
    assert lost.reason.startswith("killed by the kernel: out of memory (host)")


def test_an_ordinary_kill_is_no_want_of_memory() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    watch = oom.Watch(child.pid)
    child.kill()
    child.wait()
    assert watch.at_the_end() is None
