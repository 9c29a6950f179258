"""What does a chest look like to X-rays? Draws the body of one patient as thickness maps.

A phantom is a set of maps over the picture: how much air, soft tissue and bone a ray crosses.
Findings (`findings.py`) change the maps, `develop` turns them into grey values. So an opacity can
never be brighter than solid tissue, and beside the heart it hides the heart's border, as it does
in a patient.

Coordinates: x to the picture's right (the patient's left), y down; the picture spans about [-1, 1].
One unit is about 18 cm. Side is -1 for the patient's right, +1 for the left.
Shapes: maps are (P, P) float32, P the picture's side in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Map = NDArray[np.float32]
Rng = np.random.Generator

CM_PER_UNIT = 18.0
HEART_WIDTH = 0.69  # of the heart below, before it is scaled to the cardiothoracic ratio


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One patient's build; findings that change it (a large heart) replace fields of it."""

    seed: int
    sex: str
    age: int
    width: float  # half the inner width of the rib cage
    apex: float  # y of the lungs' highest point
    dome: float  # y of the right diaphragm's highest point
    dome_height: float  # from there down to the costophrenic angle
    left_lower: float  # how much lower the left dome lies
    ctr: float  # cardiothoracic ratio
    mediastinum: float  # half width above the heart
    wall: float  # soft tissue outside the ribs
    breasts: float  # thickness; 0 for none
    armpit: float  # y below which the flank is free of the arm
    slope: float  # of the shoulders, height over half the picture
    rib_spacing: float
    rib_phase: float
    depth: float  # of the lungs, front to back
    lift: tuple[float, float] = (0.0, 0.0)  # of the right and the left diaphragm
    shift: float = 0.0  # of heart and mediastinum
    vessels: float = 1.0


@dataclass(frozen=True, kw_only=True)
class View:
    """How one picture was taken; drawn independently of every finding."""

    seed: int
    projection: str  # PA or AP
    rotation: float  # radians
    scale: float
    dx: float
    dy: float
    turn: float  # of the patient about the spine: shifts the middle, makes one lung darker
    tilt: float  # exposure falling off to one side
    gain: float
    gamma: float
    floor: float
    grain: float
    unevenness: float  # of tissue and lungs, over a quarter of the picture


@dataclass
class Scene:
    """The maps of one picture while it is being drawn."""

    px: int
    anatomy: Anatomy
    view: View
    rng: Rng
    x: Map
    y: Map
    side: Map
    cage: Map  # 1 at the ribs' inner surface, less inside
    lungs: Map  # in [0, 1]: lung as a reader outlines it, without what hides behind heart and domes
    air: Map  # path through air
    tissue: Map
    vessels: Map
    noise: Map  # smooth, about standard normal
    fine: Map
    pneumothorax: Map
    boxes: list[tuple[str, tuple[float, float, float, float]]] = field(default_factory=list)


def draw_anatomy(rng: Rng) -> Anatomy:
    """Draw a patient's build."""
    sex = "F" if rng.random() < 0.47 else "M"
    return Anatomy(
        seed=int(rng.integers(2**31)),
        sex=sex,
        age=int(np.clip(rng.normal(54, 18), 16, 93)),
        width=rng.uniform(0.68, 0.82),
        apex=rng.uniform(-0.84, -0.74),
        dome=rng.uniform(0.34, 0.52),
        dome_height=rng.uniform(0.12, 0.22),
        left_lower=rng.uniform(0.0, 0.08),
        ctr=rng.uniform(0.38, 0.475),
        mediastinum=rng.uniform(0.115, 0.165),
        wall=rng.uniform(0.07, 0.2),
        breasts=rng.uniform(0.03, 0.13) if sex == "F" else 0.0,
        armpit=rng.uniform(-0.2, 0.45),
        slope=rng.uniform(0.3, 0.6),
        rib_spacing=rng.uniform(0.118, 0.138),
        rib_phase=rng.random(),
        depth=rng.uniform(0.62, 0.76),
    )


def draw_view(rng: Rng) -> View:
    """Draw how a picture is taken."""
    return View(
        seed=int(rng.integers(2**31)),
        projection="PA" if rng.random() < 0.6 else "AP",
        rotation=float(np.clip(rng.normal(0, 0.06), -0.13, 0.13)),
        scale=rng.uniform(0.78, 1.12),
        dx=float(np.clip(rng.normal(0, 0.09), -0.2, 0.2)),
        dy=float(np.clip(rng.normal(0.02, 0.08), -0.14, 0.18)),
        turn=rng.normal(0, 0.9),
        tilt=rng.normal(0, 0.06),
        gain=rng.uniform(0.78, 1.08),
        gamma=rng.uniform(0.8, 1.35),
        floor=rng.uniform(-0.08, 0.08),
        grain=rng.uniform(0.006, 0.022),
        unevenness=rng.uniform(0.03, 0.08),
    )


def smooth(distance: Map, width: float) -> Map:
    """Return 0 well below zero, 1 well above, with an S-shaped edge `width` wide."""
    t = np.clip(distance * (1 / width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def ball(r2: Map) -> Map:
    """Return how thick an ellipsoid of depth 1 is, given the squared distance in radii."""
    return np.sqrt(np.clip(1 - r2, 0, 1))


def ellipse(
    x: Map, y: Map, centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0
) -> Map:
    """Return the squared distance from `centre`, in radii."""
    u, v = x - centre[0], y - centre[1]
    c, s = float(np.cos(turn)), float(np.sin(turn))
    return ((c * u + s * v) / radii[0]) ** 2 + ((c * v - s * u) / radii[1]) ** 2


def fractal(rng: Rng, px: int, cells: tuple[int, ...]) -> Map:
    """Return smooth noise, about standard normal; the same picture at every size."""
    total = np.zeros((px, px), np.float32)
    for n in cells:
        grid = Image.fromarray(rng.standard_normal((n, n), np.float32))
        total += np.asarray(grid.resize((px, px), Image.Resampling.BICUBIC))
    return total / np.float32(0.7 * len(cells) ** 0.5)


def _grid(px: int, view: View, rng: Rng) -> tuple[Map, Map]:
    steps = (np.arange(px, dtype=np.float32) + 0.5) * np.float32(2 / px) - 1
    u, v = np.meshgrid(steps, steps)
    c, s = float(np.cos(view.rotation)) / view.scale, float(np.sin(view.rotation)) / view.scale
    x, y = c * u + s * v - view.dx, c * v - s * u - view.dy
    # python floats: a numpy one would make every map float64
    a = rng.normal(0, 0.012, 4).tolist()
    f, p = rng.uniform(1.5, 4.5, 4).tolist(), rng.uniform(0, 6.28, 4).tolist()
    bend_x = a[0] * np.sin(f[0] * y + p[0]) + a[1] * np.sin(f[1] * x + p[1])
    bend_y = a[2] * np.sin(f[2] * x + p[2]) + a[3] * np.sin(f[3] * y + p[3])
    return x + bend_x, y + bend_y


def to_pixels(scene: Scene, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return where points (..., 2) of the body lie in the picture, the slight bending left out."""
    view = scene.view
    c, s = np.cos(view.rotation) * view.scale, np.sin(view.rotation) * view.scale
    moved = np.asarray(points, np.float64) + np.array([view.dx, view.dy])
    return (moved @ np.array([[c, s], [-s, c]]) + 1) * (scene.px / 2)


def cage_of(anatomy: Anatomy, x: Map, y: Map) -> Map:
    """Return |x| over the rib cage's half width at that height: 1 at its inner surface."""
    t = np.clip((0.35 - y) / (0.35 - anatomy.apex), 0, 0.9999)
    half = anatomy.width * (1 - t**2.4) ** 0.54
    return np.abs(x) / half


def diaphragm(scene: Scene, side: int) -> Map:
    """Return y of one diaphragm's surface above every pixel."""
    body = scene.anatomy
    left = side > 0
    top = body.dome + (body.left_lower if left else 0.0) - body.lift[int(left)]
    out = (np.abs(scene.x) - 0.46 * body.width) / (0.54 * body.width)
    return top + body.dome_height * out**2 * (0.45 + 0.55 * (out > 0).astype(np.float32))


def in_lung(scene: Scene, side: int) -> Map:
    """Return the lung of one side, in [0, 1]."""
    return scene.lungs * (scene.side == side)


def fill(scene: Scene, share: Map) -> None:
    """Replace `share`, in [0, 1], of the air by tissue; vessels drown in it."""
    scene.air *= 1 - share
    scene.vessels *= 1 - share


def add_box(scene: Scene, name: str, mask: Map) -> None:
    """Note the box (x, y, width, height in pixels) around `mask` above one half, if any."""
    rows, columns = np.flatnonzero((mask > 0.5).any(1)), np.flatnonzero((mask > 0.5).any(0))
    if len(rows) > 1 and len(columns) > 1:
        x, y = float(columns[0]), float(rows[0])
        scene.boxes.append((name, (x, y, columns[-1] + 1 - x, rows[-1] + 1 - y)))


def _mediastinum(scene: Scene) -> tuple[Map, Map]:
    """Return how much of the depth heart and great vessels fill, and their silhouette."""
    body, x, y = scene.anatomy, scene.x - scene.anatomy.shift, scene.y
    ctr = body.ctr + (0.02 if scene.view.projection == "AP" else 0.0)
    k = ctr * 2 * body.width / HEART_WIDTH
    low = body.dome + 0.5 * body.left_lower - 0.5 * sum(body.lift)
    tall = k**0.5
    parts = [
        (ellipse(x, y, (0.15 * k, low - 0.17), (0.34 * k, 0.215 * tall), 0.55), 0.85),
        (ellipse(x, y, (-0.05 * k, low - 0.2), (0.18 * k, 0.25 * tall)), 0.85),
        (ellipse(x, y, (0.13, -0.03), (0.125, 0.2), -0.35), 0.7),  # pulmonary trunk
        (ellipse(x, y, (0.09, -0.27), (0.125, 0.115)), 0.75),  # aortic knob
    ]
    half = body.mediastinum + 0.06 * np.clip(-0.62 - y, 0, 1) - 0.02 * np.clip(y, -0.3, 0.4)
    band = np.clip((half - np.abs(x + 0.01)) / 0.1 + 0.5, 0, 1.2)
    level = band**3  # parts that meet swell a little, so that no notch is left between them
    for r2, _ in parts:
        level += np.clip(1.5 - r2, 0, 1.2) ** 3 / 1.2
    level = np.cbrt(level) - 0.5
    return np.clip(level * 2.2, 0, 1) ** 0.4 * 0.9, smooth(level, 0.14)


def heart_mask(scene: Scene) -> Map:
    """Return the silhouette of the heart alone, in [0, 1]."""
    body = scene.anatomy
    k = body.ctr * 2 * body.width / HEART_WIDTH
    low = body.dome + 0.5 * body.left_lower - 0.5 * sum(body.lift)
    x = scene.x - body.shift
    left = ellipse(x, scene.y, (0.15 * k, low - 0.17), (0.34 * k, 0.215 * k**0.5), 0.55)
    right = ellipse(x, scene.y, (-0.05 * k, low - 0.2), (0.18 * k, 0.25 * k**0.5))
    return (np.minimum(left, right) < 1).astype(np.float32)


def build(px: int, anatomy: Anatomy, view: View) -> Scene:
    """Draw the healthy chest: outline, lungs, heart and diaphragm; bones come with `finish`."""
    rng = np.random.default_rng(view.seed)
    x, y = _grid(px, view, rng)
    blank = np.zeros((px, px), np.float32)
    side = np.where(x > 0, 1, -1).astype(np.float32)
    scene = Scene(
        px=px, anatomy=anatomy, view=view, rng=rng, x=x, y=y, side=side,
        cage=cage_of(anatomy, x, y), lungs=blank, air=blank, tissue=blank.copy(),
        vessels=blank, noise=fractal(rng, px, (5, 9, 17)), fine=fractal(rng, px, (40, 70)),
        pneumothorax=blank.copy(),
    )  # fmt: skip
    inside = smooth(0.985 - scene.cage, 0.05)
    above = np.where(side > 0, diaphragm(scene, 1), diaphragm(scene, -1)) - y
    free = smooth(above, 0.02)
    filled, shape = _mediastinum(scene)
    scene.lungs = inside * free * (1 - shape)
    depth = anatomy.depth * np.clip(1 - scene.cage**5, 0, 1) ** 0.5
    depth *= np.clip((y - anatomy.apex) * 5 + 0.25, 0, 1) ** 0.5
    depth *= 1 + 0.1 * view.turn * side * np.clip(np.abs(x) * 4, 0, 1)
    for s in (-1, 1):  # no two lungs are equally clear from top to base
        depth *= 1 + (side == s).astype(np.float32) * float(rng.normal(0, 0.13)) * (y + 0.15)
    below = free + (1 - free) * 0.25 * np.clip(1 + above * 5, 0, 1)
    scene.air = inside * depth * below * (1 - filled)
    scene.tissue = _body(scene)
    _shade(scene)
    return scene


def _shade(scene: Scene) -> None:
    """Vary soft tissue and lung density slowly over the picture, as muscles, fat and breath do.

    Without this the mean grey of a region would tell disease by itself.
    """
    view = scene.view
    scene.tissue *= 1 + view.unevenness * fractal(scene.rng, scene.px, (4,))
    scene.air *= np.clip(
        1 + 1.3 * view.unevenness * fractal(scene.rng, scene.px, (4, 6)), 0.6, 1.35
    )


def _body(scene: Scene) -> Map:
    """Return the path through soft tissue of a chest without air in it."""
    body, x, y = scene.anatomy, scene.x, scene.y
    outer = body.width + body.wall
    flank = outer + (1.5 - outer) / (1 + np.exp(np.clip((y - body.armpit) / 0.12, -30, 30)))
    shoulder = np.clip((y + 1.0) / body.slope, 0, 1) ** 1.4
    half = 0.25 + (flank - 0.25) * shoulder
    r = np.abs(x) / half
    thick = np.clip(1 - r**4, 0, 1) ** 0.5 * (0.93 + 0.12 * np.clip(y + 0.4, 0, 1))
    thick *= 1 - 0.3 * np.clip(-0.55 - y, 0, 0.5) / 0.5
    if body.breasts:
        for s in (-1, 1):
            r2 = ellipse(x, y, (s * 0.44, 0.2 + 0.6 * body.breasts), (0.4, 0.33))
            thick += body.breasts * np.clip(1 - r2, 0, 1) ** 0.4
    return thick.astype(np.float32)


def develop(scene: Scene) -> NDArray[np.uint8]:
    """Return the picture (P, P) in grey values: exposure, contrast curve, grain."""
    view = scene.view
    kept = scene.air / max(scene.anatomy.depth, 0.1)
    mottled = scene.air * (1 - 0.05 * scene.noise - 0.035 * scene.fine)
    total = scene.tissue - mottled + scene.vessels * np.clip(kept * 1.6, 0, 1)
    body = np.clip(total, 0, None) / 1.12
    grey = view.gain * (1 + view.tilt * scene.x) * body**view.gamma + np.float32(view.floor) * (
        body > 0.05
    )
    grain = scene.rng.standard_normal(grey.shape, np.float32) * np.float32(view.grain)
    knee = 0.9  # bright tissue is compressed, not clipped
    grey = np.where(grey > knee, knee + (1 - knee) * np.tanh((grey - knee) / (1 - knee)), grey)
    return (np.clip(grey + grain * (0.4 + grey), 0, 1) * 255 + 0.5).astype(np.uint8)
