"""Statistics, logs and states as lines; that they read back is in test_haproxy_writer_again."""

from __future__ import annotations

from typing import Any

import pytest

from dsbalance.errors import ConfigError
from dsbalance.haproxy.stats_writer import (
    are_one_log,
    backend_log_lines,
    frontend_log_lines,
    log_lines,
    metrics_lines,
    page_lines,
    process_lines,
)
from dsbalance.haproxy.writer import write
from dsbalance.log_options import (
    BackendLog,
    Facility,
    FrontendLog,
    LineFormat,
    LogFormat,
    LogTarget,
    Severity,
)
from dsbalance.model import Backend, Bind, Config, Frontend
from dsbalance.stats_options import Level, StatsPage, StatsSocket

NEAR = LogTarget(address="/dev/log")
FAR = LogTarget(
    address="10.0.0.1:514",
    facility=Facility.DAEMON,
    level=Severity.NOTICE,
    floor=Severity.ALERT,
    format=LogFormat.RFC5424,
    length=8192,
)


def frontend(**said: Any) -> Frontend:
    return Frontend(name="f", binds=(Bind(port=1),), backend="f", **said)


def test_a_process_that_says_nothing_has_no_line() -> None:
    assert list(process_lines(Config())) == []


def test_the_process_says_what_is_not_as_usual() -> None:
    config = Config(
        logs=(NEAR, FAR),
        log_tag="a b",
        log_hostname="",
        node="n",
        description="two words",
        sockets=(
            StatsSocket(path="/x", mode=0o660, level=Level.ADMIN, user="root", group="adm"),
            StatsSocket(path="x", user=0, group=65534, level=Level.USER),
            StatsSocket(host="::1", port=9999),
        ),
        timeout_stats=30.0,
        maxconn_stats=5,
        state_file="/state",
    )
    assert list(process_lines(config)) == [
        "log /dev/log local0",
        "log 10.0.0.1:514 len 8192 format rfc5424 daemon notice alert",
        'log-tag "a b"',
        "log-send-hostname",
        "node n",
        'description "two words"',
        "stats socket /x mode 660 user root group adm level admin",
        "stats socket unix@x uid 0 gid 65534 level user",
        "stats socket [::1]:9999",
        "stats timeout 30s",
        "stats maxconn 5",
        "server-state-file /state",
    ]
    assert list(process_lines(Config(log_hostname="h"))) == ["log-send-hostname h"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(timeout_stats=None), "stats timeout: HAProxy has always one"),
        (Config(sockets=(StatsSocket(port=0),)), "stats socket :0: HAProxy cannot listen there"),
        (
            Config(sockets=(StatsSocket(path="/" + "x" * 97),)),
            "stats socket: HAProxy takes a path of 97 bytes at the most",
        ),
    ],
)
def test_what_haproxy_does_not_have_is_not_written(config: Config, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(process_lines(config))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (LogTarget(address="stdout", level=Severity.INFO), "stdout local0 info"),
        (LogTarget(address="stdout", floor=Severity.ERR), "stdout local0 debug err"),
        (LogTarget(address="/a b"), '"/a b" local0'),
    ],
)
def test_a_level_is_written_where_one_is_wanted(target: LogTarget, words: str) -> None:
    assert list(process_lines(Config(logs=(target,)))) == [f"log {words}"]


@pytest.mark.parametrize(
    ("targets", "lines"),
    [
        ((), []),
        ((NEAR,), ["log global"]),
        (
            (NEAR, FAR),
            ["log global", "log 10.0.0.1:514 len 8192 format rfc5424 daemon notice alert"],
        ),
        ((FAR, NEAR), None),
    ],
)
def test_what_the_process_logs_to_is_not_said_again(
    targets: tuple[LogTarget, ...], lines: list[str] | None
) -> None:
    found = log_lines(FrontendLog(targets=targets), Config(logs=(NEAR,)))
    if lines is None:
        assert [line.split()[1] for line in found] == ["10.0.0.1:514", "/dev/log"]
    else:
        assert found == lines
    assert log_lines(None, Config(logs=(NEAR,))) == []
    assert log_lines(BackendLog(targets=(NEAR,)), Config()) == ["log /dev/log local0"]


def test_a_frontend_and_a_backend_have_their_own_options() -> None:
    log = FrontendLog(
        targets=(NEAR,),
        line=LineFormat.HTTPLOG,
        skips_null=True,
        skips_normal=True,
        raises_errors=True,
        tag="x",
    )
    assert list(frontend_log_lines(frontend(log=log, counts_listeners=True))) == [
        *("option httplog", "option dontlognull", "option dontlog-normal"),
        *("option log-separate-errors", "option socket-stats"),
    ]
    assert log_lines(log, Config()) == ["log /dev/log local0", "log-tag x"]
    assert list(frontend_log_lines(frontend())) == []
    assert list(backend_log_lines(Backend(name="b"))) == []
    told = Backend(name="b", log=BackendLog(tells_checks=True), loads_state=True)
    assert list(backend_log_lines(told)) == [
        "option log-health-checks",
        "load-server-state-from-file global",
    ]
    assert list(backend_log_lines(Backend(name="b", state_file="/a b"))) == [
        "load-server-state-from-file local",
        'server-state-file-name "/a b"',
    ]


@pytest.mark.parametrize(
    ("near", "far", "is_one"),
    [
        (None, None, True),
        (FrontendLog(targets=(NEAR,)), None, False),
        (None, BackendLog(targets=(NEAR,)), False),
        (
            FrontendLog(targets=(NEAR,), skips_null=True),
            BackendLog(targets=(NEAR,), tells_checks=True),
            True,
        ),
        (FrontendLog(targets=(NEAR,)), BackendLog(targets=(FAR,)), False),
        (FrontendLog(targets=(NEAR,), tag="x"), BackendLog(targets=(NEAR,)), False),
    ],
)
def test_a_listen_has_one_log(
    near: FrontendLog | None, far: BackendLog | None, is_one: bool
) -> None:
    one, other = frontend(log=near), Backend(name="f", log=far)
    assert are_one_log(one, other) is is_one
    text = write(Config(frontends=(one,), backends=(other,)))
    assert ("listen f" in text) is is_one


@pytest.mark.parametrize(
    ("said", "is_one"),
    [({}, True), ({"id": 5}, False), ({"description": "x"}, False)],
)
def test_a_listen_has_one_id_and_one_description(said: dict[str, Any], is_one: bool) -> None:
    text = write(Config(frontends=(frontend(**said),), backends=(Backend(name="f"),)))
    assert ("listen f" in text) is is_one
    text = write(Config(frontends=(frontend(**said),), backends=(Backend(name="f", **said),)))
    assert "listen f" in text


def test_a_log_of_all_sections_stands_in_defaults() -> None:
    config = Config(
        logs=(NEAR,),
        frontends=(frontend(log=FrontendLog(targets=(NEAR,))),),
        backends=(Backend(name="f", log=BackendLog(targets=(NEAR,))), Backend(name="b")),
    )
    assert write(config).count("log global") == 1
    assert write(config).index("log global") > write(config).index("listen f")
    common = Config(logs=config.logs, frontends=config.frontends, backends=config.backends[:1])
    assert write(common).index("log global") < write(common).index("listen f")


def test_a_page_says_what_is_not_as_usual() -> None:
    assert list(page_lines(StatsPage())) == ["stats enable"]
    page = StatsPage(
        uri="/#",
        refresh=5.0,
        users=(("a", 'b"c'), ("d", "")),
        realm="a b",
        admin=True,
        hides_version=True,
        node="",
        description="two words",
        shows_legends=True,
        scope=(".", "b"),
    )
    assert list(page_lines(page)) == [
        "stats enable",
        'stats uri "/#"',
        "stats refresh 5s",
        'stats realm "a b"',
        'stats auth "a:b\\"c"',
        "stats auth d:",
        "stats hide-version",
        "stats show-node",
        'stats show-desc "two words"',
        "stats show-legends",
        "stats scope .",
        "stats scope b",
        "stats admin if TRUE",
    ]


def test_more_paths_than_a_line_has_room_for_are_several_lines() -> None:
    paths = tuple(f"/{number}" for number in range(51))
    first, second = metrics_lines(paths)
    assert first.endswith("/49 }")
    assert second == "http-request use-service prometheus-exporter if { path /50 }"
    assert list(metrics_lines(())) == []
