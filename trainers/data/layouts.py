"""What does each real collection look like on disk? Plans its pictures, and writes its tables.

A plan is a list of `Job`s, made from a seed and a count alone; the tables are written when all of
them are drawn. Names, headers, separators and folder depths are those of the published files,
identifiers are not: none of them belongs to a real patient.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np

from trainers.data import findings, phantom, reports, strokes, subsets
from trainers.data.findings import LABELS, Finding
from trainers.data.phantom import Rng
from trainers.data.pictures import Drawn, Job

UID_ROOT = "1.2.826.0.1.3680043.8.498."  # open to anyone; SIIM's own files have another
CHEXPERT = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other",
    "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
TO_CHEXPERT = {
    "Effusion": ("Pleural Effusion",), "Mass": ("Lung Lesion",), "Nodule": ("Lung Lesion",),
    "Infiltration": ("Lung Opacity",), "Pleural_Thickening": ("Pleural Other",),
    "Fibrosis": ("Pleural Other",), "Pneumonia": ("Pneumonia", "Lung Opacity"),
    "Consolidation": ("Consolidation", "Lung Opacity"),
}  # fmt: skip
MIMIC_METADATA = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,"
    "StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning"
)
NIH_ENTRY = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
NIH_BOXED = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltrate", "Pneumonia", "Pneumothorax",
             "Mass", "Nodule")  # fmt: skip
SIIM_POSITIVE, RSNA_POSITIVE, SHENZHEN_POSITIVE = 0.45, 0.4, 0.5
HEALTHY = 0.35  # of the pictures in which anything may be found
MASK_MISSING = 0.05  # of Shenzhen's pictures; in the real set 14 %


class Collection(NamedTuple):
    """One data set: where it goes, its share of `--count`, how it is planned and written."""

    folder: str
    share: float
    plan: Callable[[int, int, int], list[Job]]
    write: Callable[[Path, list[Job], list[Drawn], int], None]


def rng_of(seed: int, *key: int) -> Rng:
    """Return the generator of what `key` names: a set, in it a patient, ..."""
    return np.random.default_rng([seed, *key])


def _hex(rng: Rng, digits: int) -> str:
    return rng.bytes(digits // 2).hex()


def _uid(rng: Rng) -> str:
    return UID_ROOT + str(int.from_bytes(rng.bytes(15), "big") + 10**35)


def write_table(path: Path, header: str, rows: Sequence[Sequence[object]]) -> None:
    """Write a csv table, packed if its name ends with `.gz`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    content = f"{header}\n{text.getvalue()}".encode()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _parts(count: int, shares: Sequence[tuple[str, float]]) -> list[tuple[str, int]]:
    """Return how many of `count` pictures each part gets; the first gets what is left."""
    rest = [(name, max(1, round(count * share))) for name, share in shares[1:]]
    return [(shares[0][0], max(1, count - sum(n for _, n in rest))), *rest]


def _shuffled(rng: Rng, count: int, share: float) -> list[bool]:
    """Return `count` yes and no in random order, `share` of them yes."""
    yes = np.arange(count) < round(count * share)
    rng.shuffle(yes)
    return yes.tolist()


def _next_label(rng: Rng) -> Callable[[], str]:
    """Return a function that deals the fourteen labels out evenly, reshuffled each round."""
    pack: list[str] = []

    def deal() -> str:
        if not pack:
            pack.extend(rng.permutation(LABELS).tolist())
        return pack.pop()

    return deal


def _kept(earlier: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return what does not go away between two studies."""
    return tuple(f for f in earlier if f.name in findings.CHRONIC)


def _joined(new: Sequence[Finding], old: Sequence[Finding]) -> tuple[Finding, ...]:
    names = {f.name for f in old}
    return (*old, *(f for f in new if f.name not in names))


def _study(rng: Rng, deal: Callable[[], str], old: Sequence[Finding]) -> tuple[Finding, ...]:
    """Draw a study's findings; every label comes up, however few studies there are."""
    if rng.random() < HEALTHY:
        return tuple(old)
    return _joined(findings.draw_some(rng, healthy=0.5, always=(deal(),)), old)


# ---- MIMIC-CXR-JPG, with MRM's training.csv


def plan_mimic(seed: int, count: int, px: int) -> list[Job]:
    """Plan `count` training pictures with reports; a tenth as many to validate, and to test."""
    jobs: list[Job] = []
    deal = _next_label(rng_of(seed, 1))
    person = 0
    for split, wanted in (
        ("train", count),
        ("validate", -(-count // 10)),
        ("test", -(-count // 10)),
    ):
        have = 0
        while have < wanted:
            person += 1
            mine = _mimic_patient(seed, person, split, px, deal)[: wanted - have]
            jobs += mine
            have += len(mine)
    return jobs


def _mimic_patient(
    seed: int, person: int, split: str, px: int, deal: Callable[[], str]
) -> list[Job]:
    rng = rng_of(seed, 1, person)
    body = phantom.draw_anatomy(rng)
    subject = 10_000_000 + (person * 7_368_787) % 9_999_991  # spread over p10 to p19, no repeats
    jobs: list[Job] = []
    old: tuple[Finding, ...] = ()
    for number in range(int(rng.choice(3, p=[0.55, 0.3, 0.15])) + 1):
        found = _study(rng, deal, old)
        old = _kept(found)
        worn = strokes.draw_devices(rng)
        study = 50_000_000 + (person * 8 + number) * 1_234_577 % 9_999_991
        views = [phantom.draw_view(rng) for _ in range(2 if rng.random() < 0.15 else 1)]
        report = reports.write(
            found, worn=worn, anatomy=body, projection=views[0].projection,
            follow_up=number > 0, rng=rng,
        )  # fmt: skip
        day = 21100101 + 10000 * int(rng.integers(80)) + 100 * int(rng.integers(12))
        base = f"files/p{str(subject)[:2]}/p{subject}/s{study}"
        for view in views:
            dicom = "-".join(_hex(rng, 8) for _ in range(5))
            facts = {
                "dicom": dicom, "subject": subject, "study": study, "report": report,
                "date": day + number * 10000, "time": f"{int(rng.integers(80000, 200000))}.515",
            }  # fmt: skip
            jobs.append(Job(path=f"{base}/{dicom}.jpg", px=px, anatomy=body, view=view,
                            findings=found, worn=worn, split=split, facts=facts))  # fmt: skip
    return jobs


def write_mimic(folder: Path, jobs: list[Job], drawn: list[Drawn], seed: int) -> None:
    """Write the reports, PhysioNet's tables, and MRM's `training.csv` of the training pictures."""
    meta, split, chexpert = [], [], {}
    for job in jobs:
        f = job.facts
        keys = (f["dicom"], f["subject"], f["study"])
        exam = "CHEST (PORTABLE AP)" if job.view.projection == "AP" else "CHEST (PA AND LAT)"
        way = "antero-posterior" if job.view.projection == "AP" else "postero-anterior"
        meta.append((*keys, exam, job.view.projection, job.px, job.px, f["date"], f["time"], exam,
                     way, "Erect"))  # fmt: skip
        split.append((f["dicom"], f["study"], f["subject"], job.split))
        chexpert[f["study"]] = (f["subject"], f["study"], *_chexpert(job))
        (folder / Path(job.path).parent).with_suffix(".txt").write_text(f["report"].text)
    name = "mimic-cxr-2.0.0-{}.csv.gz"
    write_table(folder / name.format("metadata"), MIMIC_METADATA, meta)
    write_table(folder / name.format("split"), "dicom_id,study_id,subject_id,split", split)
    header = "subject_id,study_id," + ",".join(CHEXPERT)
    write_table(folder / name.format("chexpert"), header, list(chexpert.values()))
    pairs = [(job.path, job.facts["report"].flat) for job in jobs if job.split == "train"]
    write_table(folder / "training.csv", "image_path,report_content", pairs)


def _chexpert(job: Job) -> list[str]:
    """Return 1.0 for what the report says, 0.0 for what it denies, nothing for the rest."""
    said = {c for n in job.names for c in TO_CHEXPERT.get(n, (n,))}
    denied = {c for n in job.facts["report"].denied for c in TO_CHEXPERT.get(n, (n,))[:1]}
    said |= {"Support Devices"} if job.worn else set()
    said |= set() if job.findings else {"No Finding"}
    return ["1.0" if c in said else "0.0" if c in denied else "" for c in CHEXPERT]


# ---- NIH ChestX-ray14


def plan_nih(seed: int, count: int, px: int) -> list[Job]:
    """Plan `count` pictures, 70, 10 and 20 % of them to train, validate and test."""
    jobs: list[Job] = []
    deal = _next_label(rng_of(seed, 2))
    person = 0
    for split, wanted in _parts(count, (("train", 0.7), ("val", 0.1), ("test", 0.2))):
        have = 0
        while have < wanted:
            person += 1
            rng = rng_of(seed, 2, person)
            body = phantom.draw_anatomy(rng)
            old: tuple[Finding, ...] = ()
            for number in range(min(int(rng.integers(1, 5)), wanted - have)):
                found = _study(rng, deal, old)
                old = _kept(found)
                facts = {"patient": person, "follow_up": number, "age": body.age + number // 2}
                worn = strokes.draw_devices(rng)
                jobs.append(Job(path=f"images/{person:08d}_{number:03d}.png", px=px, anatomy=body,
                                view=phantom.draw_view(rng), findings=found, worn=worn,
                                split=split, facts=facts))  # fmt: skip
                have += 1
    return jobs


def write_nih(folder: Path, jobs: list[Job], drawn: list[Drawn], seed: int) -> None:
    """Write NIH's tables and two name lists, and MRM's lists with their fourteen columns.

    Both publishers call a list `test_list.txt`; NIH's keeps the name, MRM's is
    `mrm_test_list.txt`. They name the same pictures here.
    """
    entries, boxes = [], []
    for job, seen in zip(jobs, drawn, strict=True):
        f, name = job.facts, Path(job.path).name
        labels = "|".join(sorted(job.names)) or "No Finding"
        entries.append((name, labels, f["follow_up"], f["patient"], f["age"], job.anatomy.sex,
                        job.view.projection, job.px, job.px, 0.143, 0.143))  # fmt: skip
        boxes += [
            (name, label, *box, "", "", "") for label, box in seen.boxes if label in NIH_BOXED
        ]
    write_table(folder / "Data_Entry_2017_v2020.csv", NIH_ENTRY, entries)
    write_table(folder / "BBox_List_2017.csv", "Image Index,Finding Label,Bbox [x,y,w,h],,,", boxes)
    of = {s: [j for j in jobs if j.split == s] for s in ("train", "val", "test")}
    names = {s: [Path(j.path).name for j in part] for s, part in of.items()}
    _lines(folder / "train_val_list.txt", names["train"] + names["val"])
    _lines(folder / "test_list.txt", names["test"])

    def row(job: Job) -> str:
        bits = ("1" if label in job.names else "0" for label in LABELS)
        return f"{Path(job.path).name} {' '.join(bits)}"

    _nested(folder, of["train"], row, seed)
    _lines(folder / "val_list.txt", [row(j) for j in of["val"]])
    _lines(folder / "mrm_test_list.txt", [row(j) for j in of["test"]])


# ---- sets with one picture per patient


def _single(
    seed: int,
    key: int,
    counts: Sequence[tuple[str, int]],
    positive: float,
    draw: Callable[[Rng, bool], tuple[Finding, ...]],
    px: int,
) -> list[Job]:
    """Plan pictures of as many patients; `positive` of each split get what the set is about."""
    jobs: list[Job] = []
    for split, wanted in counts:
        for yes in _shuffled(rng_of(seed, key, len(jobs)), wanted, positive):
            rng = rng_of(seed, key, 1, len(jobs))
            found = draw(rng, yes)
            jobs.append(Job(
                path="", px=px, anatomy=phantom.draw_anatomy(rng), view=phantom.draw_view(rng),
                findings=found, worn=strokes.draw_devices(rng), split=split,
                facts={"positive": yes, "rng": int(rng.integers(2**31))},
            ))  # fmt: skip
    return jobs


def _nested(folder: Path, train: list[Job], row: Callable[[Job], str], seed: int) -> None:
    """Write train_list.txt, and train_10.txt and train_1.txt as parts of it."""
    labels = [set(j.names) if "positive" not in j.facts else {str(j.facts["positive"])}
              for j in train]  # fmt: skip
    tenth, hundredth = subsets.nested(labels, rng_of(seed, 9))
    _lines(folder / "train_list.txt", [row(j) for j in train])
    _lines(folder / "train_10.txt", [row(train[i]) for i in tenth])
    _lines(folder / "train_1.txt", [row(train[i]) for i in hundredth])


def _in_dicom(job: Job, patient: str, rng: Rng) -> Job:
    """Return `job` with the header of its DICOM file."""
    odd = rng.random() < 0.04  # a few files store the picture inverted, as some scanners do
    header = {
        "SOPInstanceUID": _uid(rng), "StudyInstanceUID": _uid(rng), "SeriesInstanceUID": _uid(rng),
        "PatientID": patient, "PatientName": patient, "PatientSex": job.anatomy.sex,
        "PatientAge": f"{job.anatomy.age:03d}Y", "ViewPosition": job.view.projection,
        "SeriesDescription": f"view: {job.view.projection}",
        "PhotometricInterpretation": "MONOCHROME1" if odd else "MONOCHROME2",
    }  # fmt: skip
    return replace(job, header=header)


def plan_siim(seed: int, count: int, px: int) -> list[Job]:
    """Plan `count` pictures, of which 45 % have a pneumothorax; other findings come with both."""

    def draw(rng: Rng, yes: bool) -> tuple[Finding, ...]:
        others = tuple(n for n in LABELS if n != "Pneumothorax")
        always = ("Pneumothorax",) if yes else ()
        return findings.draw_some(rng, healthy=HEALTHY, among=others, always=always)

    counts = _parts(count, (("train", 0.7), ("val", 0.1), ("test", 0.2)))
    jobs = []
    for job in _single(seed, 3, counts, SIIM_POSITIVE, draw, px):
        rng = rng_of(seed, 3, 2, job.facts["rng"])
        job = _in_dicom(job, str(UUID(bytes=rng.bytes(16), version=4)), rng)
        h = job.header
        path = "/".join(h[k] for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
        jobs.append(replace(job, path=f"dicom-images-train/{path}.dcm"))
    return jobs


def write_siim(folder: Path, jobs: list[Job], drawn: list[Drawn], seed: int) -> None:
    """Write the masks as run lengths, a row for each connected part, and the lists."""
    rows = []
    for job, seen in zip(jobs, drawn, strict=True):
        name = job.header["SOPInstanceUID"]
        rows += [(name, f" {runs}") for runs in seen.runs or ["-1"]]
    write_table(folder / "train-rle.csv", "ImageId, EncodedPixels", rows)

    def row(job: Job) -> str:
        return job.header["SOPInstanceUID"]

    _nested(folder, [j for j in jobs if j.split == "train"], row, seed)
    for split in ("val", "test"):
        _lines(folder / f"{split}_list.txt", [row(j) for j in jobs if j.split == split])


def plan_rsna(seed: int, count: int, px: int) -> list[Job]:
    """Plan `count` pictures, of which 40 % have opacities; of the others many are not normal."""

    def draw(rng: Rng, yes: bool) -> tuple[Finding, ...]:
        others = tuple(n for n in LABELS if n not in findings.OPACITIES)
        kind = findings.OPACITIES[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
        always = (kind,) if yes else ()
        return findings.draw_some(rng, healthy=0.5, among=others, always=always)

    counts = _parts(count, (("train", 0.7), ("val", 0.1), ("test", 0.2)))
    jobs = []
    for job in _single(seed, 4, counts, RSNA_POSITIVE, draw, px):
        rng = rng_of(seed, 4, 2, job.facts["rng"])
        patient = str(UUID(bytes=rng.bytes(16), version=4))
        path = f"stage_2_train_images/{patient}.dcm"
        jobs.append(replace(_in_dicom(job, patient, rng), path=path))
    return jobs


def write_rsna(folder: Path, jobs: list[Job], drawn: list[Drawn], seed: int) -> None:
    """Write the opacities' boxes, the three classes, and lists in MRM's form."""
    labels, classes = [], []
    for job, seen in zip(jobs, drawn, strict=True):
        patient = job.header["PatientID"]
        boxes = [b for name, b in seen.boxes if name in (*findings.OPACITIES, "Infiltrate")]
        kind = "No Lung Opacity / Not Normal" if job.findings else "Normal"
        labels += [(patient, *box, 1) for box in boxes] or [(patient, "", "", "", "", 0)]
        classes += [(patient, "Lung Opacity" if boxes else kind)] * max(1, len(boxes))
    write_table(folder / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", labels)
    write_table(folder / "stage_2_detailed_class_info.csv", "patientId,class", classes)

    def row(job: Job) -> str:
        return f"{job.path} {int(job.facts['positive'])} "

    _nested(folder, [j for j in jobs if j.split == "train"], row, seed)
    for split in ("val", "test"):
        _lines(folder / f"{split}_list.txt", [row(j) for j in jobs if j.split == split])


def plan_shenzhen(seed: int, count: int, px: int) -> list[Job]:
    """Plan `count` pictures, half of them with tuberculosis, numbered after the normal ones."""

    def draw(rng: Rng, yes: bool) -> tuple[Finding, ...]:
        if not yes:
            return ()
        extra = (findings.DRAW["Effusion"](rng),) if rng.random() < 0.1 else ()
        return (findings.tuberculosis(rng), *extra)

    counts = _parts(count, (("train", 0.7), ("val", 0.1), ("test", 0.2)))
    planned = _single(seed, 5, counts, SHENZHEN_POSITIVE, draw, px)
    order = sorted(range(len(planned)), key=lambda i: planned[i].facts["positive"])
    number = {index: place + 1 for place, index in enumerate(order)}
    jobs = []
    for index, job in enumerate(planned):
        name = f"CHNCXR_{number[index]:04d}_{int(job.facts['positive'])}"
        masked = rng_of(seed, 5, 2, index).random() >= MASK_MISSING
        jobs.append(replace(job, path=f"images/{name}.jpg", worn=(),
                            lung_mask=f"masks/{name}.png" if masked else ""))  # fmt: skip
    return [jobs[i] for i in order]


def write_shenzhen(folder: Path, jobs: list[Job], drawn: list[Drawn], seed: int) -> None:
    """Write the readings, the lists `name normal tb`, and the pairs of pictures and readings."""
    rows = []
    for job in jobs:
        name = Path(job.path).stem
        reading = reports.shenzhen_reading(job.findings)
        sex = "Female" if job.anatomy.sex == "F" else "Male"
        rows.append((job.path, job.lung_mask, name, name, sex, job.anatomy.age, reading, reading,
                     int(job.facts["positive"]), job.split))  # fmt: skip
    header = "image_path,mask_path,image_id,patient_id,sex,age,findings,report_content,tb,split"
    write_table(folder / "metadata.csv", header, rows)
    pairs = [(r[0], r[7]) for r in rows if r[9] == "train"]
    write_table(folder / "training.csv", "image_path,report_content", pairs)

    def row(job: Job) -> str:
        tb = int(job.facts["positive"])
        return f"{Path(job.path).name} {1 - tb} {tb}"

    _nested(folder, [j for j in jobs if j.split == "train"], row, seed)
    for split in ("val", "test"):
        _lines(folder / f"{split}_list.txt", [row(j) for j in jobs if j.split == split])


COLLECTIONS = {
    "mimic": Collection("mimic_cxr", 1.0, plan_mimic, write_mimic),
    "nih": Collection("nih", 0.5, plan_nih, write_nih),
    "siim": Collection("siim", 0.5, plan_siim, write_siim),
    "rsna": Collection("rsna", 0.25, plan_rsna, write_rsna),
    "shenzhen": Collection("shenzhen", 0.5, plan_shenzhen, write_shenzhen),
}
