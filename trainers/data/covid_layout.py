"""What does the COVID-19 Image Data Collection look like on disk? Its pictures and its table.

As in `layouts`, names, header and folder depth are the published ones and nobody is real. COVID-19
is drawn as haze at the rim of both lungs, below; other viruses as haze on one side or further up,
bacteria as a dense lobe of one side, Pneumocystis as a cloud around the hila. So where the haze
lies tells COVID-19 apart, and how dense it is tells viruses from bacteria.

Source: Cohen et al., arXiv:2006.11988, and the `metadata.csv` released with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trainers.data import findings, layouts, phantom, reports, strokes
from trainers.data.findings import Finding
from trainers.data.phantom import Rng
from trainers.data.pictures import Drawn, Job

HEADER = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,"
    "went_icu,in_icu,needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,"
    "neutrophil_count,lymphocyte_count,view,modality,date,location,folder,filename,doi,url,"
    "license,clinical_notes,other_notes,"
)
"""Ends with a comma, as does every row, in the published file."""
PACK = {
    "Pneumonia/Viral/COVID-19": 9,
    "Pneumonia/Viral/SARS": 2,
    "Pneumonia/Viral/Influenza": 1,
    "Pneumonia/Bacterial/Streptococcus": 4,
    "Pneumonia/Bacterial/Klebsiella": 1,
    "Pneumonia/Bacterial/Legionella": 1,
    "Pneumonia/Fungal/Pneumocystis": 1,
    "No Finding": 1,
}
"""Patients of each disease among twenty, dealt out evenly. In the real set three of four images are
of COVID-19, and one of twenty is bacterial: too few for a small set to have some in every part."""
HISTORY = ("cough", "fever and cough", "fever and shortness of breath", "malaise and dry cough")


def plan(seed: int, count: int, px: int) -> list[Job]:
    """Plan `count` pictures, one to three of each patient, some days apart."""
    jobs: list[Job] = []
    pack: list[str] = []
    shuffle = layouts.rng_of(seed, 6)
    person = 0
    while len(jobs) < count:
        if not pack:
            every = [name for name, number in PACK.items() for _ in range(number)]
            pack = shuffle.permutation(every).tolist()
        person += 1
        jobs += _patient(seed, person, pack.pop(), px)[: count - len(jobs)]
    return jobs


def _patient(seed: int, person: int, disease: str, px: int) -> list[Job]:
    rng = layouts.rng_of(seed, 6, person)
    body = phantom.draw_anatomy(rng)
    ill = _DRAW[disease.split("/")[1] if "/" in disease else ""](rng, disease)
    day, jobs = int(rng.integers(0, 6)), []
    for _ in range(int(rng.choice(3, p=[0.6, 0.3, 0.1])) + 1):
        view = phantom.draw_view(rng)
        found = tuple(_later(one, rng) for one in ill)
        facts = {
            "patient": person, "day": day, "disease": disease,
            "notes": _notes(found, body, day, rng),
        }  # fmt: skip
        name = f"{rng.bytes(8).hex()}-{person}-day{day}.jpg"
        jobs.append(Job(path=f"images/{name}", px=px, anatomy=body, view=view, findings=found,
                        worn=strokes.draw_devices(rng), facts=facts))  # fmt: skip
        day += int(rng.integers(1, 8))
    return jobs


def _later(finding: Finding, rng: Rng) -> Finding:
    """Return a finding as it is some days later: denser or fainter, in a new pattern."""
    contrast = min(1.0, finding.contrast * rng.uniform(0.9, 1.1))
    return replace(finding, contrast=contrast, seed=int(rng.integers(2**31)))


def _placed(finding: Finding, rng: Rng, side: str, zone: str, x: tuple[float, float]) -> Finding:
    y = rng.uniform(*findings.ZONE_Y[zone])
    return replace(finding, side=side, zone=zone, x=rng.uniform(*x), y=y)


def _one_side(rng: Rng) -> str:
    return "right" if rng.random() < 0.5 else "left"


def _viral(rng: Rng, disease: str) -> tuple[Finding, ...]:
    hazes = (findings.DRAW["Infiltration"](rng) for _ in itertools.count())
    haze = next(one for one in hazes if one.size != "small")
    haze = replace(haze, contrast=rng.uniform(0.6, 0.85))
    if disease.endswith("COVID-19"):
        zone = "lower" if rng.random() < 0.7 else "mid"
        return (_placed(haze, rng, "bilateral", zone, (0.42, 0.56)),)
    if rng.random() < 0.6:
        zone = ("upper", "mid", "lower")[rng.integers(3)]
        return (_placed(haze, rng, _one_side(rng), zone, (0.3, 0.5)),)
    return (_placed(haze, rng, "bilateral", "upper", (0.27, 0.4)),)


def _bacterial(rng: Rng, disease: str) -> tuple[Finding, ...]:
    lobe = replace(findings.DRAW["Consolidation"](rng), contrast=rng.uniform(0.75, 0.95))
    side = _one_side(rng)
    zone = ("upper", "mid", "lower")[rng.integers(3)]
    lobe = _placed(lobe, rng, side, zone, (0.3, 0.52))
    if rng.random() < 0.25:
        return (lobe, replace(findings.DRAW["Effusion"](rng), side=side))
    return (lobe,)


_DRAW: dict[str, Callable[[Rng, str], tuple[Finding, ...]]] = {
    "Viral": _viral,
    "Bacterial": _bacterial,
    "Fungal": lambda rng, _: (findings.DRAW["Edema"](rng),),
    "": lambda rng, _: (),
}


def _notes(found: tuple[Finding, ...], body: phantom.Anatomy, day: int, rng: Rng) -> str:
    who = "woman" if body.sex == "F" else "man"
    history = HISTORY[int(rng.integers(len(HISTORY)))]
    seen = [reports.describe(one, rng) for one in found] or ["The lungs are clear."]
    return f"{body.age}-year-old {who} with {history} for {day} days. {' '.join(seen)}"


def write(folder: Path, jobs: list[Job], drawn: list[Drawn], seed: int) -> None:
    """Write `metadata.csv`; what it does not know stays empty. The collection ships no lists."""
    columns = HEADER.split(",")
    rows = []
    for job in jobs:
        f = job.facts
        supine = job.view.projection == "AP" and job.view.seed % 3 == 0
        known = {
            "patientid": f["patient"], "offset": f["day"], "sex": job.anatomy.sex,
            "age": job.anatomy.age, "finding": f["disease"],
            "RT_PCR_positive": "Y" if f["disease"].endswith("COVID-19") else "",
            "view": "AP Supine" if supine else job.view.projection, "modality": "X-ray",
            "date": 2020, "folder": "images", "filename": Path(job.path).name,
            "clinical_notes": f["notes"],
        }  # fmt: skip
        rows.append([known.get(column, "") for column in columns])
    layouts.write_table(folder / "metadata.csv", HEADER, rows)
