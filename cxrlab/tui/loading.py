"""What is loaded when? The home screen and what it shows first; the rest behind it.

The rest is four fifths of the program. Handlers load what they need themselves, and so are never
wrong about it; `rest` sees to it that there is nothing left to load when the first key is pressed.
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable
from typing import Any

from textual.command import Provider
from textual.screen import Screen

from cxrlab.tui import screens


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
    for module in pkgutil.iter_modules(screens.__path__, f"{screens.__name__}."):
        importlib.import_module(module.name)
    importlib.import_module("cxrlab.tui.palette")
