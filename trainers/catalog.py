"""Which methods, tasks and data sets exist: a line each, read by the CLI, grid and trainers.

Standard library only. A name listed here has a file of that name in `methods/` or `tasks/`
(encoders that are only taken as they are share `methods/baselines.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple


class MethodEntry(NamedTuple):
    """A way to come by an encoder."""

    title: str
    source: str
    pretrains: bool = True
    """False for a baseline whose encoder is taken as it is; it needs no pre-training run."""
    weights: str = ""
    """The published weights that a baseline is, by their name in `cxrlab weights list`."""
    base: str = ""
    """The method that this one varies, whose file it shares; empty for one with its own file."""
    settings: Mapping[str, str] = MappingProxyType({})
    """What makes the variant: settings of its base that cannot be given otherwise."""
    compares: bool = False
    """Whether its loss compares the records of a micro-batch, and so depends on how many it has."""
    teacher: str = ""
    """The published weights that teach it where no others are given, by their name likewise."""


class TaskEntry(NamedTuple):
    """A job an encoder is judged by."""

    title: str
    metric: str
    better: Literal["higher", "lower"]
    ratios: tuple[int, ...]
    """Percent of the labelled training set; the grid's columns of this task."""
    dataset: str
    """The name under `[data.NAME]` in `cxrlab.toml`."""
    unit: Literal["share", "nats"] = "share"
    """`share` is in [0, 1] and shown in percent."""
    base: str = ""
    """The task that this one varies, whose file it shares; empty for one with its own file."""
    settings: Mapping[str, str] = MappingProxyType({})
    """What makes the variant: settings of its base that cannot be given otherwise."""


class DatasetEntry(NamedTuple):
    """A data set as its owners ship it."""

    title: str
    layout: str
    """What a folder of it must hold, in one line."""


METHODS: dict[str, MethodEntry] = {
    "random": MethodEntry("Random initialisation", source="baseline", pretrains=False),
    "imagenet": MethodEntry(
        "ViT-B/16 trained on ImageNet-21k's labels",
        source="Dosovitskiy et al., ICLR 2021",
        pretrains=False,
        weights="imagenet",
    ),
    "mae": MethodEntry(
        "Masked autoencoder, trained on ImageNet's images",
        source="He et al., CVPR 2022",
        pretrains=False,
        weights="mae",
    ),
    "convirt": MethodEntry(
        "Contrast of a radiograph with a sentence of its report",
        source="Zhang et al., arXiv:2010.00747, 2020",
        compares=True,
    ),
    "convirt+vit": MethodEntry(
        "ConVIRT with the transformer of the other methods",
        source="ConVIRT with ViT-B/16, as MGCA's baseline (Wang et al., NeurIPS 2022) has it",
        base="convirt",
        settings={"image_encoder": "vit"},
        compares=True,
    ),
    "refers": MethodEntry(
        "Reports written from, and found by, three views",
        source="Zhou et al., Nature Machine Intelligence 2022",
        compares=True,
    ),
    "mrm": MethodEntry("Masked record modelling", source="Zhou et al., ICLR 2023"),
    "mrm+hog": MethodEntry(
        "MRM that rebuilds gradient histograms",
        source="MRM with MaskFeat's target (Wei et al., CVPR 2022)",
        base="mrm",
        settings={"target": "hog"},
    ),
    "mrm+dino": MethodEntry(
        "MRM that rebuilds a frozen teacher's features",
        source="MRM with a DINO teacher (Caron et al., ICCV 2021)",
        base="mrm",
        settings={"target": "dino"},
        teacher="dino",
    ),
    "mrm+infonce": MethodEntry(
        "MRM with a contrast of radiograph and report",
        source="MRM with InfoNCE (van den Oord et al., 2018)",
        base="mrm",
        settings={"contrast": "infonce"},
        compares=True,
    ),
    "mrm+conditional": MethodEntry(
        "MRM with a contrast among records alike",
        source="MRM with a kernel's conditional contrast (Tsai et al., ICLR 2022)",
        base="mrm",
        settings={"contrast": "conditional"},
        compares=True,
    ),
    "refers_mrm": MethodEntry(
        "REFERS under MRM's conditions",
        source="REFERS's objectives with MRM's images, words and schedule",
        compares=True,
    ),
    "deep_mrm": MethodEntry(
        "Deeply supervised masked record modelling",
        source="MRM with DeepMIM's supervision (Ren et al., 2023)",
    ),
    "deep_mrm+hog": MethodEntry(
        "Deep MRM that rebuilds gradient histograms",
        source="deep MRM with MaskFeat's target (Wei et al., CVPR 2022)",
        base="deep_mrm",
        settings={"target": "hog"},
    ),
    "deep_mrm+dino": MethodEntry(
        "Deep MRM that rebuilds a frozen teacher's features",
        source="deep MRM with a DINO teacher (Caron et al., ICCV 2021)",
        base="deep_mrm",
        settings={"target": "dino"},
        teacher="dino",
    ),
    "deep_mrm+infonce": MethodEntry(
        "Deep MRM with a contrast of radiograph and report",
        source="deep MRM with InfoNCE (van den Oord et al., 2018)",
        base="deep_mrm",
        settings={"contrast": "infonce"},
        compares=True,
    ),
    "deep_mrm+conditional": MethodEntry(
        "Deep MRM with a contrast among records alike",
        source="deep MRM with a kernel's conditional contrast (Tsai et al., ICLR 2022)",
        base="deep_mrm",
        settings={"contrast": "conditional"},
        compares=True,
    ),
}
"""A variant is called after the method that it varies, and stands below it."""

TASKS: dict[str, TaskEntry] = {
    "nih": TaskEntry(
        "NIH ChestX-ray14, fourteen findings", "AUROC", "higher", ratios=(1, 10, 100), dataset="nih"
    ),
    "siim": TaskEntry(
        "SIIM-ACR pneumothorax segmentation", "Dice", "higher", ratios=(10, 100), dataset="siim"
    ),
    "siim_legacy": TaskEntry(
        "SIIM-ACR by MRM's lists, which share images between training and test",
        "Dice",
        "higher",
        ratios=(10, 100),
        dataset="siim",
        base="siim",
        settings={"split": "legacy"},
    ),
    "shenzhen": TaskEntry(
        "Shenzhen tuberculosis", "AUROC", "higher", ratios=(100,), dataset="shenzhen"
    ),
    "shenzhen_lungs": TaskEntry(
        "Shenzhen lung segmentation", "Dice", "higher", ratios=(100,), dataset="shenzhen"
    ),
    "covid": TaskEntry(
        "COVID-19 against other pneumonia", "AUROC", "higher", ratios=(100,), dataset="covid"
    ),
    "covid_viral": TaskEntry(
        "Viral against bacterial pneumonia", "AUROC", "higher", ratios=(100,), dataset="covid"
    ),
    "rsna": TaskEntry(
        "RSNA pneumonia detection", "mAP", "higher", ratios=(1, 10, 100), dataset="rsna"
    ),
    "report": TaskEntry(
        "Report generation", "BLEU-4", "higher", ratios=(100,), dataset="mimic_cxr"
    ),
}

LISTS = ("tap_blocks", "condition_columns", "mean", "std")
"""Settings whose one value may have commas in it."""

PRETRAIN = "pretrain"
"""The task name of a pre-training run."""

PRETRAIN_ENTRY = TaskEntry(
    "Pre-training", "loss", "lower", ratios=(), dataset="mimic_cxr", unit="nats"
)

DATASETS: dict[str, DatasetEntry] = {
    "mimic_cxr": DatasetEntry(
        "MIMIC-CXR-JPG",
        "`training.csv` (image_path, report_content), or PhysioNet's `files/` with its csv tables",
    ),
    "siim": DatasetEntry(
        "SIIM-ACR Pneumothorax", "`dicom-images-train/` with `train-rle.csv` and the split lists"
    ),
    "shenzhen": DatasetEntry(
        "Shenzhen chest X-ray set", "`images/`, `masks/`, `train_list.txt`, `val_list.txt`"
    ),
    "nih": DatasetEntry(
        "NIH ChestX-ray14", "`images*/`, `Data_Entry_2017_v2020.csv` and the split lists"
    ),
    "covid": DatasetEntry(
        "COVID-19 Image Data Collection",
        "`images/` with `metadata.csv`, or lists `iscovid_train.txt`, `_val` and `_test`",
    ),
    "rsna": DatasetEntry(
        "RSNA Pneumonia", "`stage_2_train_images/` with `stage_2_train_labels.csv`"
    ),
}


def datasets_in_use() -> list[str]:
    """Return the data sets that a method or task reads, in the catalog's order."""
    used = {PRETRAIN_ENTRY.dataset, *(task.dataset for task in TASKS.values())}
    return [name for name in DATASETS if name in used]


def base_of(name: str) -> str:
    """Return the method whose file makes `name`: the one it varies, or itself."""
    return METHODS[name].base or name


def variants() -> list[str]:
    """Return the methods that only vary another one, in the catalog's order."""
    return [name for name, entry in METHODS.items() if entry.base]


def main_tasks() -> list[str]:
    """Return the tasks that are no variants, which are those with a file of their own."""
    return [name for name, entry in TASKS.items() if not entry.base]


def main_methods() -> list[str]:
    """Return the methods that are no variants, which are those that `all` means."""
    return [name for name, entry in METHODS.items() if not entry.base]
