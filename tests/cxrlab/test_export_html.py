from __future__ import annotations

import re
from dataclasses import replace

import html5lib
import pytest

from cxrlab import columns, grid
from cxrlab.exports.html import STYLE, fragment, page
from cxrlab.exports.layout import Layout, arranged
from cxrlab.exports.words import Lang
from cxrlab.grid.published import read_published
from store.cells import Group
from trainers.catalog import METHODS

NASTY = "<script>alert(1)</script> & \"q\" 'a' </style> ]]> ` 描述"


def laid_out(lang: Lang = "en", *, nasty: str = "") -> Layout:
    groups = [
        Group(m, "siim", 10, "Dice", m, "paper", v, sd, n, 0.7, 0.75, ("a",), 1)
        for m, v, sd, n in (
            ("mrm", 0.73, 0.004, 3),
            ("refers", 0.71, None, 1),
            ("mae", 0.6, 0.1, 2),
        )
    ]
    chosen = columns.chosen(["description", "pretrain", "siim", "siim_legacy:10", "status"])
    made = grid.build(METHODS, chosen.columns, groups, [], published=read_published())
    rows = tuple(
        replace(row, group="theirs" if number < 3 else f"ours{nasty}", description=nasty)
        for number, row in enumerate(made.rows)
    )
    return arranged(replace(made, rows=rows, fields=chosen.fields), lang)


def parsed(text: str):
    """Return the page as a strict parser reads it, which refuses what is not valid."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def said(element) -> str:
    return "".join(element.itertext())


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_is_valid_and_tells_its_language(lang: Lang) -> None:
    tree = parsed(page(laid_out(lang, nasty=NASTY)))
    assert tree.get("lang") == {"en": "en", "zh": "zh-Hans"}[lang]
    assert said(tree.find(".//title"))
    assert said(tree.find(".//caption"))


def test_the_page_needs_no_other_file() -> None:
    tree = parsed(page(laid_out()))
    assert not [e for e in tree.iter() if e.get("src") or e.tag in ("link", "script", "img")]
    assert all(e.get("href", "#").startswith("#") for e in tree.iter())
    assert "url(" not in page(laid_out())
    assert "@import" not in page(laid_out())


def test_texts_of_strangers_stay_text() -> None:
    tree = parsed(page(laid_out(nasty=NASTY)))
    assert tree.find(".//script") is None
    assert NASTY in [said(cell) for cell in tree.iterfind(".//td")]


def test_every_cell_stands_under_its_headings() -> None:
    layout = laid_out()
    table = parsed(page(layout)).find(".//table")
    heads = [[int(h.get("colspan", 1)) for h in row] for row in table.find("thead")]
    lower = [int(h.get("rowspan", 1)) for h in table.find("thead")[0]]
    columns_ = 1 + len(layout.heads)
    assert sum(heads[0]) == columns_
    assert len(heads[1]) == columns_ - lower.count(2)
    rows = [row for body in table.iterfind("tbody") for row in body]
    assert all(sum(int(c.get("colspan", 1)) for c in row) == columns_ for row in rows)
    assert all(row[0].get("scope") in ("row", "rowgroup") for row in rows)
    assert all(h.get("scope") in ("col", "colgroup") for row in table.find("thead") for h in row)


def test_every_footnote_that_is_pointed_to_is_there_once() -> None:
    layout = laid_out()
    tree = parsed(page(layout))
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    pointed = {e.get("href")[1:] for e in tree.iter("a")}
    assert pointed == {f"grid-note-{n}" for n in range(1, len(layout.footnotes) + 1)}
    assert pointed <= set(ids)
    labels = {e.get("aria-labelledby") for e in tree.iter() if e.get("aria-labelledby")}
    assert labels <= set(ids)


def test_cells_say_what_the_layout_says_with_the_best_strong() -> None:
    layout = laid_out()
    tree = parsed(page(layout))
    rows = [row for row in tree.iterfind(".//tbody/tr") if row[0].get("scope") == "row"]
    for line, row in zip(layout.lines, rows, strict=True):
        for entry, cell in zip(line.entries, row[1:], strict=True):
            for raised in list(cell.iter("sup")):
                raised.clear()
            assert "".join(said(cell).split()) == "".join(entry.text.split())
    assert [said(e) for e in tree.iterfind(".//td/strong")] == ["73.0"]
    assert [said(e) for e in tree.iterfind(".//td/u")] == ["71.0"]


def test_a_fragment_is_the_same_table_without_a_page_around_it() -> None:
    layout = laid_out()
    assert fragment(layout) in page(layout)
    assert "<style" not in fragment(layout)
    assert parsed(f"<!DOCTYPE html><html><head><title>x</title></head><body>{fragment(layout)}"
                  "</body></html>").find(".//table") is not None  # fmt: skip


def luminance(colour: str) -> float:
    """Return how bright a colour is. Source: WCAG 2.2, relative luminance."""
    digits = "".join(c * 2 for c in colour) if len(colour) == 3 else colour
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_every_text_stands_out_from_what_is_behind_it_light_dark_and_printed() -> None:
    palettes = [
        dict(re.findall(r"--(\w+): #(\w+)", block))
        for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    ]
    assert len(palettes) == 3
    for palette in palettes:
        for text in ("ink", "dim", "link"):
            for behind in ("paper", "shade"):
                a, b = sorted((luminance(palette[text]), luminance(palette[behind])))
                assert (b + 0.05) / (a + 0.05) >= 4.5, (text, behind)
