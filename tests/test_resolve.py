"""From a host to an address."""

import socket

import pytest

from dsbalance.errors import ConnectError
from dsbalance.resolve import Target, resolve


def test_a_numeric_address_is_itself() -> None:
    assert resolve("127.0.0.9") == Target(socket.AF_INET, "127.0.0.9")
    assert resolve("127.0.0.9").address(5022) == ("127.0.0.9", 5022)


def test_an_ipv6_address_keeps_flow_and_scope() -> None:
    assert resolve("::1") == Target(socket.AF_INET6, "::1", (0, 0))
    assert resolve("::1").address(5022) == ("::1", 5022, 0, 0)


def test_no_host_is_every_ipv4_address_for_a_listener() -> None:
    assert resolve("", passive=True) == Target(socket.AF_INET, "0.0.0.0")


def test_a_name_is_looked_up() -> None:
    assert resolve("localhost").host in {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 64 + ".invalid"])
def test_a_name_that_nobody_knows_says_whose_it_is(host: str) -> None:
    with pytest.raises(ConnectError) as caught:
        resolve(host, "backend b, server s")
    assert str(caught.value).startswith(f"backend b, server s: {host}: ")
    assert caught.value.address == host
