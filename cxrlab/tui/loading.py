"""What is loaded when? The home screen and what it shows first; the rest behind it.

The rest is more than half of the program. Handlers load what they need themselves, and so are never
wrong about it; `rest` loads it all while the home screen is looked at, so that keys find it there.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import threading
from collections.abc import Callable
from typing import Any

from textual.command import Provider
from textual.screen import Screen

from cxrlab.tui import screens

log = logging.getLogger(__name__)


def screen(place: str) -> Callable[..., Screen[Any]]:
    """Return the screen that a number key leads to."""
    module = importlib.import_module(f"{screens.__name__}.{place}")
    found: Callable[..., Screen[Any]] = getattr(module, f"{place.capitalize()}Screen")
    return found


def commands() -> type[Provider]:
    """Return what offers commands by name."""
    from cxrlab.tui.palette import Commands

    return Commands


def named_runs() -> type[Provider]:
    """Return what offers runs by name."""
    from cxrlab.tui.palette import Runs

    return Runs


def rest() -> None:
    """Load all that the dashboard may need, on a thread."""
    threading.Thread(target=_load, name="loading", daemon=True).start()


def _load() -> None:
    names = [module.name for module in pkgutil.iter_modules(screens.__path__)]
    for name in (*(f"{screens.__name__}.{name}" for name in names), "cxrlab.tui.palette"):
        try:
            importlib.import_module(name)
        except Exception:  # whoever needs it says so; a thread would say it across the screen
            log.exception("%s cannot be loaded", name)
