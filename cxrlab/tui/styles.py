"""How are styles kept read? Textual reads every sheet anew for each place one goes to first.

That is more than forty sheets, those of its widgets among them: going to the list of runs took
240 ms, and 90 of them were this.
"""

from __future__ import annotations

from textual.css.stylesheet import Stylesheet


class Styles(Stylesheet):
    """A style sheet that is read anew only where colours have changed."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables=variables)
        self._colours = variables

    def set_variables(self, variables: dict[str, str]) -> None:
        """Forget what was read, unless the variables are those that it was read with."""
        if variables != self._colours:
            self._colours = variables
            super().set_variables(variables)

    def reparse(self) -> None:
        """Read what is not yet read."""
        self.parse()
