"""How fast is a data set prepared, and how much faster does training then load it?

`python benchmarks/prepare.py` makes radiographs of 2000 x 2500 pixels as JPEG files in a temporary
folder, prepares them in each way, and loads training items (crop, mirror, report) from the
originals and from each copy, in turns and in one process. Loading is given as a ratio to decoding
the originals, which is what matters on any machine.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainers.data import prepare, records, tokens
from trainers.data.pairs import Pairs

WAYS = {
    "raw": (),
    "jpeg": ("--store", "jpeg"),
    "raw, draft": ("--draft",),
}
ROUNDS = 3


def make_originals(folder: Path, count: int, width: int, height: int) -> None:
    """Write `count` grey JPEGs with structure at every scale, and their table."""
    rng = np.random.default_rng(0)
    with (folder / "training.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image_path", "report_content"])
        for i in range(count):
            rough = Image.fromarray(rng.integers(0, 256, (25, 20), dtype=np.uint8))
            smooth = np.asarray(rough.resize((width, height), Image.Resampling.BICUBIC), np.int16)
            grey = np.clip(smooth + rng.integers(-6, 7, (height, width)), 0, 255).astype(np.uint8)
            Image.fromarray(grey).save(folder / f"{i}.jpg", quality=95)
            out.writerow([f"{i}.jpg", f"FINAL REPORT FINDINGS: Clear lungs {i}."])


def quietly(argv: Sequence[str]) -> None:
    """Prepare without a word; raises where it fails."""
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(said):
        if prepare.main(list(argv)):
            raise SystemExit(said.getvalue())


def loader(data: Path) -> Callable[[], int]:
    """Return what loads every training item of `data` once and says how many there are."""
    train = records.read_records(data).train
    tokenizer = tokens.train_tokenizer([record.report for record in train], 200)
    pairs = Pairs(train, tokenizer, px=448, length=100, patches=196, word_mask_ratio=0.5,
                  hflip="on", train=True)  # fmt: skip

    def load() -> int:
        for index in range(len(pairs)):
            pairs.item(index, np.random.default_rng(index))
        return len(pairs)

    return load


def rate(work: Callable[[], int]) -> float:
    """Return items per second of this process's own time, so that others at work count less."""
    start = time.process_time()
    return work() / (time.process_time() - start)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=48, help="radiographs")
    parser.add_argument("--width", type=int, default=2000)
    parser.add_argument("--height", type=int, default=2500)
    parser.add_argument("--jobs", type=int, default=1, help="processes that prepare")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "source"
        source.mkdir()
        make_originals(source, args.count, args.width, args.height)
        mean = sum(p.stat().st_size for p in source.glob("*.jpg")) / args.count / 1e6
        print(f"{args.count} JPEGs of {args.width} x {args.height}, {mean:.2f} MB each\n")
        print("| preparing | images/s | kB an image |\n| --- | ---: | ---: |")
        copies = {}
        for name, more in WAYS.items():
            copies[name] = Path(place) / name
            given = ["--data_path", str(source), "--into", str(copies[name]), "--vocab_size", "200"]
            start = time.perf_counter()
            quietly([*given, "--jobs", str(args.jobs), "--shard_images", "16", *more])
            spent = time.perf_counter() - start
            size = sum(p.stat().st_size for p in copies[name].glob("images-*"))
            print(f"| {name} | {args.count / spent:.1f} | {size / args.count / 1e3:.0f} |")
        loaders = {"originals": loader(source)}
        loaders |= {name: loader(copy) for name, copy in copies.items()}
        turns = [{name: rate(load) for name, load in loaders.items()} for _ in range(ROUNDS)]
        best = {name: max(turn[name] for turn in turns) for name in loaders}
        print("\n| loading from | items/s | ratio to originals |\n| --- | ---: | ---: |")
        for name, found in best.items():
            print(f"| {name} | {found:.1f} | {found / best['originals']:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
