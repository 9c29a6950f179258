"""The budget, decided: nothing that somebody needs goes, and no more than has to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab import text
from cxrlab.keeping import File, Owner, kinds, needed, spare

OWNERS = st.builds(
    Owner,
    id=st.just(""),
    ended=st.floats(0, 100),
    under_way=st.booleans(),
    cited=st.booleans(),
    started_from=st.booleans(),
    superseded=st.booleans(),
)
FILES = st.builds(
    File,
    run=st.integers(0, 4).map(str),
    path=st.uuids().map(str),
    kind=st.sampled_from(["best", "last", "encoder", "other", "leftover"]),
    bytes=st.integers(0, 100),
    saved=st.floats(0, 100),
)


@given(st.lists(OWNERS, min_size=5, max_size=5), st.lists(FILES), st.integers(0, 2000), st.data())
def test_nothing_needed_ever_goes_and_no_more_than_has_to(
    made: list[Owner], files: list[File], budget: int, data: st.DataObject
) -> None:
    owners = {str(n): owner._replace(id=str(n)) for n, owner in enumerate(made)}
    named = {file.path for file in files if data.draw(st.booleans())}
    chosen = spare(files, owners, budget=budget, named=named)
    gone = [each.file for each in chosen]
    for file in gone:
        owner = owners[file.run]
        assert not owner.under_way
        assert file.kind == "leftover" or file.path not in named
        if file.kind in ("best", "last", "encoder"):
            assert not owner.cited
            assert not owner.started_from
            assert owner.superseded
    total, freed = sum(f.bytes for f in files), sum(f.bytes for f in gone)
    if gone:
        assert total - (freed - gone[-1].bytes) > budget
    if total - freed > budget:
        left = [file for file in files if file not in gone]
        assert all(needed(file, owners[file.run], named=named) for file in left)


def test_leftovers_go_first_then_what_is_neither_best_nor_last_then_the_superseded() -> None:
    old = Owner("old", 1.0, False, False, False, True)
    new = Owner("new", 2.0, False, True, False, False)
    files = [
        File("new", "a", "other", 1, 5.0), File("old", "b", "last", 1, 1.0),
        File("old", "c", "other", 1, 1.0), File("new", "d", "leftover", 1, 9.0),
        File("new", "e", "best", 1, 1.0),
    ]  # fmt: skip
    owners = {"old": old, "new": new}
    assert [each.file.path for each in spare(files, owners, budget=0)] == ["d", "c", "a", "b"]
    assert [each.file.path for each in spare(files, owners, budget=3)] == ["d", "c"]


def test_a_checkpoint_is_known_by_its_name() -> None:
    names = {
        "checkpoints/last.pt": "last", "checkpoints/best.pt": "best", "checkpoints/a/latest.pth":
        "last", "checkpoints/encoder.pt": "encoder", "checkpoints/model_best.pth": "best",
        "checkpoints/best-epoch=3.ckpt": "best", "checkpoints/epoch_10.pth": "other",
        "checkpoints/.last.pt.17.tmp": "leftover", "checkpoints/lasting.pt": "other",
    }  # fmt: skip
    assert kinds(dict.fromkeys(names, 1.0)) == names


def test_where_none_is_called_the_last_the_newest_is() -> None:
    saved = {"checkpoint-9.pth": 3.0, "checkpoint-19.pth": 7.0, "best.pth": 9.0}
    assert kinds(saved) == {
        "checkpoint-9.pth": "other", "checkpoint-19.pth": "last", "best.pth": "best"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "bytes"),
    [("200 GiB", 200 * 2**30), ("1.5TB", 1_500_000_000_000), ("1000", 1000), ("512 B", 512),
     ("2 k", 2000), ("3 Mi", 3 * 2**20), ("much", None), ("-1", None), ("1 GiBB", None),
     ("", None)],
)  # fmt: skip
def test_sizes_are_read_as_they_are_written(said: str, bytes: int | None) -> None:
    assert text.bytes_of(said) == bytes
