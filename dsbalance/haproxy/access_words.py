"""The words that say who may come in and who goes where: ACLs, conditions, their rules. No I/O.

    written                           a test of what is fetched
    src 10.0.0.0/8 ::1                an address in one of the networks
    dst_port 80 443 8000:8080         a number in one of the ranges
    sc0_conn_cur gt 9                 the same, by an operator: it holds for all numbers after it
    nbsrv(backend) lt 1               how many servers of a backend are usable
    path /metrics                     the path of a request; for ``use-service`` alone

The lines of an ACL of one name are alternatives. HAProxy would add a line also to the conditions
above it; here it is refused once the ACL is in use.

Source: HAProxy 2.6 configuration manual, 4.2 and 7; where it is silent, HAProxy 2.6.12 was
observed.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from dsbalance.conditions import Condition, Fetch, Look, Network, Term
from dsbalance.door import BackendRule, DoorAction, DoorRule
from dsbalance.errors import ConfigError
from dsbalance.haproxy.keywords import Keyword
from dsbalance.haproxy.lexer import MAX_INTEGER, parse_integer, parse_time, quoted
from dsbalance.haproxy.sections import (
    Acl,
    Named,
    PlacedDoorRule,
    PlacedRoute,
    Rules,
    Section,
)
from dsbalance.haproxy.statement import Arguments
from dsbalance.http_options import HttpOptions
from dsbalance.validation import demand, identifier

Range = tuple[int | None, int | None]

_NETWORK = re.compile(r"(?P<address>[0-9A-Fa-f:.]+)(?:/(?P<mask>[0-9.]+))?")
_RANGE = re.compile(r"(?P<low>[0-9]*):(?P<high>[0-9]*)")
_NBSRV = re.compile(r"nbsrv(?:\((?P<backend>[^()]*)\))?")
_PATH = "path"
_FETCHES = "src, dst_port, sc0_conn_cur, sc0_conn_rate or nbsrv(BACKEND)"
_OR = ("or", "||")
# To find the nearest of hundreds of names takes milliseconds.
_FEW = 20

_EVERYWHERE = Look(
    fetch=Fetch.SRC,
    networks=(ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")),
)
_HERE = Look(
    fetch=Fetch.SRC,
    networks=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
)
PREDEFINED: Mapping[str, Term] = {
    # HAProxy has a fetch that always holds; that a client comes from somewhere does too.
    "TRUE": Term(name="TRUE", tests=(_EVERYWHERE,)),
    "FALSE": Term(name="TRUE", tests=(_EVERYWHERE,), is_negated=True),
    "LOCALHOST": Term(name="LOCALHOST", tests=(_HERE,)),
}


@functools.lru_cache(maxsize=64)
def parse_network(word: str) -> Network:
    """Return the network that ``word`` stands for; an address alone is one of a single address.

    The bits beyond the mask do not count.

    >>> parse_network("10.1.2.3/8"), parse_network("::1")
    (IPv4Network('10.0.0.0/8'), IPv6Network('::1/128'))

    Raises:
        ConfigError: It is something else; a name would have to be resolved.
    """
    match = _NETWORK.fullmatch(word)
    # A mask of Python's may also say which bits do not count.
    if match and not (match["mask"] and "." in match["mask"] and not _is_netmask(match["mask"])):
        try:
            return ipaddress.ip_network(word, strict=False)
        except ValueError:
            pass
    raise ConfigError(f"expects an address or a network, such as 10.0.0.0/8, not {quoted(word)}")


def _is_netmask(mask: str) -> bool:
    """Return whether the ones of a mask all stand before its zeros."""
    try:
        bits = int(ipaddress.IPv4Address(mask))
    except ValueError:
        return False
    return bits == 0 or bits | (bits - 1) == 2**32 - 1


def read_test(args: Arguments, section: Section) -> Look:
    """Return the test that the rest of ``args`` is: what is fetched, and its values.

    Raises:
        ConfigError: It is none of ours, or has no values, or wrong ones.
    """
    word = args.take(_FETCHES)
    backend = None
    if match := _NBSRV.fullmatch(word):
        fetch = Fetch.NBSRV
        backend = _counted(match["backend"], section, args)
    elif word in set(Fetch):
        fetch = Fetch(word)
    else:
        raise ConfigError(f"expects {_FETCHES}, not {quoted(word)}")
    values = _values(args, fetch, "ip" if fetch is Fetch.SRC else "int")
    if fetch is Fetch.SRC:
        return Look(fetch=fetch, networks=tuple(map(parse_network, values)))
    return Look(fetch=fetch, ranges=tuple(_ranges(values)), backend=backend)


def _counted(name: str | None, section: Section, args: Arguments) -> str:
    """Return the backend that is meant: without a name it is that of the section."""
    if not name:
        if not section.is_backend:
            raise ConfigError("nbsrv: expects the name of a backend: nbsrv(BACKEND)")
        name = section.name
    section.own_rules().counted.append(Named(name, args.place))
    return name


def _values(args: Arguments, fetch: str, usual: str) -> list[str]:
    """Return the words that are left, without the flags that change nothing."""
    values: list[str] = []
    while args:
        word = args.take("a value")
        if values or not word.startswith("-"):
            values.append(word)
        elif word == "-m":
            if (method := args.take(usual)) != usual:
                raise ConfigError(f"{fetch}: -m: expects {usual}, not {quoted(method)}")
        elif word not in {"-n", "--"}:
            raise ConfigError(f"{fetch}: {word} is refused: the values stand on the line itself")
    if not values:
        raise ConfigError(f"{fetch}: expects values")
    return values


def _ranges(values: list[str]) -> list[Range]:
    found: list[Range] = []
    operator: Callable[[str], Range] | None = None
    for value in values:
        if value in _OPERATORS:
            operator = _OPERATORS[value]
        else:
            found.append((operator or _range)(value))
    if not found or values[-1] in _OPERATORS:
        raise ConfigError(f"{values[-1]}: expects a number")
    return found


def _range(word: str) -> Range:
    """Return what ``N``, ``N:M``, ``N:`` or ``:M`` stands for."""
    match = _RANGE.fullmatch(word)
    if match is None or word == ":":
        number = parse_integer(word)
        return number, number
    low = parse_integer(match["low"]) if match["low"] else None
    high = parse_integer(match["high"]) if match["high"] else None
    if low is not None and high is not None and low > high:
        raise ConfigError(f"the range {quoted(word)} is empty")
    return low, high


def _equal(word: str) -> Range:
    number = parse_integer(word)
    return number, number


_OPERATORS: Mapping[str, Callable[[str], Range]] = {
    "eq": _equal,
    "ge": lambda word: (parse_integer(word), None),
    "gt": lambda word: (parse_integer(word, 0, MAX_INTEGER - 1) + 1, None),
    "le": lambda word: (None, parse_integer(word)),
    "lt": lambda word: (None, parse_integer(word, 1) - 1),
}


def read_condition(args: Arguments, section: Section) -> Condition | None:
    """Return what stands behind ``if`` or ``unless`` up to the end of the line; None: nothing does.

    Raises:
        ConfigError: Something else stands there, or an ACL that the lines above do not have.
    """
    if not args:
        return None
    word = args.take("if or unless")
    if word not in {"if", "unless"}:
        raise ConfigError(f"expects if, unless or nothing, not {quoted(word)}")
    alternatives: list[tuple[Term, ...]] = []
    terms: list[Term] = []
    while True:
        terms.append(_term(args, section))
        if not args:
            break
        if args.peek() in _OR:
            args.skip(1)
            alternatives.append(tuple(terms))
            terms = []
    return Condition(alternatives=(*alternatives, tuple(terms)), is_unless=word == "unless")


def _term(args: Arguments, section: Section) -> Term:
    """Return the next ACL; each ``!`` before it turns it round."""
    is_negated = False
    name = ""
    while not name:
        word = args.take("the name of an acl, or { TEST }")
        name = word.lstrip("!")
        is_negated ^= bool((len(word) - len(name)) % 2)
    if name == "{":
        term = Term(tests=(_anonymous(args, section),))
    else:
        term = _named(name, args, section.own_rules())
    return replace(term, is_negated=not term.is_negated) if is_negated else term


def read_paths(args: Arguments, section: Section) -> tuple[str, ...]:
    """Return the paths of ``if { path ... }``, or of ``if NAME`` with an ACL of that form.

    Raises:
        ConfigError: It says something else.
    """
    expected = "if { path /metrics }, one test of the path and nothing else"
    if args.take(expected) != "if":
        raise ConfigError(f"expects {expected}")
    name = args.take("{ path /metrics }")
    if name == "{":
        words: list[str] = []
        while (word := args.take("a word, and then }")) != "}":
            words.append(word)
        test = Arguments(args.keyword, words, args.place, args.report)
        if test.take(_PATH) != _PATH:
            raise ConfigError(f"expects {expected}")
        paths = _paths(test)
    else:
        paths = section.own_rules().paths.get(name, [])
    if args or not paths:
        raise ConfigError(f"expects {expected}")
    return tuple(paths)


def _paths(args: Arguments) -> list[str]:
    """Return the values of a test of the path."""
    paths = _values(args, _PATH, "str")
    for path in paths:
        HttpOptions(metrics=(path,))
    return paths


def _named(name: str, args: Arguments, rules: Rules) -> Term:
    """Return what a name stands for, which from now on is settled."""
    acls = rules.acls
    if name in rules.paths:
        raise ConfigError(f"{name} tests the path: only 'http-request use-service' may have it")
    if name in PREDEFINED and name not in acls:
        acls[name] = Acl(PREDEFINED[name])
    if name not in acls:
        message = f"there is no acl {quoted(name)} above"
        if len(acls) <= _FEW:
            message += args.report.suggestion(name, acls)
        raise ConfigError(message)
    acl = acls[name]
    if acl.term is None:
        acl.term = Term(name=name, tests=tuple(acl.tests))
    return acl.term


def _anonymous(args: Arguments, section: Section) -> Look:
    words: list[str] = []
    while (word := args.take("a word, and then }")) != "}":
        words.append(word)
    return read_test(Arguments(args.keyword, words, args.place, args.report), section)


def _acl(section: Section, args: Arguments) -> None:
    name = args.take("NAME and a test")
    demand(identifier(name))
    if name in _OR:
        raise ConfigError("'or' parts the alternatives of a condition; take another name")
    rules = section.own_rules()
    if args.peek() == _PATH and name not in rules.acls:
        args.skip(1)
        rules.paths.setdefault(name, []).extend(_paths(args))
        return
    if name in rules.paths:
        raise ConfigError(f"{name} tests the path above, and nothing else beside it")
    acl = rules.acls.setdefault(name, Acl())
    if acl.term is not None:
        raise ConfigError(f"{name} is in use above: all its lines have to stand before that")
    acl.tests.append(read_test(args, section))


def _tcp_request_connection(section: Section, args: Arguments) -> None:
    action = args.take(_ACTIONS)
    table = None
    if action == DoorAction.EXPECT_PROXY:
        if (layer := args.take("layer4")) != "layer4":
            raise ConfigError(f"{action}: expects layer4, not {quoted(layer)}")
    elif action == DoorAction.TRACK:
        if (key := args.take("src")) != "src":
            raise ConfigError(f"{action}: expects src, the client's address, not {quoted(key)}")
        if args.peek() == "table":
            args.skip(1)
            table = args.take("the name of the section that owns the table")
        elif section.is_backend:
            # That of a listen is its backend's.
            table = section.name
    elif action not in set(DoorAction):
        raise ConfigError(f"expects {_ACTIONS}, not {quoted(action)}")
    condition = read_condition(args, section)
    rule = DoorRule(action=DoorAction(action), condition=condition, table=table)
    section.own_rules().door.append(PlacedDoorRule(rule, args.place))


_ACTIONS = "accept, reject, track-sc0 src or expect-proxy layer4"


def _use_backend(section: Section, args: Arguments) -> None:
    name = args.take("the name of a backend")
    if "%" in name:
        raise ConfigError(f"expects the name of a backend, not a format: {quoted(name)}")
    rule = BackendRule(backend=name, condition=read_condition(args, section))
    section.own_rules().routes.append(PlacedRoute(rule, args.place))


ACCESS_WORDS: Mapping[str, Keyword] = {
    "acl": Keyword(sections="FLB", repeats=True, parse=_acl),
    "tcp-request connection": Keyword(sections="FL", repeats=True, parse=_tcp_request_connection),
    "use_backend": Keyword(sections="FL", repeats=True, parse=_use_backend),
}


class Counters:
    """What the ``store`` words of one ``stick-table`` line ask for."""

    __slots__ = ("conn_rate_period", "stores_conn_cur")

    def __init__(self) -> None:
        self.stores_conn_cur = False
        self.conn_rate_period: float | None = None

    def read(self, word: str) -> None:
        """Take a list such as ``conn_cur,conn_rate(10s)``.

        Raises:
            ConfigError: There is something else in it.
        """
        for item in word.removesuffix(",").split(","):
            if item == "conn_cur":
                self.stores_conn_cur = True
            elif match := _CONN_RATE.fullmatch(item):
                period = parse_time(match[1])
                if not period:
                    raise ConfigError("conn_rate: the period must be longer than 0")
                # HAProxy keeps the first one.
                self.conn_rate_period = self.conn_rate_period or period
            else:
                message = "store: expects conn_cur or conn_rate(PERIOD), not "
                raise ConfigError(message + quoted(item))


_CONN_RATE = re.compile(r"conn_rate\((.*)\)")
