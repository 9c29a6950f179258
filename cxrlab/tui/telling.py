"""How is what is known of a run put into words? Functions from values to styled text.

Text from outside is made harmless here; nothing is parsed as markup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from cxrlab import text, use_words
from cxrlab.harmless import cut, harmless
from cxrlab.tui import sentences
from cxrlab.tui.words import ago, counted, joined, padded, tr
from store import points
from store.results import Result
from store.runs import Run
from trainers.catalog import METHODS, TASKS

if TYPE_CHECKING:
    from cxrlab.tui.reading_run import Compared, RunView


def name(run: Run) -> str:
    """Return what a run is: `deep_mrm · siim 10 % · seed 0`."""
    ratio = "" if run.ratio is None else f" {run.ratio} %"
    seed = tr("seed {n}").format(n=run.seed)
    return harmless(f"{run.method} · {run.task}{ratio} · {seed}")


def preset(run: Run) -> str:
    """Return by which preset a run was made."""
    return harmless(tr("{preset} preset").format(preset=run.preset))


def title(run: Run, *, width: int) -> Text:
    """Return the first line: the run by name and id, and in full where there is room."""
    said = Text(no_wrap=True, overflow="ellipsis").append(name(run), "bold")
    said.append(f"  {run.id}", "dim")
    if width >= 120 and run.method in METHODS:
        task = TASKS[run.task].title if run.task in TASKS else tr("pre-training")
        said.append(f"   {joined([METHODS[run.method].title, task])}", "dim")
    return said


def bar(share: float, width: int) -> str:
    """Return a bar of `width` cells, to an eighth of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width, "░")


def progress(run: Run, *, now: float, width: int, colours: Colours) -> Text:
    """Return the state with its sign, how far the run is, and how long it still takes or took."""
    said = Text().append(sentences.state(run.state), state_style(run.state, colours))
    if run.done is not None and run.total:
        share = run.done / run.total
        said.append(f"  {bar(share, max(8, min(40, width // 8)))} {share * 100:.0f} %")
        said.append(f"  {tr('step')} {run.done:,}/{run.total:,}")
    elif run.step is not None:
        said.append(f"  {tr('step')} {run.step:,}")
    if run.state == "running":
        if run.eta_s is not None:
            said.append(f"  {left(run.eta_s)}", "bold")
        if run.started:
            since = tr("since {time}").format(time=text.duration(now - run.started))
            said.append(f"  {since}", "dim")
    elif run.ended and run.started:
        took = tr("took {time}").format(time=text.duration(run.ended - run.started))
        said.append(f"  {took}").append(f"{tr(', ')}{ago(run.ended, now)}", "dim")
    return said


def left(seconds: float) -> str:
    """Return how long a run still takes: `5m 40s left`."""
    return tr("{time} left").format(time=text.duration(seconds))


Colours = Mapping[str, str]
"""The theme's variables; `state-running` and its like are the colours of states."""


def state_style(state: str, colours: Colours) -> str:
    """Return the style of a state; its sign and its word say the same."""
    name = "queued" if state == "blocked" else state
    return f"bold {colours.get(f'state-{name}', '')}".strip()


def now(
    under_way: Sequence[Run], ended: Sequence[Run], *, at: float, width: int, colours: Colours
) -> Text:
    """Return what runs, what waits for what, and what has ended lately, a line each."""
    said = Text(no_wrap=True, overflow="ellipsis")
    every = [*under_way, *ended]
    names = max([27, *(cell_len(_place(run)) for run in every)])
    names = min(names, max(32, width // 3))
    seeds = max([3, *(len(str(run.seed)) + 1 for run in every)])
    room = max(10, width - 16 - names - seeds)
    for head, runs in ((tr("under way"), under_way), (tr("ended lately"), ended)):
        if runs:
            heading(said, head)
        for run in runs:
            what = set_cell_size(cut(_place(run), names), names)
            sign = text.STATES[run.state].symbol if run.state in text.STATES else "?"
            said.append(f"{sign} ", state_style(run.state, colours))
            said.append(f"{run.id} ", "bold").append(f"{what} s{run.seed:<{seeds}}")
            said.append(f"{_in_short(run, at=at, room=room)}\n")
    return said


def _place(run: Run) -> str:
    ratio = "" if run.ratio is None else f" {run.ratio} %"
    return harmless(f"{run.method} {run.task}{ratio}")


def _in_short(run: Run, *, at: float, room: int) -> str:
    """Return how far a run is, what it waits for, or how it ended, in at most `room` cells."""
    if run.state == "running":
        if run.done is None or not run.total:
            return cut(harmless(sentences.said(run.reason or "starting")), room)
        share = run.done / run.total
        still = "" if run.eta_s is None else f"  {left(run.eta_s)}"
        return f"{bar(share, max(8, min(30, room - 18)))} {share * 100:3.0f} %{still}"
    if run.state in ("queued", "blocked"):
        return cut(harmless(sentences.said(run.reason)) or tr(run.state), room)
    parts = [f"{tr(run.state)} {ago(run.ended, at)}"]
    parts += [harmless(sentences.said(run.reason))] if run.reason else []
    return cut(joined(parts), room)


def why(view: RunView, *, now: float) -> Text:
    """Return the reason of the state, or what the run starts from and when it last spoke."""
    run = view.run
    parts = []
    if run.reason:
        parts.append(harmless(sentences.said(run.reason)))
    if run.stop_requested and run.state == "running":
        parts.append(tr("asked to stop {ago}").format(ago=ago(run.stop_requested, now)))
    if view.parent is not None and run.state != "blocked":
        of = f"{view.parent.id} ({harmless(view.parent.method)})"
        parts.append(tr("encoder of {run}").format(run=of))
    if run.attempt > 1:
        parts.append(tr("attempt {n}").format(n=run.attempt))
    if run.epoch is not None:
        parts.append(tr("epoch {n}").format(n=f"{run.epoch:.2f}"))
    if run.warnings:
        parts.append(counted(run.warnings, "warning"))
    parts.append(preset(run))
    return Text(" · ".join(parts))


def todo(view: RunView) -> Text:
    """Return what to do next about the run, and what was noted about it, a line each."""
    lines = []
    if view.gone:
        said = tr("! its folder {folder} is gone; `cxrlab rm {run}` forgets the run")
        lines.append(said.format(folder=Path(view.run.folder).name, run=view.run.id))
    lines += [f"→ {sentences.said(view.next)}"] if view.next else []
    lines += [f"✎ {note}" for note in view.notes[:2]]
    if len(view.notes) > 2:
        more = tr("and {n} more").format(n=len(view.notes) - 2)
        lines[-1] += f"  ({more})"
    return Text("\n".join(map(harmless, lines)), no_wrap=True, overflow="ellipsis")


def differences(compared: Compared) -> Text:
    """Return the settings in which a run differs from another or from its paper's, a line each."""
    said, other = Text(), harmless(tr(compared.other))
    if compared.differences is None:
        heading(said, f"{tr('differs from {run}').format(run=other)}: {tr('reading …')}")
        return said.append("\n")
    heading(said, tr("differs from {run} in").format(run=other))
    width = max((cell_len(harmless(each.name)) for each in compared.differences), default=0)
    for name, before, after in compared.differences:
        said.append(f"{padded(harmless(name), width)}  ", "bold")
        said.append(harmless(_plain(after)), "bold")
        said.append(f"  {tr('there {value}').format(value=harmless(_plain(before)))}\n")
    if not compared.differences:
        same = tr("nothing but seed and places")
        said.append(f"{harmless(sentences.said(compared.why)) or same}\n")
    said.append(f"\n{tr('every setting')}\n", "bold underline")
    return said


def value(metric: str, number: float | None) -> str:
    """Return a metric's value: a score in percent, what a machine does in its unit, or as it is."""
    if points.is_use(metric):
        return use_words.value(metric, number)
    last_part = metric.rsplit("/", 1)[-1]
    known = {entry.metric for entry in TASKS.values()}
    if number is not None and any(last_part.startswith(known_name) for known_name in known):
        return text.metric(number)
    return text.number(number)


def curve_title(
    shown: Sequence[str],
    last: Mapping[str, float],
    *,
    at: int,
    count: int,
    how: Sequence[str] = (),
    other: str = "",
    metric: str = "",
    colours: Sequence[str] = (),
) -> Text:
    """Return which curves are drawn by which sign and how, and their last values.

    Args:
        shown: metrics, and the id of another run that is drawn over them.
        last: their last values.
        at: which of the run's metrics it is, from 1.
        count: how many metrics the run has.
        how: what is done to the values before they are drawn.
        other: which of `shown` is a run.
        metric: what the other run's value is of.
        colours: of lines that are told apart by them; none where signs do.
    """
    if not shown:
        return Text(tr("no metric yet"), "dim")
    said = Text()
    if how:
        said.append(f"{joined(list(how))}  ", "italic")
    signs = iter("━◆")
    for n, name in enumerate(shown):
        if colours and name != other:
            said.append("━", colours[n % len(colours)]).append(f" {harmless(name)} ", "bold")
        else:
            sign = "═" if name == other else next(signs)
            said.append(f"{sign} {harmless(name)} ", "bold")
        said.append(f"{value(metric if name == other else name, last.get(name))}   ")
    if count > 1:
        said.append(tr("metric {n} of {all}, `m` next").format(n=at, all=count), "dim")
    return said


def facts(view: RunView) -> Text:
    """Return the last value of every metric, the results and the checkpoints, a line each."""
    said = Text(no_wrap=True, overflow="ellipsis")
    if view.results:
        heading(said, tr("result"))
        for result in view.results:
            row(said, result.metric, interval(result))
    heading(said, tr("last values"))
    for metric in view.metrics:
        if metric in view.last:
            row(said, metric, value(metric, view.last[metric]))
    if not view.metrics:
        said.append(f"{tr('none yet')}\n", "dim")
    use_of_machine(said, view)
    checkpoints = [saved for saved in view.saved if saved.kind != "sample"]
    if checkpoints:
        heading(said, tr("checkpoints"))
        for saved in checkpoints:
            row(said, saved.kind, at_step(saved.step))
    return said


def use_of_machine(said: Text, view: RunView) -> None:
    """Write what the run used of its machine, a line each; nothing where nobody has seen it."""
    figures = use_words.figures(view.used) if view.used else []
    if figures:
        drawn = bool(view.use_metrics)
        heading(said, tr("use of the machine, `u` draws it") if drawn else tr("use of the machine"))
    for name, figure in figures:
        row(said, tr(name), figure)


def at_step(step: int | None) -> str:
    """Return which step something was saved at; empty where that is not known."""
    return "" if step is None else f"{tr('step')} {step:,}"


def within(path: Path, root: Path) -> str:
    """Return a path as seen from the lab, or in full where it lies elsewhere."""
    return harmless(str(path.relative_to(root) if path.is_relative_to(root) else path))


def interval(result: Result) -> str:
    """Return a result with its 95 % interval, where one was given."""
    said = value(result.metric, result.value)
    if result.low is None or result.high is None:
        return said
    low, high = value(result.metric, result.low), value(result.metric, result.high)
    return f"{said}  ({tr('{low} to {high}').format(low=low, high=high)})"


def settings(found: Mapping[str, object]) -> Text:
    """Return every setting, one a line, in the order of the file."""
    if not found:
        return Text(tr("no config.json yet"), "dim")
    said = Text()
    width = max(cell_len(harmless(key)) for key in found)
    for key, setting in found.items():
        said.append(f"{padded(harmless(key), width)}  ", "bold")
        said.append(f"{harmless(_plain(setting))}\n")
    return said


def _plain(setting: object) -> str:
    return setting if isinstance(setting, str) else json.dumps(setting, ensure_ascii=False)


def heading(said: Text, what: str) -> None:
    """Begin a part of a text."""
    said.append("\n" if said else "")
    said.append(f"{what}\n", "bold underline")


def row(said: Text, left: str, right: str) -> None:
    """Write a line of a part: what it is called, and what there is to say."""
    said.append(f"{padded(harmless(left), 22)} ").append(f"{right}\n")
