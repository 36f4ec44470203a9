"""Rows are compared column by column, but for what cannot be equal."""

from __future__ import annotations

import pytest

from .differences import MASKED
from .rows import MASK, Rows, comparable, differences, parse, told, untold

HEAD = (
    "pxname,svname,scur,bin,bout,ereq,lastsess,status,iid,mode,agg_check_status,-"
    ",h1_bytes_in,h1_bytes_out"
)
FRONT = "front3,FRONTEND,1,39,51,0,,OPEN,8,http,,-,28,40"
SERVER = "back3,a,1,39,217,,7,* UP (via back3/b),9,http,,-,,"
ANSWER = f"# {HEAD}\n{FRONT}\n{SERVER}\n\n"


def case(answer: str = ANSWER) -> Rows:
    """Return the rows of the frontend and of the backend."""
    found = parse(answer)
    return {**found["front3"], **found["back3"]}


def rows(**changed: str) -> Rows:
    """Return the two rows, and what is changed in the server's."""
    found = comparable(case(), MASKED, 3)
    found["a"].update(changed)
    return found


def test_rows_are_found_by_their_names() -> None:
    assert {name: [*rows] for name, rows in parse(ANSWER).items()} == {
        "front3": ["FRONTEND"],
        "back3": ["a"],
    }
    assert parse(ANSWER)["back3"]["a"]["status"] == "* UP (via back3/b)"


def test_the_number_of_the_case_is_nobodys_concern() -> None:
    assert rows()["a"]["pxname"] == "back"
    assert rows()["a"]["iid"] == "3"
    assert rows()["a"]["status"] == "UP (via back/b)"


def test_the_columns_of_modules_are_left_out() -> None:
    assert [*rows()["FRONTEND"]][-1] == "agg_check_status"


def test_bytes_of_requests_are_those_on_the_wire() -> None:
    assert rows()["FRONTEND"]["bin"] == "28"
    assert rows()["FRONTEND"]["bout"] == "40"
    assert rows()["a"]["bin"] == "28"


def test_bytes_that_haproxy_does_not_tell_are_masked() -> None:
    assert rows()["a"]["bout"] == MASK
    bad = comparable(case(ANSWER.replace(",51,0,", ",51,1,")), MASKED)
    assert bad["a"]["bin"] == MASK


def test_times_are_masked_but_not_that_there_is_none() -> None:
    assert rows()["a"]["lastsess"] == MASK
    assert rows()["FRONTEND"]["lastsess"] == ""
    never = case(ANSWER.replace(",,7,*", ",,-1,*"))
    assert comparable(never, MASKED)["a"]["lastsess"] == "-1"


def test_equal_rows_have_no_difference() -> None:
    assert differences(rows(), rows()) == []


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"scur": "2"}, "a scur: '2' instead of '1'"),
        ({"scur": ""}, "a scur: '' instead of '1'"),
        ({"bout": "99"}, None),
        ({"lastsess": ""}, "a lastsess: '' instead of '~'"),
        ({"lastsess": "-1"}, "a lastsess: '-1' instead of '~'"),
    ],
)
def test_another_value_is_a_difference_unless_it_is_masked(
    changed: dict[str, str], line: str | None
) -> None:
    assert differences(rows(), rows(**changed)) == ([] if line is None else [line])


def test_a_row_too_few_or_too_many_is_a_difference() -> None:
    fewer = {"FRONTEND": rows()["FRONTEND"]}
    assert differences(rows(), fewer) == ["a: no such row here"]
    assert differences(fewer, rows()) == ["a: a row that HAProxy has not"]
    assert differences(rows(), dict(reversed(rows().items()))) == ["rows in the order a, FRONTEND"]


def test_what_is_told_can_be_read_again() -> None:
    columns = [*rows()["a"]]
    assert untold(told(rows()), columns) == rows()
