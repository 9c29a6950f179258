"""Fingerprints: the same for the same data, whatever its order and line breaks; and quick."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from trainers.data import fingerprint
from trainers.data.records import read_records

TABLE = "image_path,report_content\na.png,Clear.\nb.png,Effusion.\n"


def write(root: Path, table: str = TABLE, sizes: tuple[int, int] = (3, 4)) -> str:
    root.mkdir(exist_ok=True)
    (root / "training.csv").write_text(table)
    for name, size in zip("ab", sizes, strict=True):
        (root / f"{name}.png").write_bytes(bytes(size))
    return str(read_records(root).facts["fingerprint"])


def test_it_is_the_digest_of_the_sorted_rows() -> None:
    rows = [("b.png", "4", "x", ""), ("a.png", "3", "y", "val")]
    expected = hashlib.sha256(b"a.png\t3\ty\tval\nb.png\t4\tx\t\n").hexdigest()
    assert fingerprint.of_rows(rows) == expected
    assert fingerprint.of_rows(reversed(rows)) == expected


def test_place_order_and_line_breaks_do_not_count(tmp_path: Path) -> None:
    first = write(tmp_path / "a")
    lines = TABLE.splitlines()
    turned = "\r\n".join([lines[0], lines[2], lines[1], ""])
    assert write(tmp_path / "b b", turned) == first
    assert write(tmp_path / "c", TABLE.replace("Clear.", '" Clear.\n"')) == first
    shutil.move(tmp_path / "a", tmp_path / "elsewhere")
    assert read_records(tmp_path / "elsewhere").facts["fingerprint"] == first


def test_reports_names_sizes_and_splits_do_count(tmp_path: Path) -> None:
    found = [
        write(tmp_path / "a"),
        write(tmp_path / "b", TABLE.replace("Clear", "Clean")),
        write(tmp_path / "c", sizes=(3, 5)),
        write(tmp_path / "d", TABLE.replace("content", "content,split").replace(".\n", ".,val\n", 1)
              .replace("Effusion.", "Effusion.,train")),
    ]  # fmt: skip
    (tmp_path / "a" / "b.png").unlink()
    found.append(str(read_records(tmp_path / "a").facts["fingerprint"]))
    assert len(set(found)) == 5


def test_many_files_are_asked_for_in_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}" for i in range(5000)]
    for i in range(0, 5000, 7):
        paths[i].write_bytes(bytes(i % 50))
    expected = [i % 50 if i % 7 == 0 else fingerprint.MISSING for i in range(5000)]
    assert fingerprint.file_sizes(paths) == expected
