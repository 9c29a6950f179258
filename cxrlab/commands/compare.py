"""`cxrlab compare`: say whether one method, or one run, is better than another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab import asked, completion
from cxrlab.access import AsJson, opened

if TYPE_CHECKING:
    from cxrlab.comparison import Comparison
    from cxrlab.verdicts import Compared


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
    from cxrlab import comparison, console
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
    for line in page(found, columns=console.width(), classes=classes):
        console.fact(line)


def facts(found: Comparison) -> dict[str, Any]:
    """Return a comparison as `--json` gives it: shares in [0, 1], differences A less B."""
    from dataclasses import asdict

    from cxrlab import verdicts
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


HEAD = ("column", "A", "B", "A - B", "95 %", "p", "p (Holm)", "test", "verdict")


def page(found: Comparison, *, columns: int, classes: bool) -> list[str]:
    """Return the lines that tell of a comparison: the table, what was refused, what to know."""
    from cxrlab import console
    from cxrlab.harmless import harmless

    head = [*HEAD]
    head[1:3] = found.names
    rows = [row for column in found.columns for row in rows_of(column, found.names)]
    table = console.table(head, rows, right=(3, 5, 6))
    lines = table if max(map(console.length, table)) <= columns else blocks(found, columns=columns)
    if classes:
        lines += class_lines(found)
    lines += ["", *summary(found)]
    notes: dict[str, list[str]] = {}
    for column in found.columns:
        for note in column.notes:
            notes.setdefault(note, []).append(column.heading())
    for note, of in notes.items():
        everywhere = len(of) == len(found.columns)
        said = note if everywhere else f"{', '.join(dict.fromkeys(of))}: {note}"
        lines += console.wrapped(f"- {harmless(said)}", indent=2, columns=columns)
    for one in found.refused:
        lines += console.wrapped(f"- not compared: {one.error}", indent=2, columns=columns)
    return lines


def summary(found: Comparison) -> list[str]:
    """Return what each column's tests come to together, a line each."""
    from cxrlab import verdicts

    return [f"{c.heading()}: {verdicts.of_column(c, names=found.names)}" for c in found.columns]


def rows_of(column: Compared, names: tuple[str, str]) -> list[list[str]]:
    """Return a row of the table for each test, the scores in the first."""
    from cxrlab import verdicts

    rows = [
        [
            "",
            "",
            "",
            "",
            verdicts.interval(test),
            verdicts.p_text(test.p),
            verdicts.p_text(test.p_holm),
            f"{test.test}, {test.over}",
            verdicts.of_test(test, better=column.better, names=names),
        ]
        for test in column.tests
    ]
    difference = verdicts.signed(column.difference)
    rows[0][:4] = [column.heading(), column.a.text(), column.b.text(), difference]
    return rows


def blocks(found: Comparison, *, columns: int) -> list[str]:
    """Return the table as a block for each column, for a terminal that is too narrow for it."""
    from cxrlab import console

    lines: list[str] = []
    for column in found.columns:
        rows = rows_of(column, found.names)
        scores = f"{found.names[0]} {rows[0][1]}, {found.names[1]} {rows[0][2]}"
        lines += [""] if lines else []
        lines += [console.paint(f"{rows[0][0]}: {scores}, {rows[0][3]}", "bold")]
        part = [[row[7], *row[4:7], row[8]] for row in rows]
        head = ["test", "95 %", "p", "p (Holm)", "verdict"]
        lines += [
            f"  {line}"
            for line in console.table(head, part, right=(2, 3), gives_way=0, columns=columns - 2)
        ]
    return lines


def class_lines(found: Comparison) -> list[str]:
    """Return a table of each column's classes, their p corrected within the column."""
    from cxrlab import console, verdicts
    from cxrlab.harmless import harmless

    lines: list[str] = []
    for column in found.columns:
        if not column.classes:
            continue
        p_holm = verdicts.holm([one["p"] for one in column.classes])
        rows = []
        for one, corrected in zip(column.classes, p_holm, strict=True):
            known = {name: one[name] for name in ("test", "over", "difference", "low", "high", "p")}
            test = verdicts.Test(**known, p_holm=corrected)
            said = verdicts.of_test(test, better=column.better, names=found.names)
            shown = [verdicts.p_text(p) for p in (test.p, corrected)]
            numbers = [verdicts.signed(test.difference), verdicts.interval(test), *shown]
            rows.append([harmless(one["class"]), *numbers, said])
        head = [column.heading(), "A - B", "95 %", "p", "p (Holm)", "verdict"]
        lines += ["", *console.table(head, rows, right=(1, 3, 4))]
    return lines
