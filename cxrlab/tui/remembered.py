"""What does the dashboard remember of a person from one day to the next? Theme, language, columns.

One JSON file for each person and lab, in the person's own folder for such things: a lab may be
shared, or not be one's own to write to. A file that cannot be read is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, TypeVar

from cxrlab.lab import Lab

STATE_VARIABLE = "XDG_STATE_HOME"
"""Names the folder for such things; `~/.local/state` where it is unset."""

Value = TypeVar("Value")

_writing = threading.Lock()
log = logging.getLogger(__name__)


def file_of(lab: Lab) -> Path:
    """Return where it is remembered for `lab`."""
    root = lab.root.resolve()
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    given = os.environ.get(STATE_VARIABLE, "")
    states = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return states / "cxrlab" / f"{root.name}-{digest}.json"


def read(lab: Lab) -> dict[str, Any]:
    """Return all that is remembered; nothing where the file is not there or makes no sense."""
    try:
        found = json.loads(file_of(lab).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: nobody's home can be found
        return {}
    return found if isinstance(found, dict) else {}


def recall(lab: Lab, key: str, default: Value) -> Value:
    """Return what is remembered under `key`; `default` where that is nothing of its kind."""
    found = read(lab).get(key, default)
    return found if isinstance(found, type(default)) else default


def remember(lab: Lab, key: str, value: Any) -> None:
    """Remember `value`, which JSON can hold, from now on; what else is remembered stays.

    Writes beside the file and puts it in its place in one step. Where that cannot be done it is
    logged and nothing more: it is no reason to bother a person. Waits for the disk; a handler
    calls `remember_soon`.
    """
    try:
        with _writing:
            path = file_of(lab)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({**read(lab), key: value}, file, ensure_ascii=False, indent=2)
            Path(name).replace(path)
    except (OSError, RuntimeError) as error:
        log.warning("cannot remember `%s`: %s", key, error)


def remember_soon(lab: Lab, key: str, value: Any) -> None:
    """Remember `value` on a thread of its own."""
    threading.Thread(target=remember, args=(lab, key, value), daemon=True).start()
