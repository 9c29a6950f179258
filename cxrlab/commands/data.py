"""`cxrlab data`: list, check, prepare and generate data sets."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab import completion
from cxrlab.access import AsJson, lab_of

if TYPE_CHECKING:
    from cxrlab.assets import datasets
    from cxrlab.lab import Lab

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def data() -> None:
    """List, check, prepare and generate data sets."""


@app.command("list")
def list_sets(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the data sets that methods and tasks read, and where the lab says they lie."""
    from cxrlab import console
    from cxrlab.assets import datasets

    lab = lab_of(ctx)
    found = [datasets.facts(lab, name) for name in catalog_names()]
    if as_json:
        console.facts(found)
        return
    rows = [[one["name"], one["state"], one["title"], one["root"] or ""] for one in found]
    head = ("name", "state", "title", "root")
    for line in console.table(head, rows, gives_way=3, columns=console.width()):
        console.fact(line)
    for one in found:
        for line in datasets.told(one):
            console.fact(f"{one['name']}: {line}")
    if any(one["state"] != "found" for one in found):
        console.say(f"say where they lie in {lab.settings_file}, as `[data.NAME] root = ...`;")
        console.say("`cxrlab data generate --use` makes some")


def catalog_names() -> list[str]:
    """Return every data set of the catalog."""
    from trainers import catalog

    return list(catalog.DATASETS)


@app.command("check")
def check_sets(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="Data sets; without one, all that the lab has.",
            autocompletion=completion.datasets,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Look here instead of where the lab says; for one NAME."),
    ] = None,
    across: Annotated[
        bool | None,
        typer.Option(
            "--across/--no-across",
            help="Look for test images among those to pre-train on.  [default: without NAME]",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check data sets: every image opens, every label fits, no patient is in two splits.

    Where all sets are checked, those to test on are compared with the one to pre-train on as well:
    the same pixels, near copies, the same patients. Exits with 1 where there are faults.
    """
    from cxrlab import console
    from cxrlab.assets import datasets
    from trainers import catalog

    places = places_to_check(ctx, names or [], root)
    compares = sets_to_compare(ctx, asked=across, named=bool(names))
    hashes = lab_of(ctx).hashes_dir if root is None else None
    checked = []
    for name, place in places:
        console.say(f"checking {name} at {place}")
        checked.append(checked_one(name, place, hashes=hashes, alone=len(places) == 1))
        if root is None and checked[-1].code <= 1:
            note_version(ctx, name, checked[-1].report)
        if not as_json:
            tell_report(checked[-1].report)
    unread = {name for (name, _), one in zip(places, checked, strict=True) if one.code > 1}
    if compares and catalog.PRETRAIN_ENTRY.dataset not in unread:
        console.say("comparing the images to pre-train on with those of the other sets")
        checked.append(datasets.across(lab_of(ctx), without=unread))
        if not as_json:
            tell_report(checked[-1].report)
    if as_json:
        console.facts([one.report for one in checked])
    if worst := max((one.code for one in checked), default=0):
        raise typer.Exit(worst)


def checked_one(name: str, place: Path, *, hashes: Path | None, alone: bool) -> datasets.Checked:
    """Return what a check found; one of several that cannot be read at all is a fault of its own.

    Raises:
        CxrlabError: it cannot be read, and is the only one.
    """
    from cxrlab.assets import datasets
    from cxrlab.errors import BadInput, NotFound

    try:
        if not place.is_dir():
            raise NotFound(
                f"{place} is no folder; `{name}` should lie there",
                f"change `[data.{name}] root` in cxrlab.toml",
            )
        return datasets.check(name, place, hashes=hashes)
    except (NotFound, BadInput) as error:
        if alone:
            raise
        fault = {"path": "", "message": error.message}
        report = {"dataset": name, "facts": {}, "notes": [], "faults": [fault]}
        return datasets.Checked(error.code, report)


def sets_to_compare(ctx: typer.Context, *, asked: bool | None, named: bool) -> bool:
    """Return whether the lab's sets are compared with one another.

    Raises:
        NotFound: that is asked for, and the lab lacks the set to pre-train on, or any other.
    """
    from cxrlab.errors import NotFound
    from trainers import catalog

    if asked is False or (asked is None and named):
        return False
    lab, first = lab_of(ctx), catalog.PRETRAIN_ENTRY.dataset
    enough = first in lab.settings.data and len(lab.settings.data) > 1
    if asked and not enough:
        raise NotFound(
            f"{lab.settings_file} names no `{first}` and another set to compare with",
            f'add `[data.{first}]` and one more, each with `root = "/where/it/lies"`',
        )
    return enough


def note_version(ctx: typer.Context, name: str, report: dict[str, Any]) -> None:
    """Remember what a check found, and add to its notes what is wrong with version or copy."""
    from cxrlab.assets import copies, versions

    lab = lab_of(ctx)
    wrong = versions.note(lab, name, report["facts"])
    if wrong:
        report["notes"].append(wrong)
    copy = copies.find(lab, name)
    if copy is not None and copy.state != "fits":
        report["notes"].append(f"prepared copy: {copies.told(copy)}")


def places_to_check(
    ctx: typer.Context, names: list[str], root: Path | None
) -> list[tuple[str, Path]]:
    """Return which data sets to check, and where.

    Raises:
        NotFound: a name that the catalog does not know, or a set that the lab does not have.
        Usage: `--root` with other than one name.
    """
    from cxrlab.errors import NotFound, Usage, unknown_name

    for name in names:
        if name not in catalog_names():
            raise unknown_name("data set", name, catalog_names())
    if root is not None:
        if len(names) != 1:
            raise Usage(
                "`--root` needs the name of one data set", f"one of {', '.join(catalog_names())}"
            )
        return [(names[0], root)]
    lab = lab_of(ctx)
    known = lab.settings.data
    for name in names:
        if name not in known:
            raise NotFound(
                f"{lab.settings_file} does not say where `{name}` lies",
                f'add `[data.{name}]` with `root = "/where/it/lies"`',
            )
    if not known:
        raise NotFound(
            f"{lab.settings_file} names no data set", "`cxrlab data generate --use` makes some"
        )
    return [(name, known[name].root) for name in names or known]


def tell_report(report: dict[str, Any]) -> None:
    """Print what a check found."""
    from cxrlab import console
    from cxrlab.assets import data_report

    columns = console.width() if sys.stdout.isatty() else _ENDLESS  # who greps wants whole lines
    for line in data_report.lines(report, columns=columns):
        console.fact(line)


_ENDLESS = 100_000


class Store(StrEnum):
    """What a prepared copy is made of."""

    raw = "raw"
    jpeg = "jpeg"


@app.command("prepare")
def prepare_set(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The data set.",
            autocompletion=completion.datasets,
            show_default=False,
        ),
    ],
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where to. [default: as `prepared` in the settings says, "
            "else .cxrlab/prepared in the lab]",
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Read this instead of where the lab says.")
    ] = None,
    px: Annotated[
        int, typer.Option(min=32, help="Short side of the copy's images (pixels).")
    ] = 512,
    store: Annotated[
        Store, typer.Option(help="Grey values, or JPEG files: smaller, and slower to read.")
    ] = Store.raw,
    draft: Annotated[
        bool,
        typer.Option(
            "--draft",
            help="Let libjpeg halve large JPEGs while decoding: faster, and other pixels.",
        ),
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes. [default: one a core]")
    ] = None,
    vocab_size: Annotated[
        int, typer.Option("--vocab-size", "--vocab_size", min=100, help="Word pieces to learn.")
    ] = 30000,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A tokenizers JSON to keep, instead of training one."),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Do again what is done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a copy of small images and a tokenizer, which training then reads instead.

    May be stopped at any time: called again, it does what is missing. Runs launched later read the
    copy as long as the tables it was made from have not changed.
    """
    from cxrlab import console, text
    from cxrlab.assets import datasets
    from cxrlab.progress.meter import meter
    from cxrlab.settings import cores

    lab = set_to_prepare(ctx, name, root)
    options: dict[str, str | None] = {"px": str(px), "store": store.value}
    options |= {"jobs": str(jobs or cores()), "vocab_size": str(vocab_size)}
    options |= {"data_path": str(root)} if root else {}
    options |= {"tokenizer": str(tokenizer)} if tokenizer else {}
    options |= {"draft": None} if draft else {}
    options |= {"anew": None} if anew else {}
    folder = into.expanduser().resolve() if into else lab.copy_of(name)
    options["into"] = str(folder)
    with meter(f"preparing {name} into {folder}", "images") as progress:
        made = datasets.prepare(lab, name, options=options, progress=progress, say=console.say)
    tell_prepared(lab, name, made, folder=folder, elsewhere=root is not None, as_json=as_json)
    if not as_json:
        left = made["left_out"]["unreadable_images"]
        tail = f", {text.plural(left, 'image')} left out: {folder / 'skipped.csv'}" if left else ""
        console.fact(
            f"{name}: {text.plural(made['images'], 'image')}, "
            f"{text.size(made['bytes'])} at {folder}{tail}"
        )


def set_to_prepare(ctx: typer.Context, name: str, root: Path | None) -> Lab:
    """Return the lab, in which the set to prepare is known unless `root` says where it lies.

    Raises:
        NotFound: no such data set, or the lab does not have it.
        Usage: it is not one that is prepared.
    """
    from cxrlab.errors import NotFound, Usage, unknown_name
    from trainers import catalog

    if name not in catalog.DATASETS:
        raise unknown_name("data set", name, catalog_names())
    prepared = catalog.PRETRAIN_ENTRY.dataset
    if name != prepared:
        raise Usage(f"{name} needs no preparing", f"`cxrlab data prepare {prepared}` does")
    lab = lab_of(ctx)
    if root is None and name not in lab.settings.data:
        raise NotFound(
            f"{lab.settings_file} does not say where `{name}` lies",
            f'add `[data.{name}]` with `root = "/where/it/lies"`',
        )
    return lab


def tell_prepared(
    lab: Lab, name: str, made: dict[str, Any], *, folder: Path, elsewhere: bool, as_json: bool
) -> None:
    """Remember what was prepared, and say what to do where runs will not find it."""
    from cxrlab import console
    from cxrlab.assets import versions

    if as_json:
        console.facts(made | {"folder": str(folder)})
    wrong = "" if elsewhere else versions.note(lab, name, made)
    if wrong:
        console.say(f"note: {wrong}")
    if folder != lab.copy_of(name):
        console.say(
            f'to train from it: `prepared = "{folder}"` under [data.{name}] in {lab.settings_file}'
        )


@app.command("generate")
def generate_sets(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Where to. [default: data/generated in the lab]"),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Images to pre-train on.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    image_px: Annotated[
        int, typer.Option("--image-px", "--image_px", min=32, help="Side of the images (pixels).")
    ] = 256,
    covid: Annotated[
        int, typer.Option(min=0, help="Images in the COVID-19 collection's layout; 0 for none.")
    ] = 0,
    use: Annotated[
        bool, typer.Option("--use", help="Write into the lab's settings that its data lie there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make data sets of phantom radiographs, in the layouts of the real ones."""
    from cxrlab import console
    from cxrlab.assets import datasets
    from cxrlab.progress.meter import meter

    lab = lab_of(ctx) if folder is None or use else None
    out = (
        folder if folder is not None else lab.root / "data" / "generated" if lab else Path()
    ).resolve()
    with meter(f"generating into {out}", "images") as progress:
        made = datasets.generate(
            out,
            count=count,
            seed=seed,
            image_px=image_px,
            progress=progress,
            counts={"covid": covid} if covid else None,
        )
    if lab is not None and use:
        datasets.use(lab, out)
    if as_json:
        console.facts(
            made | {"folder": str(out), "sets": {n: str(out / n) for n in datasets.sets_in(out)}}
        )
        return
    for name in datasets.sets_in(out):
        console.fact(f"{name}: {out / name}")
    if lab is not None and use:
        console.say(f"{lab.settings_file} says so now")
    else:
        console.say('to use them: `[data.NAME]` with `root = "..."` in cxrlab.toml, or `--use`')
