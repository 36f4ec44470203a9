"""A page with holes: what is around them, what is in them, and how both become one."""

from __future__ import annotations

from html import escape

from hypothesis import given
from hypothesis import strategies as st

from dsbalance.sheet import Sheet

VALUES = st.lists(st.text(max_size=12), max_size=6)


def written(values: list[str]) -> Sheet:
    sheet = Sheet()
    sheet.put("<p>", "so ")
    for value in values:
        sheet.text(value, "b")
        sheet.put("<br>")
    sheet.put("</p>")
    return sheet


@given(VALUES)
def test_the_page_has_each_value_in_its_place_escaped(values: list[str]) -> None:
    plain = [value.replace("\0", "") for value in values]
    inner = "".join(f"<b data-l>{escape(value)}</b><br>" for value in plain)
    assert written(values).html() == f"<p>so {inner}</p>"


@given(VALUES, st.data())
def test_what_is_around_the_holes_is_the_same_for_other_values(
    values: list[str], data: st.DataObject
) -> None:
    size = len(values)
    others = data.draw(st.lists(st.text(max_size=5), min_size=size, max_size=size))
    assert written(values).around() == written(others).around()
    assert written(others).values == others
    assert len(written(values).around()) == size + 1


def test_a_page_without_a_hole_is_what_was_put() -> None:
    assert written([]).html() == "<p>so </p>"


def test_an_element_may_have_a_mark() -> None:
    sheet = Sheet()
    sheet.mark("up", "tr", ' class="v"')
    assert sheet.html() == '<tr class="v" data-l="data-m" data-m="up">'
    assert sheet.values == ["up"]


def test_a_cell_says_of_what_it_is() -> None:
    sheet = Sheet()
    sheet.cell("3", "Queue", is_first=True)
    sheet.cell("4", "Max")
    assert sheet.html() == (
        '<td class="g" data-k="Queue" data-l>3</td><td data-k="Max" data-l>4</td>'
    )


def test_a_curve_is_a_picture_and_words() -> None:
    sheet = Sheet()
    sheet.curve((0.0, 2.0), 2.0, "Open", "2")
    assert sheet.values == ["M116 24H118V1H120V24Z", "2"]
    assert sheet.html().count("<path") == 1
