"""How many radiographs a second does each method pre-train on, and how much of that is waiting?

    python benchmarks/pretrain.py                        # quick sizes, on a CPU
    python benchmarks/pretrain.py --preset paper --batch_size 256 --num_workers 14 --compile

Each method is trained by the real program on generated radiographs, loading included. Beside them
stands a bare MAE step of the same run: the same encoder on a batch that lies on the device already,
with nothing around it. On a GPU the model FLOP/s utilisation is told too: the floating-point
operations of forward and backward, as torch counts them, over what the card can do in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainers import catalog, optim, pretrain
from trainers.data import generate
from trainers.data import records as record_lists
from trainers.data.batch import Seeded, collate
from trainers.loop import autocast, pick_device, to_device
from trainers.methods import mae
from trainers.training import Training

WAIT_GOAL = 0.02
"""The share of a step that may be spent waiting for data."""

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 operations a second. Source: NVIDIA's data sheets (SXM)."""

SKIPPED_LINES = 2
"""Metric lines at the start that hold compilation, cuDNN's choices and cold workers."""


class Speed(NamedTuple):
    """What was measured of one method."""

    images_per_s: float
    data_wait: float
    """Share of the time, in [0, 1]."""


def main() -> int:
    """Measure every method; return 1 where data are waited for longer than the goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--methods", nargs="*", default=default_methods())
    parser.add_argument("--preset", default="quick", choices=("quick", "paper"))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--num_workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="", help="default: bf16 on a GPU, else fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--count", type=int, default=400, help="radiographs to draw")
    parser.add_argument("--image_px", type=int, default=0, help="their side; default: the crop's")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    device = pick_device(given.device)
    precision = given.precision or ("bf16" if device.type == "cuda" else "fp32")
    given.image_px = given.image_px or (512 if given.preset == "paper" else 128)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw(root / "data", count=given.count, image_px=given.image_px)
        bare = bare_mae(given.preset, given.batch_size, device, precision, steps=given.steps)
        found = {
            name: trained(name, root / "data" / "mimic_cxr", root / name, given, precision)
            for name in given.methods
        }
        flops = {
            name: flops_per_image(name, root / "data" / "mimic_cxr", root / name, given.preset)
            for name in given.methods
        }
    told = tell(found, flops, bare, device)
    if given.json:
        print(json.dumps({"bare_mae": bare, "methods": told}, indent=2))
    return 0 if all(speed.data_wait < WAIT_GOAL for speed in found.values()) else 1


def default_methods() -> list[str]:
    """Return the methods that are pre-trained, no variants among them."""
    return [name for name in pretrain.pretrainable() if name == catalog.base_of(name)]


def draw(folder: Path, *, count: int, image_px: int) -> None:
    """Generate radiographs with reports, and nothing else."""
    others = set(generate.COLLECTIONS) - {"mimic_cxr", "mimic"}
    none = [word for name in sorted(others) for word in (f"--{name}", "0")]
    line = ["--out", str(folder), "--count", str(count), "--image_px", str(image_px), *none]
    if generate.main(line) != 0:
        raise SystemExit(1)


def trained(name: str, data: Path, folder: Path, given: Any, precision: str) -> Speed:
    """Train a method by the real program, and return the medians of what it logged."""
    line = [
        "--method", name, "--preset", given.preset, "--data_path", str(data),
        "--output_dir", str(folder), "--steps", str(given.steps), "--epochs", "0",
        "--batch_size", str(given.batch_size), "--accum_iter", "1",
        "--num_workers", str(given.num_workers), "--device", given.device,
        "--precision", precision, "--log_every", str(max(given.steps // 10, 1)),
        "--eval_every", str(given.steps), "--save_every_s", "1e9",
        *(["--compile"] if given.compile else []),
    ]  # fmt: skip
    if pretrain.main(line) != 0:
        raise SystemExit(f"{name} could not be trained")
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    lines = [e["values"] for e in events if "perf/images_per_s" in e.get("values", {})]
    kept = lines[SKIPPED_LINES:]
    return Speed(*(statistics.median(v[f"perf/{k}"] for v in kept) for k in Speed._fields))


def bare_mae(
    preset: str, batch_size: int, device: torch.device, precision: str, *, steps: int
) -> float:
    """Return the images a second of an MAE step on a batch that is there already."""
    own = {k: v for k, v in mae.PRESETS[preset].items() if k in mae.Config.__dataclass_fields__}
    config = mae.Config(**own)
    model = mae.Method(config, vocab_size=0).to(device)
    groups = optim.parameter_groups(model, weight_decay=0.05, layer_decay=1.0, depth=config.depth)
    optimizer = optim.build_optimizer(
        "adamw", groups, betas=(0.9, 0.95), momentum=0.0, device=device
    )
    training = Training(epochs=1, precision=precision)
    side = config.image_px
    batch = {
        "image": torch.randn(batch_size, 3, side, side, device=device),
        "noise": torch.rand(batch_size, (side // config.patch_px) ** 2, device=device),
    }

    def step() -> None:
        with autocast(training, device):
            parts = model(batch)
        sum(v for k, v in parts.items() if not k.startswith("monitor/")).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(3):
        step()
    settle(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    settle(device)
    return batch_size * steps / (time.perf_counter() - began)


def settle(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def flops_per_image(name: str, data: Path, folder: Path, preset: str) -> float:
    """Return the operations of forward and backward for one item, as torch counts them."""
    line = ["--method", name, "--preset", preset, "--data_path", str(data)]
    method_config = pretrain.configure([*line, "--output_dir", str(folder)]).configs[-1]
    module = pretrain.method_module(name)
    tokenizer, vocab_size = None, 0
    if pretrain.reads_reports(module):
        kept = next(iter(folder.glob("tokenizer.*")))
        tokenizer = pretrain.read_tokenizer(module, method_config, kept)
        vocab_size = tokenizer.get_vocab_size()
    records = record_lists.read_records(data).train[:16]
    items = Seeded(module.items(method_config, records, tokenizer, train=True), 0)
    count = min(4, len(items))
    batch = to_device(collate([items[0, i] for i in range(count)]), torch.device("cpu"))
    model = module.Method(method_config, vocab_size=vocab_size)
    with FlopCounterMode(display=False) as counter:
        parts = model(batch)
        sum(v for k, v in parts.items() if not k.startswith("monitor/")).backward()
    return counter.get_total_flops() / count


def tell(
    found: dict[str, Speed], flops: dict[str, float], bare: float, device: torch.device
) -> dict[str, dict[str, float]]:
    """Print a line for each method, and return what stands in it."""
    card = torch.cuda.get_device_name() if device.type == "cuda" else ""
    peak = next((value for name, value in PEAK_FLOPS.items() if name in card), None)
    print(f"{card or 'CPU'}, {torch.get_num_threads()} threads; bare MAE step {bare:.1f} images/s")
    print(f"{'method':14}{'images/s':>10}{'to bare MAE':>13}{'waiting':>9}{'GFLOP/image':>13}  MFU")
    told = {}
    for name, speed in found.items():
        row = {
            "images_per_s": speed.images_per_s,
            "to_bare_mae": speed.images_per_s / bare,
            "data_wait": speed.data_wait,
            "gflop_per_image": flops[name] / 1e9,
        }
        share = ""
        if peak:
            row["mfu"] = speed.images_per_s * flops[name] / peak
            share = f"{row['mfu']:.1%}"
        print(
            f"{name:14}{row['images_per_s']:10.1f}{row['to_bare_mae']:13.2f}"
            f"{row['data_wait']:9.1%}{row['gflop_per_image']:13.2f}  {share or '-'}"
        )
        told[name] = row
    return told


if __name__ == "__main__":
    sys.exit(main())
