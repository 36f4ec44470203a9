"""What is asked for at the desk: targets below a uri, and forms."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.errands import Errand, Form, Kind, place_of, plain, quoted, read_errand, read_form

URIS = ("/", "/st", "/st/", "/haproxy?stats")
URI = pytest.mark.parametrize("uri", URIS)


def wanted(tail: str, uri: str = "/st") -> dict[str, Any]:
    """Return what of an errand is not as it is by default."""
    plainest = asdict(Errand())
    found = asdict(read_errand(uri, (uri + tail).encode()))
    return {name: value for name, value in found.items() if value != plainest[name]}


@URI
@pytest.mark.parametrize("tail", ["", "x", "foo/bar", ";up", ";metrics=", "/;nothing"])
def test_whatever_is_not_known_is_the_page(uri: str, tail: str) -> None:
    assert wanted(tail, uri) == {}


@URI
@pytest.mark.parametrize("kind", [Kind.CSV, Kind.TYPED, Kind.JSON, Kind.LIVE])
@pytest.mark.parametrize("before", ["", "/", "foo", "?", "/?x=y&"])
def test_a_word_says_what_is_shown(uri: str, kind: Kind, before: str) -> None:
    assert wanted(f"{before};{kind.value}", uri)["kind"] is kind


@URI
@pytest.mark.parametrize("kind", [Kind.METRICS, Kind.HEALTH])
def test_a_path_says_what_a_program_gets(uri: str, kind: Kind) -> None:
    path = kind.value if uri.endswith("/") else f"/{kind.value}"
    assert wanted(path, uri) == {"kind": kind}
    assert wanted(f"{path}?scope=server", uri)["query"] == "scope=server"


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (";norefresh", {"stays": True}),
        (";st=DONE", {"outcome": "DONE"}),
        (";scope=be", {"scope": "be"}),
        ("?;scope=be", {"scope": "be", "query": ";scope=be"}),
        ("?st=DONE&scope=be", {"scope": "be", "outcome": "DONE", "query": "st=DONE&scope=be"}),
        (";find=%20::1%20", {"find": "::1"}),
        (";find=10.1.2.3;find=10.9.9.9", {"find": "10.1.2.3"}),
        (";ask=drain;on=be/s%31", {"kind": Kind.ASK, "action": "drain", "server": "be/s1"}),
        (";csv;json;ask=drain", {"kind": Kind.CSV, "action": "drain"}),
    ],
)
def test_words_are_read_in_any_order_and_the_first_of_a_name_counts(
    tail: str, found: dict[str, Any]
) -> None:
    assert wanted(tail) == found


def test_a_target_may_name_the_host() -> None:
    assert place_of(b"http://h:80/st;csv") == b"/st;csv"
    assert place_of(b"/st?u=http://h/x") == b"/st?u=http://h/x"
    assert read_errand("/st", b"http://h:80/st;csv").kind is Kind.CSV


@given(
    st.builds(Errand, scope=st.text(max_size=20), find=st.text(max_size=20), stays=st.booleans())
)
def test_the_words_of_a_view_lead_to_the_same_view(errand: Errand) -> None:
    again = read_errand("/st", f"/st{errand.words()}".encode())
    assert (again.scope, again.stays) == (errand.scope, errand.stays)
    assert again.find == errand.find.strip()


@given(st.text(max_size=40))
def test_what_is_quoted_cannot_end_a_target(text: str) -> None:
    written = quoted(text)
    assert plain(written) == text
    assert set(written) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~/:-%"
    )


@given(st.binary(max_size=400))
def test_any_target_and_any_form_can_be_read(raw: bytes) -> None:
    errand = read_errand("/st", b"/st" + raw)
    assert len(errand.find) <= 256
    assert read_form(raw).servers is not None


def test_a_form_is_read_as_haproxy_sends_it() -> None:
    form = read_form(b"s=s1&s=s+2&action=drain&b=%23" + b"3&token=abc")
    assert form == Form(servers=("s1", "s 2"), action="drain", backend="#3", token="abc")
    assert read_form(b"s=s1&action=drain&b=#3").backend == "#3"


def test_of_what_may_be_said_once_the_last_counts() -> None:
    assert read_form(b"action=ready&action=maint") == Form(action="maint")


def test_an_empty_form_says_nothing() -> None:
    assert read_form(b"") == Form()
    assert read_form(b"find=") == Form(find="")
