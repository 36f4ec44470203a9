"""Who the clients of a plan are: words, lists, and what is refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance import ConfigError
from dsbalance.client_list import MAX_CLIENTS, ClientList, is_client_word, text_of


def named(*words: str) -> list[str]:
    return list(map(str, ClientList(words)))


def lines(text: str) -> ClientList:
    clients = ClientList()
    clients.add_lines(text, "list.txt")
    return clients


@pytest.mark.parametrize(
    ("word", "addresses"),
    [
        ("10.1.0.7", ["10.1.0.7"]),
        ("10.1.0.0/30", ["10.1.0.1", "10.1.0.2"]),
        ("10.1.0.0/31", ["10.1.0.0", "10.1.0.1"]),
        ("10.1.0.7/32", ["10.1.0.7"]),
        ("10.1.0.254-10.1.1.1", ["10.1.0.254", "10.1.0.255", "10.1.1.0", "10.1.1.1"]),
        ("10.1.0.7-10.1.0.7", ["10.1.0.7"]),
        ("10.1.0.1 - 10.1.0.2", ["10.1.0.1", "10.1.0.2"]),
        ("2001:db8::7", ["2001:db8::7"]),
        ("2001:db8::/126", ["2001:db8::1", "2001:db8::2", "2001:db8::3"]),
        ("::ffff-::1:0", ["::ffff", "::1:0"]),
    ],
)
def test_a_word_stands_for_addresses(word: str, addresses: list[str]) -> None:
    assert named(word) == addresses


def test_whoever_is_named_twice_comes_once_in_the_first_place() -> None:
    assert named("10.1.0.2", "10.1.0.0/30", "10.1.0.1") == ["10.1.0.2", "10.1.0.1"]


def test_addresses_may_be_objects() -> None:
    address = ipaddress.ip_address("10.1.0.7")
    assert list(ClientList([address])) == [address]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("10.1.0.0/33", "is not a network: one is 10.1.0.7"),
        ("10.1.0.7/24", "behind its prefix has to be 0"),
        ("10.1.0.256", "is not an address"),
        ("printer", "is not an address"),
        ("", "'' is not an address"),
        ("fe80::1%eth0", "a zone means nothing"),
        ("10.1.0.9-10.1.0.1", "does not end above its start"),
        ("10.1.0.9-::ffff:0:1", "does not end above its start"),
        ("10.1.0.9-", "'' is not an address"),
        ("10.1.0.1-10.1.0.5-10.1.0.9", "is not an address"),
        ("10.0.0.0/8", "has 16,777,216 addresses, and a plan takes 100,000"),
        ("2001:db8::/64", "has 18,446,744,073,709,551,616 addresses"),
        ("10.0.0.0-10.255.0.0", "has 16,711,681 addresses"),
    ],
)
def test_what_is_no_client_is_refused_with_the_reason(word: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClientList([word])
    assert reason in str(caught.value)


def test_there_may_be_as_many_as_a_network_of_16_bits_has_but_not_without_end() -> None:
    clients = ClientList(["10.1.0.0/16"])
    assert len(clients) == 65_534 < MAX_CLIENTS
    with pytest.raises(ConfigError, match="more than 100,000 clients"):
        clients.add("10.2.0.0/16")


@pytest.mark.parametrize("text", ["10.1.0.7", "::ffff:10.1.0.7", "2001:db8::7", "::1"])
def test_an_address_is_written_as_the_system_writes_it(text: str) -> None:
    assert text_of(ipaddress.ip_address(text)) == text


@given(st.integers(0, 2**32 - 301), st.integers(0, 300))
def test_a_range_has_every_address_from_the_one_to_the_other(first: int, more: int) -> None:
    ends = (ipaddress.IPv4Address(first), ipaddress.IPv4Address(first + more))
    found = [int(address) for address in ClientList([f"{ends[0]}-{ends[1]}"])]
    assert found == list(range(first, first + more + 1))


def test_a_list_has_a_word_a_line_and_comments() -> None:
    clients = lines("\ufeff10.1.0.1\r\n\n# floor 2\n  10.1.0.4-10.1.0.5  # the lobby\n10.1.0.1")
    assert list(map(str, clients)) == ["10.1.0.1", "10.1.0.4", "10.1.0.5"]


def test_a_list_names_every_line_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        lines("10.1.0.1\nx\n10.1.0.2\n10.1.0.3 10.1.0.4\n")
    assert [(p.file, p.line) for p in caught.value.problems] == [("list.txt", 2), ("list.txt", 4)]


def test_a_list_that_is_all_wrong_is_soon_given_up() -> None:
    with pytest.raises(ConfigError) as caught:
        lines("x\n" * 1000)
    assert len(caught.value.problems) == 20


def test_a_list_that_is_too_long_says_so_once() -> None:
    with pytest.raises(ConfigError) as caught:
        lines("10.1.0.0/16\n10.2.0.0/16\n10.3.0.0/16\nx\n")
    (problem,) = caught.value.problems
    assert str(problem) == "list.txt:2: there are more than 100,000 clients"


@pytest.mark.parametrize(
    ("word", "is_client"),
    [
        ("10.1.0.7", True),
        ("10.1.0.0/33", True),
        ("10.1.0.5-9", True),
        ("fe80::1", True),
        ("::/64", True),
        ("list.txt", False),
        ("./10.1", False),
        ("-", False),
        ("", False),
        ("cafe", False),
        ("/10", False),
    ],
)
def test_a_word_is_meant_as_a_client_or_as_the_name_of_a_file(word: str, is_client: bool) -> None:
    assert is_client_word(word) is is_client
