"""The words of logs: where messages go, which ones, and what is said of a session. No I/O.

    written                       in a section                            in global
    log ADDR FACILITY ...         one more target                         likewise
    log global                    the targets that global has so far      -
    no log                        none of those above                     likewise
    option tcplog, httplog        what a line says

Source: HAProxy 2.6 configuration manual, 3.1 and 4.2; where it is silent, HAProxy 2.6.12 was
observed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from dsbalance.errors import ConfigError
from dsbalance.haproxy.keywords import Keyword
from dsbalance.haproxy.lexer import parse_address, parse_choice, parse_integer, quoted
from dsbalance.haproxy.sections import GlobalSection, Section
from dsbalance.haproxy.statement import Arguments
from dsbalance.log_options import (
    MAX_LENGTH,
    MIN_LENGTH,
    STREAMS,
    Facility,
    LineFormat,
    LogFormat,
    LogTarget,
    Severity,
)
from dsbalance.validation import demand, text_line

SYSLOG_PORT = 514
"""What an address without a port stands for: RFC 5426, 3.3."""

Named = TypeVar("Named", Facility, Severity)

_FACILITIES = {member.name.lower(): member for member in Facility}
_SEVERITIES = {member.name.lower(): member for member in Severity}


def read_target(args: Arguments) -> LogTarget:
    """Return what a ``log`` line says.

    Raises:
        ConfigError: It says something else.
    """
    address = _address(args.take("ADDRESS FACILITY, such as 127.0.0.1:514 local0"))
    length, form = LogTarget(address=address).length, LogFormat.RFC3164
    # HAProxy takes them in this order alone.
    if args.peek() == "len":
        args.skip(1)
        length = parse_integer(args.take("a number of bytes"), MIN_LENGTH, MAX_LENGTH)
    if args.peek() == "format":
        args.skip(1)
        form = _format(args.take("a format"))
    if args.peek() == "sample":
        raise ConfigError("sample is refused: this version logs all of it or nothing")
    facility = _member(args.take("a facility, such as local0"), _FACILITIES, "a facility")
    level, floor = Severity.DEBUG, Severity.EMERG
    if args:
        level = _member(args.take("a level"), _SEVERITIES, "a level")
    if args:
        floor = _member(args.only("a level"), _SEVERITIES, "a level")
    return LogTarget(
        address=address,
        facility=facility,
        level=level,
        floor=floor,
        format=form,
        length=length,
    )


def _address(word: str) -> str:
    """Return an address as the model has it."""
    if word in STREAMS or word.startswith("/"):
        return word
    prefix, at, rest = word.rpartition("@")
    if prefix == "unix" and rest.startswith("/"):
        return rest
    if at and prefix not in {"udp", "udp4", "udp6", "ipv4", "ipv6"}:
        raise ConfigError(
            f"expects ADDRESS:PORT, an absolute path, stdout or stderr, not {quoted(word)}"
        )
    address = parse_address(rest)
    if not address.host or address.last_port is not None:
        raise ConfigError(f"expects the address of one host, not {quoted(word)}")
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port or SYSLOG_PORT}"


def _format(word: str) -> LogFormat:
    if word in {"iso", "local", "priority", "timed"}:
        raise ConfigError(f"format {word} is refused: HAProxy has it, this version does not")
    return parse_choice(word, LogFormat)


def _member(word: str, members: Mapping[str, Named], what: str) -> Named:
    if word not in members:
        raise ConfigError(f"expects {what}: one of {', '.join(members)}, not {quoted(word)}")
    return members[word]


def _log(section: Section, args: Arguments) -> None:
    settings = section.settings
    if args.is_negated:
        args.end()
        settings.log_targets = ()
        settings.has_global_logs = False
    elif args.peek() == "global":
        args.only("global")
        if not settings.has_global_logs:
            settings.has_global_logs = True
            settings.log_targets += section.process.logs
    else:
        settings.log_targets += (read_target(args),)


def _global_log(section: GlobalSection, args: Arguments) -> None:
    if args.is_negated:
        args.end()
        section.logs = ()
    elif args.peek() == "global":
        raise ConfigError("global: belongs in another section; here it expects ADDRESS FACILITY")
    else:
        section.logs += (read_target(args),)


def _tag(section: Section | GlobalSection, args: Arguments) -> None:
    tag = args.only("a text for the name of the program")
    demand(text_line("the tag", tag))
    if isinstance(section, Section):
        section.settings.log_tag = tag
    else:
        section.log_tag = tag


def _send_hostname(section: GlobalSection, args: Arguments) -> None:
    name = args.only("the name of this machine") if args else ""
    demand(text_line("the name", name or None))
    section.log_hostname = name


def _line(form: LineFormat) -> Callable[[Section, Arguments], None]:
    def parse(section: Section, args: Arguments) -> None:
        if form is LineFormat.HTTPLOG and args.peek() == "clf":
            raise ConfigError("clf is refused: HAProxy has it, this version does not")
        args.end()
        section.settings.log_line = form
        section.settings.log_line_place = args.place

    return parse


def _own_format(section: Section, args: Arguments) -> None:
    """Take the usual line for one of the user's own."""
    if args.keyword == "log-format":
        args.only("a format")
    section.settings.log_line = LineFormat.HTTPLOG
    section.settings.log_line_place = None
    message = "lines have no other form here than that of 'option httplog' or 'option tcplog'"
    args.report.notice_once(args.place, f"{args.keyword}: {message}")


def _switch(field: str) -> Callable[[Section, Arguments], None]:
    def parse(section: Section, args: Arguments) -> None:
        args.end()
        setattr(section.settings, field, not args.is_negated)

    return parse


LOG_WORDS: Mapping[str, Keyword] = {
    "log": Keyword(sections="DFLB", is_option=True, repeats=True, parse=_log),
    "log-format": Keyword(sections="DFL", parse=_own_format),
    "log-tag": Keyword(sections="DFLB", parse=_tag),
    "option dontlog-normal": Keyword(
        sections="DFL", is_option=True, parse=_switch("logs_no_normal")
    ),
    "option dontlognull": Keyword(sections="DFL", is_option=True, parse=_switch("logs_no_null")),
    "option httplog": Keyword(sections="DFL", parse=_line(LineFormat.HTTPLOG)),
    "option httpslog": Keyword(sections="DFL", parse=_own_format),
    "option log-health-checks": Keyword(
        sections="DLB", is_option=True, parse=_switch("logs_checks")
    ),
    "option log-separate-errors": Keyword(
        sections="DFL", is_option=True, parse=_switch("logs_errors_apart")
    ),
    "option tcplog": Keyword(sections="DFLB", parse=_line(LineFormat.TCPLOG)),
}

LOG_PROCESS_WORDS: Mapping[str, Keyword] = {
    "log": Keyword(sections="G", is_option=True, repeats=True, parse=_global_log),
    "log-send-hostname": Keyword(sections="G", parse=_send_hostname),
    "log-tag": Keyword(sections="G", parse=_tag),
}
