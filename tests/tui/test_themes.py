"""Can every text be read in every theme, and every state be told from the others?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from textual.color import Color
from textual.theme import Theme

from cxrlab import text
from cxrlab.lab import Lab
from cxrlab.tui import remembered, themes
from cxrlab.tui.messages import OpenLaunch, OpenRun
from cxrlab.tui.widgets.table import Table

Wait = Callable[..., Any]
Shown = Callable[[Any], str]
EACH = pytest.mark.parametrize("theme", themes.THEMES.values(), ids=list(themes.THEMES))
STATES = ("running", "queued", "succeeded", "failed", "stopped", "lost")

# Machado, Oliveira and Fernandes, 2009, severity 1.0, on linear RGB
SIGHT = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def linear(colour: Color) -> list[float]:
    shares = (part / 255 for part in colour.rgb)
    return [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]


def contrast(a: Color, b: Color) -> float:
    """WCAG 2.2, the contrast ratio."""
    weights = (0.2126, 0.7152, 0.0722)
    light = sorted(sum(w * c for w, c in zip(weights, linear(x), strict=True)) for x in (a, b))
    return (light[1] + 0.05) / (light[0] + 0.05)


def cielab(linear_rgb: list[float]) -> tuple[float, float, float]:
    r, g, b = (min(1.0, max(0.0, part)) for part in linear_rgb)
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def seen(colour: str, sight: str) -> tuple[float, float, float]:
    rgb = linear(Color.parse(colour))
    return cielab([sum(m * c for m, c in zip(row, rgb, strict=True)) for row in SIGHT[sight]])


@pytest.mark.parametrize("sight", SIGHT)
def test_no_two_states_look_alike_to_the_colour_blind(sight: str) -> None:
    colours = [themes.COLOUR_BLIND.variables[f"state-{state}"] for state in STATES]
    for a, b in itertools.combinations(colours, 2):
        apart = sum((x - y) ** 2 for x, y in zip(seen(a, sight), seen(b, sight), strict=True))
        assert apart**0.5 >= 25, (a, b)


def test_every_state_has_a_sign_of_its_own() -> None:
    signs = {state.symbol for state in text.STATES.values()}
    assert len(signs) == len(text.STATES)


@EACH
def test_every_state_and_accent_can_be_read_on_every_background(theme: Theme) -> None:
    least = 7.0 if theme is themes.CONTRAST else 4.5
    inks = [theme.variables[f"state-{state}"] for state in STATES]
    inks += [theme.primary, theme.accent, theme.error, theme.foreground]
    for ink in filter(None, inks):
        for paper in filter(None, (theme.background, theme.surface)):
            assert contrast(Color.parse(ink), Color.parse(paper)) >= least, (ink, paper)


def unreadable(app: Any, least: float) -> list[tuple[str, float]]:
    """Return the texts whose contrast is too small; what is no letter is no text.

    Of a form only the form counts: the screen behind it is veiled.
    """
    found = []
    boxes = app.screen.query(".box")
    region = boxes.first().region if boxes else app.screen.region
    for strip in app.screen._compositor.render_strips()[region.y : region.bottom]:
        for segment in strip.crop(region.x, region.right):
            style = segment.style
            if not any(c.isalnum() for c in segment.text) or style is None:
                continue
            assert style.color is not None
            assert style.bgcolor is not None
            ink, paper = (Color.from_rich_color(c) for c in (style.color, style.bgcolor))
            if style.reverse:
                ink, paper = paper, ink
            if (ratio := contrast(ink, paper)) < least:
                found.append((segment.text, round(ratio, 2)))
    return found


@EACH
async def test_every_text_on_the_screen_can_be_read(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, theme: Theme
) -> None:
    least = 7.0 if theme is themes.CONTRAST else 4.5
    remembered.remember(full_lab, "theme", theme.name)
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("down", "right", "right")
        await until(pilot, lambda: "GPU: asking" not in shown(app))
        assert unreadable(app, least) == []
        await pilot.press("enter")
        await until(pilot, lambda: "siimca" in shown(app))
        assert unreadable(app, least) == []
        await pilot.press("2")
        await until(pilot, lambda: "11 runs" in shown(app))
        assert unreadable(app, least) == []
        app.post_message(OpenRun("deepaa"))
        await until(pilot, lambda: "step 30" in shown(app))
        assert unreadable(app, least) == []
        app.post_message(OpenLaunch("deep_mrm", "siim", 100))
        await until(pilot, lambda: "1  deep_mrm siim 100 %" in shown(app))
        assert unreadable(app, least) == []
        await pilot.press("escape", "question_mark")
        await until(pilot, lambda: "Keys" in shown(app))
        assert unreadable(app, least) == []


def test_every_colour_that_a_log_can_ask_for_can_be_read_on_a_light_screen() -> None:
    papers = [Color.parse(paper) for paper in (themes.LIGHT.background, themes.LIGHT.surface)]
    for code in range(16):
        ink = Color(*themes.LOG_ON_LIGHT.ansi_colors[code])
        assert min(contrast(ink, paper) for paper in papers) >= 4.5, code


async def test_t_turns_through_the_themes_and_the_last_one_is_there_the_next_time(
    full_lab: Lab, make_app: Wait, until: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        assert app.theme == themes.DARK.name
        for theme in (themes.LIGHT, themes.CONTRAST, themes.COLOUR_BLIND, themes.DARK):
            await pilot.press("t")
            assert app.theme == theme.name
        await pilot.press("t")
        await until(pilot, lambda: remembered.recall(full_lab, "theme", "") == themes.LIGHT.name)
    again = make_app(full_lab)
    async with again.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: again.screen.query_one(Table).count == 3)
        assert again.theme == themes.LIGHT.name
        await until(pilot, lambda: not again.screen.styles.background.is_transparent)
        assert again.screen.styles.background == Color.parse(themes.LIGHT.background or "")


async def test_a_theme_that_is_not_known_any_more_is_the_dark_one(
    empty_lab: Lab, make_app: Wait, until: Wait
) -> None:
    remembered.remember(empty_lab, "theme", "gone")
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        assert app.theme == themes.DARK.name
