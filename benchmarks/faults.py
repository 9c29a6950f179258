"""Does a lab survive what happens to its processes and files? Faults at random, then a reckoning.

    python -m benchmarks.faults --faults 200
    python -m benchmarks.faults --each
    python -m benchmarks.faults --faults 1000 --only trainer,runner_alone,both,the_agent

Some runs train at a time. Each fault strikes one of them, or what stands around it, at a random
moment. Within `SOON_S` its state must be the right one; what was interrupted is resumed, and when
it has ended every step must stand in the registry once, the weights must be those of a run that
nothing befell, and no process may be left. Prints a table and exits with 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import each_fault
from benchmarks.fault_campaign import END_S, Campaign
from benchmarks.fault_kinds import FAULTS
from cxrlab import agent
from cxrlab.errors import CxrlabError
from store import runs


@contextlib.contextmanager
def place(tmpfs: bool) -> Iterator[Path]:
    """Give a folder for the lab, on a small disk of its own where asked (needs root)."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    mounted = (
        tmpfs
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=False
        ).returncode
    )
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def strike(campaign: Campaign, name: str) -> None:
    """Let one fault happen, and note what it was too much for."""
    try:
        FAULTS[name](campaign, name)
        campaign.counts[name] += 1
    except LookupError as error:
        campaign.counts[f"{name}: left out, {error}"] += 1
    except Exception as error:
        campaign.counts[name] += 1
        campaign.wrong.append(f"{name}: {type(error).__name__}: {error}")


def main() -> int:
    """Run the campaign and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--only", default="", help="some faults, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tmpfs", action="store_true", help="a small disk, to fill (needs root)")
    parser.add_argument("--each", action="store_true", help="each fault once, and what is said")
    given = parser.parse_args()
    if given.each:
        return each_fault.main()
    names = given.only.split(",") if given.only else list(FAULTS)
    if unknown := set(names) - set(FAULTS):
        parser.error(f"no such faults: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    with place(given.tmpfs) as folder:
        campaign = Campaign(folder / "lab", given.seed)
        began = time.monotonic()
        for number in range(given.faults):
            strike(campaign, names[number % len(names)])
            if number % 20 == 19:
                print(f"{number + 1} faults, {len(campaign.wrong)} wrong", file=sys.stderr)
        settle(campaign)
        report(campaign, time.monotonic() - began)
        with contextlib.suppress(CxrlabError):
            agent.end(campaign.lab)
    return bool(campaign.wrong)


def settle(campaign: Campaign) -> None:
    """Let every run come to its end, and reckon with it."""
    deadline = time.monotonic() + END_S
    while runs.count(campaign.db) and time.monotonic() < deadline:
        for run in campaign.open_runs("succeeded"):
            campaign.reckon(run)
        for run in campaign.open_runs("lost", "stopped", "failed"):
            campaign.again(run)
        agent.ensure_agent(campaign.lab)
        time.sleep(0.2)
    for run in runs.select(campaign.db):
        campaign.wrong.append(f"{run.id} never came to its end: {run.state} ({run.reason})")


def report(campaign: Campaign, seconds: float) -> None:
    """Print the table."""
    print(f"{'fault':<44} {'times':>5}  slowest state")
    for name, count in sorted(campaign.counts.items()):
        slow = campaign.slowest.get(name)
        print(f"{name:<44} {count:>5}  " + ("" if slow is None else f"{slow:.2f} s"))
    print(
        f"{campaign.finished} runs came to their end, {campaign.resumed} times one went on, "
        f"in {seconds:.0f} s; {len(campaign.wrong)} things wrong"
    )
    for line in campaign.wrong:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
