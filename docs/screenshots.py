"""Program: takes a picture of the dashboard's screens, as SVG.

    python docs/screenshots.py LAB OUT [--size 110x30]

Opens the lab's dashboard without a terminal, looks at the grid, the runs and the newest run that is
running, and writes `grid.svg`, `runs.svg` and `run.svg` into OUT.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from cxrlab.lab import find_lab
from cxrlab.tui.app import CxrlabApp

SCREENS: dict[str, tuple[str, ...]] = {
    "grid": ("1",),
    "runs": ("2",),
    "run": ("slash", *"state:running", "enter", "enter"),
}


async def take(lab: Path, out: Path, *, width: int, height: int, wait_s: float) -> None:
    """Write one picture for each of `SCREENS`, each a few seconds after its keys."""
    app = CxrlabApp(find_lab(lab))
    async with app.run_test(size=(width, height)) as pilot:
        for name, keys in SCREENS.items():
            await pilot.press(*keys)
            await pilot.pause(wait_s)
            app.save_screenshot(f"{name}.svg", path=str(out))


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description="Take pictures of the dashboard.")
    parser.add_argument("lab", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="110x30", help="columns x lines")
    parser.add_argument("--wait", type=float, default=3.0, help="seconds before each picture")
    given = parser.parse_args()
    width, height = (int(part) for part in given.size.split("x"))
    given.out.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(given.lab, given.out, width=width, height=height, wait_s=given.wait))


if __name__ == "__main__":
    main()
