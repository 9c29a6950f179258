from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import checkup, cli
from cxrlab.assets import data_report
from cxrlab.lab import Lab, make_lab


def invoke(*words: str, **environment: str) -> Any:
    return CliRunner().invoke(cli.app, list(words), env={"COLUMNS": "100", **environment})


def test_init_makes_a_lab_and_overwrites_nothing(tmp_path: Path) -> None:
    first = invoke("init", str(tmp_path / "lab"), "--json")
    assert json.loads(first.stdout) == {
        "lab": str(tmp_path / "lab"),
        "made": True,
        "share": "private",
    }
    assert (tmp_path / "lab" / ".cxrlab" / "registry.db").is_file()
    settings = tmp_path / "lab" / "cxrlab.toml"
    settings.write_text("[launch]\nthreads = 7\n")
    again = invoke("init", str(tmp_path / "lab"))
    assert (again.exit_code, "is a lab already" in again.stdout) == (0, True)
    assert settings.read_text() == "[launch]\nthreads = 7\n"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[launch]\n[grid]\n[launch]\n", "cxrlab.toml:3: `[launch]` is there already"),
        ("[data.siim]\n\n[data.siim]\n", "cxrlab.toml:3: `[data.siim]` is there already"),
        ("[launch]\ngpus = 1\ngpus = 2\n", "cxrlab.toml:3: this setting is there already"),
        ("[launch]\ngpus = \n", "cxrlab.toml:2 is not TOML: invalid value"),
    ],
)
def test_a_file_that_is_not_toml_is_told_with_its_line(
    tmp_path: Path, written: str, said: str
) -> None:
    make_lab(tmp_path)
    (tmp_path / "cxrlab.toml").write_text(written)
    result = invoke("--lab", str(tmp_path), "runs")
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_an_unknown_setting_is_told_with_its_line_and_the_nearest(tmp_path: Path) -> None:
    make_lab(tmp_path)
    (tmp_path / "cxrlab.toml").write_text("[launch]\n\nthread = 7\n")
    result = invoke("--lab", str(tmp_path), "runs")
    assert result.exit_code == 2
    assert "cxrlab.toml:3" in result.stderr
    assert "threads" in result.stderr


def test_data_sets_are_listed_as_found_missing_or_not_set(lab: Lab) -> None:
    lab.settings.data["siim"].root.rmdir()
    listed = json.loads(invoke("--lab", str(lab.root), "data", "list", "--json").stdout)
    states = {one["name"]: one["state"] for one in listed}
    assert (states["mimic_cxr"], states["siim"], states["nih"]) == ("found", "missing", "not set")
    assert [one["tasks"] for one in listed if one["name"] == "shenzhen"] == [
        ["shenzhen", "shenzhen_lungs"]
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("check", "sim"), 3, "siim"),
        (("check", "nih"), 3, "[data.nih]"),
        (("check", "--root", "/nowhere"), 2, "one data set"),
        (("check", "siim", "--across"), 3, "add `[data.mimic_cxr]`"),
    ],
)
def test_a_check_that_cannot_be_made_says_why(
    lab: Lab, words: tuple[str, ...], code: int, said: str
) -> None:
    if "--across" in words:
        lab.settings_file.write_text('[data.siim]\nroot = "siim"\n')
    result = invoke("--lab", str(lab.root), "data", *words)
    assert result.exit_code == code
    assert said in result.stderr


@pytest.mark.long
def test_all_sets_are_compared_with_the_one_to_pretrain_on(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab")
    words = ("--lab", str(lab.root), "data")
    made = invoke(*words, "generate", "--count", "24", "--image-px", "64", "--use", "--json")
    assert made.exit_code == 0, made.stderr
    good = invoke(*words, "check", "--json")
    assert good.exit_code == 0, good.stdout
    assert json.loads(good.stdout)[-1]["facts"]["compared"]["mimic_cxr"] >= 24
    tested = (lab.root / "data/generated/shenzhen/test_list.txt").read_text().split()[0]
    records = lab.root / "data/generated/mimic_cxr"
    with (records / "training.csv").open(newline="", encoding="utf-8") as file:
        first = next(row for row in csv.DictReader(file) if row.get("split", "train") == "train")
    shutil.copy(lab.root / "data/generated/shenzhen/images" / tested, records / first["image_path"])
    bad = invoke(*words, "check", "shenzhen", "--across")
    assert bad.exit_code == 1
    assert "1 images of shenzhen test are in mimic_cxr train, pixel for pixel" in bad.stdout
    found = json.loads(invoke(*words, "check", "shenzhen", "--json").stdout)
    assert [report["dataset"] for report in found] == ["shenzhen"]


@pytest.mark.slow
def test_generated_data_are_used_and_pass_their_check_until_a_file_is_broken(
    tmp_path: Path,
) -> None:
    lab = make_lab(tmp_path / "lab")
    words = ("--lab", str(lab.root), "data")
    made = invoke(*words, "generate", "--count", "12", "--image-px", "64", "--use", "--json")
    assert made.exit_code == 0, made.stderr
    assert set(json.loads(made.stdout)["sets"]) == {"mimic_cxr", "siim", "shenzhen", "nih", "rsna"}
    good = invoke(*words, "check", "shenzhen", "--json")
    assert (good.exit_code, json.loads(good.stdout)[0]["faults"]) == (0, [])
    image = next((lab.root / "data/generated/shenzhen/images").iterdir())
    image.write_bytes(image.read_bytes()[:100])
    bad = invoke(*words, "check", "shenzhen")
    assert bad.exit_code == 1
    assert image.name in bad.stdout
    assert invoke(*words, "check", "siim", "--root", str(tmp_path / "none")).exit_code == 3


@pytest.mark.slow
def test_the_doctor_tells_what_is_missing_and_the_line_that_fixes_it(lab: Lab) -> None:
    fine = invoke("--lab", str(lab.root), "doctor", "--json")
    assert fine.exit_code == 0, fine.stdout
    levels = {one["what"]: one["level"] for one in json.loads(fine.stdout)}
    assert (levels["torch"], levels["registry"], levels["data.siim"]) == ("ok", "ok", "ok")
    lab.settings.data["siim"].root.rmdir()
    ill = invoke("--lab", str(lab.root), "doctor")
    assert ill.exit_code == 1
    assert "is no folder" in ill.stdout
    assert "fix: write `[data.siim]`" in ill.stdout


def test_a_registry_that_cannot_be_written_is_missing(lab: Lab) -> None:
    assert checkup.registry(lab).level == "ok"
    lab.registry.write_bytes(b"no database" * 100)
    assert checkup.registry(lab).level == "missing"


def test_published_weights_that_are_missing_are_only_a_note(lab: Lab) -> None:
    finding = checkup.published(lab)
    assert (finding.level, "imagenet, mae" in finding.says) == ("note", True)
    assert finding.fix == "cxrlab weights fetch imagenet; cxrlab weights fetch mae"
    for name in ("ViT-B_16.npz", "mae_pretrain_vit_base.pth"):
        (lab.pretrained_dir / name).write_bytes(b"weights")
    assert checkup.published(lab).level == "ok"


def test_more_threads_than_cores_are_a_warning(lab: Lab) -> None:
    lab.settings_file.write_text("[launch]\ncpu_slots = 999\nthreads = 2\n")
    finding = checkup.processors(make_lab(lab.root))
    assert (finding.level, "threads = 1" in finding.fix) == ("warning", True)


def test_the_file_system_is_that_of_the_deepest_mount() -> None:
    assert checkup.file_system(Path("/proc/self")) == "proc"


def test_a_queue_without_an_agent_is_a_warning(lab: Lab, new_run: Any) -> None:
    assert checkup.waiting(lab).level == "ok"
    new_run()
    assert checkup.waiting(lab).fix == "cxrlab agent start"


def test_the_dashboard_without_a_terminal_names_what_works_without_one(lab: Lab) -> None:
    result = invoke("--lab", str(lab.root), "tui")
    assert result.exit_code == 2
    assert "cxrlab runs" in result.stderr


def test_a_set_that_cannot_be_read_does_not_keep_others_from_being_checked(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab")
    there, gone = tmp_path / "there", tmp_path / "gone"
    there.mkdir()
    known = f'[data.siim]\nroot = "{gone}"\n[data.shenzhen]\nroot = "{there}"\n'
    lab.settings_file.write_text(known, encoding="utf-8")
    found = invoke("--lab", str(lab.root), "data", "check", "--json")
    first, second = json.loads(found.stdout)
    assert (first["dataset"], second["dataset"]) == ("siim", "shenzhen")
    assert f"{gone} is no folder" in first["faults"][0]["message"]
    assert second["faults"]
    assert found.exit_code == 3


def test_a_report_is_told_in_words_and_small_tables_and_keeps_its_width() -> None:
    records = {"train": 394, "val": 69}
    findings = {"Mass": 31, "Nodule": 29, "Edema": 25}
    lists = [{"file": "train_list.txt", "sha256": "0b" * 32, "images": 463}]
    report = {
        "dataset": "nih",
        "facts": {
            "sha256": "f6" * 32,
            "records": records,
            "positive": {"all": findings, "train": findings},
            "lists": lists,
            "viral": {"by": "drawn", "records": records},
            "overlap": {"images": {}, "same_pixels": []},
        },
        "notes": ["long " * 30],
        "faults": [{"path": "a/b.png", "message": "is broken"}],
    }
    told = data_report.lines(report, columns=60)
    assert max(map(len, told)) <= 60
    said = "\n".join(told)
    assert "  sha256: f6f6f6f6f6f6\n  records: train 394, val 69\n" in said
    assert "            all  train\n    Mass     31     31\n" in said
    assert "    train_list.txt  0b0b0b0b0b0b     463\n" in said
    assert "  viral:\n    by: drawn\n    records: train 394, val 69\n" in said
    assert "  overlap: images none, same_pixels none\n" in said
    assert told[-2:] == ["  fault: a/b.png: is broken", "nih: 1 fault"]
