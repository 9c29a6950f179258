"""Which earlier runs tell what another one will take?

Those of its recipe tell most; else those of the same method, task and preset do.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Kind(NamedTuple):
    """What runs have in common of which one tells of another."""

    method: str
    task: str
    preset: str
    recipe: str


class Coming(Protocol):
    """A run, or one that is to be."""

    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def task(self) -> str: ...  # noqa: D102
    @property
    def preset(self) -> str: ...  # noqa: D102
    @property
    def recipe(self) -> str: ...  # noqa: D102


def kind_of(run: Coming) -> Kind:
    """Return what kind of run it is."""
    return Kind(run.method, run.task, run.preset, run.recipe)
