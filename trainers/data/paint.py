"""How does a finding change the picture? Puts each one into the maps of a phantom."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trainers.data.findings import Finding
from trainers.data.phantom import (
    Map,
    Rng,
    Scene,
    add_box,
    cage_of,
    ellipse,
    fill,
    fractal,
    heart_mask,
    in_lung,
    smooth,
)


def _rough(scene: Scene, rng: Rng, share: float, cells: tuple[int, ...] = (9, 18)) -> Map:
    return np.float32(share) * fractal(rng, scene.px, cells)


def _blob(
    scene: Scene, rng: Rng, centre: tuple[float, float], radius: float, *, rough: float, soft: float
) -> Map:
    stretch = rng.uniform(0.8, 1.25)
    radii = (radius * stretch, radius / stretch)
    r2 = ellipse(scene.x, scene.y, centre, radii, rng.uniform(-0.8, 0.8))
    return smooth(1 - np.sqrt(r2) + _rough(scene, rng, rough), soft)


def _places(finding: Finding, rng: Rng) -> list[tuple[int, tuple[float, float]]]:
    """Return the centre in each affected lung; two sides are never mirror images."""
    places = []
    for side in finding.sides:
        wobble = rng.normal(0, 0.04, 2).tolist() if len(finding.sides) == 2 else (0.0, 0.0)
        places.append((side, (side * (finding.x + wobble[0]), finding.y + wobble[1])))
    return places


def pneumothorax(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Shrink the lung towards its base: clear space outside, a thin bright line, no vessels."""
    side = finding.sides[0]
    keep = 1 - finding.extent
    base = (side * 0.12, scene.anatomy.dome + 0.04 if finding.zone == "apical" else -0.05)
    wide = keep if finding.zone == "lateral" else 0.35 + 0.65 * keep
    x = base[0] + (scene.x - base[0]) / wide
    y = base[1] + (scene.y - base[1]) / (0.1 + 0.9 * keep)
    beyond = cage_of(scene.anatomy, x, y) - 0.985 + 0.02 * scene.noise
    lung = in_lung(scene, side)
    space = smooth(beyond, 0.03) * lung
    left = (1 - smooth(beyond, 0.03)) * lung
    scene.air *= 1 + space * 0.7 * finding.contrast
    scene.air *= 1 - left * 0.9 * finding.extent
    scene.vessels *= 1 - space
    line = smooth(0.016 - np.abs(beyond - 0.006), 0.02) * lung
    scene.tissue += (0.13 + 0.05 * finding.contrast) * line
    scene.noise *= 1 - 0.8 * space
    scene.pneumothorax = np.maximum(scene.pneumothorax, space)
    add_box(scene, finding.name, space)


def effusion(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Fill the lung's base up to a level that climbs along the chest wall."""
    for side in finding.sides:
        height = finding.extent * (rng.uniform(0.7, 1.1) if len(finding.sides) == 2 else 1)
        body = scene.anatomy
        top = body.dome + (body.left_lower if side > 0 else 0) - body.lift[int(side > 0)]
        level = top + body.dome_height - height
        rise = (0.1 + 0.12 * height) * np.clip(scene.cage, 0, 1.05) ** 5
        surface = scene.y - level + rise + 0.012 * scene.noise
        share = finding.contrast * smooth(surface, 0.06) * (scene.side == side)
        add_box(scene, finding.name, share * in_lung(scene, side))
        fill(scene, share)


def cardiomegaly(scene: Scene, finding: Finding, rng: Rng) -> None:
    """The heart was drawn large already (`findings.adapt`); note where it is."""
    add_box(scene, finding.name, heart_mask(scene))


def consolidation(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Fill part of a lobe densely; bronchi stay as dark branches where vessels were."""
    for side, centre in _places(finding, rng):
        share = _blob(scene, rng, centre, finding.extent, rough=0.16, soft=0.3)
        fissure = scene.y - centre[1] + rng.uniform(0.3, 0.8) * finding.extent
        if finding.zone == "upper":
            fissure = -fissure + 1.1 * finding.extent
        share *= (0.12 + 0.88 * smooth(fissure, 0.03)) * (scene.side == side)
        add_box(scene, finding.name, share * in_lung(scene, side))
        branches = scene.vessels * share
        fill(scene, share * finding.contrast)
        scene.vessels -= 1.1 * branches


def pneumonia(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Fill several patches that run into one another."""
    for side, centre in _places(finding, rng):
        near = _blob(scene, rng, centre, finding.extent, rough=0.12, soft=0.45)
        patches = smooth(_rough(scene, rng, 0.6, (11, 22)) + 0.25 + 0.5 * (near - 0.5), 0.9)
        share = near * (0.35 + 0.65 * patches) * (scene.side == side)
        add_box(scene, finding.name, (near * (scene.side == side)) * in_lung(scene, side))
        fill(scene, share * finding.contrast)


def infiltration(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Haze a wide, ill-defined area and streak it."""
    for side, centre in _places(finding, rng):
        near = _blob(scene, rng, centre, finding.extent, rough=0.18, soft=0.9)
        streaks = np.clip(1 - 0.9 * np.abs(fractal(rng, scene.px, (14, 30, 48))), 0, 1)
        share = near * (0.5 + 0.5 * streaks) * (scene.side == side)
        add_box(scene, "Infiltrate", near * (scene.side == side) * in_lung(scene, side))
        fill(scene, share * finding.contrast)


def nodule(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Put one round shadow into a lung."""
    side, centre = _places(finding, rng)[0]
    r2 = ellipse(scene.x, scene.y, centre, (finding.extent, finding.extent * rng.uniform(0.9, 1.1)))
    share = np.clip(1.15 - r2 + _rough(scene, rng, 0.1, (30,)), 0, 1) ** 0.5
    add_box(scene, finding.name, (r2 < 1).astype(np.float32))
    fill(scene, share * finding.contrast * (scene.side == side))


def mass(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Put one shadow of more than three centimetres into a lung; its border as `detail` says."""
    side, centre = _places(finding, rng)[0]
    r2 = ellipse(scene.x, scene.y, centre, (finding.extent, finding.extent * rng.uniform(0.8, 1.2)))
    angle = np.arctan2(scene.y - centre[1], scene.x - centre[0])
    phase = rng.uniform(0, 6.28, 3).tolist()
    edge = {
        "spiculated": 0.3 * np.abs(np.sin(6.5 * angle + phase[0])) ** 6
        + 0.3 * np.abs(np.sin(4.5 * angle + phase[1])) ** 6,
        "lobulated": 0.3 * np.abs(np.sin(2.5 * angle + phase[2])),
        "rounded": np.zeros_like(angle),
    }[finding.detail]
    share = np.clip(1.1 + edge - r2 + _rough(scene, rng, 0.06), 0, 1) ** 0.6
    add_box(scene, finding.name, (r2 < 1.1).astype(np.float32))
    fill(scene, share * finding.contrast * (scene.side == side))


def atelectasis(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Draw plates of collapsed lung near the base, and the haze around them."""
    for side, centre in _places(finding, rng):
        total = np.zeros_like(scene.x)
        level = scene.anatomy.dome - scene.anatomy.lift[int(side > 0)]
        for step in range(int(rng.integers(1, 4))):
            y = level - 0.09 - 0.1 * step + rng.normal(0, 0.015)
            half = (finding.extent * rng.uniform(0.9, 1.3), rng.uniform(0.014, 0.022))
            tilt = side * rng.uniform(-0.35, 0.1)
            r2 = ellipse(scene.x, scene.y, (centre[0] * 0.9, y), half, tilt)
            total = np.maximum(total, np.clip(1.05 - r2 + 0.15 * scene.noise, 0, 0.8))
        haze = smooth(scene.y - level + 0.2, 0.25) * 0.35
        add_box(scene, finding.name, total * in_lung(scene, side))
        fill(scene, np.clip(total + haze, 0, 1) * finding.contrast * (scene.side == side))


def edema(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Cloud both lungs around the hila, more below, with fine lines at the rim."""
    wings = np.zeros_like(scene.x)
    for side in (-1, 1):
        radii = (finding.extent, finding.extent * 1.15)
        r2 = ellipse(scene.x, scene.y, (side * 0.22, 0.06), radii)
        wings = np.maximum(wings, np.exp(-r2))
    lines = np.clip(1 - 2.2 * np.abs(scene.fine), 0, 1) * np.clip(scene.cage - 0.4, 0, 1)
    cloud = wings * (0.8 + _rough(scene, rng, 0.3)) + 0.35 * lines
    fill(scene, np.clip(cloud * finding.contrast, 0, 0.95))


def emphysema(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Blow a few clear spaces with thin walls into the upper zones; the rest is in the build."""
    for side in (-1, 1):
        for _ in range(int(rng.integers(2, 5))):
            centre = (side * rng.uniform(0.2, 0.55), rng.uniform(-0.62, -0.1))
            r2 = ellipse(scene.x, scene.y, centre, (finding.extent, finding.extent * 1.2))
            inside = smooth(1 - r2, 0.3)
            scene.air *= 1 + 0.16 * finding.contrast * inside * scene.lungs
            scene.vessels *= 1 - 0.9 * inside
            wall = smooth(0.12 - np.abs(r2 - 1), 0.15)
            scene.tissue += 0.035 * wall * scene.lungs


def fibrosis(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Lay a coarse net over the bases' rim, or over the apices."""
    net = np.clip(1 - 1.7 * np.abs(fractal(rng, scene.px, (28, 50))), 0, 1)
    rim = np.clip(scene.cage * 1.5 - 0.45, 0.1, 1)
    if finding.zone == "basal":
        near = smooth(scene.y - scene.anatomy.dome + 1.6 * finding.extent, 0.5) * rim
    else:
        near = smooth(scene.anatomy.apex + 1.5 * finding.extent - scene.y, 0.35)
    fill(scene, np.clip(near * (0.15 + 0.85 * net) * finding.contrast, 0, 1))


def pleural_thickening(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Line the chest wall, or cap the apex, with a band of tissue."""
    for side in finding.sides:
        if finding.zone == "apical":
            band = scene.anatomy.apex + 1.6 * finding.extent + 0.03 + 0.03 * scene.noise - scene.y
            share = smooth(band, 0.05)
        else:
            start = rng.uniform(-0.35, 0.0)
            along = smooth(scene.y - start, 0.1) * smooth(
                start + rng.uniform(0.3, 0.5) - scene.y, 0.1
            )
            share = smooth(scene.cage - 1 + finding.extent + 0.02 * scene.noise, 0.035) * along
        fill(scene, share * finding.contrast * (scene.side == side))


def hernia(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Put a gas-holding pouch with a fluid level behind the heart."""
    level = scene.anatomy.dome + 0.02
    centre = (finding.x, level + finding.y)
    r2 = ellipse(scene.x, scene.y, centre, (finding.extent * 1.25, finding.extent))
    pouch = smooth(1 - r2, 0.12)
    fill(scene, 0.8 * pouch)
    gas = smooth(0.85 - r2, 0.15) * smooth(centre[1] + 0.02 - scene.y, 0.02)
    scene.tissue += 0.1 * pouch - (0.22 + 0.14 * finding.contrast) * gas
    add_box(scene, finding.name, pouch)


def tuberculosis(scene: Scene, finding: Finding, rng: Rng) -> None:
    """Draw upper-zone disease: patches, a thick-walled cavity, scars or scattered nodules."""
    for side, centre in _places(finding, rng):
        near = _blob(scene, rng, centre, finding.extent, rough=0.2, soft=0.7)
        share = near * (0.7 + 0.3 * smooth(_rough(scene, rng, 0.8, (16, 30)) + 0.2, 1.0))
        if finding.detail == "cavity":
            hole = (centre[0] + rng.normal(0, 0.02), centre[1] + rng.normal(0, 0.02))
            radius = finding.extent * rng.uniform(0.4, 0.55)
            r2 = ellipse(scene.x, scene.y, hole, (radius, radius * rng.uniform(0.85, 1.15)))
            wall = np.clip(1.1 - 2.2 * np.abs(np.sqrt(r2) - 1), 0, 1)
            share = np.maximum(share * 0.75, wall) * smooth(r2 - 0.55, 0.3)
        elif finding.detail == "fibrotic":
            net = np.clip(1 - 1.8 * np.abs(fractal(rng, scene.px, (20, 34))), 0, 1)
            share = near * (0.55 + 0.45 * net)
        elif finding.detail == "nodular":
            spots = np.zeros_like(scene.x)
            for _ in range(int(rng.integers(8, 18))):
                spot = (rng.normal(0, 0.6 * finding.extent, 2) + centre).tolist()
                r2 = ellipse(scene.x, scene.y, (spot[0], spot[1]), (0.03, 0.03))
                spots = np.maximum(spots, np.clip(1.2 - r2, 0, 1))
            share = np.maximum(0.75 * share, spots)
        add_box(scene, finding.name, near * (scene.side == side) * in_lung(scene, side))
        lost = np.clip(share * finding.contrast, 0, 1) * (scene.side == side)
        fill(scene, lost)


PAINT: dict[str, Callable[[Scene, Finding, Rng], None]] = {
    "Atelectasis": atelectasis,
    "Cardiomegaly": cardiomegaly,
    "Effusion": effusion,
    "Infiltration": infiltration,
    "Mass": mass,
    "Nodule": nodule,
    "Pneumonia": pneumonia,
    "Pneumothorax": pneumothorax,
    "Consolidation": consolidation,
    "Edema": edema,
    "Emphysema": emphysema,
    "Fibrosis": fibrosis,
    "Pleural_Thickening": pleural_thickening,
    "Hernia": hernia,
    "Tuberculosis": tuberculosis,
}


def paint(scene: Scene, findings: Sequence[Finding]) -> None:
    """Put all `findings` into the maps; a pneumothorax last, since it holds no other disease."""
    for f in sorted(findings, key=lambda f: f.name == "Pneumothorax"):
        PAINT[f.name](scene, f, np.random.default_rng(f.seed))
