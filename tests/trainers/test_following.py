"""What other programs' logs say is the same in whatever pieces they come, up to where they end."""

from __future__ import annotations

import io
import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from trainers import following
from trainers.events import EventLog
from trainers.following import EventFile, TextFile, Watch
from trainers.loglines import Lines, Told, read
from trainers.tally import Tally

Point = tuple[str, int, float]

GOLDEN = Path(__file__).with_name("golden")
PRINTED = ("mae.stdout", "tqdm.stdout", "swin.stdout", "transformers.stdout")
WRITTEN = ("mae.log.txt", "mmcv.log.json", "mmcv_epochs.log.json", "mmengine_scalars.json")
EVENTS = "events.out.tfevents.1"

EXPECTED: dict[str, dict[str, list[tuple[int, float]]]] = {
    "mae.stdout": {
        "train/loss": [(0, 2.0), (20, 0.0952), (40, 0.0488), (59, 0.0333), (59, 0.0333),
                       (60, 0.0328), (80, 0.0247), (100, 0.0198), (119, 0.0167), (119, 0.0167)],
    },
    "tqdm.stdout": {
        "train/loss": [(0, 0.1), (20, 0.05), (30, 0.0333)],
        "val/loss": [(20, 0.5123), (30, 0.4123)],
        "val/dice": [(20, 0.711), (30, 0.712)],
        "test/AUROC": [(30, 0.8123)],
    },
    "swin.stdout": {
        "train/loss": [(0, 1.5), (10, 1.3), (20, 0.5), (30, 0.3)],
        "test/Loss": [(10, 0.7), (30, 0.71)],
        "test/Acc@1": [(10, 70.25), (30, 71.25)],
    },
    "transformers.stdout": {
        "train/loss": [(0, 1.0), (0, 0.5), (1, 0.3333), (1, 0.25)],
        "val/loss": [(1, 0.31)],
    },
    "mae.log.txt": {
        "train/loss": [(0, 2 / 60 + 0.01), (1, 2 / 120 + 0.01)],
        "train/lr": [(0, 5.9e-05), (1, 1.19e-4)],
    },
    "mmcv.log.json": {
        "train/loss": [(i, 0.97 - i / 1000) for i in range(50, 401, 50)],
        "val/mDice": [(200, 0.7), (400, 0.9)],
    },
    "mmcv_epochs.log.json": {
        "train/loss": [(50, 0.02), (100, 0.01), (150, 0.01), (200, 0.005)],
        "val/bbox_mAP": [(100, 0.1), (200, 0.2)],
    },
    "mmengine_scalars.json": {
        "train/decode.loss_ce": [(i, 0.69 - i / 1000) for i in range(50, 401, 50)],
        "val/mDice": [(200, 70.0), (400, 90.0)],
    },
    EVENTS: {
        "train/loss": [(step, 2 / step) for step in range(1, 9)],
        "val/dice": [(4, 0.5), (8, 0.75)],
    },
}  # fmt: skip


def event_file() -> bytes:
    """Return what TensorBoard's own writer makes of two curves and a picture."""
    out = io.BytesIO()
    writer = RecordWriter(out)
    writer.write(Event(wall_time=1.0, file_version="brain.Event:2").SerializeToString())
    for step in range(1, 9):
        event = Event(wall_time=1.0 + step, step=step)
        event.summary.value.add(tag="train_loss", simple_value=2 / step)
        writer.write(event.SerializeToString())
        if step % 4 == 0:
            value = 0.25 + step / 16
            new = Event(wall_time=2.0, step=step, summary=scalar_pb("val_dice", value))
            writer.write(new.SerializeToString())
            picture = Event(wall_time=2.0, step=step)
            picture.summary.value.add(tag="picture").image.encoded_image_string = b"x" * 3000
            writer.write(picture.SerializeToString())
    writer.flush()
    return out.getvalue()


RAW = {name: (GOLDEN / name).read_bytes() for name in (*PRINTED, *WRITTEN)}
RAW[EVENTS] = event_file()
ALL = sorted(RAW)


def told(name: str, chunks: Sequence[bytes]) -> tuple[list[Told], int]:
    """Return what a log says that comes in these chunks, and how much of it was damaged."""
    found: list[Told] = []
    if name in PRINTED:
        lines = Lines()
        for number, chunk in enumerate((*chunks, b"")):
            for line, stays in lines.feed(chunk, last=number == len(chunks)):
                said = read(line, torn=lines.torn)
                found += [said] if said and stays else []
        return found, 0
    form = following.form_of(name)
    for chunk in chunks:
        found += form.feed(chunk, last=False)
    found += form.feed(b"", last=True)
    return found, form.damaged


def points(said: Sequence[Told]) -> list[Point]:
    """Return what becomes of it in `events.jsonl`."""
    with tempfile.TemporaryDirectory() as folder:
        log = EventLog(Path(folder))
        tally = Tally(log, None, clock=lambda: 0.0)
        for each in said:
            tally.take(each, stays=True)
        log.close()
        events = map(json.loads, (Path(folder) / "events.jsonl").read_text().splitlines())
        return [
            (name, event["step"], value)
            for event in events
            if event["kind"] == "metrics"
            for name, value in event["values"].items()
        ]


def pieces(raw: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 1_000_000), max_size=12)


@pytest.mark.parametrize("name", ALL)
def test_each_familys_log_gives_the_curves_that_were_logged(name: str) -> None:
    found = points(told(name, [RAW[name]])[0])
    for metric, expected in EXPECTED[name].items():
        curve = [(step, value) for known, step, value in found if known == metric]
        if name == "tqdm.stdout" and metric == "train/loss":
            expected = expected[1:]  # what is written over is told too, but as it passes
        assert curve == [(step, pytest.approx(value, abs=1e-6)) for step, value in expected]


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=40)
@given(cuts=CUTS)
def test_a_log_says_the_same_in_whatever_chunks_it_comes(name: str, cuts: list[int]) -> None:
    assert told(name, pieces(RAW[name], cuts)) == told(name, [RAW[name]])


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=40)
@given(end=st.integers(0, 1_000_000), cuts=CUTS)
def test_a_log_that_is_cut_off_says_what_stood_before_and_nothing_else(
    name: str, end: int, cuts: list[int]
) -> None:
    raw = RAW[name][: end % (len(RAW[name]) + 1)]
    whole = points(told(name, [RAW[name]])[0])
    found = points(told(name, pieces(raw, cuts))[0])
    left = iter(whole)
    assert all(any(point == other for other in left) for point in found), found


@pytest.mark.parametrize("name", [*WRITTEN[1:], EVENTS])
@settings(max_examples=40)
@given(place=st.integers(0, 1_000_000), byte=st.integers(1, 255), cuts=CUTS)
def test_what_is_damaged_is_left_out_and_counted_and_the_rest_is_read(
    name: str, place: int, byte: int, cuts: list[int]
) -> None:
    raw = bytearray(RAW[name])
    if name == EVENTS:
        raw[place % len(raw)] ^= byte
    else:  # a line after the first is torn in two, as by a second writer
        at = raw.index(b"\n") + 2 + place % (len(raw) - raw.index(b"\n") - 4)
        raw[at : at + 1] = b"\0{"
    said, damaged = told(name, pieces(bytes(raw), cuts))
    whole = told(name, [RAW[name]])[0]
    lost = [each for each in whole if each not in said]
    assert len(lost) <= 2
    assert damaged >= min(1, len(lost))
    assert damaged <= 2


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_no_bytes_break_the_reading_of_records(chunks: list[bytes]) -> None:
    form = EventFile()
    assert [each for chunk in chunks for each in form.feed(chunk)] == []


def test_a_huge_record_is_passed_over_without_being_kept() -> None:
    out = io.BytesIO()
    writer = RecordWriter(out)
    writer.write(bytes(3 * 2**20))
    event = Event(step=3)
    event.summary.value.add(tag="loss", simple_value=0.5)
    writer.write(event.SerializeToString())
    writer.flush()
    form = EventFile()
    raw = out.getvalue()
    chunks = [raw[at : at + 65_536] for at in range(0, len(raw), 65_536)]
    assert [each.step for chunk in chunks for each in form.feed(chunk)] == [3]
    assert form.damaged == 0


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def watch_of(folder: Path, warned: list[str] | None = None) -> Watch:
    kept = warned if warned is not None else []
    return Watch(
        [folder], run_folder=folder.parent / "run", warn=lambda what, path: kept.append(what)
    )


def said_by(watch: Watch, *, last: bool = False) -> list[tuple[int | None, dict[str, float]]]:
    found: list[Told] = []
    watch.read(lambda each, source: found.append(each), last=last)
    return [(each.step, dict(each.values)) for each in found]


def test_json_lines_are_taken_from_the_beginning_of_the_run_and_none_twice(watched: Path) -> None:
    old = watched / "log.txt"
    old.write_text('{"loss": 9}\n')
    watch = watch_of(watched)
    with old.open("a") as file:
        file.write('{"loss": 1}\n{"lo')
    found = [*said_by(watch), *said_by(watch)]
    with old.open("a") as file:
        file.write('ss": 2}\n')
    (watched / "new.json").write_text('{"mode": "val", "mDice": 0.7}')
    found += [*said_by(watch), *said_by(watch, last=True), *said_by(watch, last=True)]
    assert [values for _, values in found] == [
        {"train/loss": 1.0}, {"train/loss": 2.0}, {"val/mDice": 0.7}
    ]  # fmt: skip


def test_a_writer_that_is_started_again_makes_a_second_file_of_one_curve(watched: Path) -> None:
    watch, sources = watch_of(watched), set()
    raw = RAW[EVENTS]
    found: list[Told] = []

    def take(each: Told, source: str) -> None:
        found.append(each)
        sources.add(source)

    for name, end in (("events.out.tfevents.1", len(raw) - 5), ("events.out.tfevents.2", len(raw))):
        with (watched / name).open("wb", buffering=0) as file:
            for at in range(0, end, 500):
                file.write(raw[at : min(at + 500, end)])
                watch.read(take)
        watch.read(take, last=True)
    whole = told(EVENTS, [raw])[0]
    assert found == [*told(EVENTS, [raw[:-5]])[0], *whole]
    assert sources == {str(watched)}


def test_a_log_that_is_written_anew_is_read_from_its_beginning(watched: Path) -> None:
    log = watched / "train.log"
    log.write_text("step=1 loss=3\n" * 3)
    watch = watch_of(watched)
    assert said_by(watch, last=True) == []
    log.write_text("step=2 loss=2\n")
    assert said_by(watch, last=True) == [(2, {"train/loss": 2.0})]
    other = watched / "other"
    other.write_text("step=3 loss=1\nstep=4 loss=0.5\n")
    other.replace(log)
    assert [step for step, _ in said_by(watch, last=True)] == [3, 4]


def test_a_damaged_line_is_a_warning(watched: Path) -> None:
    warned: list[str] = []
    watch = watch_of(watched, warned)
    (watched / "log.txt").write_text('{"epoch": 1, "loss": 1}\n{"epo\n{"epoch": 2, "loss": 2}\n')
    assert len(said_by(watch, last=True)) == 2
    assert warned == ["a damaged line was skipped"]


def test_what_no_program_of_ones_own_wrote_is_left_alone(watched: Path, tmp_path: Path) -> None:
    watch = watch_of(watched)
    line = '{"step": 1, "loss": 1}\n'
    for name in ("aaaaaa-mrm-siim-10-s0/log.txt", ".hidden/log.txt", "a/b/c/d/e/log.txt"):
        (watched / name).parent.mkdir(parents=True)
        (watched / name).write_text(line)
    (watched / "aaaaaa-mrm-siim-10-s0" / "events.jsonl").write_text(line)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "log.txt").write_text(line)
    (watched / "link").symlink_to(outside)
    os.mkfifo(watched / "train.log")  # opening it would wait for a writer for ever
    assert said_by(watch, last=True) == []


def test_mmengine_says_everything_twice_and_is_read_once(watched: Path) -> None:
    watch = watch_of(watched)
    place = watched / "20230320_210000" / "vis_data"
    place.mkdir(parents=True)
    for name in ("scalars.json", "20230320_210000.json"):
        (place / name).write_bytes(RAW["mmengine_scalars.json"])
    assert len(said_by(watch, last=True)) == 10


def lines_of(raw: bytes) -> Iterator[str]:
    form = TextFile(json_alone=False)
    for each in [*form.feed(raw), *form.feed(b"", last=True)]:
        yield from each.values


@pytest.mark.parametrize(
    "line",
    [
        "epoch" + " " * 60_000, "1" * 60_000, "loss: " + "1" * 60_000, "{" * 60_000,
        '{"a": ' + "[" * 60_000, "eta: " + "1:" * 30_000, '{"loss": 1' + "0" * 5_000 + "}",
        "a " * 30_000, "step: 1e400 ", "1/1 [1<1 " * 7_000,
    ],
)  # fmt: skip
def test_no_line_keeps_the_reader_busy_or_breaks_it(line: str) -> None:
    assert len(list(lines_of(line.encode()))) <= 1
