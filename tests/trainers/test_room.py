"""A training waits while the disk is full, says so without needing room, and loses nothing."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from trainers import checkpoints, room
from trainers.events import EventLog
from trainers.room import Room


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_S", 0.02)


def told(folder: Path) -> dict[str, Any]:
    text = (folder / room.FILE_NAME).read_text().strip()
    return json.loads(text) if text else {}


def warnings(folder: Path) -> list[str]:
    found = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [event["message"] for event in found if event["kind"] == "warning"]


def test_with_room_a_file_is_written_at_once_and_nothing_is_said(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    assert Room(tmp_path, log).keep(lambda: (tmp_path / "x").write_text("x"), needed=10)
    assert (tmp_path / "x").exists()
    assert (told(tmp_path), warnings(tmp_path)) == ({}, [])


def test_it_waits_until_there_is_room_and_says_for_how_much(
    small_disk: Path, fill: Any, wait_until: Any
) -> None:
    folder = small_disk / "run"
    log = EventLog(folder)
    waiting = Room(folder, log)
    filler = fill(small_disk)
    said: list[dict[str, Any]] = []

    def make_room() -> None:
        said.append(wait_until(lambda: told(folder)))
        filler.unlink()

    other = threading.Thread(target=make_room)
    other.start()
    assert waiting.keep(lambda: (folder / "x").write_text("x" * 9000), needed=2**20)
    other.join()
    assert said[0] == {"attempt": 1, "needed": 2 * 2**20, "free": 0}
    assert told(folder) == {}
    assert [message.split(" for ")[0] for message in warnings(folder)] == ["paused"]


def test_a_disk_that_fills_while_it_is_written_is_waited_for_too(tmp_path: Path) -> None:
    tries: list[int] = []

    def write() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    assert Room(tmp_path, EventLog(tmp_path)).keep(write, needed=0)
    assert len(tries) == 3


def test_another_trouble_of_the_disk_is_not_waited_for(tmp_path: Path) -> None:
    def write() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        Room(tmp_path, EventLog(tmp_path)).keep(write, needed=0)


def test_who_is_asked_to_stop_waits_no_longer(small_disk: Path, fill: Any) -> None:
    folder = small_disk / "run"
    waiting = Room(folder, EventLog(folder))
    fill(small_disk)
    asked = iter([False, False, True])
    written = waiting.keep(
        lambda: (folder / "x").write_text("x"), needed=2**20, stopping=lambda: next(asked)
    )
    assert not written
    assert not (folder / "x").exists()


def test_processes_wait_together(tmp_path: Path) -> None:
    """A rank that writes nothing waits as long as the one that does."""
    flags = iter([True, False, False, False])
    other = Room(tmp_path, EventLog(tmp_path, enabled=False), enabled=False)
    assert other.keep(lambda: None, needed=0, together=lambda flag: next(flags))
    assert next(flags, None) is None


def test_the_size_of_a_checkpoint_is_that_of_its_tensors() -> None:
    import torch

    content = {"model": {"a": torch.zeros(10, 4)}, "random": [{"key": torch.zeros(3).double()}]}
    assert checkpoints.size_of({**content, "step": 3, "names": ["x"]}) == 160 + 24
