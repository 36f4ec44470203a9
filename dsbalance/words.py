"""The words of a configuration that are one of several, as enumerations. No I/O.

Each member's value is HAProxy's word, so a text may stand for it wherever the model takes one.
:mod:`dsbalance.model` has them all too.
"""

from __future__ import annotations

import enum


class Balance(enum.StrEnum):
    """How a backend chooses among its servers, in the words of ``balance``."""

    ROUNDROBIN = "roundrobin"
    STATIC_RR = "static-rr"
    LEASTCONN = "leastconn"
    FIRST = "first"
    SOURCE = "source"
    RANDOM = "random"


class HashKind(enum.StrEnum):
    """How ``balance source`` turns a hash into a server, in the words of ``hash-type``."""

    MAP_BASED = "map-based"
    CONSISTENT = "consistent"


class StickAction(enum.StrEnum):
    """What a ``stick`` rule does with the table."""

    ON = "on"
    MATCH = "match"
    STORE_REQUEST = "store-request"


class TableType(enum.StrEnum):
    """What a stick table takes as a key. ``ip`` has no place for an IPv6 source."""

    IP = "ip"
    IPV6 = "ipv6"


class SrvKey(enum.StrEnum):
    """By what a stick table finds its servers again: ``srvkey``."""

    NAME = "name"
    ADDR = "addr"


class OnError(enum.StrEnum):
    """What follows when traffic has failed ``error-limit`` times in a row: ``on-error``."""

    FASTINTER = "fastinter"
    FAIL_CHECK = "fail-check"
    SUDDEN_DEATH = "sudden-death"
    MARK_DOWN = "mark-down"


class InitState(enum.StrEnum):
    """How a server starts, in the words of HAProxy 3.1's ``init-state``."""

    FULLY_UP = "fully-up"
    UP = "up"
    DOWN = "down"
    FULLY_DOWN = "fully-down"


class HashKey(enum.StrEnum):
    """What places a server on the ring: ``hash-key`` of HAProxy 3.0, the last two of 3.4."""

    ID = "id"
    ADDR = "addr"
    ADDR_PORT = "addr-port"
    ID32 = "id32"
    GUID = "guid"


class SendProxy(enum.StrEnum):
    """What a connection to a server starts with, to say whose it is."""

    V1 = "send-proxy"
    V2 = "send-proxy-v2"
