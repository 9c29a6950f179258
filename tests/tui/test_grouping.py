from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cxrlab.tui.grouping import Group, count, head_of, pieces

GROUPS = st.lists(
    st.builds(Group, st.text(min_size=1), st.integers(1, 30), st.booleans()),
    unique_by=lambda g: g.key,
)


@given(GROUPS, st.integers(0, 100), st.integers(0, 60))
def test_a_window_is_what_a_list_of_all_lines_would_show(
    groups: list[Group], offset: int, limit: int
) -> None:
    every: list[tuple[str, int]] = []
    for group in groups:
        every.append((group.key, -1))
        every += [(group.key, n) for n in range(0 if group.closed else group.runs)]
    seen: list[tuple[str, int]] = []
    for piece in pieces(groups, offset, limit):
        seen += [(piece.group.key, -1)] * piece.head
        seen += [(piece.group.key, piece.offset + n) for n in range(piece.limit)]
    assert seen == every[offset : offset + limit]
    assert count(groups) == len(every)
    for group in groups:
        assert every[head_of(groups, group.key)] == (group.key, -1)
