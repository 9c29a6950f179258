"""Program: is anything that an encoder is tested on among what it was pre-trained on?

`python -P -m trainers.data.across --set mimic_cxr=DIR --set siim=DIR ... [--kept FOLDER] [--json]`

Compares the images to pre-train on with those of every other set: the same pixels, near copies,
and the same patients by name. What a set is tested on and an encoder has seen is a fault, and ends
with 1; what is fine-tuned or validated on is noted. Images are opened unless `--kept` has their
hashes. 3: something is not there. 4: a table or list cannot be read as what it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from trainers.catalog import DATASETS, PRETRAIN_ENTRY
from trainers.config import InputError, MissingError
from trainers.data import cases, check, kept, likeness
from trainers.data.inventory import READERS, Inventory
from trainers.data.kept import Hashes

FIRST = PRETRAIN_ENTRY.dataset
JUDGED = "test"
"""The part by which an encoder is judged."""
SHORTEST_ID = 6
"""Letters of a patient's name; two sets may well number different patients alike."""
PAIRS_NAMED = 20
"""How many pairs of names a report lists; all are counted."""


class Set(NamedTuple):
    """A data set, and what tells its images apart."""

    name: str
    listing: Inventory
    hashes: dict[str, Hashes]
    """By the image's name; those that cannot be read are not there."""


def compare(sets: Mapping[str, Path], *, remember: Path | None, processes: int) -> dict[str, Any]:
    """Return what the pre-training set shares with each other set; JSON.

    Args:
        sets: the folder of each, by name; the pre-training set is one of them.
        remember: folder of the files of hashes, one a set; read, and brought up to date.
        processes: that open images.

    Raises:
        MissingError: a folder or something it must hold is not there.
        InputError: a table or list cannot be read.
    """
    opened = {name: _open(name, root, remember, processes) for name, root in sets.items()}
    first = opened.pop(FIRST)
    shared = [one for other in opened.values() for one in _shared(first, other)]
    places = {name: str(root) for name, root in sets.items()}
    counts = {name: len(one.hashes) for name, one in {FIRST: first, **opened}.items()}
    leaks = [one for one in shared if one["part"] == JUDGED]
    return {
        "dataset": f"{FIRST} against {', '.join(opened)}",
        "root": places[FIRST],
        "facts": {"compared": counts},
        "shared": shared,
        "faults": [{"path": places[one["set"]], "message": _told(one)} for one in leaks],
        "notes": [_told(one) for one in shared if one["part"] != JUDGED],
    }


def _open(name: str, root: Path, remember: Path | None, processes: int) -> Set:
    if not root.exists():
        raise MissingError(f"{root} does not exist")
    listing = READERS[name](root)
    file = remember / f"{name}.tsv" if remember else None
    before = kept.read(file) if file else {}
    known = {n: before[case.image] for n, case in listing.images.items() if case.image in before}
    new = [case for n, case in listing.images.items() if n not in known]
    looks = [seen for seen in check.look_at_all(new, processes) if seen.hash] if new else []
    known |= {seen.name: Hashes(seen.pixels, seen.hash) for seen in looks}
    if file and looks:
        kept.write(file, {listing.images[n].image: hashes for n, hashes in known.items()})
    return Set(name, listing, known)


def _shared(first: Set, other: Set) -> list[dict[str, Any]]:
    """Return what the two share, by the part of each and by how it was found."""
    found = []
    for (mine, ours), (part, theirs) in product(
        first.listing.parts.items(), other.listing.parts.items()
    ):
        for by, pairs in (
            *_images(first, ours, other, theirs).items(),
            ("patients", _patients(first, ours, other, theirs)),
        ):
            if pairs:
                found.append(
                    {
                        "set": other.name,
                        "part": part,
                        "pretraining_part": mine,
                        "by": by,
                        "count": len({theirs for _, theirs in pairs}),
                        "pairs": [list(pair) for pair in pairs[:PAIRS_NAMED]],
                    }
                )
    return found


def _images(
    first: Set, ours: Sequence[str], other: Set, theirs: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    a = [name for name in dict.fromkeys(ours) if name in first.hashes]
    b = [name for name in dict.fromkeys(theirs) if name in other.hashes]
    near = likeness.near_pairs(
        [first.hashes[name].hash for name in a], [other.hashes[name].hash for name in b]
    )
    pairs: dict[str, list[tuple[str, str]]] = {"pixels": [], "near copies": []}
    for i, j, _ in near:
        same = first.hashes[a[i]].pixels == other.hashes[b[j]].pixels
        pairs["pixels" if same else "near copies"].append((a[i], b[j]))
    return pairs


def _patients(
    first: Set, ours: Sequence[str], other: Set, theirs: Sequence[str]
) -> list[tuple[str, str]]:
    shared = _people(first, ours) & _people(other, theirs)
    return [(name, name) for name in sorted(shared)]


def _people(of: Set, names: Sequence[str]) -> set[str]:
    """Return who the patients are; where none is published, an image's bare name stands for one."""
    images = of.listing.images
    people = {cases.bare_name(images[name].patient) for name in names if name in images}
    return {name for name in people if len(name) >= SHORTEST_ID}


def _told(one: Mapping[str, Any]) -> str:
    """Return in words what is shared, with some of the names."""
    what = "patients" if one["by"] == "patients" else "images"
    how = {"pixels": ", pixel for pixel", "near copies": " as near copies"}.get(one["by"], "")
    some = ", ".join(theirs for _, theirs in one["pairs"][:3])
    more = ", ..." if one["count"] > 3 else ""
    return (
        f"{one['count']} {what} of {one['set']} {one['part']} are in {FIRST} "
        f"{one['pretraining_part']}{how}: {some}{more}"
    )


def _write(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
        return
    for note in report["notes"]:
        print(f"note: {note}")
    for fault in report["faults"]:
        print(f"fault: {fault['path']}: {fault['message']}")
    print(f"{len(report['faults'])} faults in {report['dataset']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainers.data.across", description=(__doc__ or ""))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--set", action="append", required=True, metavar="NAME=DIR", help=", ".join(DATASETS)
    )
    parser.add_argument("--kept", metavar="FOLDER", type=Path, help="where images' hashes are kept")
    parser.add_argument("--processes", type=int, default=2, help="that open images (default: 2)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the sets that `argv` names; returns the exit status."""
    parser = _parser()
    given = parser.parse_args(argv)
    named = dict(pair.partition("=")[::2] for pair in given.set)
    if FIRST not in named or len(named) < 2 or not set(named) <= set(DATASETS):
        parser.error(f"`--set` names {FIRST} and another of {', '.join(DATASETS)}")
    sets = {name: Path(root) for name, root in named.items()}
    try:
        report = compare(sets, remember=given.kept, processes=max(1, given.processes))
    except (MissingError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingError) else 4
    except KeyboardInterrupt:
        return 130
    _write(report, as_json=given.json)
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
