"""Who the clients are: from words and lists to addresses. No I/O.

    word                  means
    10.1.0.7              that address
    10.1.0.0/24           every host address of that network
    10.1.0.5-10.1.0.9     every address from the one to the other
    2001:db8::/120        IPv6 likewise

A list has one such word a line; ``#`` starts a comment. Whoever is named twice comes once, in the
place of the first time.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from dsbalance.errors import ConfigError, Problem
from dsbalance.haproxy.lexer import quoted

Address: TypeAlias = IPv4Address | IPv6Address

# A plan of so many takes some seconds, and a network that was meant is no larger: a /16 fits in.
MAX_CLIENTS = 100_000
# Whoever gives a wrong file has seen enough after so many lines.
_MAX_PROBLEMS = 20
_EXPECTED = "one is 10.1.0.7, a network 10.1.0.0/24, a range 10.1.0.5-10.1.0.9; or IPv6"


class ClientList:
    r"""Addresses, each once, in the order in which they were named.

    >>> clients = ClientList()
    >>> clients.add("10.1.0.0/30")
    >>> clients.add_lines("10.1.0.2\n10.1.0.9  # the lobby\n", "printers.txt")
    >>> print(*clients)
    10.1.0.1 10.1.0.2 10.1.0.9
    """

    __slots__ = ("_addresses",)

    def __init__(self, words: Iterable[str | Address] = ()) -> None:
        """Begin with ``words``; see :meth:`add`."""
        self._addresses: dict[Address, None] = {}
        for word in words:
            self.add(word)

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[Address]:
        return iter(self._addresses)

    def add(self, word: str | Address) -> None:
        """Take in an address, a network or a range.

        Raises:
            ConfigError: It is something else, or there are more than :data:`MAX_CLIENTS` now.
        """
        if not isinstance(word, str):
            self._addresses[word] = None
        elif "/" in word:
            self._add_network(word)
        elif "-" in word:
            self._add_range(word)
        else:
            self._addresses[_address(word)] = None
        if len(self) > MAX_CLIENTS:
            raise ConfigError(f"there are more than {MAX_CLIENTS:,} clients")

    def add_lines(self, text: str, filename: str) -> None:
        """Take in a list, a word a line.

        Raises:
            ConfigError: As :meth:`add`, with the lines that are wrong.
        """
        problems: list[Problem] = []
        # A byte-order mark is what some editors put before a text.
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            word = line.partition("#")[0].strip()
            if not word:
                continue
            try:
                self.add(word)
            except ConfigError as error:
                problems.append(Problem(str(error), file=filename, line=number))
                if len(problems) == _MAX_PROBLEMS or len(self) > MAX_CLIENTS:
                    break
        if problems:
            raise ConfigError(*problems)

    def _add_network(self, word: str) -> None:
        try:
            network = ipaddress.ip_network(word)
        except ValueError as error:
            has_host_bits = "host bits" in str(error)
            reason = "what stands behind its prefix has to be 0" if has_host_bits else _EXPECTED
            raise ConfigError(f"{quoted(word)} is not a network: {reason}") from None
        _demand_few(word, network.num_addresses)
        self._addresses.update(dict.fromkeys(network.hosts()))

    def _add_range(self, word: str) -> None:
        first, last = map(_address, word.split("-", 1))
        if type(first) is not type(last) or int(first) > int(last):
            raise ConfigError(f"{quoted(word)} is not a range: it does not end above its start")
        _demand_few(word, int(last) - int(first) + 1)
        make = type(first)
        numbers = range(int(first), int(last) + 1)
        self._addresses.update(dict.fromkeys(map(make, numbers)))


def text_of(address: Address) -> str:
    """Return an address as the system writes it; Python before 3.13 writes some otherwise.

    >>> text_of(ipaddress.ip_address("::ffff:a01:7"))
    '::ffff:10.1.0.7'
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}"


def is_client_word(word: str) -> bool:
    """Whether a word is meant as an address, network or range, be it right or wrong.

    >>> [word for word in ("10.1.0.0/33", "fe80::1-2", "LIST.txt", "./10") if is_client_word(word)]
    ['10.1.0.0/33', 'fe80::1-2']
    """
    digits = word.replace("/", "").replace("-", "").replace(".", "").replace(":", "")
    is_hexadecimal = bool(digits) and all(char in "0123456789abcdefABCDEF" for char in digits)
    is_numeric = is_hexadecimal and (":" in word or digits.isdecimal())
    return is_numeric and word[0] not in "./-"


def _address(word: str) -> Address:
    word = word.strip()
    if "%" in word:
        raise ConfigError(f"{quoted(word)} is not an address: a zone means nothing to a server")
    try:
        return ipaddress.ip_address(word)
    except ValueError:
        raise ConfigError(f"{quoted(word)} is not an address: {_EXPECTED}") from None


def _demand_few(word: str, count: int) -> None:
    if count > MAX_CLIENTS + 2:
        raise ConfigError(
            f"{quoted(word)} has {count:,} addresses, and a plan takes {MAX_CLIENTS:,} at the most"
        )
