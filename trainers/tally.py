"""At which step does a training stand, by what its program says in several places?

Standard output, a JSON log and a TensorBoard file count each in its own way: updates, epochs,
thousandths of epochs. So each has a count of its own, and a curve is drawn from one of them alone.
Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from trainers.events import EventLog
from trainers.loglines import Told

PROGRESS_S = 1.0
"""How often progress is told at most."""

PASSING_S = 5.0
"""How often values of a line that is written over are told at most."""

PRINTED = ""
"""The source that is standard output."""


class Count:
    """Where one source stands; its steps never go back."""

    def __init__(self) -> None:
        self.step = 0
        self.epoch = 0.0
        self.counts = False
        """Whether it counts updates, and not epochs alone."""
        self._base = self._raw = self._lap = self._laps = 0

    def move(self, told: Told) -> int:
        """Return the step of what was told."""
        if told.exact and told.step is not None:
            self.step = told.step
            return self.step
        step = self._counted(told)
        if told.epoch is not None:
            self.epoch = max(self.epoch, told.epoch)
        if step is None and told.epoch is not None and not self.counts:
            step = round(told.epoch)
        self.step = max(self.step, step or 0)
        return self.step

    def _counted(self, told: Told) -> int | None:
        if told.step is not None:
            if told.step < self._raw and told.epoch is not None and told.epoch > self.epoch:
                self._base += self._raw  # counted within each epoch: count on
            self._raw = told.step
            self.counts = True
            return self._base + told.step
        if told.done is None or not told.total:
            return None
        if told.done < self._lap and told.epoch is None:
            self._laps += 1  # the bar has begun anew
        self._lap = told.done
        self.counts = self.counts or bool(told.done)
        lap = self._laps if told.epoch is None else int(told.epoch)
        return lap * told.total + told.done


class Tally:
    """Turns what lines say into events."""

    def __init__(
        self,
        events: EventLog,
        epochs: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.events = events
        self.epochs = epochs
        self.last: dict[str, float] = {}
        """By name the value told last, wherever that was."""
        self._clock = clock
        self._counts: dict[str, Count] = {}
        self._owners: dict[str, str] = {}
        self._began = clock()
        self._told = self._passed = -float("inf")

    def take(self, told: Told, *, stays: bool, source: str = PRINTED) -> None:
        """Write what one line said; `stays` is False for one that is written over."""
        now = self._clock()
        count = self._counts.setdefault(source, Count())
        step = count.move(told)
        printed = self._counts.get(PRINTED, count)
        if not count.counts and printed.counts and not told.exact:
            step = printed.step  # an epoch's summary, of a program that prints its updates
        if told.values and (stays or now - self._passed > PASSING_S):
            self._passed = now if not stays else self._passed
            self.last |= told.values
            values = self._own(told.values, source, stays=stays)
            if values:
                self.events.metrics(step, values, epoch=count.epoch or printed.epoch)
        if told.done is not None and told.total and now - self._told > PROGRESS_S:
            self._told = now
            self._progress(told.done, told.total, told.eta_s, now, epoch=count.epoch)

    def _own(self, values: Mapping[str, float], source: str, *, stays: bool) -> dict[str, float]:
        """Return those values whose curve is drawn from this source, the first that told of them.

        A bar that is written over makes no claim: a file may tell every step of what it rounds.
        """
        if stays:
            for name in values:
                self._owners.setdefault(name, source)
        return {n: v for n, v in values.items() if self._owners.get(n, source) == source}

    def _progress(
        self, done: int, total: int, eta_s: float | None, now: float, *, epoch: float
    ) -> None:
        if self.epochs and self.epochs > 1:
            done, total = min(int(epoch), self.epochs - 1) * total + done, self.epochs * total
            spent = now - self._began
            eta_s = spent / done * (total - done) if done else None
        self.events.progress(done, total, eta_s=eta_s)
