"""How quick is the dashboard in a lab of a hundred thousand runs, and how much does it take?

    python -m benchmarks.tui
    python -m benchmarks.tui --runs 1000 --still 5

Makes labs of 1,000, 10,000 and 100,000 finished runs with a hundred points each; one more run has
a million, and a log of 5 GB (lines, a hole, and lines again). Measured for each lab:

- the first paint of the home screen with its numbers in it, from the start of the interpreter,
  beyond that of a Textual app with one line of text; through the Pilot, and on a real terminal;
- how long keys take until what they ask for has been painted, on every screen; apart from that the
  keys that ask for other rows, curves or a page of the log than those at hand;
- the most memory the process ever had, and its share of a core while nothing changes.

No run waits, so no agent is started. Prints a table, and exits with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Static

import cxrlab.tui
from cxrlab.gpus import FAKE_VARIABLE
from cxrlab.lab import Lab, find_lab, make_lab
from cxrlab.tui import tidying
from cxrlab.tui.app import CxrlabApp
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.screens.runs import RunsScreen
from cxrlab.tui.widgets.curve import Curve
from cxrlab.tui.widgets.log import LogView
from cxrlab.tui.widgets.table import Table
from store.db import open_store, writing

SIZES = (1_000, 10_000, 100_000)
POINTS_EACH, POINTS_LONG = 100, 1_000_000
LOG_BYTES = 5 << 30
GOALS = {"paint_s": 1.0, "pty_s": 1.0, "all_ms": 50.0, "pty_ms": 50.0, "mib": 300.0, "cpu": 3.0}
LONG = "longaa"
"""The newest run: it stands on top."""


def main(argv: Sequence[str]) -> int:
    """Measure every lab in processes of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--still", type=float, default=20.0, help="seconds of nothing (s)")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each program")
    parser.add_argument("--inside", choices=("bare", "first", "keys"), help=argparse.SUPPRESS)
    parser.add_argument("--lab", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.inside:
        return inside(given.inside, given.lab, still_s=given.still)
    found = {}
    for count in given.runs:
        with tempfile.TemporaryDirectory(prefix="tui-") as folder:
            lab = make_lab(Path(folder) / "lab")
            fill(lab, count)
            found[count] = measure(lab, rounds=given.rounds, still_s=given.still)
    return report(found)


# -- the lab


def fill(lab: Lab, count: int) -> None:
    """Put finished runs with curves into the registry, and the long run on top of them."""
    folder = lab.runs_dir / f"{LONG}-mrm-siim"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({f"setting_{n}": n for n in range(80)}))
    with (folder / "log.txt").open("wb") as log:
        log.writelines(b"%07d is far from the end\n" % n for n in range(100_000))
        log.truncate(LOG_BYTES)
        log.seek(LOG_BYTES)
        log.writelines(b"step %07d  loss 0.4127  119 images/s\n" % n for n in range(100_000))
    db = open_store(lab.registry)
    with writing(db):
        db.conn.executemany(
            """
            insert into runs (seq, id, method, task, ratio, seed, preset, recipe, state, reason,
              folder, command, gpus, created, started, ended, attempt, step, done, total,
              selected_by, result)
            values (:seq, :id, :method, :task, :ratio, :seed, 'paper', :recipe, :state, '',
              :folder, '[]', 1, :at, :at, :at + 3000, 1, 100, 100, 100, 'val/loss', :result)
            """,
            rows(lab, count),
        )
        db.conn.execute(
            """
            insert into results
            select seq, 'test/' || json_extract(result, '$.metrics[0]'), 0.5 + seq % 97 / 400.0,
              0.4, 0.8 from runs where result is not null
            """
        )
        log_points(db.conn, count)
        db.conn.execute(
            """
            insert or ignore into cells_changed
            select distinct method, task, coalesce(ratio, 0) from runs where state = 'succeeded'
            """
        )
    db.conn.execute("analyze")
    db.conn.execute("pragma wal_checkpoint(truncate)")
    db.close()


def rows(lab: Lab, count: int) -> Iterator[dict[str, Any]]:
    """Yield runs over methods, tasks, seeds and states; the last one is the long run."""
    methods = ("convirt", "refers", "mrm", "refers_mrm", "deep_mrm", "random")
    tasks = (("siim", 10, "Dice"), ("nih", 1, "AUROC"), ("rsna", 100, "mAP"), ("covid", 100, "ACC"))
    now = time.time()
    for seq in range(1, count + 1):
        task, ratio, metric = tasks[seq // 6 % 4]
        state = ("succeeded", "failed", "stopped", "lost", *["succeeded"] * 6)[seq // 24 % 10]
        id = LONG if seq == count else f"r{seq:05x}"
        facts = {"metrics": [metric], "train_seconds": 3000.0, "names": ["f" * 64] * 20}
        yield {
            "seq": seq,
            "id": id,
            "method": "mrm" if id == LONG else methods[seq % 6],
            "task": "siim" if id == LONG else task,
            "ratio": ratio,
            "seed": seq % 5,
            "recipe": f"{seq % 7:064}",
            "state": "stopped" if id == LONG else state,
            "folder": str(lab.runs_dir / (f"{id}-mrm-siim" if id == LONG else id)),
            "at": now - (count - seq) * 60.0 - 4000.0,
            "result": json.dumps(facts) if state == "succeeded" and id != LONG else None,
        }


def log_points(conn: Any, count: int) -> None:
    """Log some points for every run and very many for the last."""
    for name in ("train/loss", "val/loss"):
        conn.execute("insert into metrics (name) values (?)", (name,))
    for metric, first, last, steps in (
        (1, 1, count - 1, POINTS_EACH // 2),
        (2, 1, count - 1, POINTS_EACH // 2),
        (1, count, count, POINTS_LONG),
        (2, count, count, POINTS_LONG // 100),
    ):
        conn.execute(
            """
            with recursive steps (n) as (
              select 1 union all select n + 1 from steps where n < :steps
            )
            insert into points
            select seq, :metric, n, 0.4 + 1.6 / (1 + n / 25.0) + abs(random() % 1000) / 2e4
            from runs join steps where seq between :first and :last
            """,
            {"metric": metric, "first": first, "last": last, "steps": steps},
        )


# -- from outside


def measure(lab: Lab, *, rounds: int, still_s: float) -> dict[str, float]:
    """Return what was measured of one lab, by name."""
    os.environ.pop(FAKE_VARIABLE, None)
    started: dict[str, list[float]] = {"bare": [], "first": []}
    drawn: dict[str, list[float]] = {"bare": [], "first": []}
    echoes: list[float] = []
    for turn in range(rounds + 1):
        for what in started:
            took = child(what, lab, still_s)["painted_s"]
            seen, keys = on_a_pty(what, lab)
            if turn:  # the first one fills the caches
                started[what].append(took)
                drawn[what].append(seen)
                echoes += keys
    found = child("keys", lab, still_s)
    middle = statistics.median
    found["bare_s"] = middle(started["bare"])
    found["paint_s"] = middle(started["first"]) - middle(started["bare"])
    found["pty_s"] = middle(drawn["first"]) - middle(drawn["bare"])
    found["pty_p50_ms"], found["pty_ms"] = spread(echoes)
    found["registry_mib"] = lab.registry.stat().st_size / 2**20
    return found


def child(what: str, lab: Lab, still_s: float) -> dict[str, float]:
    """Run a part of this benchmark in a fresh interpreter, and return what it found."""
    began = time.monotonic()
    done = subprocess.run(
        command_of(what, lab, still_s), check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if "painted_at" in found:
        found["painted_s"] = found["painted_at"] - began
    return found


def command_of(what: str, lab: Lab, still_s: float = 0.0) -> list[str]:
    """Return the command that runs a part of this benchmark."""
    words = ["--inside", what, "--lab", str(lab.root), "--still", str(still_s)]
    return [sys.executable, "-m", "benchmarks.tui", *words]


def on_a_pty(what: str, lab: Lab) -> tuple[float, list[float]]:
    """Start a program on a real terminal; return when it had drawn (s), and the echo of keys (ms).

    The other program is `cxrlab tui` itself.
    """
    bare = [sys.executable, "-c", BARE]
    ours = [sys.executable, "-m", "cxrlab", "--lab", str(lab.root), "tui"]
    began = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        command = bare if what == "bare" else ours
        os.execv(command[0], command)
    words = b"bare app" if what == "bare" else b"ended lately"
    try:
        wait_for(terminal, words)
        painted = time.monotonic() - began
        keys = [] if what == "bare" else echo(terminal)
    finally:
        os.write(terminal, b"\x11" if what == "bare" else b"q")
        drain(terminal)
        os.waitpid(pid, 0)
        os.close(terminal)
    return painted, keys


BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("bare app")
Bare().run()
"""


def echo(terminal: int) -> list[float]:
    """Return how long it takes until something is drawn after each of many keys (ms)."""
    os.write(terminal, b"2")
    wait_for(terminal, LONG.encode())
    taken = []
    for _ in range(40):
        quiet(terminal)
        began = time.monotonic()
        os.write(terminal, b"j")
        select.select([terminal], [], [], 60)
        taken.append((time.monotonic() - began) * 1000)
    quiet(terminal)
    return taken


def wait_for(terminal: int, words: bytes, limit_s: float = 120.0) -> None:
    """Read until the words have come; each is drawn in one piece, so no cell is between them."""
    seen, deadline = b"", time.monotonic() + limit_s
    while words not in seen:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{words!r} was not drawn: {seen[-2000:]!r}")
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 1 << 16)


def quiet(terminal: int) -> None:
    """Read until nothing has come for a moment."""
    while select.select([terminal], [], [], 0.1)[0]:
        os.read(terminal, 1 << 16)


def drain(terminal: int) -> None:
    """Read until the program has closed its end."""
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:  # how Linux says that
        return


# -- from inside


class Watched(CxrlabApp):
    """The dashboard, which notes when it has painted."""

    CSS_PATH = Path(cxrlab.tui.__file__).parent / "app.tcss"
    painted = 0.0

    def _display(self, screen: Any, renderable: Any) -> None:
        super()._display(screen, renderable)
        self.painted = time.monotonic()


class Bare(App[None]):
    """The least that Textual can start."""

    def compose(self) -> ComposeResult:
        """Say one thing."""
        yield Static("bare app")


def inside(what: str, root: Path, *, still_s: float) -> int:
    """Run one part in this process, and print what was found as JSON."""
    if what == "bare":
        found = asyncio.run(bare())
    else:
        app = Watched(find_lab(root))
        tidying.begin()  # as `run_tui` does
        found = asyncio.run(first(app) if what == "first" else keys(app, still_s=still_s))
    print(json.dumps(found))
    return 0


async def bare() -> dict[str, float]:
    """Return when a bare app has been painted."""
    app = Bare()
    async with app.run_test(size=(120, 40)):
        return {"painted_at": time.monotonic()}


async def first(app: Watched) -> dict[str, float]:
    """Return when the home screen has been painted with its numbers."""
    async with app.run_test(size=(120, 40)):
        await effect(app, lambda: home_is_there(app), since=0.0)
        return {"painted_at": app.painted}


def home_is_there(app: App[Any]) -> bool:
    """Tell whether the grid and what has ended lately are on the screen."""
    tables = list(app.screen.query(Table))
    return bool(tables and tables[0].count and "ended lately" in text_of(app))


def text_of(app: App[Any]) -> str:
    """Return what stands on the screen."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def effect(app: Watched, holds: Callable[[], object], *, since: float) -> float:
    """Wait until something holds and was painted after `since`; return when it was (s).

    Looks after each painting, and else ten times a second: looking draws the whole screen, and
    would take the processor from what is measured.
    """
    deadline = time.monotonic() + 60
    seen = looked = 0.0
    while True:
        now, painted = time.monotonic(), app.painted
        if painted > since and (painted != seen or now > looked + 0.1):
            if holds():
                return painted
            seen, looked = painted, time.monotonic()
        if now > deadline:
            raise TimeoutError(text_of(app))
        await asyncio.sleep(0.001)


class Hands:
    """Presses keys and keeps how long each took to show."""

    def __init__(self, app: Watched) -> None:
        self.app = app
        self.ready: list[float] = []
        self.read: list[float] = []
        """Keys that ask for what is not at hand."""
        self.busy: list[float] = []
        """Time of a processor that each of the others took: what others do is no part of it."""
        self.slowest: dict[str, float] = {}

    async def press(self, key: str, holds: Callable[[], object], *, reads: bool = False) -> None:
        """Press one key, wait until it has had its effect, and then until all is quiet."""
        began, used = time.monotonic(), time.process_time()
        letter = {"space": " ", "slash": "/"}.get(key, key)
        self.app.post_message(events.Key(key, letter if len(letter) == 1 else None))
        took = (await effect(self.app, holds, since=began) - began) * 1000
        (self.read if reads else self.ready).append(took)
        if not reads:
            self.busy.append((time.process_time() - used) * 1000)
        self.slowest[key] = max(took, self.slowest.get(key, 0.0))
        await asyncio.sleep(0.02)


async def keys(app: Watched, *, still_s: float) -> dict[str, float]:
    """Use every screen, and return the times of keys, the memory and the idle time of a core."""
    idle = {}
    async with app.run_test(size=(120, 40)):
        hands = Hands(app)
        await effect(app, lambda: home_is_there(app), since=0.0)
        idle["grid"] = await rest(still_s)
        await through_the_grid(hands)
        await through_the_runs(hands)
        idle["runs"] = await rest(still_s)
        await through_the_run(hands)
        idle["run"] = await rest(still_s)
    p50, p95 = spread(hands.ready)
    busy50, busy95 = spread(hands.busy)
    read50, read95 = spread(hands.read)
    slow = sorted(hands.slowest.items(), key=lambda one: -one[1])[:6]
    print("slowest keys: " + ", ".join(f"{k} {ms:.0f} ms" for k, ms in slow), file=sys.stderr)
    return {
        "p50_ms": p50,
        "key_ms": p95,
        "busy_p50_ms": busy50,
        "busy_ms": busy95,
        "read_p50_ms": read50,
        "read_ms": read95,
        "all_ms": spread([*hands.ready, *hands.read])[1],
        "mib": most_kib() / 1024,
        "cpu": max(idle.values()),
        **{f"cpu_{name}": share for name, share in idle.items()},
    }


async def through_the_grid(hands: Hands) -> None:
    """Move about in the table of the home screen."""
    table = hands.app.screen.query_one(Table)
    for key, (down, right) in {"down": (1, 0), "right": (0, 1)}.items():
        for _ in range(4):
            row, column = table.row, table.column
            if row + down < table.count and column + right < len(table.columns):
                await hands.press(
                    key, lambda r=row + down, c=column + right: (table.row, table.column) == (r, c)
                )


async def through_the_runs(hands: Hands) -> None:
    """Move, page, go to the end, filter."""
    app = hands.app
    await hands.press("2", lambda: isinstance(app.screen, RunsScreen))
    await effect(app, lambda: LONG in text_of(app), since=0.0)
    table = app.screen.query_one(Table)
    for n in range(60):
        await hands.press("j", lambda n=n: table.row == n + 1)
    for _ in range(10):
        row = table.row
        await hands.press("pagedown", lambda row=row: table.row > row and there(app), reads=True)
    for key in ("G", "g") * 5:
        at = 0 if key == "g" else table.count - 1
        await hands.press(key, lambda at=at: table.row == at and there(app), reads=True)
    await hands.press("slash", lambda: app.screen.focused is not table)
    field = app.screen.query_one("#filter")
    for n, letter in enumerate("mrm siim"):
        key = {" ": "space"}.get(letter, letter)
        await hands.press(key, lambda n=n: len(field.value) == n + 1)
    began = time.monotonic()
    await effect(app, lambda: " of " in text_of(app), since=0.0)
    print(f"filtered {1000 * (time.monotonic() - began):.0f} ms later", file=sys.stderr)
    await hands.press("escape", lambda: app.screen.focused is table)
    await effect(app, lambda: LONG in text_of(app), since=0.0)


def there(app: Watched) -> bool:
    """Tell whether the cursor is in view, and no row on the screen still waits to be read."""
    table = app.screen.query_one(Table)
    line = table.row_region(table.row).y
    return table.head_height <= line < table.size.height and " …" not in text_of(app)


async def through_the_run(hands: Hands) -> None:
    """Open the long run; turn its metrics and pages, and scroll its log."""
    app = hands.app
    await hands.press("enter", lambda: isinstance(app.screen, RunScreen))
    began = time.monotonic()
    await effect(
        app, lambda: any(s.points for c in app.screen.query(Curve) for s in c.series), since=0.0
    )
    print(f"a million points drawn {time.monotonic() - began:.2f} s later", file=sys.stderr)
    log = app.screen.query_one(LogView)
    await effect(app, lambda: "step 0099999" in text_of(app), since=0.0)
    pages = app.screen.query_one("#pages")
    turns = (("config-page", "c"), ("watch", "c"), ("files-page", "v"), ("watch", "v"))
    for page, key in turns * 3:
        await hands.press(key, lambda page=page: pages.current == page)
    for _ in range(20):
        y = log.scroll_offset.y
        await hands.press("k", lambda y=y: log.scroll_offset.y < y)
    for _ in range(10):
        y = log.scroll_offset.y
        await hands.press("pageup", lambda y=y: log.scroll_offset.y != y)
    for _ in range(3):
        await hands.press("g", lambda: "0000000 is far" in text_of(app), reads=True)
        await hands.press("f", lambda: log.following and "step 0099999" in text_of(app), reads=True)


async def rest(seconds: float) -> float:
    """Do nothing, and return what share of a core that took (%)."""
    await asyncio.sleep(1.0)
    began, used = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    return 100 * (time.process_time() - used) / (time.monotonic() - began)


def most_kib() -> int:
    """Return the most memory that this process has had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def spread(taken: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile."""
    return statistics.median(taken), statistics.quantiles(taken, n=20, method="inclusive")[-1]


# -- the table


ROWS = (
    ("registry (MiB)", "registry_mib", 0),
    ("bare start of Textual (s)", "bare_s", 2),
    ("first paint beyond it, Pilot (s)", "paint_s", 2),
    ("first paint beyond it, pty (s)", "pty_s", 2),
    ("key to effect, median (ms)", "p50_ms", 1),
    ("key to effect, 95 % (ms)", "key_ms", 1),
    ("  of which of a processor, median (ms)", "busy_p50_ms", 1),
    ("  of which of a processor, 95 % (ms)", "busy_ms", 1),
    ("key to echo on a pty, median (ms)", "pty_p50_ms", 1),
    ("key to echo on a pty, 95 % (ms)", "pty_ms", 1),
    ("key to rows or log not at hand, median (ms)", "read_p50_ms", 1),
    ("key to rows or log not at hand, 95 % (ms)", "read_ms", 1),
    ("any of these keys, 95 % (ms)", "all_ms", 1),
    ("most memory (MiB)", "mib", 0),
    ("share of a core, grid at rest (%)", "cpu_grid", 2),
    ("share of a core, runs at rest (%)", "cpu_runs", 2),
    ("share of a core, run at rest (%)", "cpu_run", 2),
)


def report(found: dict[int, dict[str, float]]) -> int:
    """Print a table, a column for each lab; return 1 where a goal is missed."""
    print(f"{'runs':<45}" + "".join(f"{count:>10,}" for count in found) + "      goal")
    for title, name, places in ROWS:
        goal = GOALS.get("cpu" if name.startswith("cpu") else name)
        said = "" if goal is None else f"{goal:>10g}"
        values = "".join(f"{each[name]:>10.{places}f}" for each in found.values())
        print(f"{title:<45}{values}{said}".rstrip())
    missed = [
        f"{count:,} runs: {name} is {each[name]:.1f}, more than {goal:g}"
        for count, each in found.items()
        for name, goal in GOALS.items()
        if each[name] > goal
    ]
    print("\n".join(missed) or "every goal is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
