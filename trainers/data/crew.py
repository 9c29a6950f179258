"""How do several processes write shards together, and all end when the first one does?"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from typing import Any

from trainers.data import shards

TELL_S = 0.5
"""How often it is said how far the work is."""

_ticks: Any = None  # a counter that the processes share; set in each of them by `_begin`


def write_all(
    jobs: Sequence[shards.Job], *, processes: int
) -> Iterator[tuple[int, list[shards.Job]]]:
    """Write every shard; yields how many images are done, and the shards finished since.

    To leave off early, close the generator: the processes end at once, whatever they are at.

    Raises:
        OSError: a shard could not be written.
        BrokenProcessPool: a process was killed.
    """
    # a fork need not import torch a second time; nothing here has a thread running
    context = multiprocessing.get_context("fork")
    ticks = context.Value("q", 0)
    their_end, our_end = os.pipe()
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)),
        mp_context=context,
        initializer=_begin,
        initargs=(ticks, their_end, our_end),
    )
    closed = False
    try:
        at = {pool.submit(_write, job): job for job in jobs}
        pending: set[Future[None]] = set(at)
        while pending:
            done, pending = wait(pending, timeout=TELL_S, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            yield ticks.value, [at[future] for future in done]
    except BaseException:
        os.close(our_end)
        closed = True
        raise
    finally:
        with suppress(Exception):
            pool.shutdown(cancel_futures=True)
        os.close(their_end)
        if not closed:
            os.close(our_end)


def _begin(ticks: Any, their_end: int, our_end: int) -> None:
    """Set up one process: it ends when the pipe's other end closes, even by a kill -9."""
    global _ticks
    _ticks = ticks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt goes to all; the first answers it
    os.close(our_end)

    def end_with_the_first() -> None:
        os.read(their_end, 1)
        os._exit(1)

    threading.Thread(target=end_with_the_first, daemon=True).start()


def _write(job: shards.Job) -> None:
    shards.write(job, tick=_tick)


def _tick() -> None:
    with _ticks.get_lock():
        _ticks.value += 1
