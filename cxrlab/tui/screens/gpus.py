"""What is each GPU doing, for whom, and what did it do for the last minute?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import Screen

from cxrlab import text
from cxrlab.gpus import Gpu
from cxrlab.gpus.whose import Card
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import sentences, telling, words
from cxrlab.tui.gpu_signs import COUNTED, SIGNS, names
from cxrlab.tui.history import History, moment
from cxrlab.tui.messages import GpusRead, OpenRun
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.rows import Column, Part, Row
from cxrlab.tui.widgets.still import Still
from cxrlab.tui.widgets.strip import QUIET_S, GpuStrip
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr

WIDE = 134
MOST_PROCESSES = 30


class Place(NamedTuple):
    """A line of the table: a GPU or a CPU slot."""

    device: str
    gpu: Gpu | None
    holder: str
    """The run that holds it, its id first; empty for none."""
    ours: Mapping[int, str] = {}
    """The processes of this lab's runs, each with its run's folder."""
    card: Card | None = None
    """What it is to this lab; None for a slot, and while that is not known."""


class GpusScreen(Screen[None]):
    """A line for each GPU, or for each CPU slot where there is no GPU."""

    TITLE = "gpus"
    AUTO_FOCUS = "Table"
    BINDINGS = [
        Binding("enter", "open", "Open the run", tooltip="The run that holds what is marked."),
    ]

    def __init__(self, lab: Lab, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._places: Sequence[Place] = ()
        self._drawn: object = None

    def compose(self) -> ComposeResult:
        yield TopBar("gpus", lab=self._lab.root.name)
        yield Still(tr("asking the driver …"), id="gpus-title", classes="line", markup=False)
        yield Table(cursor="row", frozen=1, id="gpus-table")
        yield Still(id="processes")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def show(self, read: GpusRead | None, history: History, *, quiet_s: float) -> None:
        """Draw the last answer, which came `quiet_s` seconds ago, and the minute before it."""
        if not self.query("#processes"):  # not yet composed
            return
        quiet_s = quiet_s if quiet_s >= QUIET_S else 0.0
        state = (read, int(quiet_s), self.size)
        if state == self._drawn:
            return
        self._drawn = state
        title = title_of(read, history, now=self._clock(), quiet_s=quiet_s)
        self.query_one("#gpus-title", Still).update(title)
        unknown = bool(quiet_s) or history.failing_since is not None
        self._places = places_of(read, history)
        table = self.query_one(Table)
        wide = self.size.width >= WIDE
        if read is not None and any(place.gpu or place.card for place in self._places):
            rows = [
                gpu_row(place, history, unknown=unknown, wide=wide, now=read.reading.at)
                if place.gpu is not None
                else gone_row(place, wide=wide)
                for place in self._places
            ]
            table.show(gpu_columns(wide=wide), rows, count=len(rows))
        else:
            slots = [slot_row(place) for place in self._places]
            columns = [
                Column(tr("slot"), 8),
                Column(tr("state"), 9),
                Column(tr("run"), 40, grows=True),
            ]
            table.show(columns, slots, count=len(slots))
        table.empty = tr("nothing is known yet") if read is None else tr("no CPU slot")
        self.describe()

    @on(Table.Moved)
    def describe(self) -> None:
        """Name the GPU under the cursor and every process on it."""
        place = self.selected
        known = place is not None and (place.gpu or place.card)
        said = detail_of(place) if place is not None and known else Text()
        self.query_one("#processes", Still).update(said)

    @property
    def selected(self) -> Place | None:
        """What is under the cursor."""
        row = self.query_one(Table).row
        return self._places[row] if row < len(self._places) else None

    # -- keys

    @on(Table.Chosen)
    def action_open(self) -> None:
        place = self.selected
        if place is not None and place.holder:
            self.post_message(OpenRun(place.holder.split()[0]))
        elif place is not None:
            self.notify(tr("no run of this lab holds it"), markup=False)


def places_of(read: GpusRead | None, history: History) -> list[Place]:
    """Return the GPUs as they were last seen; without any, the CPU slots and who holds them."""
    if read is None:
        return []
    holders = read.holders
    cards = {card.uuid: card for card in read.cards}
    gone = [card.uuid for card in read.cards if card.gpu is None]
    if history.gpus or gone:
        seen = [
            Place(gpu.uuid, gpu, holders.get(gpu.uuid, ""), read.ours, cards.get(gpu.uuid))
            for gpu in history.gpus
        ]
        return [*seen, *(Place(u, None, holders.get(u, ""), card=cards[u]) for u in gone)]
    slots = [f"cpu:{n}" for n in range(read.cpu_slots)]
    slots += sorted(device for device in holders if device not in slots)
    return [Place(slot, None, holders.get(slot, "")) for slot in slots]


def title_of(read: GpusRead | None, history: History, *, now: float, quiet_s: float) -> Text:
    """Return how many GPUs there are and whose, or since when that is unknown and why."""
    if quiet_s:
        since = moment(now - quiet_s)
        why = tr("no answer for {time}, the driver may hang")
        return _unknown(since, why.format(time=text.duration(quiet_s)))
    if read is None:
        return Text(tr("asking the driver …"))
    if history.failing_since is not None:
        since = moment(history.failing_since)
        return _unknown(since, harmless(sentences.said(read.reading.error)))
    busy = sum(device.startswith("cpu:") for device in read.holders)
    cpu = words.joined([words.counted(read.cpu_slots, "CPU slot"), tr("{n} busy").format(n=busy)])
    if not history.gpus and not any(card.gpu is None for card in read.cards):
        error = harmless(sentences.said(read.reading.error))
        return Text(tr("{error}: runs take {cpu}").format(error=error, cpu=cpu))
    counts = Counter(card.word for card in read.cards)
    said = words.joined(
        [f"{counts[word]} {tr(name)}" for word, name in COUNTED.items() if counts[word]]
    )
    count = words.counted(len(history.gpus), "GPU")
    trouble = read.reading.error and f"  ({harmless(sentences.said(read.reading.error))})"
    return Text(f"{count}: {said}  ·  {cpu}{trouble}")


def _unknown(since: str, why: str) -> Text:
    return Text(f"? {tr('unknown since {time}').format(time=since)}: {why}", "bold")


def gpu_columns(*, wide: bool) -> list[Column]:
    """Return the columns; 79 cells in all, more where there is room."""
    return [
        Column("GPU", 24 if wide else 3),
        Column(tr("load"), 17 if wide else 10),
        Column(tr("last minute"), 30 if wide else 15),
        Column(tr("memory GiB"), 10 if not wide else 22, right=not wide),
        Column(tr("heat"), 4, right=True),
        Column(tr("power"), 5, right=True),
        Column(tr("whose"), 24, grows=True),
    ]


def gpu_row(place: Place, history: History, *, unknown: bool, wide: bool, now: float) -> Row:
    """Return a GPU's cells; all dim where they are of an earlier time."""
    gpu = place.gpu
    assert gpu is not None  # the caller has asked
    load = "?" if gpu.utilization is None else f"{gpu.utilization} %"
    used = f"{gpu.used_mib / 1024:.1f}/{gpu.total_mib / 1024:.0f}"
    bars = 12 if wide else 5
    cells: list[list[Part]] = [
        [(f"{gpu.index} {harmless(gpu.name)}" if wide else str(gpu.index), "strong")],
        [(f"{telling.bar((gpu.utilization or 0) / 100, bars)}{load:>5}", "")],
        [(history.line(gpu.uuid, 30 if wide else 15, now=now), "running")],
        [
            (
                (f"{telling.bar(gpu.used_mib / max(1, gpu.total_mib), 12)} " if wide else "")
                + used,
                "",
            )
        ],
        [("?" if gpu.temperature is None else f"{gpu.temperature}°", "")],
        [("?" if gpu.power_w is None else f"{gpu.power_w}W", "")],
        [whose(place)],
    ]
    if unknown:
        return [[(said, "dim") for said, _ in cell] for cell in cells]
    return cells


def whose(place: Place) -> Part:
    """Return who uses a GPU: a run of this lab, others by name, or nobody; and beside whom."""
    card = place.card
    if card is None:
        return (f"▶ {harmless(place.holder)}", "running") if place.holder else ("?", "dim")
    sign, style = SIGNS[card.word]
    if card.word in ("ours", "gone"):
        beside = f" × {names(card)}" if card.others else ""
        gone = f"{tr('gone')}: " if card.word == "gone" else ""
        return f"{sign} {gone}{harmless(place.holder)}{beside}", style
    if card.word == "others":
        return f"{sign} {names(card)}", style
    return f"{sign} {tr(COUNTED[card.word])}" + (f" × {names(card)}" if card.others else ""), style


def gone_row(place: Place, *, wide: bool) -> Row:
    """Return the cells of a GPU that runs hold and that the driver no longer knows."""
    name = harmless(place.device)
    blank: list[Part] = [("", "")]
    return [[(name if wide else "?", "strong")], *[blank] * 5, [whose(place)]]


def slot_row(place: Place) -> Row:
    """Return a CPU slot's cells."""
    if place.holder:
        return [
            [(place.device, "strong")],
            [(f"▶ {tr('busy')}", "running")],
            [(harmless(place.holder), "")],
        ]
    return [[(place.device, "strong")], [(f"  {tr('free')}", "dim")], [("", "")]]


def detail_of(place: Place) -> Text:
    """Return what a GPU is, and the processes on it, a line each."""
    gpu = place.gpu
    said = Text(no_wrap=True, overflow="ellipsis")
    if gpu is None:
        said.append(harmless(place.device), "bold").append("\n")
        said.append(tr("The driver no longer knows it; the run that holds it is left alone."))
        return said
    said.append(f"GPU {gpu.index} {harmless(gpu.name)}", "bold")
    said.append(f"  {harmless(gpu.uuid)}\n", "dim")
    if place.holder:
        said.append(f"▶ {tr('held by {run}').format(run=harmless(place.holder))}\n")
    for process in gpu.processes[:MOST_PROCESSES]:
        memory = "?" if process.mib is None else f"{process.mib / 1024:.1f} GiB"
        said.append(
            f"  pid {process.pid:<8} {words.padded(harmless(process.user), 12)} {memory:>10}"
        )
        folder = place.ours.get(process.pid, "")
        said.append(
            f"  ▶ {harmless(folder)}\n" if folder else f"  × {tr('not of this lab')}\n", "dim"
        )
    if not gpu.processes:
        said.append(f"  {tr('no process on it')}\n", "dim")
    if len(gpu.processes) > MOST_PROCESSES:
        left = tr("and {n} more").format(n=len(gpu.processes) - MOST_PROCESSES)
        said.append(f"  {left}\n", "dim")
    return said
