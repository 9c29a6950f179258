"""How a run and a cell look as JSON: the keys that other programs may rely on."""

from __future__ import annotations

from typing import Any

from cxrlab import naming
from cxrlab.grid import FOREIGN, Cell
from store.results import Result
from store.runs import Run
from trainers import metrics
from trainers.catalog import PRETRAIN


def of_run(run: Run) -> dict[str, Any]:
    """Return what a list of runs says of each."""
    return {
        "id": run.id,
        "method": run.method,
        "task": run.task,
        "ratio": run.ratio,
        "seed": run.seed,
        "state": run.state,
        "reason": run.reason,
        "preset": run.preset,
        "recipe": run.recipe,
        "name": naming.name(run.command),
        "foreign": run.preset == FOREIGN,
        "parent": run.parent,
        "needs": list(run.needs),
        "gpus": run.gpus,
        "gpu_mib": run.gpu_mib,
        "share": run.share,
        "backend": run.backend,
        "nodes": run.nodes,
        "job": run.job,
        "priority": run.priority,
        "held": run.held,
        "attempt": run.attempt,
        "step": run.step,
        "epoch": run.epoch,
        "done": run.done,
        "total": run.total,
        "eta_s": run.eta_s,
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
        "warnings": run.warnings,
        "folder": run.folder,
    }


def of_cell(cell: Cell) -> dict[str, Any]:
    """Return one cell: shares in [0, 1], losses in nats, times in seconds."""
    meaning = metrics.facts(cell.metric)
    return {
        "method": cell.method,
        "task": cell.task,
        "ratio": cell.ratio,
        "metric": cell.metric,
        "value": cell.value,
        "sd": cell.sd,
        "n": cell.n,
        "low": cell.low,
        "high": cell.high,
        "paper": cell.paper,
        "state": cell.state,
        "unit": cell.unit,
        "better": meaning["better"],
        "averaging": meaning["averaging"],
        "definition": meaning["definition"],
        "selection": selection_of(cell),
        "progress": cell.progress,
        "others": cell.others,
        "preset": cell.preset,
        "recipe": cell.recipe,
        "foreign": cell.foreign,
        "floor": cell.floor,
        "train_split": cell.train_split,
        "test_split": cell.test_split,
        "not_comparable": f"other {cell.other}" if cell.other else "",
        "differs": list(cell.differs),
        "stale": cell.stale,
        "flaws": list(cell.flaws),
        "notebook": [number._asdict() for number in cell.notebook],
        "runs": list(cell.run_ids),
        "paper_source": cell.paper_source,
        "paper_split": cell.paper_split,
        "paper_comparable": not cell.own_split,
        "text": cell.text(),
    }


def of_result(number: Result, *, selection: str) -> dict[str, Any]:
    """Return one number of a run with its meaning, and by which rule the run was chosen."""
    return {**number._asdict(), **metrics.facts(number.metric), "selection": selection}


def selection_of(cell: Cell) -> str | None:
    """Return by which rule the number of a cell was chosen; None where it has none."""
    if cell.value is None:
        return None
    if cell.task == PRETRAIN:
        return metrics.selection("last epoch")
    return metrics.selection(f"val/{cell.metric}" if cell.validated else None)
