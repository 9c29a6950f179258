"""How are a lab's settings read from `cxrlab.toml`, and what does a new file of them say?

Relative paths in it start at the lab, wherever a command is called from. What cannot work is
refused with the file, the line and the key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from cxrlab import columns, text
from cxrlab.errors import CxrlabError, Usage, nearest
from cxrlab.settings import (
    BACKENDS,
    ENDS,
    FORMS,
    LANGUAGES,
    MAIL_KEYS,
    ON_OOM,
    ON_STALL,
    PRESETS,
    SHARES,
    CheckpointSettings,
    DataSettings,
    GpuSettings,
    GridSettings,
    LaunchSettings,
    NotifySettings,
    Place,
    Settings,
    SlurmSettings,
    cores,
    default_slots,
)
from trainers import catalog

SPANS = ("stall_factor", "stall_least_s")
"""Settings of `[launch]` that are numbers from 0."""


OURS = ("array", "chdir", "job-name", "nodes", "ntasks-per-node", "open-mode", "output", "requeue",
        "no-requeue", "signal", "gpus-per-node", "gres", "cpus-per-task", "mem", "time",
        "partition", "account", "qos", "constraint")  # fmt: skip
"""Options of sbatch that cxrlab needs itself, or that have a setting of their own."""

_TIME = re.compile(r"\d+|(\d+-)?\d+(:\d+){1,2}|\d+-\d+")


def _not_toml(path: Path, said: str) -> Usage:
    """Return what is wrong with a file, with its line where the parser names one."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", said)
    message, place = (found[1], f"{path}:{found[2]}") if found else (said, str(path))
    if twice := re.fullmatch(r"Cannot declare \((.+)\) twice", message):
        table = ".".join(re.findall(r"'([^']*)'", twice[1]))
        return Usage(f"{place}: `[{table}]` is there already", "write its settings together")
    if message == "Cannot overwrite a value":
        return Usage(f"{place}: this setting is there already", "take one of the two away")
    return Usage(f"{place} is not TOML: {message[:1].lower()}{message[1:]}")


def read_settings(path: Path) -> Settings:
    """Return what a `cxrlab.toml` says.

    Raises:
        Usage: it is not TOML, a key is unknown (the nearest known one is named), or a value
            does not fit.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        place = f"{path}:{error.object.count(bytes([10]), 0, error.start) + 1}"
        raise Usage(f"{place}: this is not UTF-8", "save it as UTF-8") from None
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(path, str(error)) from None
    reader = _Reader(path, source)
    known = ("lab", "data", "launch", "slurm", "gpus", "grid", "notify", "checkpoints", "language")
    reader.check_keys("", document, known)
    lab = reader.table("", document, "lab")
    reader.check_keys("lab", lab, ("share",))
    return Settings(
        share=reader.choice("lab", lab, "share", SHARES, Settings.share),
        data=_data(reader, reader.table("", document, "data")),
        launch=_launch(reader, reader.table("", document, "launch")),
        gpus=_gpus(reader, reader.table("", document, "gpus")),
        slurm=_slurm(reader, reader.table("", document, "slurm")),
        grid=_grid(reader, reader.table("", document, "grid")),
        notify=_notify(reader, reader.table("", document, "notify")),
        checkpoints=_checkpoints(reader, reader.table("", document, "checkpoints")),
        language=reader.choice("", document, "language", LANGUAGES, "en"),
    )


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

    def number(self, table: str, given: Mapping[str, Any], key: str, other: float) -> float:
        value = given.get(key, other)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
            self.fail(table, key, f"is `{value}`; expected a number from 0")
        return float(value)

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
    grace = table.get("stop_grace_s", 120)
    if not isinstance(grace, int | float) or isinstance(grace, bool) or grace < 0:
        reader.fail("launch", "stop_grace_s", f"is `{grace}`; expected seconds from 0")
    others: dict[str, Any] = {
        key: reader.number("launch", table, key, getattr(LaunchSettings, key)) for key in SPANS
    }
    for key in ("pretrain_program", "finetune_program"):
        value = table.get(key, getattr(LaunchSettings, key))
        if not isinstance(value, str) or not value:
            reader.fail("launch", key, "must name a module or a file ending in .py")
        script = (reader.path.parent / Path(value).expanduser()).resolve()
        others[key] = str(script) if value.endswith(".py") else value
    return LaunchSettings(
        gpus=_usable_gpus(reader, table.get("gpus", "all")),
        cpu_slots=reader.whole("launch", table, "cpu_slots", 1, default_slots()),
        threads=reader.whole("launch", table, "threads", 1, 0),
        stop_grace_s=float(grace),
        preset=reader.choice("launch", table, "preset", PRESETS, "paper"),
        backend=reader.choice("launch", table, "backend", BACKENDS, "local"),
        limits=_limits(reader, reader.table("launch", table, "limits")),
        hold_after=reader.whole("launch", table, "hold_after", 0, LaunchSettings.hold_after),
        retry_lost=reader.whole("launch", table, "retry_lost", 0, LaunchSettings.retry_lost),
        on_oom=reader.choice("launch", table, "on_oom", ON_OOM, LaunchSettings.on_oom),
        oom_floor=reader.whole("launch", table, "oom_floor", 1, LaunchSettings.oom_floor),
        on_stall=reader.choice("launch", table, "on_stall", ON_STALL, LaunchSettings.on_stall),
        **others,
    )


def _usable_gpus(reader: _Reader, given: object) -> int | Literal["all"] | tuple[int | str, ...]:
    if given == "all":
        return "all"
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    if isinstance(given, list) and all(
        not isinstance(one, bool) and isinstance(one, int | str) and one != "" for one in given
    ):
        return tuple(given)
    hint = 'write `gpus = "all"`, how many as `gpus = 2`, or which as `gpus = [0, "GPU-4f3a"]`'
    reader.fail("launch", "gpus", f"is `{given}`; expected a number, a list or all", hint)


def _gpus(reader: _Reader, table: Mapping[str, Any]) -> GpuSettings:
    reader.check_keys("gpus", table, tuple(GpuSettings.__dataclass_fields__))
    share = table.get("share", False)
    if not isinstance(share, bool):
        reader.fail("gpus", "share", f"is `{share}`; expected true or false")
    return GpuSettings(
        busy_mib=reader.whole("gpus", table, "busy_mib", 1, GpuSettings.busy_mib),
        settle_s=reader.number("gpus", table, "settle_s", GpuSettings.settle_s),
        share=share,
        share_gib=reader.number("gpus", table, "share_gib", 0.0) or None,
    )


def _limits(reader: _Reader, table: Mapping[str, Any]) -> dict[str, int]:
    reader.check_keys("launch.limits", table, (catalog.PRETRAIN, *catalog.TASKS))
    return {task: reader.whole("launch.limits", table, task, 1, 1) for task in table}


def _slurm(reader: _Reader, table: Mapping[str, Any]) -> SlurmSettings:
    reader.check_keys("slurm", table, tuple(SlurmSettings.__dataclass_fields__))
    texts: dict[str, Any] = {}
    for key in ("partition", "account", "qos", "constraint", "time", "mem", "gres"):
        value = table.get(key, "")
        if key == "time" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # minutes
        if not isinstance(value, str) or not value.isprintable():
            reader.fail("slurm", key, f"is `{value}`; expected text")
        texts[key] = value
    if texts["time"] and not _TIME.fullmatch(texts["time"]):
        hint = 'write minutes, "4:00:00" or "2-12:00:00"'
        reader.fail("slurm", "time", f"is `{texts['time']}`, which is no time limit", hint)
    options = reader.words("slurm", table, "options")
    for option in options:
        if not option.startswith("--") or not option.isprintable():
            reader.fail("slurm", "options", f"holds `{option}`", 'write `["--exclude=n3"]`')
        if (name := option[2:].partition("=")[0]) in OURS:
            reader.fail("slurm", "options", f"holds `--{name}`, which is set by cxrlab")
    numbers: dict[str, Any] = {
        key: reader.whole("slurm", table, key, least, getattr(SlurmSettings, key))
        for key, least in (("gpus_per_node", 0), ("cpus_per_task", 1), ("save_s", 1),
                           ("max_requeues", 0), ("max_jobs", 0))
    }  # fmt: skip
    return SlurmSettings(
        **texts, **numbers, options=options, setup=reader.words("slurm", table, "setup")
    )


def _notify(reader: _Reader, table: Mapping[str, Any]) -> NotifySettings:
    on = reader.words("notify", table, "on") or NotifySettings.on
    for state in on:
        if state not in ENDS:
            reader.fail("notify", "on", f"names `{state}`; expected some of {', '.join(ENDS)}")
    bell = table.get("bell", True)
    if not isinstance(bell, bool):
        reader.fail("notify", "bell", f"is `{bell}`; expected true or false")
    names = [name for name in table if name not in ("on", "bell")]
    return NotifySettings(on, tuple(_place(reader, name, table) for name in names), bell)


def _checkpoints(reader: _Reader, table: Mapping[str, Any]) -> CheckpointSettings:
    reader.check_keys("checkpoints", table, ("budget",))
    if "budget" not in table:
        return CheckpointSettings()
    given = table["budget"]
    size = text.bytes_of(given) if isinstance(given, str) else given
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        reader.fail("checkpoints", "budget", f'is `{given}`; expected a size like "200 GiB"')
    return CheckpointSettings(size)


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


def template() -> str:
    """Return what a new lab's `cxrlab.toml` says."""
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

[lab]
# share = "private"          # "group": the group of the files may read runs and registry, too

[launch]
# gpus = "all"               # for runs: "all", how many at once (0: none), or which: [0, 2]
# cpu_slots = {default_slots():<3}            # how many runs without a GPU go at once
# threads = {max(1, cores() // default_slots()):<3}              # CPU threads of each run
# stop_grace_s = 120         # how long `cxrlab stop` waits for a last checkpoint
# preset = "paper"           # paper: as published; quick: small, to see that all works
# backend = "local"          # who starts runs: local, this machine; slurm, a cluster ([slurm])
# hold_after = 3             # so many failures alike hold what waits for the same; 0: never
# retry_lost = 3             # a lost run starts again by itself, so many times in a row
# on_oom = "stop"            # no memory left on a GPU: stop, or "halve" the micro-batches
# on_stall = "show"          # a stalled run: show it, or "restart" it from its last checkpoint
# stall_factor = 20          # stalled: silent so many times longer than usual; 0: never said
# limits = {{ report = 1 }}    # how many runs of a task go at once; no limit where none is named

[gpus]
# busy_mib = 500             # a GPU on which others hold this much is theirs
# settle_s = 10              # so long it must have been free of others before a run is put there
# share = false              # runs whose memory is known share a GPU; `launch --share` for some

# What a job asks Slurm for (docs/slurm.md); what is left out is left to Slurm.
[slurm]
# partition = "gpu"
# account = "chest"
# qos = "normal"
# time = "12:00:00"          # a run that needs longer saves, and starts again from there
# gpus_per_node = 1          # of a run that does not say; or gres = "gpu:a100:{{gpus}}"
# cpus_per_task = 16
# mem = "64G"
# options = ["--exclude=n3"] # any others of sbatch
# setup = ["module load cuda"]
# save_s = 120               # how long before the time limit a trainer is asked to save
# max_requeues = 20          # how often it starts again
# max_jobs = 0               # how many jobs are handed in at once; 0: all

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
# bell = true                # terminals ring, and name in their title what has ended

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

# How much of the disk checkpoints may take. The agent then removes those that nobody needs, oldest
# first; `cxrlab prune --dry-run` lists them. What a cell cites always stays.
[checkpoints]
# budget = "200 GiB"

# Where the data lies. `cxrlab data list` shows which are found.

{data}"""
