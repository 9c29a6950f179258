"""What are the GPUs doing? One line at the foot of every screen, as full as its width allows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from cxrlab import text
from cxrlab.gpus import Gpu
from cxrlab.harmless import cut, harmless
from cxrlab.tui.messages import GpusRead

QUIET_S = 10.0
"""After so long without an answer the probe is said to hang."""


class GpuStrip(Widget):
    """Draws the last reading. A probe that hangs, fails or finds nothing is said in words."""

    def __init__(self) -> None:
        super().__init__()
        self._read: GpusRead | None = None
        self._quiet_s = 0.0

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
        if self._read is None:
            quiet = f", no answer for {text.duration(self._quiet_s)}" if self._quiet_s else ""
            return f"GPU: asking{quiet}"
        if self._quiet_s:
            return f"GPU: no answer for {text.duration(self._quiet_s)} (the driver may hang)"
        if self._read.reading.gpus:
            return _fullest(self._read.reading.gpus, self._read.holders, width)
        slots, busy = self._read.cpu_slots, len(self._read.holders)
        cpu = f"{text.plural(slots, 'CPU slot')}, {busy} busy"
        error = self._read.reading.error.removeprefix("no GPU is there")
        return f"no GPU: {cpu}" if not error else f"no GPU: {cpu}  ({harmless(error)})"


def _fullest(gpus: Sequence[Gpu], holders: dict[str, str], width: int) -> str:
    line = ""
    for gauge in (_full, _named, _marked, _middle, _short):
        line = " │ ".join(gauge(gpu, holders.get(gpu.uuid, "")) for gpu in gpus)
        if len(line) + 4 <= width:
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


def _who(gpu: Gpu, holder: str) -> str:
    return holder or _others(gpu) or "free"


def _mark(gpu: Gpu, holder: str) -> str:
    """Return a sign for a GPU that is ours, somebody's or nobody's."""
    return "▶" if holder else "×" if _others(gpu) else " "


def _full(gpu: Gpu, holder: str) -> str:
    warm = "" if gpu.temperature is None else f" {gpu.temperature:.0f}°"
    power = "" if gpu.power_w is None else f" {gpu.power_w:.0f}W"
    return f"{_loaded(gpu)}{warm}{power} {_who(gpu, holder)}"


def _named(gpu: Gpu, holder: str) -> str:
    return f"{_loaded(gpu)} {_who(gpu, holder)}"


def _marked(gpu: Gpu, holder: str) -> str:
    return f"{_loaded(gpu)}{_mark(gpu, holder)}"


def _loaded(gpu: Gpu) -> str:
    return f"{gpu.index} {_bar((gpu.utilization or 0) / 100, 5)} {_share(gpu)} {_memory(gpu)}"


def _middle(gpu: Gpu, holder: str) -> str:
    return f"{gpu.index} {_share(gpu)} {_memory(gpu)}{_mark(gpu, holder)}"


def _short(gpu: Gpu, holder: str) -> str:
    return f"{gpu.index} {_share(gpu)}{_mark(gpu, holder)}"


def _others(gpu: Gpu) -> str:
    """Return who else computes on the GPU."""
    users = sorted({process[1] for process in gpu.processes})
    return harmless(", ".join(str(user) for user in users if user))
