"""What have the GPUs been doing for the last minute, and since when is that unknown?"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from cxrlab.gpus import Gpu, Reading

SPAN_S = 60.0

BARS = "▁▂▃▄▅▆▇█"


class History:
    """The readings of the last minute, and the last one that told of GPUs."""

    def __init__(self) -> None:
        self.last: Reading | None = None
        """The newest answer, whatever it said."""
        self.good: Reading | None = None
        """The newest by which it is known what GPUs there are."""
        self.failing_since: float | None = None
        self._loads: dict[str, deque[tuple[float, int | None]]] = {}

    def add(self, reading: Reading) -> None:
        """Remember an answer; loads older than a minute are forgotten."""
        self.last = reading
        if reading.known:
            self.good, self.failing_since = reading, None
        elif self.failing_since is None:
            self.failing_since = reading.at
        for gpu in reading.gpus:
            self._loads.setdefault(gpu.uuid, deque()).append((reading.at, gpu.utilization))
        for loads in self._loads.values():
            while loads and loads[0][0] <= reading.at - SPAN_S:
                loads.popleft()

    @property
    def gpus(self) -> Sequence[Gpu]:
        """The GPUs as they were when they were last seen."""
        return self.good.gpus if self.good is not None else ()

    def line(self, uuid: str, width: int, *, now: float) -> str:
        """Return the load of the last minute as `width` bars, newest on the right.

        A bar is the highest load of its share of the minute; a share of which nothing is known
        is blank.
        """
        highest: list[int | None] = [None] * width
        for at, load in self._loads.get(uuid, ()):
            place = width - 1 - int((now - at) / SPAN_S * width)
            if load is not None and 0 <= place < width:
                highest[place] = max(load, highest[place] or 0)
        return "".join(map(_bar, highest))


def moment(t: float) -> str:
    """Return the time of day, to the second."""
    return time.strftime("%H:%M:%S", time.localtime(t))


def _bar(load: int | None) -> str:
    if load is None:
        return " "
    return BARS[round(max(0, min(100, load)) / 100 * (len(BARS) - 1))]
