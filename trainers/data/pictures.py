"""How is one generated picture drawn and stored? The unit of work of `generate.py`'s processes.

Whatever a picture shows was decided when its `Job` was made, so it is the same whichever process
draws it, and whenever.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage
from scipy import ndimage

from trainers.data import findings, paint, phantom, rle, strokes

JPEG_QUALITY = 92
SMALLEST_PART = 2e-4  # of the picture; smaller islands of a mask are dropped


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to draw, and what its collection's tables say of it."""

    path: str  # of the picture, from the collection's folder
    px: int
    anatomy: phantom.Anatomy
    view: phantom.View
    findings: tuple[findings.Finding, ...]
    worn: tuple[str, ...] = ()
    split: str = "train"
    lung_mask: str = ""  # where to write it, if anywhere
    header: dict[str, str] = field(default_factory=dict)  # of a DICOM file
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Return the findings' names."""
        return [f.name for f in self.findings]


class Drawn(NamedTuple):
    """What only the drawing shows."""

    boxes: list[tuple[str, tuple[float, float, float, float]]]
    runs: list[str]
    """The pneumothorax as run lengths, one for each connected part."""


class Picture(NamedTuple):
    """A drawn picture with its masks, each (P, P)."""

    grey: NDArray[np.uint8]
    lungs: NDArray[np.bool_]
    pneumothorax: NDArray[np.bool_]
    boxes: list[tuple[str, tuple[float, float, float, float]]]


def render(job: Job) -> Picture:
    """Draw the picture that `job` describes."""
    scene = phantom.build(job.px, findings.adapt(job.anatomy, job.findings), job.view)
    scene.vessels = strokes.vessels(scene)
    paint.paint(scene, job.findings)
    strokes.finish(scene, job.worn)
    space = scene.pneumothorax > 0.5
    return Picture(phantom.develop(scene), scene.lungs > 0.5, space, scene.boxes)


def draw(job: Job, folder: Path) -> Drawn:
    """Draw `job`'s picture, write it and its lung mask below `folder`, and return the rest."""
    picture = render(job)
    path = folder / job.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".dcm":
        _write_dicom(path, picture.grey, job.header)
    elif path.suffix == ".jpg":
        path.write_bytes(_jpeg(picture.grey))
    else:
        Image.fromarray(picture.grey).save(path, compress_level=3)
    if job.lung_mask:
        mask = folder / job.lung_mask
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.lungs.astype(np.uint8) * 255).save(mask)
    return Drawn(picture.boxes, _runs(picture.pneumothorax))


def _jpeg(grey: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _runs(mask: NDArray[np.bool_]) -> list[str]:
    parts, count = ndimage.label(mask)
    shapes = [parts == i + 1 for i in range(count)]
    return [rle.encode(s) for s in shapes if s.mean() > SMALLEST_PART]


def _write_dicom(path: Path, grey: NDArray[np.uint8], header: dict[str, str]) -> None:
    """Write a JPEG-compressed secondary capture with the tags that SIIM's and RSNA's files have."""
    inverted = header["PhotometricInterpretation"] == "MONOCHROME1"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(header["SOPInstanceUID"])
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SpecificCharacterSet = "ISO_IR 100"
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.StudyDate, data.StudyTime = "19010101", "000000.00"
    data.AccessionNumber = data.ReferringPhysicianName = data.StudyID = ""
    data.PatientBirthDate = data.PatientOrientation = ""
    data.Modality, data.ConversionType = "CR", "WSD"
    data.BodyPartExamined = "CHEST"
    data.SeriesNumber = data.InstanceNumber = "1"
    for name, value in header.items():
        setattr(data, name, value)
    data.SamplesPerPixel = 1
    data.Rows, data.Columns = grey.shape
    data.PixelSpacing = [header.get("spacing", "0.168")] * 2
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.LossyImageCompression, data.LossyImageCompressionMethod = "01", "ISO_10918_1"
    data.PixelData = encapsulate([_jpeg(255 - grey if inverted else grey)])
    data.save_as(path, enforce_file_format=True)
