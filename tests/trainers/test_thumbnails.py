"""Pictures are made small for a page, and what is no picture is said and left out."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trainers import thumbnails


@pytest.fixture
def answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Ask for copies of pictures as the report does."""

    def ask(*paths: Path, most_bytes: int = 10**6) -> list[dict[str, Any]]:
        wanted = tmp_path / "wanted.json"
        asked = {"pictures": [str(p) for p in paths], "side_px": 64, "most_bytes": most_bytes}
        wanted.write_text(json.dumps(asked))
        assert thumbnails.main(["--wanted", str(wanted)]) == 0
        return json.loads(capsys.readouterr().out)["pictures"]

    return ask


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "1", "CMYK"])
def test_a_picture_of_any_mode_is_made_small_and_keeps_its_shape(tmp_path, answer, mode) -> None:
    path = tmp_path / ("a.tif" if mode in ("I;16", "CMYK") else "a.png")
    Image.new(mode, (400, 200)).save(path)
    (made,) = answer(path)
    copy = Image.open(io.BytesIO(base64.b64decode(made["base64"])))
    assert (copy.format, copy.size) == ("WEBP", (64, 32))
    assert (made["width"], made["height"]) == (64, 32)


def test_a_small_picture_is_not_made_larger(tmp_path, answer) -> None:
    Image.new("L", (20, 10)).save(tmp_path / "a.png")
    (made,) = answer(tmp_path / "a.png")
    assert (made["width"], made["height"]) == (20, 10)


def test_what_is_no_picture_is_left_out_and_the_others_come(tmp_path, answer) -> None:
    (tmp_path / "no.png").write_text("not at all")
    Image.new("L", (90, 90)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    Image.new("L", (9, 9)).save(tmp_path / "yes.png")
    made = answer(*(tmp_path / name for name in ("no.png", "cut.png", "gone.png", "yes.png")))
    assert ["base64" in each for each in made] == [False, False, False, True]


def test_a_picture_that_would_fill_the_memory_is_left_out(tmp_path, answer, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("L", (90, 90)).save(tmp_path / "bomb.png")
    (made,) = answer(tmp_path / "bomb.png")
    assert made == {"why": "DecompressionBombError"}


def test_pictures_that_have_no_room_are_left_out(tmp_path, answer) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (64, 64)).save(tmp_path / name)
    (alone,) = answer(tmp_path / "a.png")
    size = len(alone["base64"])
    made = answer(tmp_path / "a.png", tmp_path / "b.png", most_bytes=size)
    assert made == [alone, {"why": thumbnails.NO_ROOM}]
