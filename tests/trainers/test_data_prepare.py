"""A prepared copy: the same pixels, the same records, and the same bytes after every accident."""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainers.data import prepare, records, shards, store, tokens, transforms
from trainers.data.items import BadItem
from trainers.data.pairs import Pairs

WORDS = "no focal consolidation small left pleural effusion heart size is normal".split()


def picture(path: Path, seed: int, size: tuple[int, int] = (90, 70), mode: str = "L") -> None:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size[::-1] if mode == "L" else (*size[::-1], 3)
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)


def write_set(root: Path, count: int = 12, *, split: bool = False, name: str = "{}.png") -> Path:
    """Write a set in MRM's form, with reports of several lines."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    with (root / "training.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["image_path", "report_content"] + ["split"] * split)
        for i in range(count):
            image = name.format(i)
            picture(root / image, i, (90, 70) if i % 2 else (64, 101))
            report = f"FINDINGS:\n {' '.join(rng.choice(WORDS, 9))}.\n\n IMPRESSION: Clear {i}."
            out.writerow([image, report] + ["validate" if i % 4 == 0 else "train"] * split)
    return root


def run(source: Path, into: Path, *more: str) -> int:
    given = ["--data_path", str(source), "--into", str(into), "--px", "48", "--shard_images", "4"]
    return prepare.main([*given, "--vocab_size", "150", "--jobs", "2", *more])


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != ".lock"}


def by_name(folder: Path) -> dict[str, records.Record]:
    found = records.read_records(folder)
    return {r.image.name: r for part in (found.train, found.val, found.test) for r in part}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("source") / "set")


@pytest.fixture(scope="module")
def copy(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("copy") / "copy"
    assert run(source, into) == 0
    return into


def test_the_copy_holds_the_records_of_the_original(source: Path, copy: Path) -> None:
    original, small = records.read_records(source), records.read_records(copy)
    for part in ("train", "val", "test"):
        before = [(r.image.name, r.report, r.patient, r.study) for r in getattr(original, part)]
        after = [(r.image.name, r.report, r.patient, r.study) for r in getattr(small, part)]
        assert before == after
    assert small.facts["fingerprint"] == original.facts["fingerprint"]
    assert small.facts["prepared"]["px"] == 48
    assert small.facts["prepared"]["left_out"]["unreadable_images"] == 0


def test_sections_can_still_be_told_apart_in_the_copy(source: Path, copy: Path) -> None:
    reports = {r.report for r in records.read_records(copy, text_field="impression").train}
    assert reports == {
        r.report for r in records.read_records(source, text_field="impression").train
    }
    assert all(report.startswith("Clear ") for report in reports)


def test_a_stored_image_is_what_pillow_makes_of_the_original(source: Path, copy: Path) -> None:
    for name, record in by_name(copy).items():
        whole = Image.open(source / name)
        size = (61, 48) if whole.size == (90, 70) else (48, 75)
        expected = np.asarray(whole.resize(size, Image.Resampling.BICUBIC))
        assert np.array_equal(np.asarray(transforms.read_image(record.image)), expected)


def test_random_crops_of_the_copy_are_those_of_the_image_made_smaller(
    source: Path, copy: Path
) -> None:
    for name, record in by_name(copy).items():
        direct = transforms.resize_keep(
            transforms.read_image(source / name), 48, interpolation=transforms.BICUBIC
        )
        pair = [
            transforms.random_resized_crop(
                image, 32, (0.2, 1), (0.75, 4 / 3), transforms.BICUBIC, np.random.default_rng(3)
            )
            for image in (direct, transforms.read_image(record.image))
        ]
        assert pair[0].tobytes() == pair[1].tobytes()


def test_smaller_images_and_colours_are_kept_as_grey_at_their_size(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", 3)
    picture(root / "0.png", 1, (40, 47))
    picture(root / "1.png", 1, (80, 60), mode="RGB")
    assert run(root, tmp_path / "copy") == 0
    found = by_name(tmp_path / "copy")
    small = transforms.read_image(found["0.png"].image)
    assert (small.mode, small.size) == ("L", (40, 47))
    assert small.tobytes() == Image.open(root / "0.png").tobytes()
    assert transforms.read_image(found["1.png"].image).mode == "L"


def test_an_image_kept_as_jpeg_stays_close(tmp_path: Path) -> None:
    smooth = tmp_path / "smooth"
    smooth.mkdir()
    grey = np.add.outer(np.arange(120), np.arange(100)).astype(np.uint8)
    (smooth / "training.csv").write_text("image_path,report_content\na.png,Clear\nb.png,Clear\n")
    for name in ("a.png", "b.png"):
        Image.fromarray(grey).save(smooth / name)
    assert run(smooth, tmp_path / "copy", "--store", "jpeg") == 0
    expected = np.asarray(Image.fromarray(grey).resize((48, 57), Image.Resampling.BICUBIC), int)
    for record in by_name(tmp_path / "copy").values():
        found = np.asarray(transforms.read_image(record.image), int)
        assert found.shape == expected.shape
        assert np.abs(found - expected).mean() < 2
    assert json.loads((tmp_path / "copy/prepared.json").read_text())["store"] == "jpeg"


def test_a_jpeg_is_halved_while_decoding_only_where_asked_and_said(tmp_path: Path) -> None:
    big = tmp_path / "big.jpg"
    picture(big, 1, (250, 200))
    assert transforms.read_image(big).size == (250, 200)
    assert transforms.read_image(big, draft_px=48).size == (63, 50)
    assert transforms.read_image(big, draft_px=120).size == (250, 200)
    assert "a half" in shards.Form(draft=True).method()
    assert "full size" in shards.Form().method()


def test_the_tokenizer_of_the_copy_is_the_one_that_a_run_would_train(copy: Path) -> None:
    train = records.read_records(copy).train
    own = tokens.train_tokenizer([r.report for r in train], 150)
    kept = tokens.load_tokenizer(copy / "tokenizer.json", 20)
    assert kept.get_vocab() == own.get_vocab()


def test_training_items_are_read_from_the_copy(copy: Path) -> None:
    train = records.read_records(copy).train
    tokenizer = tokens.load_tokenizer(copy / "tokenizer.json", 12)
    pairs = Pairs(train, tokenizer, px=32, length=12, patches=4, word_mask_ratio=0.5,
                  hflip="on", train=True)  # fmt: skip
    item: dict[str, Any] = dict(pairs.item(0, np.random.default_rng(0)))
    assert item["image"].shape == (3, 32, 32)
    assert item["name"].endswith(train[0].image.name)


def test_what_was_resolved_by_split_and_patient_stays_so(tmp_path: Path) -> None:
    root = write_set(
        tmp_path / "set", 8, split=True, name="files/p10/p1000000{0}/s5000000{0}/x.png"
    )
    assert run(root, tmp_path / "copy") == 0
    before, after = records.read_records(root), records.read_records(tmp_path / "copy")
    assert [r.patient for r in after.val] == [r.patient for r in before.val] != []
    assert after.train[0].study.startswith("5000000")


def test_preparing_twice_gives_the_same_bytes_and_writes_no_shard_again(
    source: Path, tmp_path: Path
) -> None:
    assert run(source, tmp_path / "a") == 0
    assert run(source, tmp_path / "b", "--jobs", "1") == 0
    first = content(tmp_path / "a")
    assert first == content(tmp_path / "b")
    written = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a").glob("images-*")}
    assert run(source, tmp_path / "a") == 0
    assert content(tmp_path / "a") == first
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a").glob("images-*")} == written


def test_a_changed_set_is_prepared_where_it_changed(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    assert run(root, tmp_path / "copy") == 0
    before = content(tmp_path / "copy")
    picture(root / "7.png", 99, (120, 80))
    assert run(root, tmp_path / "copy") == 0
    after = content(tmp_path / "copy")
    assert len([name for name in after if name.endswith(".grey")]) == 3
    kept = [name for name in before if name in after and name.startswith("images-")]
    assert len(kept) == 4  # two shards of three, with their indexes
    found = transforms.read_image(by_name(tmp_path / "copy")["7.png"].image)
    assert found.size == (72, 48)


PROGRAM = (sys.executable, "-P", "-m", "trainers.data.prepare")


def processes_at(into: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(into).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


@pytest.mark.slow
def test_a_kill_at_any_moment_changes_nothing_of_the_end(
    tmp_path: Path, wait_until: Callable[..., Any], capsys: Any
) -> None:
    root, big = write_set(tmp_path / "set", 18), ["--px", "400", "--shard_images", "1"]
    for i in range(18):
        picture(root / f"{i}.png", i, (1300, 1100))
    assert run(root, tmp_path / "calm", *big) == 0
    calm, torn = content(tmp_path / "calm"), tmp_path / "torn"
    for written in (1, 4):
        given = ["--data_path", str(root), "--into", str(torn), "--vocab_size", "150", *big]
        child = subprocess.Popen([*PROGRAM, *given], stderr=subprocess.DEVNULL)
        wait_until(lambda n=written: len(list(torn.glob("*.jsonl"))) >= n)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not (torn / "prepared.json").exists()
        wait_until(lambda: not processes_at(torn))
    there = {p.name: p.stat().st_mtime_ns for p in torn.glob("images-*.jsonl")}
    assert 0 < len(there) < 18
    capsys.readouterr()
    assert run(root, torn, *big) == 0
    assert "images are there already" in capsys.readouterr().err
    assert content(torn) == calm
    assert there.items() <= {p.name: p.stat().st_mtime_ns for p in torn.glob("*.jsonl")}.items()


def test_a_second_one_at_the_same_place_is_turned_away(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(prepare, "LOCK_WAIT_S", 0.1)
    (tmp_path / "copy").mkdir()
    with (tmp_path / "copy" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(source, tmp_path / "copy") == 1
    assert "another one is preparing" in capsys.readouterr().err
    assert run(source, tmp_path / "copy") == 0


def test_a_full_disk_leaves_what_is_done_and_no_torn_file(
    source: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    real, parent, encoded = shards.encode, os.getpid(), []

    def encode(image: Image.Image, form: shards.Form) -> bytes:
        encoded.append(image)
        if os.getpid() != parent and len(encoded) > before + 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(image, form)

    before = 12  # images whose size is tried
    monkeypatch.setattr(shards, "encode", encode)
    assert run(source, tmp_path / "copy", "--jobs", "1") == 1
    said = capsys.readouterr().err
    assert f"error: the disk is full at {tmp_path / 'copy'}" in said
    assert "what is done is kept" in said
    assert list((tmp_path / "copy").glob("*.part")) == []
    assert len(list((tmp_path / "copy").glob("*.jsonl"))) == 1
    monkeypatch.undo()
    assert run(source, tmp_path / "copy") == 0
    assert content(tmp_path / "copy") == content(copy)


def test_a_copy_for_which_there_is_no_room_is_not_begun(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    real = prepare.shutil.disk_usage
    monkeypatch.setattr(
        prepare.shutil, "disk_usage", lambda path: real(path)._replace(free=1 << 20)
    )
    assert run(source, tmp_path / "copy") == 1
    said = capsys.readouterr().err
    assert "has 1 MiB free, and the copy takes about 64 MiB more" in said
    assert "--store jpeg" in said
    assert list((tmp_path / "copy").glob("images-*")) == []


def test_broken_images_are_listed_with_row_and_reason_and_left_out(
    tmp_path: Path, capsys: Any
) -> None:
    root = write_set(tmp_path / "集 合", 12)
    whole = (root / "3.png").read_bytes()
    (root / "3.png").write_bytes(whole[: len(whole) // 2])
    (root / "5.png").write_bytes(b"")
    (root / "7.png").unlink()
    (root / "9.png").write_text("no image")
    assert run(root, tmp_path / "小 copy") == 0
    with (tmp_path / "小 copy" / "skipped.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["3.png", "5.png", "7.png", "9.png"]
    assert rows[0]["row"].endswith("training.csv:14")
    assert rows[1]["reason"] == "the file is empty"
    assert rows[2]["reason"] == "no such file or directory"
    assert all(row["reason"] for row in rows)
    said = capsys.readouterr().err
    assert said.count("skipped ") == 4
    facts = records.read_records(tmp_path / "小 copy").facts
    assert facts["prepared"]["left_out"]["unreadable_images"] == 4
    assert sum(facts["records"].values()) == 8


def test_a_set_with_too_many_broken_images_is_the_wrong_one(tmp_path: Path, capsys: Any) -> None:
    root = write_set(tmp_path / "set", 40)
    for i in range(21):
        (root / f"{i}.png").write_bytes(b"")
    assert run(root, tmp_path / "copy") == 4
    assert "of 40 images cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "copy" / "prepared.json").exists()


@pytest.mark.parametrize(
    ("table", "code", "says"),
    [
        ("\ufeffimage_path;report_content\n0.png;Clear\n1.png;Small\n", 0, ""),
        ("image_path,report_content\n0.png,A\n0.png,A\n1.png,B\n", 0, ""),
        ("image_path,report_content\n0.png,A\n0.png,B\n", 4, "csv:3: image"),
        ("image_path,report_content\n0.png,A\n1.png,A, B\n", 4, "csv:3: 3 fields"),
        ("image,report\n0.png,A\n", 4, "no column `image_path`"),
    ],
)
def test_tables_are_taken_and_refused_as_in_training(
    tmp_path: Path, capsys: Any, table: str, code: int, says: str
) -> None:
    root = write_set(tmp_path / "set", 2)
    (root / "training.csv").write_text(table, encoding="utf-8")
    assert run(root, tmp_path / "copy") == code
    said = capsys.readouterr().err
    assert says in said
    assert said.count("error: ") == bool(code)


def test_what_cannot_be_prepared_is_said_in_one_line(
    source: Path, copy: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run(tmp_path / "nowhere", tmp_path / "copy") == 3
    assert run(copy, tmp_path / "copy") == 4
    assert run(source, tmp_path / "copy", "--tokenizer", "/nowhere.json") == 3
    assert run(source, source) == 1
    said = capsys.readouterr().err
    assert "is a prepared copy itself" in said
    assert "holds other files" in said
    assert said.count("error: ") == 4
    with pytest.raises(SystemExit) as ended:
        run(source, tmp_path / "copy", "--px", "1")
    assert ended.value.code == 2


def test_a_copy_that_was_not_finished_or_was_changed_is_not_trained_on(
    copy: Path, tmp_path: Path
) -> None:
    for name, data in content(copy).items():
        (tmp_path / name).write_bytes(data)
    table = tmp_path / "training.csv"
    table.write_bytes(table.read_bytes().replace(b"Clear 3", b"Clear 8"))
    with pytest.raises(records.InputError, match="was changed after the copy was prepared"):
        records.read_records(tmp_path)
    table.unlink()
    (tmp_path / "prepared.json").unlink()
    with pytest.raises(records.MissingError, match="not finished; prepare it again"):
        records.read_records(tmp_path)


def test_a_damaged_shard_names_itself(copy: Path, tmp_path: Path) -> None:
    for name, data in content(copy).items():
        (tmp_path / name).write_bytes(data[:100] if name.endswith(".grey") else data)
    last = max(by_name(tmp_path).values(), key=lambda r: int(r.image.parent.name.split("-")[0]))
    with pytest.raises(BadItem, match=r"images-0000\d-.*grey at \d+: the prepared copy ends"):
        transforms.read_image(last.image)
    gone = tmp_path / "images-00009-0123456789ab.grey" / "0-4-2x2" / "a.png"
    with pytest.raises(BadItem, match="no such file"):
        transforms.read_image(gone)


def test_names_that_climb_or_are_absolute_stay_inside_the_shard() -> None:
    for name in ("../../etc/a.png", "/etc/a.png", "./etc/a.png"):
        path = Path("/copy") / store.entry_path(
            "images-00000-0123456789ab.grey", 8, 4, (2, 2), name
        )
        stored = store.locate(path)
        assert stored is not None
        assert stored.name.endswith("etc/a.png")
        assert ".." not in path.parts
        assert stored[:5] == (Path("/copy/images-00000-0123456789ab.grey"), 8, 4, 2, 2)


def test_progress_is_told_as_json_lines(source: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(source, tmp_path / "copy", "--json-progress") == 0
    lines = [json.loads(line) for line in io.StringIO(capsys.readouterr().out)]
    told = [line for line in lines if line["kind"] == "progress"]
    assert told[0] == {"kind": "progress", "done": 0, "total": 12, "eta_s": None}
    assert told[-1]["done"] == 12
    assert lines[0]["text"].startswith("12 images to prepare: about ")
    assert (lines[-1]["kind"], lines[-1]["images"]) == ("end", 12)


def test_a_tokenizer_that_is_given_is_kept_as_it_is(
    source: Path, copy: Path, tmp_path: Path, capsys: Any
) -> None:
    given = copy / "tokenizer.json"
    assert run(source, tmp_path / "copy", "--tokenizer", str(given)) == 0
    assert (tmp_path / "copy" / "tokenizer.json").read_bytes() == given.read_bytes()
    (tmp_path / "bad.json").write_text("{}")
    assert run(source, tmp_path / "other", "--tokenizer", str(tmp_path / "bad.json")) == 4
    assert "is no tokenizer file" in capsys.readouterr().err


def test_doing_it_anew_writes_every_shard_again(
    source: Path, copy: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run(source, tmp_path / "copy") == 0
    capsys.readouterr()
    assert run(source, tmp_path / "copy", "--anew") == 0
    assert "there already" not in capsys.readouterr().err
    assert content(tmp_path / "copy") == content(copy)
