"""What was a run of somebody's own program made of? Standard library only.

Its environment is its own, so its interpreter is asked for the versions of what it has.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers import commit, machine
from trainers.copied import Copy

ASK_S = 60.0
_ASK = """
import json, platform
try:
    from importlib import metadata
    found = {each.metadata["Name"]: each.version for each in metadata.distributions()}
except ImportError:  # of an interpreter before 3.8
    found = {}
print(json.dumps({"python": platform.python_version(), "packages": found}))
"""


def write(
    folder: Path,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    workdir: Path,
    copy: Copy | None,
    facts: Mapping[str, Any],
) -> None:
    """Write `provenance.json`, and `diff.patch` where the program's code is not committed.

    Args:
        folder: the run folder.
        command: the program's.
        environment: as it has it.
        workdir: where it was queued.
        copy: the copy that it starts in, whose commit and changes were written down with it.
        facts: what else is told.
    """
    if copy is not None:
        name, changed = copy.note["commit"], bool(copy.note["uncommitted_changes"])
    else:
        name, diff = commit.of(workdir)
        changed = bool(diff)
        if diff:
            (folder / "diff.patch").write_text(diff, encoding="utf-8")
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    content = {
        "commit": name,
        "uncommitted_changes": changed,
        "code": copy.note["digest"] if copy else None,
        "workdir": str(workdir),
        "program": shutil.which(command[0]),
        **versions(command[0], environment),
        "host": socket.gethostname(),
        "gpus": machine.gpus(visible),
        "driver": machine.driver(),
        "visible_devices": visible,
        **facts,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")


def versions(program: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the versions of a program's interpreter and of all its packages; empty for others.

    `torchrun` and its like are asked by the interpreter beside them.
    """
    beside = Path(program).with_name("python")
    asked = program if Path(program).name.startswith("python") else str(beside)
    if not os.access(asked, os.X_OK):
        return {}
    try:
        done = subprocess.run(
            [asked, "-c", _ASK],
            capture_output=True,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            timeout=ASK_S,
            check=True,
        )
        said = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
