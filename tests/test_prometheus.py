"""The metrics: HAProxy's names and samples, two formats, and what their parsers say of them."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import capture, picture
from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.prometheus import (
    SCOPES,
    Wanted,
    escaped,
    exposition,
    is_openmetrics_wanted,
    read_query,
)
from dsbalance.stats import (
    BackendSnapshot,
    FrontendSnapshot,
    ListenerSnapshot,
    ProcessSnapshot,
    Snapshot,
    TableSnapshot,
)
from pretence import blank, check, server

CAPTURE = capture("haproxy-metrics.json")
TABLE = TableSnapshot(name="tbe", type="ip", size=1024, used=14, expire=30.0)
PICTURE = replace(picture(CAPTURE["statistics"]), tables=(TABLE,))

# Where ours are others, and why.
DIFFERENCES = (
    # Our means are over as many as there were; those of HAProxy's exporter over 1024.
    *("_time_average_seconds", "_need_connections_current"),
    # Its CSV is silent of checks that pause, and so is its picture.
    *("_agg_check_status", "_check_duration_seconds"),
    # Its fetch of the metrics itself.
    'proxy="mx"',
)

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1"
    ";q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def metrics(snapshot: Snapshot = PICTURE, query: str = "", **options: bool) -> str:
    return "".join(exposition(snapshot, read_query(query), **options))


def samples(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def families(text: str) -> dict[str, str]:
    """Return the name and type of each family."""
    return dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))


def of(*proxies: FrontendSnapshot | BackendSnapshot, **process: Any) -> Snapshot:
    return Snapshot(
        uptime=1.5,
        process=blank(ProcessSnapshot, **process),
        frontends=tuple(each for each in proxies if isinstance(each, FrontendSnapshot)),
        backends=tuple(each for each in proxies if isinstance(each, BackendSnapshot)),
    )


def backend_of(**words: Any) -> Snapshot:
    """Return a snapshot of one server with these words."""
    servers = (server("s1", 1, **words),)
    return of(blank(BackendSnapshot, name="be", id=2, status="UP", servers=servers))


# --- beside HAProxy ------------------------------------------------------------------------------


def test_the_families_are_those_of_haproxy_with_its_types() -> None:
    theirs = families("\n".join(CAPTURE["metrics"]))
    ours = families(metrics())
    zlib = {"haproxy_process_current_zlib_memory", "haproxy_process_max_zlib_memory"}
    assert set(ours) == set(theirs) - zlib
    fell = {
        *("haproxy_process_pipes_used_total", "haproxy_process_pipes_free_total"),
        "haproxy_process_failed_resolutions",
    }
    assert {name for name in ours if ours[name] != theirs[name]} == fell
    assert {ours[name] for name in fell} == {"gauge"}


def test_the_samples_are_those_of_haproxy() -> None:
    def compared(text: list[str]) -> set[str]:
        kept = [line for line in text if not line.startswith(("#", "haproxy_process_"))]
        return {line for line in kept if not any(part in line for part in DIFFERENCES)}

    theirs = compared(CAPTURE["metrics"])
    assert len(theirs) > 1200
    assert compared(metrics().splitlines()) == theirs


def test_servers_in_maintenance_are_left_out_where_haproxy_leaves_them_out() -> None:
    text = metrics(PICTURE, "scope=server&no-maint")
    found = [line for line in samples(text) if line.startswith("haproxy_server_status")]
    assert sorted(found) == CAPTURE["no-maint"]


@pytest.mark.parametrize("query", CAPTURE["scopes"])
def test_a_query_asks_for_what_it_asks_haproxy_for(query: str) -> None:
    text = metrics(PICTURE, query.removeprefix("?"))
    found = {"_".join(re.split(r"[{ ]", line)[0].split("_")[:2]) for line in samples(text)}
    assert sorted(found) == CAPTURE["scopes"][query]


# --- the query -----------------------------------------------------------------------------------


def test_without_a_query_all_is_wanted() -> None:
    assert read_query("") == Wanted() == (frozenset(SCOPES), False)


@pytest.mark.parametrize(
    "query", ["scope=bad", "scope=FRONTEND", "scope=+global", "scope=a&scope="]
)
def test_a_scope_that_there_is_not_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="no such scope"):
        read_query(query)


@given(st.text("scope=*&no-maint%frontend+", max_size=30))
def test_any_query_is_read_or_refused(query: str) -> None:
    try:
        wanted = read_query(query)
    except ValueError:
        return
    assert wanted.scopes <= set(SCOPES)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("Application/OpenMetrics-Text;Q=0.5", True),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.5", True),
        ("", False),
        ("*/*", False),
        ("text/html,*/*;q=0.8", False),
        ("text/plain;version=0.0.4", False),
        ("text/plain, application/openmetrics-text;q=0.5", False),
        ("application/openmetrics-text;q=0.3,text/*;q=0.4", False),
        ("*/*,application/openmetrics-text;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=much", False),
    ],
)
def test_openmetrics_is_for_who_asks_for_it(accept: str, *, expected: bool) -> None:
    assert is_openmetrics_wanted(accept) is expected


@given(st.text("application/openmetrics-text;,*q=.019 ", max_size=60))
def test_any_wish_is_understood_or_passed_over(accept: str) -> None:
    assert is_openmetrics_wanted(accept) in {True, False}


# --- the process ---------------------------------------------------------------------------------


def test_the_process_has_one_sample_a_metric() -> None:
    found = samples(metrics(of(pid=1, rate=3, started_at=1.25), "scope=global"))
    assert "haproxy_process_current_connection_rate 3" in found
    assert "haproxy_process_uptime_seconds 1.5" in found
    assert "haproxy_process_start_time_seconds 1.25" in found
    info = [line for line in found if "build_info" in line]
    assert re.fullmatch(r'haproxy_process_build_info\{version="2\.6\.12-dsb[^"]+"\} 1', info[0])
    assert len(found) == len({line.split(" ")[0] for line in found})


def test_a_table_has_its_size_and_how_much_of_it_is_used() -> None:
    assert samples(metrics(PICTURE, "scope=sticktable")) == [
        'haproxy_sticktable_size{name="tbe",type="ip"} 1024',
        'haproxy_sticktable_used{name="tbe",type="ip"} 14',
    ]


# --- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("UP", "UP"),
        ("UP 1/3", "UP"),
        ("no check", "UP"),
        ("DOWN 1/2", "DOWN"),
        ("MAINT (via be/s2)", "MAINT"),
        ("DRAIN 2/3", "DRAIN"),
        ("NOLB 1/3", "NOLB"),
    ],
)
def test_a_server_is_in_one_state(status: str, state: str) -> None:
    text = metrics(backend_of(status=status), "scope=server&scope=backend")
    start = 'haproxy_server_status{proxy="be",server="s1",state="'
    found = [line.removeprefix(start) for line in samples(text) if line.startswith(start)]
    assert len(found) == 5
    assert [line for line in found if line.endswith(" 1")] == [f'{state}"}} 1']
    assert f'haproxy_backend_agg_server_status{{proxy="be",state="{state}"}} 1\n' in text


@pytest.mark.parametrize(
    ("status", "state"), [("OPEN", "UP"), ("FULL", "UP"), ("PAUSED", "UP"), ("STOP", "DOWN")]
)
def test_a_frontend_is_up_until_it_is_closed_for_good(status: str, state: str) -> None:
    text = metrics(of(blank(FrontendSnapshot, name="fe", id=2, status=status)))
    assert f'haproxy_frontend_status{{proxy="fe",state="{state}"}} 1\n' in text


@pytest.mark.parametrize("status", ["OPEN", "WAITING", "FULL"])
def test_a_listener_is_in_one_state(status: str) -> None:
    listeners = (blank(ListenerSnapshot, name="li", id=1, status=status),)
    text = metrics(of(blank(FrontendSnapshot, name="fe", id=2, status="OPEN", listeners=listeners)))
    found = [line for line in samples(text) if line.startswith("haproxy_listener_status")]
    assert len(found) == 3
    assert f'haproxy_listener_status{{proxy="fe",listener="li",state="{status}"}} 1' in found


def test_a_check_is_one_of_what_it_might_come_to() -> None:
    last = CheckResult(status=CheckStatus.L4TOUT, port=1, elapsed=0.25)
    text = metrics(backend_of(status="DOWN", check=check(last=last, is_running=True)))
    found = [line for line in samples(text) if line.startswith("haproxy_server_check_status")]
    assert len(found) == 16
    assert [line for line in found if line.endswith(" 1")] == [
        'haproxy_server_check_status{proxy="be",server="s1",state="L4TOUT"} 1'
    ]
    assert 'haproxy_server_check_duration_seconds{proxy="be",server="s1"} 0.250000\n' in text
    assert 'haproxy_backend_agg_check_status{proxy="be",state="L4TOUT"} 1\n' in text


def test_before_the_first_check_it_has_come_to_nothing() -> None:
    text = metrics(backend_of(status="UP 1/3", check=check(last=None)))
    found = [line for line in samples(text) if line.startswith("haproxy_server_check_status")]
    assert len(found) == 16
    assert all(line.endswith(" 0") for line in found)
    assert "check_duration" not in text


def test_a_server_without_checks_has_no_samples_of_them() -> None:
    text = metrics(backend_of())
    assert "haproxy_server_check_status" not in text
    assert "haproxy_server_check_code" not in text
    assert 'haproxy_server_check_failures_total{proxy="be",server="s1"} NaN\n' in text


@pytest.mark.parametrize("status", CheckStatus)
def test_whatever_a_check_may_come_to_is_a_state(status: CheckStatus) -> None:
    text = metrics(backend_of(check=check(last=CheckResult(status=status, port=1))))
    assert f'haproxy_server_check_status{{proxy="be",server="s1",state="{status}"}} 1\n' in text


def test_a_backend_without_servers_has_none_in_any_state() -> None:
    text = metrics(of(blank(BackendSnapshot, name="be", id=2, status="UP")))
    assert "agg_" not in text
    assert 'haproxy_backend_status{proxy="be",state="UP"} 1\n' in text


# --- formats -------------------------------------------------------------------------------------


def test_a_family_has_its_head_once_and_before_its_samples() -> None:
    for is_openmetrics in (False, True):
        text = metrics(is_openmetrics=is_openmetrics)
        heads = re.findall(r"^# HELP (\S+) .+\n# TYPE (\S+) (?:gauge|counter)$", text, re.MULTILINE)
        assert all(helped == typed for helped, typed in heads)
        assert len(heads) == len(set(heads)) == text.count("# HELP") == text.count("# TYPE")
        name = ""
        for line in text.splitlines():
            if line.startswith("# TYPE"):
                name = line.split(" ")[2]
            elif not line.startswith("#"):
                sample = re.split(r"[{ ]", line)[0]
                assert sample in {name, f"{name}_total"}


def test_openmetrics_says_when_all_was_said_and_the_text_format_does_not() -> None:
    assert metrics(is_openmetrics=True).endswith("\n# EOF\n")
    assert "EOF" not in metrics()
    assert metrics(PICTURE, "scope=", is_openmetrics=True) == "# EOF\n"
    assert metrics(PICTURE, "scope=") == ""


def test_a_counter_of_openmetrics_is_always_a_number() -> None:
    text = metrics(is_openmetrics=True)
    counters = {name for name, kind in families(text).items() if kind == "counter"}
    of_counters = [
        line
        for line in samples(text)
        if re.split(r"[{ ]", line)[0].removesuffix("_total") in counters
    ]
    assert of_counters
    assert not [line for line in of_counters if line.endswith("NaN")]
    assert not [name for name in counters if name.endswith("_total")]
    assert any(line.endswith("NaN") for line in samples(metrics()) if "downtime" in line)


def test_the_samples_of_both_formats_are_the_same_but_for_counters_without_a_number() -> None:
    text, openmetrics = samples(metrics()), samples(metrics(is_openmetrics=True))
    assert openmetrics == [line for line in text if not re.search(r"_total\{.*NaN$", line)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain", "plain"), ('a"b', r"a\"b"), ("a\\b", r"a\\b"), ("a\nb", r"a\nb"), ('\\"', r"\\\"")],
)
def test_a_label_is_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_it_comes_in_small_pieces() -> None:
    pieces = list(exposition(PICTURE))
    assert len(pieces) > 1000
    assert max(map(len, pieces)) < 2000


# --- what others make of it ----------------------------------------------------------------------


def parser(of_what: str) -> Any:
    """Return the parser of prometheus-client for a format."""
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
    return importlib.import_module(f"prometheus_client{of_what}.parser")


@pytest.mark.parametrize(("of_what", "is_openmetrics"), [("", False), (".openmetrics", True)])
def test_prometheus_client_reads_it(of_what: str, *, is_openmetrics: bool) -> None:
    text = metrics(is_openmetrics=is_openmetrics)
    read = list(parser(of_what).text_string_to_metric_families(text))
    found = [sample for family in read for sample in family.samples]
    assert len(found) == len(samples(text))
    status = next(
        sample.value
        for sample in found
        if sample.name == "haproxy_server_status"
        and sample.labels == {"proxy": "bh", "server": "h1", "state": "UP"}
    )
    assert status == 1
    assert {family.type for family in read} == {"gauge", "counter"}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12))
def test_any_name_comes_back_from_prometheus_client(name: str) -> None:
    for of_what in ("", ".openmetrics"):
        shown = of(blank(BackendSnapshot, name=name, id=2, status="UP"))
        text = metrics(shown, "scope=backend", is_openmetrics=bool(of_what))
        for family in parser(of_what).text_string_to_metric_families(text):
            assert {sample.labels["proxy"] for sample in family.samples} == {name}
