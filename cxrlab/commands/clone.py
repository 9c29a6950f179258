"""`cxrlab clone`: launch a run again with some settings changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab.access import AsJson, RunName, named, opened
from cxrlab.progress.meter import busy

if TYPE_CHECKING:
    from cxrlab.cloning import Difference


def clone(
    ctx: typer.Context,
    run: RunName,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting to change; may be given again."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Another seed. [default: the run's]")
    ] = None,
    priority: Annotated[
        int, typer.Option(metavar="N", help="Runs of a higher one start first.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the difference, and queue nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run like another one with some settings changed, and show the difference.

    It starts from the same encoder. The run that it is a clone of stays as it is.
    """
    from cxrlab import agent, cloning, console
    from cxrlab import launch as launching
    from cxrlab.asked import settings
    from cxrlab.exports.launched import launched_facts, planned_facts, tell_launched, tell_space
    from cxrlab.plan import Plan

    with opened(ctx, changes=True) as (lab, db):
        (model,) = named(db, [run])
        step = cloning.step_of(db, model, changes=settings(sets or []), seed=seed)
        with busy(launching.ASKING):
            (prepared,) = launching.prepare(
                lab,
                db,
                Plan((step,)),
                gpus=model.gpus,
                priority=priority,
                where=launching.Where(model.backend, model.nodes),
            )
        gib = None if model.gpu_mib is None else model.gpu_mib / 1024
        (prepared,) = launching.asking([prepared], gpu_gib=gib, share=model.share)
        changed = cloning.differences(cloning.configuration(model), prepared.config)
        told = {"clone_of": model.id, "differences": [each._asdict() for each in changed]}
        if not as_json:
            tell(changed, seeds=(model.seed, step.seed))
        tell_space(db, [prepared])
        if dry_run:
            facts: list[dict[str, Any]] = [planned_facts(prepared)]
        else:
            launched = launching.queue(lab, db, [prepared])
            agent.ensure_agent(lab)
            facts = launched_facts(db, launched)
            if not as_json:
                tell_launched(launched, wait=False)
    if as_json:
        console.facts(facts[0] | told)
    elif dry_run:
        console.say("nothing was queued")


def tell(changed: list[Difference], *, seeds: tuple[int, int]) -> None:
    """Print a line for each setting that is another one."""
    from cxrlab import console

    rows = [[each.name, _said(each.before), "→", _said(each.after)] for each in changed]
    if seeds[0] != seeds[1]:
        rows.append(["seed", str(seeds[0]), "→", str(seeds[1])])
    for line in console.table(["", "", "", ""], rows)[1:]:
        console.fact(line)
    if not rows:
        console.say("no setting is another one")


def _said(value: Any) -> str:
    return (
        "–" if value is None else "no" if value is False else "yes" if value is True else str(value)
    )
