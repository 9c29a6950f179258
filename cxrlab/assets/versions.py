"""What was last seen of each data set, and does a version's name still mean the same data?

A version is a name that a person gives in `cxrlab.toml`; a fingerprint is what checking or
preparing found. One name for two fingerprints is said aloud.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from cxrlab.lab import Lab

KEPT = ("fingerprint", "content_fingerprint", "records", "patients")


def seen(lab: Lab, name: str) -> dict[str, Any]:
    """Return what was last seen of a data set: root, version, fingerprint, records, when.

    Empty where nothing was, or where another folder is meant by now.
    """
    last = _read(lab).get(name, {}).get("last", {})
    known = lab.settings.data.get(name)
    meant = known is not None and last.get("root") == str(known.root)
    return dict(last) if meant else {}


def note(lab: Lab, name: str, facts: dict[str, Any]) -> str:
    """Remember what was seen of a data set where the lab says it lies.

    Args:
        lab: where it is remembered.
        name: of the data set.
        facts: with its `fingerprint`; nothing is remembered without one.

    Returns:
        What is wrong with the version's name, in words; empty for nothing.
    """
    known = lab.settings.data.get(name)
    if known is None or "fingerprint" not in facts:
        return ""
    document = _read(lab)
    entry = document.setdefault(name, {"last": {}, "versions": {}})
    found = {key: facts[key] for key in KEPT if key in facts}
    entry["last"] = {
        "root": str(known.root),
        "version": known.version,
        **found,
        "seen": time.time(),
    }
    before = entry["versions"].get(known.version) if known.version else None
    if known.version:
        entry["versions"][known.version] = facts["fingerprint"]
    _write(lab, document)
    if before in (None, facts["fingerprint"]):
        return ""
    return (
        f"version `{known.version}` of {name} was other data when last looked at: fingerprint "
        f"{short(before)} then, {short(facts['fingerprint'])} now; give it a version of its own"
    )


def short(fingerprint: str) -> str:
    """Return as much of a fingerprint as a person compares."""
    return fingerprint[:12]


def _read(lab: Lab) -> dict[str, Any]:
    try:
        document = json.loads(lab.notes_on_data.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _write(lab: Lab, document: dict[str, Any]) -> None:
    lab.notes_on_data.parent.mkdir(parents=True, exist_ok=True)
    unfinished = lab.notes_on_data.with_name(f"data.json.{os.getpid()}")
    unfinished.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(lab.notes_on_data)
