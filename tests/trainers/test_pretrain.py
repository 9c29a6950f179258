"""The pre-training program as a person runs it: alone, under torchrun, killed, resumed."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers import checkpoints, finetune, weights
from trainers.config import ConfigError, MissingError
from trainers.pretrain import configure, main

TINY = (
    "--preset quick --image_px 32 --patch_px 8 --embed_dim 24 --num_heads 2 --depth 12 "
    "--decoder_dim 16 --decoder_depth 1 --bert_dim 16 --bert_depth 1 --bert_heads 2 "
    "--report_length 16 --vocab_size 200 --device cpu --threads 1 --log_every 1 --warmup_epochs 0"
).split()
DEEP = "--aux_dim 16 --aux_depth 1 --aux_heads 2".split()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 small pictures with reports in MRM's form."""
    root = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    words = "no focal consolidation small left pleural effusion heart size is normal".split()
    with (root / "training.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "report_content"])
        for i in range(40):
            Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(root / f"{i}.png")
            writer.writerow([f"{i}.png", "FINAL REPORT " + " ".join(rng.choice(words, 8)) + " ."])
    return root


def losses(folder: Path) -> list[float]:
    """Return the training losses by step, the later attempt's where two logged one."""
    found: dict[int, float] = {}
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "metrics" and "train/loss" in event["values"]:
            found[event["step"]] = event["values"]["train/loss"]
    return [found[step] for step in sorted(found)]


def arguments(records: Path, folder: Path, *more: str) -> list[str]:
    return ["--data_path", str(records), "--output_dir", str(folder), *TINY, *more]


@pytest.mark.parametrize("method", ["mrm", "deep_mrm"])
def test_a_pretraining_leaves_everything_the_contract_names(
    records: Path, tmp_path: Path, method: str
) -> None:
    more = DEEP if method == "deep_mrm" else []
    options = ["--method", method, "--steps", "6", "--batch_size", "8", *more]
    assert main(arguments(records, tmp_path, *options)) == 0
    for name in ("config.json", "command.txt", "events.jsonl", "result.json", "provenance.json",
                 "checkpoints/last.pt", "checkpoints/encoder.pt"):  # fmt: skip
        assert (tmp_path / name).is_file(), name
    result = json.loads((tmp_path / "result.json").read_text())
    encoder = tmp_path / "checkpoints/encoder.pt"
    assert result["checkpoint_sha256"] == checkpoints.sha256(encoder)
    parts = [v for k, v in result["values"].items() if k in ("val/loss_image", "val/loss_report")]
    assert all(np.isfinite(parts))
    assert len(parts) == 2
    state, size, _ = weights.load_encoder(encoder)
    assert (size.embed_dim, size.depth) == (24, 12)
    assert state["blocks.11.norm2.weight"].shape == (24,)


def test_the_printed_configuration_is_accepted_and_prints_the_same_again(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(records, tmp_path), "--print-config"]) == 0
    first = capsys.readouterr().out
    (tmp_path / "c.json").write_text(first)
    assert main(["--config", str(tmp_path / "c.json"), "--print-config"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(first)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--method", "mrmm"], 3, "no method is called `mrmm`"),
        (["--mask_ratio", "1.5"], 2, "mask_ratio"),
        (["--batch_size", "0"], 2, "batch_size"),
        (["--no_such_thing", "1"], 2, "no_such_thing"),
        (["--data_path", "/nowhere"], 3, "/nowhere"),
        (["--pretrained", "/nowhere.pth"], 3, "/nowhere.pth"),
    ],
)
def test_what_cannot_work_is_said_in_one_line_with_its_exit_code(
    records: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    says: str,
) -> None:
    assert main(arguments(records, tmp_path / "run", *options)) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last


def test_a_folder_that_holds_a_training_is_not_overwritten(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = arguments(records, tmp_path, "--steps", "2", "--batch_size", "8")
    assert main(options) == 0
    before = checkpoints.sha256(tmp_path / checkpoints.LAST)
    assert main(options) == 2
    assert "--resume" in capsys.readouterr().err
    assert checkpoints.sha256(tmp_path / checkpoints.LAST) == before


@pytest.mark.slow
def test_a_killed_pretraining_resumes_to_the_same_weights_bit_for_bit(
    records: Path, tmp_path: Path, cut: Callable[..., int]
) -> None:
    options = ["--method", "mrm", "--steps", "40", "--batch_size", "8", "--save_every_s", "0.05"]
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert main(arguments(records, whole, *options)) == 0
    assert cut(arguments(records, torn, *options), 15, signal.SIGKILL) == -signal.SIGKILL
    last = str(torn / checkpoints.LAST)
    assert main(arguments(records, torn, *options, "--resume", last)) == 0
    assert losses(torn) == losses(whole)
    theirs, ours = (checkpoints.load(f / checkpoints.LAST)["model"] for f in (whole, torn))
    for name, value in theirs.items():
        assert torch.equal(value, ours[name]), name


def test_the_notebooks_own_options_run_unchanged(records: Path, tmp_path: Path) -> None:
    """The options of the lab's launch line, with MAE's weights in their published layout."""
    mae = tmp_path / "mae_pretrain_vit_base.pth"
    source = tmp_path / "source"
    wide = ["--embed_dim", "64", "--num_heads", "1"]  # published files say 64 a head
    assert main(arguments(records, source, "--steps", "1", "--batch_size", "8", *wide)) == 0
    state, _, _ = weights.load_encoder(source / checkpoints.ENCODER)
    torch.save({"model": state}, mae)
    shutil.rmtree(source)
    line = (
        "--num_workers 2 --accum_iter 2 --batch_size 4 --model mrm --norm_pix_loss "
        f"--mask_ratio 0.75 --epochs 1 --warmup_epochs 40 --blr 3e-4 --weight_decay 0.05 "
        f"--resume {mae} --data_path {records} --output_dir {tmp_path / 'work_dir'}"
    )
    small = TINY[: TINY.index("--warmup_epochs")]
    assert main([*small, *wide, *line.split()]) == 0
    config = json.loads((tmp_path / "work_dir" / "config.json").read_text())
    assert config["pretrained"] == str(mae)
    result = json.loads((tmp_path / "work_dir" / "result.json").read_text())
    assert result["encoder"]["sha256"] == checkpoints.sha256(mae)


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "convirt"],
        ["--method", "refers"],
        ["--method", "mrm+infonce"],
        ["--method", "mrm", "--contrast", "infonce"],
    ],
)
def test_micro_batches_whose_records_are_compared_are_not_cut(options: list[str]) -> None:
    given = ["--preset", "quick", "--batch_size", "16", "--micro_batch", "8"]
    with pytest.raises(ConfigError, match="compares the records of a micro-batch"):
        configure([*options, *given])


def test_what_a_micro_batch_holds_is_no_part_of_the_recipe() -> None:
    line = ["--method", "mrm", "--preset", "quick", "--batch_size", "16"]
    cut = configure([*line, "--micro_batch", "8"]).flat
    assert cut["recipe"] == configure(line).flat["recipe"]
    assert cut["micro_batch"] == 8


def test_encoders_kept_on_the_way_are_whole_and_change_nothing(
    records: Path, tmp_path: Path
) -> None:
    ways = {name: tmp_path / name for name in ("kept", "plain")}
    options = ["--method", "mrm", "--epochs", "3", "--batch_size", "16"]
    assert main(arguments(records, ways["plain"], *options)) == 0
    assert main(arguments(records, ways["kept"], *options, "--keep_every", "1")) == 0
    assert losses(ways["kept"]) == losses(ways["plain"])
    lines = map(json.loads, (ways["kept"] / "events.jsonl").read_text().splitlines())
    said = [e for e in lines if e["kind"] == "checkpoint" and e["kind_of"] == "epoch"]
    # the third is `encoder.pt`
    assert [e["path"] for e in said] == ["checkpoints/epoch_1.pt", "checkpoints/epoch_2.pt"]
    folder = ways["kept"] / "checkpoints"
    assert {path.name for path in folder.glob("epoch_*")} == {"epoch_1.pt", "epoch_2.pt"}
    states = []
    for event in said:
        path = ways["kept"] / event["path"]
        assert event["sha256"] == checkpoints.sha256(path)
        assert checkpoints.load(path)["step"] == event["step"]
        states.append(weights.load_encoder(path)[0]["blocks.11.norm2.weight"])
    assert not states[0].equal(states[1])
    # each is another encoder, so that what is fine-tuned from it is no repeat of the rest
    names = ("epoch_1.pt", "epoch_2.pt", "encoder.pt")
    assert len({recipe_from(folder / name) for name in names}) == 3


def recipe_from(start: Path) -> str:
    asked = ["--task", "shenzhen", "--method", "mrm", "--preset", "quick"]
    return str(finetune.configure([*asked, "--pretrained", str(start)]).flat["recipe"])


def test_a_tokenizer_and_a_table_of_conditions_that_are_given_are_part_of_the_recipe(
    tmp_path: Path,
) -> None:
    line = ["--method", "mrm+conditional", "--preset", "quick", "--data_path", str(tmp_path)]
    line += ["--condition", "labels"]
    base = configure(line).flat
    assert base["tokenizer_sha256"] == ""
    for name in ("tokenizer", "condition_table"):
        recipes = {base["recipe"]}
        for content in ("one", "another"):
            file = tmp_path / f"{name}.txt"
            file.write_text(content)
            found = configure([*line, f"--{name}", str(file)]).flat
            assert len(found[f"{name}_sha256"]) == 64
            recipes.add(found["recipe"])
        assert len(recipes) == 3
        file.unlink()
        with pytest.raises(MissingError, match=f"`{name}`: .* does not exist"):
            configure([*line, f"--{name}", str(file)])
