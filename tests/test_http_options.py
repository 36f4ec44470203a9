"""Values of HTTP mode are refused where they are made, and a text says what is put into it."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.errors import ConfigError
from dsbalance.http_options import (
    DENY_STATUSES,
    REDIRECT_STATUSES,
    AddressField,
    Deny,
    HeaderAction,
    HeaderRule,
    HttpConnection,
    HttpOptions,
    Redirect,
    Sample,
    read_template,
    write_template,
)

SET, ADD, DEL = HeaderAction


def setting(value: str | Sample = "x", name: str = "X-A", **words: object) -> HeaderRule:
    return HeaderRule(action=SET, name=name, value=(value,), **words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AddressField(name=""), "the name of a field is a token of RFC 9110, not ''"),
        (lambda: AddressField(name="X Y"), "the name of a field is a token of RFC 9110"),
        (lambda: AddressField(name="X\r\nY"), "the name of a field is a token of RFC 9110"),
        (lambda: AddressField(name="Connection"), "Connection cannot be set: it says where"),
        (lambda: AddressField(name="HOST"), "a second Host would be another request"),
        (
            lambda: AddressField(exception="10.0.0.0/8"),  # type: ignore[arg-type]
            "except wants a network, not '10.0.0.0/8'",
        ),
        (lambda: setting(name="X:"), "the name of a field is a token of RFC 9110, not 'X:'"),
        (lambda: setting(name=7), "the name of a field is a token of RFC 9110, not 7"),  # type: ignore[arg-type]
        (lambda: setting(name="content-length"), "content-length cannot be set"),
        (lambda: setting(name="Transfer-Encoding"), "Transfer-Encoding cannot be set"),
        (lambda: setting(name="Upgrade"), "Upgrade cannot be set"),
        (lambda: HeaderRule(action=DEL, name="Connection"), "Connection cannot be set"),
        (lambda: HeaderRule(action=ADD, name="Host", value=("x",)), "a second Host would be"),
        (lambda: setting("a b", name="Host"), "a Host is made of letters, digits and"),
        (lambda: setting("a/b", name="HOST"), "a Host is made of letters, digits and"),
        (lambda: setting("é", name="host"), "a Host is made of letters, digits and"),
        (lambda: HeaderRule(action=SET, name="X"), "the value of X is empty"),
        (lambda: setting(""), "the value of X-A is empty"),
        (lambda: setting("a\nb"), "the value of X-A has the control character '\\n'"),
        (lambda: setting("a\rb"), "the value of X-A has the control character '\\r'"),
        (lambda: setting("a\0b"), "the value of X-A has the control character '\\x00'"),
        (lambda: setting("a\tb"), "the value of X-A has the control character '\\t'"),
        (lambda: setting("a\x7f"), "the value of X-A has the control character '\\x7f'"),
        (lambda: setting("\udc80"), "the value of X-A is no text"),
        (lambda: HeaderRule(action=DEL, name="X", value=("x",)), "del-header takes no value"),
        (
            lambda: HeaderRule(action="drop", name="X"),  # type: ignore[arg-type]
            "action must be one of set-header, add-header, del-header, not 'drop'",
        ),
        (lambda: Deny(status=418), "the status of deny must be one of 200, 400, 401"),
        (lambda: Deny(status=True), "the status of deny must be one of"),
        (lambda: Deny(status=403.0), "the status of deny must be one of"),  # type: ignore[arg-type]
        (Redirect, "redirect wants a scheme or a location, and not both"),
        (lambda: Redirect(scheme="https", location=("/",)), "redirect wants a scheme or"),
        (lambda: Redirect(scheme="ht tp"), "a scheme is made of letters, digits and '+-.', not"),
        (lambda: Redirect(scheme=""), "a scheme is made of letters"),
        (lambda: Redirect(location=()), "the location is empty"),
        (lambda: Redirect(location=("/\r\nX: y",)), "the location has the control character"),
        (lambda: Redirect(scheme="https", status=304), "must be one of 301, 302, 303, 307, 308"),
        (
            lambda: HttpOptions(connection="close"),  # type: ignore[arg-type]
            "connection must be one of http-keep-alive, http-server-close, httpclose",
        ),
        (lambda: HttpOptions(timeout_request=0), "timeout_request must be above 0"),
        (lambda: HttpOptions(timeout_keep_alive=-1), "timeout_keep_alive must be above 0"),
        (lambda: HttpOptions(originalto=AddressField(is_if_none=True)), "has no if-none"),
        (lambda: HttpOptions(monitor_uri=""), "monitor_uri is a target without spaces, not ''"),
        (lambda: HttpOptions(monitor_uri="/a b"), "monitor_uri is a target without spaces"),
        (lambda: HttpOptions(monitor_uri="/é"), "monitor_uri is a target without spaces"),
        (lambda: HttpOptions(error_files=((418, "f"),)), "the status of an error file must be"),
        (lambda: HttpOptions(error_files=((503, ""),)), "the error file of 503 has no path"),
        (
            lambda: HttpOptions(error_files=((503, "a"), (503, "b"))),
            "the error file of '503' is given 2 times",
        ),
        *(
            (lambda path=path: HttpOptions(metrics=(path,)), "metrics are answered at a path")
            for path in ("", "metrics", "/a?b", "/a b", "/é")
        ),
        (lambda: HttpOptions(metrics=("/a", "/a")), "the path of metrics '/a' is given 2 times"),
    ],
)
def test_what_is_wrong_is_refused_where_it_is_made(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


def test_what_is_right_is_taken() -> None:
    made = HttpOptions(
        connection="httpclose",  # type: ignore[arg-type]
        forwardfor=AddressField(
            name="X-Client", exception=ip_network("2001:db8::/32"), is_if_none=True
        ),
        originalto=AddressField(exception=ip_network("127.0.0.0/8")),
        request_rules=(
            setting("é ~"),
            setting(Sample.SRC, name="Host"),
            setting("print.example.com:5012", name="Host"),
            setting("[2001:db8::1]", name="Host"),
            HeaderRule(action="del-header", name="X-Forwarded-For"),  # type: ignore[arg-type]
            *(Deny(status=status) for status in DENY_STATUSES),
            *(Redirect(scheme="https", status=status) for status in REDIRECT_STATUSES),
            Redirect(location=("/at/", Sample.DST)),
        ),
        timeout_request=10,
        timeout_keep_alive=0.5,
        monitor_uri="/alive?now",
        error_files=((503, "a"), (502, "a")),
        metrics=("/", "/metrics", "/a#b"),
    )
    assert made.connection is HttpConnection.CLOSE
    assert isinstance(made.request_rules[4], HeaderRule)
    assert made.request_rules[4].action is DEL


def test_what_is_not_said_changes_nothing() -> None:
    assert HttpOptions() == HttpOptions(connection=None, error_files=(), request_rules=())
    assert AddressField() == AddressField(name=None, exception=None, is_if_none=False)


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("%[src]", (Sample.SRC,)),
        ("%[src_port]%[dst]%[dst_port]", (Sample.SRC_PORT, Sample.DST, Sample.DST_PORT)),
        ("%ci:%cp", (Sample.SRC, ":", Sample.SRC_PORT)),
        ("%fi-%fp", (Sample.DST, "-", Sample.DST_PORT)),
        ("100%%", ("100%",)),
        ("%%%%", ("%%",)),
        ("a%%b%cic", None),
        ("a%%b%ci c", ("a%b", Sample.SRC, " c")),
        ("é%%[src]", ("é%[src]",)),
    ],
)
def test_a_text_says_what_is_put_into_it(text: str, template: object) -> None:
    if template is None:
        with pytest.raises(ConfigError):
            read_template(text)
    else:
        assert read_template(text) == template


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("%", "%"),
        ("100%", "%"),
        ("% x", "%"),
        ("%é", "%"),
        ("%xyz-", "%xyz"),
        ("%cix", "%cix"),
        ("%{+Q}ci", "%{+Q}ci"),
        ("%[SRC]", "%[SRC]"),
        ("%[ src ]", "%[ src ]"),
        ("%[src,lower]", "%[src,lower]"),
        ("a %[src", "%[src"),
        ("%%%", "%"),
    ],
)
def test_what_cannot_be_put_into_a_text_is_told_with_what_can(text: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_template(text)
    assert str(caught.value) == (
        f"{wrong} is none of %[src], %[src_port], %[dst], %[dst_port], %ci, %cp, %fi, %fp and %%"
    )


texts = st.text(max_size=6).filter(bool)


@given(st.lists(st.sampled_from(Sample) | texts))
def test_a_template_that_is_written_is_read_back(parts: list[str | Sample]) -> None:
    # Two texts in a row are one when they are read.
    template: list[str | Sample] = []
    for part in parts:
        if template and not isinstance(part, Sample) and not isinstance(template[-1], Sample):
            template[-1] += part
        else:
            template.append(part)
    assert read_template(write_template(tuple(template))) == tuple(template)


@given(st.text(alphabet="%[]{}srcdtifp_ x+Q"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        template = read_template(text)
    except ConfigError:
        return
    assert read_template(write_template(template)) == template
