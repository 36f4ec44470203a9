"""Fields that are removed, added and told, as bytes; whole heads are in the golden plays."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.http1 import RequestHead
from dsbalance.http_fields import (
    NEEDED,
    OWN,
    Addresses,
    Edit,
    Origin,
    filled,
    lines_of,
    plain,
    response_line,
    sifted,
)
from dsbalance.http_options import (
    AddressField,
    HeaderAction,
    HeaderRule,
    HttpOptions,
    Sample,
    Template,
)

HEAD = b"GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nB: 2\r\nx-a: 3\r\n\r\n"
NEW = RequestHead(b"GET / HTTP/1.1\r\n\r\n")
OLD = RequestHead(b"GET / HTTP/1.0\r\n\r\n")


class Nothing:
    """What conditions look at where there are none."""

    source = b""
    dst_port = 0
    sc0_conn_cur = None
    sc0_conn_rate = None

    def nbsrv(self, backend: str | None) -> int | None:
        return None


def origin(source: str = "192.0.2.7", destination: str = "198.51.100.1") -> Origin:
    return Origin(
        source=source,
        source_port=4711,
        destination=destination,
        destination_port=5012,
        facts=Nothing(),
    )


def edited(head: bytes, action: HeaderAction, name: str, value: Template = ()) -> bytes:
    return Edit(HeaderRule(action=action, name=name, value=value)).apply(head, origin())


# --- rules ---------------------------------------------------------------------------------------


def test_what_is_set_is_there_once_and_last() -> None:
    made = edited(HEAD, HeaderAction.SET, "X-A", ("new",))
    assert made == b"GET /a HTTP/1.1\r\nHost: h\r\nB: 2\r\nx-a: new\r\n\r\n"


def test_what_is_added_leaves_what_is_there() -> None:
    made = edited(HEAD, HeaderAction.ADD, "X-A", (Sample.SRC, ":", Sample.SRC_PORT))
    assert made == HEAD[:-2] + b"x-a: 192.0.2.7:4711\r\n\r\n"


def test_what_is_deleted_is_gone_however_it_is_written() -> None:
    made = edited(HEAD, HeaderAction.DEL, "x-A")
    assert made == b"GET /a HTTP/1.1\r\nHost: h\r\nB: 2\r\n\r\n"


def test_a_rule_leaves_fields_that_only_begin_alike() -> None:
    head = b"GET /x-a: HTTP/1.1\r\nX-AB: x-a: 1\r\nX: \r\n\r\n"
    assert edited(head, HeaderAction.DEL, "X-A") == head


@pytest.mark.parametrize("action", [HeaderAction.SET, HeaderAction.DEL])
def test_what_reads_as_the_name_behind_cgi_goes_with_it(action: HeaderAction) -> None:
    head = b"GET / HTTP/1.1\r\nX_Real-IP: 1\r\nX-Real_IP: 2\r\nx-real-ip: 3\r\nXaReal-IP: 4\r\n\r\n"
    value = () if action is HeaderAction.DEL else ("5",)
    added = b"" if action is HeaderAction.DEL else b"x-real-ip: 5\r\n"
    made = edited(head, action, "X-Real-IP", value)
    assert made == b"GET / HTTP/1.1\r\nXaReal-IP: 4\r\n" + added + b"\r\n"


@pytest.mark.parametrize(
    ("target", "becomes"),
    [
        (b"/a?b=http://x/", b"/a?b=http://x/"),
        (b"http://old:80/a?b", b"http://new/a?b"),
        (b"http://old", b"http://new"),
        (b"http://old?b", b"http://new?b"),
        (b"*", b"*"),
        (b"old:80", b"old:80"),
    ],
)
def test_a_host_that_is_set_is_that_of_the_target_too(target: bytes, becomes: bytes) -> None:
    head = b"GET %b HTTP/1.1\r\nHost: old\r\n\r\n"
    made = edited(head % target, HeaderAction.SET, "Host", ("new",))
    assert made == b"GET %b HTTP/1.1\r\nhost: new\r\n\r\n" % becomes


def test_a_text_is_filled_with_what_is_known_of_the_client() -> None:
    template = (Sample.SRC, " ", Sample.SRC_PORT, " é ", Sample.DST, " ", Sample.DST_PORT)
    assert filled(template, origin()) == "192.0.2.7 4711 é 198.51.100.1 5012".encode()
    assert filled((), origin()) == b""


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%a\r\nX: y", "fe80::1"),
        ("", ""),
        ("1.2.3.4\r\n", ""),
        ("/run/socket", ""),
    ],
)
def test_an_address_can_be_nothing_else(address: str, written: str) -> None:
    assert plain(address) == written


# --- addresses -----------------------------------------------------------------------------------


def told(
    frontend: AddressField | None,
    backend: AddressField | None = None,
    *,
    head: bytes = HEAD,
    source: str = "192.0.2.7",
) -> bytes:
    """Return the lines of ``option forwardfor`` on two levels."""
    made = Addresses(HttpOptions(forwardfor=frontend), HttpOptions(forwardfor=backend))
    return made.lines(head, origin(source))


PLAIN = AddressField()
NAMED = AddressField(name="X-Client")
LOCAL = AddressField(exception=ip_network("192.0.2.0/24"))
OTHER = AddressField(exception=ip_network("10.0.0.0/8"))
ONCE = AddressField(is_if_none=True)
FORGED = b"GET / HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    ("frontend", "backend", "line"),
    [
        (None, None, b""),
        (PLAIN, None, b"x-forwarded-for: 192.0.2.7\r\n"),
        (None, PLAIN, b"x-forwarded-for: 192.0.2.7\r\n"),
        (PLAIN, PLAIN, b"x-forwarded-for: 192.0.2.7\r\n"),
        (NAMED, None, b"x-client: 192.0.2.7\r\n"),
        (NAMED, PLAIN, b"x-forwarded-for: 192.0.2.7\r\n"),
        (PLAIN, NAMED, b"x-client: 192.0.2.7\r\n"),
        (LOCAL, None, b""),
        (LOCAL, PLAIN, b""),
        (PLAIN, LOCAL, b""),
        (OTHER, PLAIN, b"x-forwarded-for: 192.0.2.7\r\n"),
        (LOCAL, OTHER, b""),
    ],
)
def test_the_clients_address_is_told_once(
    frontend: AddressField | None, backend: AddressField | None, line: bytes
) -> None:
    assert told(frontend, backend) == line


@pytest.mark.parametrize(
    ("frontend", "backend", "is_added"),
    [
        (ONCE, None, False),
        (None, ONCE, False),
        (ONCE, ONCE, False),
        (ONCE, PLAIN, True),
        (PLAIN, ONCE, True),
        (PLAIN, None, True),
    ],
)
def test_it_is_left_out_only_where_every_level_says_so(
    frontend: AddressField | None, backend: AddressField | None, is_added: bool
) -> None:
    assert bool(told(frontend, backend, head=FORGED)) is is_added
    assert told(frontend, backend), "nobody has told it"


def test_a_field_that_merely_resembles_it_does_not_stand_for_it() -> None:
    head = b"GET / HTTP/1.1\r\nX_Forwarded_For: 1\r\nA: X-Forwarded-For: 2\r\n\r\n"
    assert told(ONCE, head=head) == b"x-forwarded-for: 192.0.2.7\r\n"


def test_an_ipv6_client_is_told_and_excepted_by_networks_of_its_own() -> None:
    assert told(LOCAL, source="2001:db8::1") == b"x-forwarded-for: 2001:db8::1\r\n"
    own = AddressField(exception=ip_network("2001:db8::/32"))
    assert told(own, source="2001:db8::1") == b""
    assert told(own) == b"x-forwarded-for: 192.0.2.7\r\n"
    # An IPv4 network does not have the IPv6 form of its addresses, with HAProxy either.
    assert told(LOCAL, source="::ffff:192.0.2.7") == b"x-forwarded-for: ::ffff:192.0.2.7\r\n"


def test_what_is_no_address_is_not_told() -> None:
    assert told(PLAIN, source="") == b""
    assert told(PLAIN, source="1\r\nX: y") == b""


def test_where_the_client_came_to_is_told_behind_who_it_is() -> None:
    made = Addresses(
        HttpOptions(originalto=AddressField(exception=ip_network("10.0.0.1"))),
        HttpOptions(forwardfor=PLAIN),
    )
    assert made.names == {b"x-forwarded-for", b"x-original-to"}
    lines = b"x-forwarded-for: 192.0.2.7\r\nx-original-to: 198.51.100.1\r\n"
    assert made.lines(HEAD, origin()) == lines
    excepted = origin(destination="10.0.0.1")
    assert made.lines(HEAD, excepted) == b"x-forwarded-for: 192.0.2.7\r\n"


# --- connection ----------------------------------------------------------------------------------


def listed(*values: bytes) -> bytes:
    lines = b"".join(b"Connection: %b\r\n" % value for value in values)
    return b"GET / HTTP/1.1\r\nA: connection: close\r\n" + lines + b"B: c\r\n\r\n"


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ((b"close",), ()),
        ((b"Keep-Alive, CLOSE",), ()),
        ((b"keep-alive", b"close"), ()),
        ((b"Upgrade",), (b"Upgrade",)),
        ((b"keep-alive, Upgrade",), (b"Upgrade",)),
        ((b" X-Foo ,close,, Bar",), (b"X-Foo, Bar",)),
        ((b"close", b"Foo"), (b"Foo",)),
        ((b"Content-Length, host, Foo, Transfer-Encoding",), (b"Foo",)),
        ((b"closed",), (b"closed",)),
    ],
)
def test_the_tokens_of_one_connection_go_no_further(
    values: tuple[bytes, ...], left: tuple[bytes, ...]
) -> None:
    raw = listed(*values)
    tokens = RequestHead(raw).connection
    made = sifted(raw, tokens, OWN | NEEDED)
    assert made.replace(b"\r\nconnection", b"\r\nConnection") == listed(*left)


tokens = st.sampled_from([b"close", b"Keep-Alive", b"upgrade", b"X-A", b"Host", b""])
values = st.lists(st.lists(tokens).map(b" , ".join), max_size=3)


@given(values)
def test_all_other_tokens_and_fields_stay(values: list[bytes]) -> None:
    raw = listed(*values)
    before = RequestHead(raw)
    after = RequestHead(sifted(raw, before.connection, OWN | NEEDED))
    assert after.connection == before.connection - OWN - NEEDED
    others = [field for field in before.fields() if field[0] != b"connection"]
    assert [field for field in after.fields() if field[0] != b"connection"] == others


@pytest.mark.parametrize(
    ("request_head", "keeps_client", "is_http10", "line"),
    [
        (NEW, True, False, b""),
        (NEW, False, False, b"connection: close\r\n"),
        (OLD, True, False, b"connection: keep-alive\r\n"),
        (OLD, False, False, b"connection: close\r\n"),
        (NEW, True, True, b"connection: keep-alive\r\n"),
        (NEW, False, True, b""),
        (OLD, True, True, b"connection: keep-alive\r\n"),
        (OLD, False, True, b""),
        (None, False, False, b"connection: close\r\n"),
        (None, True, False, b""),
    ],
)
def test_a_response_says_of_the_connection_what_its_version_does_not(
    request_head: object, keeps_client: bool, is_http10: bool, line: bytes
) -> None:
    made = response_line(request_head, keeps_client=keeps_client, is_http10=is_http10)  # type: ignore[arg-type]
    assert made == line


def test_a_field_is_found_by_its_name_however_it_is_written() -> None:
    found = lines_of(b"x.a").findall(b"GET / HTTP/1.1\r\nX.A: 1\r\nxya: 2\r\nx.a:3\r\n\r\n")
    assert found == [b" 1", b"3"]
    assert isinstance(lines_of(b"+"), re.Pattern)
