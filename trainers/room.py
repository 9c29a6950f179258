"""What does a training do while the disk is full? It waits for room, and says so. Standard library.

Before a file is written, its room is looked for; where there is too little, or writing it fails for
want of room, the training pauses until there is some. What it says meanwhile must need no room
either: `paused.json` is made when there is room, and written over in place.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from trainers.events import EventLog

logger = logging.getLogger(__name__)

FILE_NAME = "paused.json"
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a full disk, or a used-up quota, is reported as."""

MARGIN = 2**20
"""Bytes that are left for events and logs beside the file itself."""

LOOK_S = 1.0
_FILE_BYTES = 512


def free_at(folder: Path) -> int | None:
    """Return the free bytes where a folder lies; None where that cannot be told."""
    try:
        told = os.statvfs(folder)
    except OSError:
        return None
    return told.f_bavail * told.f_frsize


class Room:
    """Looks for room in one run folder; only the process that writes says what it waits for."""

    def __init__(self, folder: Path, log: EventLog, *, enabled: bool = True) -> None:
        self._folder, self._log, self._enabled = folder, log, enabled
        self._path = folder / FILE_NAME
        self._since: float | None = None
        if enabled:
            self._tell({}, make=True)

    def keep(
        self,
        write: Callable[[], object],
        *,
        needed: int,
        stopping: Callable[[], bool] = lambda: False,
        together: Callable[[bool], bool] = lambda flag: flag,
    ) -> bool:
        """Write something once there is room for it, and return whether it was written.

        Args:
            write: writes it, and may be called again after a full disk has stopped it.
            needed: about how many bytes it will take.
            stopping: whether somebody wants the training to end, which ends the waiting too.
            together: whether a flag is set in any process of the training; all call this at once.
        """
        while True:
            if not together(self._enabled and self._short(needed)):
                full = self._enabled and self._is_full_after(write)
                if not together(full):
                    self._go_on()
                    return True
            if together(stopping()):
                logger.error("not written, for the disk is full")
                return False
            self._pause(needed)
            time.sleep(LOOK_S)

    def _short(self, needed: int) -> bool:
        free = free_at(self._folder)
        return free is not None and free < needed + MARGIN

    def _is_full_after(self, write: Callable[[], object]) -> bool:
        try:
            write()
        except OSError as error:
            if error.errno not in FULL:
                raise
            return True
        return False

    def _pause(self, needed: int) -> None:
        if not self._enabled:
            return
        free = free_at(self._folder)
        if self._since is None:
            self._since = time.monotonic()
            logger.error("paused: the disk is full (%d bytes needed, %s free)", needed, free)
        attempt = int(os.environ.get("CXRLAB_ATTEMPT", "1"))
        self._tell({"attempt": attempt, "needed": needed + MARGIN, "free": free})

    def _go_on(self) -> None:
        if self._since is not None:
            waited = time.monotonic() - self._since
            logger.warning("goes on after %.0f s: there is room again", waited)
            self._log.warning(f"paused for {waited:.0f} s: the disk was full")
            self._since = None
            self._tell({})

    def _tell(self, said: dict[str, int | None], *, make: bool = False) -> None:
        """Write over what the file says; blanks say nothing."""
        text = (json.dumps(said) if said else "").encode().ljust(_FILE_BYTES)
        try:
            if make:
                self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_WRONLY | (os.O_CREAT if make else 0), 0o666)
            try:
                os.pwrite(file, text, 0)
            finally:
                os.close(file)
        except OSError as error:  # it only tells; the waiting is done all the same
            logger.debug("cannot write %s: %s", self._path, error)
