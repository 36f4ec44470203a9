"""The page as a whole: its title, its shape, its live values, and that nothing breaks out of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.history import History
from dsbalance.page import Dress, Page, question, scoped
from dsbalance.page_parts import Clock
from dsbalance.stats import Snapshot
from dsbalance.view import Explained, Finding, Remembered, View
from pretence import stage

DRESS = Dress("STYLE", "SCRIPT")
VOID = {"meta", "link", "input", "col", "path", "rect"}


def view(snapshot: Snapshot | None = None, **words: Any) -> View:
    return View(
        uri=words.pop("uri", "/st"),
        snapshot=snapshot or stage(),
        history=History(),
        clock=Clock(1_795_442_580, 0.0),
        **words,
    )


class Outline(HTMLParser):
    """The tags of a page with their attributes' names; it demands that each is closed in turn."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.holes = 0
        self.open: list[str] = []
        self.feed(page.decode())
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = tuple(name for name, _ in attrs)
        assert len(names) == len(set(names))
        self.tags.append((tag, names))
        self.holes += "data-l" in names
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag


def renamed(snapshot: Snapshot, name: str) -> Snapshot:
    """Return a snapshot in which whatever may come from outside is ``name``."""
    backends = tuple(
        replace(
            backend,
            name=name,
            balance=name,
            status=f"UP{name}",
            servers=tuple(
                replace(
                    each, name=name, reason=name, address=name, host=name, tracked=name, status=name
                )
                for each in backend.servers
            ),
        )
        for backend in snapshot.backends
    )
    return replace(
        snapshot,
        frontends=tuple(
            replace(each, name=name, backend=name, addresses=(name,), status=name)
            for each in snapshot.frontends
        ),
        backends=backends,
        tables=tuple(replace(each, name=name, counts=((name, 1),)) for each in snapshot.tables),
    )


def everything(name: str) -> Page:
    """Return a page with ``name`` wherever something comes from outside."""
    finding = Finding(
        client=name,
        problem=name,
        entries=(Remembered(name, name, 1.0, 1),),
        explained=(Explained((name,), (name,)),),
    )
    return Page(
        view(
            renamed(stage(), name),
            finding=finding,
            node=name,
            description=name,
            version=name,
            scope=name,
            outcome=name,
            words=f";scope={name}",
            shows_legends=True,
            is_admin=True,
        )
    )


TRICKS = ("<b>", "</td>", "<script>", "</style>", "<!--", "-->", "<", ">", '"', "'", "&lt;", "&")
PARTS = st.sampled_from((*TRICKS, " x=", "/", "\0", "\n"))
BAD = st.lists(PARTS, min_size=1, max_size=4).map("".join)


@given(BAD)
def test_nothing_breaks_out_of_the_page(name: str) -> None:
    harmless = Outline(everything("x").html(DRESS))
    outline = Outline(everything(name).html(DRESS))
    assert outline.tags == harmless.tags


@given(BAD)
def test_nothing_breaks_out_of_the_question(name: str) -> None:
    snapshot = stage()
    backend = snapshot.backends[0]
    server = replace(backend.servers[0], name=name, status=name)
    snapshot = replace(snapshot, backends=(replace(backend, servers=(server,)),))
    page = question(view(snapshot, uri=f"/{name}"), "drain", f"be/{name}", name, DRESS)
    plain = question(view(), "drain", "be/s1", "token", DRESS)
    assert page is not None
    assert plain is not None
    assert Outline(page).tags == Outline(plain).tags


def test_the_values_for_the_script_are_those_of_the_page_in_order() -> None:
    page = Page(view(is_admin=True))
    told = json.loads(page.live())
    html = page.html(DRESS).decode()
    assert Outline(html.encode()).holes == len(told["values"])
    assert f'data-shape="{told["shape"]}"' in html
    texts = re.findall(r"<(?:span|td|b|dd)[^>]* data-l>([^<]*)<", html)
    values = iter(told["values"])
    assert all(text in values for text in texts)


def test_other_numbers_leave_the_shape_as_it_is() -> None:
    snapshot = stage()
    servers = tuple(
        replace(each, current=99, status="DOWN") for each in snapshot.backends[1].servers
    )
    busier = (snapshot.backends[0], replace(snapshot.backends[1], servers=servers))
    calm = replace(snapshot, backends=(snapshot.backends[0], snapshot.backends[1]))
    shape = Page(view(calm, stays=True)).shape()
    assert Page(view(replace(snapshot, uptime=1e6), stays=True)).shape() == shape
    # Two more troubles are two more lines.
    assert Page(view(replace(snapshot, backends=busier))).shape() != shape


def test_another_server_or_another_button_is_another_shape() -> None:
    snapshot = stage()
    first = snapshot.backends[0]
    fewer = replace(first, servers=first.servers[1:])
    asked = replace(first, servers=(replace(first.servers[0], admin="drain"), *first.servers[1:]))
    shapes = {
        Page(view(replace(snapshot, backends=(each, snapshot.backends[1])), is_admin=True)).shape()
        for each in (first, fewer, asked)
    }
    assert len(shapes) == 3


def well() -> Snapshot:
    snapshot = stage()
    return replace(snapshot, frontends=snapshot.frontends[:1], backends=snapshot.backends[1:])


def test_the_title_says_that_all_is_well_or_what_is_worst() -> None:
    assert Page(view(well())).title == "Both servers serve \u2013 dsbalance"
    assert Page(view(node="lb1")).title.startswith("s3 is MAINT since ")
    assert Page(view(node="lb1")).title.endswith("(be) \u2013 lb1")


def test_the_icon_tells_trouble_too() -> None:
    ill = replace(stage().backends[0], status="DOWN")
    icons = {Page(view(each)).icon for each in (well(), stage(), replace(well(), backends=(ill,)))}
    assert len(icons) == 3


@pytest.mark.parametrize(
    ("words", "is_anew", "is_live"),
    [
        ({}, False, True),
        ({"refresh": 5.0}, True, True),
        ({"refresh": 5.0, "stays": True}, False, False),
    ],
)
def test_a_page_is_kept_up_to_date_unless_it_is_to_stay(
    words: dict[str, Any], is_anew: bool, is_live: bool
) -> None:
    html = Page(view(uri="/a?b", words=";scope=x", **words)).html(DRESS).decode()
    anew = '<noscript><meta http-equiv="refresh" content="5"></noscript>'
    assert (anew in html) == is_anew
    assert (' data-live="/a?b;live;scope=x"' in html) == is_live


def test_a_page_has_its_style_and_script_within() -> None:
    html = Page(view()).html(DRESS).decode()
    assert "<style>STYLE</style>" in html
    assert "<script>SCRIPT</script>" in html


def test_what_is_no_text_is_marked() -> None:
    page = everything("\udcff")
    assert b"?" in page.html(DRESS)
    assert json.loads(page.live())
    assert page.shape()


# -- questions


@pytest.mark.parametrize(
    ("action", "path"),
    [("explode", "be/s1"), ("drain", "be/s9"), ("drain", "no/s1"), ("drain", "be"), ("drain", "")],
)
def test_there_is_no_question_about_what_is_not_there(action: str, path: str) -> None:
    assert question(view(), action, path, "t", DRESS) is None


@pytest.mark.parametrize(
    ("action", "said"),
    [("ready", "takes new clients"), ("drain", "gets no new ones"), ("maint", "is not checked")],
)
def test_a_question_tells_what_follows(action: str, said: str) -> None:
    page = question(view(words=";scope=b"), action, "be/s1", "to<ken", DRESS)
    assert page is not None
    html = page.decode()
    assert f"<h1>{action.capitalize()} be/s1?</h1>" in html
    assert said in html
    assert '<form method="post" action="/st;scope=b"' in html
    for name, value in {"s": "s1", "b": "#4", "action": action, "token": "to&lt;ken"}.items():
        assert f'name="{name}" value="{value}"' in html


def test_a_question_warns_of_the_last_server() -> None:
    snapshot = stage()
    (backend, *_) = snapshot.backends
    for active, backups, is_warned in ((1, 0, True), (2, 0, False), (1, 1, False)):
        now = replace(backend, active=active, backups=backups)
        shown = view(replace(snapshot, backends=(now,)))
        for action in ("ready", "drain", "maint"):
            page = question(shown, action, "be/s1", "t", DRESS)
            assert page is not None
            assert (b"the last one" in page) == (is_warned and action != "ready")


@pytest.mark.parametrize(("count", "said"), [(1, "1 open session."), (2, "2 open sessions.")])
def test_a_question_counts_the_sessions(count: int, said: str) -> None:
    (backend, *_) = stage().backends
    server = replace(backend.servers[0], current=count)
    shown = view(replace(stage(), backends=(replace(backend, servers=(server,)),)))
    page = question(shown, "drain", "be/s1", "t", DRESS)
    assert page is not None
    assert said.encode() in page


# -- scope


def names(snapshot: Snapshot) -> list[list[str]]:
    parts = (snapshot.frontends, snapshot.backends, snapshot.tables)
    return [[each.name for each in part] for part in parts]


@pytest.mark.parametrize(
    ("allowed", "part", "left"),
    [
        ((), "", [["fe", "shut"], ["be", "static"], ["be", "static"]]),
        (("fe", "be"), "", [["fe"], ["be"], ["be"]]),
        ((), "ST", [[], ["static"], ["static"]]),
        (("be",), "static", [[], [], []]),
    ],
)
def test_a_scope_leaves_some_sections(
    allowed: tuple[str, ...], part: str, left: list[list[str]]
) -> None:
    assert names(scoped(stage(), allowed, part)) == left
