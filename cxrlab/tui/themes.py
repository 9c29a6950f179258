"""Which colours does the dashboard have? Four themes of its own, turned through by a key.

Every text has a contrast of at least 4.5 to 1 with what it stands on, 7 to 1 in high contrast. Each
state has a sign and a word besides its colour. `COLOUR_BLIND` has colours of states that people
with deuteranopia, protanopia and tritanopia tell apart too: no two of them come closer than 25 in
CIELAB by the simulation of Machado, Oliveira and Fernandes, 2009, at full severity.
"""

from __future__ import annotations

from typing import Any

from rich.terminal_theme import TerminalTheme
from textual.app import App
from textual.theme import Theme

from cxrlab.tui.words import tr

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
    accent="#7f5200",
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
CONTRAST = Theme(
    name="cxrlab-contrast",
    primary="#8fd3ff",
    secondary="#d0d8e0",
    accent="#ffd75f",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#161616",
    success="#5ff0b8",
    warning="#ffd75f",
    error="#ff9d7a",
    dark=True,
    variables={
        "state-running": "#7fd0ff",
        "state-queued": "#e0e0e0",
        "state-succeeded": "#5ff0b8",
        "state-failed": "#ff9d7a",
        "state-stopped": "#ffe96b",
        "state-lost": "#ffa6dd",
    },
)
COLOUR_BLIND = Theme(
    name="cxrlab-colour-blind",
    primary="#9cc9f5",
    secondary="#a8b0ba",
    accent="#f2f000",
    foreground="#e4e7ea",
    background="#101418",
    surface="#171c22",
    panel="#222931",
    success="#c8ffdc",
    warning="#f2f000",
    error="#f07a1a",
    dark=True,
    variables={
        "state-running": "#3ca0b4",
        "state-queued": "#96a073",
        "state-succeeded": "#c8ffdc",
        "state-failed": "#eb7319",
        "state-stopped": "#f0f500",
        "state-lost": "#cd6eff",
    },
)

THEMES = {theme.name: theme for theme in (DARK, LIGHT, CONTRAST, COLOUR_BLIND)}
"""In the order in which the key turns through them."""


LOG_ON_LIGHT = TerminalTheme(
    (251, 251, 248),
    (27, 35, 43),
    [
        *((27, 35, 43), (160, 32, 32), (0, 100, 70), (115, 80, 0)),
        *((11, 92, 148), (140, 40, 110), (0, 95, 105), (74, 90, 104)),
    ],
)
"""What a program's own colours become on a light screen, in the order of their codes: black, red,
green, yellow, blue, magenta, cyan, white. Textual's are too pale there: its green has 4.0 to 1."""


def title(name: str) -> str:
    """Return what a theme is called."""
    return {
        DARK.name: tr("dark"),
        LIGHT.name: tr("light"),
        CONTRAST.name: tr("high contrast"),
        COLOUR_BLIND.name: tr("colour-blind safe"),
    }[name]


def register(app: App[Any], name: str = DARK.name) -> None:
    """Make the themes known to `app`, and begin with `name`; with the dark one if it is none."""
    for theme in THEMES.values():
        app.register_theme(theme)
    app.ansi_theme_light = LOG_ON_LIGHT
    app.theme = name if name in THEMES else DARK.name


def after(name: str) -> str:
    """Return the theme that comes after `name`; the first after the last and after any other."""
    names = list(THEMES)
    return names[(names.index(name) + 1) % len(names)] if name in THEMES else names[0]
