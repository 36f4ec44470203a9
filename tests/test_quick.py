"""A proxy from the addresses of a command line."""

import pytest

from dsbalance import Balance, ConfigError
from dsbalance.haproxy.config import read
from dsbalance.haproxy.writer import write
from dsbalance.quick import quick


def test_addresses_become_one_frontend_and_one_backend() -> None:
    config = quick(listen=[":9100", "[::1]:515-516"], servers=["10.0.0.11:9100", "a.example:91"])
    (frontend,), (backend,) = config.frontends, config.backends
    assert [(bind.host, list(bind.ports)) for bind in frontend.binds] == [
        ("", [9100]),
        ("::1", [515, 516]),
    ]
    assert [(s.name, s.host, s.port) for s in backend.servers] == [
        ("server-1", "10.0.0.11", 9100),
        ("server-2", "a.example", 91),
    ]
    assert all(server.check for server in backend.servers)
    assert frontend.backend == backend.name


def test_a_failed_connect_goes_to_another_server_at_once() -> None:
    (backend,) = quick(listen=[":1"], servers=["a:1", "b:1"]).backends
    assert backend.redispatch == 1


def test_backups_and_affinity_are_as_asked() -> None:
    (backend,) = quick(
        listen=[":1"],
        servers=["a:1"],
        backups=["b:1"],
        balance=Balance.SOURCE,
        stick=1800,
        is_checked=False,
    ).backends
    assert [server.backup for server in backend.servers] == [False, True]
    assert backend.balance is Balance.SOURCE
    assert backend.hash_type.is_mixed
    assert backend.table is not None
    assert backend.table.expire == 1800
    assert len(backend.stick) == 1


def test_unchecked_servers_may_keep_the_port_of_the_client() -> None:
    (backend,) = quick(listen=[":1-9"], servers=["10.0.0.1"], is_checked=False).backends
    assert backend.servers[0].port is None
    assert backend.servers[0].check is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"listen": ["127.0.0.1"], "servers": ["a:1"]}, "host:port or :port"),
        ({"listen": [":70000"], "servers": ["a:1"]}, "70000"),
        ({"listen": [":1"], "servers": ["a:1-9"]}, "one port or none"),
        ({"listen": [":1"], "servers": ["a"]}, "cannot be checked"),
        ({"listen": [":1"], "servers": ["a:1"], "maxconn": 0}, "maxconn"),
        ({"listen": [":1"], "servers": ["a:1"], "stick": 0}, "expire"),
    ],
)
def test_what_is_wrong_is_said(words: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quick(**words)  # type: ignore[arg-type]


def test_it_can_be_written_as_a_file() -> None:
    config = quick(listen=["127.0.0.1:9100"], servers=["10.0.0.11:9100"], backups=["10.0.0.12:1"])
    assert read([("quick.cfg", write(config))]).config == config
