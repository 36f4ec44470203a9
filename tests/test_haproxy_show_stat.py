"""``show stat``: beside HAProxy's answers, and what could break a reader of them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import capture, picture, rows
from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.haproxy.show_stat import Form, Question, lines, quoted, read_question, show_stat
from dsbalance.haproxy.stat_columns import COLUMNS, TEXTS, Kind
from dsbalance.stats import (
    BackendSnapshot,
    FrontendSnapshot,
    ListenerSnapshot,
    ProcessSnapshot,
    Snapshot,
)
from pretence import blank, check, server

CAPTURE = capture("haproxy-show-stat.json")
PICTURE = picture(CAPTURE["csv"])

# An estimate of HAProxy's, of which we have no like.
OURS = "need_conn_est"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def answer(snapshot: Snapshot, question: Question | None = None) -> str:
    return "".join(show_stat(snapshot, question))


def ask(words: str, snapshot: Snapshot = PICTURE, **options: bool) -> str:
    return answer(snapshot, read_question(words.split(), snapshot, **options))


def whose_check_says(detail: str) -> Snapshot:
    """Return a snapshot of one server, whose last check ended so."""
    last = CheckResult(status=CheckStatus.L4CON, port=8001, detail=detail)
    shown = server("s1", 1, check=check(last=last))
    backend = blank(BackendSnapshot, name="be", id=2, status="UP", servers=(shown,))
    return Snapshot(uptime=1.0, process=blank(ProcessSnapshot), backends=(backend,))


# --- beside HAProxy ------------------------------------------------------------------------------


def cut(text: str) -> list[list[str]]:
    """Return HAProxy's CSV as far as ours goes, without what is ours."""
    index = next(i for i, column in enumerate(COLUMNS) if column.name == OURS)
    table = [line.split(",")[: len(COLUMNS)] for line in text.rstrip("\n").split("\n")]
    return [row[:index] + row[index + 1 :] for row in table]


@pytest.mark.parametrize(("kept", "is_operator"), [("csv", True), ("csv for users", False)])
def test_the_csv_is_that_of_haproxy(kept: str, *, is_operator: bool) -> None:
    ours = answer(PICTURE, Question(shows_legends=is_operator))
    assert cut(ours) == cut(CAPTURE[kept])
    assert all(line.endswith(",") for line in ours.rstrip("\n").split("\n"))


def test_the_typed_lines_are_those_of_haproxy() -> None:
    theirs = [line for line in CAPTURE["typed"].split("\n") if line]
    kept = [line for line in theirs if int(line.split(".")[3]) < len(COLUMNS)]
    ours = answer(PICTURE, Question(form=Form.TYPED)).rstrip("\n").split("\n")

    def compared(listed: list[str]) -> list[str]:
        return [line for line in listed if f".{OURS}." not in line]

    assert compared(ours) == compared(kept)


@pytest.mark.parametrize(
    ("words", "kept"),
    [("bh 4 1 json", "server in json"), ("none -1 -1 json", "backend in json")],
)
def test_the_json_is_that_of_haproxy_to_the_letter(words: str, kept: str) -> None:
    theirs = json.loads(CAPTURE[kept])
    known = [[cell for cell in line if cell["field"]["pos"] < 103] for line in theirs]
    assert ask(words) == json.dumps(known, separators=(",", ":")) + "\n"


@pytest.mark.parametrize("words", CAPTURE["questions"])
def test_who_is_asked_for_is_who_haproxy_shows(words: str) -> None:
    form, expected = CAPTURE["questions"][words]
    if form is None:
        with pytest.raises(LookupError):
            read_question(words.split(), PICTURE)
        return
    question = read_question(words.split(), PICTURE)
    assert question.form is Form[form]
    shown = lines(PICTURE, question)
    names = {Kind.FRONTEND: "FRONTEND", Kind.BACKEND: "BACKEND"}
    found = [
        f"{line.proxy.name}/{names.get(line.kind, line.of.name)} {line.of.status}" for line in shown
    ]
    assert found == expected


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", Question()),
        ("typed desc", Question(form=Form.TYPED, is_described=True)),
        ("json no-maint", Question(form=Form.JSON, hides_maintenance=True)),
        ("tbe 4", Question()),
        ("tbe 4 3", Question(proxy=3, kinds=4, service=3)),
        ("-1 -1 -1 up", Question(hides_down=True)),
        ("#3 4x y", Question(proxy=3, kinds=4, service=0)),
        ("nonsense", Question()),
    ],
)
def test_words_are_read_as_haproxy_reads_them(words: str, expected: Question) -> None:
    assert read_question(words.split(), PICTURE) == expected


def test_a_number_may_be_longer_than_any_of_ours() -> None:
    assert read_question(["9" * 5000, "-1", "٣"], PICTURE) == Question(proxy=999_999_999, service=0)


@given(st.lists(st.text("0123456789-+#typedjsonupbe ", max_size=5), max_size=6))
def test_any_words_are_a_question_or_about_nobody(words: list[str]) -> None:
    try:
        question = read_question(words, PICTURE)
    except LookupError:
        return
    assert answer(PICTURE, question)[:1] in {"#", "[", "F", "B", "S", "L", ""}


def test_sections_come_in_the_order_of_their_numbers() -> None:
    shown = Snapshot(
        uptime=1.0,
        process=blank(ProcessSnapshot),
        frontends=(
            blank(
                FrontendSnapshot,
                name="x",
                id=7,
                listeners=(blank(ListenerSnapshot, name="l", id=1),),
            ),
            blank(FrontendSnapshot, name="y", id=2),
        ),
        backends=(
            blank(BackendSnapshot, name="z", id=3),
            blank(BackendSnapshot, name="x", id=7, servers=(server("s", 1),)),
        ),
    )
    found = [(row["pxname"], row["svname"]) for row in rows(answer(shown))]
    assert found == [
        *(("y", "FRONTEND"), ("z", "BACKEND")),
        *(("x", "FRONTEND"), ("x", "l"), ("x", "s"), ("x", "BACKEND")),
    ]


def test_a_scope_leaves_the_other_sections_out() -> None:
    found = rows(answer(PICTURE, Question(scope={"lh", "none"})))
    assert {row["pxname"] for row in found} == {"lh", "none"}


# --- what could break a reader -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("a,b", '"a,b"'),
        ('say "no"', '"say ""no"""'),
        ("two\nlines", '"two\nlines"'),
        ("", ""),
    ],
)
def test_a_text_is_quoted_where_it_has_to_be(text: str, expected: str) -> None:
    assert quoted(text) == expected


@given(texts)
def test_any_text_comes_back_from_the_csv(detail: str) -> None:
    written = answer(whose_check_says(detail)).removeprefix("# ")
    head, found, _ = csv.reader(io.StringIO(written, newline=""), strict=True)
    assert dict(zip(head, found, strict=True))["last_chk"] == detail


@given(texts)
def test_any_text_comes_back_from_the_json(detail: str) -> None:
    written = json.loads(answer(whose_check_says(detail), Question(form=Form.JSON)))
    cells = {cell["field"]["name"]: cell["value"] for cell in written[0]}
    assert cells["last_chk"] == {"type": "str", "value": detail}


@given(texts)
def test_no_text_breaks_the_typed_lines(detail: str) -> None:
    written = answer(whose_check_says(detail), Question(form=Form.TYPED)).rstrip("\n").split("\n")
    assert all(line.startswith(("S.2.1.", "B.2.0.")) for line in written)
    told = next(line for line in written if ".56.last_chk.1:" in line)
    assert told == f"S.2.1.56.last_chk.1:MOP:str:{' '.join(detail.splitlines())}"


# --- the forms -----------------------------------------------------------------------------------


def test_a_description_stands_behind_each_typed_value() -> None:
    plain, described = ask("typed").split("\n"), ask("typed desc").split("\n")
    for line, longer in zip(plain, described, strict=True):
        if line:
            assert longer == f'{line}:"{TEXTS[line.split(".")[4]]}"'


def test_csv_and_json_have_no_descriptions() -> None:
    assert ask("desc") == ask("")
    assert ask("json desc") == ask("json")


@pytest.mark.parametrize(("words", "expected"), [("99 -1 -1 typed", ""), ("99 -1 -1 json", "[]\n")])
def test_an_answer_about_nobody_is_empty(words: str, expected: str) -> None:
    assert ask(words) == expected


def test_json_is_one_list_of_lists() -> None:
    found: list[list[dict[str, Any]]] = json.loads(ask("json"))
    assert len(found) == len(list(lines(PICTURE)))
    first = found[0][0]
    assert (first["objType"], first["proxyId"], first["id"]) == ("Frontend", 2, 0)
    assert first["value"] == {"type": "str", "value": "tfe"}


@pytest.mark.parametrize("form", Form)
def test_an_answer_comes_row_by_row(form: Form) -> None:
    pieces = list(show_stat(PICTURE, Question(form=form)))
    rows_of_it = len(list(lines(PICTURE)))
    assert rows_of_it <= len(pieces) <= rows_of_it + 1


def test_a_row_is_looked_at_when_it_is_asked_for() -> None:
    broken = replace(PICTURE.backends[-1], servers=None)  # type: ignore[arg-type]
    snapshot = replace(PICTURE, backends=(*PICTURE.backends[:-1], broken))
    pieces = show_stat(snapshot)
    assert next(pieces).startswith("# pxname,")
    assert next(pieces).startswith("tfe,FRONTEND,")
    with pytest.raises(TypeError):
        list(pieces)
