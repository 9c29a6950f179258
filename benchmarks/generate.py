"""Are the generated radiographs fast to make, learnable, and not trivial? Prints all three.

`python benchmarks/generate.py` makes two sets in a temporary folder and prints, for pneumothorax
and for tuberculosis, the test AUROC of a logistic regression on raw 64 x 64 pixels (which should
stay near 0.5) and of a small convolutional network (which should not), on the sets' own
patient-disjoint lists. `--speed` prints images per second at 256, 512 and 1024 pixels instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.data import findings, generate, phantom, pictures, shenzhen, siim
from trainers.data.cases import Case
from trainers.data.transforms import read_image

PROBE_PX = 64
NETWORK_PX = 128


class Pixels(NamedTuple):
    """Pictures (N, P, P) in [0, 1] and labels (N,)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


def load(cases: Sequence[Case], px: int) -> Pixels:
    """Read and shrink the pictures of `cases`."""
    grey = [np.asarray(read_image(c.image).resize((px, px)), np.float32) / 255 for c in cases]
    return Pixels(np.stack(grey), np.array([c.labels[0] for c in cases]))


def probe_auroc(train: Pixels, val: Pixels, test: Pixels) -> float:
    """Return the test AUROC of logistic regression, its penalty chosen on `val`."""
    scale = StandardScaler().fit(train.x.reshape(len(train.x), -1))
    a, b, c = (scale.transform(p.x.reshape(len(p.x), -1)) for p in (train, val, test))
    best = (0.0, 0.5)
    for penalty in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        model = LogisticRegression(C=penalty, max_iter=300).fit(a, train.y)
        score = roc_auc_score(val.y, model.decision_function(b))
        best = max(best, (score, roc_auc_score(test.y, model.decision_function(c))))
    return float(best[1])


def network() -> nn.Module:
    """Return a small residual-free convolutional network with average and maximum pooling."""
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 48), (48, 64)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1, stride=2 if before == 1 else 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, _Pool(), nn.Linear(128, 1))


class _Pool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)


def network_auroc(train: Pixels, test: Pixels, *, steps: int, seed: int = 0) -> float:
    """Return the test AUROC of the network after `steps` of 32 pictures."""
    torch.manual_seed(seed)
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    x, y = _tensor(train.x), torch.from_numpy(train.y).float()
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 2e-3 * max(0.02, 1 - step / steps)
        pick = torch.randint(len(x), (32,))
        batch = x[pick]
        if torch.rand(()) < 0.5:
            batch = batch.flip(3)
        shift = torch.randint(-8, 9, (2,)).tolist()
        batch = batch.roll(shift, dims=(2, 3)) * (0.8 + 0.4 * torch.rand(len(batch), 1, 1, 1))
        loss = F.binary_cross_entropy_with_logits(model(batch)[:, 0], y[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        z = _tensor(test.x)
        scores = torch.cat([(model(part) + model(part.flip(3)))[:, 0] for part in z.split(64)])
    return float(roc_auc_score(test.y, scores.numpy()))


def _tensor(x: NDArray[np.float32]) -> Tensor:
    t = torch.from_numpy(x)[:, None]
    return (t - t.mean((2, 3), keepdim=True)) / (t.std((2, 3), keepdim=True) + 1e-3)


def learnability(folder: Path, steps: int) -> dict[str, tuple[float, float]]:
    """Return (probe, network) test AUROC by task for generated sets in `folder`."""
    found = {}
    for name, reader in (("siim", siim), ("shenzhen", shenzhen)):
        split = reader.read(folder / name, 100)
        small = [load(part, PROBE_PX) for part in (split.train, split.val, split.test)]
        large = [load(part, NETWORK_PX) for part in (split.train, split.test)]
        network_score = network_auroc(*large, steps=steps)
        found[name] = (probe_auroc(*small), network_score)
    return found


def speed(sizes: Sequence[int], workers: int) -> None:
    """Print pictures per second, start of the processes included."""
    print("| px | images | seconds | images/s | seconds per 1,000 |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for px in sizes:
        count = 1000 if px <= 256 else 300 if px <= 512 else 100
        parts = ("mimic", "nih", "siim", "rsna", "shenzhen")
        options = [o for p in parts for o in (f"--{p}", str(count // len(parts)))]
        with tempfile.TemporaryDirectory() as out:
            start = time.monotonic()
            more = ["--image_px", str(px), "--workers", str(workers), "--out", f"{out}/new"]
            generate.main([*options, *more])
            spent = time.monotonic() - start
            images = len(Path(out, "new", "drawn.jsonl").read_text().splitlines())
        rate = images / spent
        print(f"| {px} | {images} | {spent:.1f} | {rate:.1f} | {1000 / rate:.0f} |", flush=True)


def sheet(path: Path, *, each: int = 2, px: int = 200, columns: int = 8) -> None:
    """Write one picture with `each` examples of a healthy chest and of every finding."""
    names = ["No Finding", *findings.DRAW]
    cells = [(name, turn) for name in names for turn in range(each)]
    canvas = Image.new("L", (columns * px, -(-len(cells) // columns) * px))
    for place, (name, turn) in enumerate(cells):
        rng = np.random.default_rng([7, names.index(name), turn])
        found = () if name == "No Finding" else (findings.DRAW[name](rng),)
        body, view = phantom.draw_anatomy(rng), phantom.draw_view(rng)
        job = pictures.Job(path="", px=px, anatomy=body, view=view, findings=found)
        image = Image.fromarray(pictures.render(job).grey)
        draw = ImageDraw.Draw(image)
        said = " ".join(t for f in found for t in (f.size, f.side, f.zone, f.detail) if t)
        draw.rectangle((0, px - 15, px, px), fill=0)
        draw.text((4, px - 13), f"{name}  {said}", fill=255)
        canvas.paste(image, (place % columns * px, place // columns * px))
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.quantize(32).save(path, optimize=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=1500, help="pictures of each set")
    parser.add_argument("--steps", type=int, default=600, help="of 32 pictures, for each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, help="a generated folder to use instead of a new one")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of all findings there")
    args = parser.parse_args(argv)
    if args.sheet:
        sheet(args.sheet)
        return 0
    if args.speed:
        speed((256, 512, 1024), args.workers)
        return 0
    with tempfile.TemporaryDirectory() as out:
        folder = args.data or Path(out) / "data"
        if args.data is None:
            make = ["--out", str(folder), "--mimic", "0", "--nih", "0", "--rsna", "0", "--seed"]
            counts = ["--siim", str(args.count), "--shenzhen", str(args.count)]
            status = generate.main([*make, str(args.seed), *counts, "--workers", str(args.workers)])
            if status:
                return status
        print("| task | logistic regression on pixels | small network |\n| --- | ---: | ---: |")
        for name, (probe, net) in learnability(folder, args.steps).items():
            print(f"| {name} | {probe:.3f} | {net:.3f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
