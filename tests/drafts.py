"""Strategies for what a configuration says of heads, doors and routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from hypothesis import strategies as st

from dsbalance import conditions
from dsbalance.conditions import Condition, Fetch, Network, Term
from dsbalance.door import BackendRule, DoorAction, DoorRule
from dsbalance.haproxy.access_words import PREDEFINED
from dsbalance.haproxy.lexer import MAX_INTEGER
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
    Template,
)
from dsbalance.log_options import (
    BackendLog,
    Facility,
    FrontendLog,
    LineFormat,
    LogFormat,
    LogTarget,
    Severity,
)
from dsbalance.model import Config
from dsbalance.stats_options import Level, StatsPage, StatsSocket

Draw = Callable[[st.SearchStrategy[Any]], Any]

# Field names may have signs that a file has a meaning for.
fields = st.from_regex(r"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,6}", fullmatch=True) | st.just("if")
words = st.text(st.sampled_from("abé \"'#\\$%[]{}"), min_size=1, max_size=8)
times = st.integers(1, 1_000).map(float)
numbers = st.integers(0, 100) | st.just(MAX_INTEGER)
names = st.from_regex(r"[A-Za-z0-9_.:-]{1,8}", fullmatch=True)
nodes = st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True)
uris = st.text(st.sampled_from("ab/?;=\"'#\\$%{}"), max_size=8).map("/{}".format)
EVERYBODY = Condition(alternatives=((PREDEFINED["TRUE"],),))


@st.composite
def networks(draw: Draw) -> Network:
    address = draw(st.ip_addresses())
    return ip_network(f"{address}/{draw(st.integers(0, address.max_prefixlen))}", strict=False)


@st.composite
def ranges(draw: Draw) -> tuple[int | None, int | None]:
    low = draw(st.none() | numbers)
    high = draw(st.integers(low or 0, MAX_INTEGER) | st.just(low or 0))
    return low, high if low is None else draw(st.sampled_from([high, low, None]))


@st.composite
def tests(draw: Draw, backends: Sequence[str]) -> conditions.Look:
    fetch = draw(st.sampled_from([each for each in Fetch if backends or each is not Fetch.NBSRV]))
    if fetch is Fetch.SRC:
        found = draw(st.lists(networks(), min_size=1, max_size=3))
        return conditions.Look(fetch=fetch, networks=tuple(found))
    return conditions.Look(
        fetch=fetch,
        ranges=tuple(draw(st.lists(ranges(), min_size=1, max_size=3))),
        backend=draw(st.sampled_from(backends)) if fetch is Fetch.NBSRV else None,
    )


@st.composite
def terms(draw: Draw, backends: Sequence[str]) -> list[Term]:
    """Draw what the conditions of one section are made of."""
    names = draw(st.lists(st.from_regex(r"x[A-Za-z0-9_.:-]{0,3}", fullmatch=True), unique=True))
    found = [
        Term(tests=tuple(draw(st.lists(tests(backends), min_size=1, max_size=3))), name=name)
        for name in names
    ]
    found += (Term(tests=(draw(tests(backends)),)) for _ in range(draw(st.integers(0, 2))))
    return [*found, *PREDEFINED.values()]


@st.composite
def condition(draw: Draw, known: Sequence[Term]) -> Condition | None:
    if draw(st.booleans()):
        return None
    turned = st.sampled_from(known).flatmap(
        lambda term: st.sampled_from(
            [term, Term(tests=term.tests, name=term.name, is_negated=not term.is_negated)]
        )
    )
    alternatives = draw(st.lists(st.lists(turned, min_size=1, max_size=3), min_size=1, max_size=2))
    return Condition(alternatives=tuple(map(tuple, alternatives)), is_unless=draw(st.booleans()))


@st.composite
def templates(draw: Draw) -> Template:
    """Draw a text as it is read: pieces of text do not stand side by side."""
    pieces: list[str | Sample] = []
    for piece in draw(st.lists(words | st.sampled_from(Sample), min_size=1, max_size=4)):
        if pieces and not isinstance(piece, Sample) and not isinstance(pieces[-1], Sample):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces)


@st.composite
def header_rules(draw: Draw, known: Sequence[Term]) -> HeaderRule:
    action = draw(st.sampled_from(HeaderAction))
    return HeaderRule(
        action=action,
        name=draw(fields),
        value=() if action is HeaderAction.DEL else draw(templates()),
        condition=draw(condition(known)),
    )


@st.composite
def denials(draw: Draw, known: Sequence[Term]) -> Deny:
    return Deny(status=draw(st.sampled_from(DENY_STATUSES)), condition=draw(condition(known)))


@st.composite
def redirects(draw: Draw, known: Sequence[Term]) -> Redirect:
    location = draw(st.none() | templates())
    return Redirect(
        scheme="https" if location is None else None,
        location=location,
        status=draw(st.sampled_from(REDIRECT_STATUSES)),
        condition=draw(condition(known)),
    )


@st.composite
def address_fields(draw: Draw, has_if_none: bool) -> AddressField:
    return AddressField(
        name=draw(st.none() | fields),
        exception=draw(st.none() | networks()),
        is_if_none=has_if_none and draw(st.booleans()),
    )


@st.composite
def http_options(
    draw: Draw, known: Sequence[Term], paths: st.SearchStrategy[str], is_frontend: bool
) -> HttpOptions:
    """Draw what a section in ``mode http`` does, with rules made of the terms that are known."""
    heads, denied = header_rules(known), denials(known)
    pages = draw(st.dictionaries(st.sampled_from(DENY_STATUSES), paths, max_size=2))
    return HttpOptions(
        connection=draw(st.none() | st.sampled_from(HttpConnection)),
        forwardfor=draw(st.none() | address_fields(has_if_none=True)),
        originalto=draw(st.none() | address_fields(has_if_none=False)),
        request_rules=tuple(draw(st.lists(heads | denied | redirects(known), max_size=3))),
        response_rules=tuple(draw(st.lists(heads | denied, max_size=2))),
        timeout_request=draw(st.none() | times),
        timeout_keep_alive=draw(st.none() | times),
        monitor_uri=draw(st.none() | st.just("/a#\"'\\$b")) if is_frontend else None,
        error_files=tuple(sorted(pages.items())),
        stats=draw(st.none() | stats_pages(known)),
        metrics=tuple(draw(st.lists(uris.map(lambda uri: uri.replace("?", "")), unique=True))),
    )


@st.composite
def stats_pages(draw: Draw, known: Sequence[Term]) -> StatsPage:
    users = draw(st.dictionaries(words, words | st.sampled_from(["", "a:b"]), max_size=2))
    admin = draw(st.just(True) | condition(known).map(lambda found: found or False))
    return StatsPage(
        uri=draw(uris | st.just("/haproxy?stats")),
        refresh=draw(st.none() | times),
        users=tuple(users.items()),
        realm=draw(words | st.just("HAProxy Statistics")),
        admin=admin == EVERYBODY or admin,
        hides_version=draw(st.booleans()),
        node=draw(st.none() | st.just("") | nodes),
        description=draw(st.none() | st.just("") | words),
        shows_legends=draw(st.booleans()),
        scope=tuple(draw(st.lists(st.just(".") | names, unique=True, max_size=2))),
    )


@st.composite
def sockets(draw: Draw) -> list[StatsSocket]:
    """Draw where the runtime API is spoken: no place twice."""
    paths = draw(st.lists(words.filter(lambda path: "/" not in path), unique=True, max_size=2))
    ports = draw(st.lists(st.integers(1, 65535), unique=True, max_size=2))
    places: list[dict[str, Any]] = [{"path": draw(st.sampled_from(["/", ""])) + p} for p in paths]
    places += ({"host": draw(st.just("") | st.ip_addresses().map(str)), "port": p} for p in ports)
    owners = st.none() | st.just("root") | st.integers(0, 2**31 - 1)
    return [
        StatsSocket(
            **place,
            mode=draw(st.integers(0, 0o7777)),
            user=draw(owners),
            group=draw(owners),
            level=draw(st.sampled_from(Level)),
        )
        for place in {(p.get("path"), p.get("port")): p for p in places}.values()
    ]


def log_targets() -> st.SearchStrategy[LogTarget]:
    places = st.just("127.0.0.1:514") | st.just("[::1]:5140") | words.map("/{}".format)
    return st.builds(
        LogTarget,
        address=places | st.sampled_from(["stdout", "stderr"]),
        facility=st.sampled_from(Facility),
        level=st.sampled_from(Severity),
        floor=st.sampled_from(Severity),
        format=st.sampled_from(LogFormat),
        length=st.integers(80, 65535),
    )


@st.composite
def target_lists(draw: Draw, common: Sequence[LogTarget]) -> tuple[LogTarget, ...]:
    """Draw where a section logs to, perhaps also to where the process does."""
    own = draw(st.lists(log_targets(), min_size=not common, max_size=2))
    return (*(common if not own or draw(st.booleans()) else ()), *own)


@st.composite
def frontend_logs(draw: Draw, common: Sequence[LogTarget], is_http: bool) -> FrontendLog:
    lines = [line for line in LineFormat if is_http or line is not LineFormat.HTTPLOG]
    return FrontendLog(
        targets=draw(target_lists(common)),
        line=draw(st.sampled_from(lines)),
        skips_null=draw(st.booleans()),
        skips_normal=draw(st.booleans()),
        raises_errors=draw(st.booleans()),
        tag=draw(st.none() | words),
    )


@st.composite
def backend_logs(draw: Draw, common: Sequence[LogTarget]) -> BackendLog:
    return BackendLog(
        targets=draw(target_lists(common)),
        tells_checks=draw(st.booleans()),
        tag=draw(st.none() | words),
    )


@st.composite
def doors(draw: Draw, known: Sequence[Term], tables: Sequence[str | None]) -> DoorRule:
    """Draw a rule of the door; ``tables`` are those that count connections."""
    actions = [each for each in DoorAction if tables or each is not DoorAction.TRACK]
    action = draw(st.sampled_from(actions))
    return DoorRule(
        action=action,
        condition=draw(condition(known)),
        table=draw(st.sampled_from(tables)) if action is DoorAction.TRACK else None,
    )


@st.composite
def routes(draw: Draw, known: Sequence[Term], backends: Sequence[str]) -> BackendRule:
    return BackendRule(backend=draw(st.sampled_from(backends)), condition=draw(condition(known)))


def unnumbered(config: Config) -> Config:
    """Return ``config`` without the ids of its proxies, which files have and values need not."""
    return replace(
        config,
        frontends=tuple(replace(frontend, id=None) for frontend in config.frontends),
        backends=tuple(replace(backend, id=None) for backend in config.backends),
    )
