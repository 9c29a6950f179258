"""What TensorBoard and torch write comes in as runs with their curves, and comes in once."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.imports import tensorboard
from cxrlab.lab import Lab, make_lab
from store import points
from store.db import open_store
from trainers import framing, protobuf

PLACE = ("--method", "mrm", "--task", "siim", "--ratio", "10")


def cxrlab(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])


def told(lab: Lab, *words: str) -> Any:
    result = cxrlab(lab, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def bring_in(lab: Lab, folder: Path, *words: str) -> Any:
    return told(lab, "import", "tensorboard", str(folder), *(words or PLACE))


def curve(lab: Lab, id: str, metric: str) -> list[tuple[int, float]]:
    db = open_store(lab.registry)
    try:
        return points.curve(db, id, metric)
    finally:
        db.conn.close()


def write(folder: Path, name: str, values: dict[int, float], *, t: float = 1e9) -> None:
    """Write an event file as TensorBoard's own writer does."""
    writer = EventFileWriter(str(folder))
    for step, value in values.items():
        event = Event(wall_time=t + step, step=step)
        event.summary.value.add(tag=name, simple_value=value)
        writer.add_event(event)
    writer.close()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path / "lab")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    write(tmp_path / "logs" / "first", "train/loss", {1: 2.0, 2: 1.5, 3: 1.25})
    return tmp_path / "logs"


@pytest.mark.slow
def test_what_torch_writes_comes_in_a_run_for_each_folder(lab, tmp_path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for name in ("a", "b"):
        with SummaryWriter(tmp_path / "logs" / name) as writer:
            for step in range(1, 6):
                writer.add_scalar("train/loss", 2.0 / step, step, walltime=1e9 + step)
                writer.add_scalar("val_dice", 0.1 * step, step, new_style=True)
            writer.add_text("note", "a text is no curve")
    brought = bring_in(lab, tmp_path / "logs", *PLACE, "--rename", "val_dice=val/Dice")
    assert [run["done"] for run in brought] == ["new", "new"]
    assert [run["curves"] for run in brought] == [["train/loss", "val/Dice"]] * 2
    loss = curve(lab, brought[0]["id"], "train/loss")
    assert dict(loss) == pytest.approx({step: 2.0 / step for step in range(1, 6)})


def test_scalars_that_are_tensors_are_read_as_newer_writers_write_them(tmp_path) -> None:
    writer = EventFileWriter(str(tmp_path / "logs"))
    for step, value in enumerate((0.25, 0.75)):
        writer.add_event(Event(wall_time=5.0, step=step, summary=scalar_pb("epoch_loss", value)))
    writer.close()
    (found,) = tensorboard.read(tmp_path / "logs")
    assert found.curves == {"epoch_loss": {0: (0.25, 5.0), 1: (0.75, 5.0)}}


def test_the_run_is_foreign_and_keeps_when_each_step_was_logged(lab, logs) -> None:
    (brought,) = bring_in(lab, logs)
    shown = told(lab, "show", brought["id"])
    assert (shown["state"], shown["foreign"], shown["step"]) == ("succeeded", True, 3)
    assert shown["result"]["source"] == "tensorboard run logs/first"
    assert (shown["attempts"][0]["started"], shown["attempts"][0]["ended"]) == (1e9 + 1, 1e9 + 3)


def test_importing_twice_changes_nothing(lab, logs) -> None:
    (first,) = bring_in(lab, logs)
    folder = Path(first["folder"])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (second,) = bring_in(lab, logs)
    assert (second["id"], second["done"]) == (first["id"], "unchanged")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert len(told(lab, "runs")) == 1


def test_a_log_that_has_grown_brings_its_run_up_to_date(lab, logs) -> None:
    (first,) = bring_in(lab, logs)
    write(logs / "first", "train/loss", {4: 1.0}, t=2e9)
    (second,) = bring_in(lab, logs)
    assert (second["id"], second["done"]) == (first["id"], "updated")
    assert curve(lab, first["id"], "train/loss") == [(1, 2.0), (2, 1.5), (3, 1.25), (4, 1.0)]
    (third,) = bring_in(lab, logs)
    assert third["done"] == "unchanged"


def test_a_rebuilt_registry_finds_the_run_again(lab, logs) -> None:
    (brought,) = bring_in(lab, logs)
    lab.registry.unlink()
    assert cxrlab(lab, "rebuild").exit_code == 0
    (again,) = bring_in(lab, logs)
    assert (again["id"], again["done"]) == (brought["id"], "unchanged")
    assert curve(lab, brought["id"], "train/loss") == [(1, 2.0), (2, 1.5), (3, 1.25)]


def test_moved_logs_are_known_by_what_they_hold(lab, logs, tmp_path) -> None:
    (first,) = bring_in(lab, logs, *PLACE, "--source", "their repository")
    shutil.move(logs, tmp_path / "elsewhere")
    (second,) = bring_in(lab, tmp_path / "elsewhere", *PLACE, "--source", "their repository")
    assert (second["id"], second["done"]) == (first["id"], "unchanged")


def test_another_log_of_one_source_and_seed_is_refused(lab, logs, tmp_path) -> None:
    bring_in(lab, logs, *PLACE, "--source", "theirs")
    write(tmp_path / "others", "train/loss", {1: 9.0})
    words = (*PLACE, "--source", "theirs")
    result = cxrlab(lab, "import", "tensorboard", str(tmp_path / "others"), *words)
    assert result.exit_code == 2
    assert "holds another log" in result.stderr


def test_a_known_test_metric_fills_its_cell_as_foreign_and_a_percentage_does_not(
    lab, tmp_path
) -> None:
    write(tmp_path / "logs" / "share", "test/Dice", {10: 0.625})
    write(tmp_path / "logs" / "percent", "test/Dice", {10: 62.5})
    for name in ("share", "percent"):
        bring_in(lab, tmp_path / "logs", *PLACE, "--only", f"*{name}")
    (cell,) = [c for c in told(lab, "grid", "--method", "mrm", "--task", "siim:10")
               if (c["task"], c["ratio"]) == ("siim", 10)]  # fmt: skip
    assert (cell["value"], cell["n"], cell["foreign"]) == (0.625, 1, True)


def test_a_torn_tail_is_skipped_with_a_word(tmp_path) -> None:
    write(tmp_path, "train/loss", {1: 2.0, 2: 1.5})
    (path,) = tmp_path.glob("*tfevents*")
    path.write_bytes(path.read_bytes()[:-7])
    (found,) = tensorboard.read(tmp_path)
    assert list(found.curves["train/loss"]) == [1]
    assert "torn" in found.notes[0]


def test_a_damaged_record_ends_the_reading_with_a_word(tmp_path) -> None:
    write(tmp_path, "train/loss", {1: 2.0, 2: 1.5})
    (path,) = tmp_path.glob("*tfevents*")
    content = bytearray(path.read_bytes())
    content[-10] ^= 255
    path.write_bytes(content)
    (found,) = tensorboard.read(tmp_path)
    assert list(found.curves["train/loss"]) == [1]
    assert "damaged" in found.notes[0]


def test_a_restart_supersedes_the_later_steps(tmp_path) -> None:
    writer = EventFileWriter(str(tmp_path))
    for step, value in ((1, 2.0), (2, 1.9), (3, 1.8)):
        event = Event(wall_time=1.0, step=step)
        event.summary.value.add(tag="loss", simple_value=value)
        writer.add_event(event)
    writer.add_event(Event(step=2, session_log=SessionLog(status=SessionLog.START)))
    writer.close()
    (found,) = tensorboard.read(tmp_path)
    assert list(found.curves["loss"]) == [1]


def test_runs_say_where_they_belong_or_the_command_line_does(lab, logs) -> None:
    result = cxrlab(lab, "import", "tensorboard", str(logs), "--method", "mrm")
    assert (result.exit_code, "--task" in result.stderr) == (2, True)
    result = cxrlab(lab, "import", "tensorboard", str(logs), "--method", "mmr", "--task", "siim")
    assert (result.exit_code, "`mrm`" in result.stderr) == (3, True)


@pytest.mark.parametrize("words", [(), ("--only", "nothing*")])
def test_a_folder_without_such_a_run_is_exit_3(lab, tmp_path, logs, words) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    folder = logs if words else empty
    result = cxrlab(lab, "import", "tensorboard", str(folder), *PLACE, *words)
    assert result.exit_code == 3


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_records_are_framed_as_tensorboard_frames_them(tmp_path_factory, contents) -> None:
    path = tmp_path_factory.mktemp("records") / "file"
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for content in contents:
            writer.write(content)
        writer.flush()
    assert path.read_bytes() == b"".join(map(framing.tf_record, contents))
    complaints: list[str] = []
    with path.open("rb") as file:
        assert list(framing.tf_records(file, complaints.append)) == contents
    assert not complaints


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text())
def test_messages_are_read_as_protobuf_writes_them(step, t, text) -> None:
    message = Event(step=step, wall_time=t, file_version=text).SerializeToString()
    parts = dict(protobuf.fields(message))
    assert protobuf.signed(parts.get(2, 0)) == step
    assert protobuf.floating(parts.get(1, bytes(8))) == t
    assert parts.get(3, b"") == text.encode()
    ours = protobuf.double_field(1, t) + protobuf.whole_field(2, step)
    parsed = Event.FromString(ours + protobuf.bytes_field(3, text))
    assert (parsed.step, parsed.wall_time, parsed.file_version) == (step, t, text)


@given(st.binary(max_size=200))
def test_what_is_no_message_is_a_value_error_and_nothing_else(message) -> None:
    try:
        for _, value in protobuf.fields(message):
            assert isinstance(value, int | bytes)
    except ValueError:
        pass


def test_a_value_that_is_not_finite_stays_a_point(lab, tmp_path) -> None:
    write(tmp_path / "logs", "train/loss", {1: math.nan, 2: 1.0})
    (brought,) = bring_in(lab, tmp_path / "logs")
    assert brought["points"] == 2
    assert curve(lab, brought["id"], "train/loss") == [(2, 1.0)]
