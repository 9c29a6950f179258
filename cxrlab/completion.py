"""What the shell offers after Tab: ids of runs, methods, tasks, data sets.

A completion that fails offers nothing and says nothing: the person is still typing.
"""

from __future__ import annotations

import typer

from cxrlab import text
from trainers import catalog

Offer = list[tuple[str, str]]
"""Words with a line of explanation each."""

NEWEST = 200
"""How many runs are offered at most."""


def run_ids(ctx: typer.Context, incomplete: str) -> Offer:
    """Return the ids of the newest runs that begin so, with what they are."""
    try:
        from cxrlab import ownership
        from cxrlab.lab import find_lab
        from store import runs

        lab = find_lab(ctx.find_root().params.get("lab"))
        if not lab.registry.exists():
            return []
        found = runs.select(ownership.open_registry(lab), limit=NEWEST)
    except Exception:
        return []
    return [
        (run.id, " ".join(filter(None, (run.method, run.task, text.percent(run.ratio), run.state))))
        for run in found
        if run.id.startswith(incomplete)
    ]


def runs_and_cells(ctx: typer.Context, incomplete: str) -> Offer:
    """Return ids of runs that begin so; behind a method and `/` the cells of the grid."""
    method, mark, rest = incomplete.partition("/")
    if not mark:
        cells = [(f"{name}/", entry.title) for name, entry in catalog.METHODS.items()]
        return [*run_ids(ctx, incomplete), *(c for c in cells if c[0].startswith(incomplete))]
    from cxrlab.columns import of_tasks

    if method not in catalog.METHODS:
        return []
    words = [column.word.replace(":", "/") for column in of_tasks(catalog.TASKS)]
    return [(f"{method}/{word}", "") for word in words if word.startswith(rest)]


def methods(incomplete: str) -> Offer:
    """Return the methods that begin so."""
    return [(n, e.title) for n, e in catalog.METHODS.items() if n.startswith(incomplete)]


def runs_and_methods(ctx: typer.Context, incomplete: str) -> Offer:
    """Return the methods and the ids of the newest runs that begin so."""
    return [*methods(incomplete), *run_ids(ctx, incomplete)]


def tasks(incomplete: str) -> Offer:
    """Return the tasks that begin so, also the last of several with commas between."""
    before, comma, last = incomplete.rpartition(",")
    names = {**{n: e.title for n, e in catalog.TASKS.items()}, catalog.PRETRAIN: "pre-training"}
    return [(before + comma + n, title) for n, title in names.items() if n.startswith(last)]


def columns(incomplete: str) -> Offer:
    """Return what a column of the grid can be that begins so, also the last of several."""
    from cxrlab.columns import FIELDS, SETS, measured

    before, comma, last = incomplete.rpartition(",")
    task, colon, _ = last.partition(":")
    if colon and task in (*catalog.TASKS, catalog.PRETRAIN):
        words = [(f"{task}:{metric}", "") for metric in measured(task)]
    else:
        words = [*((n, e.title) for n, e in catalog.TASKS.items()), (catalog.PRETRAIN, "")]
        words += [*((name, "the notebook's table") for name in SETS), *((f, "") for f in FIELDS)]
    return [(before + comma + word, said) for word, said in words if word.startswith(last)]


def datasets(incomplete: str) -> Offer:
    """Return the data sets that begin so."""
    return [(n, e.title) for n, e in catalog.DATASETS.items() if n.startswith(incomplete)]


def method_names() -> list[str]:
    """Return every method that is no variant of another one."""
    return catalog.main_methods()


def task_names() -> list[str]:
    """Return every task that an encoder is judged by."""
    return list(catalog.TASKS)
