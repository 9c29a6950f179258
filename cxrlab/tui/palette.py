"""Which commands are there by name? All that keys do, and more: any run, any launch, any theme.

Every word typed has to stand somewhere in a command's name; the order of the words does not matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.message import Message

from cxrlab.errors import CxrlabError
from cxrlab.harmless import cut, harmless
from cxrlab.tui import messages, pages, reading_runs, sentences, telling, themes, words
from cxrlab.tui.widgets.bar import PLACES
from cxrlab.tui.words import tr
from store import runs
from store.db import StoreError
from store.runs import Run
from trainers.catalog import METHODS, PRETRAIN, TASKS

if TYPE_CHECKING:
    from cxrlab.tui.app import CxrlabApp

MOST_RUNS = 10
"""Runs that are offered at most for what was typed."""

LONGEST_HELP = 200
"""Cells of what is said below a command; the reason of a run may be much longer."""

PAUSE_S = 0.15
"""How long nobody types before the registry is asked."""

LANGUAGES = {"en": "English", "zh": "中文"}


class Command(NamedTuple):
    """Something that can be done, by its name."""

    name: str
    help: str
    act: Callable[[], Any]


class Commands(Provider):
    """What can be done anywhere, and what the keys of the screen do."""

    async def startup(self) -> None:
        self._commands = list(commands(self.app, self.screen))  # type: ignore[arg-type]
        self._launches = list(launches(self.app))  # type: ignore[arg-type]

    async def discover(self) -> Hits:
        for command in self._commands:
            yield DiscoveryHit(Text(command.name), command.act, command.name, _plain(command.help))

    async def search(self, query: str) -> Hits:
        for command in (*self._commands, *self._launches):
            score = fit(query, command.name)
            if score:
                yield hit(score, query, command)


class Runs(Provider):
    """Runs by their id, or by any words that the runs screen takes."""

    async def search(self, query: str) -> Hits:
        app: CxrlabApp = self.app  # type: ignore[assignment]
        verb, rest = verb_of(query)
        if not rest:
            return
        await asyncio.sleep(PAUSE_S)  # a further letter cancels this search
        try:
            found = await asyncio.to_thread(reading_runs.read_named, app.lab, rest, MOST_RUNS)
        except (StoreError, CxrlabError, OSError):
            return  # the screen below says so already
        for number, run in enumerate(found):
            for command in of_run(app, run):
                if not verb or command.name.lower().startswith(verb):
                    # one that is named comes first; words may as well be those of a command
                    score = 0.9 if verb or run.id.startswith(rest.lower()) else 0.3
                    yield hit(score - number / 100, rest, command)


def fit(query: str, name: str) -> float:
    """Return how well a name fits what was typed, in [0, 1]; 0 where a word is not in it."""
    said, asked = name.lower(), query.lower().split()
    if not asked or not all(word in said for word in asked):
        return 0.0
    known = said.split()
    begun = sum(any(word.startswith(each) for word in known) for each in asked)
    whole = sum(each in known for each in asked)
    exact = said.startswith(query.lower().strip())
    return (exact + begun / len(asked) + whole / len(asked) + 1 / (1 + len(known))) / 4


def hit(score: float, query: str, command: Command) -> Hit:
    """Return a command as the palette shows it, with what was typed underlined."""
    shown = Text(command.name)
    shown.highlight_words(query.split(), "bold underline", case_sensitive=False)
    return Hit(score, shown, command.act, command.name, _plain(command.help))


def _plain(said: str) -> Any:
    """Return the help of a command as content: the palette would parse a string as markup."""
    return Content(cut(said, LONGEST_HELP))


def verb_of(query: str) -> tuple[str, str]:
    """Return what is to be done with a run, if that was said first, and the rest."""
    first, _, rest = query.strip().lower().partition(" ")
    return (first, rest.strip()) if first in ("open", "stop", "resume") else ("", query.strip())


def commands(app: CxrlabApp, screen: Any) -> Iterator[Command]:
    """Yield what can be done on `screen` now, in the order in which it is offered."""

    def posts(message: Message) -> Callable[[], Any]:
        return partial(app.post_message, message)

    for place, title in PLACES.items():
        key, _, place_name = tr(title).partition(" ")
        name = f"{tr('Go to')} {place_name} ({key})"
        yield Command(name, tr("its number leads there too"), go_to(app, place))
    yield from of_screen(app, screen)
    yield Command(tr("Export the grid"), tr("to a file, in a form"), posts(messages.OpenExport()))
    yield Command(
        tr("Fill the grid"), tr("launch all that it lacks; lists it first"),
        posts(messages.OpenFill()),
    )  # fmt: skip
    for kind in ("note", "todo", "idea"):
        yield Command(
            f"{tr('Write down')}: {tr(kind)}",
            tr("about what is under the cursor"),
            partial(app.action_note, kind),
        )
    for name in themes.THEMES:
        title = themes.title(name)
        yield Command(f"{tr('Theme')}: {title}", tr("colours"), partial(app.action_theme, name))
    other = words.other(app.language)
    yield Command(
        f"{tr('Language')}: {LANGUAGES.get(other, other)}",
        tr("begins anew in it"),
        app.action_turn_language,
    )
    yield Command(tr("Help"), tr("every key of this screen"), app.action_keys)
    yield Command(tr("Quit"), tr("what runs goes on running"), app.action_quit)


def go_to(app: CxrlabApp, place: str) -> Callable[[], Any]:
    """Return what leads to a place."""
    return partial(app.action_place, place)


def of_screen(app: CxrlabApp, screen: Any) -> Iterator[Command]:
    """Yield what the keys of the screen itself do, each with its key."""
    seen = set()
    for node, binding, enabled, tooltip in screen.active_bindings.values():
        what = tooltip or binding.tooltip
        if node is not screen or not enabled or not what or binding.action in seen:
            continue
        seen.add(binding.action)
        name = tr(binding.description)
        act = partial(app.run_action, binding.action, node)
        yield Command(f"{name} ({app.get_key_display(binding)})", tr(what), act)


def launches(app: CxrlabApp) -> Iterator[Command]:
    """Yield a launch of every method on every task, comparisons, and distances from papers."""
    for method, entry in METHODS.items():
        tasks: Iterable[tuple[str, Sequence[int]]] = [
            *([(PRETRAIN, ())] if entry.pretrains else []),
            *((name, task.ratios) for name, task in TASKS.items()),
        ]
        for task, ratios in tasks:
            shares: list[int | None] = [*ratios] if len(ratios) > 1 else []
            for ratio in [None, *shares]:
                name = " ".join([tr("Launch"), method, task, *([f"{ratio} %"] if ratio else [])])
                asked = messages.OpenLaunch(method, task, ratio)
                yield Command(name, entry.title, partial(app.post_message, asked))
        for other in (*METHODS, "paper"):
            if other != method:
                yield Command(
                    f"{tr('Compare')} {method} {tr('with')} {other}",
                    tr("in every cell that both have"),
                    partial(compare, app, method, other),
                )


def compare(app: CxrlabApp, first: str, second: str) -> None:
    """Show whether one method is better than another in all that both have."""
    work = partial(pages.compared, app.lab, (first, second), None)
    app.post_message(messages.OpenPage(tr("{a} and {b}").format(a=first, b=second), work))


def of_run(app: CxrlabApp, run: Run) -> Iterator[Command]:
    """Yield what can be done with a run in its state."""
    name = f"{run.id} {telling.name(run)}"
    state = harmless(sentences.state(run.state, run.reason))

    def offer(verb: str, message: Message) -> Command:
        return Command(f"{verb} {name}", state, partial(app.post_message, message))

    yield offer(tr("Open"), messages.OpenRun(run.id))
    if run.state in ("running", *runs.WAITING):
        yield offer(tr("Stop"), messages.StopRun(run))
    if run.state in ("stopped", "lost"):
        yield offer(tr("Resume"), messages.ResumeRun(run))
