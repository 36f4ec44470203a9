"""Who may see, and who may change: users, origins, tokens."""

from __future__ import annotations

import hmac
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.admission import Credentials, Seal, objection
from dsbalance.http1 import RequestHead

SECRET = b"secret"
OURS = ("Origin: http://lb:8404",)


def request(*lines: str, host: str | None = "lb:8404") -> RequestHead:
    named = () if host is None else (f"Host: {host}",)
    return RequestHead("\r\n".join(("POST /st HTTP/1.1", *named, *lines, "", "")).encode())


def basic(words: str) -> str:
    return f"Authorization: Basic {b64encode(words.encode()).decode()}"


def objects(
    *lines: str, user: str = "u", host: str | None = "lb:8404", token: bool | None = True
) -> bool:
    """Return whether a change is refused; ``token``: whether it is ours; None: there is none."""
    head = request(*lines, host=host)
    return bool(objection(head, user, has_token=token is not None, is_token_ours=token is True))


# -- users


def test_without_users_everybody_is_let_in() -> None:
    credentials = Credentials((), SECRET)
    assert credentials.is_open
    assert credentials.find(request()) == ""


@pytest.mark.parametrize("name", ["anna", "bert"])
def test_each_user_is_found_by_his_password(name: str) -> None:
    credentials = Credentials([("anna", "one"), ("bert", "t:w o")], SECRET)
    words = {"anna": "anna:one", "bert": "bert:t:w o"}
    assert credentials.find(request(basic(words[name]))) == name


@pytest.mark.parametrize(
    "line",
    [
        "X: y",
        basic("anna:two"),
        basic("anna:one "),
        basic("bert:one"),
        basic("anna"),
        basic(""),
        basic("anna:one").replace("Basic", "Bearer"),
        "Authorization: Basic",
        "Authorization: Basic !!!",
        "Authorization: Basic a",
        f"{basic('anna:one')}\r\n{basic('anna:one')}",
    ],
)
def test_nobody_else_is(line: str) -> None:
    assert Credentials([("anna", "one"), ("bert", "two")], SECRET).find(request(line)) is None


def test_every_password_is_compared_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        seen.append((len(one), len(other)))
        return one == other

    credentials = Credentials([("a", "1"), ("b", "2"), ("c", "3" * 50)], SECRET)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for line in (basic("a:1"), basic("c:" + "3" * 50), basic("nobody:at all"), "X: y"):
        seen.clear()
        credentials.find(request(line))
        assert seen == [(32, 32)] * 3, line


# -- tokens


def test_a_token_is_of_one_user_one_page_and_one_process() -> None:
    token = Seal(SECRET).token("anna", "/st")
    assert Seal(SECRET).fits(token, "anna", "/st")
    assert not Seal(SECRET).fits(token, "bert", "/st")
    assert not Seal(SECRET).fits(token, "anna", "/other")
    assert not Seal(b"another").fits(token, "anna", "/st")


@given(st.text(), st.text())
def test_no_other_words_are_a_token(words: str, user: str) -> None:
    seal = Seal(SECRET)
    assert seal.fits(words, user, "/st") == hmac.compare_digest(
        words.encode("utf-8", "replace"), seal.token(user, "/st").encode()
    )


def test_page_and_user_do_not_run_into_each_other() -> None:
    assert Seal(SECRET).token("b", "/a") != Seal(SECRET).token("", "/ab")


# -- changes


@pytest.mark.parametrize(
    "line",
    [
        "Origin: http://lb:8404",
        "Origin: HTTP://LB:8404",
        "Origin: https://lb:8404",
        "Referer: http://lb:8404/st;ask=drain",
    ],
)
def test_a_form_of_ours_is_taken(line: str) -> None:
    assert not objects(line)
    assert not objects(
        line, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Cookie: a=b"
    )


@pytest.mark.parametrize(
    ("origin", "host"),
    [("http://lb", "lb:80"), ("http://lb:80", "lb"), ("https://lb", "lb:443")],
)
def test_the_port_of_the_scheme_need_not_be_said(origin: str, host: str) -> None:
    assert not objects(f"Origin: {origin}", host=host)


@pytest.mark.parametrize(
    "lines",
    [
        ("Origin: http://evil",),
        ("Origin: null",),
        ("Origin: http://lb",),
        ("Origin: http://lb:8405",),
        ("Origin: http://lb:8404.evil",),
        ("Origin: http://evil@lb:8404",),
        ("Origin: ftp://lb:8404",),
        ("Origin:",),
        (*OURS, "Origin: http://evil"),
        ("Referer: http://evil/http://lb:8404/",),
        ("Referer: /st",),
        ("Origin: http://evil", "Referer: http://lb:8404/st"),
        (*OURS, "Sec-Fetch-Site: cross-site"),
        (*OURS, "Sec-Fetch-Site: same-site"),
        (*OURS, "Sec-Fetch-Site: none"),
        ("Sec-Fetch-Site: same-origin",),
        ("Sec-Fetch-Mode: navigate",),
        ("Cookie: a=b",),
    ],
    ids=" and ".join,
)
def test_a_form_of_another_site_is_refused_whatever_it_has(lines: tuple[str, ...]) -> None:
    assert objects(*lines)


def test_a_browser_without_a_host_is_refused() -> None:
    assert objects(*OURS, host=None)


@pytest.mark.parametrize("token", [None, False])
def test_a_browser_needs_the_token(token: bool | None) -> None:
    assert objects(*OURS, token=token)


def test_a_program_with_a_password_needs_no_token_but_no_wrong_one() -> None:
    assert not objects(token=None)
    assert not objects(token=True)
    assert objects(token=False)


@pytest.mark.parametrize("host", ["127.0.0.1:8404", "127.0.0.1", "[::1]:8404", "localhost:8404"])
def test_without_users_an_address_is_good_enough(host: str) -> None:
    assert not objects(f"Origin: http://{host}", user="", host=host)


@pytest.mark.parametrize("host", ["lb:8404", "localhost.evil", "evil", "[zz]", "[::1", "", None])
def test_without_users_a_name_is_not_for_it_may_be_rebound(host: str | None) -> None:
    assert objects(f"Origin: http://{host}", user="", host=host)


def test_without_users_a_program_needs_the_token() -> None:
    assert objects(user="", host="127.0.0.1", token=None)
    assert not objects(user="", host="127.0.0.1", token=True)
