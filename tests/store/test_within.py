"""What is no JSON object of a run folder, or is somewhere else, is read as none."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import within


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "torn", "a-list", "no-text", "null", "deep", "deep-object", "endless-number"],
)
def test_what_is_no_object_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert within.read_object(tmp_path, "config.json") == {}


def test_an_object_is_read_and_one_elsewhere_is_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"lr": 0.1}')
    (tmp_path / "config.json").write_text('{"secret": 1}')
    (run / "link.json").symlink_to(tmp_path / "config.json")
    assert within.read_object(run, "config.json") == {"lr": 0.1}
    assert within.read_object(run, "link.json") == {}
    assert within.read_object(run, "gone.json") == {}
