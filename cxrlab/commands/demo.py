"""`cxrlab demo`: the whole story on generated radiographs."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab.access import registry_of

if TYPE_CHECKING:
    from cxrlab.lab import Lab
    from store.db import Database
    from store.runs import Run

MARK = Path(".cxrlab/demo.json")
"""Says that a folder is a demo lab, which may be continued."""

GRID_FILE = "GRID.md"

IMAGE_CORE_S = 0.03
"""How long one generated image takes. This and what follows: measured, in s of one core."""

ASK_CORE_S = 12.0
"""How long it takes until all settings are resolved; most of it is importing torch."""

PRETRAIN_CORE_S = 0.1
"""How long pre-training takes for each image, as `SHORTER` has it, start included."""

FINETUNE_CORE_S = 33.0
"""How long a fine-tuning takes on average, as `SHORTER` has it, start and test included."""

SHORTER = (
    ("pretrain.epochs", "4"),
    ("pretrain.warmup_epochs", "1"),
    ("siim.channels", "32"),
    ("siim.aux_channels", "16"),
    ("siim.lr", "4e-3"),
    ("siim.steps", "200"),
    ("siim.warmup_steps", "10"),
    ("siim.eval_every", "100"),
    ("shenzhen.lr", "1e-3"),
    ("shenzhen.steps", "45"),
    ("shenzhen.eval_every", "15"),
    ("shenzhen_lungs.steps", "40"),
    ("shenzhen_lungs.eval_every", "20"),
)
"""What the preset `quick` is cut by, so that every method on `SHOWN` fits into ten minutes."""

SHOWN = ("siim", "shenzhen", "shenzhen_lungs")
"""The tasks of the demo, whose cells its grid has; with all, it would take an hour on two cores."""

OTHER_SETS = {"nih": 24, "rsna": 24}
"""Sets that no task of the demo reads get few images."""


def demo(
    folder: Annotated[
        Path,
        typer.Option("--dir", metavar="DIR", help="Where to: new, empty, a new or a demo lab."),
    ] = Path("demo-lab"),
    count: Annotated[int, typer.Option(min=12, help="Images to pre-train on.")] = 400,
    image_px: Annotated[
        int, typer.Option("--image-px", "--image_px", min=64, help="Side of the images (pixels).")
    ] = 128,
) -> None:
    """Run the whole story on generated radiographs: every method on three tasks, tiny, for real.

    Makes a lab, generates data, trains, and ends with the filled grid. What an earlier demo in the
    same folder has finished is not done again.
    """
    from cxrlab import console

    lab = demo_lab(folder)
    shown = shlex.quote(str(folder))
    try:
        console.say(forecast(lab, count=count))
        tell_left_out(lab)
        lab = with_data(lab, count=count, image_px=image_px)
        with registry_of(lab) as db:
            found = run_everything(lab, db)
            tell_end(lab, db, found, shown)
    except KeyboardInterrupt:
        console.say("interrupted; runs that have begun go on")
        console.say(
            f"`cxrlab demo --dir {shown}` continues, `cxrlab --lab {shown} runs` lists them"
        )
        raise
    if any(run.state != "succeeded" for run in found):
        raise typer.Exit(1)


def demo_lab(folder: Path) -> Lab:
    """Return the demo lab in `folder`, made where there is none; an untouched lab becomes one.

    Raises:
        Usage: the folder holds something else.
    """
    from cxrlab.errors import Usage
    from cxrlab.lab import make_lab
    from cxrlab.settings import cores
    from cxrlab.settings_file import read_settings

    if folder.exists() and not folder.is_dir():
        raise Usage(f"{folder} is not a folder", "`--dir DIR` names another")
    mark = folder / MARK
    if not mark.exists():
        if folder.is_dir() and any(folder.iterdir()) and not untouched(folder):
            raise Usage(
                f"{folder} is not empty and no demo lab", "`--dir DIR` names a folder for the demo"
            )
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps({"made_by": "cxrlab demo"}) + "\n", encoding="utf-8")
    lab = make_lab(folder)
    source = lab.settings_file.read_text(encoding="utf-8")
    if "\n[launch]\n#" in source:  # as `make_lab` writes it: nobody has set anything yet
        own = f'cpu_slots = {cores()}\nthreads = 1\npreset = "quick"\n'
        source = source.replace("\n[launch]\n", f"\n[launch]\n{own}", 1)
        source = source.replace("\n[grid]\n", f"\n[grid]\ncolumns = {json.dumps(SHOWN)}\n", 1)
        lab.settings_file.write_text(source, encoding="utf-8")
        lab = type(lab)(lab.root, read_settings(lab.settings_file))
    return lab


def untouched(folder: Path) -> bool:
    """Return whether `folder` is a lab where nothing has run, and whose settings nobody chose.

    Data that `cxrlab data generate --use` put there are what the demo would make.
    """
    from cxrlab.lab import SETTINGS_NAME, Lab
    from cxrlab.settings_file import read_settings

    file = folder / SETTINGS_NAME
    if not file.is_file() or (folder / MARK).exists():
        return False
    lab = Lab(folder.resolve(), read_settings(file))
    source = file.read_text(encoding="utf-8")
    chosen = "\n[launch]\n#" not in source or "\n[grid]\n#" not in source
    own = [one.root.is_relative_to(data_folder(lab)) for one in lab.settings.data.values()]
    return not chosen and all(own) and not any(lab.runs_dir.glob("*"))


def forecast(lab: Lab, *, count: int) -> str:
    """Return about how long the demo will take, and what it will do, in words."""
    from cxrlab import text
    from cxrlab.settings import cores
    from trainers.catalog import PRETRAIN

    all_runs = wants(lab)
    number = len(all_runs)
    at_once = min(cores(), lab.settings.launch.cpu_slots * lab.settings.launch.threads)
    first = sum(task == PRETRAIN for _, task, _ in all_runs)
    images = 0 if generated(lab) else 3 * count  # all sets together
    before = images * IMAGE_CORE_S / cores() + ASK_CORE_S
    work = first * count * PRETRAIN_CORE_S + (number - first) * FINETUNE_CORE_S
    longest = count * PRETRAIN_CORE_S + FINETUNE_CORE_S  # one after the other, on any machine
    minutes = max(1, round((before + max(work / at_once, longest)) / 60))
    return (
        f"{text.plural(number, 'run')} on generated radiographs at {lab.root}: about "
        f"{text.plural(minutes, 'minute')} on {text.plural(at_once, 'core')}"
    )


def methods_here(lab: Lab) -> list[str]:
    """Return the methods that the demo runs: those that need no file that a person has to fetch."""
    from cxrlab.assets import weights
    from trainers.catalog import main_methods

    methods = main_methods()  # a variant costs what its method costs, and would show little more
    lacking = weights.lacking(lab, methods)
    return [name for name in methods if name not in lacking]


def wants(lab: Lab) -> list[tuple[str, str, int | None]]:
    """Return every run there will be: the pre-trainings, then methods x `SHOWN` x ratios."""
    from trainers.catalog import METHODS, PRETRAIN, TASKS

    methods = methods_here(lab)
    first = [(name, PRETRAIN, None) for name in methods if METHODS[name].pretrains]
    return first + [
        (method, name, ratio)
        for method in methods
        for name in SHOWN
        for ratio in TASKS[name].ratios
    ]


def tell_left_out(lab: Lab) -> None:
    """Say which methods are left out because their published weights are not there."""
    from cxrlab import console
    from cxrlab.assets import weights
    from trainers.catalog import main_methods

    lacking = weights.lacking(lab, main_methods())
    if lacking:
        console.say(weights.left_out(lacking))


def data_folder(lab: Lab) -> Path:
    """Return where the generated data lie."""
    return lab.root / "data" / "generated"


def generated(lab: Lab) -> bool:
    """Return whether the data are all there; the generator says so last."""
    return (data_folder(lab) / "generated.json").is_file()


def with_data(lab: Lab, *, count: int, image_px: int) -> Lab:
    """Return the lab with data, generated where they are missing or unfinished."""
    from cxrlab.assets import datasets
    from cxrlab.progress.meter import meter

    out = data_folder(lab)
    if not generated(lab):
        shutil.rmtree(out, ignore_errors=True)  # an unfinished set of this very demo
        # what tasks learn from is as large as what is pre-trained on
        counts = {**OTHER_SETS, "siim": count, "shenzhen": count}
        with meter(f"generating radiographs into {out}", "images") as progress:
            datasets.generate(
                out, count=count, seed=0, image_px=image_px, progress=progress, counts=counts
            )
    missing = [name for name in datasets.sets_in(out) if name not in lab.settings.data]
    return datasets.use(lab, out) if missing else lab


def run_everything(lab: Lab, db: Database) -> list[Run]:
    """Queue every run that is not finished, wait for all of them, and return them."""
    from cxrlab import agent, console, launch, plan
    from cxrlab.progress import waiting
    from cxrlab.queueing import steering
    from store import runs
    from trainers.catalog import METHODS

    for run in runs.select(db, states=("stopped", "lost", "failed")):
        steering.retry(lab, db, run)
    console.say("working out each run's configuration")
    # pre-training first: the others can go on beside it, and most wait for it
    methods = sorted(methods_here(lab), key=lambda name: not METHODS[name].pretrains)
    asked = plan.wanted(methods, SHOWN, preset=lab.settings.launch.preset, overrides=SHORTER)
    launched = launch.carry_out(lab, db, plan.plan(asked, launch.pretrainings(db)))
    agent.ensure_agent(lab)
    ids = list(dict.fromkeys(run.id for run in launched))
    return waiting.wait(lab, db, ids)


def tell_end(lab: Lab, db: Database, found: list[Run], shown: str) -> None:
    """Print the grid, write it as Markdown, and say what to type next, or what went wrong."""
    from cxrlab import console
    from cxrlab.exports import files, plain
    from cxrlab.exports.layout import arranged
    from cxrlab.exports.markdown import markdown
    from cxrlab.grid.cells import read_grid
    from cxrlab.progress import waiting

    grid = read_grid(db, lab.settings.grid)
    for line in plain.page(grid, columns=console.width()):
        console.fact(line)
    file = lab.root / GRID_FILE
    text = markdown(arranged(grid, "en"))
    files.write_document(file, "The demo's grid, on generated radiographs", text)
    console.fact()
    console.fact(f"wrote {file}")
    failed = waiting.unhappy(found)
    if failed:
        console.say(f"{len(failed)} of {len(found)} runs did not succeed:")
        waiting.tell_unhappy(found)
        console.say(f"`cxrlab demo --dir {shown}` tries them again")
        return
    lines = ("tui", f"show {found[-1].id}", "launch mrm+hog --task shenzhen --wait")
    console.fact("try next:")
    for line in lines:
        console.fact(f"  cxrlab --lab {shown} {line}")
