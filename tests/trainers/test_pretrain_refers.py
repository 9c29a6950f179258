"""Pre-training by REFERS as a person runs it: with another tokenizer, stopped, judged."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from PIL import Image
from transformers import BertConfig, BertModel

from trainers import checkpoints, evaluate, weights
from trainers.data import captions, generate, records, tokens
from trainers.methods import refers
from trainers.pretrain import main

TINY = (
    "--preset quick --image_px 32 --patch_px 8 --embed_dim 24 --num_heads 2 --depth 2 "
    "--decoder_dim 16 --decoder_heads 2 --bert_dim 16 --bert_depth 1 --bert_heads 2 "
    "--report_length 12 --vocab_size 200 --device cpu --threads 1 --log_every 1 --warmup_epochs 0 "
    "--batch_size 6"
).split()
WORDS = "no focal consolidation small left pleural effusion heart size is normal".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 studies of 15 patients, two radiographs and one report each."""
    root = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    with (root / "training.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "report_content", "patient_id", "study_id"])
        for study in range(30):
            report = " ".join(rng.choice(WORDS, 14))
            for view in "ab":
                name = f"{study}{view}.png"
                pixels = rng.integers(0, 255, (40, 40), dtype=np.uint8)
                Image.fromarray(pixels).save(root / name)
                writer.writerow([name, report, f"p{study // 2}", f"s{study}"])
    return root


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return ["--method", "refers", "--data_path", str(data), "--output_dir", str(out), *TINY, *more]


def losses(out: Path) -> list[float]:
    """The training losses by step, the later attempt's where two logged one."""
    found: dict[int, float] = {}
    for line in (out / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "metrics" and "train/loss" in event["values"]:
            found[event["step"]] = event["values"]["train/loss"]
    return [found[step] for step in sorted(found)]


@pytest.mark.parametrize("method", ["refers", "refers_mrm"])
def test_a_pretraining_reports_its_losses_and_leaves_an_encoder(
    folder: Path, tmp_path: Path, method: str
) -> None:
    assert main([*arguments(folder, tmp_path, "--steps", "3"), "--method", method]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    values = result["values"]
    assert set(values) == {
        f"val/{name}"
        for name in ("loss", "loss_report", "loss_contrast", "token_accuracy",
                     "loss_image_to_text", "loss_text_to_image", "retrieval_pool",
                     *(f"recall_at_{k}_{way}" for k in (1, 5, 10)
                       for way in ("image_to_text", "text_to_image")))
    }  # fmt: skip
    assert all(np.isfinite(list(values.values())))
    assert values["val/loss"] == pytest.approx(
        values["val/loss_report"] + values["val/loss_contrast"]
    )
    _, size, _ = weights.load_encoder(tmp_path / checkpoints.ENCODER)
    assert (size.embed_dim, size.depth) == (24, 2)
    saved = checkpoints.load(tmp_path / checkpoints.LAST)
    assert len(saved["model"]["textual.embedding.words.weight"]) == 1 + len(
        json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    )


def test_the_saved_batch_of_a_run_has_the_losses_that_validation_had(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(folder, tmp_path, "--steps", "2")) == 0
    vocabulary = captions.load_vocabulary(tmp_path / "tokenizer.json", 12)
    config = refers.Config(image_px=32, patch_px=8, report_length=12)
    held_out = refers.items(config, records.read_records(folder).val, vocabulary, train=False)
    every = [held_out.item(i, np.random.default_rng(0)) for i in range(len(held_out))]
    names = [name for name in every[0] if name != "name"]
    batch = {name: torch.stack([item[name] for item in every]) for name in names}
    torch.save(batch, tmp_path / "batch.pt")
    known = TINY[: TINY.index("--vocab_size")]
    assert evaluate.main([
        "--task", "pretrain", "--method", "refers", "--json", *known,
        "--pretrained", str(tmp_path / checkpoints.LAST), "--batch", str(tmp_path / "batch.pt"),
    ]) == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)["values"]
    values = json.loads((tmp_path / "result.json").read_text())["values"]
    del told["recall_at_1"]  # of a batch; validation has that of the whole pool
    for name, value in told.items():
        assert values[f"val/{name}"] == pytest.approx(value, rel=1e-5), name


def test_the_published_kind_of_tokenizer_is_taken_and_kept(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join([" ".join(WORDS)] * 9))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(tmp_path / "tiny"), vocab_size=40,
        model_type="bpe", bos_id=-1, eos_id=-1, pad_id=-1, control_symbols="[SOS],[EOS],[MASK]",
        minloglevel=2,
    )  # fmt: skip
    model, out = tmp_path / "tiny.model", tmp_path / "run"
    assert main(arguments(folder, out, "--steps", "2", "--tokenizer", str(model))) == 0
    assert (out / "tokenizer.model").read_bytes() == model.read_bytes()
    saved = checkpoints.load(out / checkpoints.LAST)["model"]
    assert saved["textual.embedding.words.weight"].shape == (40, 16)


def test_mrm_says_that_it_cannot_read_such_a_tokenizer(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.model").write_bytes(b"\x0a\xff\xfe")
    given = ["--method", "mrm", "--preset", "quick", "--tokenizer", str(tmp_path / "tiny.model"),
             "--data_path", str(folder), "--output_dir", str(tmp_path / "run")]  # fmt: skip
    assert main(given) == 4
    assert "no tokenizer file" in capsys.readouterr().err


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A small BERT with its vocabulary, as transformers saves one."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words) + "\n")
    return tmp_path / "bert"


def test_a_text_model_of_ones_own_is_trained_on_and_its_digest_is_part_of_the_recipe(
    folder: Path, tmp_path: Path, bert: Path
) -> None:
    out = tmp_path / "run"
    options = ["--steps", "2", "--lr", "0.01", "--text_model", str(bert)]
    assert main(arguments(folder, out, *options)) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["text_model_sha256"] == checkpoints.sha256(bert / "model.safetensors")
    before = BertModel.from_pretrained(bert, local_files_only=True).state_dict()
    after = checkpoints.load(out / checkpoints.LAST)["model"]
    moved = {
        name
        for name, value in before.items()
        if not torch.equal(value, after[f"contrastive_bert.text_encoder.{name}"])
    }
    assert "pooler.dense.weight" in moved
    assert "encoder.layer.0.attention.self.query.weight" in moved


def test_a_text_model_that_is_not_there_is_said_at_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--text_model", str(tmp_path / "nowhere"), "--print-config"]
    assert main(arguments(folder, tmp_path / "run", *options)) == 3
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stopped_pretraining_with_lookahead_resumes_to_the_same_weights_bit_for_bit(
    folder: Path, tmp_path: Path, cut: Callable[..., int]
) -> None:
    options = ["--steps", "24", "--lookahead_k", "7", "--lr", "0.05", "--eval_every", "24"]
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert main(arguments(folder, whole, *options)) == 0
    assert cut(arguments(folder, torn, *options), 9, signal.SIGTERM) == 143
    last = torn / checkpoints.LAST
    stopped = checkpoints.load(last)
    assert stopped["step"] < 24
    assert len(stopped["lookahead"]) > 0
    assert main(arguments(folder, torn, *options, "--resume", str(last))) == 0
    assert losses(torn) == losses(whole)
    theirs, ours = (checkpoints.load(f / checkpoints.LAST) for f in (whole, torn))
    for name, value in theirs["model"].items():
        assert torch.equal(value, ours["model"][name]), name
    for one, other in zip(theirs["lookahead"], ours["lookahead"], strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "lr"), [("refers", "0.1"), ("refers_mrm", "0.01")])
def test_the_loss_falls_on_generated_studies(tmp_path: Path, method: str, lr: str) -> None:
    data = tmp_path / "data"
    none = "--nih 0 --siim 0 --rsna 0 --shenzhen 0".split()
    drawn = ["--count", "40", "--image_px", "64", "--workers", "1", *none]
    assert generate.main(["--out", str(data), *drawn]) == 0
    options = ["--method", method, "--steps", "40", "--report_length", "40", "--lr", lr]
    given = arguments(data / "mimic_cxr", tmp_path / "run", *options, "--eval_every", "8")
    assert main(given) == 0
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    told = [json.loads(line).get("values", {}) for line in lines]
    seen = [values["val/loss_report"] for values in told if "val/loss_report" in values]
    assert seen[-1] < seen[0] - 0.5
    vocabulary = tokens.load_tokenizer(tmp_path / "run" / "tokenizer.json", 40)
    assert seen[-1] < np.log(vocabulary.get_vocab_size()) - 1
