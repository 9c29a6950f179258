"""When is memory looked through for what nobody needs? While no key is pressed.

Python looks through all that has been made since it began, whenever enough of it is new. That took
up to 86 ms, fell on whichever key was pressed just then, and made one key in twenty slow. Of what
was loaded before the dashboard opened, which lives as long as it, nothing is looked at.
"""

from __future__ import annotations

import gc

PAUSE_S = 1.0
"""After how long without a key."""
ENOUGH, MUCH = 5, 200
"""How much must be new, in sevens of thousands of objects: in a pause, and in any case."""


def begin() -> None:
    """Leave what has been loaded alone, and look through old things only when told to."""
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 2**31 - 1)


def tidy(still_s: float) -> None:
    """Look through everything if it is time to.

    Args:
        still_s: for how long no key has been pressed (s).
    """
    new = gc.get_count()[2]
    if new >= MUCH or (new >= ENOUGH and still_s >= PAUSE_S):
        gc.collect()
