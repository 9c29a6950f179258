"""How does an export get into a folder, whole or not at all?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cxrlab.exports.files import is_special


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then put it there in one step; the folder is made.

    One that is there is replaced, and keeps its mode; a device or a pipe is written to.
    """
    if is_special(path):
        with path.open("wb") as stream:
            stream.write(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask())
        temporary.replace(path.resolve() if path.is_symlink() else path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
