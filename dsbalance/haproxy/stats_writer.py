"""The lines of a haproxy.cfg for statistics, logs and the state of servers. No I/O.

Source: HAProxy 2.6 configuration manual, 3.1, 4.2 and 5.1.
"""

from __future__ import annotations

from collections.abc import Iterator

from dsbalance.errors import ConfigError
from dsbalance.haproxy.lexer import format_time, quote
from dsbalance.log_options import (
    BackendLog,
    FrontendLog,
    LineFormat,
    LogFormat,
    LogTarget,
    Severity,
)
from dsbalance.model import Backend, Config, Frontend
from dsbalance.stats_options import DEFAULT_REALM, DEFAULT_URI, Level, StatsPage, StatsSocket

# What HAProxy 2.6.12 takes: it puts something behind the path while it starts.
_MAX_PATH = 97
_PATHS_A_LINE = 50


def process_lines(config: Config) -> Iterator[str]:
    """Yield what the process says of its statistics and logs.

    Raises:
        ConfigError: The language cannot say it.
    """
    yield from (f"log {_target(target)}" for target in config.logs)
    default = Config()
    if config.log_tag != default.log_tag:
        yield f"log-tag {quote(config.log_tag)}"
    if config.log_hostname is not None:
        yield (
            f"log-send-hostname {quote(config.log_hostname)}"
            if config.log_hostname
            else ("log-send-hostname")
        )
    if config.node is not None:
        yield f"node {config.node}"
    if config.description:
        yield f"description {quote(config.description)}"
    yield from map(_socket, config.sockets)
    if config.timeout_stats is None:
        raise ConfigError("stats timeout: HAProxy has always one")
    if config.timeout_stats != default.timeout_stats:
        yield f"stats timeout {format_time(config.timeout_stats)}"
    if config.maxconn_stats != default.maxconn_stats:
        yield f"stats maxconn {config.maxconn_stats}"
    if config.state_file is not None:
        yield f"server-state-file {quote(config.state_file)}"


def _socket(socket: StatsSocket) -> str:
    if socket.path is None:
        if not socket.port:
            raise ConfigError(f"stats socket {socket}: HAProxy cannot listen there")
        words = [str(socket)]
    elif len(socket.path.encode()) > _MAX_PATH:
        raise ConfigError(f"stats socket: HAProxy takes a path of {_MAX_PATH} bytes at the most")
    else:
        is_plain = socket.path.startswith("/")
        words = [quote(socket.path if is_plain else f"unix@{socket.path}")]
    if socket.mode != StatsSocket(path="/").mode:
        words.append(f"mode {socket.mode:o}")
    for word, number_word, owner in (("user", "uid", socket.user), ("group", "gid", socket.group)):
        if isinstance(owner, str):
            words.append(f"{word} {quote(owner)}")
        elif owner is not None:
            words.append(f"{number_word} {owner}")
    if socket.level is not Level.OPERATOR:
        words.append(f"level {socket.level.name.lower()}")
    return " ".join(("stats socket", *words))


# -- logs


def log_lines(log: FrontendLog | BackendLog | None, config: Config) -> list[str]:
    """Return the lines of a log that a frontend and a backend both may have."""
    if log is None:
        return []
    targets = log.targets
    lines = []
    count = len(config.logs)
    if count and targets[:count] == config.logs:
        lines.append("log global")
        targets = targets[count:]
    lines += (f"log {_target(target)}" for target in targets)
    if log.tag is not None:
        lines.append(f"log-tag {quote(log.tag)}")
    return lines


def frontend_log_lines(frontend: Frontend) -> Iterator[str]:
    """Yield the lines of a frontend's log that no backend has."""
    log = frontend.log
    if log is not None:
        if log.line is not LineFormat.CONNECT:
            yield f"option {log.line}"
        for word, is_said in (
            ("dontlognull", log.skips_null),
            ("dontlog-normal", log.skips_normal),
            ("log-separate-errors", log.raises_errors),
        ):
            if is_said:
                yield f"option {word}"
    if frontend.counts_listeners:
        yield "option socket-stats"


def backend_log_lines(backend: Backend) -> Iterator[str]:
    """Yield the lines of a backend's log that no frontend has, and where its servers begin."""
    if backend.log is not None and backend.log.tells_checks:
        yield "option log-health-checks"
    if backend.loads_state:
        yield "load-server-state-from-file global"
    elif backend.state_file is not None:
        yield "load-server-state-from-file local"
        yield f"server-state-file-name {quote(backend.state_file)}"


def are_one_log(frontend: Frontend, backend: Backend) -> bool:
    """Return whether the logs of both can be said by the lines of one section."""
    near, far = frontend.log, backend.log
    if near is None or far is None:
        return not (near or far)
    return (near.targets, near.tag) == (far.targets, far.tag)


def _target(target: LogTarget) -> str:
    default = LogTarget(address=target.address)
    words = [quote(target.address)]
    if target.length != default.length:
        words.append(f"len {target.length}")
    if target.format is not LogFormat.RFC3164:
        words.append(f"format {target.format}")
    words.append(target.facility.name.lower())
    if target.level is not Severity.DEBUG or target.floor is not Severity.EMERG:
        words.append(target.level.name.lower())
    if target.floor is not Severity.EMERG:
        words.append(target.floor.name.lower())
    return " ".join(words)


# -- pages


def page_lines(page: StatsPage) -> Iterator[str]:
    """Yield the lines of a page, but for the condition that it may have."""
    yield "stats enable"
    if page.uri != DEFAULT_URI:
        yield f"stats uri {quote(page.uri)}"
    if page.refresh is not None:
        yield f"stats refresh {format_time(page.refresh)}"
    if page.realm != DEFAULT_REALM:
        yield f"stats realm {quote(page.realm)}"
    for name, password in page.users:
        yield f"stats auth {quote(f'{name}:{password}')}"
    if page.hides_version:
        yield "stats hide-version"
    for word, text in (("show-node", page.node), ("show-desc", page.description)):
        if text is not None:
            yield f"stats {word} {quote(text)}" if text else f"stats {word}"
    if page.shows_legends:
        yield "stats show-legends"
    yield from (f"stats scope {name}" for name in page.scope)
    if page.admin is True:
        yield "stats admin if TRUE"


def metrics_lines(paths: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines that answer Prometheus at ``paths``."""
    for start in range(0, len(paths), _PATHS_A_LINE):
        values = " ".join(map(quote, paths[start : start + _PATHS_A_LINE]))
        yield f"http-request use-service prometheus-exporter if {{ path {values} }}"
