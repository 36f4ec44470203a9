"""The state of servers as a text: written as HAProxy does, and read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.balancer import AdminState
from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.haproxy.server_state import COLUMNS, ServerRecord, parse, write
from pretence import check, server, stage

# As HAProxy 2.6.12 wrote it: checked, stopping, disabled by the configuration, reached by a name.
HAPROXYS = f"""\
1
# {COLUMNS}
5 be 1 s1 127.0.0.1 2 8 256 1 116 6 3 4 6 0 0 0 - 19499 - 0 19499 127.0.0.1 - 0
5 be 2 s2 127.0.0.1 3 0 10 10 0 1 0 4 0 0 0 0 - 19498 - 0 0 - - 0
5 be 3 s3 ::1 0 5 1 1 116 1 0 0 8 0 0 1 srv.example 19497 - 0 0 - - 0

"""


def written(*servers: object) -> list[str]:
    """Return the lines for these servers of the backend ``be``, without the numbers in front."""
    backend = replace(stage().backends[0], servers=servers)  # type: ignore[arg-type]
    lines = "".join(write([backend])).splitlines()
    assert lines[:2] == ["1", f"# {COLUMNS}"]
    return [line.removeprefix("4 be ") for line in lines[2:]]


def test_haproxys_own_file_is_read() -> None:
    found = parse(HAPROXYS)
    assert found.problems == ()
    one, two, three = found.servers
    assert (one.path, one.backend_id, one.id) == ("be/s1", 5, 1)
    assert (one.host, one.port, one.check_port, one.check_host) == (
        "127.0.0.1",
        19499,
        19499,
        "127.0.0.1",
    )
    assert (one.weight, one.initial_weight, one.op, one.check_health) == (256, 1, 2, 4)
    assert (one.asked, two.asked, three.asked) == (
        AdminState.DRAIN,
        AdminState.READY,
        AdminState.MAINT,
    )
    assert (one.was_disabled, three.was_disabled) == (False, True)
    assert (two.op, two.fqdn, two.check_host, two.uses_tls) == (3, None, None, False)
    assert (three.host, three.fqdn, three.is_id_forced) == ("::1", "srv.example", True)


def test_what_is_read_is_written_the_same() -> None:
    lines = HAPROXYS.splitlines()[2:5]
    assert [str(record) for record in parse(HAPROXYS).servers] == lines


def test_a_line_that_ends_early_is_read_as_far_as_it_goes() -> None:
    (short,) = parse("1\n5 be 1 s1 127.0.0.1 2 0 1 1 1 6 3 4 6 0 0 0 - 80\n").servers
    assert (short.port, short.srvrecord, short.check_port, short.agent_host) == (80, None, 0, None)


def test_columns_that_nobody_knows_yet_are_left_aside() -> None:
    (long,) = parse(HAPROXYS.splitlines()[2].join(("1\n", " new 7\n"))).servers
    assert long == parse(HAPROXYS).servers[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("5 be 1 s1 127.0.0.1", "it has 5 columns, not 19 or more"),
        ("x be 1 s1 h 2 0 1 1 1 6 3 4 6 0 0 0 - 80", "be_id is no number from 0: 'x'"),
        ("5 be 1 s1 h 2 -1 1 1 1 6 3 4 6 0 0 0 - 80", "srv_admin_state is no number from 0: '-1'"),
        ("5 be 1 s1 h 4 0 1 1 1 6 3 4 6 0 0 0 - 80", "srv_op_state is none: 4"),
        (f"5 be 1 s1 h 2 0 {'9' * 5000} 1 1 6 3 4 6 0 0 0 - 80", "srv_uweight is no number"),
        ("5 be 1 s1 h 2 0 \u0663 1 1 6 3 4 6 0 0 0 - 80", "srv_uweight is no number"),
    ],
)
def test_a_line_that_cannot_be_used_is_a_problem_and_the_others_count(
    line: str, words: str
) -> None:
    found = parse(f"{HAPROXYS}{line}\n", "state")
    assert len(found.servers) == 3
    (problem,) = found.problems
    assert words in str(problem)
    assert str(problem).startswith("state:7: ")


@pytest.mark.parametrize("text", ["2\n", "1 2\n", "# only\nfoo\n", "5 be 1 s1\n"])
def test_a_file_of_another_version_is_not_used(text: str) -> None:
    found = parse(text + HAPROXYS.partition("\n")[2], "state")
    assert found.servers == ()
    assert len(found.problems) == 1


def test_an_empty_file_says_nothing() -> None:
    assert parse("") == ((), ())
    assert parse("1\n\n# nothing\n") == ((), ())


@given(st.text(st.characters(codec="utf-8")))
def test_whatever_is_in_the_file_it_is_read_or_a_problem(text: str) -> None:
    parse(text)
    parse(f"1\n{text}")


texts = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1)
numbers = st.integers(min_value=0, max_value=2**32)
records = st.builds(
    ServerRecord,
    *(numbers, texts, numbers, texts, texts, st.integers(0, 3)),
    *[numbers] * 9,
    *(st.booleans(), st.booleans(), st.none() | texts, numbers, st.none() | texts, st.booleans()),
    *(numbers, st.none() | texts, st.none() | texts, numbers),
)


@given(st.lists(records))
def test_every_record_survives(servers: list[ServerRecord]) -> None:
    assert parse("1\n" + "".join(f"{record}\n" for record in servers)).servers == tuple(servers)


def test_the_stage_is_written_as_haproxy_writes_it() -> None:
    text = "".join(write(stage().backends))
    assert text.splitlines()[2:] == [
        "4 be 1 s1 127.0.0.1 2 0 1 1 0 6 3 4 6 0 0 0 - 8001 - 0 0 - - 0",
        "4 be 2 s2 127.0.0.1 2 0 10 10 0 1 0 2 0 0 0 0 - 0 - 0 0 - - 0",
        "4 be 3 s3 127.0.0.1 0 5 1 1 0 1 0 0 8 0 0 0 - 8003 - 0 0 - - 0",
        "5 static 1 h1 127.0.0.1 2 0 20 20 0 1 0 2 0 0 0 0 - 8001 - 0 0 - - 0",
        "5 static 2 t1 127.0.0.1 2 0 1 1 0 1 0 2 0 0 0 0 - 8002 - 0 0 - - 0",
    ]
    assert [record.path for record in parse(text).servers] == [
        "be/s1",
        "be/s2",
        "be/s3",
        "static/h1",
        "static/t1",
    ]


@pytest.mark.parametrize(
    ("status", "number", "result"),
    [
        (CheckStatus.L4OK, 6, 3),
        (CheckStatus.L4TOUT, 7, 2),
        (CheckStatus.L4CON, 8, 2),
        (CheckStatus.SOCKERR, 5, 0),
    ],
)
def test_each_outcome_of_a_check_has_its_numbers(
    status: CheckStatus, number: int, result: int
) -> None:
    last = CheckResult(status=status, port=80)
    (line,) = written(server("s", 1, check=check(last=last, health=1)))
    assert line == f"1 s 127.0.0.1 2 0 1 1 0 {number} {result} 1 6 0 0 0 - 8001 - 0 0 - - 0"


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({}, 6),
        ({"is_running": True}, 7),
        ({"is_paused": True}, 2),
        ({"last": None}, 6),
    ],
)
def test_checks_are_there_and_on_and_perhaps_paused(values: dict[str, Any], state: int) -> None:
    (line,) = written(server("s", 1, check=check(**values)))
    assert line.split()[11] == str(state)
    assert line.split()[8] == ("1" if "last" in values else "6")


def test_maintenance_pauses_checks_without_turning_them_off() -> None:
    resting = server("s", 1, admin="maint", op=0, check=check(is_paused=True))
    assert written(resting)[0].split()[11] == "14"
    disabled = server("s", 1, admin="maint", op=0, is_disabled=True, check=check(is_paused=True))
    assert written(disabled)[0].split()[11] == "14"


@pytest.mark.parametrize(
    ("values", "admin"),
    [
        ({}, 0),
        ({"admin": "maint"}, 1),
        ({"inherited": "maint"}, 2),
        ({"admin": "maint", "is_disabled": True}, 5),
        ({"admin": "drain"}, 8),
        ({"inherited": "drain"}, 16),
        ({"admin": "drain", "inherited": "maint"}, 10),
    ],
)
def test_what_was_asked_of_a_server_is_in_its_bits(values: dict[str, Any], admin: int) -> None:
    assert written(server("s", 1, **values))[0].split()[4] == str(admin)


@pytest.mark.parametrize(
    ("values", "health"),
    [
        ({"op": 0}, 0),
        ({"op": 1}, 2),
        ({"op": 2}, 2),
        ({"op": 3}, 4),
        ({"op": 0, "tracked": "be/s1"}, 2),
        ({"op": 0, "tracked": "be/s1", "inherited": "maint"}, 0),
        ({"op": 2, "is_disabled": True}, 0),
        ({"op": 2, "is_disabled": True, "check": check()}, 4),
        ({"op": 0, "admin": "maint", "check": check()}, 0),
    ],
)
def test_a_server_has_the_health_of_its_checks_or_of_what_it_does(
    values: dict[str, Any], health: int
) -> None:
    assert written(server("s", 1, **values))[0].split()[10] == str(health)


@pytest.mark.parametrize(
    ("values", "host", "fqdn", "port"),
    [
        ({"host": "10.0.0.1"}, "10.0.0.1", "-", "8001"),
        ({"host": "::1", "address": "[::1]:8001"}, "::1", "-", "8001"),
        ({"host": "srv.example", "address": "10.0.0.9:8001"}, "10.0.0.9", "srv.example", "8001"),
        ({"host": "srv.example", "address": "[::9]", "port": None}, "::9", "srv.example", "0"),
    ],
)
def test_a_server_that_was_found_by_a_name_has_both(
    values: dict[str, Any], host: str, fqdn: str, port: str
) -> None:
    found = written(server("s", 1, **values))[0].split()
    assert (found[2], found[15], found[16]) == (host, fqdn, port)


def test_checks_that_go_elsewhere_say_where() -> None:
    (line,) = written(server("s", 1, check=check(host="10.9.9.9", port=99)))
    assert line.endswith(" 8001 - 0 99 10.9.9.9 - 0")
