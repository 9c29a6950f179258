"""Which colours does the dashboard have? One dark and one light theme of its own.

The colours of states are those of Okabe and Ito, which people with any colour vision tell apart;
each state also has a sign and a word.
Source: Okabe and Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

from textual.app import App
from textual.theme import Theme

DARK = Theme(
    name="cxrlab-dark",
    primary="#7cc4f0",
    secondary="#8fa7b8",
    accent="#e6b450",
    foreground="#dde3ea",
    background="#0f141a",
    surface="#161d26",
    panel="#202a36",
    success="#3fc79a",
    warning="#e6b450",
    error="#f0825a",
    dark=True,
    variables={
        "state-running": "#56b4e9",
        "state-queued": "#a9b4bf",
        "state-succeeded": "#3fc79a",
        "state-failed": "#f0825a",
        "state-stopped": "#e6c65a",
        "state-lost": "#e08fbf",
    },
)
LIGHT = Theme(
    name="cxrlab-light",
    primary="#0b5c94",
    secondary="#4a5a68",
    accent="#9a6200",
    foreground="#1b232b",
    background="#fbfbf8",
    surface="#f0f1ee",
    panel="#e1e4e3",
    success="#006e51",
    warning="#8a5a00",
    error="#b03a00",
    dark=False,
    variables={
        "state-running": "#005f9e",
        "state-queued": "#4a5560",
        "state-succeeded": "#006e51",
        "state-failed": "#b03a00",
        "state-stopped": "#7a5c00",
        "state-lost": "#9a2f74",
    },
)


def register(app: App[None]) -> None:
    """Make both themes known to `app`, and begin with the dark one."""
    app.register_theme(DARK)
    app.register_theme(LIGHT)
    app.theme = DARK.name


def other(name: str) -> str:
    """Return the light theme for the dark one, and the dark one for any other."""
    return LIGHT.name if name == DARK.name else DARK.name
