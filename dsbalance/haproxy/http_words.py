"""The words of ``mode http`` that are used. No I/O.

    a word of mode http                         in a section in mode tcp
    is used                                     is read, has no effect, and a notice says so
    is refused                                  likewise, as in HAProxy

A section gets its mode when it is complete, so its words wait in :class:`HttpWord` until then.

Source: HAProxy 2.6 configuration manual, 4.2; where it is silent, HAProxy 2.6.12 was observed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dsbalance.errors import ConfigError
from dsbalance.haproxy.access_words import parse_network, read_condition, read_paths
from dsbalance.haproxy.keywords import Keyword
from dsbalance.haproxy.lexer import parse_integer, parse_time, quoted
from dsbalance.haproxy.sections import PlacedFile, Section
from dsbalance.haproxy.statement import Arguments
from dsbalance.http_options import (
    AddressField,
    Deny,
    HeaderAction,
    HeaderRule,
    HttpConnection,
    HttpOptions,
    Redirect,
    read_template,
)

REUSE = ("never", "safe", "aggressive", "always")
_HEADER_ACTIONS = frozenset(HeaderAction)
_REQUEST_ACTIONS = f"one of {', '.join(HeaderAction)}, deny, redirect or use-service"
_RESPONSE_ACTIONS = f"one of {', '.join(HeaderAction)} or deny"


def _connection(kind: HttpConnection) -> Callable[[Section, Arguments], None]:
    def parse(section: Section, args: Arguments) -> None:
        args.end()
        http = section.own_http()
        if not args.is_negated:
            http.connection = kind
        elif http.connection is kind:
            # `no` takes back what is in force, and nothing else.
            http.connection = None

    return parse


def _address_field(field: str, *, has_if_none: bool) -> Callable[[Section, Arguments], None]:
    expected = "except NETWORK, header NAME" + (", if-none" if has_if_none else "")

    def parse(section: Section, args: Arguments) -> None:
        name = None
        exception = None
        is_if_none = False
        while args:
            word = args.take(expected)
            if word == "except":
                exception = parse_network(args.take("a network"))
            elif word == "header":
                name = args.take("the name of a field")
            elif word == "if-none" and has_if_none:
                is_if_none = True
            else:
                raise ConfigError(f"expects {expected} or nothing, not {quoted(word)}")
        made = AddressField(name=name, exception=exception, is_if_none=is_if_none)
        setattr(section.own_http(), field, made)

    return parse


def _errorfile(section: Section, args: Arguments) -> None:
    status = parse_integer(args.take("STATUS FILE"))
    path = args.only("the path of a file")
    HttpOptions(error_files=((status, path),))
    section.own_http().error_files[status] = PlacedFile(path, args.place)


def _http_request(section: Section, args: Arguments) -> None:
    rules = section.own_rules()
    if rules.redirects:
        message = "http-request: comes before the 'redirect' lines, also those above it"
        args.report.notice(args.place, message)
    action = args.take(_REQUEST_ACTIONS)
    if rules.metrics and action in {"deny", "redirect"}:
        # Who is to be kept out is kept out of this too.
        raise ConfigError(f"{action}: a 'use-service' above it comes after it here; move that down")
    if action in _HEADER_ACTIONS:
        rules.request_rules.append(_header_rule(section, args, action))
    elif action == "deny":
        rules.request_rules.append(_deny(section, args, 403))
    elif action == "use-service":
        rules.metrics += _metrics(section, args)
    elif action == "redirect":
        rules.request_rules.append(_redirect(section, args, is_format=True))
    else:
        raise ConfigError(f"expects {_REQUEST_ACTIONS}, not {quoted(action)}")


def _http_response(section: Section, args: Arguments) -> None:
    action = args.take(_RESPONSE_ACTIONS)
    if action in _HEADER_ACTIONS:
        section.own_rules().response_rules.append(_header_rule(section, args, action))
    elif action == "deny":
        section.own_rules().response_rules.append(_deny(section, args, 502))
    else:
        raise ConfigError(f"expects {_RESPONSE_ACTIONS}, not {quoted(action)}")


def _header_rule(section: Section, args: Arguments, word: str) -> HeaderRule:
    action = HeaderAction(word)
    name = args.take("the name of a field")
    if action is not HeaderAction.DEL:
        value = read_template(args.take("its value"))
        condition = read_condition(args, section)
        return HeaderRule(action=action, name=name, value=value, condition=condition)
    if args.peek() == "-m":
        args.skip(1)
        if (method := args.take("str")) != "str":
            raise ConfigError(f"{action}: -m: expects str, not {quoted(method)}")
    return HeaderRule(action=action, name=name, condition=read_condition(args, section))


def _deny(section: Section, args: Arguments, status: int) -> Deny:
    if args.peek() in {"deny_status", "status"}:
        args.skip(1)
        status = parse_integer(args.take("a status"))
    return Deny(status=status, condition=read_condition(args, section))


def _metrics(section: Section, args: Arguments) -> list[str]:
    """Return the paths at which Prometheus is to be answered, without those that are already."""
    service = "prometheus-exporter"
    if (word := args.take(service)) != service:
        raise ConfigError(f"use-service: expects {service}, not {quoted(word)}")
    known = section.own_rules().metrics
    return [path for path in dict.fromkeys(read_paths(args, section)) if path not in known]


def _redirect(section: Section, args: Arguments, *, is_format: bool) -> Redirect:
    """Return what ``redirect`` says; the location of an ``http-request`` rule is a format."""
    scheme = None
    location = None
    status = 302
    while args.peek() not in {"", "if", "unless"}:
        word = args.take("location or scheme")
        if word == "location":
            text = args.take("a place")
            location = read_template(text) if is_format else (text,)
        elif word == "scheme":
            scheme = args.take("https")
        elif word == "code":
            status = parse_integer(args.take("a status"))
        else:
            raise ConfigError(f"expects location, scheme or code, not {quoted(word)}")
    condition = read_condition(args, section)
    return Redirect(scheme=scheme, location=location, status=status, condition=condition)


def _redirect_line(section: Section, args: Arguments) -> None:
    section.own_rules().redirects.append(_redirect(section, args, is_format=False))


def _http_reuse(section: Section, args: Arguments) -> None:
    word = args.only(f"one of {', '.join(REUSE)}")
    if word not in REUSE:
        raise ConfigError(f"expects one of {', '.join(REUSE)}, not {quoted(word)}")
    if word != "never":
        message = f"http-reuse {word}: a connection to a server is one client's own here"
        args.report.notice(args.place, message)


def _monitor_uri(section: Section, args: Arguments) -> None:
    uri = args.only("a target, such as /alive")
    HttpOptions(monitor_uri=uri)
    section.own_http().monitor_uri = uri


def _timeout(field: str) -> Callable[[Section, Arguments], None]:
    def parse(section: Section, args: Arguments) -> None:
        setattr(section.own_http(), field, parse_time(args.only("a time, such as 10s")) or None)

    return parse


def _row(
    sections: str,
    parse: Callable[[Section, Arguments], None],
    *,
    is_option: bool = False,
    repeats: bool = False,
) -> Keyword:
    return Keyword(
        sections=sections, parse=parse, is_option=is_option, repeats=repeats, is_http=True
    )


HTTP_WORDS: Mapping[str, Keyword] = {
    "errorfile": _row("DFLB", _errorfile, repeats=True),
    "http-request": _row("FLB", _http_request, repeats=True),
    "http-response": _row("FLB", _http_response, repeats=True),
    "http-reuse": _row("DLB", _http_reuse),
    "monitor-uri": _row("DFL", _monitor_uri),
    "option forwardfor": _row("DFLB", _address_field("forwardfor", has_if_none=True)),
    **{
        f"option {kind}": _row("DFLB", _connection(kind), is_option=True) for kind in HttpConnection
    },
    "option originalto": _row("DFLB", _address_field("originalto", has_if_none=False)),
    "redirect": _row("FLB", _redirect_line, repeats=True),
    "timeout http-keep-alive": _row("DFLB", _timeout("timeout_keep_alive")),
    "timeout http-request": _row("DFLB", _timeout("timeout_request")),
}
