"""`cxrlab weights`: list, fetch and inspect published weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab.access import AsJson, lab_of

if TYPE_CHECKING:
    from cxrlab.assets.weights import Fetched, Published
    from cxrlab.lab import Lab

OF_A_RUN = ("method", "task", "ratio", "preset")
"""What is told of the run that wrote a file."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def weights() -> None:
    """List, fetch and inspect published weights."""


def names(incomplete: str) -> list[tuple[str, str]]:
    """Return the published weights that begin so, for the shell."""
    from cxrlab.assets.weights import read_table

    return [(n, row.title) for n, row in read_table().items() if n.startswith(incomplete)]


@app.command("list")
def list_weights(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the published weights: which lie in the lab's `pretrained/`, and how to get the others.

    A SHA-256 is shown of files that `fetch` has brought.
    """
    from cxrlab import console, text
    from cxrlab.assets.weights import held

    found = held(lab_of(ctx))
    if as_json:
        console.facts([one.facts() for one in found])
        return
    rows = [
        [
            one.published.name,
            "there" if one.bytes is not None else "missing",
            text.size(one.bytes),
            one.sha256[:12] or text.NOTHING,
            one.published.title or "not in cxrlab's table",
        ]
        for one in found
    ]
    head = ("name", "state", "size", "sha256", "title")
    for line in console.table(head, rows, right=(2,), gives_way=4, columns=console.width()):
        console.fact(line)
    for one in found:
        if one.bytes is None:
            console.say(f"{one.published.name}: {one.published.how}")


@app.command("fetch")
def fetch_weights(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|URL",
            help="A name of `cxrlab weights list`, or any file's address.",
            autocompletion=names,
            show_default=False,
        ),
    ],
    name: Annotated[
        str, typer.Option(metavar="FILE", help="What it is called in `pretrained/`.")
    ] = "",
    url: Annotated[
        str, typer.Option(metavar="URL", help="Fetch a known NAME from here, such as a mirror.")
    ] = "",
    sha256: Annotated[str, typer.Option(metavar="HEX", help="What the file must hash to.")] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Fetch it even if it is there already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring published weights into the lab's `pretrained/`.

    A fetch that was interrupted goes on where it was. Where the publisher says no digest, the
    first fetch records the SHA-256 in `pretrained/SHA256SUMS`, and later ones must agree with it.
    """
    from cxrlab import console
    from cxrlab.assets import weights as known
    from cxrlab.errors import Usage
    from cxrlab.progress.meter import byte_meter

    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise Usage(f"`--sha256 {sha256}` is no SHA-256", "it has 64 hexadecimal digits")
    lab = lab_of(ctx)
    wanted = known.find(what, file=name, url=url)
    with byte_meter(f"{wanted.file} from {wanted.url}") as told:
        fetched = known.fetch(
            lab, wanted, sha256=sha256.lower(), again=again, show=told.show, say=told.say
        )
    if as_json:
        console.facts(facts_of(wanted, fetched))
        return
    tell_fetched(lab, wanted, fetched, sure=bool(sha256 or wanted.sha256))


def facts_of(wanted: Published, fetched: Fetched) -> dict[str, Any]:
    """Return what was fetched as JSON."""
    return {
        "name": wanted.name,
        "path": str(fetched.path),
        "bytes": fetched.path.stat().st_size,
        "sha256": fetched.digests.sha256,
        "md5": fetched.digests.md5,
        "new": fetched.new,
    }


def tell_fetched(lab: Lab, wanted: Published, fetched: Fetched, *, sure: bool) -> None:
    """Print what is there now, and how far it is known to be the publisher's file."""
    from cxrlab import console, text
    from cxrlab.assets.weights import SUMS

    size = text.size(fetched.path.stat().st_size)
    there = "" if fetched.new else ", is there already"
    console.fact(f"{fetched.path}: {size}, sha256 {fetched.digests.sha256}{there}")
    if wanted.md5:
        console.say(f"its md5 begins with {wanted.md5}, as its publisher says")
    if not sure:
        console.say(f"its publisher says no SHA-256; {lab.pretrained_dir / SUMS} holds this one")


@app.command("inspect")
def inspect_weights(
    ctx: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME",
            help="Any file of weights, or a name of `cxrlab weights list`.",
            autocompletion=names,
            show_default=False,
        ),
    ],
    tensors: Annotated[
        bool, typer.Option("--tensors", help="Name every tensor with its shape.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a file of weights is, and what each method would take from it.

    It is read without running any code in it; a file that asks for that is refused (exit 4).
    """
    from cxrlab import console
    from cxrlab.assets import weights as known

    told = known.inspect(path_of(ctx, file))
    if not tensors:
        del told["tensors"]
    if as_json:
        console.facts(told)
        return
    for line in described(told):
        console.fact(line)


def path_of(ctx: typer.Context, word: str) -> Path:
    """Return the file that is meant: by its path, or by its name in the table.

    Raises:
        NotFound: it is a name of the table, and the lab does not have the file.
    """
    from cxrlab.assets.weights import read_table
    from cxrlab.errors import NotFound

    path, row = Path(word).expanduser(), read_table().get(word)
    if path.is_file() or row is None:
        return path
    place = lab_of(ctx).pretrained_dir / row.file
    if not place.is_file():
        raise NotFound(f"{place} is not there", row.how)
    return place


def described(told: dict[str, Any]) -> list[str]:
    """Return what is in a file in lines: what it is, its groups, and what methods take from it."""
    from cxrlab import console, text

    size = text.size(told["bytes"])
    lines = [f"{told['path']}: {size}, sha256 {told['sha256']}", told["what"]]
    if told["run"]:
        run = " ".join(str(told["run"][key]) for key in OF_A_RUN if told["run"][key])
        lines.append(f"  of {run}, step {told['run']['step']}")
    lines += [*hanging(f"encoder: {encoder_line(told['encoder'])}"), ""]
    rows = [[g["name"], f"{g['tensors']:,}", f"{g['values']:,}"] for g in told["groups"]]
    rows.append(["in all", f"{told['tensors_total']:,}", f"{told['parameters']:,}"])
    lines += console.table(("group", "tensors", "values"), rows, right=(1, 2))
    lines += ["", "fine-tuning takes the encoder; pre-training by"]
    for method in told["methods"]:
        lines += hanging(method_line(method))
    if "tensors" in told:
        rows = [
            [t["name"], " x ".join(map(str, t["shape"])) or "one number", t["dtype"]]
            for t in told["tensors"]
        ]
        lines += ["", *console.table(("tensor", "shape", "type"), rows)]
    return lines


def hanging(said: str) -> list[str]:
    """Return a long line as lines as wide as the terminal, all but the first further in."""
    from cxrlab import console

    first, *rest = console.wrapped(said, indent=6, columns=console.width())
    return [first[4:], *rest]


def encoder_line(encoder: dict[str, Any]) -> str:
    """Return an encoder's size and normalisation in words, or what is wrong with it."""
    if encoder["problem"]:
        return f"none that can be loaded: {encoder['problem']}"
    size = encoder["size"]
    said = ", ".join(f"{name} {value}" for name, value in size.items())
    lacks = f"; without {', '.join(encoder['missing'])}" if encoder["missing"] else ""
    known = encoder["normalisation"]
    levels = [", ".join(f"{value:g}" for value in known[key]) for key in known] if known else []
    trained = f"; images normalised by {levels[0]} and {levels[1]}" if levels else ""
    return f"{encoder['name']} ({said}), {encoder['parameters']:,} parameters{lacks}{trained}"


def method_line(method: dict[str, Any]) -> str:
    """Return what a method takes from a file, what it begins anew and why, and what it leaves."""
    if method["problem"]:
        return f"{method['method']}: {method['problem']}"
    taken = [part["part"] for part in method["parts"] if part["taken"]]
    reasons: dict[str, list[str]] = {}
    for part in method["parts"]:
        if not part["taken"]:
            reasons.setdefault(part["why"], []).append(part["part"])
    said = [f"takes {', '.join(taken) or 'nothing'}"]
    if reasons:
        fresh = ", ".join(f"{', '.join(parts)} ({why})" for why, parts in reasons.items())
        said.append(f"begins anew: {fresh}")
    if method["left"]:
        said.append(f"leaves aside: {', '.join(method['left'])}")
    return f"{method['method']} ({method['preset']}): {'; '.join(said)}"
