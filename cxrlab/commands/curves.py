"""`cxrlab curves`: write the curves of runs as other trackers read them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab.access import AsJson, RunNames, named, opened
from cxrlab.naming import what

if TYPE_CHECKING:
    from cxrlab.exports.curves import Curves


class Form(StrEnum):
    """What curves can be written as."""

    csv = "csv"
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    wandb = "wandb"


def curves(
    ctx: typer.Context,
    runs: RunNames,
    form: Annotated[Form, typer.Option("--format", help="Whose files to write.")] = Form.csv,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where to write them; csv of one run goes to stdout if it is not given.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write every point that runs have logged, for TensorBoard, MLflow, W&B, or as csv tables.

    DIR becomes what `tensorboard --logdir DIR` opens, `mlflow migrate-filestore --source DIR` takes
    over, `wandb sync DIR/wandb/*` uploads, or a folder with a table for each run. Written again, a
    run takes the place of what it was there. `cxrlab import` reads all four.
    """
    from cxrlab import console, text
    from cxrlab.errors import Usage
    from cxrlab.exports import curves as reading
    from cxrlab.exports import facts
    from cxrlab.exports.tables import table

    if out is None and (form is not Form.csv or len(runs) > 1 or as_json):
        raise Usage(f"where shall the {form.value} files go?", "give `--out DIR`")
    told = []
    with opened(ctx) as (_, db):
        for run in named(db, runs):
            found = reading.read(db, run)
            if out is None:
                console.fact(table(found).rstrip("\n"))
                return
            told.append((found, write(found, form, out.expanduser())))
    if as_json:
        console.facts(
            [
                facts.of_run(found.run)
                | {"file": str(path), "curves": sorted(found.metrics), "points": found.points}
                for found, path in told
            ]
        )
        return
    for found, path in told:
        said = text.plural(len(found.metrics), "curve")
        said += f", {text.plural(found.points, 'point')}"
        console.fact(f"{found.run.id} {what(found.run)}: {said} in {path}")


def write(found: Curves, form: Form, out: Path) -> Path:
    """Write the curves of one run below `out` and return where they are."""
    from cxrlab.exports import files, mlflow, tables, tensorboard, wandb

    if form is Form.mlflow:
        return mlflow.write(found, out)
    if form is Form.csv:
        path, content = out / f"{found.name}.csv", tables.table(found).encode()
    elif form is Form.wandb:
        path, content = out / wandb.file_name(found), wandb.log(found)
    else:
        path = out / found.name / tensorboard.file_name(found)
        content = tensorboard.event_file(found)
    files.write_whole(path, content)
    return path
