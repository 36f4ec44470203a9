"""Every name in a configuration has one owner, and finds what it names, or is told."""

from __future__ import annotations

import pytest

from dsbalance import conditions
from dsbalance.conditions import Condition, Fetch, Term
from dsbalance.door import BackendRule, DoorAction, DoorRule
from dsbalance.errors import ConfigError
from dsbalance.http_options import Deny, HttpOptions
from dsbalance.model import (
    Backend,
    Bind,
    Check,
    Config,
    Frontend,
    Server,
    StickRule,
    Table,
)
from dsbalance.references import ambiguous, dangling, rules_of
from dsbalance.stats_options import StatsPage


def backend(name: str, *servers: Server, table: str | None = None, owns: bool = False) -> Backend:
    return Backend(
        name=name,
        servers=servers,
        table=Table(size=1) if owns else None,
        stick=(StickRule(table=table),) if table else (),
    )


def server(name: str, *, track: str | None = None, check: Check | None = None) -> Server:
    return Server(name=name, host="h", port=1, track=track, check=check, guid=name)


def unchecked(*backends: Backend, frontends: tuple[Frontend, ...] = ()) -> Config:
    """Return a configuration as it is before its names have been looked up."""
    made = object.__new__(Config)
    object.__setattr__(made, "backends", backends)
    object.__setattr__(made, "frontends", frontends)
    return made


def test_a_name_that_several_would_answer_to_is_told() -> None:
    twice = Frontend(name="f", binds=(Bind(port=1),), backend="b")
    made = unchecked(backend("b", server("s")), backend("b", server("s")), frontends=(twice, twice))
    assert [str(problem) for problem in ambiguous(made)] == [
        "frontend 'f' is given 2 times",
        "backend 'b' is given 2 times",
        "guid 's' is given 2 times",
    ]


def test_names_that_are_their_own_are_not_told() -> None:
    servers = Server(name="s", host="h"), Server(name="t", host="h")
    assert list(ambiguous(unchecked(backend("b", *servers), backend("c", *servers)))) == []


def test_a_name_that_nothing_answers_to_is_told_with_who_gives_it() -> None:
    made = unchecked(
        backend("own", server("s", check=Check()), server("plain"), owns=True),
        backend("b", server("t", track="own/s"), server("u", track="own/x"), table="own"),
        backend("c", server("v", track="b/t"), server("w", track="own/plain"), table="b"),
        frontends=(
            Frontend(name="f", binds=(Bind(port=1),), backend="z"),
            Frontend(name="g", binds=(Bind(port=1),), backend="b"),
        ),
    )
    assert [str(problem) for problem in dangling(made)] == [
        "frontend f: there is no backend 'z'",
        "backend c: stick: 'b' has no stick-table",
        "backend b, server u: track: there is no server 'own/x'",
        "backend c, server v: track: b/t tracks another server itself",
        "backend c, server w: track: own/plain is not checked",
    ]


# --- modes, tables, counted backends -------------------------------------------------------------

COUNTING = Table(size=1, stores_conn_cur=True)
HTTP = HttpOptions()


def frontend(name: str = "f", target: str = "b", **said: object) -> Frontend:
    return Frontend(name=name, binds=(Bind(port=1),), backend=target, **said)  # type: ignore[arg-type]


def counting(*names: str | None) -> Condition:
    """Return a condition that counts the servers of backends."""
    tests = tuple(
        conditions.Look(fetch=Fetch.NBSRV, ranges=((1, None),), backend=name) for name in names
    )
    term = Term(tests=tests, name="x")
    return Condition(alternatives=((term,), (term, term)))


def track(table: str | None = None) -> DoorRule:
    return DoorRule(action=DoorAction.TRACK, table=table)


def found(*backends: Backend, frontends: tuple[Frontend, ...] = ()) -> list[str]:
    return [str(problem) for problem in dangling(unchecked(*backends, frontends=frontends))]


def test_a_frontend_and_its_backends_are_of_one_mode() -> None:
    backends = (Backend(name="b"), Backend(name="h", http=HTTP))
    route = BackendRule(backend="h")
    made = (
        frontend("one", "b", http=HTTP),
        frontend("two", "h"),
        frontend("three", "b", routes=(route, BackendRule(backend="z"))),
        frontend("four", "h", http=HTTP, routes=(route,)),
    )
    assert found(*backends, frontends=made) == [
        "frontend one: backend 'b' is in mode tcp, the frontend in mode http",
        "frontend two: backend 'h' is in mode http, the frontend in mode tcp",
        "frontend three: backend 'h' is in mode http, the frontend in mode tcp",
        "frontend three: there is no backend 'z'",
    ]


def test_a_client_is_tracked_in_a_table_that_counts() -> None:
    backends = (
        Backend(name="b", table=Table(size=1)),
        Backend(name="counts", table=COUNTING),
        Backend(name="rates", table=Table(size=1, conn_rate_period=1.0)),
    )
    made = (
        frontend("own", table=COUNTING, door=(track(), track("own"), track("rates"))),
        frontend("other", door=(track("own"), track("counts"))),
        frontend("none", door=(track(), track("z"), track("b"))),
        frontend("idle", table=Table(size=1), door=(track(), DoorRule(action=DoorAction.REJECT))),
    )
    assert found(*backends, frontends=made) == [
        "frontend none: track-sc0: 'none' has no stick-table",
        "frontend none: track-sc0: 'z' has no stick-table",
        "frontend none: track-sc0: the stick-table of 'b' stores no connections",
        "frontend idle: track-sc0: the stick-table of 'idle' stores no connections",
    ]


def test_servers_are_counted_of_a_backend_that_there_is() -> None:
    condition = counting("b", None, "y", "x")
    rule = Deny(status=502, condition=condition)
    made = (
        frontend(
            "all",
            http=HttpOptions(request_rules=(rule,)),
            door=(DoorRule(action=DoorAction.REJECT, condition=counting("door")),),
            routes=(BackendRule(backend="b", condition=counting("route")),),
        ),
        frontend("none", http=HTTP, door=(DoorRule(action=DoorAction.ACCEPT),)),
    )
    backend = Backend(name="b", http=HttpOptions(response_rules=(rule,)))
    assert found(backend, frontends=made) == [
        "frontend all: nbsrv: there is no backend 'door'",
        "frontend all: nbsrv: there is no backend 'route'",
        "frontend all: nbsrv: there is no backend 'x'",
        "frontend all: nbsrv: there is no backend 'y'",
        "backend b: nbsrv: there is no backend 'x'",
        "backend b: nbsrv: there is no backend 'y'",
    ]


def test_a_frontend_and_the_backend_of_its_name_have_one_table_between_them() -> None:
    both = (frontend("b", table=COUNTING),)
    made = unchecked(Backend(name="b", table=COUNTING), frontends=both)
    assert [str(problem) for problem in ambiguous(made)] == [
        "frontend b: it and the backend of its name have a stick-table each"
    ]
    assert not list(ambiguous(unchecked(Backend(name="b"), frontends=both)))


def test_a_configuration_asks_when_it_is_made() -> None:
    with pytest.raises(ConfigError, match="frontend f: track-sc0: 'f' has no stick-table"):
        Config(frontends=(frontend(door=(track(),)),), backends=(Backend(name="b"),))


def test_an_id_is_that_of_one_proxy_or_of_both_sides_of_a_listen() -> None:
    made = unchecked(
        Backend(name="a", id=5),
        Backend(name="b", id=6),
        Backend(name="c", id=6),
        Backend(name="d"),
        frontends=(frontend("a", id=5), frontend("c", id=5), frontend("d")),
    )
    assert [str(problem) for problem in ambiguous(made)] == [
        "frontend c: id 5 is that of a already",
        "backend c: id 6 is that of b already",
    ]


def test_two_backends_do_not_share_the_id_of_a_listen() -> None:
    made = unchecked(Backend(name="a", id=5), Backend(name="b", id=5), frontends=())
    assert [str(problem) for problem in ambiguous(made)] == ["backend b: id 5 is that of a already"]


def test_who_may_change_something_may_depend_on_servers_too() -> None:
    page = StatsPage(admin=counting("x"))
    made = frontend("f", http=HttpOptions(stats=page))
    assert found(Backend(name="b", http=HttpOptions()), frontends=(made,)) == [
        "frontend f: nbsrv: there is no backend 'x'"
    ]
    assert rules_of(HttpOptions(stats=StatsPage(admin=True)))[0].condition is None
