"""Program: writes a copy of a data set's images that training need not decode at full size again.

`python -P -m trainers.data.prepare --data_path DIR --into FOLDER [--px 512] [--store raw|jpeg]`

FOLDER gets the shards with an index each (`store`, `shards`), `training.csv` in MRM's form,
`skipped.csv` with what could not be read, `tokenizer.json`, and last `prepared.json`. Killed at any
moment and called again it does what is missing, and ends with the same bytes. Train from it by
`--data_path FOLDER`.

0: done, single unreadable images or not. 1: the disk is full, or another one is at work there.
2: a wrong option. 3: something is not there. 4: a table, or more than one image in twenty, cannot
be read.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainers.config import InputError, MissingError
from trainers.data import copies, crew, fingerprint, prepared, records, shards
from trainers.data.copies import Order
from trainers.data.items import BadItem
from trainers.data.records import Row, Rows
from trainers.data.shards import Form, Job, Original

WRONG_SET = 0.05
"""Share of unreadable images beyond which the set is wrong, where there are more than
`BAD_AT_LEAST`; training's own rule (`trainers.feed`)."""
BAD_AT_LEAST = 20
SPARE_BYTES = 64 << 20
"""Room beside the images: tables and the tokenizer."""
LOCK_WAIT_S = 3.0
"""Until processes of one that was killed are gone."""
_TRIED = 12


class Refused(Exception):
    """What cannot be done now, with a hint; the program ends with 1."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def prepare(order: Order, progress: Progress) -> dict[str, Any]:
    """Write the copy and return what its `prepared.json` says.

    Raises:
        MissingError: the data are not there.
        InputError: a table is wrong, or too many images cannot be read.
        Refused: no room, or another one is at work there.
    """
    if order.tokenizer and not order.tokenizer.is_file():
        raise MissingError(f"`tokenizer`: {order.tokenizer} does not exist")
    read = records.read_rows(order.source)
    if "prepared" in read.facts:
        raise InputError(f"{order.source} is a prepared copy itself; name the original folder")
    if not prepared.is_begun(order.into) and _holds_something(order.into):
        raise Refused(f"{order.into} holds other files", "name a folder that is new or empty")
    records.sort_out(read)  # refuses what training would refuse
    rows = _wanted(read)
    try:
        order.into.mkdir(parents=True, exist_ok=True)
        with _alone(order.into):
            return _prepare(order, read, rows, progress)
    except OSError as error:
        message, hint = f"{order.into}: {error.strerror or error}", "name another folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"the disk is full at {order.into}"
            hint = "make room and run it again; what is done is kept"
        raise Refused(message, hint) from None


def _prepare(order: Order, read: Rows, rows: list[Row], progress: Progress) -> dict[str, Any]:
    jobs = _jobs(order, read.root, rows)
    _unlink(order.into, "*.part")
    if order.anew:
        _unlink(order.into, prepared.ABOUT)  # first, so that nothing trusts what follows
        _unlink(order.into, "images-*")
    missing = [job for job in jobs if not shards.is_written(job)]
    total = sum(len(job.originals) for job in jobs)
    there = total - sum(len(job.originals) for job in missing)
    if there:
        progress.say(f"{there:,} of {total:,} images are there already")
    _check_room(order, missing, progress)
    try:
        _write(jobs, missing, order, progress, there=there, total=total)
    finally:
        _unlink(order.into, "*.part")  # of processes that were ended in the middle
    entries, skipped = copies.sort_out(jobs, rows, read.root)
    copies.write_table(order.into / prepared.SKIPPED, ("file", "row", "reason"), skipped)
    for file, row, reason in skipped[:BAD_AT_LEAST]:
        progress.say(f"skipped {file} ({row}): {reason}")
    if len(skipped) > BAD_AT_LEAST:
        progress.say(f"and {len(skipped) - BAD_AT_LEAST:,} more, in {prepared.SKIPPED}")
    if not entries:
        raise InputError(f"none of {total} images can be read, such as {skipped[0][0]}")
    progress.say("writing the table of records and the tokenizer")
    about = copies.finish(order, read, jobs, entries, skipped)
    _clear(order.into, jobs)
    return about


def _wanted(read: Rows) -> list[Row]:
    """Return the rows that have a report, each image and split once."""
    found: dict[tuple[Path, str | None], Row] = {}
    for row in read.rows:
        if row.record.report.strip():
            found.setdefault((row.record.image, row.split), row)
    return list(found.values())


def _jobs(order: Order, root: Path, rows: Sequence[Row]) -> list[Job]:
    """Cut the images, in the order of their names, into shards."""
    paths = {records.name_of(row.record.image, root): row.record.image for row in rows}
    names = sorted(paths)
    sizes = fingerprint.file_sizes([paths[name] for name in names])
    every = [Original(paths[n], n, size) for n, size in zip(names, sizes, strict=True)]
    step = order.shard_images
    return [
        Job(order.into, at // step, tuple(every[at : at + step]), order.form)
        for at in range(0, len(every), step)
    ]


def _check_room(order: Order, missing: Sequence[Job], progress: Progress) -> None:
    """Say how large the missing part will be; refuse if the disk has no room for it."""
    originals = [original for job in missing for original in job.originals]
    if not originals:
        return
    sizes = []
    for original in originals[:: max(1, len(originals) // _TRIED)]:
        try:
            sizes.append(len(shards.encode(shards.shrink(original.path, order.form), order.form)))
        except BadItem:
            continue
    need = sum(sizes) / max(len(sizes), 1) * len(originals)
    free = shutil.disk_usage(order.into).free
    progress.say(
        f"{len(originals):,} images to prepare: about {_size(need)} as {order.form.store}; "
        f"{_size(free)} are free at {order.into}"
    )
    if need + SPARE_BYTES > free:
        less = "" if order.form.store == "jpeg" else "; `--store jpeg` needs about a third"
        raise Refused(
            f"{order.into} has {_size(free)} free, and the copy takes about "
            f"{_size(need + SPARE_BYTES)} more",
            f"name another disk with `--into`{less}",
        )


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _write(
    jobs: Sequence[Job],
    missing: Sequence[Job],
    order: Order,
    progress: Progress,
    *,
    there: int,
    total: int,
) -> None:
    late = set(missing)
    bad = sum(_bad(job) for job in jobs if job not in late)
    _refuse_wrong_set(bad, total)
    progress.begin(there, total)
    if not missing:
        return
    done = there
    try:
        for new, finished in crew.write_all(missing, processes=order.processes):
            done = there + new
            progress.tell(done)
            bad += sum(map(_bad, finished))
            _refuse_wrong_set(bad, total)
    except BrokenProcessPool:
        raise Refused(
            f"a process that prepares images was killed after {done} of {total}",
            "perhaps memory ran out: try fewer `--jobs`; what is done is kept",
        ) from None


def _bad(job: Job) -> int:
    return sum(bool(kept.reason) for kept in shards.read_index(job))


def _refuse_wrong_set(bad: int, total: int) -> None:
    if bad > max(BAD_AT_LEAST, WRONG_SET * total):
        raise InputError(f"{bad} of {total} images cannot be read; this is not the right set")


def _unlink(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink()


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(path.name != ".lock" for path in folder.iterdir())


def _clear(folder: Path, jobs: Sequence[Job]) -> None:
    """Remove shards of an earlier copy that this one has no use for."""
    wanted = {path.name for job in jobs for path in (job.shard(), job.index())}
    for path in folder.glob("images-*"):
        if path.name not in wanted:
            path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        Refused: another process holds it.
    """
    with (folder / ".lock").open("a") as file:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Refused(
                        f"another one is preparing {folder}", "wait until it is done"
                    ) from None
                time.sleep(0.05)
        yield


class Progress:
    """Says how far it is: in lines on stderr, or as JSON lines on stdout."""

    EVERY_S = 2.0

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.total = self.there = 0
        self.began = self.last = time.monotonic()

    def say(self, text: str) -> None:
        """Say something once."""
        if self.as_json:
            print(json.dumps({"kind": "note", "text": text}, ensure_ascii=False), flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def begin(self, there: int, total: int) -> None:
        """Start the clock: `there` of `total` images need not be done again."""
        self.there, self.total = there, total
        self.began = time.monotonic()
        self.last = 0.0
        self.tell(there)

    def tell(self, done: int) -> None:
        """Say how many images are done, from time to time."""
        now = time.monotonic()
        if now - self.last < (crew.TELL_S if self.as_json else self.EVERY_S) and done < self.total:
            return
        self.last = now
        rate = (done - self.there) / max(now - self.began, 1e-6)
        left = (self.total - done) / rate if rate else None
        if self.as_json:
            eta = None if left is None else round(left, 1)
            told = {"kind": "progress", "done": done, "total": self.total, "eta_s": eta}
            print(json.dumps(told), flush=True)
        else:
            tail = "" if left is None else f", {rate:.0f} a second, {left:.0f} s left"
            self.say(f"prepared {done} of {self.total} images{tail}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2)


def _order(argv: Sequence[str] | None) -> tuple[Order, bool]:
    about = (__doc__ or "").split("\n")[0]
    parser = _Parser(prog="python -m trainers.data.prepare", description=about)
    add = parser.add_argument
    add("--data_path", "--data-path", type=Path, required=True, help="folder of the records")
    add("--into", type=Path, required=True, help="folder of the copy")
    add("--px", type=int, default=512, help="short side of the copy's images")
    add("--store", choices=("raw", "jpeg"), default="raw", help="grey values, or JPEG files")
    add("--draft", action="store_true", help="let libjpeg halve large JPEGs while decoding")
    add("--jobs", type=int, default=2, help="processes that prepare images")
    add("--shard_images", "--shard-images", type=int, default=shards.SHARD_IMAGES,
        help="images in a file")  # fmt: skip
    add("--vocab_size", "--vocab-size", type=int, default=30000, help="word pieces to learn")
    add("--tokenizer", type=Path, help="a tokenizers JSON to keep instead of training one")
    add("--anew", action="store_true", help="do again what is done")
    add("--json-progress", "--json_progress", action="store_true",
        help="tell it in JSON lines on stdout, not on stderr")  # fmt: skip
    given = parser.parse_args(argv)
    for name, least in (("px", 32), ("jobs", 1), ("shard_images", 1), ("vocab_size", 100)):
        if getattr(given, name) < least:
            parser.error(f"`{name}` is {getattr(given, name)}; expected at least {least}")
    order = Order(
        source=given.data_path,
        into=given.into,
        form=Form(px=given.px, store=given.store, draft=given.draft),
        processes=given.jobs,
        shard_images=given.shard_images,
        vocab_size=given.vocab_size,
        tokenizer=given.tokenizer,
        anew=given.anew,
    )
    return order, given.json_progress


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare one data set; returns the exit status."""
    order, as_json = _order(argv)
    try:
        about = prepare(order, Progress(as_json=as_json))
    except (MissingError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingError) else 4
    except Refused as refused:
        print(f"error: {refused}\nhint: {refused.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if as_json:
        print(json.dumps({"kind": "end", "into": str(order.into), **about}))
    else:
        left = about["left_out"]["unreadable_images"]
        size = _size(about["bytes"])
        print(f"{about['images']} images in {order.into}, {size}; {left} left out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
