"""What is wrong in a chest? Draws which findings a patient has, where, how large and how dense.

Here findings are values; `paint.py` puts them into a picture and `reports.py` into words, so the
two cannot disagree. Names are those of the NIH fourteen, and `Tuberculosis`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from trainers.data.phantom import CM_PER_UNIT, Anatomy, Rng

LABELS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip
CHRONIC = ("Cardiomegaly", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia")
OPACITIES = ("Pneumonia", "Consolidation", "Infiltration")
# Every finding is common enough to be learned from a few hundred pictures; in the real
# collections some are a hundred times rarer than others.
SHARES = {
    "Atelectasis": 1.3, "Cardiomegaly": 1.5, "Effusion": 1.8, "Infiltration": 1.2, "Mass": 0.9,
    "Nodule": 1.0, "Pneumonia": 1.1, "Pneumothorax": 1.4, "Consolidation": 1.1, "Edema": 0.9,
    "Emphysema": 0.9, "Fibrosis": 0.8, "Pleural_Thickening": 0.8, "Hernia": 0.5,
}  # fmt: skip
ZONE_Y = {"upper": (-0.55, -0.24), "mid": (-0.16, 0.04), "lower": (0.12, 0.27)}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding as it is drawn and told.

    `extent` is a radius or height in units of the picture, for a pneumothorax the share by which
    the lung has shrunk, for a large heart its cardiothoracic ratio. `contrast`, in (0, 1], is the
    share of air that is replaced (or, in emphysema and pneumothorax, how much clearer it gets).
    """

    name: str
    side: str  # left, right, bilateral, or empty
    zone: str  # upper, mid, lower, apical, basal, perihilar, or empty
    size: str  # small, moderate, large
    x: float
    y: float
    extent: float
    contrast: float
    seed: int
    detail: str = ""

    @property
    def sides(self) -> tuple[int, ...]:
        """Return -1 for the right lung, 1 for the left."""
        return {"right": (-1,), "left": (1,), "": (0,)}.get(self.side, (-1, 1))

    @property
    def diameter_mm(self) -> int:
        """Return the drawn diameter in millimetres of the body."""
        return round(2 * self.extent * CM_PER_UNIT * 10)


def _side(rng: Rng, both: float = 0.0) -> str:
    if rng.random() < both:
        return "bilateral"
    return "right" if rng.random() < 0.5 else "left"


def _make(
    rng: Rng,
    name: str,
    sizes: Sequence[tuple[float, float]],
    contrast: tuple[float, float],
    *,
    side: str = "",
    zone: str = "",
    place: tuple[float, float] | None = None,
    detail: str = "",
) -> Finding:
    step = int(rng.integers(len(sizes)))
    words = ("small", "moderate", "large") if len(sizes) == 3 else ("small", "large")
    x, y = rng.uniform(0.33, 0.52), 0.0
    if zone in ZONE_Y:
        y = rng.uniform(*ZONE_Y[zone])
        x = rng.uniform(0.27, 0.4) if zone == "upper" else rng.uniform(0.33, 0.55)
    if place is not None:
        x, y = place
    return Finding(
        name=name, side=side, zone=zone, size=words[step], x=x, y=y,
        extent=rng.uniform(*sizes[step]), contrast=rng.uniform(*contrast),
        seed=int(rng.integers(2**31)), detail=detail,
    )  # fmt: skip


def _zone(rng: Rng) -> str:
    return ("upper", "mid", "lower")[rng.integers(3)]


def _blob(name: str, sizes: list[tuple[float, float]], contrast: tuple[float, float], both: float):
    def draw(rng: Rng) -> Finding:
        return _make(rng, name, sizes, contrast, side=_side(rng, both), zone=_zone(rng))

    return draw


def _pneumothorax(rng: Rng) -> Finding:
    sizes = [(0.18, 0.24), (0.26, 0.36), (0.4, 0.6)]
    zone = "apical" if rng.random() < 0.85 else "lateral"
    found = _make(rng, "Pneumothorax", sizes, (0.75, 1.0), side=_side(rng), zone=zone)
    tension = found.size == "large" and rng.random() < 0.35
    return replace(found, detail="tension" if tension else "")


def _effusion(rng: Rng) -> Finding:
    sizes = [(0.13, 0.19), (0.24, 0.38), (0.5, 0.75)]
    return _make(rng, "Effusion", sizes, (0.8, 0.97), side=_side(rng, 0.3), zone="basal")


def _cardiomegaly(rng: Rng) -> Finding:
    return _make(rng, "Cardiomegaly", [(0.55, 0.59), (0.59, 0.64), (0.64, 0.7)], (1.0, 1.0))


def _mass(rng: Rng) -> Finding:
    detail = ("spiculated", "lobulated", "rounded")[rng.integers(3)]
    found = _make(rng, "Mass", [(0.09, 0.12), (0.13, 0.18)], (0.5, 0.85), zone=_zone(rng))
    return replace(found, side=_side(rng), detail=detail)


def _nodule(rng: Rng) -> Finding:
    found = _make(rng, "Nodule", [(0.035, 0.05), (0.055, 0.08)], (0.5, 0.85), zone=_zone(rng))
    return replace(found, side=_side(rng))


def _atelectasis(rng: Rng) -> Finding:
    sizes = [(0.1, 0.14), (0.15, 0.2), (0.2, 0.26)]
    return _make(rng, "Atelectasis", sizes, (0.55, 0.85), side=_side(rng, 0.25), zone="lower")


def _edema(rng: Rng) -> Finding:
    sizes = [(0.3, 0.36), (0.36, 0.44), (0.44, 0.55)]
    return _make(rng, "Edema", sizes, (0.4, 0.7), side="bilateral", zone="perihilar")


def _emphysema(rng: Rng) -> Finding:
    sizes = [(0.05, 0.08), (0.08, 0.12), (0.12, 0.17)]
    return _make(rng, "Emphysema", sizes, (0.5, 1.0), side="bilateral", zone="upper")


def _fibrosis(rng: Rng) -> Finding:
    sizes = [(0.2, 0.26), (0.26, 0.34), (0.34, 0.42)]
    zone = "basal" if rng.random() < 0.7 else "apical"
    return _make(rng, "Fibrosis", sizes, (0.5, 0.85), side="bilateral", zone=zone)


def _pleural_thickening(rng: Rng) -> Finding:
    zone = "apical" if rng.random() < 0.85 else "lateral"
    sizes = [(0.05, 0.08), (0.09, 0.14)]
    side = _side(rng, 0.3)
    return _make(rng, "Pleural_Thickening", sizes, (0.7, 0.95), side=side, zone=zone)


def _hernia(rng: Rng) -> Finding:
    place = (rng.uniform(0.0, 0.08), rng.uniform(-0.14, -0.06))  # y from the diaphragm
    return _make(rng, "Hernia", [(0.1, 0.13), (0.14, 0.19)], (0.7, 1.0), place=place)


def tuberculosis(rng: Rng) -> Finding:
    """Draw what is called tuberculosis: upper zones, patchy, with cavities or scars."""
    detail = ("patchy", "cavity", "fibrotic", "nodular")[rng.integers(4)]
    sizes = [(0.22, 0.27), (0.27, 0.33), (0.33, 0.42)]
    zone = "upper" if rng.random() < 0.8 else "mid"
    side = _side(rng, 0.4)
    return _make(rng, "Tuberculosis", sizes, (0.8, 1.0), side=side, zone=zone, detail=detail)


DRAW: dict[str, Callable[[Rng], Finding]] = {
    "Atelectasis": _atelectasis,
    "Cardiomegaly": _cardiomegaly,
    "Effusion": _effusion,
    "Infiltration": _blob(
        "Infiltration", [(0.18, 0.23), (0.23, 0.3), (0.3, 0.38)], (0.35, 0.6), 0.4
    ),
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumonia": _blob("Pneumonia", [(0.13, 0.17), (0.17, 0.22), (0.22, 0.3)], (0.5, 0.8), 0.3),
    "Pneumothorax": _pneumothorax,
    "Consolidation": _blob(
        "Consolidation", [(0.15, 0.19), (0.2, 0.26), (0.27, 0.35)], (0.65, 0.92), 0.15
    ),
    "Edema": _edema,
    "Emphysema": _emphysema,
    "Fibrosis": _fibrosis,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
    "Tuberculosis": tuberculosis,
}


def draw_some(
    rng: Rng,
    *,
    healthy: float,
    among: Sequence[str] = LABELS,
    always: Sequence[str] = (),
) -> tuple[Finding, ...]:
    """Draw the findings of one study: none with probability `healthy`, else one to three.

    Fluid in the lungs often comes with a large heart and effusions, as in patients; `always`
    names findings that are there in any case.
    """
    names = list(always)
    if not rng.random() < healthy:
        weights = [SHARES[n] for n in among]
        total = sum(weights)
        count = int(rng.choice(3, p=[0.6, 0.3, 0.1])) + 1
        chosen = rng.choice(len(among), size=min(count, len(among)), replace=False,
                            p=[w / total for w in weights])  # fmt: skip
        names += [among[i] for i in chosen]
        if "Edema" in names:
            names += [n for n in ("Cardiomegaly", "Effusion") if n in among and rng.random() < 0.5]
            names = [n for n in names if n != "Emphysema"]
    return tuple(DRAW[name](rng) for name in dict.fromkeys(names))


def adapt(anatomy: Anatomy, findings: Sequence[Finding]) -> Anatomy:
    """Return the patient's build as the findings change it: heart, domes, clearness of lungs."""
    body = anatomy
    for f in findings:
        if f.name == "Cardiomegaly":
            body = replace(body, ctr=f.extent)
        elif f.name == "Emphysema":
            body = replace(
                body, dome=body.dome + 0.08, dome_height=body.dome_height * 0.45,
                ctr=body.ctr * 0.9, depth=body.depth * (1.06 + 0.08 * f.contrast), vessels=0.55,
            )  # fmt: skip
        elif f.name == "Atelectasis":
            lift = [
                body.lift[i] + (0.35 * f.extent if (-1, 1)[i] in f.sides else 0) for i in (0, 1)
            ]
            body = replace(body, lift=(lift[0], lift[1]))
        elif f.name == "Fibrosis" and f.zone == "basal":
            body = replace(body, lift=(body.lift[0] + 0.05, body.lift[1] + 0.05))
        elif f.name == "Edema":
            body = replace(body, vessels=1.6)
        elif f.detail == "tension":
            body = replace(body, shift=-0.1 * f.sides[0])
    return body
