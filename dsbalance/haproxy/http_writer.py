"""The lines of a haproxy.cfg for ``mode http``, and for who may come in and goes where. No I/O.

    said by                      written as
    a condition                  if or unless at the end of its rule
    an ACL with a name           acl lines above the rules, one for each of its tests
    an ACL without one           { TEST } in its condition
    redirects                    http-request redirect, in their place among the rules

What HAProxy has predefined is not written again. A test of more values than a line has room for is
written, and read back, as several.

Source: HAProxy 2.6 configuration manual, 4.2 and 7.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.door import DoorAction, DoorRule
from dsbalance.errors import ConfigError
from dsbalance.haproxy.access_words import PREDEFINED
from dsbalance.haproxy.lexer import MAX_WORDS, format_time, quote
from dsbalance.haproxy.stats_writer import metrics_lines, page_lines
from dsbalance.http_options import (
    AddressField,
    Deny,
    HeaderRule,
    HttpOptions,
    Redirect,
    RequestRule,
    ResponseRule,
    Template,
    write_template,
)
from dsbalance.model import Backend, Frontend
from dsbalance.references import rules_of
from dsbalance.validation import identifier

# What stands before the values on an `acl` line.
_ACL_WORDS = 3
_DENY_STATUS = {"http-request": 403, "http-response": 502}


def frontend_lines(frontend: Frontend) -> list[str]:
    """Return what a frontend says beyond bytes: its ACLs, its door, its HTTP rules, its routes.

    Raises:
        ConfigError: The language cannot say it.
    """
    door = [_ruled(_door(rule), rule.condition) for rule in frontend.door]
    routes = [_ruled(f"use_backend {rule.backend}", rule.condition) for rule in frontend.routes]
    conditions = [rule.condition for rule in frontend.door]
    conditions += [rule.condition for rule in frontend.routes]
    http = [] if frontend.http is None else list(_http_lines(frontend.http))
    acls = _acl_lines((*conditions, *_conditions(frontend.http)), f"frontend {frontend.name}")
    return [*acls, *door, *http, *routes]


def backend_lines(backend: Backend) -> list[str]:
    """Return what a backend says beyond bytes: its ACLs and its HTTP rules.

    Raises:
        ConfigError: The language cannot say it.
    """
    if backend.http is None:
        return []
    acls = _acl_lines(_conditions(backend.http), f"backend {backend.name}")
    return [*acls, *_http_lines(backend.http)]


def _conditions(http: HttpOptions | None) -> list[Condition | None]:
    return [rule.condition for rule in rules_of(http)]


def _http_lines(http: HttpOptions) -> Iterator[str]:
    if http.connection is not None:
        yield f"option {http.connection}"
    if http.forwardfor is not None:
        yield f"option forwardfor{_address_words(http.forwardfor)}"
    if http.originalto is not None:
        yield f"option originalto{_address_words(http.originalto)}"
    for word, seconds in (
        ("http-request", http.timeout_request),
        ("http-keep-alive", http.timeout_keep_alive),
    ):
        if seconds is not None:
            yield f"timeout {word} {format_time(seconds)}"
    if http.monitor_uri is not None:
        yield f"monitor-uri {quote(http.monitor_uri)}"
    for status, path in http.error_files:
        yield f"errorfile {status} {quote(path)}"
    for rule in http.request_rules:
        yield _http_line("http-request", rule)
    # Who is kept out by a rule is kept out of these too.
    yield from metrics_lines(http.metrics)
    if http.stats is not None:
        yield from page_lines(http.stats)
        condition = http.stats.condition
        if condition is not None:
            yield _ruled("stats admin", condition)
    for answer_rule in http.response_rules:
        yield _http_line("http-response", answer_rule)


def _text(template: Template) -> str:
    return quote(write_template(template))


def _address_words(field: AddressField) -> str:
    exception = "" if field.exception is None else f" except {field.exception}"
    name = "" if field.name is None else f" header {quote(field.name)}"
    return f"{exception}{name}{' if-none' if field.is_if_none else ''}"


def _http_line(keyword: str, rule: RequestRule | ResponseRule) -> str:
    if isinstance(rule, HeaderRule):
        words = f"{rule.action} {quote(rule.name)}"
        if rule.value:
            words += f" {_text(rule.value)}"
    elif isinstance(rule, Deny):
        words = "deny"
        if rule.status != _DENY_STATUS[keyword]:
            words += f" deny_status {rule.status}"
    else:
        words = f"redirect {_place(rule)}"
        if rule.status != Redirect(scheme="https").status:
            words += f" code {rule.status}"
    return _ruled(f"{keyword} {words}", rule.condition)


def _place(rule: Redirect) -> str:
    if rule.location is None:
        return f"scheme {rule.scheme}"
    return f"location {_text(rule.location)}"


def _door(rule: DoorRule) -> str:
    words = f"tcp-request connection {rule.action}"
    if rule.action is DoorAction.TRACK:
        words += " src" if rule.table is None else f" src table {rule.table}"
    elif rule.action is DoorAction.EXPECT_PROXY:
        words += " layer4"
    return words


def _ruled(rule: str, condition: Condition | None) -> str:
    """Return a rule with its condition.

    Raises:
        ConfigError: It does not fit on a line.
    """
    if condition is None:
        return rule
    words = ["unless" if condition.is_unless else "if"]
    for number, terms in enumerate(condition.alternatives):
        words += ["or"] if number else []
        words += itertools.chain.from_iterable(map(_term_words, terms))
    if len(rule.split()) + len(words) > MAX_WORDS:
        raise ConfigError(f"the condition of {rule!r} is too long for a line; give its ACLs names")
    return " ".join((rule, *words))


def _term_words(term: Term) -> list[str]:
    sign = "!" if term.is_negated else ""
    if term.name is not None:
        return [sign + term.name]
    if len(term.tests) != 1:
        raise ConfigError("an ACL of several tests needs a name")
    return [f"{sign}{{", _fetch(term.tests[0]), *_values(term.tests[0]), "}"]


def _acl_lines(conditions: Iterable[Condition | None], where: str) -> Iterator[str]:
    """Yield the lines of the ACLs with a name in ``conditions``, in the order of their use."""
    named: dict[str, tuple[Look, ...]] = {}
    for condition in conditions:
        for terms in condition.alternatives if condition else ():
            for term in terms:
                if term.name is None:
                    continue
                if identifier(term.name) or term.name == "or":
                    raise ConfigError(f"{where}: {term.name!r} cannot be the name of an ACL")
                tests = named.setdefault(term.name, term.tests)
                if tests is not term.tests and tests != term.tests:
                    raise ConfigError(f"{where}: there are several ACLs {term.name!r}")
    for name, tests in named.items():
        if name not in PREDEFINED or tests != PREDEFINED[name].tests:
            for test in tests:
                yield from _acl(name, test)


def _acl(name: str, test: Look) -> Iterator[str]:
    values = _values(test)
    room = MAX_WORDS - _ACL_WORDS
    for start in range(0, len(values), room):
        yield " ".join(("acl", name, _fetch(test), *values[start : start + room]))


def _fetch(test: Look) -> str:
    if test.fetch is not Fetch.NBSRV:
        return test.fetch
    if test.backend is None:
        raise ConfigError("nbsrv is written with the name of a backend")
    return f"nbsrv({test.backend})"


def _values(test: Look) -> list[str]:
    if test.fetch is Fetch.SRC:
        return [str(network).removesuffix(f"/{network.max_prefixlen}") for network in test.networks]
    if len(test.ranges) == 1:
        low, high = test.ranges[0]
        if low is not None and high is None:
            return ["ge", str(low)]
        if low is None and high is not None:
            return ["le", str(high)]
    return [_range(low, high) for low, high in test.ranges]


def _range(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        raise ConfigError("a range without ends is not written")
    if low == high:
        return str(low)
    return f"{'' if low is None else low}:{'' if high is None else high}"
