"""`cxrlab forecast`: how long will it take to fill the grid?"""

from __future__ import annotations

from typing import Annotated

import typer

from cxrlab.access import AsJson, opened
from cxrlab.asked import (
    GpuCount,
    LikeMethod,
    PresetName,
    RatioNames,
    RowNames,
    SeedNames,
    TaskNames,
    part_of_grid,
)

SHOWN = 40
"""How many runs are listed where `--limit` does not say."""


def forecast(
    ctx: typer.Context,
    methods: RowNames = None,
    task: TaskNames = None,
    ratio: RatioNames = None,
    seed: SeedNames = None,
    preset: PresetName = None,
    gpus: GpuCount = None,
    like: LikeMethod = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="How many runs to list; 0 for all.")
    ] = SHOWN,
    as_json: AsJson = False,
) -> None:
    """Tell how many hours and GPU-hours are left to fill the grid, and the best order.

    Times are measured: of finished runs of the recipe, else of its step at another share of the
    labels. What has never been measured is listed apart, and is in no sum.
    """
    from cxrlab import console
    from cxrlab.exports import outlook as telling
    from cxrlab.filling import outlook

    with opened(ctx) as (lab, db):
        asked = part_of_grid(
            lab, methods, task=task, ratio=ratio, seed=seed, preset=preset, gpus=gpus, like=like
        )
        found = outlook.look(lab, db, asked)
    if as_json:
        console.facts(telling.as_facts(found))
        return
    for line in telling.page(found, columns=console.width(), most=limit or None):
        console.fact(line)
    if any(job.state == "planned" for job in found.jobs):
        console.say("`cxrlab fill` launches what is planned")
