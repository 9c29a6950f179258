"""Is CheXbert's file read as its authors read it? On a small network in the published layout."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainers import chexbert, label_reports
from trainers.config import InputError, MissingError
from trainers.observations import OBSERVATIONS

WORDS = (*chexbert.SPECIAL, "[MASK]", "no", "effusion", "there", "is", "##s", "edema", ".", "mild",
         "pneumo", "##thorax", "heart", "large")  # fmt: skip
WIDTH, INNER, LAYERS, PLACES = 128, 96, 2, 40
TEXTS = ["No effusions.", "", "mild  edema\nthere is", "heart " * 60, "Pneumothorax large zebra"]


def published(seed: int = 0) -> dict[str, torch.Tensor]:
    """Return tensors named as in `chexbert.pth`, a pooler and an old buffer among them."""
    torch.manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
        "bert.embeddings.position_embeddings.weight": (PLACES, WIDTH),
        "bert.embeddings.token_type_embeddings.weight": (2, WIDTH),
        "bert.embeddings.LayerNorm.weight": (WIDTH,),
        "bert.embeddings.LayerNorm.bias": (WIDTH,),
        "bert.pooler.dense.weight": (WIDTH, WIDTH),
        "bert.pooler.dense.bias": (WIDTH,),
    }
    for i in range(LAYERS):
        for name, size in {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "attention.output.LayerNorm": (WIDTH,),
            "intermediate.dense": (INNER, WIDTH),
            "output.dense": (WIDTH, INNER),
            "output.LayerNorm": (WIDTH,),
        }.items():
            shapes[f"bert.encoder.layer.{i}.{name}.weight"] = size
            shapes[f"bert.encoder.layer.{i}.{name}.bias"] = size[:1]
    for i in range(14):
        classes = 2 if i == 13 else 4
        shapes[f"linear_heads.{i}.weight"] = (classes, WIDTH)
        shapes[f"linear_heads.{i}.bias"] = (classes,)
    # biases stay small, or every text would get the same labels
    state = {
        f"module.{name}": torch.randn(size) * (0.02 if name.endswith("bias") else 0.3)
        for name, size in shapes.items()
    }
    state["module.bert.embeddings.position_ids"] = torch.arange(PLACES)[None]
    return state


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("che xbert")
    torch.save({"model_state_dict": published(), "epoch": 3}, folder / "chexbert.pth")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder / "chexbert.pth", folder / "vocab.txt"


def classes_of(state: dict[str, torch.Tensor], ids: list[int]) -> list[int]:
    """Return the most probable class of each head for one text, by BERT's formulas."""

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"module.{name}.weight"].T + state[f"module.{name}.bias"]

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (
            x.var(-1, keepdim=True, unbiased=False) + 1e-12
        ).sqrt()
        return x * state[f"module.{name}.weight"] + state[f"module.{name}.bias"]

    embedded = "bert.embeddings."
    x = (
        state[f"module.{embedded}word_embeddings.weight"][ids]
        + state[f"module.{embedded}position_embeddings.weight"][: len(ids)]
        + state[f"module.{embedded}token_type_embeddings.weight"][0]
    )
    x = norm(f"{embedded}LayerNorm", x)
    for i in range(LAYERS):
        at = f"bert.encoder.layer.{i}."
        q, k, v = (
            linear(f"{at}attention.self.{part}", x).unflatten(-1, (-1, 64)).transpose(0, 1)
            for part in ("query", "key", "value")
        )
        seen = (q @ k.transpose(1, 2) / math.sqrt(64)).softmax(-1) @ v
        x = norm(
            f"{at}attention.output.LayerNorm",
            x + linear(f"{at}attention.output.dense", seen.transpose(0, 1).flatten(1)),
        )
        inner = F.gelu(linear(f"{at}intermediate.dense", x))
        x = norm(f"{at}output.LayerNorm", x + linear(f"{at}output.dense", inner))
    return [int(linear(f"linear_heads.{i}", x[0]).argmax()) for i in range(14)]


# [CLS] ... [SEP]; words in pieces, what is unknown as [UNK], cut to 40 with the end kept
TOKENS = [
    [2, 5, 6, 9, 11, 3],
    [2, 3],
    [2, 12, 10, 7, 8, 3],
    [2, *[15] * 38, 3],
    [2, 13, 14, 16, 1, 3],
]


def test_texts_become_the_tokens_that_chexbert_reads(files) -> None:
    tokenizer = chexbert.read_words(files[1].parent, PLACES)
    assert [tokenizer.encode(" ".join(text.split())).ids for text in TEXTS] == TOKENS


def test_labels_are_those_of_a_network_written_from_berts_formulas(files) -> None:
    labeller = chexbert.load(*files)
    state = published()
    code = {0: np.nan, 1: 1.0, 2: 0.0, 3: -1.0}
    expected = [[code[c] for c in classes_of(state, ids)] for ids in TOKENS]
    assert len({str(row) for row in expected}) > 3
    np.testing.assert_array_equal(labeller(TEXTS), expected)


def test_a_text_is_read_alike_in_any_company(files) -> None:
    labeller = chexbert.load(*files)
    many = [TEXTS[i % 5] for i in range(41)]
    alone = np.concatenate([labeller([text]) for text in TEXTS])
    np.testing.assert_array_equal(labeller(many), alone[[i % 5 for i in range(41)]])


def changed(files, tmp_path: Path, change) -> Path:
    state = published()
    change(state)
    path = tmp_path / "chexbert.pth"
    torch.save({"model_state_dict": state}, path)
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("module.linear_heads.12.bias"), "lacks `linear_heads.12.bias`"),
        (
            lambda s: s.update({"module.linear_heads.13.weight": torch.zeros(4, WIDTH)}),
            r"`linear_heads.13.weight` is \(4, 128\); expected \(2, 128\)",
        ),
        (
            lambda s: s["module.linear_heads.0.bias"].fill_(torch.nan),
            "`linear_heads.0.bias` holds values that are not finite",
        ),
        (lambda s: s.pop("module.bert.embeddings.word_embeddings.weight"), "holds no BERT"),
    ],
)
def test_a_file_that_is_not_chexbert_is_refused_with_the_tensor(
    files, tmp_path: Path, change, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        chexbert.load(changed(files, tmp_path, change), files[1])


def test_other_weights_and_other_words_are_refused(files, tmp_path: Path) -> None:
    other = tmp_path / "encoder.pt"
    torch.save({"model": {}}, other)
    with pytest.raises(InputError, match="no `model_state_dict`"):
        chexbert.load(other, files[1])
    words = tmp_path / "vocab.txt"
    words.write_text("\n".join(WORDS[:-1]))
    with pytest.raises(InputError, match=r"16 word pieces and .* knows 17"):
        chexbert.load(files[0], words)
    words.write_text("no\neffusion\n")
    with pytest.raises(InputError, match=r"lacks `\[PAD\]`"):
        chexbert.load(files[0], words)
    with pytest.raises(MissingError, match="does not exist"):
        chexbert.load(files[0], tmp_path / "none.txt")


def test_a_file_that_asks_to_run_code_is_refused(files, tmp_path: Path) -> None:
    path = tmp_path / "chexbert.pth"
    torch.save({"model_state_dict": Path("x")}, path)
    with pytest.raises(InputError, match="refused"):
        chexbert.load(path, files[1])


@pytest.mark.parametrize("labeller", ["rules", "chexbert"])
def test_the_program_writes_a_table_in_chexberts_form(files, tmp_path: Path, labeller: str) -> None:
    given, out = tmp_path / "given.csv", tmp_path / "labelled.csv"
    with given.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "Report Impression"])
        rows.writerows([["1", "No effusion,\nmild edema."], ["2", ""]])
    options = ["--labeller", labeller, "--reports", str(given), "--out", str(out)]
    if labeller == "chexbert":
        options += ["--weights", str(files[0]), "--words", str(files[1]), "--device", "cpu"]
    assert label_reports.main(options) == 0
    with out.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["Report Impression", *OBSERVATIONS]
    assert [row["Report Impression"] for row in table] == ["No effusion,\nmild edema.", ""]
    assert {row[name] for row in table for name in OBSERVATIONS} <= {"1.0", "0.0", "-1.0", ""}
    if labeller == "rules":
        assert (table[0]["Edema"], table[0]["Pleural Effusion"]) == ("1.0", "0.0")
        assert not any(table[1][name] for name in OBSERVATIONS)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"--labeller": "nobody"}, 2),
        ({"--labeller": "chexbert"}, 2),
        ({"--reports": "none.csv"}, 3),
        ({"--column": "Report"}, 4),
    ],
)
def test_the_program_ends_with_the_code_of_what_is_wrong(
    tmp_path: Path, change: dict[str, str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given.csv"
    given.write_text("Report Impression\nedema\n")
    options = {"--labeller": "rules", "--reports": str(given), "--out": str(tmp_path / "o.csv")}
    argv = [part for pair in (options | change).items() for part in pair]
    assert label_reports.main(argv) == code
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "o.csv").exists()
