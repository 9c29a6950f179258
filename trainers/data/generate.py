"""Program: makes radiographs with reports, labels, masks and boxes, in the real sets' layouts.

`python -P -m trainers.data.generate --out DIR` writes `DIR/mimic_cxr`, `nih`, `siim`, `rsna` and
`shenzhen`, and `covid` if it is asked for. Every file follows from the seed, the counts and the
size alone, whatever the number of processes. What was drawn where stands in `DIR/drawn.jsonl`, the
settings in `DIR/generated.json`, which is written last: a folder without it is unfinished.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from trainers.data import covid_layout, layouts
from trainers.data.layouts import Collection
from trainers.data.pictures import Drawn, Job, draw

VERSION = 1
"""Raised when the same settings begin to give other files."""
SETTINGS = "generated.json"
COLLECTIONS = {
    **layouts.COLLECTIONS,
    "covid": Collection("covid", 0.0, covid_layout.plan, covid_layout.write),
}
FEWEST = 12
"""Pictures of a set that is made at all, however few there are to pre-train on."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m trainers.data.generate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; new or empty")
    parser.add_argument("--count", type=int, default=1000, help="MIMIC-like training pairs")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--image_px", "--image-px", type=int, default=256, help="side of a picture")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--json-progress", "--json_progress", action="store_true",
                        help="tell it in JSON lines on stdout, not on stderr")  # fmt: skip
    for name, collection in COLLECTIONS.items():
        usual = f"{collection.share:g} x count; 0: none" if collection.share else "0, none"
        about = f"pictures in {collection.folder}/ (default: {usual})"
        parser.add_argument(f"--{name}", type=int, metavar="N", help=about)
    args = parser.parse_args(argv)
    low = {"count": 1, "seed": 0, "image_px": 64, "workers": 1}
    for name, least in low.items():
        if getattr(args, name) < least:
            parser.error(f"`{name}` is {getattr(args, name)}; expected {least} or more")
    for name, collection in COLLECTIONS.items():
        if getattr(args, name) is None:
            wanted = max(FEWEST, round(args.count * collection.share)) if collection.share else 0
            setattr(args, name, wanted)
        if getattr(args, name) < 0:
            parser.error(f"`{name}` is {getattr(args, name)}; expected 0 or more")
    return args


def _drawn(jobs: list[tuple[Job, Path]], workers: int) -> Iterator[Drawn]:
    """Draw here or in `workers` processes; answers come in the order of the jobs."""
    if workers == 1 or len(jobs) < 2:
        yield from (draw(job, folder) for job, folder in jobs)
        return
    # a fresh interpreter each: nothing of the caller's threads or generators is copied
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw, *zip(*jobs, strict=True), chunksize=8)


class _Progress:
    """Tells how far it is, twice a second at most."""

    def __init__(self, total: int, *, as_json: bool) -> None:
        self.total, self.as_json = total, as_json
        self.start, self.last = time.monotonic(), 0.0

    def tell(self, done: int, name: str) -> None:
        now = time.monotonic()
        if now - self.last < 0.5 and done < self.total:
            return
        self.last, spent = now, now - self.start
        eta = spent * (self.total - done) / max(done, 1)
        if self.as_json:
            told = {"kind": "progress", "done": done, "total": self.total, "set": name,
                    "eta_s": round(eta, 1)}  # fmt: skip
            print(json.dumps(told), flush=True)
        elif sys.stderr.isatty() or done == self.total:
            print(f"\r{done}/{self.total} pictures, {eta:.0f} s left ", end="", file=sys.stderr)
            if done == self.total:
                print(file=sys.stderr)


def _refuse(out: Path, settings: dict[str, Any]) -> int | None:
    """Return an exit code if there is nothing to do, or nothing may be done."""
    if out.exists() and not out.is_dir():
        print(f"error: {out} is not a folder", file=sys.stderr)
        return 2
    if not out.is_dir() or not any(out.iterdir()):
        return None
    known = out / SETTINGS
    none = dict.fromkeys(COLLECTIONS, 0)  # an earlier version knew fewer sets
    if known.is_file() and none | json.loads(known.read_text())["settings"] == settings:
        print(f"{out} already holds what these settings give", file=sys.stderr)
        return 0
    print(f"error: {out} is not empty", file=sys.stderr)
    print("hint: name a new folder, or remove this one first", file=sys.stderr)
    return 2


def _tell_drawn(name: str, job: Job, seen: Drawn) -> str:
    told = {
        "set": name,
        "image": job.path,
        "split": job.split,
        "findings": [asdict(f) for f in job.findings],
        "devices": job.worn,
        "boxes": seen.boxes,
        "anatomy": asdict(job.anatomy),
        "view": asdict(job.view),
    }
    return json.dumps(told)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the collections; return the exit code."""
    args = _parse(argv)
    counts = {name: getattr(args, name) for name in COLLECTIONS}
    settings = {"version": VERSION, "seed": args.seed, "image_px": args.image_px, **counts}
    refused = _refuse(args.out, settings)
    if refused is not None:
        return refused
    start = time.monotonic()
    plans = {
        name: collection.plan(args.seed, counts[name], args.image_px)
        for name, collection in COLLECTIONS.items()
        if counts[name]
    }
    jobs = [(name, job) for name, plan in plans.items() for job in plan]
    progress = _Progress(len(jobs), as_json=args.json_progress)
    seen: dict[str, list[Drawn]] = {name: [] for name in plans}
    placed = [(job, args.out / COLLECTIONS[name].folder) for name, job in jobs]
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "drawn.jsonl").open("w", encoding="utf-8") as record:
        answers = _drawn(placed, args.workers)
        for done, ((name, job), one) in enumerate(zip(jobs, answers, strict=True), 1):
            seen[name].append(one)
            record.write(_tell_drawn(name, job, one) + "\n")
            progress.tell(done, name)
    for name, plan in plans.items():
        folder = args.out / COLLECTIONS[name].folder
        COLLECTIONS[name].write(folder, plan, seen[name], args.seed)
    images = {COLLECTIONS[name].folder: len(plan) for name, plan in plans.items()}
    told = {"settings": settings, "images": images}
    unfinished = args.out / f"{SETTINGS}.tmp"
    unfinished.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(args.out / SETTINGS)
    if args.json_progress:
        spent = round(time.monotonic() - start, 1)
        print(json.dumps({"kind": "end", "out": str(args.out), "images": images, "seconds": spent}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
