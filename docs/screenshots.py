"""Program: takes a picture of each of the dashboard's screens, as SVG.

    python docs/screenshots.py LAB OUT [--size 110x30] [--only NAME ...]

Opens the lab's dashboard without a terminal, goes through its screens by their keys and writes a
picture of each into OUT. The run is the newest that is running, else the newest; the cell and the
form that launches are those of the cell under the cursor, third of the second row.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from cxrlab.lab import find_lab
from cxrlab.tui.app import CxrlabApp
from cxrlab.tui.screens.run import RunScreen

SCREENS: dict[str, tuple[str, ...]] = {
    "grid": ("1", "down", "right", "right"),
    "cell": ("enter",),
    "launch": ("escape", "l"),
    "fill": ("escape", "f", "right", "right"),
    "export": ("escape", "e"),
    "commands": ("escape", "ctrl+p"),
    "help": ("escape", "question_mark"),
    "runs": ("escape", "2"),
    "run": ("slash", *"state:running", "enter", "enter"),
    "queue": ("escape", "3"),
    "gpus": ("4",),
    "notes": ("5",),
    "doctor": ("6",),
}
"""The keys that lead from each screen to the next."""


async def take(
    lab: Path, out: Path, *, width: int, height: int, wait_s: float, only: Sequence[str]
) -> None:
    """Write one picture for each of `SCREENS`, each a few seconds after its keys."""
    app = CxrlabApp(find_lab(lab))
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.pause(wait_s)
        for name, keys in SCREENS.items():
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.3)
            if name == "run" and not isinstance(app.screen, RunScreen):  # nothing is running
                await pilot.press("slash", "ctrl+u", "enter", "enter")
            await pilot.pause(wait_s)
            if name in (only or SCREENS):
                app.save_screenshot(f"{name}.svg", path=str(out))


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description="Take pictures of the dashboard.")
    parser.add_argument("lab", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="110x30", help="columns x lines")
    parser.add_argument("--wait", type=float, default=3.0, help="seconds before each picture")
    parser.add_argument("--only", nargs="*", choices=SCREENS, default=(), help="these alone")
    given = parser.parse_args()
    width, height = (int(part) for part in given.size.split("x"))
    given.out.mkdir(parents=True, exist_ok=True)
    asyncio.run(
        take(
            given.lab,
            given.out,
            width=width,
            height=height,
            wait_s=given.wait,
            only=given.only,
        )
    )


if __name__ == "__main__":
    main()
