"""`cxrlab export`: write the grid in another form."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened

if TYPE_CHECKING:
    from cxrlab.exports.forms import Form, Written


class Named(StrEnum):
    """What the grid can be written as, by the names of `cxrlab.exports.forms.Form`."""

    markdown = "markdown"
    html = "html"
    latex = "latex"
    csv = "csv"
    json = "json"
    xlsx = "xlsx"


class Style(StrEnum):
    """How the table is laid out."""

    plain = "plain"
    notebook = "notebook"


class Language(StrEnum):
    """What headings, states and notes are written in."""

    en = "en"
    zh = "zh"


def export(
    ctx: typer.Context,
    form: Annotated[Named, typer.Option("--format", help="What to write.")] = Named.markdown,
    lang: Annotated[
        Language | None,
        typer.Option(
            help="Language of headings, states and notes.", show_default="that of cxrlab.toml"
        ),
    ] = None,
    style: Annotated[
        Style,
        typer.Option(
            help="`notebook`: the table of a lab notebook, cell for cell, as HTML that Markdown "
            "shows too; in markdown and html.",
        ),
    ] = Style.plain,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this method; may be given again.", autocompletion=completion.methods
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            help="These columns, as `cxrlab grid --columns` takes them; several with commas.",
            autocompletion=completion.columns,
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Replace what stands between `<!-- cxrlab:grid -->` and `<!-- /cxrlab:grid -->` "
            "in this file; in LaTeX between `% cxrlab:grid` and `% /cxrlab:grid`.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write this file. [default: standard output]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the grid as Markdown, HTML, LaTeX, csv, JSON or a workbook.

    The best number of each column is bold, the second underlined, among those that compare. A
    number that is foreign, stale, of a single seed, or of another recipe or split than its column
    has a footnote that says so, as has a paper's number with its source. csv and JSON hold every
    digit; `cxrlab import table` reads them in another lab.
    """
    from cxrlab import console
    from cxrlab.exports import forms, of_lab
    from cxrlab.grid.cells import grid_settings

    chosen = forms.Form(form.value)
    as_notebook = style is Style.notebook
    check_target(chosen, into, out, as_notebook=as_notebook)
    with opened(ctx) as (lab, db):
        asked = grid_settings(lab.settings.grid, method, columns)
        spoken = lang.value if lang else lab.settings.language
        written = of_lab.written(db, asked, chosen, lang=spoken, as_notebook=as_notebook)
    target = into or out
    changed = put(written, into, out)
    if as_json:
        console.facts(facts(written, chosen, target, spoken, changed=changed))
    elif target is None:
        console.fact(text_of(written).rstrip("\n"))
    elif changed:
        console.say(f"wrote the grid {'into' if into else 'to'} {target}")
    else:
        console.say(f"{target} has this very grid already")


def check_target(form: Form, into: Path | None, out: Path | None, *, as_notebook: bool) -> None:
    """Refuse a place or a style that does not go with this form.

    Raises:
        Usage: both places, or one that does not fit; a notebook in another form than HTML.
    """
    from cxrlab.errors import Usage
    from cxrlab.exports import forms

    if as_notebook and form not in (forms.Form.markdown, forms.Form.html):
        raise Usage(f"a notebook's table is HTML, not {form}", "leave out `--format`")
    if into is not None and out is not None:
        raise Usage("`--into` and `--out` exclude each other", "leave one of them")
    if into is not None and forms.markers_of(form) is None:
        raise Usage(f"{form} has no place for markers", "use `--out FILE`")
    if form is forms.Form.xlsx and out is None:
        raise Usage("a workbook is not printed", "name a file: `--out grid.xlsx`")


def put(written: Written, into: Path | None, out: Path | None) -> bool:
    """Write the file that was asked for, if any, and return whether that changed it."""
    from cxrlab.exports import files

    if out is not None:
        return files.write(out, written.content)
    if into is None or written.part is None or written.markers is None:
        return False
    return files.put_into(into, written.part, written.markers)


def text_of(written: Written) -> str:
    """Return what is printed: the file's text without the mark that only a file needs."""
    return written.content.decode().removeprefix("\ufeff")


def facts(
    written: Written, form: Form, target: Path | None, lang: str, *, changed: bool
) -> dict[str, Any]:
    """Return what `--json` tells: the text, unless it is none."""
    told: dict[str, Any] = {"format": form.value, "lang": lang}
    if form.value != "xlsx":
        told["text"] = text_of(written) if written.part is None else written.part
    if target is not None:
        told |= {"file": str(target), "changed": changed}
    return told
