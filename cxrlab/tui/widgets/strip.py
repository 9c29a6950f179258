"""What are the GPUs doing? One line at the foot of every screen, as full as its width allows."""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from cxrlab import text
from cxrlab.gpus import Gpu
from cxrlab.gpus.whose import Card
from cxrlab.harmless import cut, harmless
from cxrlab.tui import sentences
from cxrlab.tui.gpu_signs import COUNTED, IN_SHORT, SIGNS, names
from cxrlab.tui.messages import GpusRead
from cxrlab.tui.words import counted, joined, tr

QUIET_S = 10.0
"""After so long without an answer the probe is said to hang."""


class GpuStrip(Widget):
    """Draws the last reading. A probe that hangs, fails or finds nothing is said in words."""

    def __init__(self) -> None:
        super().__init__()
        self._read: GpusRead | None = None
        self._quiet_s = 0.0

    @property
    def read(self) -> GpusRead | None:
        """The last reading; None before the first."""
        return self._read

    def show(self, read: GpusRead | None, *, quiet_s: float) -> None:
        """Draw `read`, the last answer, which came `quiet_s` seconds ago."""
        quiet_s = quiet_s if quiet_s >= QUIET_S else 0.0
        if read is not self._read or quiet_s != self._quiet_s:
            self._read, self._quiet_s = read, quiet_s
            self.refresh()

    def render(self) -> Text:
        return Text(cut(self.words(self.size.width - 2), self.size.width - 2), no_wrap=True)

    def words(self, width: int) -> str:
        """Return the fullest text that fits into `width` cells."""
        quiet = tr("no answer for {time}").format(time=text.duration(self._quiet_s))
        if self._read is None:
            asking = f"GPU: {tr('asking')}"
            return joined([asking, quiet]) if self._quiet_s else asking
        if self._quiet_s:
            return f"GPU: {quiet} ({tr('the driver may hang')})"
        gone = sum(card.gpu is None for card in self._read.cards)
        if self._read.reading.gpus or gone:
            return _fullest(self._read, gone, width)
        slots = [device for device in self._read.holders if device.startswith("cpu:")]
        busy = tr("{n} busy").format(n=len(slots))
        cpu = joined([counted(self._read.cpu_slots, "CPU slot"), busy])
        error = self._read.reading.error.removeprefix("no GPU is there")
        said = f"{tr('no GPU') if self._read.reading.known else 'GPU ?'}: {cpu}"
        return f"{said}  ({harmless(sentences.said(error))})" if error else said


class Spot(NamedTuple):
    """A GPU, what holds it, and what it is to this lab; None for the last while that is unknown."""

    gpu: Gpu
    holder: str
    card: Card | None


def _fullest(read: GpusRead, gone: int, width: int) -> str:
    cards = {card.uuid: card for card in read.cards}
    spots = [
        Spot(gpu, read.holders.get(gpu.uuid, ""), cards.get(gpu.uuid)) for gpu in read.reading.gpus
    ]
    lost = [f"? {gone} {tr('gone')}"] if gone else []
    line = ""
    for gauge in (_full, _named, _marked, _middle, _short):
        line = " │ ".join([*map(gauge, spots), *lost])
        if cell_len(line) + 4 <= width:
            break
    return f"GPU {line}"


def _bar(share: float, width: int) -> str:
    """Return a gauge of block characters, to an eighth of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width, "·")


def _share(gpu: Gpu) -> str:
    return "  ?" if gpu.utilization is None else f"{gpu.utilization:2.0f}%"


def _memory(gpu: Gpu) -> str:
    return f"{gpu.used_mib / 1024:.0f}/{gpu.total_mib / 1024:.0f}G"


def _who(spot: Spot) -> str:
    """Return who uses a GPU, or what it is where nobody does."""
    if spot.card is None:
        return spot.holder or _others(spot.gpu) or tr("free")
    if spot.card.word == "ours":
        return spot.holder or tr(COUNTED["ours"])
    return names(spot.card) if spot.card.others else tr(IN_SHORT[spot.card.word])


def _mark(spot: Spot) -> str:
    """Return the sign of a GPU: ours, somebody's, nobody's, or not for runs."""
    if spot.card is not None:
        others = spot.card.others and spot.card.word != "ours"
        return SIGNS["others" if others else spot.card.word][0]
    return "▶" if spot.holder else "×" if _others(spot.gpu) else " "


def _full(spot: Spot) -> str:
    gpu = spot.gpu
    warm = "" if gpu.temperature is None else f" {gpu.temperature:.0f}°"
    power = "" if gpu.power_w is None else f" {gpu.power_w:.0f}W"
    return f"{_loaded(gpu)}{warm}{power} {_who(spot)}"


def _named(spot: Spot) -> str:
    return f"{_loaded(spot.gpu)} {_who(spot)}"


def _marked(spot: Spot) -> str:
    return f"{_loaded(spot.gpu)}{_mark(spot)}"


def _loaded(gpu: Gpu) -> str:
    return f"{gpu.index} {_bar((gpu.utilization or 0) / 100, 5)} {_share(gpu)} {_memory(gpu)}"


def _middle(spot: Spot) -> str:
    return f"{spot.gpu.index} {_share(spot.gpu)} {_memory(spot.gpu)}{_mark(spot)}"


def _short(spot: Spot) -> str:
    return f"{spot.gpu.index} {_share(spot.gpu)}{_mark(spot)}"


def _others(gpu: Gpu) -> str:
    """Return who else computes on the GPU."""
    users = sorted({process[1] for process in gpu.processes})
    return harmless(", ".join(str(user) for user in users if user))
