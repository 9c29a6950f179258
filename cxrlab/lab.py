"""Where is the lab, and what do its settings say?

Relative paths in `cxrlab.toml` start at the lab, wherever a command is called from.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from cxrlab import columns
from cxrlab.errors import CxrlabError, NotFound, Usage, nearest, unknown_name
from trainers import catalog

SETTINGS_NAME = "cxrlab.toml"
PRESETS = ("paper", "quick")
LANGUAGES = ("en", "zh")
ENDS = ("succeeded", "failed", "stopped", "lost")
FORMS = ("ntfy", "slack", "feishu", "dingtalk", "json", "email")
MAIL_KEYS = ("to", "sender", "server", "user", "password_env")


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def _default_slots() -> int:
    return max(1, cores() // 2)


@dataclass(frozen=True)
class DataSettings:
    """`[data.NAME]`: where a data set lies, and which one it is."""

    root: Path
    version: str = ""
    """What a person calls this state of it, such as `V3`; runs say so in their results."""
    prepared: Path | None = None
    """Where its prepared copy lies, if not in the lab's own folder."""
    restricted: bool = False
    """Whether its terms of use forbid that its reports and images are shown to others."""


@dataclass(frozen=True)
class LaunchSettings:
    """`[launch]`: what runs may use of this machine, and how they are started."""

    gpus: int | Literal["all"] = "all"
    cpu_slots: int = field(default_factory=_default_slots)
    threads: int = 0
    stop_grace_s: float = 120.0
    preset: str = "paper"
    pretrain_program: str = "trainers.pretrain"
    finetune_program: str = "trainers.finetune"
    limits: Mapping[str, int] = field(default_factory=dict)
    """`[launch.limits]`: how many runs of a task may run at once; no limit where none is named."""
    hold_after: int = 3
    """After how many failures alike the rest of that method and task is held; 0 for never."""

    def __post_init__(self) -> None:
        if not self.threads:
            object.__setattr__(self, "threads", max(1, cores() // self.cpu_slots))


@dataclass(frozen=True)
class GridSettings:
    """`[grid]`: which rows and columns are shown, in this order; empty means all.

    A variant of a method, such as `mrm+hog`, is then shown where it has runs.
    """

    methods: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    """Words as `cxrlab.columns` reads them: `siim`, `siim:10`, `report:BLEU-1`, `notebook`."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`[grid.groups]`: names that stand for several methods, or for several columns."""


@dataclass(frozen=True)
class Place:
    """`[notify.NAME]`: somebody to tell. Addresses and passwords are named, never written down."""

    name: str
    form: str
    url_env: str = ""
    """The environment variable that holds a webhook's address."""
    to: str = ""
    sender: str = ""
    server: str = ""
    """Host and port of the SMTP server."""
    user: str = ""
    password_env: str = ""


@dataclass(frozen=True)
class NotifySettings:
    """`[notify]`: who is told that a run has ended, and of which ends."""

    on: tuple[str, ...] = ("failed", "lost", "succeeded")
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What `cxrlab.toml` says, defaults included."""

    data: Mapping[str, DataSettings] = field(default_factory=dict)
    launch: LaunchSettings = field(default_factory=LaunchSettings)
    grid: GridSettings = field(default_factory=GridSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    language: str = "en"


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
    def agent_lock(self) -> Path:
        """Held by the living agent."""
        return self.root / ".cxrlab" / "agent.lock"

    @property
    def agent_log(self) -> Path:
        """What the agent did."""
        return self.root / ".cxrlab" / "agent.log"


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


def make_lab(folder: Path) -> Lab:
    """Make `folder` a lab, or complete it where it is one; nothing that is there is overwritten."""
    root = folder.expanduser().resolve()
    for part in (root, root / ".cxrlab", root / "runs", root / "pretrained"):
        part.mkdir(parents=True, exist_ok=True)
    settings = root / SETTINGS_NAME
    if not settings.exists():
        settings.write_text(_template(), encoding="utf-8")
    return Lab(root, read_settings(settings))


def read_settings(path: Path) -> Settings:
    """Return what a `cxrlab.toml` says.

    Raises:
        Usage: it is not TOML, a key is unknown (the nearest known one is named), or a value
            does not fit.
    """
    source = path.read_text(encoding="utf-8")
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise Usage(f"{path} is not TOML: {error}") from None
    reader = _Reader(path, source)
    reader.check_keys("", document, ("data", "launch", "grid", "notify", "language"))
    return Settings(
        data=_data(reader, reader.table("", document, "data")),
        launch=_launch(reader, reader.table("", document, "launch")),
        grid=_grid(reader, reader.table("", document, "grid")),
        notify=_notify(reader, reader.table("", document, "notify")),
        language=reader.choice("", document, "language", LANGUAGES, "en"),
    )


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


@dataclass(frozen=True)
class _Reader:
    """Reads values out of one settings file, and names the file, line and key that are wrong."""

    path: Path
    source: str

    def fail(self, table: str, key: str, problem: str, hint: str = "") -> NoReturn:
        line = _line_of(self.source, table, key)
        place = f"{self.path}:{line}" if line else str(self.path)
        full = f"{table}.{key}" if table else key
        raise Usage(f"{place}: `{full}` {problem}", hint)

    def check_keys(self, table: str, given: Mapping[str, Any], known: Collection[str]) -> None:
        for key in given:
            if key not in known:
                close = nearest(key, known)
                prefix = f"{table}." if table else ""
                hint = f"did you mean `{prefix}{close}`?" if close else f"known: {', '.join(known)}"
                self.fail(table, key, "is no setting", hint)

    def table(self, within: str, given: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = given.get(key, {})
        if not isinstance(value, dict):
            self.fail(within, key, "must be a table", f"write `[{key}]` on a line of its own")
        return value

    def whole(self, table: str, given: Mapping[str, Any], key: str, least: int, other: int) -> int:
        value = given.get(key, other)
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or (key in given and value < least)
        ):
            self.fail(table, key, f"is `{value}`; expected a whole number from {least}")
        return value

    def choice(
        self, table: str, given: Mapping[str, Any], key: str, known: Collection[str], other: str
    ) -> str:
        value = given.get(key, other)
        if value not in known:
            self.fail(table, key, f"is `{value}`; expected one of {', '.join(known)}")
        return str(value)

    def words(self, table: str, given: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = given.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fail(table, key, "must be a list of names")
        return tuple(value)


def _data(reader: _Reader, tables: Mapping[str, Any]) -> dict[str, DataSettings]:
    reader.check_keys("data", tables, catalog.DATASETS)
    found = {}
    for name in tables:
        table = reader.table("data", tables, name)
        reader.check_keys(f"data.{name}", table, ("root", "version", "prepared", "restricted"))
        root, version, prepared = (table.get(key, "") for key in ("root", "version", "prepared"))
        if not isinstance(root, str) or not root:
            reader.fail("data", name, "has no `root`", 'write `root = "/where/it/lies"` below it')
        for key, value in (("version", version), ("prepared", prepared)):
            if not isinstance(value, str):
                hint = f'write `{key} = "{value}"`'
                reader.fail(f"data.{name}", key, f"is `{value}`; expected text", hint)
        restricted = table.get("restricted", False)
        if not isinstance(restricted, bool):
            hint = "write `restricted = true`"
            reader.fail(
                f"data.{name}", "restricted", f"is `{restricted}`; expected true or false", hint
            )
        place = reader.path.parent
        found[name] = DataSettings(
            (place / Path(root).expanduser()).resolve(),
            version.strip(),
            (place / Path(prepared).expanduser()).resolve() if prepared else None,
            restricted,
        )
    return found


def _launch(reader: _Reader, table: Mapping[str, Any]) -> LaunchSettings:
    known = tuple(LaunchSettings.__dataclass_fields__)
    reader.check_keys("launch", table, known)
    gpus = table.get("gpus", "all")
    if gpus != "all" and (not isinstance(gpus, int) or isinstance(gpus, bool) or gpus < 0):
        reader.fail("launch", "gpus", f'is `{gpus}`; expected "all" or a whole number from 0')
    grace = table.get("stop_grace_s", 120)
    if not isinstance(grace, int | float) or isinstance(grace, bool) or grace < 0:
        reader.fail("launch", "stop_grace_s", f"is `{grace}`; expected seconds from 0")
    programs = {}
    for key in ("pretrain_program", "finetune_program"):
        value = table.get(key, getattr(LaunchSettings, key))
        if not isinstance(value, str) or not value:
            reader.fail("launch", key, "must name a module or a file ending in .py")
        script = (reader.path.parent / Path(value).expanduser()).resolve()
        programs[key] = str(script) if value.endswith(".py") else value
    return LaunchSettings(
        gpus=gpus,
        cpu_slots=reader.whole("launch", table, "cpu_slots", 1, _default_slots()),
        threads=reader.whole("launch", table, "threads", 1, 0),
        stop_grace_s=float(grace),
        preset=reader.choice("launch", table, "preset", PRESETS, "paper"),
        limits=_limits(reader, reader.table("launch", table, "limits")),
        hold_after=reader.whole("launch", table, "hold_after", 0, LaunchSettings.hold_after),
        **programs,
    )


def _limits(reader: _Reader, table: Mapping[str, Any]) -> dict[str, int]:
    reader.check_keys("launch.limits", table, (catalog.PRETRAIN, *catalog.TASKS))
    return {task: reader.whole("launch.limits", table, task, 1, 1) for task in table}


def _notify(reader: _Reader, table: Mapping[str, Any]) -> NotifySettings:
    on = reader.words("notify", table, "on") or NotifySettings.on
    for state in on:
        if state not in ENDS:
            reader.fail("notify", "on", f"names `{state}`; expected some of {', '.join(ENDS)}")
    names = [name for name in table if name != "on"]
    return NotifySettings(on, tuple(_place(reader, name, table) for name in names))


def _place(reader: _Reader, name: str, tables: Mapping[str, Any]) -> Place:
    given, where = reader.table("notify", tables, name), f"notify.{name}"
    form = reader.choice(where, given, "form", FORMS, "")
    wanted = MAIL_KEYS if form == "email" else ("url_env",)
    reader.check_keys(where, given, ("form", *wanted))
    values = {key: given.get(key, "") for key in wanted}
    for key, value in values.items():
        needed = key in ("url_env", "to", "sender", "server")
        if not isinstance(value, str) or (needed and not value):
            reader.fail(where, key if key in given else "form", f"needs `{key}`, a text")
    return Place(name, form, **values)


def _grid(reader: _Reader, table: Mapping[str, Any]) -> GridSettings:
    reader.check_keys("grid", table, ("methods", "columns", "groups"))
    methods = reader.words("grid", table, "methods")
    given = table.get("columns", [])
    single = isinstance(given, str) and given in columns.SETS
    named = (given,) if single else reader.words("grid", table, "columns")
    tables = reader.table("grid", table, "groups")
    groups = {name: reader.words("grid.groups", tables, name) for name in tables}
    for name, members in groups.items():
        _check_group(reader, name, members)
    for key, check in (
        ("methods", lambda: columns.methods_of(methods, groups)),
        ("columns", lambda: columns.chosen(named, groups)),
    ):
        try:
            check()
        except CxrlabError as error:
            reader.fail("grid", key, f"cannot be shown: {error.message}", error.hint)
    return GridSettings(methods, named, groups)


def _check_group(reader: _Reader, name: str, members: Sequence[str]) -> None:
    """Refuse a group whose name means something else, or that is neither rows nor columns."""
    taken = (*catalog.METHODS, *catalog.TASKS, catalog.PRETRAIN, *columns.FIELDS, *columns.SETS)
    if name in taken:
        reader.fail("grid.groups", name, "is a name that means something else")
    if not members:
        reader.fail("grid.groups", name, "is empty", "list methods, or columns")
    try:
        if members[0] in catalog.METHODS:
            columns.methods_of(members, {})
        else:
            columns.chosen(members)
    except CxrlabError as error:
        reader.fail("grid.groups", name, f"cannot be shown: {error.message}", error.hint)


def _line_of(source: str, table: str, key: str) -> int:
    """Return the line that sets `key` in `table` or opens it as a table, or 0 where none does."""
    full = f"{table}.{key}" if table else key
    at = ""
    for count, line in enumerate(source.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\]]+?)\s*\]", line)
        if header:
            at = header[1].replace('"', "").replace(" ", "")
            if at == full or at.startswith(f"{full}."):
                return count
        setting = re.match(r"\s*([A-Za-z0-9_.\"-]+)\s*=", line)
        if setting and ".".join(filter(None, (at, setting[1].replace('"', "")))) == full:
            return count
    return 0


_TEMPLATE_RECORDS = """\
# prepared = "/fast/mimic"  # where `cxrlab data prepare` puts the copy that training reads
# restricted = true         # by PhysioNet's terms: its reports and images are shown nowhere
"""


def _template() -> str:
    data = "\n".join(
        f'# {entry.title}: {entry.layout}\n# [data.{name}]\n# root = "/dataset/{name}"\n'
        '# version = "V1"          # what you call its present state; results say so\n'
        + _TEMPLATE_RECORDS
        * (name == catalog.PRETRAIN_ENTRY.dataset)
        for name, entry in catalog.DATASETS.items()
    )
    return f"""\
# Settings of this lab. Lines that begin with # are examples or defaults: take the # away to
# change them. Relative paths start at this folder.

# language = "en"            # of reports: {", ".join(LANGUAGES)}

[launch]
# gpus = "all"               # how many GPUs runs may hold at once: "all" or a number; 0: none
# cpu_slots = {_default_slots():<3}            # how many runs without a GPU go at once
# threads = {max(1, cores() // _default_slots()):<3}              # CPU threads of each run
# stop_grace_s = 120         # how long `cxrlab stop` waits for a last checkpoint
# preset = "paper"           # paper: as published; quick: small, to see that all works
# hold_after = 3             # so many failures alike hold what waits for the same; 0: never
# limits = {{ report = 1 }}    # how many runs of a task go at once; no limit where none is named

[grid]
# methods = ["random", "mrm", "deep_mrm"]     # rows, in this order; left out: every method
# columns = ["siim:10", "siim:100"]           # task, task:ratio or task:metric (report:BLEU-1);
#                                             # ["notebook"]: its table; left out: every task
# [grid.groups]                               # names for several rows or columns, to use above
# baselines = ["random", "imagenet"]

# Who is told that a run has ended. The addresses of webhooks are secrets: name the environment
# variables that hold them (as the agent's shell has them). `cxrlab notify` tries all places.
[notify]
# on = ["failed", "lost", "succeeded"]

# forms: {", ".join(FORMS[:-1])}
# [notify.team]
# form = "ntfy"
# url_env = "CXRLAB_NTFY_URL"

# [notify.mail]
# form = "email"
# to = "me@example.org"
# sender = "cxrlab@example.org"
# server = "smtp.example.org:587"
# user = "cxrlab"
# password_env = "CXRLAB_SMTP_PASSWORD"

# Where the data lies. `cxrlab data list` shows which are found.

{data}"""
