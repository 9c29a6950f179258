from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import artifacts, intake, points, results, runs
from store.db import StoreError, data_version, open_store, writing

TABLES = ("attempts", "metrics", "points", "results", "artifacts", "warnings", "events")


@pytest.fixture
def folder(add_run: Callable[..., Path]) -> Path:
    return add_run("aaaaaa", state="running")


def metrics(step: int, **values: float | None) -> dict[str, Any]:
    return {"kind": "metrics", "step": step, "values": values}


def contents(db: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that taking in can write."""
    held = {t: db.conn.execute(f"select * from {t} order by 1, 2").fetchall() for t in TABLES}
    return held | {"runs": db.conn.execute("select * from runs").fetchall()}


def test_the_contracts_own_line_is_taken_in(db: Any, folder: Path) -> None:
    line = (
        '{"t": 1700000000.5, "kind": "metrics", "step": 120, "epoch": 0.4, '
        '"values": {"train/loss": 1.31}}\n'
    )
    (folder / "events.jsonl").write_text(line)
    assert intake.take_in(db, "aaaaaa", folder) == 1
    assert points.curve(db, "aaaaaa", "train/loss") == [(120, 1.31)]
    run = runs.get(db, "aaaaaa")
    assert (run.step, run.epoch, run.last_event) == (120, 0.4, 1700000000.5)


def test_a_folder_without_events_gives_nothing(db: Any, folder: Path) -> None:
    assert intake.take_in(db, "aaaaaa", folder) == 0
    assert intake.take_in(db, "aaaaaa", folder / "nowhere") == 0


def test_a_run_the_registry_does_not_know_is_refused(
    db: Any, tmp_path: Path, write_events: Any
) -> None:
    with pytest.raises(runs.NoSuchRun):
        intake.take_in(db, "zzzzzz", tmp_path)
    write_events(tmp_path, metrics(1, loss=1.0))
    with pytest.raises(runs.NoSuchRun):
        intake.take_in(db, "zzzzzz", tmp_path)


def test_an_events_file_that_cannot_be_read_is_named(db: Any, folder: Path) -> None:
    (folder / "events.jsonl").mkdir()
    with pytest.raises(StoreError, match=r"cannot read `.*events\.jsonl`"):
        intake.take_in(db, "aaaaaa", folder)


def test_what_was_taken_in_is_not_taken_in_again(db: Any, folder: Path, write_events: Any) -> None:
    write_events(folder, metrics(1, loss=1.0), {"kind": "warning", "message": "w"})
    assert intake.take_in(db, "aaaaaa", folder) == 2
    before = contents(db)
    assert intake.take_in(db, "aaaaaa", folder) == 0
    assert contents(db) == before


def test_to_look_when_nothing_is_new_needs_no_lock_and_writes_nothing(
    db: Any, folder: Path, registry: Path, write_events: Any
) -> None:
    write_events(folder, metrics(1, loss=1.0))
    intake.take_in(db, "aaaaaa", folder)
    other = open_store(registry)
    before = data_version(other)
    with writing(other):
        assert intake.take_in(db, "aaaaaa", folder, wait_s=0.1) == 0
    assert data_version(other) == before


def test_a_torn_last_line_waits_until_it_is_complete(
    db: Any, folder: Path, write_events: Any
) -> None:
    write_events(folder, metrics(1, loss=1.0))
    line = json.dumps({"t": 2.0, **metrics(2, loss=0.5)}) + "\n"
    path = folder / "events.jsonl"
    for end in range(1, len(line)):
        with path.open("a") as file:
            file.write(line[end - 1])
        assert intake.take_in(db, "aaaaaa", folder) == (end == 1)
    assert points.curve(db, "aaaaaa", "loss") == [(1, 1.0)]
    with path.open("a") as file:
        file.write("\n")
    assert intake.take_in(db, "aaaaaa", folder) == 1
    assert points.curve(db, "aaaaaa", "loss") == [(1, 1.0), (2, 0.5)]
    assert runs.get(db, "aaaaaa").bad_lines == 0


def test_a_line_torn_by_a_crash_and_closed_later_is_counted_and_hurts_no_other(
    db: Any, folder: Path, write_events: Any
) -> None:
    write_events(folder, metrics(1, loss=1.0))
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"t": 2.0, "kind": "metr\n')
    write_events(folder, metrics(3, loss=0.3))
    assert intake.take_in(db, "aaaaaa", folder) == 2
    assert points.curve(db, "aaaaaa", "loss") == [(1, 1.0), (3, 0.3)]
    assert runs.get(db, "aaaaaa").bad_lines == 1


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"\xff\xfe{}",
        b'{"t": 1.0',
        b"[1, 2]",
        b"17",
        b'"text"',
        b"null",
        b"[" * 100_000,
        b'{"kind": "metrics", "step": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_whole_line_that_is_no_object_is_skipped_and_counted(
    db: Any, folder: Path, write_events: Any, line: bytes
) -> None:
    (folder / "events.jsonl").write_bytes(line + b"\n")
    write_events(folder, metrics(1, loss=1.0))
    assert intake.take_in(db, "aaaaaa", folder) == 1
    run = runs.get(db, "aaaaaa")
    assert (run.bad_lines, run.step) == (1, 1)


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "metrics", "values": {"loss": 1.0}},
        {"kind": "metrics", "step": "one", "values": {"loss": 1.0}},
        {"kind": "metrics", "step": 2**70, "values": {"loss": 1.0}},
        {"kind": "metrics", "step": 1, "values": [1.0]},
        {"kind": "metrics", "step": 1, "values": {"loss": "low"}},
        {"kind": "metrics", "step": 1.5, "values": {}},
        {"kind": "metrics", "step": 1, "values": {"loss": 1.0}, "t": "noon"},
        {"kind": "start", "step": None},
        {"kind": "start", "step": 0, "pid": "seven"},
        {"kind": "progress", "total": 5},
        {"kind": "checkpoint", "kind_of": "last"},
        {"kind": "checkpoint", "kind_of": "", "path": "x"},
        {"kind": "sample", "path": 3},
        {"kind": "warning", "message": None},
        {"kind": "result", "values": 0.5},
        {"kind": "result", "values": {"test/Dice": 0.5}, "bounds": {"test/Dice": [1]}},
        {"kind": "end", "outcome": "exploded"},
        {"kind": 3},
        {"step": 3},
    ],
)
def test_an_event_without_what_belongs_to_its_kind_changes_nothing_and_is_kept(
    db: Any, folder: Path, write_events: Any, event: dict[str, Any]
) -> None:
    write_events(
        folder,
        {"kind": "start", "step": 0, "attempt": 1},
        metrics(1, loss=3.0),
        {"kind": "result", "values": {"test/Dice": 0.25}},
    )
    intake.take_in(db, "aaaaaa", folder)
    before = contents(db)
    write_events(folder, event)
    assert intake.take_in(db, "aaaaaa", folder) == 1
    after = contents(db)
    assert runs.get(db, "aaaaaa").bad_lines == 1
    (kept,) = results.kept_events(db, "aaaaaa")
    assert kept == {"t": 1.0, **event}
    tables = [table for table in TABLES if table != "events"]
    assert {t: after[t] for t in tables} == {t: before[t] for t in tables}


def test_unknown_kinds_and_keys_are_kept_as_they_came(
    db: Any, folder: Path, write_events: Any
) -> None:
    events = [
        {"kind": "power", "watts": 300, "nested": {"ü": [1, None]}},
        metrics(1, loss=1.0) | {"mood": "calm"},
        metrics(2, loss=0.5),
    ]
    write_events(folder, *events)
    assert intake.take_in(db, "aaaaaa", folder) == 3
    expected = [{"t": float(t), **event} for t, event in enumerate(events[:2], start=1)]
    assert results.kept_events(db, "aaaaaa") == expected
    assert points.curve(db, "aaaaaa", "loss") == [(1, 1.0), (2, 0.5)]
    assert runs.get(db, "aaaaaa").bad_lines == 0


def test_text_that_sqlite_refuses_does_not_stop_the_run(db: Any, folder: Path) -> None:
    lines = [
        '{"t": 1, "kind": "warning", "message": "half a \\ud83d face", "path": "\\u0000"}',
        '{"t": 1, "kind": "metrics", "step": 1, "values": {"\\udc00": 1.0}}',
        '{"t": 1, "kind": "\\ud800", "x": 1}',
        '{"t": 1, "kind": "result", "values": {"test/\\udfff": 1.0}, "note": "\\ud800"}',
    ]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    assert intake.take_in(db, "aaaaaa", folder) == 4
    assert results.warnings(db, "aaaaaa")[0].message == "half a ? face"
    assert points.last(db, "aaaaaa") == {"?": 1.0}
    assert results.of_run(db, "aaaaaa")[0].metric == "test/?"


def test_a_start_supersedes_the_points_and_checkpoints_of_later_steps(
    db: Any, folder: Path, write_events: Any
) -> None:
    def checkpoint(step: int) -> dict[str, Any]:
        return {"kind": "checkpoint", "kind_of": "last", "path": f"{step}.pt", "step": step}

    write_events(folder, {"kind": "start", "step": 0, "attempt": 1, "total_steps": 9})
    for step in range(1, 7):
        write_events(folder, metrics(step, a=10.0 + step, b=20.0 + step), checkpoint(step))
    write_events(folder, {"kind": "start", "step": 4, "attempt": 2, "pid": 12, "total_steps": 9})
    write_events(folder, metrics(5, a=0.5))
    intake.take_in(db, "aaaaaa", folder)
    assert points.curve(db, "aaaaaa", "a") == [(1, 11), (2, 12), (3, 13), (4, 14), (5, 0.5)]
    assert points.curve(db, "aaaaaa", "b") == [(1, 21), (2, 22), (3, 23), (4, 24)]
    saved = sorted(artifact.path.name for artifact in artifacts.of_run(db, "aaaaaa"))
    assert saved == ["1.pt", "2.pt", "3.pt", "4.pt"]
    first, second = results.attempts(db, "aaaaaa")
    assert (first.attempt, first.first_step) == (1, 0)
    assert (second.attempt, second.first_step, second.pid, second.total_steps) == (2, 4, 12, 9)
    assert runs.get(db, "aaaaaa").attempt == 2


def test_a_start_leaves_the_points_of_other_runs_alone(
    db: Any, folder: Path, add_run: Any, write_events: Any
) -> None:
    other = add_run("bbbbbb")
    write_events(other, metrics(5, loss=1.0))
    intake.take_in(db, "bbbbbb", other)
    write_events(folder, metrics(5, loss=2.0), {"kind": "start", "step": 0})
    intake.take_in(db, "aaaaaa", folder)
    assert points.curve(db, "aaaaaa", "loss") == []
    assert points.curve(db, "bbbbbb", "loss") == [(5, 1.0)]


def test_a_start_takes_back_the_result_and_the_end_of_an_earlier_attempt(
    db: Any, folder: Path, write_events: Any
) -> None:
    write_events(
        folder,
        {"kind": "start", "step": 0, "attempt": 1},
        {"kind": "result", "values": {"test/Dice": 0.5}},
        {"kind": "end", "outcome": "failed", "reason": "no space"},
    )
    intake.take_in(db, "aaaaaa", folder)
    run = runs.get(db, "aaaaaa")
    assert (run.end_outcome, run.end_reason) == ("failed", "no space")
    write_events(folder, {"kind": "start", "step": 0, "attempt": 2})
    intake.take_in(db, "aaaaaa", folder)
    assert results.of_run(db, "aaaaaa") == []
    assert results.document(db, "aaaaaa") is None
    assert runs.get(db, "aaaaaa").end_outcome is None
    assert [a.outcome for a in results.attempts(db, "aaaaaa")] == ["failed", None]


def test_a_result_is_kept_as_numbers_with_bounds_and_as_the_document_it_was(
    db: Any, folder: Path, write_events: Any
) -> None:
    document = {
        "values": {"test/Dice": 0.7, "val/Dice": 0.8},
        "bounds": {"test/Dice": [0.6, 0.75]},
        "selected_by": "val/Dice",
        "encoder": {"path": "e.pt", "run": "bbbbbb", "sha256": "ab"},
        "skipped": 2,
    }
    write_events(folder, {"kind": "result", **document})
    intake.take_in(db, "aaaaaa", folder)
    assert results.document(db, "aaaaaa") == document
    assert results.of_run(db, "aaaaaa") == [
        results.Result("test/Dice", 0.7, 0.6, 0.75),
        results.Result("val/Dice", 0.8, None, None),
    ]


def test_one_warning_given_often_is_one_row_with_its_count(
    db: Any, folder: Path, write_events: Any
) -> None:
    odd = {"kind": "warning", "message": "odd image"}
    write_events(folder, odd | {"path": "a"}, odd | {"path": "b"}, odd | {"path": "a"}, odd)
    intake.take_in(db, "aaaaaa", folder)
    found = [(w.path, w.times, w.last) for w in results.warnings(db, "aaaaaa")]
    assert found == [("", 1, 4.0), ("a", 2, 3.0), ("b", 1, 2.0)]
    assert runs.get(db, "aaaaaa").warnings == 4


def test_progress_says_how_far_and_how_long(db: Any, folder: Path, write_events: Any) -> None:
    write_events(folder, {"kind": "progress", "done": 3, "total": 9, "eta_s": 1.5})
    intake.take_in(db, "aaaaaa", folder)
    run = runs.get(db, "aaaaaa")
    assert (run.done, run.total, run.eta_s) == (3, 9, 1.5)


def test_a_file_shorter_than_what_was_taken_in_starts_the_run_over(
    db: Any, folder: Path, write_events: Any
) -> None:
    write_events(
        folder,
        *(metrics(step, loss=1.0) for step in range(1, 9)),
        {"kind": "warning", "message": "w"},
        {"kind": "stranger"},
        {"kind": "end", "outcome": "failed", "reason": "r"},
    )
    intake.take_in(db, "aaaaaa", folder)
    (folder / "events.jsonl").unlink()
    write_events(folder, metrics(1, loss=7.0))
    assert intake.take_in(db, "aaaaaa", folder) == 1
    assert points.curve(db, "aaaaaa", "loss") == [(1, 7.0)]
    run = runs.get(db, "aaaaaa")
    assert (run.step, run.warnings, run.end_outcome) == (1, 0, None)
    assert results.kept_events(db, "aaaaaa") == []


def test_a_line_longer_than_a_batch_is_taken_whole_once_it_is_complete(
    db: Any, folder: Path, write_events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH_BYTES", 100)
    long = json.dumps({"t": 1.0, **metrics(1, **{f"m{n}": float(n) for n in range(50)})})
    path = folder / "events.jsonl"
    path.write_text(long)
    assert intake.take_in(db, "aaaaaa", folder) == 0
    path.write_text(long + "\n")
    write_events(folder, metrics(2, m0=5.0))
    assert intake.take_in(db, "aaaaaa", folder) == 2
    assert len(points.last(db, "aaaaaa")) == 50
    assert points.curve(db, "aaaaaa", "m0") == [(1, 0.0), (2, 5.0)]


def test_a_long_file_is_taken_in_by_batches_that_let_others_write(
    db: Any, folder: Path, write_events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH_BYTES", 1000)
    write_events(folder, *(metrics(step, loss=1.0) for step in range(1, 101)))
    size = (folder / "events.jsonl").stat().st_size
    commits = []
    db.conn.set_trace_callback(lambda sql: commits.append(sql) if sql == "commit" else None)
    assert intake.take_in(db, "aaaaaa", folder) == 100
    db.conn.set_trace_callback(None)
    assert len(commits) >= size // 1000


# What follows holds for any file at all.

NAMES = st.sampled_from(["train/loss", "val/Dice", "perf/images_per_s"])
STEPS = st.integers(0, 12)
NUMBERS = st.one_of(st.none(), st.floats(-5, 5), st.integers(-3, 3))
EVENTS = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("metrics"),
            "step": STEPS,
            "values": st.dictionaries(NAMES, NUMBERS, max_size=3),
        },
        optional={"epoch": st.floats(0, 3), "extra": st.booleans()},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("start"), "step": STEPS}, optional={"attempt": st.integers(1, 4)}
    ),
    st.fixed_dictionaries({"kind": st.just("progress"), "done": STEPS, "total": STEPS}),
    st.fixed_dictionaries(
        {
            "kind": st.just("checkpoint"),
            "kind_of": st.sampled_from(["last", "encoder"]),
            "path": st.sampled_from(["a.pt", "b.pt"]),
            "step": STEPS,
        }
    ),
    st.fixed_dictionaries({"kind": st.just("sample"), "path": st.text(max_size=3)}),
    st.fixed_dictionaries(
        {"kind": st.just("warning"), "message": st.text(max_size=2)},
        optional={"path": st.text(max_size=2)},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("result"), "values": st.dictionaries(NAMES, NUMBERS, max_size=2)}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("end"), "outcome": st.sampled_from(["succeeded", "failed", "odd"])}
    ),
    st.fixed_dictionaries({"kind": st.text(max_size=3)}),
)
LINES = st.one_of(
    EVENTS.map(lambda event: json.dumps({"t": 1.0, **event}).encode()),
    EVENTS.map(lambda event: json.dumps(event, ensure_ascii=False).encode(errors="replace")),
    st.sampled_from([b"", b"torn {", b"[]", b"\xff", b"  "]),
    st.binary(max_size=6).filter(lambda line: b"\n" not in line),
)


@functools.cache
def empty_registry() -> bytes:
    """A registry as a file, so that not every example pays for the making of its tables."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "registry.db"
        open_store(path).conn.close()
        return path.read_bytes()


def registry_with_one_run(folder: Path) -> Any:
    path = folder / "registry.db"
    path.write_bytes(empty_registry())
    db = open_store(path)
    db.conn.execute("pragma synchronous = off")
    new = runs.NewRun("aaaaaa", "mrm", "siim", 10, 0, "quick", "r", str(folder), None, ["true"], 0)
    runs.add(db, [new], at=1.0)
    return db


def taken_in(pieces: Sequence[bytes]) -> dict[str, list[tuple[Any, ...]]]:
    """What the registry holds after taking in after each piece that is appended."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        db = registry_with_one_run(folder)
        for piece in pieces:
            with (folder / "events.jsonl").open("ab") as file:
                file.write(piece)
            intake.take_in(db, "aaaaaa", folder)
        held = contents(db)
        db.conn.close()
    # the folder's name is in the row of the run
    return held | {"runs": [tuple(v for v in row if v != name) for row in held["runs"]]}


@settings(deadline=None, max_examples=150)
@given(
    lines=st.lists(LINES, max_size=25),
    cuts=st.lists(st.floats(0, 1), max_size=8),
    batch=st.sampled_from([16, 200, 4 * 2**20]),
    torn=st.booleans(),
)
def test_a_file_chopped_anywhere_and_taken_in_piecewise_is_the_file_taken_in_whole(
    lines: list[bytes], cuts: list[float], batch: int, torn: bool
) -> None:
    whole = b"".join(line + b"\n" for line in lines) + (b'{"kind": "me' if torn else b"")
    at = sorted(round(cut * len(whole)) for cut in cuts)
    pieces = [whole[a:b] for a, b in zip([0, *at], [*at, len(whole)], strict=True)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(intake, "BATCH_BYTES", batch)
        piecewise = taken_in(pieces)
    assert piecewise == taken_in([whole])


@settings(deadline=None, max_examples=100)
@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.just("start"), STEPS, st.none()),
            st.tuples(NAMES, STEPS, st.floats(-5, 5)),
        ),
        max_size=40,
    )
)
def test_the_points_are_those_that_no_later_start_has_superseded(
    events: list[tuple[str, int, float | None]],
) -> None:
    expected: dict[tuple[str, int], float | None] = {}
    lines = []
    for name, step, value in events:
        if name == "start":
            expected = {key: kept for key, kept in expected.items() if key[1] <= step}
            lines.append({"t": 1.0, "kind": "start", "step": step})
        else:
            expected[name, step] = value
            lines.append({"t": 1.0, "kind": "metrics", "step": step, "values": {name: value}})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        db = registry_with_one_run(folder)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "events.jsonl").write_text(text)
        assert intake.take_in(db, "aaaaaa", folder) == len(events)
        found = {
            (metric, step): value
            for metric in points.metric_names(db, "aaaaaa")
            for step, value in points.curve(db, "aaaaaa", metric)
        }
        db.conn.close()
    assert found == expected
