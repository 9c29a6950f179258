"""How is a run stopped, resumed, retried and removed?

Starting what is queued again is the agent's matter, or Slurm's.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from cxrlab import refresh
from cxrlab.backends import job, local
from cxrlab.code import frozen, worktree
from cxrlab.errors import CxrlabError, NotFound, Usage
from cxrlab.grid import FOREIGN
from cxrlab.lab import Lab
from cxrlab.queueing import calling_off
from store import mending, runs
from store.db import Database, writing

_KILL_WAIT_S = 15.0


def stop(lab: Lab, db: Database, run: runs.Run, grace_s: float | None = None) -> runs.Run:
    """End a run and return it as it then is; one that waits never starts.

    A running one is asked to write a checkpoint and end. After `grace_s` (the lab's setting where
    None) every process of it is killed. Asking twice does not ask the trainer twice.

    Raises:
        CxrlabError: it has ended already, or Slurm, which runs it, does not answer.
    """
    limit = lab.settings.launch.stop_grace_s if grace_s is None else grace_s
    if run.job is not None:
        return calling_off.stop(lab, db, run, limit)
    while run.state in runs.WAITING:
        reason = "stopped while it waited"
        if runs.change_state(db, run.id, "stopped", reason=reason, expect=runs.WAITING):
            return runs.get(db, run.id)
        run = runs.get(db, run.id)
    if run.state != "running":
        raise CxrlabError(f"{run.id} is {run.state}; there is nothing to stop")
    folder, attempt, asked = Path(run.folder), run.attempt, ask_to_stop(db, run)
    deadline = time.monotonic() + limit
    while run.state == "running" and run.attempt == attempt:
        if asked == "nobody" or (  # its runner was only just starting, or died over it
            asked == "runner" and not local.look(folder, attempt).runner_alive
        ):
            asked = local.ask_to_stop(folder, attempt)
        over = time.monotonic() - deadline
        if over >= 0:
            local.kill(folder, attempt, runner_too=over > _KILL_WAIT_S)
        time.sleep(0.1)
        refresh.refresh_run(lab, db, run)
        run = runs.get(db, run.id)
    gone_by = time.monotonic() + _KILL_WAIT_S
    while run.attempt == attempt and local.processes(folder) and time.monotonic() < gone_by:
        time.sleep(0.02)  # the runner writes its record, then ends
    refresh.refresh(lab, db)
    return run


def ask_to_stop(db: Database, run: runs.Run) -> local.Asked:
    """Ask a running run to end and return at once; whoever looks after the lab's limit kills it.

    Returns:
        Who has been asked, now or before.
    """
    mending.begin_anew(db, run.id)  # one that was to end and go on now only ends
    if run.stop_requested is not None:
        return "runner"
    if run.job is not None:
        calling_off.ask(db, run)
        return "runner"
    asked = local.ask_to_stop(Path(run.folder), run.attempt)
    runs.request_stop(db, run.id, time.time())
    return asked


def resume(lab: Lab, db: Database, run: runs.Run, *, fresh_code: bool = False) -> runs.Run:
    """Queue another attempt of a stopped or lost run, from its last checkpoint where it has one.

    It executes the code that the run was queued with, or today's if `fresh_code`.

    Raises:
        CxrlabError: it is in another state, processes of it live on, or its code is gone.
    """
    if run.state == "failed":
        raise CxrlabError(f"{run.id} has failed: {run.reason}", f"`cxrlab retry {run.id}`")
    return _again(lab, db, run, states=("stopped", "lost"), fresh_code=fresh_code)


def retry(lab: Lab, db: Database, run: runs.Run, *, fresh_code: bool = False) -> runs.Run:
    """Queue another attempt of a failed run, from its last checkpoint where it has one.

    It executes the code that the run was queued with, or today's if `fresh_code`.

    Raises:
        CxrlabError: it is in another state, processes of it live on, or its code is gone.
    """
    return _again(lab, db, run, states=("failed", "stopped", "lost"), fresh_code=fresh_code)


def remove(lab: Lab, db: Database, run: runs.Run) -> None:
    """Remove a run from the registry, and its folder.

    Raises:
        CxrlabError: it is running, or has a job in Slurm's queue.
        StoreError: other runs start from it.
    """
    with writing(db):
        now = runs.get(db, run.id)
        if now.state == "running" or now.job is not None:
            what = f"has job {now.job} in Slurm" if now.state != "running" else "is running"
            raise CxrlabError(f"{run.id} {what}", f"`cxrlab stop {run.id}` first")
        runs.remove(db, run.id)
    folder = Path(run.folder)
    if lab.runs_dir.resolve() in folder.resolve().parents:
        digests = frozen.named(folder)
        shutil.rmtree(folder, ignore_errors=True)
        frozen.release(lab, digests)


def attempt_command(run: runs.Run) -> list[str]:
    """Return the command of a run's next attempt: it goes on from a checkpoint that is there.

    A program of one's own, behind `--`, is started as it was; only it knows what it can go on from.
    """
    return job.resuming(run.command, Path(run.folder))


_INSTEAD = {
    "succeeded": "`cxrlab rerun {0}` runs it anew, `cxrlab clone {0}` with other settings",
    "failed": "`cxrlab retry {0}` starts it again",
}
"""What to do with a run that is not to go on; said of those that have ended."""


def _again(
    lab: Lab, db: Database, run: runs.Run, *, states: tuple[str, ...], fresh_code: bool
) -> runs.Run:
    if run.state not in states:
        only = " and ".join(filter(None, (", ".join(states[:-1]), states[-1])))
        raise CxrlabError(
            f"{run.id} is {run.state}; only {only} runs go on",
            _INSTEAD.get(run.state, "").format(run.id),
        )
    if run.preset == FOREIGN:
        raise CxrlabError(f"{run.id} was made elsewhere, and can only go on there")
    if run.job is not None:
        raise CxrlabError(f"job {run.job} of {run.id} is not over yet", "try again in a moment")
    folder = Path(run.folder)
    deadline = time.monotonic() + _KILL_WAIT_S
    while (alive := local.processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)  # its runner may be on its way out
    if alive:
        named = ", ".join(str(pid) for pid in alive)
        raise CxrlabError(f"processes of {run.id} live on: {named}", f"`kill -9 {named}`")
    if not folder.is_dir():
        raise NotFound(f"{folder} is gone", f"`cxrlab rm {run.id}` and launch it anew")
    if fresh_code and (folder / worktree.NOTE).exists():
        raise Usage(
            f"{run.id} starts in a copy of its checkout, which `--fresh-code` does not renew",
            "`cxrlab run --again` queues the line with today's",
        )
    if fresh_code or frozen.noted(folder) is None:
        _take_code(lab, run)
    else:
        frozen.check(run.id, folder)
    with writing(db):
        waits = any(runs.get(db, need).state != "succeeded" for need in run.needs)
        state, reason = ("blocked", "waits for others") if waits else ("queued", refresh.TURN)
        if not runs.change_state(db, run.id, state, reason=reason, expect=states):
            raise CxrlabError(f"{run.id} is {runs.get(db, run.id).state} by now")
        mending.begin_anew(db, run.id)
    refresh.refresh(lab, db)  # puts the reason into words
    return runs.get(db, run.id)


def _take_code(lab: Lab, run: runs.Run) -> None:
    """Have the next attempt of a run execute today's code."""
    folder = Path(run.folder)
    with frozen.door(lab):
        code, own = frozen.freeze(lab), "--" in run.command
        with lab.creating():
            frozen.note(folder, code, attempt=run.attempt + 1, own=own)
    line = frozen.line(folder, run.command)
    (folder / "command.txt").write_text(line + "\n", encoding="utf-8")
