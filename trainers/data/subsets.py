"""Which training pictures are the 10 % and the 1 %? Lists that lie in one another, by label."""

from __future__ import annotations

from collections.abc import Sequence

from trainers.data.phantom import Rng

EACH_LABEL = 3
"""Positives of every label that even the smallest list has, where there are so many."""
SMALLEST = 16
"""Pictures in the smallest list, where there are so many; 1 % of a few hundred would be useless."""


def nested(labels: Sequence[set[str]], rng: Rng) -> tuple[list[int], list[int]]:
    """Return the places of about 10 % and 1 % of the pictures; the second is part of the first.

    Pictures are grouped by their rarest label (none is a group), each group is shuffled and spread
    evenly over [0, 1), and a list takes what comes first. Both lists are longer than their percents
    where a few pictures of each label ask for it.
    """
    count = len(labels)
    names = sorted(set().union(*labels)) if labels else []
    often = {name: sum(name in own for own in labels) for name in names}
    groups: dict[str, list[int]] = {}
    for place in rng.permutation(count).tolist():
        rarest = min(labels[place], key=lambda n: (often[n], n), default="")
        groups.setdefault(rarest, []).append(place)
    spread = [((i + rng.random()) / len(own), p) for _, own in sorted(groups.items())
              for i, p in enumerate(own)]  # fmt: skip
    order = [place for _, place in sorted(spread)]
    first: list[int] = []
    for name in sorted(names, key=lambda n: (often[n], n)):
        have = sum(name in labels[p] for p in first)
        more = [p for p in order if name in labels[p] and p not in first]
        first += more[: max(0, EACH_LABEL - have)]
    order = first + [p for p in order if p not in set(first)]
    hundredth = min(count, max(round(count / 100), len(first), SMALLEST))
    tenth = min(count, max(round(count / 10), 2 * hundredth))
    return order[:tenth], order[:hundredth]
