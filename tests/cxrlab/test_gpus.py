from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxrlab import gpus


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
