"""Which upper headings of a table stand over several columns?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cxrlab.exports.layout import Head


@dataclass(frozen=True)
class Span:
    """One upper heading over neighbouring columns."""

    text: str
    first: int
    count: int


def spans(heads: Sequence[Head]) -> list[Span]:
    """Return the upper headings in order; an empty one stands over each column alone."""
    found: list[Span] = []
    for at, head in enumerate(heads):
        if found and head.above and found[-1].text == head.above:
            found[-1] = replace(found[-1], count=found[-1].count + 1)
        else:
            found.append(Span(head.above, at, 1))
    return found
