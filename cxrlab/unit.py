"""What must a systemd user unit say that keeps a lab's agent alive, also after a reboot?

Nothing here talks to systemd: the unit is text, written where a user's units lie, and whether it is
enabled is seen by the link that enabling leaves.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

from cxrlab.errors import CxrlabError, NotFound
from cxrlab.lab import Lab

OURS = "# Written by `cxrlab agent install`."
"""The first line of every unit that may be written over or removed."""

_TEXT = """\
{ours} Remove it by `cxrlab agent uninstall`.
[Unit]
Description=cxrlab agent of {folder}
ConditionPathIsDirectory={folder}

[Service]
ExecStart={command}
WorkingDirectory={folder}
# what is told of runs goes to addresses that stand here, one NAME=value a line
EnvironmentFile=-%h/.config/cxrlab.env
# where an agent lives that a command has started, this one ends at once and tries again
Restart=always
RestartSec=15
# runs are not the agent's: they outlive its end, and one killed for memory takes no other along
KillMode=process
OOMPolicy=continue

[Install]
WantedBy=default.target
"""


def name_of(lab: Lab) -> str:
    """Return the name of a lab's unit: that of its folder, and digits for labs of one name."""
    digits = hashlib.sha256(os.fsencode(lab.root)).hexdigest()[:6]
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", lab.root.name).strip("-.") or "lab"
    return f"cxrlab-{plain}-{digits}.service"


def path_of(lab: Lab) -> Path:
    """Return where the unit of a lab lies."""
    set_to = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(set_to) if set_to.startswith("/") else Path.home() / ".config"
    return config / "systemd" / "user" / name_of(lab)


def text_of(lab: Lab) -> str:
    """Return the unit of a lab.

    Raises:
        CxrlabError: a line break in the lab's path, which no unit can hold.
    """
    root = str(lab.root)
    if any(ord(letter) < 32 for letter in root):
        raise CxrlabError(f"a unit cannot name the folder {root!r}")
    words = [sys.executable, "-P", "-m", "cxrlab.agent", root, "--idle-s", "inf"]
    return _TEXT.format(
        ours=OURS,
        command=" ".join(_quoted(word) for word in words),
        folder=root.replace("%", "%%"),
    )


def write(lab: Lab) -> Path:
    """Write the unit of a lab, in place of an earlier one, and return its path.

    Raises:
        CxrlabError: a file of that name is there which is not ours.
    """
    path = path_of(lab)
    if path.exists() and not _ours(path):
        raise CxrlabError(f"{path} was not written by cxrlab", "move it away first")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text_of(lab), encoding="utf-8")
    new.replace(path)
    return path


def remove(lab: Lab) -> Path:
    """Remove the unit of a lab, and return where it was.

    Raises:
        NotFound: there is none.
        CxrlabError: it is enabled, or not ours.
    """
    path = path_of(lab)
    if enabled(lab):
        raise CxrlabError(f"{path.name} is enabled", f"`{disabling(lab)}` first")
    if not path.exists():
        raise NotFound(f"no unit is at {path}", "`cxrlab agent install --write` makes one")
    if not _ours(path):
        raise CxrlabError(f"{path} was not written by cxrlab", "remove it by hand")
    path.unlink()
    return path


def enabled(lab: Lab) -> bool:
    """Say whether systemd would start it, by the link that `systemctl enable` makes."""
    path = path_of(lab)
    return (path.parent / "default.target.wants" / path.name).is_symlink()


def enabling(lab: Lab) -> str:
    """Return the line that starts it now and at every login."""
    return f"systemctl --user daemon-reload && systemctl --user enable --now {name_of(lab)}"


def disabling(lab: Lab) -> str:
    """Return the line that ends it for good."""
    return f"systemctl --user disable --now {name_of(lab)}"


def _ours(path: Path) -> bool:
    return path.read_text(encoding="utf-8", errors="replace").startswith(OURS)


def _quoted(word: str) -> str:
    """Return a word as `ExecStart=` takes it back, its specifiers and variables disarmed."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
