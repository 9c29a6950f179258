"""How does a comparison look? Lines of a terminal: the table, its verdicts, what to know."""

from __future__ import annotations

from cxrlab import console
from cxrlab.comparing import verdicts
from cxrlab.comparing.comparison import Comparison
from cxrlab.comparing.verdicts import Compared
from cxrlab.harmless import harmless

HEAD = ("column", "A", "B", "A - B", "95 %", "p", "p (Holm)", "test", "verdict")


def page(found: Comparison, *, columns: int, classes: bool, verdict: bool = True) -> list[str]:
    """Return the lines that tell of a comparison: the table, what was refused, what to know."""
    head = [*HEAD]
    head[1:3] = found.names
    rows = [row for column in found.columns for row in rows_of(column, found.names)]
    table = console.table(head, rows, right=(3, 5, 6))
    lines = table if max(map(console.length, table)) <= columns else blocks(found, columns=columns)
    if classes:
        lines += class_lines(found)
    lines += ["", *(summary(found) if verdict else [])]
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
    return [f"{c.heading()}: {verdicts.of_column(c, names=found.names)}" for c in found.columns]


def rows_of(column: Compared, names: tuple[str, str]) -> list[list[str]]:
    """Return a row of the table for each test, the scores in the first."""
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
