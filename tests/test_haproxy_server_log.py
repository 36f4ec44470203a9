"""What is said of servers, word by word as HAProxy 2.6.12 said it of the same events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dsbalance.backends import Backends
from dsbalance.balancer import AdminState, Change, Health
from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.haproxy.server_log import Cause, Notice, change_notices, check_notice
from dsbalance.log_options import Severity
from dsbalance.model import Backend, Check, Config, Observe, Server
from dsbalance.words import OnError

ALERT, EMERG, NOTICE = Severity.ALERT, Severity.EMERG, Severity.NOTICE
PASSED = CheckResult(status=CheckStatus.L4OK, port=80)
REFUSED = CheckResult(status=CheckStatus.L4CON, port=80, detail="Connection refused")
TIMEOUT = CheckResult(status=CheckStatus.L4TOUT, port=80, elapsed=0.3014)
WHY = ', reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms'
AGAIN = ", reason: Layer4 check passed, check duration: 0ms"
NONE_LEFT = "0 sessions active, 0 requeued, 0 remaining in queue."
NONE_BACK = "0 sessions requeued, 0 total in queue."
READY, DRAIN, MAINT = AdminState


def checked(name: str, **words: Any) -> Server:
    return Server(name=name, host="127.0.0.1", port=80, check=Check(rise=1, fall=1), **words)


class Street:
    """Backend ``b`` with ``a``, ``c`` and the backup ``bk``, and ``t``, whose one tracks ``a``."""

    def __init__(self, *servers: Server, tells_checks: bool = False) -> None:
        self.tells_checks = tells_checks
        standard = (checked("a"), checked("c"), checked("bk", backup=True))
        follower = Server(name="t", host="127.0.0.1", port=80, track="b/a")
        theirs = () if servers else (Backend(name="t", servers=(follower,)),)
        own = Backend(name="b", servers=servers or standard)
        self.backends = Backends(Config(backends=(own, *theirs)), 0.0)

    def told(self, changes: list[Change], cause: Cause = Cause.OPERATOR) -> list[Notice]:
        return [
            notice
            for change in changes
            for notice in change_notices(
                change,
                self.backends.balancer(change.backend).states.get(change.server),
                cause,
                tells_checks=self.tells_checks,
                is_listen=change.backend == "t",
            )
        ]

    def check(self, server: str, result: CheckResult = REFUSED) -> list[Notice]:
        self.backends.note_check("b", server, 0.0, result)
        count = self.backends.check_passed if result is PASSED else self.backends.check_failed
        return self.told(count("b", server, 0.0, result.summary), Cause.CHECK)

    def ask(self, path: str, admin: AdminState) -> list[Notice]:
        backend, server = path.split("/")
        return self.told(self.backends.set_admin(backend, server, admin, 0.0))

    def health(self, server: str, health: Health) -> list[Notice]:
        return self.told(self.backends.set_health("b", server, health, 0.0))


@pytest.fixture
def street() -> Street:
    return Street()


def test_servers_that_go_one_by_one(street: Street) -> None:
    assert street.check("a") == [
        (ALERT, f"Server b/a is DOWN{WHY}. 1 active and 1 backup servers left. {NONE_LEFT}"),
        (
            ALERT,
            f"Server t/t is DOWN via b/a. 0 active and 0 backup servers left. {NONE_LEFT}",
        ),
        (EMERG, "proxy t has no server available!"),
    ]
    assert street.check("c") == [
        (
            ALERT,
            (
                f"Server b/c is DOWN{WHY}. 0 active and 1 backup servers left. Running on backup."
                f" {NONE_LEFT}"
            ),
        ),
    ]
    assert street.check("bk") == [
        (
            ALERT,
            f"Backup Server b/bk is DOWN{WHY}. 0 active and 0 backup servers left. {NONE_LEFT}",
        ),
        (EMERG, "backend b has no server available!"),
    ]


def test_servers_that_come_back(street: Street) -> None:
    for name in ("a", "c", "bk"):
        street.check(name)
    assert street.check("bk", PASSED) == [
        (
            NOTICE,
            (
                f"Backup Server b/bk is UP{AGAIN}. 0 active and 1 backup servers online."
                f" Running on backup. {NONE_BACK}"
            ),
        ),
    ]
    assert street.check("a", PASSED) == [
        (NOTICE, f"Server b/a is UP{AGAIN}. 1 active and 1 backup servers online. {NONE_BACK}"),
        (NOTICE, f"Server t/t is UP via b/a. 1 active and 0 backup servers online. {NONE_BACK}"),
    ]


def test_a_server_that_an_operator_drains_and_lets_go_on(street: Street) -> None:
    online = f"1 active and 1 backup servers online. {NONE_BACK}"
    assert street.ask("b/a", DRAIN) == [
        (NOTICE, f"Server b/a enters drain state. {online}"),
        (
            NOTICE,
            (
                "Server t/t enters drain state via b/a. 0 active and 0 backup servers online."
                f" {NONE_BACK}"
            ),
        ),
        (EMERG, "proxy t has no server available!"),
    ]
    assert street.ask("b/a", READY) == [
        (NOTICE, "Server b/a is UP (leaving forced drain)."),
        (NOTICE, "Server t/t is UP (leaving forced drain)."),
    ]


def test_a_server_that_an_operator_takes_into_maintenance_and_out(street: Street) -> None:
    assert street.ask("b/a", MAINT) == [
        (
            ALERT,
            (
                "Server b/a is going DOWN for maintenance. 1 active and 1 backup servers left."
                f" {NONE_LEFT}"
            ),
        ),
        (
            ALERT,
            (
                "Server t/t is going DOWN for maintenance via b/a."
                f" 0 active and 0 backup servers left. {NONE_LEFT}"
            ),
        ),
        (EMERG, "proxy t has no server available!"),
    ]
    assert street.ask("b/a", DRAIN) == [
        (NOTICE, "Server b/a is UP/DRAIN (leaving forced maintenance)."),
        (NOTICE, "Server b/a remains in forced drain mode."),
        (NOTICE, "Server t/t is UP/DRAIN (leaving maintenance)."),
        (NOTICE, "Server t/t is leaving forced drain but remains in drain mode via b/a."),
    ]
    assert [severity for severity, _ in street.ask("b/a", MAINT)] == [NOTICE, NOTICE]
    assert street.ask("b/a", READY) == [
        (NOTICE, "Server b/a is UP/READY (leaving forced maintenance)."),
        (NOTICE, "Server t/t is UP/READY (leaving maintenance)."),
    ]


def test_what_an_operator_asks_of_a_server_that_tracks_another_is_not_via_that(
    street: Street,
) -> None:
    outage = (EMERG, "proxy t has no server available!")
    assert street.ask("t/t", DRAIN) == [
        (
            NOTICE,
            f"Server t/t enters drain state. 0 active and 0 backup servers online. {NONE_BACK}",
        ),
        outage,
    ]
    assert street.ask("t/t", READY) == [(NOTICE, "Server t/t is UP (leaving forced drain).")]
    assert street.ask("t/t", MAINT)[0][1].startswith("Server t/t is going DOWN for maintenance. 0")
    # It is in maintenance by itself already.
    assert [line[:13] for _, line in street.ask("b/a", MAINT)] == ["Server b/a is"]


def test_a_server_that_is_down_when_it_enters_maintenance_and_leaves_it(street: Street) -> None:
    street.check("a")
    assert street.ask("b/a", MAINT) == [
        (NOTICE, "Server b/a was DOWN and now enters maintenance."),
        (NOTICE, "Server t/t was DOWN and now enters maintenance via b/a."),
    ]
    street.ask("b/a", READY)
    street.ask("t/t", MAINT)
    street.check("a")
    assert street.ask("t/t", READY) == [
        (NOTICE, "Server t/t is DOWN/READY (leaving forced maintenance).")
    ]


def test_a_drained_server_that_dies_and_comes_back(street: Street) -> None:
    street.ask("b/c", DRAIN)
    street.ask("b/a", DRAIN)
    left = f"0 active and 1 backup servers left. Running on backup. {NONE_LEFT}"
    online = f"0 active and 1 backup servers online. Running on backup. {NONE_BACK}"
    stays = "Server t/t is leaving forced drain but remains in drain mode via b/a."
    assert street.check("a") == [
        (NOTICE, f"Server b/a is DOWN{WHY}. {left}"),
        (NOTICE, "Server b/a remains in forced drain mode."),
        (
            NOTICE,
            f"Server t/t is DOWN via b/a. 0 active and 0 backup servers left. {NONE_LEFT}",
        ),
        (NOTICE, stays),
    ]
    assert street.check("a", PASSED) == [
        (NOTICE, f"Server b/a is UP{AGAIN}. {online}"),
        (NOTICE, "Server b/a remains in forced drain mode."),
        (NOTICE, f"Server t/t is UP via b/a. 0 active and 0 backup servers online. {NONE_BACK}"),
        (NOTICE, stays),
    ]


def test_a_health_that_an_operator_sets(street: Street) -> None:
    def first(notices: list[Notice]) -> tuple[Severity, str]:
        severity, line = notices[0]
        return severity, line.partition(". ")[0]

    by = ", changed from CLI"
    assert first(street.health("a", Health.DOWN)) == (ALERT, f"Server b/a is DOWN{by}")
    assert first(street.health("a", Health.UP)) == (NOTICE, f"Server b/a is UP{by}")
    assert first(street.health("a", Health.STOPPING)) == (NOTICE, f"Server b/a is stopping{by}")
    assert first(street.health("a", Health.DOWN)) == (NOTICE, f"Server b/a is DOWN{by}")
    street.health("a", Health.STOPPING)
    assert first(street.check("a", PASSED)) == (NOTICE, f"Server b/a is UP{AGAIN}")


def test_a_server_that_its_clients_do_not_reach() -> None:
    observe = Observe(error_limit=2, on_error=OnError.MARK_DOWN)
    street = Street(checked("o", observe=observe))
    assert street.told(street.backends.set_health("b", "o", Health.DOWN, 0.0), Cause.TRAFFIC) == [
        (
            ALERT,
            (
                "Server b/o is DOWN, reason: Health analyze, info: "
                '"Detected 2 consecutive errors, last one was: L4 unsuccessful connection".'
                f" 0 active and 0 backup servers left. {NONE_LEFT}"
            ),
        ),
        (EMERG, "backend b has no server available!"),
    ]


def test_what_a_check_has_told_already_is_not_said_again() -> None:
    street = Street(tells_checks=True)
    assert street.check("c") == [
        (ALERT, f"Server b/c is DOWN. 1 active and 1 backup servers left. {NONE_LEFT}")
    ]
    assert street.health("a", Health.DOWN)[0][1].startswith("Server b/a is DOWN, changed from CLI.")


def test_nothing_is_said_of_weights_but_that_nobody_is_left(street: Street) -> None:
    backends = street.backends
    assert not street.told(backends.set_weight("b", "a", 0, 0.0))
    assert not street.told(backends.set_weight("b", "c", 0, 0.0))
    assert street.told(backends.set_weight("b", "bk", 0, 0.0)) == [
        (EMERG, "backend b has no server available!")
    ]


def test_nothing_is_said_of_servers_that_come_and_go_but_that_nobody_is_left() -> None:
    street = Street(checked("a"))
    backends = street.backends
    assert not street.told(backends.add_server("b", checked("new"), 0.0))
    assert not street.told(backends.remove_server("b", "a", 0.0))
    assert street.told(backends.remove_server("b", "new", 0.0)) == [
        (EMERG, "backend b has no server available!")
    ]


# -- checks


def test_each_step_of_a_check_has_its_count() -> None:
    street = Street(
        Server(name="a", host="h", port=80, check=Check(rise=2, fall=3)), checked("z", backup=True)
    )
    backends, state = street.backends, street.backends.balancer("b").states["a"]
    told: list[str] = []

    def play(result: CheckResult, count: Callable[..., list[Change]]) -> None:
        count("b", "a", 0.0, "")
        severity, line = check_notice("b", state, result)
        assert severity is NOTICE
        told.append(line.removeprefix("Health check for server b/a "))

    play(PASSED, backends.check_passed)
    for _ in range(3):
        play(REFUSED, backends.check_failed)
    for _ in range(2):
        play(PASSED, backends.check_passed)
    good = f"succeeded{AGAIN}, status: "
    bad = f"failed{WHY}, status: "
    assert told == [
        f"{good}3/3 UP.",
        f"{bad}2/3 UP.",
        f"{bad}1/3 UP.",
        f"{bad}0/2 DOWN.",
        f"{good}1/2 DOWN.",
        f"{good}3/3 UP.",
    ]
    backends.set_admin("b", "a", DRAIN, 0.0)
    assert check_notice("b", state, PASSED).line.endswith("status: 3/3 DRAIN.")
    backends.set_admin("b", "a", READY, 0.0)
    backends.set_weight("b", "a", 0, 0.0)
    assert check_notice("b", state, PASSED).line.endswith("status: 3/3 DRAIN.")


def test_a_check_of_a_backup_says_so_and_how_long_it_took(street: Street) -> None:
    state = street.backends.balancer("b").states["bk"]
    assert check_notice("b", state, TIMEOUT).line == (
        "Health check for backup server b/bk failed, reason: Layer4 timeout, check duration: 301ms,"
        " status: 1/1 UP."
    )


def test_a_check_of_several_ports_says_which_one_failed() -> None:
    check = Check(ports=(5022, 5555), rise=1, fall=1)
    street = Street(Server(name="a", host="h", port=80, check=check))
    state = street.backends.balancer("b").states["a"]

    def info(port: int, detail: str = "Connection refused") -> str:
        failed = CheckResult(status=CheckStatus.L4CON, port=port, detail=detail)
        return check_notice("b", state, failed).line.split('"')[1]

    assert info(5555) == "Connection refused at step 2 of tcp-check (connect port 5555)"
    assert info(5022, "") == " at step 1 of tcp-check (connect port 5022)"
    # An operator may have changed the ports meanwhile.
    assert info(1) == "Connection refused at step 1 of tcp-check (connect port 1)"
    passed = CheckResult(status=CheckStatus.L4OK, port=5555)
    assert "info" not in check_notice("b", state, passed).line


def test_a_state_without_a_check_and_without_observation_has_no_reason(street: Street) -> None:
    down = street.backends.set_health("b", "c", Health.DOWN, 0.0)
    assert street.told(down, Cause.CHECK)[0].line.startswith("Server b/c is DOWN. 1 active")
    up = street.backends.set_health("b", "c", Health.UP, 0.0)
    assert "Detected 0 consecutive" in street.told(up, Cause.TRAFFIC)[0].line
