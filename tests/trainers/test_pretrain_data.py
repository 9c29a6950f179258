"""What a pre-training reads, and what it says of it: prepared copies, sections, lists, versions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainers.data import prepare
from trainers.pretrain import main

TINY = (
    "--preset quick --image_px 32 --patch_px 8 --embed_dim 24 --num_heads 2 --depth 2 "
    "--decoder_dim 16 --decoder_depth 1 --bert_dim 16 --bert_depth 1 --bert_heads 2 "
    "--report_length 16 --vocab_size 200 --device cpu --threads 1 --log_every 1 --warmup_epochs 0 "
    "--steps 2 --batch_size 8"
).split()
WORDS = "no focal consolidation small left pleural effusion heart size is normal".split()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in MRM's form, named as MIMIC's studies are; a third has no impression."""
    root = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    with (root / "training.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image_path", "report_content"])
        for i in range(30):
            name = f"files/p10/p100000{i:02d}/s500000{i:02d}/{i}.png"
            (root / name).parent.mkdir(parents=True)
            Image.fromarray(rng.integers(0, 255, (44, 40), dtype=np.uint8)).save(root / name)
            report = f"FINAL REPORT FINDINGS: {' '.join(rng.choice(WORDS, 8))}."
            out.writerow([name, report + (" IMPRESSION: Clear lungs." if i % 3 else "")])
    return root


@pytest.fixture(scope="module")
def copy(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("copy") / "copy"
    given = ["--data_path", str(source), "--into", str(into), "--px", "40", "--vocab_size", "200"]
    assert prepare.main(given) == 0
    return into


def train(data: Path, folder: Path, *more: str) -> dict[str, Any]:
    assert main(["--data_path", str(data), "--output_dir", str(folder), *TINY, *more]) == 0
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_training_from_the_copy_is_training_from_the_originals(
    source: Path, copy: Path, tmp_path: Path
) -> None:
    direct = train(source, tmp_path / "direct")
    small = train(copy, tmp_path / "small")
    assert small["values"] == direct["values"]
    assert small["data"]["fingerprint"] == direct["data"]["fingerprint"]
    assert small["data"]["prepared"]["source"]["root"] == str(source)
    assert "prepared" not in direct["data"]
    tokenizers = [(tmp_path / name / "tokenizer.json").read_text() for name in ("direct", "small")]
    assert json.loads(tokenizers[0]) == json.loads(tokenizers[1])
    assert (copy / "tokenizer.json").read_text() == tokenizers[1]


def test_a_run_on_other_text_trains_its_own_tokenizer_and_counts_what_stood_in(
    copy: Path, tmp_path: Path
) -> None:
    result = train(copy, tmp_path, "--text_field", "impression", "--data_version", "V3")
    told = result["data"]["report_text"]
    assert told == {"field": "impression", "from": {"impression": 20, "findings": 10}}
    assert result["data"]["version"] == "V3"
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["data"] == result["data"]
    assert (tmp_path / "tokenizer.json").read_text() != (copy / "tokenizer.json").read_text()


def test_lists_restrict_a_run_and_count_in_its_recipe(
    copy: Path, tmp_path: Path, capsys: Any
) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    studies = [f"/x/files/p10/p100000{i:02d}/s500000{i:02d}\n" for i in range(30)]
    (lists / "train.txt").write_text("".join(studies[:20]))
    (lists / "test.txt").write_text("".join(studies[25:]))
    result = train(copy, tmp_path / "run", "--split_lists", str(lists))
    assert result["data"]["records"] == {"train": 20, "val": 5, "test": 0}
    capsys.readouterr()

    def recipe(*more: str) -> str:
        assert main(["--data_path", str(copy), *TINY, *more, "--print-config"]) == 0
        return str(json.loads(capsys.readouterr().out)["recipe"])

    whole, listed = recipe(), recipe("--split_lists", str(lists))
    (lists / "test.txt").write_text("".join(studies[26:]))
    fewer = recipe("--split_lists", str(lists))
    others = [recipe("--text_field", "findings"), recipe("--data_version", "V3")]
    assert len({whole, listed, fewer, *others}) == 5
    assert main(["--data_path", str(copy), *TINY, "--split_lists", str(tmp_path)]) == 3
    assert "holds no `train.txt`" in capsys.readouterr().err
