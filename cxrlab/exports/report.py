"""How does a lab look as one HTML page that needs nothing beside itself?

`gather` reads what the page says, `page` writes it. Only runs behind the cells of the grid, and
those that their encoders come from, have a section; how many are left out is said. Everything that
a person, a log or another program has written is escaped by the template; a content security policy
in the page keeps it from loading or running anything all the same.
"""

from __future__ import annotations

import json
import platform
import re
import time
from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from importlib import metadata
from itertools import groupby
from typing import Any, NamedTuple

from cxrlab import grid, text
from cxrlab.exports import layout, report_runs, spans, thumbnails
from cxrlab.exports.report_words import WORDS
from cxrlab.exports.words import Lang
from cxrlab.grid import ranking
from cxrlab.grid.cells import read_grid
from cxrlab.lab import Lab
from store import notes, runs
from store.db import Database
from trainers.catalog import METHODS, PRETRAIN

MOST_RUNS = 200
MOST_NOTES = 200
TEMPLATE = "report.html.jinja"


class Environment(NamedTuple):
    """Where runs were made, and by which versions; and which runs."""

    facts: dict[str, str]
    ids: list[str]


class Node(NamedTuple):
    """An encoder's origin or a run, and what descends from it."""

    label: str
    id: str
    """The run's; empty for weights that no run here has made."""
    below: list[Node]


class Report(NamedTuple):
    """All that the page says."""

    lab: str
    made: float
    grid: grid.Grid
    sections: list[report_runs.Section]
    pictures: dict[Any, thumbnails.Thumbnail]
    beyond: int
    """How many runs behind cells have no section, because there are too many."""
    elsewhere: int
    """How many runs of the registry stand behind no cell."""
    roots: list[Node]
    environments: list[Environment]
    notes: list[notes.Entry]
    more_notes: int

    @property
    def picture_bytes(self) -> int:
        """How much the pictures take."""
        return sum(len(picture.data) for picture in self.pictures.values())

    @property
    def pictures_missing(self) -> int:
        """How many pictures could not be read, or had no room."""
        return sum(len(section.pictures) for section in self.sections) - len(self.pictures)


def gather(
    lab: Lab, db: Database, *, most_runs: int = MOST_RUNS, picture_bytes: int = thumbnails.BYTES
) -> Report:
    """Read what the page says; looks at the runs behind cells alone, however many there are.

    Raises:
        CxrlabError: the program that makes small pictures broke down.
    """
    shown = read_grid(db, lab.settings.grid)
    wanted = ids_of(shown)
    sections = [report_runs.read(lab, db, id) for id in wanted[:most_runs]]
    known = {section.run.id for section in sections}
    for section in list(sections):  # and what their encoders come from
        for origin in section.line:
            if origin["method"] is not None and origin["run"] not in known:
                known.add(origin["run"])
                sections.append(report_runs.read(lab, db, origin["run"]))
    sections.sort(key=_place)
    paths = [sample.path for section in sections for sample in section.pictures]
    entries = notes.select(db)
    return Report(
        lab=lab.root.name,
        made=time.time(),
        grid=shown,
        sections=sections,
        pictures=thumbnails.thumbnails(lab, paths, most_bytes=picture_bytes),
        beyond=max(0, len(wanted) - most_runs),
        elsewhere=max(0, runs.count(db) - len(set(wanted) | known)),
        roots=lines_of_descent(sections),
        environments=environments(sections),
        notes=entries[:MOST_NOTES],
        more_notes=max(0, len(entries) - MOST_NOTES),
    )


def ids_of(shown: grid.Grid) -> list[str]:
    """Return the runs behind the cells, in the order of the grid, each once."""
    return list(dict.fromkeys(id for cell in shown.cells() for id in cell.run_ids))


def _place(section: report_runs.Section) -> tuple[int, str, bool, str, int, int]:
    run, order = section.run, list(METHODS)
    at = order.index(run.method) if run.method in order else len(order)
    return at, run.method, run.task != PRETRAIN, run.task, run.ratio or 0, run.seed


def lines_of_descent(sections: Sequence[report_runs.Section]) -> list[Node]:
    """Return where encoders come from as trees: weights or pre-trainings above what uses them."""
    named = {section.run.id: section.run for section in sections}
    roots: list[Node] = []
    places: dict[str, Node] = {}

    def put(key: str, label: str, id: str, above: list[Node]) -> Node:
        if key not in places:
            places[key] = Node(label, id, [])
            above.append(places[key])
        return places[key]

    for section in sections:
        above = roots
        for origin in reversed(section.line):
            id = origin["run"] if origin["method"] else ""
            key = id or str(origin["sha256"] or origin["path"] or origin["run"])
            label = named_run(named[id]) if id in named else _weights(origin)
            above = put(key, label, id if id in named else "", above).below
        put(section.run.id, named_run(section.run), section.run.id, above)
    return [root for root in roots if root.below]


def _weights(origin: dict[str, Any]) -> str:
    path = str(origin["path"] or origin["run"] or "")
    digest = f" (sha256 {origin['sha256'][:12]})" if origin["sha256"] else ""
    return path.rsplit("/", 1)[-1] + digest


def named_run(run: runs.Run) -> str:
    """Return what a run is, in words, without its id."""
    ratio = "" if run.ratio is None else f" {run.ratio} %"
    return f"{run.method} {run.task}{ratio} seed {run.seed}"


def environments(sections: Iterable[report_runs.Section]) -> list[Environment]:
    """Return where the runs were made, those of one host and versions together."""
    found: dict[str, Environment] = {}
    for section in sections:
        facts = _environment(section.provenance)
        if facts:
            key = json.dumps(facts, sort_keys=True)
            found.setdefault(key, Environment(facts, [])).ids.append(section.run.id)
    return list(found.values())


def _environment(said: dict[str, Any]) -> dict[str, str]:
    packages = said.get("packages")
    versions = packages if isinstance(packages, dict) else {}
    gpus = said.get("gpus")
    commit = str(said.get("commit") or "")
    if commit and said.get("uncommitted_changes"):
        commit += " + uncommitted changes (diff.patch)"
    if "host" not in said:
        return {}
    return {
        "host": str(said["host"]),
        "platform": str(said.get("platform") or ""),
        "gpus": ", ".join(map(str, gpus)) if isinstance(gpus, list) else "",
        "cuda": str(said.get("cuda") or ""),
        "python": str(said.get("python") or ""),
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "commit": commit,
    }


def page(report: Report, language: Lang = "en") -> str:
    """Return the page in one of `WORDS`' languages."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cxrlab.exports", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "prose": lambda said: Markup(prose(said)),
        "drawn": Markup,  # by `svg`, which escapes what it is given
        "anchor": anchor,
    }
    words = WORDS[language]
    arranged = layout.arranged(report.grid, language)
    over = list(spans.spans(arranged.heads))
    return environment.get_template(TEMPLATE).render(
        report=report,
        language=language,
        w=words,
        say=partial(_said, words),
        text=text,
        layout=arranged,
        spans=over,
        firsts={span.first for span in over},
        groups=[list(lines) for _, lines in groupby(arranged.lines, key=lambda line: line.group)],
        BEST=ranking.BEST,
        SECOND=ranking.SECOND,
        known={section.run.id for section in report.sections},
        named_run=named_run,
        method_titles={name: entry.title for name, entry in METHODS.items()},
        when=lambda t: time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(t)),
        cxrlab=metadata.version("cxrlab"),
        here={"python": platform.python_version(), "platform": platform.platform(),
              "host": platform.node()},
    )  # fmt: skip


def _said(words: dict[str, str], key: str, **values: Any) -> str:
    return words[key].format(**values)


def prose(said: str) -> str:
    """Return a sentence as HTML: its `code` set as such, and everything escaped."""
    parts = said.split("`")
    if len(parts) % 2 == 0:
        return escape(said)
    return "".join(
        f"<code>{escape(part)}</code>" if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def anchor(name: str) -> str:
    """Return a name as an id of the page has it."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)
