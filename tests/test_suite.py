"""The presets hold what the white paper and the vendor ask for, and the example is theirs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import read
from dsbalance.haproxy.writer import write
from dsbalance.http_options import AddressField, HttpConnection, HttpOptions
from dsbalance.model import (
    Backend,
    Balance,
    Config,
    Frontend,
    HashKind,
    Server,
    StickRule,
    TableType,
)
from dsbalance.suite import PRINT_PORTS, paragon_config, phoenix_config, suite

HAPROXY = shutil.which("haproxy")
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "suite.cfg"

PARAGON = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
PHOENIX = ["10.0.0.11", "10.0.0.12"]

WHOLE = suite(
    paragon=PARAGON, phoenix=PHOENIX, phoenix_backup=["10.0.0.14"], print_ports=PRINT_PORTS
)


def listening(config: Config) -> dict[str, list[int]]:
    """Return the ports of each frontend."""
    return {f.name: [port for bind in f.binds for port in bind.ports] for f in config.frontends}


def servers(config: Config, backend: str) -> tuple[Server, ...]:
    (found,) = (b for b in config.backends if b.name == backend)
    return found.servers


class Counted(Sequence[int]):
    """Numbers that count how many of them were asked for."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers
        self.times = 0

    def __getitem__(self, index: Any) -> Any:
        found = self.numbers[index]
        self.times += len(found) if isinstance(index, slice) else 1
        return found

    def __len__(self) -> int:
        return len(self.numbers)


# --- the example ---------------------------------------------------------------------------------


def test_the_example_says_what_the_preset_says() -> None:
    reading = read([(EXAMPLE.name, EXAMPLE.read_text(encoding="utf-8"))])
    assert reading.config == suite(paragon=PARAGON, phoenix=PHOENIX)
    assert reading.notices == ()


def test_the_example_is_what_the_writer_writes_with_comments() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    lines = [
        line
        for line in text.splitlines()
        if line.strip() and (line.strip()[0] != "#" or line.strip().startswith("# dsbalance:"))
    ]
    written = write(suite(paragon=PARAGON, phoenix=PHOENIX)).splitlines()
    assert lines == [line for line in written if line]


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
@pytest.mark.parametrize("text", [EXAMPLE.read_text(encoding="utf-8"), write(WHOLE)])
def test_haproxy_takes_the_example_and_the_whole_suite(text: str) -> None:
    command = [HAPROXY or "", "-c", "-f", "/dev/stdin"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_the_whole_suite_reads_back() -> None:
    assert read([("x.cfg", write(WHOLE))]).config == WHOLE


# --- what the white paper and the vendor ask for -------------------------------------------------


def test_the_listeners_are_those_of_the_white_paper() -> None:
    assert listening(WHOLE) == {
        "paragon": [5022, *range(5014, 5020)],
        "paragon-http": [5012],
        "paragon-print": [515, 9100],
        "phoenix": [50809],
        "phoenix-http": [50808],
    }
    assert list(listening(suite(paragon=["h"]))) == ["paragon", "paragon-http"]
    assert list(listening(suite(phoenix=["h"]))) == ["phoenix", "phoenix-http"]


def test_every_listen_serves_its_own_backend_on_the_port_that_the_client_came_to() -> None:
    assert all(frontend.backend == frontend.name for frontend in WHOLE.frontends)
    assert all(server.port is None for backend in WHOLE.backends for server in backend.servers)


def test_a_group_has_one_table_of_half_an_hour_for_all_its_ports() -> None:
    for backend in WHOLE.backends:
        group = backend.name.partition("-")[0]
        if backend.name == group:
            assert backend.table
            assert (backend.table.expire, backend.table.type) == (1800.0, TableType.IP)
            assert backend.stick == (StickRule(),)
        else:
            assert backend.table is None
            assert backend.stick == (StickRule(table=group),)


def test_all_backends_of_a_group_hash_a_client_to_the_same_server() -> None:
    for backend in WHOLE.backends:
        assert backend.balance is Balance.SOURCE
        assert backend.hash_type.kind is HashKind.CONSISTENT
        assert backend.bounded_clients == 125
        group = servers(WHOLE, backend.name.partition("-")[0])
        assert [(s.name, s.host, s.backup, s.id, s.weight) for s in backend.servers] == [
            (s.name, s.host, s.backup, s.id, s.weight) for s in group
        ]


def test_heads_are_read_on_the_plain_http_ports_alone() -> None:
    sides: list[Frontend | Backend] = [*WHOLE.frontends, *WHOLE.backends]
    for side in sides:
        if side.name.endswith("-http"):
            assert side.http == HttpOptions(
                connection=HttpConnection.SERVER_CLOSE,
                forwardfor=AddressField(),
                timeout_request=30.0,
                timeout_keep_alive=3600.0,
            )
        else:
            assert side.http is None


@pytest.mark.parametrize(("group", "ports"), [("paragon", (5022, 5555)), ("phoenix", (50809,))])
def test_the_monitor_is_the_vendors(group: str, ports: tuple[int, ...]) -> None:
    for server in servers(WHOLE, group):
        assert server.check
        assert (server.check.ports, server.check.interval, server.check.fall) == (ports, 5.0, 3)
        # Not up at once: a minute of passed checks.
        assert server.check.rise * server.check.interval == 60.0
        assert server.shutdown_on_down


def test_the_other_listens_share_the_health_of_their_group() -> None:
    assert [server.track for server in servers(WHOLE, "paragon-print")] == [
        f"paragon/primary-{number}" for number in (1, 2, 3)
    ]
    tracked = [server.track for server in servers(WHOLE, "phoenix-http")]
    assert tracked == ["phoenix/primary-1", "phoenix/primary-2", "phoenix/backup-1"]
    assert all(server.check is None for server in servers(WHOLE, "phoenix-http"))


def test_a_failover_node_serves_while_nobody_else_can() -> None:
    for backend in ("phoenix", "phoenix-http"):
        assert [(s.name, s.backup, s.non_stick) for s in servers(WHOLE, backend)] == [
            ("primary-1", False, False),
            ("primary-2", False, False),
            ("backup-1", True, True),
        ]


def test_sessions_may_be_idle_for_an_hour_and_the_dead_are_found_before() -> None:
    sides = [(f.timeout_client, f.timeout_client_fin, f.keepalive) for f in WHOLE.frontends]
    sides += [(b.timeout_server, b.timeout_server_fin, b.keepalive) for b in WHOLE.backends]
    for idle, half_closed, keepalive in sides:
        assert idle == 3600.0
        assert half_closed is not None
        assert half_closed < idle
        assert keepalive is not None
        assert (keepalive.idle, keepalive.interval, keepalive.count) == (60, 10, 6)


def test_a_refused_connect_goes_to_another_server_at_once() -> None:
    for backend in WHOLE.backends:
        assert (backend.retries, backend.redispatch, backend.timeout_connect) == (3, 1, 3.0)


def test_addresses_may_be_names_or_ipv6_and_the_listening_one_is_the_callers() -> None:
    config = suite(paragon=["srv1.example.org", "2001:db8::1", "[2001:db8::2]"], host="[::]")
    found = [server.host for server in servers(config, "paragon")]
    assert found == ["srv1.example.org", "2001:db8::1", "2001:db8::2"]
    assert {bind.host for frontend in config.frontends for bind in frontend.binds} == {"::"}
    assert {bind.host for frontend in WHOLE.frontends for bind in frontend.binds} == {""}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "there is no server, neither for Paragon nor for Phoenix"),
        ({"paragon": ["10.0.0.11:5022"]}, "'10.0.0.11:5022' has a port"),
        ({"paragon": ["300.0.0.1"]}, "not an IPv4 address"),
        ({"paragon": ["10.0.0.11", ""]}, "primary: the address is empty"),
        ({"paragon": ["10.0.0.11", "h", "10.0.0.11"]}, "10.0.0.11 is given 2 times"),
        ({"paragon": "10.0.0.11"}, "expects several addresses"),
        ({"paragon": ["h"], "host": "a b"}, "neither an address nor a host name"),
        ({"paragon": ["h"], "print_ports": [0]}, "print ports: 0"),
        ({"paragon": ["h"], "print_ports": [65536]}, "print ports: 65536"),
        ({"paragon": ["h"], "print_ports": [5015]}, "print ports: 5015"),
        ({"paragon": ["h"], "print_ports": [515, 515]}, "print ports: 515"),
        ({"paragon": ["h"], "print_ports": [50808]}, "print ports: 50808"),
        ({"phoenix": ["h"], "print_ports": [515]}, "print streams go to Paragon"),
        ({"paragon": ["h"], "phoenix_backup": ["i"]}, "Phoenix has failover nodes"),
        ({"phoenix": ["h"], "phoenix_backup": ["h"]}, "h cannot stand in for itself"),
        ({"phoenix": ["h"], "phoenix_backup": ["i", "i"]}, "i is given 2 times"),
    ],
)
def test_wrong_arguments_are_config_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite(**arguments)


def test_a_part_without_servers_is_refused() -> None:
    for part in (paragon_config, phoenix_config):
        with pytest.raises(ConfigError, match="primary: there is no server"):
            part([])


def test_thousands_of_print_ports_are_looked_at_once_each() -> None:
    ports = range(10_000, 15_000)
    looked_up = Counted(ports)
    config = paragon_config(["h"], print_ports=looked_up)
    assert listening(config)["paragon-print"] == list(ports)
    assert looked_up.times <= 3 * len(ports)


def test_a_part_alone_is_the_part_of_the_whole() -> None:
    assert paragon_config(PARAGON, print_ports=PRINT_PORTS).backends == WHOLE.backends[:3]
    assert phoenix_config(PHOENIX, backup=["10.0.0.14"]).frontends == WHOLE.frontends[3:]


# --- the dashboard -------------------------------------------------------------------------------


@pytest.mark.parametrize(("paragon", "phoenix"), [(PARAGON, []), ([], PHOENIX), (PARAGON, PHOENIX)])
def test_the_dashboard_is_a_listen_of_its_own(paragon: list[str], phoenix: list[str]) -> None:
    config = suite(paragon=paragon, phoenix=phoenix, dashboard="8404")
    bare = suite(paragon=paragon, phoenix=phoenix)
    assert config.frontends[:-1] == bare.frontends
    assert config.backends[:-1] == bare.backends
    frontend, backend = config.frontends[-1], config.backends[-1]
    assert (frontend.name, frontend.backend, backend.name) == ("stats", "stats", "stats")
    assert (str(frontend.binds[0]), backend.servers) == ("127.0.0.1:8404", ())
    assert frontend.http
    assert frontend.http.stats
    assert (frontend.http.stats.uri, frontend.http.stats.refresh) == ("/", 5.0)
    text = write(config)
    assert read([("suite.cfg", text)]).config == config
    # What all other sections say still stands in one place.
    assert text.split("listen ", 1)[0] == write(bare).split("listen ", 1)[0]
    assert "listen stats\n    mode http\n    bind 127.0.0.1:8404\n" in text


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_haproxy_takes_the_dashboard_too() -> None:
    text = write(suite(paragon=PARAGON, dashboard="127.0.0.1:8404"))
    command = [HAPROXY or "", "-c", "-f", "/dev/stdin"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Configuration file is valid\n"), done.stderr


def test_a_dashboard_alone_is_no_suite() -> None:
    with pytest.raises(ConfigError, match="there is no server"):
        suite(dashboard="8404")
    with pytest.raises(ConfigError, match="the dashboard is at ADDRESS:PORT"):
        suite(paragon=PARAGON, dashboard="8404-8405")
