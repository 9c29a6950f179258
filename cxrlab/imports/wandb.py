"""What do the logs of W&B below a folder hold, one `run-ID.wandb` for each run?

They are there for runs that were logged offline, and for others until they are cleared away. Read
without W&B.

Source: wandb/proto/wandb_internal.proto.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrlab.errors import NotFound
from cxrlab.imports.curves import Found
from trainers import framing, protobuf

_HISTORY, _CONFIG, _RUN, _EXIT = 2, 5, 17, 18
_VALUES = {3: "none", 4: "boolean", 5: "integer", 6: "number", 7: "text", 8: "json", 16: "json"}


def read(folder: Path) -> Iterator[Found]:
    """Give the run of each `.wandb` file at or below `folder`.

    Raises:
        NotFound: there is no such folder or file.
    """
    if not folder.exists():
        raise NotFound(f"{folder} does not exist")
    files = sorted(folder.rglob("*.wandb")) if folder.is_dir() else [folder]
    for path in dict.fromkeys(file.resolve() for file in files):  # `latest-run` is a link
        found = Found("wandb", path.stem.removeprefix("run-"), f"wandb:{path.stem}")
        found.unfinished = "it has not ended there"
        with path.open("rb") as file:
            what: list[str] = []
            for record in framing.wandb_records(file, what.append):
                try:
                    _take(record, found)
                except ValueError as error:
                    what.append(f"has a record that cannot be read: {error}")
        found.notes += [f"{path.name}: {each}" for each in what]
        if found.curves:
            yield found


def _take(record: bytes, found: Found) -> None:
    for kind, content in protobuf.fields(record):
        if not isinstance(content, bytes):
            continue
        if kind == _HISTORY:
            _take_history(content, found)
        elif kind == _CONFIG:
            _take_config(content, found)
        elif kind == _RUN:
            _take_run(content, found)
        elif kind == _EXIT:
            code = protobuf.signed(dict(protobuf.fields(content)).get(1, 0))
            found.unfinished = f"it ended there with exit status {code}" if code else ""


def _take_history(history: bytes, found: Found) -> None:
    values: dict[str, Any] = {}
    step: int | None = None
    for number, value in protobuf.fields(history):
        if number == 1 and isinstance(value, bytes):
            name, given = _item(value)
            values |= dict(_flat(name, given))
        elif number == 2 and isinstance(value, bytes):
            step = protobuf.signed(dict(protobuf.fields(value)).get(1, 0))
    step = int(values.get("_step", 0)) if step is None else step
    t = values.get("_timestamp")
    for name, given in values.items():
        if not name.startswith("_") and type(given) in (int, float):
            found.add(name, step, float(given), float(t) if isinstance(t, int | float) else None)


def _take_config(config: bytes, found: Found) -> None:
    for number, value in protobuf.fields(config):
        if number == 1 and isinstance(value, bytes):
            name, given = _item(value)
            if not name.startswith("_"):
                found.settings[name] = given


def _take_run(run: bytes, found: Found) -> None:
    parts: dict[int, Any] = dict(protobuf.fields(run))
    project, name = (parts.get(field, b"").decode(errors="replace") for field in (3, 8))
    found.name = "/".join(filter(None, (project, name or found.name)))
    if 4 in parts:
        _take_config(parts[4], found)
    if 17 in parts:
        began = dict(protobuf.fields(parts[17])).get(1, 0)
        found.began = float(protobuf.signed(began)) or None


def _item(item: bytes) -> tuple[str, Any]:
    """Return name and value of one entry; of a nested name the parts are joined."""
    names: list[str] = []
    value: Any = None
    for number, content in protobuf.fields(item):
        if number in (1, 2) and isinstance(content, bytes):
            names.append(content.decode(errors="replace"))
        elif kind := _VALUES.get(number):
            value = _value(kind, content)
    return ".".join(names), value


def _value(kind: str, content: int | bytes) -> Any:
    if kind == "number":
        return protobuf.floating(content)
    if kind == "integer":
        return protobuf.unzigzagged(content)
    if not isinstance(content, bytes):
        return bool(content) if kind == "boolean" else None
    text = content.decode(errors="replace")
    if kind == "json":
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    return text


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and "_type" not in value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value
