"""What every method of the catalog promises; a new one is held to it the day it is added."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from trainers import catalog, checkpoints, loop, pretrain, weights
from trainers.config import resolve
from trainers.data import generate, tokens
from trainers.data import records as record_lists
from trainers.data.batch import Seeded, collate

METHODS = [name for name in pretrain.pretrainable() if name == catalog.base_of(name)]
VARIANTS = [n for n, entry in catalog.METHODS.items() if entry.base and not entry.teacher]
SMALL = {"image_px": 32, "depth": 3, "image_encoder": "vit"}
STEADY = "bert_dropout", "decoder_dropout", "encoder_dropout"
STEPS = 12


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated radiographs with reports, several views a study."""
    root = tmp_path_factory.mktemp("generated")
    others = set(generate.COLLECTIONS) - {"mimic_cxr", "mimic"}
    few = [word for name in sorted(others) for word in (f"--{name}", "0")]
    line = ["--out", str(root), "--count", "48", "--image_px", "64", "--workers", "1", *few]
    assert generate.main(line) == 0
    return root / "mimic_cxr"


def settings(method: str) -> dict[str, object]:
    """Return small sizes, as far as a method has them."""
    fields = pretrain.method_module(method).Config.__dataclass_fields__
    small = {**SMALL, "tap_blocks": "1,2"}
    return {name: value for name, value in small.items() if name in fields}


def options(method: str, records: Path, folder: Path, *more: str) -> list[str]:
    words = [f"--{name}={value}" for name, value in settings(method).items()]
    return [
        "--method", method, "--preset", "quick", "--data_path", str(records),
        "--output_dir", str(folder), "--device", "cpu", "--threads", "1", "--log_every", "1",
        "--steps", str(STEPS), "--epochs", "0", "--warmup_epochs", "0", "--vocab_size", "300",
        *words, *more,
    ]  # fmt: skip


def losses(folder: Path) -> dict[int, float]:
    """Return the training losses by step, the later attempt's where two logged one."""
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    logged = [e for e in events if "train/loss" in e.get("values", {})]
    return {event["step"]: event["values"]["train/loss"] for event in logged}


def test_every_name_has_its_file_and_every_file_its_name() -> None:
    folder = Path(pretrain.__file__).parent / "methods"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "baselines"}
    assert files == set(METHODS)
    tasks = {path.stem for path in (folder.parent / "tasks").glob("*.py")} - {"__init__"}
    assert tasks == set(catalog.main_tasks())


@pytest.mark.parametrize("method", [*METHODS, *VARIANTS])
def test_two_steps_have_finite_losses_and_reach_every_part_of_the_encoder(
    method: str, records: Path, tmp_path: Path
) -> None:
    argv = options(method, records, tmp_path)
    method_config = pretrain.configure(argv).configs[-1]
    module = pretrain.method_module(method)
    found = record_lists.read_records(records)
    tokenizer, vocab_size = None, 0
    if pretrain.reads_reports(module):
        kept = tmp_path / "tokenizer.json"
        tokens.train_tokenizer([r.report for r in found.train], 300).save(str(kept))
        tokenizer = pretrain.read_tokenizer(module, method_config, kept)
        vocab_size = tokenizer.get_vocab_size()
    torch.manual_seed(0)
    model = module.Method(method_config, vocab_size=vocab_size)
    items = Seeded(module.items(method_config, found.train, tokenizer, train=True), 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for step in range(2):
        batch = collate([items[0, 4 * step + i] for i in range(4)])
        assert not batch.pop("skipped")
        parts = model(batch)
        assert all(torch.isfinite(value).all() for value in parts.values())
        optimizer.zero_grad()
        sum(v for k, v in parts.items() if not k.startswith("monitor/")).backward()
        for name, parameter in model.encoder.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert torch.isfinite(parameter.grad).all(), name
        optimizer.step()
    assert any(parameter.grad.abs().sum() > 0 for parameter in model.encoder.parameters()
               if parameter.requires_grad)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_the_saved_encoder_loads_into_a_plain_network_of_timm(
    method: str, records: Path, tmp_path: Path
) -> None:
    assert pretrain.main(options(method, records, tmp_path, "--steps", "2")) == 0
    content = checkpoints.load(tmp_path / checkpoints.ENCODER)
    size = content["size"]
    plain: nn.Module = timm.models.VisionTransformer(
        img_size=size["image_px"], patch_size=size["patch_px"], embed_dim=size["embed_dim"],
        depth=size["depth"], num_heads=size["num_heads"], num_classes=0, global_pool="",
    )  # fmt: skip
    assert plain.load_state_dict(content["model"], strict=True)
    state, _, report = weights.load_encoder(tmp_path / checkpoints.ENCODER)
    assert report.kind == "cxrlab"
    assert not report.missing
    assert all(torch.equal(content["model"][name], state[name]) for name in state)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_pretraining_cut_at_any_step_ends_with_the_same_weights_bit_for_bit(
    method: str, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert pretrain.main(options(method, records, whole)) == 0
    at = 1 + zlib.crc32(method.encode()) % (STEPS - 1)
    update = loop.Trainer._update

    def interrupted(self: loop.Trainer, *given: object) -> None:
        update(self, *given)
        if self.step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(loop.Trainer, "_update", interrupted)
        assert pretrain.main(options(method, records, cut)) == 143
    torch.manual_seed(999)  # what the process did before must not matter
    last = str(cut / checkpoints.LAST)
    assert pretrain.main(options(method, records, cut, "--resume", last)) == 0
    assert losses(cut) == losses(whole)
    theirs, ours = (checkpoints.load(folder / checkpoints.LAST) for folder in (whole, cut))
    for name, value in theirs["model"].items():
        assert torch.equal(value, ours["model"][name]), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        # half a minute a method: one of each kind always, the others by `-m long`
        name if name in ("mrm", "convirt", "refers") else pytest.param(name, marks=pytest.mark.long)
        for name in METHODS
    ],
)
def test_two_processes_train_as_one_with_the_doubled_batch(
    method: str, records: Path, tmp_path: Path
) -> None:
    fields = pretrain.method_module(method).Config.__dataclass_fields__
    steady = [f"--{name}=0" for name in STEADY if name in fields]
    if "mlm_positions" in fields:
        steady.append("--mlm_positions=masked")  # of which the two shares have different numbers
    more = [*steady, "--steps", "20", "--num_workers", "0", "--vocab_size", "1000"]
    one = options(method, records, tmp_path / "one", *more, "--batch_size", "8")
    assert pretrain.main(one) == 0
    two = options(method, records, tmp_path / "two", *more, "--batch_size", "4")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    ended = subprocess.run(
        [sys.executable, *launcher, "-m", "trainers.pretrain", *two],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


def test_presets_differ_in_nothing_but_settings_that_exist() -> None:
    for method in METHODS:
        module = pretrain.method_module(method)
        known = {
            name
            for cls in (pretrain.Config, loop.Training, module.Config)
            for name in cls.__dataclass_fields__
        }
        for preset in module.PRESETS.values():
            assert set(preset) <= known
            resolve([pretrain.Config, loop.Training, module.Config], preset=preset, given={})
