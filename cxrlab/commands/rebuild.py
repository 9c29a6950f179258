"""`cxrlab rebuild`: make the registry anew from the run folders."""

from __future__ import annotations

import typer

from cxrlab.access import AsJson, lab_of, registry_of


def rebuild(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Make the registry anew from what the run folders say.

    Run folders are only read. What waits in the queue stays there. A registry that is damaged is
    set aside first: notes, tags and the queue lie in it alone.
    """
    from cxrlab import console, damage, ownership, text
    from cxrlab.refresh import refresh
    from store.rebuild import rebuild as make_anew

    lab = lab_of(ctx)
    ownership.check(lab)
    if kept := damage.set_aside(lab):
        console.say(f"the registry was damaged and is kept as {kept}: notes, tags and the queue")
        console.say("lay in it alone, and are not in the new one")
    with registry_of(lab, look=False) as db:
        found = make_anew(db, lab.runs_dir)
        refresh(lab, db)
    if as_json:
        console.facts({"lab": str(lab.root), "runs": found})
    else:
        console.fact(f"read {text.plural(found, 'run folder')} into {lab.registry}")
