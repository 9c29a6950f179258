"""A checkpoint alone is enough to test on any folder of images, as the run itself would have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers import checkpoints, evaluate, finetune, layouts
from trainers.data import siim

TINY = ["--preset", "quick", "--device", "cpu", "--threads", "1", "--steps", "2",
        "--warmup_steps", "0", "--eval_every", "2", "--batch_size", "4",
        "--image_px", "32"]  # fmt: skip
SEGMENTER = ["--channels", "8", "--aux_channels", "4"]


def write_image(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 52)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def name_of(number: int) -> str:
    return f"CHNCXR_{number:04}_{number % 2}"


@pytest.fixture(scope="module")
def shenzhen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shenzhen")
    for part, numbers in {"train": range(8), "val": range(8, 12), "test": range(12, 24)}.items():
        lines = []
        for number in numbers:
            write_image(root / "images" / f"{name_of(number)}.png", number)
            mask = np.zeros((40, 52), np.uint8)
            mask[10:30, 5 : 15 + number] = 255
            (root / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(root / "masks" / f"{name_of(number)}.png")
            lines.append(f"{name_of(number)}.png {1 - number % 2} {number % 2}")
        (root / f"{part}_list.txt").write_text("\n".join(lines) + "\n")
    return root


def fine_tune(task: str, data: Path, out: Path, *words: str) -> Path:
    line = ["--task", task, "--data_path", str(data), "--output_dir", str(out), *TINY, *words]
    assert finetune.main(line) == 0
    return out


@pytest.fixture(scope="module")
def run(shenzhen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fine_tune("shenzhen", shenzhen, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def lungs(shenzhen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fine_tune("shenzhen_lungs", shenzhen, tmp_path_factory.mktemp("lungs"), *SEGMENTER)


def words(checkpoint: Path, images: Path, labels: Path, *more: str) -> list[str]:
    line = ["--checkpoint", str(checkpoint), "--images", str(images), "--labels", str(labels)]
    return [*line, "--device", "cpu", *more]


def said_of(
    capsys: pytest.CaptureFixture[str], task: str, run: Path, images: Path, labels: Path
) -> dict:
    line = words(run / checkpoints.BEST, images, labels, "--json")
    capsys.readouterr()
    assert evaluate.main(["--task", task, *line]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("task", "labels"), [("shenzhen", "test_list.txt"),
                                              ("shenzhen_lungs", "masks")])  # fmt: skip
def test_the_runs_own_test_images_score_what_the_run_said(
    task: str, labels: str, shenzhen: Path, run: Path, lungs: Path, tmp_path: Path, capsys
) -> None:
    folder = run if task == "shenzhen" else lungs
    wanted = shenzhen / labels
    if wanted.is_dir():
        (tmp_path / "masks").mkdir()
        for number in range(12, 24):
            mask = wanted / f"{name_of(number)}.png"
            (tmp_path / "masks" / f"{name_of(number)}_mask.PNG").write_bytes(mask.read_bytes())
        wanted = tmp_path / "masks"
    said = said_of(capsys, task, folder, shenzhen, wanted)
    kept = json.loads((folder / "result.json").read_text())
    assert said["bounds"] == {k: pytest.approx(v) for k, v in kept["bounds"].items()}
    assert said["values"] == {
        k: pytest.approx(v) for k, v in kept["values"].items() if k.startswith("test/")
    }
    assert (said["n"], said["missing"], said["skipped"]) == (12, 0, 0)
    assert said["checkpoint_sha256"] == kept["checkpoint_sha256"]
    metric = kept["metric"]
    assert said["selection"] == kept["selection"] == f"test at best validation {metric}"
    assert kept["metrics"] == said["metrics"]
    assert kept["metrics"][metric]["better"] == "higher"


def test_the_last_checkpoint_serves_as_well(shenzhen: Path, run: Path, capsys) -> None:
    line = words(run / checkpoints.LAST, shenzhen, shenzhen / "test_list.txt", "--json")
    assert evaluate.main(["--task", "shenzhen", *line]) == 0
    kept = json.loads((run / "result.json").read_text())  # two updates, one validation: the same
    said = json.loads(capsys.readouterr().out)["values"]
    assert said["test/AUROC"] == pytest.approx(kept["values"]["test/AUROC"])


@pytest.fixture
def unseen(tmp_path: Path) -> Path:
    """Six images at several depths with endings of any case; one of them is torn."""
    for number, place in enumerate(["a.JPG", "in/b.jpg", "in/deep/c.JPEG", "d.png", "e.PNG"]):
        write_image(tmp_path / "images" / place, number)
    (tmp_path / "images" / "f.jpg").write_bytes((tmp_path / "images" / "a.JPG").read_bytes()[:300])
    write_image(tmp_path / "images" / "masks" / "a.png", 9)
    write_image(tmp_path / "images" / "stranger.png", 10)
    return tmp_path


LIST = ["a.png 1 0", "somewhere/b.png 0 1", "c 1 0", "d.jpg 0 1", "e.jpg 0 1", "f.png 1 0",
        "gone.png 0 1"]  # fmt: skip


def as_list(separator: str) -> str:
    return "\r\n".join(line.replace(" ", separator) for line in LIST) + "\r\n"


def as_table(header: str, form: str) -> str:
    rows = [line.split() for line in LIST]
    return "\n".join([header, *(form.format(name, tb) for name, _, tb in rows)]) + "\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", as_list(" ")),
        ("list.csv", as_list(",")),
        ("list.tsv", as_list("\t")),
        ("labels.csv", "\ufeff" + as_table("Image,Label", "{0},{1}")),
        ("labels.txt", as_table("file_name;age;tb", "{0};40;{1}")),
        ("metadata.csv", as_table("image_path,patient_id,findings,tb", 'images/{0},,"a, b",{1}')),
        ("one.txt", "\n".join(f"{line.split()[0]} {line.split()[2]}" for line in LIST)),
    ],
)
def test_labels_in_any_usual_form_find_their_images(
    name: str, text: str, unseen: Path, run: Path, capsys, caplog
) -> None:
    (unseen / name).write_text(text, encoding="utf-8", newline="")
    out = unseen / "said.npz"
    line = words(run / checkpoints.BEST, unseen / "images", unseen / name, "--out", str(out))
    assert evaluate.main(["--task", "shenzhen", *line, "--json"]) == 0
    caught = capsys.readouterr()
    said = json.loads(caught.out)
    assert (said["n"], said["missing"], said["skipped"]) == (5, 1, 1)
    assert caught.err.count("warning:") == 2
    assert "`gone`" in caught.err
    assert "f.jpg" in caught.err
    arrays = np.load(out)
    labels = dict(zip(arrays["names"].tolist(), arrays["label"][:, 0].tolist(), strict=True))
    assert labels == {"a": 0, "b": 1, "c": 0, "d": 1, "e": 1}
    assert evaluate.main(["--task", "shenzhen", "--predictions", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == said["values"]


def test_one_class_alone_has_no_auroc_and_the_json_says_null(unseen: Path, run: Path, capsys):
    (unseen / "list.txt").write_text("a.png 1 0\nc.png 1 0\n")
    said = said_of(capsys, "shenzhen", run, unseen / "images", unseen / "list.txt")
    assert said["values"] == {"test/AUROC": None}
    assert said["bounds"] == {"test/AUROC": [None, None]}


@pytest.mark.parametrize(
    ("text", "code", "about"),
    [
        ("a.png 1 0\nb.png 1 1\n", 4, "list.txt:2"),
        ("a.png 1 0\na.png 0 1\n", 4, "list.txt:2"),
        ("image,tb\na.png,0\nb.png,maybe\n", 4, "list.txt:3"),
        ("image,age\na.png,0\n", 4, "no column for `tb`"),
        ("", 4, "is empty"),
        ("x.png 1 0\ny.png 0 1\n", 3, "none of the 2 images"),
    ],
)
def test_labels_that_cannot_be_used_are_said_with_their_line(
    text: str, code: int, about: str, unseen: Path, run: Path, capsys
) -> None:
    (unseen / "list.txt").write_text(text)
    line = words(run / checkpoints.BEST, unseen / "images", unseen / "list.txt")
    assert evaluate.main(["--task", "shenzhen", *line]) == code
    assert about in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["checkpoint", "images", "labels"])
def test_what_is_not_there_ends_with_3(lost: str, unseen: Path, run: Path, capsys) -> None:
    (unseen / "list.txt").write_text("a.png 1 0\n")
    there = {"checkpoint": run / checkpoints.BEST, "images": unseen, "labels": unseen / "list.txt"}
    there[lost] = unseen / "nowhere"
    assert evaluate.main(["--task", "shenzhen", *words(*there.values())]) == 3
    assert "nowhere" in capsys.readouterr().err


def test_two_different_images_of_one_name_are_refused(unseen: Path, run: Path, capsys) -> None:
    write_image(unseen / "images" / "in" / "a.png", 77)
    (unseen / "list.txt").write_text("a.png 1 0\n")
    line = words(run / checkpoints.BEST, unseen / "images", unseen / "list.txt")
    assert evaluate.main(["--task", "shenzhen", *line]) == 4
    assert "`a` is there twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "about"),
    [
        ({"format": layouts.FORMAT, "model": {}, "size": {}, "config": {}}, "an encoder"),
        (
            {"model": {}, "config": {"program": "pretrain", "method": "mrm"}},
            "pre-training by `mrm`",
        ),
        ({"model": {}, "config": {"program": "finetune", "task": "siim"}}, "on `siim`"),
        ({"model": {"a": torch.zeros(1)}}, "no checkpoint of a run"),
        (torch.zeros(1), "holds a Tensor"),
        (b"not torch", "cannot be read"),
    ],
)
def test_a_file_that_is_no_such_checkpoint_is_called_what_it_is(
    content: object, about: str, unseen: Path, capsys
) -> None:
    file = unseen / "file.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    assert evaluate.main(["--task", "shenzhen", *words(file, unseen, unseen / "x.txt")]) == 4
    assert about in capsys.readouterr().err


def test_a_checkpoint_that_does_not_tell_the_encoders_size_is_read_as_its_preset_says(
    shenzhen: Path, run: Path, tmp_path: Path, capsys
) -> None:
    content = checkpoints.load(run / checkpoints.BEST)
    del content["size"]
    torch.save(content, tmp_path / "old.pt")
    line = words(tmp_path / "old.pt", shenzhen, shenzhen / "test_list.txt", "--json")
    assert evaluate.main(["--task", "shenzhen", *line]) == 0
    kept = json.loads((run / "result.json").read_text())["values"]["test/AUROC"]
    assert json.loads(capsys.readouterr().out)["values"]["test/AUROC"] == pytest.approx(kept)


def test_a_table_of_run_lengths_and_a_folder_of_masks_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "rle.csv").write_text("ImageId, EncodedPixels\n1.2.3, 0 2\n1.2.3, 3 1\n1.2.4, -1\n")
    mask = np.zeros((2, 4), np.uint8)
    for name, pixels in (("1.2.3", mask + 255), ("1.2.4", mask)):
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{name}.png")
    by_table, by_folder = siim.named(tmp_path / "rle.csv"), siim.named(tmp_path / "masks")
    assert [(c.name, c.labels) for c in by_table] == [(c.name, c.labels) for c in by_folder]
    assert by_table[0].mask == ("0 2", "3 1")
