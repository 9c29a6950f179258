"""Program: is a data set's folder what training needs, and does no image leak between its splits?

`python -P -m trainers.data.check --dataset NAME --data_path DIR [--kept FILE] [--json]`

Every image is opened and decoded in full, by two processes. What is wrong with a file, and an image
or patient that two splits share, is a fault and ends with 1; images that merely look alike are
noted. 3: something is not there. 4: a table or list cannot be read as what it should be.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import signal
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from trainers.catalog import DATASETS
from trainers.config import InputError, MissingError
from trainers.data import cases, fingerprint, kept, likeness
from trainers.data.cases import Case
from trainers.data.inventory import READERS, Fault, Inventory
from trainers.data.items import BadItem
from trainers.data.transforms import read_image

PROGRESS_S = 2.0


class Look(NamedTuple):
    """What opening one image and its mask told."""

    name: str
    faults: tuple[Fault, ...]
    size: tuple[int, int] | None = None
    pixels: bytes = b""
    """Digest of the decoded pixels; empty when there is nothing to compare."""
    hash: bytes = b""
    mask_share: float | None = None


def look(case: Case) -> Look:
    """Open the image of `case`, and its mask where it has one."""
    try:
        image = read_image(case.image)
    except BadItem as bad:
        return Look(case.name, (Fault(bad.path, bad.reason),))
    low, high = image.getextrema()
    if low == high:
        message = f"shows nothing: every pixel is {low}"
        return Look(case.name, (Fault(str(case.image), message),), image.size)
    digest = hashlib.blake2b(image.tobytes(), digest_size=16, key=repr(image.size).encode())
    seen = Look(case.name, (), image.size, digest.digest(), likeness.difference_hash(image))
    if case.mask is None:
        return seen
    try:
        return seen._replace(mask_share=float(cases.read_mask(case, image.size).mean()))
    except BadItem as bad:
        return seen._replace(faults=(Fault(bad.path, bad.reason),))


def check(
    dataset: str, root: Path, *, processes: int = 2, remember: Path | None = None
) -> dict[str, Any]:
    """Return the report on `root`: dataset, root, facts, faults and notes; JSON.

    Args:
        dataset: its name in the catalog.
        root: its folder.
        processes: that open images.
        remember: where to write the hashes of its images; see `kept`.

    Raises:
        MissingError: the folder or something it must hold is not there.
        InputError: a table or list cannot be read.
    """
    if not root.exists():
        raise MissingError(f"{root} does not exist")
    listing = READERS[dataset](root)
    if "fingerprint" not in listing.facts:
        listing.facts["fingerprint"] = _fingerprint(listing)
    looks = {seen.name: seen for seen in look_at_all(listing.images.values(), processes)}
    if remember is not None:
        seen = {name: kept.Hashes(one.pixels, one.hash) for name, one in looks.items() if one.hash}
        kept.write(remember, {listing.images[name].image: one for name, one in seen.items()})
    listing.faults.extend(fault for seen in looks.values() for fault in seen.faults)
    listing.facts |= _image_facts(looks.values())
    _compare_parts(listing, root)
    _compare_pixels(listing, looks)
    return {
        "dataset": dataset,
        "root": str(root),
        "facts": listing.facts,
        "faults": [fault._asdict() for fault in listing.faults],
        "notes": listing.notes,
    }


def _fingerprint(listing: Inventory) -> str:
    """Return one digest over table, images, masks, labels and splits; files count by their size."""
    parts: dict[str, set[str]] = {}
    for part, names in listing.parts.items():
        for name in names:
            parts.setdefault(name, set()).add(part)
    images = list(listing.images.values())
    sizes = fingerprint.file_sizes([case.image for case in images])
    rows = [
        (
            case.name,
            str(size),
            _mask_told(case),
            " ".join(map(str, case.labels)),
            " ".join(sorted(parts.get(case.name, ()))),
        )
        for case, size in zip(images, sizes, strict=True)
    ]
    return fingerprint.of_rows([*rows, ("table", str(listing.facts.get("sha256", "")))])


def _mask_told(case: Case) -> str:
    if isinstance(case.mask, Path):
        return str(fingerprint.file_sizes([case.mask])[0])
    return "" if case.mask is None else fingerprint.of_text(" | ".join(case.mask))


def look_at_all(images: Iterable[Case], processes: int) -> Iterator[Look]:
    """Open the images of all cases, and yield what was seen as it comes; progress to stderr."""
    todo = sorted(images, key=lambda case: str(case.image))
    # a fork need not import torch a second time; nothing here has started a thread
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    began = said = time.monotonic()
    # an interrupt goes to the whole group; only this process answers it
    quiet = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
    with multiprocessing.get_context(method).Pool(processes, **quiet) as pool:
        for done, seen in enumerate(pool.imap(look, todo, chunksize=8), 1):
            yield seen
            now = time.monotonic()
            if now - said >= PROGRESS_S or done == len(todo):
                said, rate = now, done / max(now - began, 1e-6)
                left = (len(todo) - done) / rate
                print(
                    f"opened {done} of {len(todo)} images, {rate:.0f} a second, {left:.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )


def _image_facts(looks: Iterable[Look]) -> dict[str, Any]:
    opened = [seen for seen in looks if seen.size is not None]
    widths, heights = [s.size[0] for s in opened if s.size], [s.size[1] for s in opened if s.size]
    facts: dict[str, Any] = {"opened": len(opened)}
    if opened:
        facts["pixels"] = {"smallest": min(widths + heights), "largest": max(widths + heights)}
    shares = [seen.mask_share for seen in opened if seen.mask_share is not None]
    if shares:
        drawn = [share for share in shares if share > 0] or [0.0]
        facts["masks"] = {
            "read": len(shares),
            "not_empty": sum(share > 0 for share in shares),
            "smallest_share": round(min(drawn), 6),
            "median_share": round(statistics.median(drawn), 6),
            "largest_share": round(max(drawn), 6),
        }
    return facts


def _compare_parts(listing: Inventory, root: Path) -> None:
    """Call it a fault when two splits share images or patients, and list them in the facts."""
    images = {part: set(names) for part, names in listing.parts.items()}
    patients = {
        part: {listing.images[name].patient for name in names if name in listing.images}
        for part, names in images.items()
    }
    listing.facts["overlap"] = {}
    for what, sets in (("images", images), ("patients", patients)):
        shared = cases.overlaps(sets)
        named = {f"{a}+{b}": values for (a, b), values in shared.items()}
        listing.facts["overlap"][what] = named
        for (a, b), values in shared.items():
            some = ", ".join(values[:3]) + (", ..." if len(values) > 3 else "")
            message = f"{len(values)} {what} are in both {a} and {b}: {some}"
            listing.faults.append(Fault(str(root), message))


def _compare_pixels(listing: Inventory, looks: dict[str, Look]) -> None:
    """Call it a fault when two splits hold the same pixels by different names; note likenesses."""
    listing.facts["overlap"] |= {"same_pixels": [], "look_alikes": []}
    seen = {
        part: [looks[n] for n in dict.fromkeys(names) if n in looks and looks[n].hash]
        for part, names in listing.parts.items()
    }
    for a, b in combinations(seen, 2):
        if not seen[a] or not seen[b]:
            continue
        pairs = likeness.near_pairs([s.hash for s in seen[a]], [s.hash for s in seen[b]])
        for i, j, bits in pairs:
            one, other = seen[a][i], seen[b][j]
            if one.name == other.name:
                continue
            pair = {a: one.name, b: other.name, "bits": bits}
            if one.pixels == other.pixels:
                message = f"has the same pixels as {listing.images[other.name].image}, in {b}"
                path = str(listing.images[one.name].image)
                listing.faults.append(Fault(path, f"is in {a} and {message}"))
                listing.facts["overlap"]["same_pixels"].append(pair)
            else:
                listing.facts["overlap"]["look_alikes"].append(pair)
                listing.notes.append(
                    f"`{one.name}` in {a} and `{other.name}` in {b} look alike "
                    f"({bits} of {likeness.BITS} bits differ)"
                )


def _write(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
        return
    for key, value in report["facts"].items():
        print(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    for note in report["notes"]:
        print(f"note: {note}")
    for fault in report["faults"]:
        print(f"fault: {fault['path']}: {fault['message']}")
    print(f"{len(report['faults'])} faults in {report['dataset']} at {report['root']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainers.data.check", description=(__doc__ or ""))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--dataset", required=True, choices=list(DATASETS))
    parser.add_argument("--data_path", "--data-path", required=True, type=Path)
    parser.add_argument("--processes", type=int, default=2, help="that open images (default: 2)")
    parser.add_argument("--kept", metavar="FILE", type=Path, help="where to keep images' hashes")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Check one folder; returns the exit status."""
    given = _parser().parse_args(argv)
    try:
        report = check(
            given.dataset,
            given.data_path,
            processes=max(1, given.processes),
            remember=given.kept,
        )
    except (MissingError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingError) else 4
    except KeyboardInterrupt:
        return 130
    _write(report, as_json=given.json)
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
