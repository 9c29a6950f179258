"""The files of a run: sizes, who cites them, where the encoder comes from, what the GPUs do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab.gpus import Gpu, Reading
from cxrlab.lab import Lab
from cxrlab.tui import file_words, reading_run, tracing
from cxrlab.tui.messages import GpusRead, OpenRun
from store import artifacts, claims, intake, runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


def folder_of(lab: Lab, id: str) -> Path:
    return next(lab.runs_dir.glob(f"{id}-*"))


def said_of(lab: Lab, id: str, gpus: GpusRead | None = None) -> str:
    view, traced = reading_run.read_run(lab, id), tracing.read_traced(lab, id)
    return file_words.files(view, root=lab.root, traced=traced, gpus=gpus).plain


def save(lab: Lab, id: str, name: str, size: int) -> None:
    path = folder_of(lab, id) / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


async def test_v_shows_size_cells_and_the_line_of_descent(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    save(full_lab, "siimaa", "best.pt", 3 * 1024)
    app = make_app(full_lab)
    async with app.run_test(size=(100, 60)) as pilot:
        app.post_message(OpenRun("siimaa"))
        await until(pilot, lambda: app.screen._view is not None)
        await pilot.press("v")
        await until(pilot, lambda: "cited by mrm siim 10 % Dice" in shown(app))
        for said in (
            "step 110, 3.0 KiB",
            "sha256 abababababab",
            "the file is not there",
            "no cell cites it",
            "run mrmaaa (mrm, succeeded)",
            "sha256 cdcdcdcdcdcd",
            "images per second",
        ):
            assert said in shown(app), said
        assert "ab" * 7 not in shown(app)


def test_an_encoder_is_cited_by_the_cells_that_start_from_it(full_lab: Lab) -> None:
    path = folder_of(full_lab, "mrmaaa") / "checkpoints/encoder.pt"
    cited = tracing.read_traced(full_lab, "mrmaaa").files[path].cells
    assert "mrm siim 10 % Dice" in cited
    assert all("_nothing" not in cell for cell in cited)


def test_a_checkpoint_that_was_removed_says_so(full_lab: Lab) -> None:
    db = open_store(full_lab.registry)
    artifacts.mark_removed(db, "siimaa", "checkpoints/last.pt", at=1_770_000_000.0)
    db.close()
    assert "removed to keep within the budget on 2026-02-0" in said_of(full_lab, "siimaa")
    save(full_lab, "siimaa", "last.pt", 10)
    assert "removed to keep" not in said_of(full_lab, "siimaa")


def test_the_line_of_descent_ends_at_published_weights(full_lab: Lab) -> None:
    traced = tracing.read_traced(full_lab, "siimaa")
    file, title = next(iter(traced.published.items()))
    end = {"run": None, "method": None, "state": None, "path": f"/w/{file}", "sha256": "ef" * 32}
    view = reading_run.read_run(full_lab, "siimaa")
    traced = traced._replace(line=(*traced.line, end))
    said = file_words.files(view, root=full_lab.root, traced=traced).plain
    assert f"published weights: {title}" in said
    assert "sha256 efefefefefef" in said


def test_a_run_tells_its_peaks_and_a_running_one_what_its_gpu_does(full_lab: Lab) -> None:
    db = open_store(full_lab.registry)
    folder = folder_of(full_lab, "deepaa")
    with (folder / "events.jsonl").open("a") as file:
        for step, peak, wait in ((261, 11.5, 0.5), (262, 12.25, 0.07)):
            file.write(
                f'{{"t": 1, "kind": "metrics", "step": {step}, "epoch": 7, "values": '
                f'{{"perf/peak_gib": {peak}, "perf/data_wait": {wait}}}}}\n'
            )
    intake.take_in(db, "deepaa", folder)
    assert runs.get(db, "deepaa").state == "running"
    assert "a CPU slot, no GPU" in said_of(full_lab, "deepaa")
    claims.release(db, "deepaa")
    claims.claim(db, "deepaa", ["GPU-one"])
    db.close()
    assert "GPU-one: no reading of it here" in said_of(full_lab, "deepaa")
    gpu = Gpu(1, "GPU-one", "H100", 40_960, 81_920, 87, 60, 350, ())
    other = Gpu(2, "GPU-two", "H100", 10, 81_920, 3, 60, 350, ())
    read = GpusRead(Reading((gpu, other), "", 0.0), 0, {})
    said = said_of(full_lab, "deepaa", read)
    assert "12.2 GiB" in said
    assert "7 % of the time" in said
    assert "GPU 1 now" in said
    assert "87 %  40.0/80.0 GiB" in said
    assert "GPU 2" not in said


@pytest.mark.parametrize("id", ["rndbbb", "rndaaa"])
def test_a_run_without_an_encoder_of_a_run_is_shown_too(full_lab: Lab, id: str) -> None:
    assert "where its encoder comes from" in said_of(full_lab, id)
