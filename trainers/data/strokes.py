"""What lies over the lungs? Draws bones, vessels, gas, devices and side markers.

All of it is drawn for every picture, whatever the findings: devices and markers say nothing about
disease here, unlike in real collections.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from trainers.data.phantom import Map, Rng, Scene, ball, diaphragm, ellipse, smooth, to_pixels

Points = list[tuple[float, float]]
DEVICES = ("pacemaker", "central line", "endotracheal tube", "sternal wires", "monitor leads")
DEVICE_SHARE = (0.05, 0.08, 0.04, 0.05, 0.12)
MARKER = {
    "L": [[(0, 0), (0, 1), (0.6, 1)]],
    "R": [[(0, 1), (0, 0), (0.5, 0), (0.62, 0.25), (0.5, 0.5), (0, 0.5)], [(0.25, 0.5), (0.65, 1)]],
}


def draw_devices(rng: Rng) -> tuple[str, ...]:
    """Draw which devices a patient wears, independently of every finding."""
    return tuple(d for d, share in zip(DEVICES, DEVICE_SHARE, strict=True) if rng.random() < share)


def _lines(scene: Scene, strokes: list[tuple[Points, float, float]]) -> Map:
    """Return polylines, each (points, width in units, value up to 1), without jagged edges."""
    over = 2 if scene.px <= 512 else 1
    canvas = Image.new("L", (scene.px * over, scene.px * over))
    draw = ImageDraw.Draw(canvas)
    unit = scene.px * over * scene.view.scale / 2
    ends = np.cumsum([len(points) for points, _, _ in strokes]) * 2
    placed = to_pixels(scene, np.array([p for points, _, _ in strokes for p in points])) * over
    flat = placed.ravel().tolist()
    for (points, width, value), end in zip(strokes, ends.tolist(), strict=True):
        thin = min(1.0, width * unit)  # thinner than a pixel: fainter instead
        draw.line(
            flat[end - 2 * len(points) : end],
            fill=int(255 * value * thin),
            width=max(1, round(width * unit)),
        )
    small = canvas.reduce(over) if over > 1 else canvas
    return np.asarray(small, np.float32) / 255


def _grow(rng: Rng) -> list[tuple[Points, float, float]]:
    """Return the branches of both lungs' vessels as strokes, the thinnest first."""
    side = np.repeat([-1.0, 1.0], 9)
    at = np.stack([side * 0.17, np.where(side < 0, -0.02, -0.05)], axis=1)
    turn = np.tile(np.linspace(-1.45, 1.35, 9), 2) + rng.normal(0, 0.12, 18)
    width = rng.uniform(0.016, 0.026, 18)
    strokes: list[tuple[Points, float, float]] = []
    while len(side):
        points = [at]
        for _ in range(4):
            turn = turn + rng.normal(0, 0.13, len(turn))
            step = np.stack([side * np.cos(turn), np.sin(turn)], axis=1)
            points.append(points[-1] + 0.042 * step)
        branches = np.stack(points, axis=1)
        values = np.minimum(1, 0.2 + 32 * width)
        strokes += zip(branches.tolist(), width.tolist(), values.tolist(), strict=True)
        more = np.flatnonzero((width > 0.0045) & (np.abs(branches[:, -1, 0]) < 0.85))
        spread = rng.uniform(0.2, 0.55, len(more))
        turn = np.concatenate([turn[more] + spread, turn[more] - spread])
        at, side = np.tile(branches[more, -1], (2, 1)), np.tile(side[more], 2)
        width = np.tile(width[more], 2) * rng.uniform(0.58, 0.78, 2 * len(more))
    return sorted(strokes, key=lambda s: s[1])


def vessels(scene: Scene) -> Map:
    """Return the branching vessels of both lungs, grown outwards from the hila."""
    tree = _lines(scene, _grow(np.random.default_rng([scene.anatomy.seed, 1])))
    for side in (-1, 1):
        r2 = ellipse(scene.x, scene.y, (side * 0.2, -0.02), (0.1, 0.15), side * 0.3)
        tree = np.maximum(tree, 0.55 * np.clip(1 - r2, 0, 1))
    return tree * np.float32(0.18 * scene.anatomy.vessels)


def ribs(scene: Scene) -> Map:
    """Return the ribs: half ellipses from the spine out and down, then back in front.

    Neighbouring ribs have nearly the same shape, so one map tells for each pixel between which
    two it lies, and no rib is drawn by itself.
    """
    body, x, y = scene.anatomy, scene.x, scene.y
    u = np.clip(scene.cage, 0, 1.06)
    bow = np.sqrt(np.clip(1 - (u / 1.02) ** 2, 0, 1))
    drop = np.clip(0.19 + 0.17 * (y + 0.6), 0.1, 0.36)
    total = np.zeros_like(x)
    for front in (False, True):
        level = y - drop * (1 + bow if front else 1 - bow) + (0 if front else 0.03 * np.sin(3 * u))
        place = (level - body.apex) / body.rib_spacing + body.rib_phase
        number = np.rint(place)
        gy, gx = np.gradient(level)
        steep = np.sqrt(gx**2 + gy**2) * np.float32(scene.px * scene.view.scale / 2)
        away = np.abs(place - number) * body.rib_spacing / np.maximum(steep, 0.3)
        half = 0.02 if not front else 0.023
        shape = smooth(half - away, 0.012) * (0.62 + 0.5 * np.clip(away / half, 0, 1) ** 3)
        if front:
            shape *= 0.55 * np.clip((u - 0.4) * 3, 0, 1)
        shape *= (number >= 0) & (number <= 9)
        total += shape
    shown = 0.3 + 0.7 * np.clip(scene.air * 2.2, 0, 1)  # solid tissue leaves little contrast
    shown *= smooth(np.abs(x) - 0.08, 0.06)
    return total * smooth(1.03 - scene.cage, 0.04) * shown


def bones(scene: Scene) -> Map:
    """Return everything bony, as attenuation."""
    rng = np.random.default_rng([scene.anatomy.seed, 2])
    x, y = scene.x, scene.y
    total = rng.uniform(0.12, 0.17) * ribs(scene)
    turn = 0.02 * scene.view.turn
    for side in (-1, 1):
        reach = side * x + turn * side
        t = (reach - 0.09) / 0.85
        rise = rng.uniform(0.12, 0.26) + (0.05 if scene.view.projection == "AP" else 0)
        line = -0.54 + 0.04 * side * turn - rise * t + 0.03 * np.sin(5.5 * t)
        away = np.abs(y - line) / math.sqrt(1 + (rise / 0.85) ** 2)
        half = 0.03 - 0.008 * np.sin(np.clip(t, 0, 1) * 3.1)
        body = smooth(half - away, 0.014) * (0.65 + 0.5 * np.clip(away / half, 0, 1) ** 3)
        total += 0.13 * body * smooth(t + 0.01, 0.03) * smooth(1.1 - t, 0.1)
        total += 0.12 * ball(ellipse(x, y, (side * 1.04, -0.5), (0.15, 0.17)))
        blade = side * x - rng.uniform(0.64, 0.78) - 0.22 * (y + 0.3)
        span = smooth(y + 0.66, 0.1) * smooth(0.12 - y, 0.2)
        total += (0.035 * smooth(blade, 0.02) + 0.05 * smooth(0.01 - np.abs(blade), 0.014)) * span
    wobble = 0.015 * np.sin(2 * y + rng.uniform(0, 6))
    across = np.abs(x + wobble + 0.4 * turn)
    disc = np.cos(y * (2 * math.pi / 0.155) + rng.uniform(0, 6))
    column = smooth(0.088 - across, 0.02) * (0.8 + 0.2 * smooth(disc + 0.55, 0.5))
    rim = smooth(0.012 - np.abs(across - 0.075), 0.014)
    return total + 0.055 * column + 0.02 * rim


def gas(scene: Scene) -> Map:
    """Return what the windpipe, and often the stomach, take away from the tissue."""
    rng = np.random.default_rng([scene.anatomy.seed, 3])
    x, y = scene.x - 0.7 * scene.anatomy.shift, scene.y
    pipe = smooth(0.042 - np.abs(x + 0.012 * np.sin(3 * y)), 0.03) * smooth(-0.22 - y, 0.14)
    total = 0.1 * pipe
    for side in (-1, 1):
        along = side * x * 0.75 + 0.21
        branch = smooth(0.03 - np.abs(y + along - 0.42 * side * x), 0.025)
        total += 0.06 * branch * smooth(0.19 - side * x, 0.06) * smooth(side * x, 0.02)
    if scene.rng.random() < 0.65:
        top = scene.anatomy.dome + scene.anatomy.left_lower - scene.anatomy.lift[1]
        centre = (rng.uniform(0.26, 0.45), top + rng.uniform(0.13, 0.2))
        r2 = ellipse(x, y, centre, (rng.uniform(0.07, 0.16), rng.uniform(0.05, 0.1)))
        r2 = r2 + 0.15 * scene.noise
        flat = smooth(centre[1] + 0.05 - y, 0.015) if rng.random() < 0.5 else 1.0
        below = smooth(y - diaphragm(scene, 1) - 0.02, 0.02)
        total += 0.26 * np.clip(1 - r2, 0, 1) ** 0.6 * flat * below
    return total


def devices(scene: Scene, worn: tuple[str, ...]) -> Map:
    """Return the devices as attenuation."""
    rng = scene.rng
    lines: list[tuple[Points, float, float]] = []
    if "pacemaker" in worn:
        x, y = rng.uniform(0.5, 0.62), rng.uniform(-0.5, -0.4)
        lines.append(([(x - 0.03, y), (x + 0.05, y + 0.02)], 0.11, 0.75))
        lines.append(([(x, y), (0.3, -0.5), (-0.05, -0.45), (-0.09, -0.1), (0.02, 0.3)], 0.01, 0.9))
        lines.append(([(0.02, 0.3), (0.2, 0.36)], 0.012, 0.9))
    if "central line" in worn:
        tip = rng.uniform(-0.15, 0.05)
        lines.append(([(-0.2, -0.95), (-0.15, -0.6), (-0.08, -0.4), (-0.09, tip)], 0.012, 0.55))
    if "endotracheal tube" in worn:
        lines.append(([(0.0, -1.0), (0.005, -0.7), (0.0, rng.uniform(-0.42, -0.3))], 0.024, 0.45))
    if "sternal wires" in worn:
        for y in np.arange(-0.35, 0.25, 0.12):
            loop = [(-0.03, y), (0, y - 0.02), (0.03, y), (0, y + 0.02), (-0.03, y)]
            lines.append((loop, 0.008, 0.9))
    if "monitor leads" in worn:
        for _ in range(rng.integers(2, 5)):
            x, y = rng.uniform(-0.7, 0.7), rng.uniform(-0.5, 0.5)
            far = (x + rng.normal(0, 0.3), y + rng.uniform(0.3, 0.8))
            middle = ((x + far[0]) / 2 + rng.normal(0, 0.1), (y + far[1]) / 2)
            lines.append(([(x - 0.012, y), (x + 0.012, y)], 0.03, 0.8))
            lines.append(([(x, y), middle, far], 0.008, 0.5))
    return np.float32(0.55) * _lines(scene, lines) if lines else np.zeros_like(scene.x)


def marker(scene: Scene) -> Map:
    """Return a lead letter near an upper corner: L on the patient's left or R on the right."""
    rng = scene.rng
    letter = "L" if rng.random() < 0.5 else "R"
    high, wide = rng.uniform(0.05, 0.09), rng.uniform(0.6, 1.0)
    x = (0.8 if letter == "L" else -0.86) + rng.uniform(-0.06, 0.06)
    y = rng.uniform(-0.93, -0.72)
    strokes = [
        ([(x + px * high * wide, y + py * high) for px, py in stroke], high * 0.17, 0.95)
        for stroke in MARKER[letter]
    ]
    return _lines(scene, strokes)


def finish(scene: Scene, worn: tuple[str, ...]) -> None:
    """Lay bones, gas, devices and the marker over the chest, and fold the skin now and then."""
    scene.tissue += bones(scene)
    scene.tissue -= np.minimum(gas(scene), 0.8 * np.clip(scene.tissue, 0, None))
    scene.tissue += devices(scene, worn)
    if scene.rng.random() < 0.2:  # a skin fold: an edge that is no pleural line
        side = 1 if scene.rng.random() < 0.5 else -1
        edge = side * scene.x - scene.rng.uniform(0.35, 0.6) - 0.25 * scene.y
        scene.tissue += 0.06 * smooth(edge, 0.02) * np.clip(1 - edge * 3, 0, 1)
    scene.tissue = np.maximum(scene.tissue, scene.air + np.float32(0.02) * (scene.tissue > 0.05))
    scene.tissue += 1.1 * marker(scene)
