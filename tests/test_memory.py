"""What stick rules remember: by name, by address, by id, and for servers that are down."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from dsbalance.candidates import Client
from dsbalance.counters import BackendCounters
from dsbalance.errors import ConfigError
from dsbalance.memory import Memory
from dsbalance.model import Backend, Check, Server, StickAction, StickRule
from dsbalance.placement import AdminState, Crowd, Placement, ServerState
from dsbalance.sticky import StickTable
from dsbalance.words import SrvKey

CLIENT = Client("10.0.0.1", bytes([10, 0, 0, 1]), 5022)
MATCH, STORE = StickAction.MATCH, StickAction.STORE_REQUEST


def client(address: str) -> Client:
    return Client(address, ip_address(address).packed, 5022)


class Desk:
    """A backend's rules, and its servers."""

    def __init__(
        self, tables: dict[str, StickTable], *servers: Server, name: str = "x", **settings: Any
    ) -> None:
        settings = {"stick": (StickRule(table=next(iter(tables))),), **settings}
        backend = Backend(name=name, servers=servers, **settings)
        self.memory = Memory(backend, tables)
        self.states = {
            each.name: ServerState(each, each.id or number, 0.0, Crowd(BackendCounters()))
            for number, each in enumerate(servers, 1)
        }
        self.memory.register(self.states.values())

    def visit(self, name: str, who: Client = CLIENT, now: float = 0.0) -> Placement:
        placement = Placement(who)
        placement.server = self.states[name]
        self.memory.keep(placement, now)
        return placement

    def recall(self, who: Client = CLIENT, now: float = 0.0) -> str:
        state = self.memory.recall(who, now)
        return state.name if state is not None else "-"

    def ask(self, name: str, admin: AdminState) -> None:
        self.states[name].admin = admin
        self.states[name].settle(1.0)


def table(**settings: Any) -> StickTable:
    return StickTable(**{"size": 10, "ttl": 60.0, **settings})


def server(name: str, host: str = "", **settings: Any) -> Server:
    return Server(name=name, host=host or f"192.0.2.{ord(name[-1])}", port=9, **settings)


# --- who is sent back ----------------------------------------------------------------------------


def sends_back(desk: Desk, placement: Placement, now: float = 0.0) -> bool:
    assert placement.server is not None
    return desk.memory.sends_back(placement, placement.server, now)


def test_a_client_is_sent_back_while_its_entry_says_so_and_its_server_runs() -> None:
    stored = table()
    desk = Desk({"x": stored}, server("a"), server("b"))
    placement = desk.visit("b")
    assert sends_back(desk, placement)
    desk.ask("b", AdminState.MAINT)
    assert not sends_back(desk, placement)
    desk.ask("b", AdminState.READY)
    stored.store(CLIENT.packed, "a", 0.0)
    assert not sends_back(desk, placement)


def test_a_client_that_holds_not_all_of_its_entries_is_not_sent_back() -> None:
    tables = {"x": table(), "y": table(size=1)}
    rules = (StickRule(table="x"), StickRule(table="y"))
    desk = Desk(tables, server("a"), stick=rules)
    desk.visit("a", client("10.0.0.9"))
    placement = desk.visit("a")
    assert len(placement.held) == 1
    assert not sends_back(desk, placement)


def test_with_several_tables_the_first_that_knows_the_client_decides() -> None:
    tables = {"x": table(), "y": table()}
    rules = (StickRule(table="x"), StickRule(table="y"))
    desk = Desk(tables, server("a"), server("b"), stick=rules)
    placement = desk.visit("a")
    assert sends_back(desk, placement)
    tables["x"].store(CLIENT.packed, "b", 0.0)
    assert not sends_back(desk, placement)


def test_who_holds_nothing_is_not_sent_back() -> None:
    desk = Desk({"x": table()}, server("a"))
    assert not sends_back(desk, desk.visit("a", client("2001:db8::1")))


# --- who is recalled -----------------------------------------------------------------------------


def test_a_client_is_recalled_while_its_server_runs() -> None:
    desk = Desk({"x": table()}, server("a"), server("b"))
    assert desk.recall() == "-"
    desk.visit("b")
    for admin, name in (
        (AdminState.READY, "b"),
        (AdminState.DRAIN, "b"),
        (AdminState.MAINT, "-"),
        (AdminState.READY, "b"),
    ):
        desk.ask("b", admin)
        assert desk.recall() == name


def test_an_entry_that_lasts_holds_for_a_server_that_is_down_too() -> None:
    desk = Desk({"x": table()}, server("a"), server("b", check=Check()), persist=True)
    desk.visit("b")
    desk.ask("b", AdminState.MAINT)
    assert desk.recall() == "b"
    desk.ask("b", AdminState.READY)
    desk.states["b"].gate.set_down()
    desk.states["b"].settle(2.0)
    assert desk.recall() == "b"
    desk.memory.forget(desk.states["b"])
    assert desk.recall() == "-"


def test_a_client_that_no_table_has_a_place_for_is_neither_stored_nor_recalled() -> None:
    stored = table()
    desk = Desk({"x": stored}, server("a"))
    placement = desk.visit("a", client("2001:db8::1"))
    assert (placement.held, len(stored), desk.recall(client("2001:db8::1"))) == ((), 0, "-")
    assert desk.visit("a", client("::ffff:10.0.0.1")).held == ((stored, CLIENT.packed),)
    assert desk.recall() == "a"


def test_the_first_table_whose_server_runs_decides() -> None:
    tables = {name: table() for name in "xyz"}
    rules = tuple(StickRule(action=MATCH, table=name) for name in "xyz")
    desk = Desk(tables, server("a"), server("b"), stick=rules)
    tables["x"].store(CLIENT.packed, "gone", 0.0)
    tables["y"].store(CLIENT.packed, "a", 0.0)
    tables["z"].store(CLIENT.packed, "b", 0.0)
    assert desk.recall() == "a"
    desk.ask("a", AdminState.MAINT)
    assert desk.recall() == "b"


def test_a_rule_for_a_table_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="backend x: stick: 'y' has no stick-table"):
        Desk({"x": table()}, stick=(StickRule(table="y"),))
    with pytest.raises(ConfigError, match="backend x: stick: 'x' has no stick-table"):
        Desk({"y": table()}, stick=(StickRule(),))


# --- what is stored ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "non_stick", "stored", "is_held"),
    [
        ((StickAction.ON,), False, "a", True),
        ((STORE,), False, "a", True),
        ((MATCH,), False, None, False),
        ((MATCH, STORE), False, "a", True),
        ((STORE, MATCH), False, "a", True),
        ((STORE, STORE), False, "a", True),
        ((StickAction.ON,), True, None, False),
    ],
)
def test_a_rule_stores_as_its_action_says(
    actions: tuple[StickAction, ...], non_stick: bool, stored: str | None, is_held: bool
) -> None:
    kept = table()
    rules = tuple(StickRule(action=action) for action in actions)
    desk = Desk({"x": kept}, server("a", non_stick=non_stick), stick=rules)
    placement = desk.visit("a")
    assert kept.peek(CLIENT.packed, 0.0) == stored
    assert bool(placement.held) is is_held
    assert kept.uses(CLIENT.packed) == is_held


@pytest.mark.parametrize("settings", [{"action": MATCH}, {}])
def test_an_entry_that_is_not_to_be_written_is_held_all_the_same(settings: dict[str, Any]) -> None:
    kept = table()
    kept.store(CLIENT.packed, "b", 0.0)
    desk = Desk({"x": kept}, server("a", non_stick=True), stick=(StickRule(**settings),))
    assert desk.visit("a").held == ((kept, CLIENT.packed),)
    assert kept.peek(CLIENT.packed, 0.0) == "b"


def test_a_full_table_that_does_not_purge_holds_nothing() -> None:
    desk = Desk({"x": table(size=1, nopurge=True)}, server("a"))
    assert len(desk.visit("a").held) == 1
    assert desk.visit("a", client("10.0.0.2")).held == ()


# --- by address ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port", "key"),
    [
        ("192.0.2.1", 9100, "192.0.2.1:9100"),
        ("2001:db8::1", 9100, "2001:db8::1:9100"),
        ("192.0.2.1", None, "192.0.2.1:+0"),
    ],
)
def test_an_entry_may_say_the_address(host: str, port: int | None, key: str) -> None:
    kept = table(srvkey=SrvKey.ADDR)
    desk = Desk({"x": kept}, Server(name="a", host=host, port=port))
    desk.visit("a")
    assert kept.peek(CLIENT.packed, 0.0) == key
    assert desk.recall() == "a"


def test_of_two_servers_with_one_address_the_first_is_found() -> None:
    desk = Desk(
        {"x": table(srvkey=SrvKey.ADDR)}, server("a", "192.0.2.1"), server("b", "192.0.2.1")
    )
    desk.visit("b")
    assert desk.recall() == "a"
    desk.memory.forget(desk.states["a"])
    assert desk.recall() == "b"


def test_backends_that_share_a_table_by_address_need_no_common_names() -> None:
    tables = {"x": table(srvkey=SrvKey.ADDR)}
    here = Desk(tables, server("a", "192.0.2.1"), server("b", "192.0.2.2"))
    there = Desk(tables, server("q", "192.0.2.2"), server("p", "192.0.2.1"), name="y")
    here.visit("a")
    assert there.recall() == "p"


# --- by id, where the names differ ---------------------------------------------------------------


def test_a_name_that_a_backend_does_not_know_is_looked_up_by_its_id() -> None:
    # Observed on HAProxy 2.6.12: the name first, then the id, then the policy.
    tables = {"x": table()}
    here = Desk(tables, server("a"), server("b"))
    there = Desk(tables, server("q"), server("a", id=7), server("p", id=2), name="y")
    here.visit("a")
    assert there.recall() == "a"
    here.visit("b")
    assert there.recall() == "p"
    there.visit("q")
    assert here.recall() == "a"


def test_a_name_whose_id_nobody_has_is_nobody() -> None:
    tables = {"x": table()}
    here = Desk(tables, server("a", id=9))
    there = Desk(tables, server("q"), name="y")
    here.visit("a")
    assert there.recall() == "-"


def test_a_name_of_which_nobody_stored_the_id_is_nobody() -> None:
    tables = {"x": table()}
    desk = Desk(tables, server("a"), stick=(StickRule(action=MATCH),))
    assert tables["x"].ids == {}
    tables["x"].store(CLIENT.packed, "z", 0.0)
    assert desk.recall() == "-"


# --- who comes and goes --------------------------------------------------------------------------


def test_a_server_that_is_forgotten_is_recalled_no_more_until_one_of_its_name_comes() -> None:
    desk = Desk({"x": table()}, server("a"), server("b"))
    desk.visit("a")
    desk.memory.forget(desk.states["a"])
    assert desk.recall() == "-"
    new = ServerState(server("a", id=5), 5, 0.0, Crowd(BackendCounters()))
    desk.memory.register([new])
    assert desk.memory.recall(CLIENT, 0.0) is new


# --- how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize("srvkey", SrvKey)
def test_entries_are_counted_in_the_first_table_that_is_stored_into(srvkey: SrvKey) -> None:
    tables = {"x": table(), "y": table(srvkey=srvkey)}
    rules = (StickRule(action=MATCH, table="x"), StickRule(table="y"))
    desk = Desk(tables, server("a"), server("b"), stick=rules)
    tables["x"].store(CLIENT.packed, "a", 0.0)
    for last in range(3):
        desk.visit("a" if last else "b", client(f"10.0.1.{last}"))
    assert [desk.memory.count(name) for name in "abz"] == [2, 1, 0]


def test_where_nothing_is_stored_nothing_is_counted() -> None:
    tables = {"x": table()}
    desk = Desk(tables, server("a"), stick=(StickRule(action=MATCH),))
    tables["x"].store(CLIENT.packed, "a", 0.0)
    assert desk.memory.count("a") == 0


# --- what there is to see ------------------------------------------------------------------------


def seen(desk: Desk, who: Client = CLIENT, now: float = 0.0) -> str:
    found = desk.memory.look_up(who, now)
    return " ".join(f"{f.says}:{f.state.name if f.state else '-'}:{f.is_kept:d}" for f in found)


def test_what_the_entries_of_a_client_say_can_be_seen_without_a_touch() -> None:
    tables = {"x": table(), "y": table()}
    rules = (StickRule(action=MATCH, table="x"), StickRule(action=MATCH, table="y"))
    desk = Desk(tables, server("a"), server("b"), stick=rules)
    assert seen(desk) == ""
    tables["x"].store(CLIENT.packed, "a", 0.0)
    tables["y"].store(CLIENT.packed, "z", 0.0)
    assert seen(desk) == "a:a:1 z:-:0"
    desk.ask("a", AdminState.MAINT)
    assert seen(desk) == "a:a:0 z:-:0"
    # It was not touched by being looked at.
    assert seen(desk, now=59.0) == "a:a:0 z:-:0"
    assert seen(desk, now=60.0) == ""
    assert seen(desk, client("2001:db8::1")) == "", "the tables have no place for it"


def test_who_looks_up_an_entry_is_told_what_would_be_done_with_it_and_changes_nothing() -> None:
    for is_lasting in (False, True):
        kept = table()
        desk = Desk({"x": kept}, server("a"), persist=is_lasting)
        desk.visit("a")
        desk.ask("a", AdminState.MAINT)
        (found,) = desk.memory.look_up(CLIENT, 1.0)
        assert found == ("a", desk.states["a"], is_lasting)
        assert list(desk.memory.look_up(client("2001:db8::1"), 1.0)) == []
