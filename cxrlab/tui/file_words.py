"""How are a run's files put into words: results, checkpoints, origin, GPUs, attempts, warnings?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from rich.text import Text

from cxrlab import restricted, text, use_words
from cxrlab.harmless import harmless
from cxrlab.tui import sentences
from cxrlab.tui.messages import GpusRead
from cxrlab.tui.reading_run import RunView
from cxrlab.tui.telling import at_step, heading, interval, row, within
from cxrlab.tui.tracing import Measured, Stands, Traced
from cxrlab.tui.words import joined, tr
from store.artifacts import Artifact

MOST_CELLS = 6
"""So many cells are named at most that rest on one checkpoint."""

DIGITS = 12
"""So much of a digest is shown; `cxrlab show` has all of it."""


def files(
    view: RunView, *, root: Path, traced: Traced | None = None, gpus: GpusRead | None = None
) -> Text:
    """Return all that a run has left behind and where it came from; paths are in its folder.

    Args:
        view: the run.
        root: the lab's folder.
        traced: what stands behind its files; None while that is read.
        gpus: what the GPUs do now, for a run that holds some.
    """
    said = Text()
    if view.results:
        heading(said, tr("result"))
        for result in view.results:
            row(said, result.metric, interval(result))
    _checkpoints(said, view, traced)
    _descent(said, view, root, traced)
    _use(said, view, traced, gpus)
    _samples(said, view)
    _attempts(said, view)
    if view.warnings:
        heading(said, tr("warnings"))
        for warned in view.warnings:
            path = f" {harmless(warned.path)}" if warned.path else ""
            row(said, f"{warned.times:,} x", f"{harmless(warned.message)}{path}")
    heading(said, tr("folder"))
    said.append(within(Path(view.run.folder), root))
    return said


def _checkpoints(said: Text, view: RunView, traced: Traced | None) -> None:
    heading(said, tr("checkpoints"))
    saved = [each for each in view.saved if each.kind != "sample"]
    for each in saved:
        stands = traced.files.get(each.path) if traced else None
        size = text.size(stands.bytes) if stands and stands.bytes is not None else ""
        row(said, each.kind, joined([*filter(None, [at_step(each.step), size])]))
        said.append(f"  {within(each.path, Path(view.run.folder))}")
        digest = f"  sha256 {harmless(each.sha256)[:DIGITS]}" if each.sha256 else ""
        said.append(f"{digest}\n", "dim")
        if stands is not None:
            _standing(said, each, stands)
    if not saved:
        said.append(f"{tr('none yet')}\n", "dim")


def _standing(said: Text, saved: Artifact, stands: Stands) -> None:
    """Say whether a checkpoint is there, and which numbers rest on it."""
    if stands.bytes is None and saved.removed is not None:
        day = time.strftime("%Y-%m-%d", time.localtime(saved.removed))
        gone = tr("removed to keep within the budget on {day}").format(day=day)
        said.append(f"  {gone}\n", "bold")
    elif stands.bytes is None:
        said.append(f"  {tr('the file is not there')}\n", "bold")
    if not stands.cells:
        said.append(f"  {tr('no cell cites it')}\n", "dim")
        return
    named = [harmless(cell) for cell in stands.cells[:MOST_CELLS]]
    if len(stands.cells) > MOST_CELLS:
        named.append(tr("and {n} more").format(n=len(stands.cells) - MOST_CELLS))
    cited = tr("cited by {cells}").format(cells=joined(named))
    said.append(f"  {cited}\n")


def _descent(said: Text, view: RunView, root: Path, traced: Traced | None) -> None:
    """Say where the encoder comes from, run by run, down to published weights."""
    heading(said, tr("where its encoder comes from"))
    if traced is None:
        said.append(f"{tr('reading …')}\n", "dim")
        return
    for number, origin in enumerate(traced.line):
        row(said, tr("from") if number else tr("encoder"), _origin(origin, traced, root))
        if origin["path"] and origin["run"]:
            said.append(f"  {within(Path(origin['path']), root)}\n")
        if origin["sha256"]:
            said.append(f"  sha256 {harmless(str(origin['sha256']))[:DIGITS]}\n", "dim")
    if not traced.line:
        said.append(f"{tr('it starts from no file and no run')}\n", "dim")
    elif traced.line[-1]["method"]:
        said.append(f"{tr('that run recorded no weights that it began with')}\n", "dim")


def _origin(origin: Mapping[str, Any], traced: Traced, root: Path) -> str:
    """Return in words what an encoder is of: a run, published weights, or a file."""
    if origin["run"]:
        of = tr("run {run}").format(run=harmless(str(origin["run"])))
        parts = [str(origin["method"])] if origin["method"] else []
        parts += [tr(str(origin["state"]))] if origin["state"] else []
        return f"{of} ({joined([*map(harmless, parts)])})" if parts else of
    path = str(origin["path"] or "?")
    title = traced.published.get(PurePath(path).name)
    where = within(Path(path), root)
    return f"{tr('published weights')}: {harmless(title)}\n  {where}" if title else where


def _use(said: Text, view: RunView, traced: Traced | None, gpus: GpusRead | None) -> None:
    """Say what the run measured of its machine, and what the GPUs it holds do now."""
    heading(said, tr("GPU use"))
    if traced is None:
        said.append(f"{tr('reading …')}\n", "dim")
        return
    if traced.machine:
        row(said, tr("on"), harmless(joined(list(traced.machine))))
    if view.run.state == "running":
        _live(said, traced, gpus)
    figures = use_words.figures(view.used) if view.used else []
    for name, figure in figures:
        row(said, tr(name), figure)
    for metric, found in traced.measured.items():
        row(said, *_measured(metric, found))
    if view.use_metrics:
        said.append(f"{tr('`u` draws it over time')}\n", "dim")
    if not (traced.measured or figures):
        said.append(f"{tr('nothing measured yet')}\n", "dim")


def _measured(metric: str, found: Measured) -> tuple[str, str]:
    """Return a metric of the machine in words, and its value."""
    if metric == "perf/peak_gib":
        return tr("peak memory"), f"{found.most:.1f} GiB"
    if metric == "perf/data_wait":
        return tr("waits for data"), tr("{n} % of the time").format(n=f"{found.last * 100:.0f}")
    most = tr("at most {value}").format(value=text.number(found.most))
    said = f"{text.number(found.last)}  ({most})"
    return (tr("images per second") if metric == "perf/images_per_s" else metric), said


def _live(said: Text, traced: Traced, read: GpusRead | None) -> None:
    known = {gpu.uuid: gpu for gpu in read.reading.gpus} if read else {}
    for device in traced.held:
        gpu = known.get(device)
        if gpu is not None:
            busy = "?" if gpu.utilization is None else f"{gpu.utilization:.0f}"
            memory = f"{gpu.used_mib / 1024:.1f}/{gpu.total_mib / 1024:.1f} GiB"
            row(said, f"GPU {gpu.index} {tr('now')}", f"{busy} %  {memory}")
        elif device.startswith("cpu:"):
            row(said, tr("holds"), tr("a CPU slot, no GPU"))
        else:
            row(said, tr("holds"), f"{harmless(device)}: {tr('no reading of it here')}")


def _samples(said: Text, view: RunView) -> None:
    pictures = [each for each in view.saved if each.kind == "sample"]
    if not pictures and not view.restricted:
        return
    heading(said, tr("samples"))
    if view.restricted:
        said.append(f"{sentences.said(restricted.told(view.restricted))}\n", "dim")
    if pictures:
        said.append(f"{tr('`i` shows them')}\n", "dim")
    for each in pictures:
        row(said, at_step(each.step) or tr("sample"), harmless(each.caption))
        said.append(f"  {within(each.path, Path(view.run.folder))}\n")


def _attempts(said: Text, view: RunView) -> None:
    heading(said, tr("attempts"))
    for attempt in view.attempts:
        end = harmless(tr(attempt.outcome or "not ended"))
        reason = f": {harmless(sentences.said(attempt.reason))}" if attempt.reason else ""
        parts = [harmless(attempt.host or "?"), f"pid {attempt.pid or '?'}"]
        if attempt.first_step is not None:
            parts.append(tr("from step {n}").format(n=f"{attempt.first_step:,}"))
        row(said, f"{attempt.attempt}", f"{joined([*parts, end])}{reason}")
    if not view.attempts:
        said.append(f"{tr('none yet')}\n", "dim")
