"""Which text stands where in an exported grid, which numbers stand out, and which need a footnote?

Every format writes the same `Layout`, so that none says more or less than another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cxrlab import grid, text
from cxrlab.columns import Column
from cxrlab.exports.words import Lang, say, told
from cxrlab.grid import UNDER_WAY, Cell, Grid, Row, ranking
from cxrlab.harmless import harmless
from trainers.catalog import PRETRAIN


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one place of the table says, in parts that formats may set apart."""

    cell: Cell | None = None
    """None where it is a text of the row."""
    number: str = ""
    spread: str = ""
    """Standard deviation and how many seeds: `±0.4 (3)`."""
    state: str = ""
    """Of the run under way, or a sign for nothing; or the text of the row."""
    paper: str = ""
    rank: int = 0
    """`ranking.BEST` or `ranking.SECOND`; else 0."""
    notes: tuple[int, ...] = ()
    """Numbers of the footnotes to the number."""
    paper_notes: tuple[int, ...] = ()
    """Numbers of the footnotes to the paper's number."""

    @property
    def text(self) -> str:
        """All of it without footnotes."""
        return " ".join(filter(None, (self.number, self.spread, self.state, self.paper)))


@dataclass(frozen=True)
class Head:
    """Two lines of heading; neighbours with the same upper line stand under it together."""

    above: str
    below: str
    column: Column | None = None
    """None over a text of the rows."""


@dataclass(frozen=True)
class Line:
    """One method."""

    method: str
    title: str
    group: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Layout:
    """A table with its notes, in one language."""

    lang: Lang
    heads: tuple[Head, ...] = ()
    lines: tuple[Line, ...] = ()
    footnotes: tuple[str, ...] = ()
    """In the order of their numbers, from 1."""
    general: tuple[str, ...] = ()
    """What a reader must know of the whole table, a sentence each; `code` between backticks."""

    @property
    def title(self) -> str:
        """A title for the table."""
        return say("title", self.lang)


@dataclass
class _Footnotes:
    """Gives each footnote its number when it is first needed."""

    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, texts: Iterable[str]) -> tuple[int, ...]:
        return tuple(self.numbers.setdefault(t, len(self.numbers) + 1) for t in texts)


def arranged(shown: Grid, lang: Lang) -> Layout:
    """Return a grid as it is exported in `lang`; texts stand around the numbers as in a notebook.

    It costs as much as there are cells.
    """
    ranked = [
        ranking.ranks([row.cells[i] for row in shown.rows], better=column.better)
        for i, column in enumerate(shown.columns)
    ]
    usual = [usual_preset(row.cells[i] for row in shown.rows) for i in range(len(shown.columns))]
    order = places_of(shown)
    quick = _all_quick(shown)
    footnotes = _Footnotes()
    lines = []
    for at, row in enumerate(shown.rows):
        entries = []
        for place in order:
            if isinstance(place, str):
                entries.append(Entry(state=clean(row.text(place))))
                continue
            # beside numbers of full size, one of toy size says so, though its column has no other
            preset = "quick" if quick else usual[place] if usual[place] != "quick" else ""
            entry = _entry(row.cells[place], ranked[place][at], preset, footnotes, lang)
            entries.append(entry)
        lines.append(_line(row, entries))
    heads = tuple(_head(shown, place, lang) for place in order)
    is_ranked = any(any(column) for column in ranked)
    general = tuple(general_notes(shown, lang, ranked=is_ranked))
    return Layout(lang, heads, tuple(lines), tuple(footnotes.numbers), general)


def clean(text: str) -> str:
    """Return a text of the registry as one line without control characters."""
    return harmless(" ".join(text.split()))


def footnotes_of(cell: Cell, usual: str, lang: Lang) -> list[str]:
    """Return what must be known of the number of one cell, a sentence each.

    Args:
        cell: the cell.
        usual: the preset of most of its column; empty where that is `quick`, but not the table's.
        lang: the language.
    """
    if cell.value is None:
        return []
    notes = [_origin(cell, lang)] if cell.foreign else []
    notes += [told(clean(flaw), lang) for flaw in cell.flaws]
    if cell.n == 1 and cell.unit != "s":
        notes.append(say("single", lang))
    if cell.stale:
        notes.append(say("is stale", lang, reason=told(clean(cell.stale), lang)))
    if cell.preset and not cell.foreign and usual and cell.preset != usual:
        notes.append(say("preset", lang, preset=cell.preset, usual=usual))
    if cell.preset == "quick" and not usual:
        notes.append(say("is quick", lang))
    if cell.others > 0:
        notes.append(say("others", lang, count=cell.others, what=_differences(cell, lang)))
    if cell.other:
        notes.append(say(cell.other, lang))
    if cell.own_split:
        notes.append(say("division", lang, own=cell.own_split, papers=cell.paper_split))
    return notes


def _origin(cell: Cell, lang: Lang) -> str:
    number = cell.number_told
    if number is None:
        return say("is foreign", lang)
    return say("told", lang, source=clean(number.source).replace("`", "'"))


def _differences(cell: Cell, lang: Lang) -> str:
    """Return in what the groups of a cell differ, in words."""
    keys = {grid.TEST_SPLIT: "split", grid.TRAIN_LIST: "list"}
    words = [say(keys.get(name, name), lang) for name in cell.differs or ("recipe",)]
    return {"en": ", ", "zh": "、"}[lang].join(words)


def usual_preset(cells: Iterable[Cell]) -> str:
    """Return the preset that most own numbers of a column have; the first one's among equals."""
    known = [cell.preset for cell in cells if cell.value is not None and not cell.foreign]
    counted = {preset: known.count(preset) for preset in dict.fromkeys(known) if preset}
    return max(counted, key=lambda preset: counted[preset], default="")


def general_notes(shown: Grid, lang: Lang, *, ranked: bool) -> list[str]:
    """Return what must be known of the whole table, a sentence each."""
    cells = [cell for cell in shown.cells() if cell.value is not None]
    notes = []
    if any(cell.n > 1 for cell in cells):
        notes.append(say("spread", lang))
    if any(cell.paper is not None for cell in shown.cells()):
        notes.append(say("bracket", lang))
    if ranked:
        notes.append(say("ranks", lang))
    words = {"Dice": "Dice", "AUROC": "AUROC", "loss": "loss", "time": "training time"}
    notes += [say(w, lang) for name, w in words.items() if any(c.metric == name for c in cells)]
    if floors := floors_of(cells):
        joined = {"en": ", ", "zh": "，"}[lang].join(
            f"{column} {' / '.join(values)}" for column, values in floors.items()
        )
        notes.append(say("floor", lang, columns=joined))
    if _all_quick(shown):
        notes.append(say("all quick", lang))
    return notes


def floors_of(cells: Iterable[Cell]) -> Mapping[str, Sequence[str]]:
    """Return what predicting nothing scores, by column; several where test sets differ."""
    floors: dict[str, dict[str, None]] = {}
    for cell in cells:
        if cell.floor is not None:
            ratio = f" {cell.ratio} %" if cell.ratio is not None else ""
            column = floors.setdefault(f"{cell.task} {cell.metric}{ratio}", {})
            column[text.metric(cell.floor, cell.unit)] = None
    return {column: list(values) for column, values in floors.items()}


def _all_quick(shown: Grid) -> bool:
    presets = {cell.preset for cell in shown.cells() if cell.value is not None and cell.preset}
    return presets == {"quick"}


def _line(row: Row, entries: Sequence[Entry]) -> Line:
    return Line(clean(row.method), clean(row.title), clean(row.group), tuple(entries))


def places_of(shown: Grid) -> list[int | str]:
    """Return the places of a row in the notebook's order: indexes of columns, names of texts."""
    first = sum(column.task == PRETRAIN for column in shown.columns)
    texts = {name: [name] if name in shown.fields else [] for name in shown.fields}
    measured = list(range(len(shown.columns)))
    return [
        *texts.get("number", []),
        *texts.get("description", []),
        *measured[:first],
        *texts.get("log", []),
        *measured[first:],
        *texts.get("status", []),
    ]


def _head(shown: Grid, place: int | str, lang: Lang) -> Head:
    if isinstance(place, str):
        return Head(say("pre-training", lang) if place == "log" else "", say(place, lang))
    column = shown.columns[place]
    if column.task != PRETRAIN:
        return Head(*column.heading(), column)
    if column.metric in ("time", "loss"):
        below = say("time" if column.metric == "time" else "val loss", lang)
    else:
        below = say("val", lang, metric=column.metric)
    return Head(say("pre-training", lang), below, column)


def _entry(cell: Cell, rank: int, usual: str, footnotes: _Footnotes, lang: Lang) -> Entry:
    if cell.state == "none":
        return Entry(cell=cell, state=grid.NOT_APPLICABLE)
    number, spread = _number(cell)
    state = _state(cell, lang)
    return Entry(
        cell=cell,
        number=number,
        spread=spread,
        state=state if state or number else grid.EMPTY,
        paper=cell.bracket(),
        rank=rank,
        notes=footnotes.of(footnotes_of(cell, usual, lang)),
        paper_notes=footnotes.of([told(clean(cell.paper_source), lang)] if _is_cited(cell) else []),
    )


def _is_cited(cell: Cell) -> bool:
    return cell.paper is not None and bool(cell.paper_source)


def _number(cell: Cell) -> tuple[str, str]:
    """Return a cell's number, and its spread with the count."""
    if cell.value is None:
        return "", ""
    if cell.unit == "s":
        return text.duration(cell.value), ""
    spread = [f"±{text.metric(cell.sd, cell.unit)}"] if cell.sd is not None and cell.n > 1 else []
    spread += [f"({cell.n})"] if cell.n else []
    return text.metric(cell.value, cell.unit), " ".join(spread)


def _state(cell: Cell, lang: Lang) -> str:
    """Return what is stale or not finished, in words; empty where the number stands."""
    words = [say("stale", lang)] if cell.stale else []
    if cell.state in UNDER_WAY:
        words.append(say(cell.state, lang))
        if cell.state == "running" and cell.progress is not None:
            words.append(f"{cell.progress * 100:.0f} %")
    return " ".join(words)
