"""`cxrlab notify`: try the places that are told when runs end."""

from __future__ import annotations

import typer

from cxrlab.access import AsJson, lab_of


def notify(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Send a word to every place under `[notify]` in `cxrlab.toml`, to try them.

    The agent tells them when a run ends. Exits with 1 where one could not be told.
    """
    from cxrlab import console, notify
    from cxrlab.errors import Usage

    lab = lab_of(ctx)
    places = lab.settings.notify.places
    if not places:
        raise Usage(
            f"{lab.settings_file} names nobody to tell",
            "add `[notify.team]` with `form` and `url_env`; a new lab's file has examples",
        )
    facts = {"id": "trying", "state": "succeeded", "reason": "`cxrlab notify` was typed"}
    word = notify.word_of(facts, lab=lab.root.name, what="a word to try this place")
    told: list[dict[str, str]] = []
    for place in places:
        try:
            notify.tell(place, word)
            problem = ""
        except notify.NotTold as error:
            problem = f"{error.message}; {error.hint}" if error.hint else error.message
        told.append({"place": place.name, "form": place.form, "problem": problem})
        if not as_json:
            console.fact(f"{place.name} ({place.form}): {problem or 'told'}")
    if as_json:
        console.facts(told)
    if any(each["problem"] for each in told):
        raise typer.Exit(1)
