"""Tables as people write them: merged, torn, nested, and never mistaken for one another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cxrlab.imports.html_tables import Table, find_tables


def only(text: str) -> Table:
    (table,) = find_tables(text.split("\n"))
    return table


def texts(table: Table) -> list[list[str]]:
    return [[place.text for place in row] for row in table.rows]


def test_a_merged_cell_stands_in_every_place_that_it_covers() -> None:
    table = only(
        "<table><tr><th rowspan='2'>m</th><th colspan=2>A</th></tr><tr><td>1<td>2</tr></table>"
    )
    assert texts(table) == [["m", "A", "A"], ["m", "1", "2"]]
    assert [place.first for place in table.rows[0]] == [True, True, False]


def test_a_cell_knows_the_line_that_it_begins_on() -> None:
    table = only("words\n\n<table>\n<tr>\n<td>\na\n</td><td>b</td></tr>\n</table>\nwords")
    assert [place.line for place in table.rows[0]] == [5, 7]
    assert (table.first_line, table.last_line, table.closed) == (3, 8, True)


def test_end_tags_may_be_missing() -> None:
    assert texts(only("<table><tr><td>a<td>b<tr><td>c</table>")) == [["a", "b"], ["c"]]


def test_a_table_that_is_never_closed_ends_with_its_last_tag() -> None:
    table = only("<table><tr><td>a</td>\n<td>b\n\n* an open point")
    assert texts(table) == [["a", "b"]]
    assert (table.last_line, table.closed) == (2, False)


def test_two_tables_are_two_and_a_nested_one_is_left_out() -> None:
    text = "<table><tr><td>a<table><tr><td>no</td></tr></table></td></tr></table>\n<TABLE><tr><td>b"
    assert [texts(table) for table in find_tables(text.split("\n"))] == [[["a"]], [["b"]]]


def test_a_table_that_is_never_closed_does_not_swallow_the_next_one() -> None:
    text = "<table><tr><td>a</td></tr>\nwords\n<table><tr><td>b</td></tr></table>"
    first, second = find_tables(text.split("\n"))
    assert (texts(first), first.closed, first.last_line) == ([["a"]], False, 1)
    assert (texts(second), second.closed, second.first_line) == ([["b"]], True, 3)


def test_two_tables_on_one_line_of_a_page_are_two() -> None:
    lines = ["<p>x<table><tr><td>a</table><table><tr><td>b</table>"]
    assert [texts(table) for table in find_tables(lines, anywhere=True)] == [[["a"]], [["b"]]]


def test_a_sentence_about_tables_is_no_table() -> None:
    lines = ["use `<table>` here", "<tablet>", "<tr><td>a</td></tr>"]
    assert find_tables(lines) == []


def test_bold_stays_and_what_is_raised_or_struck_out_goes() -> None:
    row = "<tr><td><b>79.2%</b><sup>a</sup></td><td><s>1%</s> 2%</td><td>a<br>b &amp; c</td></tr>"
    assert texts(only(f"<table>{row}</table>")) == [["79.2%", "2%", "a b & c"]]


def test_odd_spans_are_taken_for_one() -> None:
    row = (
        '<tr><td colspan="0">a</td><td colspan="x">b</td><td colspan>c</td><td rowspan="-2">d</td>'
    )
    assert texts(only(f"<table>{row}</tr></table>")) == [["a", "b", "c", "d"]]


def test_a_huge_span_does_not_fill_the_memory() -> None:
    assert len(only('<table><tr><td colspan="999999999">a</td></tr></table>').rows[0]) == 1000


@given(st.text(alphabet='<>/tablerdhsp="3 \n', max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    lines = text.split("\n")
    for table in find_tables(lines):
        assert 1 <= table.first_line <= table.last_line <= len(lines)


@given(st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=5), min_size=1, max_size=5))
def test_any_texts_come_back_from_a_table_written_with_care(rows: list[list[str]]) -> None:
    from html import escape

    body = "".join(f"<tr>{''.join(f'<td>{escape(t)}</td>' for t in row)}</tr>" for row in rows)
    found = texts(only(f"<table>{body}</table>"))
    assert found == [[" ".join(text.split()) for text in row] for row in rows]
