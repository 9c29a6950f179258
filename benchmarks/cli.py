"""How long does `cxrlab --help` take, as a multiple of a bare Typer program's `--help`?

    python benchmarks/cli.py

Both are started in turn, from compiled bytecode, as often as each other; the medians are compared.
The bare program is one command with one option, once as Typer makes it and once with plain help,
which is what `cxrlab` itself uses. Also prints which heavy packages each entry point imports.
"""

from __future__ import annotations

import compileall
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cxrlab

ROUNDS = 20
MOST = 1.5
"""The most that `cxrlab --help` may take of a bare program's time."""

HEAVY = ("torch", "textual", "sqlite_utils", "rich", "numpy", "timm")

BARE = '''
import typer
app = typer.Typer({options})
@app.command()
def hello(name: str = "you") -> None:
    """Say hello."""
    print(name)
'''


def main() -> int:
    """Measure, print the ratios, and return 1 if the one that is promised does not hold."""
    compileall.compile_dir(str(Path(cxrlab.__file__).parent), quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        for name, options in (("bare", ""), ("bare_plain", "rich_markup_mode=None")):
            (Path(folder) / f"{name}.py").write_text(BARE.format(options=options))
        compileall.compile_dir(folder, quiet=1)
        starts = {
            "a bare Typer program": start("bare", folder),
            "the same, plain help": start("bare_plain", folder),
            "cxrlab": start("cxrlab.cli", folder),
        }
        times: dict[str, list[float]] = {name: [] for name in starts}
        for turn in range(ROUNDS + 2):
            for name, command in starts.items():
                began = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                if turn > 1:  # the first two fill the caches
                    times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for name, median in medians.items():
        print(f"{median * 1000:7.1f} ms  {name} --help")
    ratio = medians["cxrlab"] / medians["a bare Typer program"]
    plain = medians["cxrlab"] / medians["the same, plain help"]
    print(f"ratio {ratio:.2f} (at most {MOST}); to plain help {plain:.2f}")
    print("imports of cxrlab --help:", ", ".join(loaded("--help")) or "nothing heavy")
    return 0 if ratio <= MOST else 1


def start(module: str, folder: str) -> list[str]:
    """Return the command line that runs the Typer program `app` of `module` with `--help`."""
    code = f"import sys; sys.path.insert(0, {folder!r}); from {module} import app; app()"
    return [sys.executable, "-c", code, "--help"]


def loaded(*words: str) -> list[str]:
    """Return which of the heavy packages are loaded when `cxrlab` ends."""
    code = (
        "import sys\nfrom cxrlab.cli import main\n"
        f"sys.argv = ['cxrlab', *{list(words)!r}]\nmain()\n"
        f"print(*[n for n in {HEAVY!r} if n in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return ended.stderr.split()


if __name__ == "__main__":
    sys.exit(main())
