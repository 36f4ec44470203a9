"""Prometheus: its exporter for HAProxy reads our statistics, its Python parser our ``/metrics``.

The exporter is <https://github.com/prometheus/haproxy_exporter>, Debian's package
prometheus-haproxy-exporter.
"""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from actors import PATIENCE, greeted_by, until
from processes import Process
from programs import answered_by
from steered import PROGRAMS, Steered

EXPORTER = shutil.which("prometheus-haproxy-exporter")


@pytest.fixture
def parser() -> Any:
    return pytest.importorskip(
        "prometheus_client.parser", reason="prometheus-client is not installed"
    )


@pytest.fixture(params=PROGRAMS)
def steered(
    request: pytest.FixtureRequest, parser: Any, tmp_path: Path, loopback: Callable[[], str]
) -> Iterator[Steered]:
    with ExitStack() as stack:
        yield Steered(request.param, tmp_path, loopback, stack)


@pytest.fixture
def openmetrics() -> Any:
    return pytest.importorskip(
        "prometheus_client.openmetrics.parser", reason="prometheus-client is not installed"
    )


def fetch(url: str, accept: str = "") -> tuple[str, str]:
    """Return a page, and its type."""
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read().decode(), response.headers["Content-Type"]


def samples(page: str, parser: Any) -> dict[tuple[str, ...], float]:
    """Return the values of a page by their names and the values of their labels, sorted."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in parser.text_string_to_metric_families(page)
        for sample in family.samples
    }


def meet(steered: Steered) -> str:
    """Let a client come by TCP, and one by HTTP; return the server that the former got."""
    name = greeted_by((steered.front, 5022), "127.0.0.1")
    answered_by((steered.front, 5012), "127.0.0.1")

    def is_counted() -> bool:
        sums = {row["pxname"]: row["bout"] for row in steered.remote.stat() if row.is_backend}
        return "0" not in (sums["paragon"], sums["paragon-http"])

    until(is_counted)
    return name


@pytest.mark.skipif(EXPORTER is None, reason="prometheus-haproxy-exporter is not installed")
@pytest.mark.parametrize("way", ["unix", "http"])
def test_the_exporter_reads_the_statistics(
    way: str, steered: Steered, loopback: Callable[[], str], parser: Any
) -> None:
    name = meet(steered)
    uri = {
        "unix": f"unix:{steered.socket}",
        "http": f"http://{steered.front}:8404/haproxy?stats;csv",
    }[way]
    address = loopback()
    words = (f"--haproxy.scrape-uri={uri}", f"--web.listen-address={address}:9101")
    with Process(str(EXPORTER), *words) as exporter:
        exporter.until_it_listens((address, 9101))
        found = samples(fetch(f"http://{address}:9101/metrics")[0], parser)
    assert found["haproxy_up",] == 1
    assert found["haproxy_exporter_csv_parse_failures_total",] == 0
    assert found["haproxy_frontend_sessions_total", "paragon"] == 1
    assert found["haproxy_server_sessions_total", "paragon", name] == 1
    assert found["haproxy_server_bytes_out_total", "paragon", name] == 16
    assert found["haproxy_server_up", "paragon", name] == 1
    assert found["haproxy_backend_up", "paragon"] == 1
    assert found["haproxy_backend_http_responses_total", "paragon-http", "2xx"] == 1
    assert found["haproxy_frontend_http_requests_total", "paragon-http"] == 1


def test_the_parser_takes_the_metrics(steered: Steered, parser: Any) -> None:
    name = meet(steered)
    page, kind = fetch(f"http://{steered.front}:8404/metrics")
    assert kind.startswith("text/plain; version=0.0.4")
    found = samples(page, parser)
    assert found["haproxy_frontend_sessions_total", "paragon"] == 1
    assert found["haproxy_server_sessions_total", "paragon", name] == 1
    assert found["haproxy_server_bytes_out_total", "paragon", name] == 16
    assert found["haproxy_server_status", "paragon", name, "UP"] == 1
    assert found["haproxy_backend_status", "paragon", "UP"] == 1
    assert found["haproxy_frontend_http_responses_total", "2xx", "paragon-http"] == 1
    assert found["haproxy_process_nbproc",] == 1


def test_ours_speaks_openmetrics_to_who_asks_for_it(
    tmp_path: Path, loopback: Callable[[], str], openmetrics: Any
) -> None:
    with ExitStack() as stack:
        steered = Steered("dsbalance", tmp_path, loopback, stack)
        accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        page, kind = fetch(f"http://{steered.front}:8404/metrics", accept)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    found = samples(page, openmetrics)
    assert found["haproxy_frontend_sessions_total", "paragon"] == 0
