from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxrlab import gpus


def gpu(index: int, used_mib: int = 3) -> gpus.Gpu:
    return gpus.Gpu(index, f"GPU-{index}", "H200", used_mib, 143771, 0, 30, 75)


def test_a_reading_without_a_driver_is_an_empty_list_with_a_reason() -> None:
    reading = gpus.read_gpus()
    if reading.gpus:
        pytest.skip("this machine has a GPU")
    assert reading.error


@pytest.mark.gpu
def test_a_reading_of_the_driver_names_each_gpu_by_its_uuid() -> None:
    reading = gpus.read_gpus()
    if not reading.gpus:
        pytest.skip(reading.error)
    assert not reading.error
    for found in reading.gpus:
        assert found.uuid.startswith("GPU-")
        assert 0 <= found.used_mib < found.total_mib


def test_a_file_can_stand_for_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gpus.json"
    item = {"index": 0, "uuid": "GPU-a", "name": "H200", "used_mib": 9, "total_mib": 99}
    path.write_text(json.dumps([{**item, "processes": [[12, "ann", 8]]}]))
    monkeypatch.setenv("CXRLAB_FAKE_GPUS", str(path))
    reading = gpus.read_gpus()
    assert reading.error == ""
    assert reading.gpus[0].uuid == "GPU-a"
    assert reading.gpus[0].processes == (gpus.GpuProcess(12, "ann", 8),)


def test_reading_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRLAB_FAKE_GPUS", str(tmp_path / "none.json"))
    reading = gpus.read_gpus()
    assert reading.gpus == ()
    assert "none.json" in reading.error


def test_free_is_what_nobody_claims_and_others_hardly_use() -> None:
    all_of_them = [gpu(0, 499), gpu(1, 500), gpu(2), gpu(3)]
    assert [g.index for g in gpus.free_gpus(all_of_them, {"GPU-3"})] == [2, 0]


def test_the_labs_limit_counts_what_it_holds_already() -> None:
    all_of_them = [gpu(0), gpu(1), gpu(2), gpu(3)]
    assert len(gpus.free_gpus(all_of_them, {"GPU-3"}, allowed=3)) == 2
    assert gpus.free_gpus(all_of_them, {"GPU-3"}, allowed=1) == []


def test_a_run_that_waits_for_gpus_is_told_who_has_them() -> None:
    told = gpus.why_not([gpu(0), gpu(1, 9000)], {"GPU-0"}, wanted=1)
    assert told == "waits for 1 free GPU (1 held by this lab's runs, 1 used by others)"


def test_a_run_that_wants_more_than_there_are_is_told_so() -> None:
    assert gpus.why_not([gpu(0)], set(), wanted=2) == "waits for 2 GPUs; there are 1 for this lab"
