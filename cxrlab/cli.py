"""Which commands exist, and what a person sees when one goes wrong.

The table below is all that `cxrlab --help` reads: a command's own file is imported when it is
typed, and what that command works with when it runs. Errors become two lines and an exit code here
and nowhere else.
"""

from __future__ import annotations

import difflib
import gc
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from errno import ENOENT
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from cxrlab import console
from cxrlab.errors import CxrlabError, Usage


class Entry(NamedTuple):
    """A command: the heading it stands under in the help, and what it does in one line."""

    heading: str
    about: str


COMMANDS: dict[str, Entry] = {
    "init": Entry("Start", "Make a lab: a folder for settings, runs and results."),
    "demo": Entry("Start", "Run the whole story on generated radiographs."),
    "doctor": Entry("Start", "Say what is missing on this machine, and how to fix it."),
    "data": Entry("Start", "List, check and generate data sets."),
    "weights": Entry("Start", "List, fetch and inspect published weights."),
    "launch": Entry("Runs", "Queue the runs that cells of the grid need."),
    "fill": Entry("Runs", "Launch whatever the grid still lacks."),
    "run": Entry("Runs", "Queue a program of your own as a run."),
    "runs": Entry("Runs", "List runs, newest first."),
    "show": Entry("Runs", "Tell everything about one run, or one cell."),
    "logs": Entry("Runs", "Print a run's log; -f follows it."),
    "queue": Entry("Runs", "List what waits, and for what; move and hold it."),
    "stop": Entry("Runs", "Stop a run after its next checkpoint."),
    "resume": Entry("Runs", "Go on with a stopped or lost run."),
    "retry": Entry("Runs", "Start a failed run again."),
    "clone": Entry("Runs", "Launch a run again with some settings changed."),
    "rerun": Entry("Runs", "Run a finished run again, and compare bit for bit."),
    "tag": Entry("Runs", "Give runs tags, take them away, or list them."),
    "rm": Entry("Runs", "Remove a run and its folder."),
    "prune": Entry("Runs", "Remove checkpoints that nobody needs, to keep within a budget."),
    "grid": Entry("Results", "Print the grid: methods by tasks."),
    "compare": Entry("Results", "Say whether one method or run is better than another."),
    "gap": Entry("Results", "Tell how far cells are from their papers, and why that may be."),
    "correlate": Entry("Results", "Tell whether the loss of pre-training foretells the rest."),
    "plot": Entry("Results", "Draw the curves of runs."),
    "forecast": Entry("Results", "Tell what it will take to fill the grid."),
    "import": Entry("Results", "Bring in results made elsewhere."),
    "export": Entry("Results", "Write the grid as Markdown, HTML, LaTeX, csv or a workbook."),
    "curves": Entry("Results", "Write curves as csv, or for TensorBoard, MLflow or W&B."),
    "report": Entry("Results", "Write the lab as one HTML page."),
    "note": Entry("Results", "Write down a note, or list them."),
    "todo": Entry("Results", "Add, list and tick off open points and ideas."),
    "tui": Entry("Machine", "Open the dashboard."),
    "notify": Entry("Machine", "Try the places that are told when runs end."),
    "gpus": Entry("Machine", "Show what each GPU is doing."),
    "agent": Entry("Machine", "Start, stop or look at the lab's agent."),
    "rebuild": Entry("Machine", "Make the registry anew from the run folders."),
}


class Commands(TyperGroup):
    """The `cxrlab` command: loads what was typed, and turns errors into lines and exit codes."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a stand-in that knows its help line; `resolve_command` loads the real one."""
        entry = COMMANDS.get(cmd_name)
        return TyperCommand(cmd_name, help=entry.about) if entry else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that was typed, loaded."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `cxrlab {near[0]}`?" if near else "see `cxrlab --help`"
            raise Usage(f"no command is called `{args[0]}`", hint)
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and command else None, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings."""
        for heading in dict.fromkeys(entry.heading for entry in COMMANDS.values()):
            with formatter.section(heading):
                formatter.write_dl(
                    [(name, e.about) for name, e in COMMANDS.items() if e.heading == heading]
                )

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and exit with the contract's code."""
        words = extra.pop("args", args[0] if args else None)
        given = globals_first(sys.argv[1:] if words is None else words)
        extra |= {"standalone_mode": False, "prog_name": "cxrlab"}
        debug = "--debug" in given[:3] or os.environ.get("CXRLAB_DEBUG", "") not in ("", "0")
        parent = super().main
        sys.exit(answer(lambda: parent(given, **extra), debug=debug))


def load(name: str) -> Any:
    """Import the file of a command and return what Typer makes of it."""
    module = importlib.import_module(f"cxrlab.commands.{name}")
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False, rich_markup_mode=None)
        group.command(name, help=None)(getattr(module, name))
    command = typer.main.get_command(group)
    command.name = name
    return command


def globals_first(args: Sequence[str]) -> list[str]:
    """Return `args` with `--lab` and `--debug` in front, wherever before `--` they were typed."""
    front: list[str] = []
    rest: list[str] = []
    left = list(args)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += [word, *left]
            break
        if word == "--debug" or word.startswith("--lab="):
            front.insert(0, word) if word == "--debug" else front.append(word)
        elif word == "--lab" and left:
            front += [word, left.pop(0)]
        else:
            rest.append(word)
    return front + rest


def answer(call: Callable[[], Any], *, debug: bool) -> int:
    """Return the exit code of `call`, after saying on stderr what went wrong, if anything."""
    try:
        code = call()
    except KeyboardInterrupt:
        return 130
    except Exception as problem:
        if debug:
            raise
        told = explain(problem)
        console.error(told.message, told.hint)
        return told.code
    return code if isinstance(code, int) else 0


class Told(NamedTuple):
    """What a person is told of an exception, and the exit code that goes with it."""

    message: str
    hint: str
    code: int


REBUILD = "`cxrlab rebuild` makes it anew from the run folders"


def explain(problem: Exception) -> Told:
    """Return what to say of `problem`; what nobody foresaw is called a bug."""
    if isinstance(problem, CxrlabError):
        return Told(str(problem), problem.hint, problem.code)
    if isinstance(problem, typer.Abort):
        return Told("interrupted", "", 130)
    if type(problem).__module__.startswith("store."):
        return explain_store(problem)
    if hasattr(problem, "format_message"):  # Typer's own: the command line is wrong
        ctx = getattr(problem, "ctx", None)
        path = ctx.command_path if ctx else "cxrlab"
        # pydantic's words before those of the check itself tell a person nothing
        message = problem.format_message().rstrip(".").replace(": Value error, ", ": ")
        return Told(message[:1].lower() + message[1:], f"see `{path} --help`", 2)
    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename else ""
        return Told(where + problem.strerror.lower(), "", 3 if problem.errno == ENOENT else 1)
    if type(problem).__module__ == "sqlite3":
        from store.db import is_damage

        hint = REBUILD if is_damage(problem) else ""
        return Told(f"the registry cannot be used: {problem}", hint, 1)
    bug = f"{type(problem).__name__}: {problem}"
    return Told(bug, "this is a bug in cxrlab; `--debug` shows the traceback", 1)


def explain_store(problem: Exception) -> Told:
    """Return what to say of an error of the registry."""
    from store import runs
    from store.db import DamagedError, ReadOnlyError

    if isinstance(problem, DamagedError):
        return Told(str(problem), REBUILD, 1)
    if isinstance(problem, ReadOnlyError):
        hint = "`cxrlab init` makes a lab of your own"
        return Told("this lab is somebody else's: it is only read", hint, 1)
    if isinstance(problem, runs.NoSuchRun):
        return Told(str(problem), "`cxrlab runs` lists them", 3)
    if isinstance(problem, runs.AmbiguousRun):
        return Told(str(problem), "type more of the id", 2)
    return Told(str(problem), "", 1)


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,  # plain help: no rich to import, and the same in a pipe
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)


def _print_version(*, value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"cxrlab {version('cxrlab')}")
        raise typer.Exit()


@app.callback()
def cxrlab(
    ctx: typer.Context,
    lab: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The lab to work in; else CXRLAB_LAB, else the nearest one upwards of here.",
        ),
    ] = None,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show an error's traceback; so does CXRLAB_DEBUG=1."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            is_eager=True,
            callback=lambda value: _print_version(value=value),
        ),
    ] = False,
) -> None:
    """Launch, watch and compare chest X-ray vision-language pre-training."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


class WithoutNumpy(MetaPathFinder):
    """Hides numpy from this process, in which nothing may use it.

    sqlite-utils imports it where it finds it, which takes a tenth of a second.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse numpy; all else is found by others."""
        if name == "numpy":
            raise ModuleNotFoundError("numpy is hidden from cxrlab", name=name)


def main() -> int:
    """Run the command line of this process; never returns without an exit code."""
    sys.meta_path.insert(0, WithoutNumpy())
    gc.set_threshold(50_000)  # a large grid spent a sixth of its time on looking for rubbish
    for stream in (sys.stdout, sys.stderr):  # a symbol that the locale lacks must not end a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
