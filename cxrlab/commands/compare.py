"""`cxrlab compare`: say whether one method, or one run, is better than another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab import asked, completion
from cxrlab.access import AsJson, opened

if TYPE_CHECKING:
    from cxrlab.comparing.comparison import Comparison


def sides(ctx: typer.Context, incomplete: str) -> completion.Offer:
    """Return the methods and the ids of runs that begin so."""
    return [*completion.methods(incomplete), *completion.run_ids(ctx, incomplete)]


def compare(
    ctx: typer.Context,
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A method, or a run by its id.",
            autocompletion=sides,
            show_default=False,
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(
            metavar="B",
            help="Another one; `paper` for the numbers of A's own paper.",
            autocompletion=sides,
            show_default=False,
        ),
    ],
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="T,...", help="Only these tasks.", autocompletion=completion.tasks),
    ] = None,
    ratio: Annotated[
        list[str] | None,
        typer.Option(metavar="R,...", help="Only these percents of the labels."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="M,...",
            help="By these metrics. [default: those of each task that papers tell]",
        ),
    ] = None,
    resamples: Annotated[
        int | None, typer.Option(min=200, help="Draws of the bootstrap. [default: 1000]")
    ] = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="The AUROC of each class too, by DeLong's test.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether A is better than B, in every cell that both have.

    Two questions are asked, each by tests of its own. Over patients: would these very models differ
    on other patients like those tested? By a paired bootstrap of patients, and for AUROC by
    DeLong's test. Over seeds: would the methods differ if trained again? By Welch's t-test, or from
    five runs a side on by an exact permutation test; with one run a side it is not answered.

    `p (Holm)` is corrected for the number of columns. The predictions that runs kept are read;
    nothing is trained or predicted anew.
    """
    from cxrlab import console
    from cxrlab.comparing import comparison, comparison_page
    from cxrlab.errors import unknown_name
    from trainers.catalog import TASKS

    tasks = asked.split(task)
    for name in tasks:
        if name not in TASKS:
            raise unknown_name("task", name, TASKS)
    wanted = comparison.Asked(
        tuple(tasks),
        tuple(asked.numbers("ratio", ratio)),
        tuple(asked.split(metric)),
        resamples,
    )
    with opened(ctx) as (lab, db):
        found = comparison.compare(lab, db, (a, b), wanted, say=console.say)
    if as_json:
        console.facts(facts(found))
        return
    for line in comparison_page.page(found, columns=console.width(), classes=classes):
        console.fact(line)


def facts(found: Comparison) -> dict[str, Any]:
    """Return a comparison as `--json` gives it: shares in [0, 1], differences A less B."""
    from dataclasses import asdict

    from cxrlab.comparing import verdicts
    from trainers import metrics

    rows = [
        {
            **asdict(column),
            "definition": metrics.facts(column.metric)["definition"],
            "tests": [
                {
                    **asdict(test),
                    "verdict": verdicts.of_test(test, better=column.better, names=found.names),
                }
                for test in column.tests
            ],
            "verdict": verdicts.of_column(column, names=found.names),
        }
        for column in found.columns
    ]
    refused = [
        {"task": one.task, "ratio": one.ratio, "reason": str(one.error), "code": one.error.code}
        for one in found.refused
    ]
    return {"a": found.names[0], "b": found.names[1], "rows": rows, "refused": refused}
