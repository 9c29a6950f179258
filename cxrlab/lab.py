"""Where is the lab, and where in it does each thing lie?"""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cxrlab.errors import NotFound, Usage, unknown_name
from cxrlab.settings import Settings
from cxrlab.settings_file import read_settings, template
from trainers import catalog

SETTINGS_NAME = "cxrlab.toml"

MASKS = {"private": 0o077, "group": 0o027}
"""By `[lab] share`: what nobody else may do with what is created in run folders and registry."""

_masking = threading.Lock()


@dataclass(frozen=True)
class Lab:
    """A folder with `cxrlab.toml`, a registry and `runs/`."""

    root: Path
    settings: Settings
    included: frozenset[str] = frozenset()
    """Restricted data sets that this command was asked, by name, to show all the same."""

    @property
    def settings_file(self) -> Path:
        """The file a person edits."""
        return self.root / SETTINGS_NAME

    @property
    def registry(self) -> Path:
        """The SQLite file that indexes the runs."""
        return self.root / ".cxrlab" / "registry.db"

    @property
    def runs_dir(self) -> Path:
        """One folder a run."""
        return self.root / "runs"

    @property
    def pretrained_dir(self) -> Path:
        """Weights fetched or copied in."""
        return self.root / "pretrained"

    @property
    def notes_on_data(self) -> Path:
        """What was last seen of each data set."""
        return self.root / ".cxrlab" / "data.json"

    @property
    def hashes_dir(self) -> Path:
        """What tells the images of each data set apart, a file a set; see `trainers.data.kept`."""
        return self.root / ".cxrlab" / "hashes"

    def copy_of(self, name: str) -> Path:
        """Return where the prepared copy of a data set lies, or will."""
        known = self.settings.data.get(name)
        own = self.root / ".cxrlab" / "prepared" / name
        return known.prepared if known and known.prepared else own

    @property
    def code_dir(self) -> Path:
        """Copies of the trainers' code that runs were queued with; see `cxrlab.code.frozen`."""
        return self.root / ".cxrlab" / "code"

    @contextmanager
    def creating(self) -> Iterator[None]:
        """Create what the lab's owner shares with the group, or with nobody, whatever the umask.

        The umask is the whole process's: threads wait for one another here.
        """
        with _masking:
            before = os.umask(MASKS[self.settings.share])
            try:
                yield
            finally:
                os.umask(before)

    def make_folder(self, folder: Path) -> None:
        """Make a folder for runs or the registry, readable by those alone that the lab says."""
        if not folder.is_dir():
            with self.creating():
                folder.mkdir(parents=True, exist_ok=True)

    @property
    def agent_lock(self) -> Path:
        """Held by the living agent."""
        return self.root / ".cxrlab" / "agent.lock"

    @property
    def agent_log(self) -> Path:
        """What the agent did."""
        return self.root / ".cxrlab" / "agent.log"

    @property
    def gpus_seen(self) -> Path:
        """What the agent saw of the GPUs over time; see `cxrlab.gpus.watch`."""
        return self.root / ".cxrlab" / "gpus.json"


def find_lab(start: Path | None = None) -> Lab:
    """Return the lab at or above `start`, else at `CXRLAB_LAB`, else at the working directory.

    Raises:
        NotFound: there is none.
        Usage: its settings cannot be read.
    """
    given = start or (Path(os.environ["CXRLAB_LAB"]) if os.environ.get("CXRLAB_LAB") else None)
    place = (given or Path.cwd()).expanduser().resolve()
    for folder in (place, *place.parents):
        if (folder / SETTINGS_NAME).is_file():
            return Lab(folder, read_settings(folder / SETTINGS_NAME))
    raise NotFound(f"no lab at {place} or above it", "`cxrlab init` makes one")


def make_lab(folder: Path, *, share: str | None = None) -> Lab:
    """Make `folder` a lab, or complete it where it is one; nothing that is there is overwritten.

    Args:
        folder: where it is to be.
        share: who may read runs and registry, `private` or `group`; None leaves what is written.
    """
    root = folder.expanduser().resolve()
    for part in (root, root / "pretrained"):
        part.mkdir(parents=True, exist_ok=True)
    settings = root / SETTINGS_NAME
    if not settings.exists():
        settings.write_text(template(), encoding="utf-8")
    lab = Lab(root, read_settings(settings))
    if share is not None and share != lab.settings.share:
        lab = _set_share(lab, share)
    for part in (lab.registry.parent, lab.runs_dir):
        lab.make_folder(part)
    return lab


def open_doors(lab: Lab) -> None:
    """Give the folders of registry and runs the rights that `[lab] share` says.

    Closing is done at the two outer doors; opening goes through everything within, and follows no
    link.
    """
    shared = lab.settings.share == "group"
    for place in (lab.registry.parent, lab.runs_dir):
        place.chmod(0o750 if shared else 0o700)
        for folder, _, names in os.walk(place) if shared else ():
            for path in (Path(folder), *(Path(folder, name) for name in names)):
                mode = path.lstat().st_mode
                if not stat.S_ISLNK(mode):
                    path.chmod(stat.S_IMODE(mode) | (0o050 if stat.S_ISDIR(mode) else 0o040))


def _set_share(lab: Lab, share: str) -> Lab:
    """Write `[lab] share` into `cxrlab.toml`, keep every other line, return the new lab.

    Raises:
        Usage: the file says it in a form that only a person can edit.
    """
    lines = lab.settings_file.read_text(encoding="utf-8").splitlines()
    header = next((i for i, x in enumerate(lines) if re.match(r"\s*\[lab\]", x)), None)
    if header is None:
        first = next((i for i, x in enumerate(lines) if re.match(r"\s*\[", x)), len(lines))
        lines[first:first] = ["[lab]", ""]
        header = first
    old = re.compile(r"\s*#?\s*share\s*=")
    end = next((i for i in range(header + 1, len(lines)) if lines[i].startswith("[")), len(lines))
    spot = next((i for i in range(header + 1, end) if old.match(lines[i])), None)
    new = f"share = {json.dumps(share)}"
    lines[header + 1 if spot is None else spot : header + 1 if spot is None else spot + 1] = [new]
    temporary = lab.settings_file.with_suffix(".toml.new")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        settings = read_settings(temporary)
    except Usage:
        settings = Settings(share="")
    if settings.share != share:
        temporary.unlink()
        hint = f"write `{new}` below `[lab]` there by hand"
        raise Usage(f"{lab.settings_file} gives `lab.share` in a form of its own", hint)
    temporary.replace(lab.settings_file)
    return Lab(lab.root, settings)


def set_data_root(lab: Lab, name: str, *, root: Path) -> Lab:
    """Write `[data.NAME] root` into `cxrlab.toml`, keep every other line, return the new lab.

    Raises:
        NotFound: no data set is called `name`.
        Usage: the file says it in a form that only a person can edit.
    """
    if name not in catalog.DATASETS:
        raise unknown_name("data set", name, catalog.DATASETS)
    lines = lab.settings_file.read_text(encoding="utf-8").splitlines()
    changed = "\n".join(_with_root(lines, name, json.dumps(str(root), ensure_ascii=False))) + "\n"
    temporary = lab.settings_file.with_suffix(".toml.new")
    temporary.write_text(changed, encoding="utf-8")
    try:
        settings = read_settings(temporary)
    except Usage:
        settings = Settings()
    wanted = (lab.root / root.expanduser()).resolve()
    if name not in settings.data or settings.data[name].root != wanted:
        temporary.unlink()
        raise Usage(
            f"{lab.settings_file} gives `data.{name}` in a form of its own",
            f"write `root = {json.dumps(str(root))}` there by hand",
        )
    temporary.replace(lab.settings_file)
    return Lab(lab.root, settings)


def _with_root(lines: list[str], name: str, value: str) -> list[str]:
    """Return `lines` with the root of one data set set; wakes up a block that is commented out."""
    header = re.compile(rf"\s*(#\s*)?\[data\.{re.escape(name)}\]\s*(#.*)?$")
    found = [i for i, line in enumerate(lines) if header.match(line)]
    live = [i for i in found if not lines[i].lstrip().startswith("#")]
    if not found:
        return [*lines, "", f"[data.{name}]", f"root = {value}"]
    at = (live or found)[0]
    result = [*lines[:at], f"[data.{name}]" if not live else lines[at]]
    rest = lines[at + 1 :]
    within = next((i for i, x in enumerate(rest) if re.match(r"\s*(#\s*)?\[", x)), len(rest))
    own = re.compile(r"\s*root\s*=" if live else r"\s*#\s*root\s*=")
    spot = next((i for i in range(within) if own.match(rest[i])), None)
    if spot is None:
        return [*result, f"root = {value}", *rest]
    return [*result, *rest[:spot], f"root = {value}", *rest[spot + 1 :]]
