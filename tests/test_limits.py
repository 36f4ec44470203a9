"""How many sessions fit, for given limits; and the limits of this process."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance import Backend, Bind, Check, Config, ConfigError, Frontend, Server
from dsbalance.limits import (
    Budget,
    descriptor_limit,
    make_budget,
    raise_descriptor_limit,
    wanted_descriptors,
)
from dsbalance.log_options import LogTarget
from dsbalance.splice import MAX_PIPES
from dsbalance.stats_options import StatsSocket

resource = pytest.importorskip("resource", reason="this system has no descriptor limits")


def config(maxconn: int | None = None) -> Config:
    server = Server(name="a", host="127.0.0.1", port=80, check=Check())
    return Config(
        frontends=(Frontend(name="f", binds=(Bind(port=5014, last_port=5019),), backend="b"),),
        backends=(Backend(name="b", servers=(server,)),),
        maxconn=maxconn,
    )


def test_without_a_limit_everything_fits() -> None:
    assert make_budget(config(50_000), None) == Budget(maxconn=50_000, pipes=MAX_PIPES)
    assert make_budget(config(), None).maxconn is None


def test_maxconn_is_what_the_descriptors_allow() -> None:
    budget = make_budget(config(), 1024)
    # 24 of our own, 6 ports, 1 check, 32 pipes of 2, and 2 for each session.
    assert budget == Budget(maxconn=464, pipes=32, most=464)


def test_a_maxconn_that_fits_is_kept() -> None:
    assert make_budget(config(100), 1024) == Budget(maxconn=100, pipes=32, most=464)


def test_logs_and_those_who_ask_at_a_socket_have_descriptors_too() -> None:
    logged = LogTarget(address="127.0.0.1:514")
    made = replace(config(), sockets=(StatsSocket(path="s"),), maxconn_stats=9, logs=(logged,))
    budget, plain = make_budget(made, 1024), make_budget(config(), 1024)
    assert budget.most is not None
    assert plain.most is not None
    # Half an odd number is rounded down.
    assert plain.most - budget.most in {5, 6}


def test_a_maxconn_that_does_not_fit_says_what_would() -> None:
    with pytest.raises(ConfigError, match=r"maxconn 2000 needs 4095 .* open 1024 .* 464 sessions"):
        make_budget(config(2000), 1024)


def test_a_limit_for_no_session_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves none for a session; at least 33"):
        make_budget(config(), 20)


def test_sixty_four_descriptors_are_enough() -> None:
    maxconn = make_budget(config(), 64).maxconn
    assert maxconn is not None
    assert maxconn >= 10


@given(st.integers(40, 100_000))
def test_a_budget_never_needs_more_than_there_is(limit: int) -> None:
    budget = make_budget(config(), limit)
    assert budget.maxconn is not None
    assert 24 + 7 + 2 * budget.pipes + 2 * budget.maxconn <= limit


@given(st.integers(1, 100_000))
def test_what_is_wanted_is_enough(maxconn: int) -> None:
    assert make_budget(config(maxconn), wanted_descriptors(config(maxconn))).maxconn == maxconn


def test_without_a_maxconn_as_many_as_there_are_is_wanted() -> None:
    assert wanted_descriptors(config()) is None


def test_the_soft_limit_is_raised_and_never_lowered() -> None:
    script = """
import resource
from dsbalance.limits import descriptor_limit, raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))
raise_descriptor_limit(300); print(descriptor_limit())
raise_descriptor_limit(200); print(descriptor_limit())
raise_descriptor_limit(900); print(descriptor_limit())
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))
raise_descriptor_limit(None); print(descriptor_limit())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["300", "300", "400", "400"]


def test_an_unlimited_process_has_no_limit_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: endless)
    assert descriptor_limit() is None
    raise_descriptor_limit(10)


def test_a_system_without_limits_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbalance.limits.resource", None)
    assert descriptor_limit() is None
    raise_descriptor_limit(10)
