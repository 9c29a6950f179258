from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab import columns, grid
from cxrlab.exports.latex import escape, table
from cxrlab.exports.layout import Layout, arranged
from cxrlab.grid.published import read_published
from store.cells import Group
from trainers.catalog import METHODS

NASTY = r"""\input{x} 50 % & $a_b^c$ #1 {x} ~ <y> | "q" 'a' `b` [z] -- *"""
LIMIT_S = 300


def laid_out(description: str = "", *, lang: str = "en") -> Layout:
    groups = [
        Group(m, "siim", 10, "Dice", m, "paper", v, sd, n, 0.7, 0.75, ("a",), 1)
        for m, v, sd, n in (
            ("mrm", 0.73, 0.004, 3),
            ("refers", 0.71, None, 1),
            ("mae", 0.6, 0.1, 2),
        )
    ]
    chosen = columns.chosen(["description", "pretrain", "nih", "siim", "siim_legacy", "status"])
    made = grid.build(METHODS, chosen.columns, groups, [], published=read_published())
    rows = tuple(
        replace(row, group="theirs_" if i < 3 else "ours", description=description)
        for i, row in enumerate(made.rows)
    )
    return arranged(replace(made, rows=rows, fields=chosen.fields), "zh" if lang == "zh" else "en")


def test_signs_that_mean_something_to_latex_are_escaped() -> None:
    assert escape(r"a_b & 5 % #$~^{}\<>|") == (
        r"a\_b \& 5 \% \#\$\textasciitilde{}\textasciicircum{}\{\}\textbackslash{}"
        r"\textless{}\textgreater{}\textbar{}"
    )


def test_quotes_become_those_of_print_and_hyphens_stay_apart() -> None:
    assert escape('say "x (y)" (--wait)') == "say ``x (y)'' (-{}-wait)"


@given(st.text(alphabet=r"\{}&%$#_~^<>|ab ", max_size=20))
def test_no_sign_is_left_that_latex_would_act_on(text: str) -> None:
    said = re.sub(r"\\(?:text\w+\{\}|[&%$#_{}])", "", escape(text))
    assert not set(said) & set("\\{}&%$#_~^<>|")


def test_every_row_has_as_many_cells_as_there_are_columns() -> None:
    layout = laid_out(NASTY)
    body = table(layout).split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "&" in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(layout.heads)}


def test_the_best_is_bold_the_second_underlined_and_footnotes_are_raised() -> None:
    text = table(laid_out())
    assert r"\textbf{73.0}~\(\pm\)0.4 (3)" in text
    assert r"\underline{71.0}~(1)\textsuperscript{" in text
    assert r"{[}73.2{]}\textsuperscript{" in text


def test_it_says_which_packages_it_needs() -> None:
    assert table(laid_out()).startswith("% needs: booktabs, graphicx\n")
    assert table(laid_out("描述")).startswith("% needs: booktabs, graphicx, ctex (with xelatex)\n")


def test_a_table_with_few_notes_floats_and_one_with_pages_of_them_does_not() -> None:
    layout = laid_out()
    assert r"\begin{table}" not in table(layout)
    assert r"\def\@captype{table}" in table(layout)
    short = replace(layout, footnotes=layout.footnotes[:2], general=())
    assert r"\begin{table}[htbp]" in table(short)


def compiled(folder: Path, program: str, text: str, packages: str) -> str:
    """Return what LaTeX says of a document with the table; fails where it finds an error."""
    (folder / "grid.tex").write_text(text, encoding="utf-8")
    document = (
        rf"\documentclass{{article}}{packages}\begin{{document}}\input{{grid}}\end{{document}}"
    )
    (folder / "all.tex").write_text(document, encoding="utf-8")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=LIMIT_S, check=False)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-3000:]
    return said


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_it_compiles_and_is_no_wider_than_the_page(tmp_path: Path) -> None:
    packages = r"\usepackage{booktabs,graphicx}"
    short = replace(laid_out(NASTY), footnotes=laid_out().footnotes[:2], general=("`a` b",))
    both = table(laid_out(NASTY)) + table(short)
    said = compiled(tmp_path, "pdflatex", both, packages)
    assert "Overfull" not in said
    assert "too large" not in said
    assert (tmp_path / "all.pdf").exists()


def has_ctex() -> bool:
    if shutil.which("xelatex") is None or shutil.which("kpsewhich") is None:
        return False
    found = subprocess.run(["kpsewhich", "ctex.sty"], capture_output=True, check=False)
    return bool(found.stdout.strip())


@pytest.mark.skipif(not has_ctex(), reason="xelatex with ctex is not installed")
def test_chinese_compiles(tmp_path: Path) -> None:
    packages = r"\usepackage[UTF8,fontset=fandol]{ctex}\usepackage{booktabs,graphicx}"
    said = compiled(tmp_path, "xelatex", table(laid_out("描述 甲", lang="zh")), packages)
    assert "Missing character" not in (tmp_path / "all.log").read_text(errors="replace"), said
