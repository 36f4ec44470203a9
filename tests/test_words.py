"""The enumerations hold HAProxy's words."""

from __future__ import annotations

import pytest

from dsbalance.words import (
    Balance,
    HashKey,
    HashKind,
    InitState,
    OnError,
    SendProxy,
    SrvKey,
    StickAction,
    TableType,
)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Balance, "roundrobin static-rr leastconn first source random"),
        (HashKind, "map-based consistent"),
        (StickAction, "on match store-request"),
        (TableType, "ip ipv6"),
        (SrvKey, "name addr"),
        (OnError, "fastinter fail-check sudden-death mark-down"),
        (InitState, "fully-up up down fully-down"),
        (HashKey, "id addr addr-port id32 guid"),
        (SendProxy, "send-proxy send-proxy-v2"),
    ],
)
def test_a_member_is_written_as_haproxy_writes_it(kind: type[Balance | HashKey], text: str) -> None:
    assert " ".join(kind) == text
    assert [kind(word) for word in text.split()] == list(kind)
