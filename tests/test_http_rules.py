"""What heads look like on the other side; what HAProxy makes of them is in the golden plays."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.errors import ConfigError
from dsbalance.http1 import RequestHead, ResponseHead, request_end
from dsbalance.http_answers import Answer, read_page, redirection
from dsbalance.http_fields import Origin
from dsbalance.http_options import (
    AddressField,
    Deny,
    HeaderAction,
    HeaderRule,
    HttpConnection,
    HttpOptions,
    Redirect,
    RequestRule,
    ResponseRule,
    Sample,
)
from dsbalance.http_rules import Rewriting

NONE = HttpOptions()
FORWARDFOR = HttpOptions(forwardfor=AddressField())
GET = b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
SET, ADD, DEL = HeaderAction


class Facts:
    def __init__(self, source: bytes) -> None:
        self.source = source
        self.dst_port = 5012
        self.sc0_conn_cur = None
        self.sc0_conn_rate = None

    def nbsrv(self, backend: str | None) -> int | None:
        return {None: 2, "b": 0}.get(backend)


ORIGIN = Origin(
    source="192.0.2.7",
    source_port=4711,
    destination="198.51.100.1",
    destination_port=5012,
    facts=Facts(bytes((192, 0, 2, 7))),
)


def added(name: str, value: str = "1", condition: Condition | None = None) -> HeaderRule:
    return HeaderRule(action=ADD, name=name, value=(value,), condition=condition)


def from_network(network: str, *, is_unless: bool = False) -> Condition:
    look = Look(fetch=Fetch.SRC, networks=(ip_network(network),))
    return Condition(alternatives=((Term(tests=(look,)),),), is_unless=is_unless)


def asked(
    frontend: HttpOptions = NONE, backend: HttpOptions = NONE, raw: bytes = GET
) -> bytes | Answer:
    """Return what becomes of a request."""
    return Rewriting(frontend, backend).request(RequestHead(raw), ORIGIN)


def ruled(*rules: RequestRule, raw: bytes = GET) -> bytes | Answer:
    """Return what the ``rules`` of a frontend make of a request."""
    return asked(HttpOptions(request_rules=rules), raw=raw)


def answered(
    frontend: HttpOptions = NONE,
    backend: HttpOptions = NONE,
    raw: bytes = OK,
    request: bytes = GET,
    *,
    keeps_client: bool = True,
) -> bytes | Answer:
    """Return what becomes of a response."""
    head = RequestHead(request)
    response = ResponseHead(raw, head.method)
    made = Rewriting(frontend, backend)
    return made.response(response, head, ORIGIN, keeps_client=keeps_client)


# --- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [GET, b"POST / HTTP/1.1\r\nconTENT-length: 3\r\nX:y \r\n\r\n"])
def test_a_request_of_which_nothing_is_said_passes_as_it_came(raw: bytes) -> None:
    head = RequestHead(raw)
    assert Rewriting(NONE, NONE).request(head, ORIGIN) is head.raw


MODES = (None, *HttpConnection)


@pytest.mark.parametrize("frontend", MODES)
@pytest.mark.parametrize("backend", MODES)
def test_each_level_may_close_the_server_and_the_frontend_the_client(
    frontend: HttpConnection | None, backend: HttpConnection | None
) -> None:
    made = Rewriting(HttpOptions(connection=frontend), HttpOptions(connection=backend))
    keeping = (None, HttpConnection.KEEP_ALIVE)
    assert made.is_server_kept is (frontend in keeping and backend in keeping)
    assert made.is_client_kept is (frontend is not HttpConnection.CLOSE)
    head = made.request(RequestHead(GET), ORIGIN)
    assert head == (GET if made.is_server_kept else GET[:-2] + b"connection: close\r\n\r\n")
    old = b"GET / HTTP/1.0\r\n\r\n"
    head = made.request(RequestHead(old), ORIGIN)
    assert head == (old[:-2] + b"connection: keep-alive\r\n\r\n" if made.is_server_kept else old)


def test_what_the_client_wants_of_its_own_connection_is_not_told_to_the_server() -> None:
    for wish in (b"close", b"keep-alive"):
        assert asked(raw=GET[:-2] + b"Connection: " + wish + b"\r\n\r\n") == GET


def test_who_asks_for_another_protocol_does_not_hear_of_closing() -> None:
    raw = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n"
    assert asked(HttpOptions(connection=HttpConnection.CLOSE), raw=raw) == raw


def test_our_line_is_the_last_whatever_the_client_has_sent() -> None:
    raw = GET[:-2] + b"X-Forwarded-For: 127.0.0.1\r\n\r\n"
    closing = HttpOptions(connection=HttpConnection.SERVER_CLOSE, request_rules=(added("X-A"),))
    assert asked(FORWARDFOR, closing, raw=raw) == (
        raw[:-2] + b"x-a: 1\r\nx-forwarded-for: 192.0.2.7\r\nconnection: close\r\n\r\n"
    )


def test_a_rule_can_drop_theirs_and_ours_stays() -> None:
    frontend = HttpOptions(
        forwardfor=AddressField(is_if_none=True),
        request_rules=(HeaderRule(action=DEL, name="X-Forwarded-For"),),
    )
    raw = GET[:-2] + b"x-forwarded-FOR: 127.0.0.1\r\nX_Forwarded_For: 127.0.0.1\r\n\r\n"
    assert asked(frontend, raw=raw) == GET[:-2] + b"x-forwarded-for: 192.0.2.7\r\n\r\n"


@pytest.mark.parametrize("token", [b"X-Forwarded-For", b"x-a", b"Host"])
def test_a_client_cannot_have_our_fields_dropped_by_the_next_reader(token: bytes) -> None:
    frontend = HttpOptions(
        forwardfor=AddressField(),
        request_rules=(added("X-A"), HeaderRule(action=DEL, name="X-B")),
    )
    raw = GET[:-2] + b"Connection: Foo, " + token + b"\r\n\r\n"
    made = asked(frontend, raw=raw)
    assert isinstance(made, bytes)
    assert RequestHead(made).connection == {b"foo"}


def test_the_names_that_servers_get_from_us_are_known() -> None:
    frontend = HttpOptions(
        originalto=AddressField(name="X-To"), request_rules=(HeaderRule(action=DEL, name="X-B"),)
    )
    backend = HttpOptions(forwardfor=AddressField(), request_rules=(added("X-A"),))
    assert Rewriting(frontend, backend).added == {b"x-to", b"x-forwarded-for", b"x-a"}


def test_the_frontends_rules_come_before_the_backends() -> None:
    frontend = HttpOptions(request_rules=(added("X-A", "f"), added("X-B", "f")))
    backend = HttpOptions(request_rules=(HeaderRule(action=SET, name="X-A", value=("b",)),))
    assert asked(frontend, backend) == GET[:-2] + b"x-b: f\r\nx-a: b\r\n\r\n"


def test_a_rule_holds_where_its_condition_does() -> None:
    here, elsewhere = "192.0.2.0/24", "10.0.0.0/8"
    made = ruled(
        added("X-A", condition=from_network(here)),
        added("X-B", condition=from_network(elsewhere)),
        added("X-C", condition=from_network(here, is_unless=True)),
        added("X-D", condition=from_network(elsewhere, is_unless=True)),
        Deny(status=403, condition=from_network(elsewhere)),
        Redirect(scheme="https", condition=from_network(elsewhere)),
    )
    assert made == GET[:-2] + b"x-a: 1\r\nx-d: 1\r\n\r\n"


# --- requests that get no further ----------------------------------------------------------------


def refused(made: bytes | Answer) -> Answer:
    assert isinstance(made, Answer)
    return made


def test_who_is_denied_gets_the_page_of_the_first_rule() -> None:
    made = refused(ruled(added("X"), Deny(status=404), Redirect(scheme="https"), Deny(status=403)))
    assert (made.status, made.closes) == (404, False)
    assert refused(ruled(Deny(status=408))).closes


PLACES = [
    (b"/a?b=http://x/", b"h", b"https://h/a?b=http://x/"),
    (b"//a/b", b"h", b"https://h//a/b"),
    (b"/", b"h:8080", b"https://h:8080/"),
    (b"http://h/a?b", b"h", b"https://h/a?b"),
    (b"http://h", b"h", b"https://h/"),
    (b"http://h/a", None, b"https://h/a"),
    (b"*", b"h", b"https://h/"),
    (b"h:1", b"h:1", b"https://h:1/"),
    (b"/a", None, b"https://198.51.100.1/a"),
    (b"/a", b"", b"https://198.51.100.1/a"),
]


@pytest.mark.parametrize(("target", "host", "location"), PLACES)
def test_another_scheme_leads_to_the_same_place(
    target: bytes, host: bytes | None, location: bytes
) -> None:
    method = {b"*": b"OPTIONS", b"h:1": b"CONNECT"}.get(target, b"GET")
    field = b"" if host is None else b"Host: %b\r\n" % host
    raw = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, field)
    made = ruled(Redirect(scheme="https", status=301), raw=raw)
    assert made == redirection(301, location, closes=False)


def test_who_names_no_host_goes_back_to_the_address_it_came_to() -> None:
    origin = Origin(
        source="::1",
        source_port=1,
        destination="2001:db8::1%eth0",
        destination_port=80,
        facts=Facts(bytes(16)),
    )
    made = Rewriting(HttpOptions(request_rules=(Redirect(scheme="https"),)), NONE)
    answer = made.request(RequestHead(b"GET //evil.example/ HTTP/1.0\r\n\r\n"), origin)
    assert answer == redirection(302, b"https://[2001:db8::1]//evil.example/", closes=False)


def test_a_host_that_a_rule_has_set_is_the_one_that_the_client_is_sent_to() -> None:
    setting = HeaderRule(action=SET, name="Host", value=("new",))
    for raw in (GET, b"GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n"):
        made = ruled(setting, Redirect(scheme="https"), raw=raw)
        assert made == redirection(302, b"https://new/a?b", closes=False)


def test_another_place_may_have_the_client_in_it() -> None:
    made = ruled(Redirect(location=("/from/", Sample.SRC), status=307))
    assert made == redirection(307, b"/from/192.0.2.7", closes=False)


@pytest.mark.parametrize("body", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_who_sends_a_body_is_redirected_and_closed(body: bytes) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % body
    assert refused(ruled(Redirect(scheme="https"), raw=raw)).closes


@pytest.mark.parametrize(
    ("uri", "target", "is_monitored"),
    [
        ("/m", b"/m", True),
        ("/m", b"http://h/m", True),
        ("/m", b"/m?x", False),
        ("/m", b"/m/", False),
        ("/m", b"/M", False),
        ("/m", b"/", False),
        ("/", b"*", False),
        ("/", b"http://h", False),
        ("/m?x", b"/m?x", True),
        ("/m?x", b"/m", False),
        ("*", b"*", True),
    ],
)
def test_what_is_monitored_is_the_whole_target(uri: str, target: bytes, is_monitored: bool) -> None:
    frontend = HttpOptions(monitor_uri=uri, request_rules=(Deny(status=403),))
    method = b"OPTIONS" if target == b"*" else b"GET"
    made = asked(frontend, raw=b"%b %b HTTP/1.1\r\nHost: h\r\n\r\n" % (method, target))
    assert refused(made).status == (200 if is_monitored else 403)


# --- responses -----------------------------------------------------------------------------------


def test_a_response_of_which_nothing_is_said_passes_as_it_came() -> None:
    request, response = RequestHead(GET), ResponseHead(OK, b"GET")
    made = Rewriting(NONE, NONE).response(response, request, ORIGIN, keeps_client=True)
    assert made is response.raw


def test_the_backends_rules_for_responses_come_before_the_frontends() -> None:
    frontend = HttpOptions(response_rules=(added("X-A", "f"),))
    backend = HttpOptions(
        response_rules=(added("X-A", "b"), HeaderRule(action=DEL, name="Content-Type"))
    )
    raw = OK[:-2] + b"content-TYPE: x\r\n\r\n"
    made = answered(frontend, backend, raw, keeps_client=False)
    assert made == OK[:-2] + b"x-a: b\r\nx-a: f\r\nconnection: close\r\n\r\n"


def test_what_the_server_wants_of_its_own_connection_is_not_told_to_the_client() -> None:
    for wish in (b"close", b"Keep-Alive"):
        assert answered(raw=OK[:-2] + b"connection: " + wish + b"\r\n\r\n") == OK


def test_a_server_cannot_have_the_frame_of_its_response_dropped() -> None:
    raw = OK[:-2] + b"Connection: Content-Length, X-A\r\n\r\n"
    assert answered(raw=raw) == OK[:-2] + b"connection: X-A\r\n\r\n"


def test_a_client_of_http_1_0_is_told_that_it_may_go_on() -> None:
    old = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert answered(request=old) == OK[:-2] + b"connection: keep-alive\r\n\r\n"


UPGRADING = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"


@pytest.mark.parametrize(
    ("request_head", "raw"),
    [
        (UPGRADING, SWITCHING),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (GET, OK[:-2] + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n"),
    ],
)
def test_where_another_protocol_begins_or_is_offered_nothing_is_added(
    request_head: bytes, raw: bytes
) -> None:
    assert answered(raw=raw, request=request_head, keeps_client=False) == raw


def test_an_interim_response_is_no_matter_of_rules() -> None:
    frontend = HttpOptions(response_rules=(added("X-A"), Deny(status=502)))
    raw = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close\r\n\r\n"
    made = answered(frontend, raw=raw, keeps_client=False)
    assert made == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    made = answered(HttpOptions(response_rules=(added("X-A"),)), raw=SWITCHING, request=UPGRADING)
    assert made == SWITCHING[:-2] + b"x-a: 1\r\n\r\n"


def test_a_response_that_is_denied_is_replaced() -> None:
    rules: tuple[ResponseRule, ...] = (added("X-A"), Deny(status=502))
    made = refused(answered(HttpOptions(response_rules=rules)))
    assert (made.status, made.closes) == (502, False)


@pytest.mark.parametrize(
    ("frontend", "backend", "is_silent"),
    [
        (FORWARDFOR, NONE, True),
        (HttpOptions(connection=HttpConnection.KEEP_ALIVE), NONE, True),
        (HttpOptions(connection=HttpConnection.CLOSE), NONE, False),
        (NONE, HttpOptions(connection=HttpConnection.SERVER_CLOSE), False),
        (HttpOptions(response_rules=(added("X-A"),)), NONE, False),
        (NONE, HttpOptions(response_rules=(Deny(status=502),)), False),
    ],
)
def test_it_is_known_where_responses_go_on_as_they_came(
    frontend: HttpOptions, backend: HttpOptions, is_silent: bool
) -> None:
    assert Rewriting(frontend, backend).is_silent is is_silent
    assert not is_silent or answered(frontend, backend) == OK


# --- pages ---------------------------------------------------------------------------------------


def test_a_frontend_answers_with_its_own_pages_and_a_backend_with_both() -> None:
    files = {
        key: read_page(key[0], f"HTTP/1.1 {key[0]} {key[1]}\r\n\r\n".encode(), 3)
        for key in ((403, "f"), (403, "b"), (200, "f"), (200, "b"), (503, "f"), (502, "b"))
    }
    front = ((403, "f"), (200, "f"), (503, "f"), (504, "missing"))
    back = ((403, "b"), (502, "b"), (200, "b"))
    denying = (Deny(status=403, condition=from_network("192.0.2.0/24")),)
    pages = HttpOptions(error_files=front, monitor_uri="/m")
    first = HttpOptions(error_files=front, request_rules=denying)
    second = HttpOptions(error_files=back, request_rules=denying)
    answering = HttpOptions(error_files=back, response_rules=(Deny(status=502),))

    def page(made: bytes | Answer) -> str:
        head = refused(made).render(None, keeps_client=False)
        return head.split(b"\r\n")[0].decode().removeprefix("HTTP/1.1 ")

    request, response = RequestHead(GET), ResponseHead(OK, b"GET")
    assert page(Rewriting(first, second, files).request(request, ORIGIN)) == "403 f"
    both = Rewriting(pages, second, files)
    assert page(both.request(request, ORIGIN)) == "403 b"
    assert page(both.request(RequestHead(b"GET /m HTTP/1.1\r\n\r\n"), ORIGIN)) == "200 f"
    assert [page(both.error(status)) for status in (403, 502, 503)] == ["403 b", "502 b", "503 f"]
    assert page(both.error(504)) == "504 Gateway Time-out"
    made = Rewriting(pages, answering, files)
    assert page(made.response(response, request, ORIGIN, keeps_client=True)) == "502 b"
    assert page(Rewriting(pages, answering).error(502)) == "502 Bad Gateway"


# --- whatever is said ----------------------------------------------------------------------------

names = st.sampled_from(["X-A", "X-B", "Cookie", "Host", "X-Forwarded-For", "Keep-Alive"])
texts = st.text(st.characters(codec="utf-8"), max_size=4)
values = st.lists(st.sampled_from(Sample) | texts, max_size=3).map(tuple)


@st.composite
def header_rules(draw: st.DrawFn) -> HeaderRule:
    action = draw(st.sampled_from(HeaderAction))
    try:
        return HeaderRule(
            action=action, name=draw(names), value=() if action is DEL else draw(values)
        )
    except ConfigError:
        return added("X-A")


fields = st.tuples(
    st.sampled_from([b"X-A", b"x_a", b"X-Forwarded-For", b"Keep-Alive"]),
    st.sampled_from([b"", b"1", b"a, b"]),
)
wishes = st.tuples(
    st.just(b"Connection"),
    st.lists(st.sampled_from([b"close", b"X-A", b"x-forwarded-for", b"host"])).map(b", ".join),
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % pair for pair in draw(st.lists(fields | wishes, max_size=5)))
    length = draw(st.sampled_from([b"", b"Content-Length: 3\r\n"]))
    version = draw(st.sampled_from([b"1.0", b"1.1"]))
    return b"POST /p HTTP/%b\r\nHost: h\r\n%b%b\r\n" % (version, lines, length)


@given(
    heads(),
    st.lists(header_rules(), max_size=4),
    st.sampled_from(MODES),
    st.booleans(),
)
def test_what_the_server_gets_is_framed_as_what_came(
    raw: bytes, rules: list[HeaderRule], mode: HttpConnection | None, is_told: bool
) -> None:
    frontend = HttpOptions(
        connection=mode,
        request_rules=tuple(rules),
        forwardfor=AddressField() if is_told else None,
    )
    before = RequestHead(raw)
    made = Rewriting(frontend, NONE).request(before, ORIGIN)
    assert isinstance(made, bytes)
    assert request_end(made) == len(made)
    after: RequestHead = RequestHead(made)
    assert (after.length, after.is_http10) == (before.length, before.is_http10)
    assert (after.method, after.target) == (before.method, before.target)
    if is_told:
        told = [value for name, value in after.fields() if name == b"x-forwarded-for"]
        assert told[-1] == b"192.0.2.7"
        assert b"x-forwarded-for" not in after.connection
