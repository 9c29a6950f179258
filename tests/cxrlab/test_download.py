"""Does a file come whole over lines that break and from servers that change their mind?"""

from __future__ import annotations

import fcntl
import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from cxrlab.assets import download
from cxrlab.assets.digests import Digests
from cxrlab.errors import BadInput, CxrlabError, NotFound, Usage

CONTENT = random.Random(0).randbytes(700_001)  # the same in every process of a test run
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _served(mirror: Any) -> None:
    mirror.content = CONTENT


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "some.pth"


class Told:
    """What a fetch said, and how far it said it was."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shown: list[tuple[int, int | None]] = []

    def __call__(self, url: str, target: Path, **given: Any) -> Digests:
        given.setdefault("expected", Digests())
        given.setdefault("waits_s", (0.0, 0.0))
        show = lambda done, total: self.shown.append((done, total))  # noqa: E731
        return download.fetch(url, target, show=show, say=self.lines.append, **given)


@pytest.fixture
def fetch() -> Told:
    return Told()


def ranges(mirror: Any) -> list[str | None]:
    return [headers.get("Range") for headers in mirror.asked]


def test_a_file_comes_whole_and_nothing_else_is_left(
    mirror: Any, target: Path, fetch: Told
) -> None:
    assert fetch(mirror.url, target).sha256 == SHA256
    assert target.read_bytes() == CONTENT
    assert [each.name for each in target.parent.iterdir()] == ["some.pth"]
    assert fetch.shown[0] == (0, len(CONTENT))
    assert fetch.shown[-1] == (len(CONTENT), len(CONTENT))


def test_a_line_that_breaks_many_times_is_gone_on_with_where_it_broke(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.cuts = [100_000, 50_000, 0, 200_000, 1]  # more often than anyone waits without progress
    assert fetch(mirror.url, target).sha256 == SHA256
    starts = [0, 100_000, 150_000, 150_000, 350_000, 350_001]
    assert ranges(mirror) == [None, *(f"bytes={start}-" for start in starts[1:])]
    assert [headers.get("If-Range") for headers in mirror.asked] == [None, *['"one"'] * 5]
    assert len(fetch.lines) == 5
    assert fetch.lines[0] == "the line is cut; 97.7 KiB of 683.6 KiB are here; trying again in 0 s"


def test_a_fetch_that_was_interrupted_is_gone_on_with_by_the_next_one(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.cuts = [300_000]
    with pytest.raises(CxrlabError, match=r"the line is cut; 293.0 KiB of 683.6 KiB are here") as e:
        fetch(mirror.url, target, waits_s=())
    assert (e.value.code, e.value.hint) == (1, "the same line goes on from there")
    assert not target.exists()
    assert fetch(mirror.url, target).sha256 == SHA256
    assert ranges(mirror) == [None, "bytes=300000-"]


def test_a_server_that_ignores_ranges_starts_again_cleanly(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.ranges, mirror.cuts = False, [300_000]
    assert fetch(mirror.url, target).sha256 == SHA256
    assert target.read_bytes() == CONTENT
    assert fetch.lines[-1] == (
        "the server cannot go on in the middle; starting again from the beginning"
    )


def test_a_server_that_ignores_ranges_and_always_breaks_there_is_given_up(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.ranges, mirror.cuts = False, [300_000] * 50
    with pytest.raises(CxrlabError, match="the line is cut"):
        fetch(mirror.url, target)
    assert len(mirror.asked) == 3  # the first, and after it two that brought nothing new


def test_a_file_that_changed_in_between_is_fetched_anew(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.cuts = [300_000]
    with pytest.raises(CxrlabError):
        fetch(mirror.url, target, waits_s=())
    mirror.content, mirror.etag = CONTENT[::-1], '"two"'
    fetch(mirror.url, target)
    assert target.read_bytes() == CONTENT[::-1]
    assert "the file there has changed; starting again from the beginning" in fetch.lines


def test_a_changed_file_is_noticed_where_the_server_overlooks_the_condition(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.cuts = [300_000]
    with pytest.raises(CxrlabError):
        fetch(mirror.url, target, waits_s=())
    mirror.content, mirror.etag = CONTENT[::-1], '"two"'
    mirror.modified = '"one"'  # answers to the old condition with a part of the new file
    fetch(mirror.url, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_file_that_is_shorter_by_now_is_fetched_anew(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.cuts, mirror.etag = [300_000], None
    with pytest.raises(CxrlabError):
        fetch(mirror.url, target, waits_s=())
    mirror.content = CONTENT[:1000]
    fetch(mirror.url, target)
    assert target.read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize(
    ("etag", "modified", "condition"),
    [
        ('W/"weak"', "Tue, 01 Mar 2022 00:00:00 GMT", "Tue, 01 Mar 2022 00:00:00 GMT"),
        ('W/"weak"', None, None),
        (None, None, None),
    ],
)
def test_the_condition_is_one_that_tells_bytes_apart_or_none(
    mirror: Any, target: Path, fetch: Told, etag: str, modified: str, condition: str
) -> None:
    mirror.etag, mirror.modified, mirror.cuts = etag, modified, [300_000]
    assert fetch(mirror.url, target).sha256 == SHA256
    assert mirror.asked[1].get("If-Range") == condition
    assert ranges(mirror) == [None, "bytes=300000-"]


def test_what_came_from_another_address_is_not_gone_on_with(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.cuts = [300_000]
    with pytest.raises(CxrlabError):
        fetch(mirror.url, target, waits_s=())
    assert fetch(f"{mirror.url}&y=2", target).sha256 == SHA256
    assert ranges(mirror) == [None, None]


def test_a_busy_server_is_asked_again(mirror: Any, target: Path, fetch: Told) -> None:
    mirror.statuses, mirror.retry_after = [503, 429], "0"
    assert fetch(mirror.url, target).sha256 == SHA256
    assert [line.split(";")[0] for line in fetch.lines] == [
        "the server is busy (503)",
        "the server is busy (429)",
    ]


def test_a_file_without_a_length_is_taken_as_it_comes(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.tells_length = False
    assert fetch(mirror.url, target).sha256 == SHA256
    assert fetch.shown[-1] == (len(CONTENT), None)


@pytest.mark.parametrize(
    ("status", "kind", "code"), [(404, NotFound, 3), (410, NotFound, 3), (403, CxrlabError, 1)]
)
def test_a_refusal_is_not_tried_again_and_leaves_nothing(
    mirror: Any, target: Path, fetch: Told, status: int, kind: type[CxrlabError], code: int
) -> None:
    mirror.statuses = [status] * 9
    with pytest.raises(kind, match=str(status)) as caught:
        fetch(mirror.url, target)
    assert (caught.value.code, len(mirror.asked)) == (code, 1)
    assert list(target.parent.iterdir()) == []


def test_no_way_to_the_server_is_said_after_the_tries(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.close()
    with pytest.raises(CxrlabError, match=r"the server cannot be reached \(connection refused\)"):
        fetch(mirror.url, target)
    assert len(fetch.lines) == 2
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("url", ["ftp://x/y", "file:///etc/passwd", "some.pth", "https://"])
def test_what_is_no_address_is_a_wrong_command_line(target: Path, fetch: Told, url: str) -> None:
    with pytest.raises(Usage):
        fetch(url, target)


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        (Digests(sha256="ab" * 32), f"its sha256 is {SHA256}, expected abab"),
        (Digests(md5="123456"), "expected one that begins with 123456"),
    ],
)
def test_another_file_than_expected_is_thrown_away_and_the_old_one_stays(
    mirror: Any, target: Path, fetch: Told, expected: Digests, says: str
) -> None:
    target.write_bytes(b"the good one")
    with pytest.raises(BadInput, match=says) as caught:
        fetch(mirror.url, target, expected=expected)
    assert caught.value.code == 4
    assert target.read_bytes() == b"the good one"
    assert [each.name for each in target.parent.iterdir()] == ["some.pth"]


def test_digests_are_compared_as_far_as_they_are_known(
    mirror: Any, target: Path, fetch: Told
) -> None:
    md5 = hashlib.md5(CONTENT).hexdigest()
    expected = Digests(sha256=SHA256.upper(), md5=md5[:6])
    assert fetch(mirror.url, target, expected=expected) == (SHA256, md5)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\n<!DOCTYPE html><title>Sign in</title>", "is a web page"), (b"", "is empty")],
)
def test_a_page_or_nothing_in_place_of_a_file_is_refused(
    mirror: Any, target: Path, fetch: Told, content: bytes, says: str
) -> None:
    mirror.content = content
    with pytest.raises(BadInput, match=says):
        fetch(mirror.url, target)
    assert list(target.parent.iterdir()) == []


def test_a_file_for_which_there_is_no_room_is_not_begun(
    mirror: Any, target: Path, fetch: Told
) -> None:
    mirror.length = 2**60
    with pytest.raises(CxrlabError, match=r"takes 1048576.0 TiB, and .* are free"):
        fetch(mirror.url, target)
    assert list(target.parent.iterdir()) == []


def test_a_disk_that_is_full_in_the_middle_says_so(mirror: Any, target: Path, fetch: Told) -> None:
    target.with_name(".some.pth.part").symlink_to("/dev/full")
    with pytest.raises(CxrlabError, match="no space left on device") as caught:
        fetch(mirror.url, target)
    assert (caught.value.code, len(mirror.asked)) == (1, 1)


def test_a_file_is_fetched_by_one_at_a_time(mirror: Any, target: Path, fetch: Told) -> None:
    with target.with_name(".some.pth.part").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CxrlabError, match="by somebody else"):
            fetch(mirror.url, target)
    assert mirror.asked == []
