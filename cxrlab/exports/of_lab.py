"""What does the grid of a lab look like in a form, laid out as a notebook's table or plainly?"""

from __future__ import annotations

from cxrlab.exports import forms, notebook
from cxrlab.exports.forms import Form, Written
from cxrlab.exports.layout import arranged
from cxrlab.grid.cells import read_grid
from cxrlab.settings import GridSettings
from store.db import Database

ENDINGS: dict[str, str] = {
    Form.markdown: ".md",
    Form.html: ".html",
    Form.latex: ".tex",
    Form.csv: ".csv",
    Form.json: ".json",
    Form.xlsx: ".xlsx",
}
"""How the file of each form is called."""


def written(
    db: Database, asked: GridSettings, form: Form, *, lang: str, as_notebook: bool = False
) -> Written:
    """Return the grid in a form.

    Args:
        db: the registry.
        asked: rows and columns.
        form: what to write; a notebook's table is HTML whatever it says.
        lang: of headings, states and notes, `en` or `zh`.
        as_notebook: whether it is laid out as a notebook's table.
    """
    shown = read_grid(db, notebook.settings_for(asked) if as_notebook else asked, lang)
    if as_notebook:
        return forms.as_notebook(notebook.html_table(shown, lang="zh" if lang == "zh" else "en"))
    return forms.write(arranged(shown, "zh" if lang == "zh" else "en"), form)
