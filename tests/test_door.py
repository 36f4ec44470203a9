"""The rules at the door: who comes in, who does not, and what is counted of whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance import Table
from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.door import DoorAction, Doorkeeper, DoorRule, Verdict, Visitor
from dsbalance.errors import ConfigError
from dsbalance.tracking import Tracking

ACCEPT, REJECT, TRACK, EXPECT_PROXY = DoorAction
ACCEPTED, ANNOUNCED, REJECTED = Verdict


@dataclass
class Fake:
    """A world whose clock is moved by hand."""

    now: float = 0.0
    servers: dict[str | None, int] = field(default_factory=dict)

    def nbsrv(self, backend: str | None) -> int | None:
        return self.servers.get(backend)


def src(network: str, *, is_unless: bool = False) -> Condition:
    return _when(Look(fetch=Fetch.SRC, networks=(ip_network(network),)), is_unless)


def above(fetch: Fetch, number: int, backend: str | None = None) -> Condition:
    return _when(Look(fetch=fetch, ranges=((number + 1, None),), backend=backend))


def known(fetch: Fetch) -> Condition:
    return _when(Look(fetch=fetch, ranges=((None, None),)))


def _when(look: Look, is_unless: bool = False) -> Condition:
    return Condition(alternatives=((Term(tests=(look,)),),), is_unless=is_unless)


def rule(action: DoorAction, when: Condition | None = None, table: str | None = None) -> DoorRule:
    return DoorRule(action=action, condition=when, table=table)


class House:
    """A door with tables, and clients that come to it."""

    def __init__(self, *rules: DoorRule, **tables: Table) -> None:
        self.world = Fake()
        self.tables = {name: Tracking(table) for name, table in tables.items()}
        self.keeper = Doorkeeper(rules, lambda name: self.tables[name or "own"])

    def come(self, source: str = "10.0.0.1", port: int = 5014) -> tuple[Verdict, Visitor]:
        visitor = Visitor(ip_address(source).packed, port, self.world)
        return self.keeper.judge(visitor), visitor

    def verdict(self, source: str = "10.0.0.1", port: int = 5014) -> Verdict:
        return self.come(source, port)[0]


COUNTS = Table(size=10, expire=60.0, stores_conn_cur=True, conn_rate_period=10.0)


# -- verdicts


def test_without_rules_everybody_comes_in() -> None:
    assert House().verdict() is ACCEPTED


def test_the_first_rule_that_has_the_last_word_decides() -> None:
    house = House(
        rule(ACCEPT, src("10.0.0.1")), rule(REJECT, src("10.0.0.0/24")), rule(ACCEPT), rule(REJECT)
    )
    assert house.verdict("10.0.0.1") is ACCEPTED
    assert house.verdict("10.0.0.2") is REJECTED
    assert house.verdict("10.0.1.1") is ACCEPTED


def test_unless_is_if_turned_round() -> None:
    house = House(rule(REJECT, src("10.0.0.0/24", is_unless=True)))
    assert house.verdict("10.0.0.1") is ACCEPTED
    assert house.verdict("10.0.1.1") is REJECTED


def test_who_is_a_proxy_has_to_say_for_whom_it_comes() -> None:
    house = House(rule(EXPECT_PROXY, src("10.0.0.9")), rule(REJECT, src("10.0.0.8/31")))
    assert house.verdict("10.0.0.1") is ACCEPTED
    assert house.verdict("10.0.0.9") is REJECTED
    house = House(rule(EXPECT_PROXY, src("10.0.0.9")), rule(ACCEPT))
    assert house.verdict("10.0.0.9") is ANNOUNCED
    house = House(rule(ACCEPT), rule(EXPECT_PROXY))
    assert house.verdict("10.0.0.9") is ACCEPTED


def test_the_port_and_the_servers_are_seen() -> None:
    house = House(
        rule(REJECT, above(Fetch.DST_PORT, 6000)), rule(REJECT, above(Fetch.NBSRV, 1, "b"))
    )
    assert house.verdict(port=6001) is REJECTED
    assert house.verdict(port=6000) is ACCEPTED
    house.world.servers["b"] = 2
    assert house.verdict(port=6000) is REJECTED


# -- counting


def test_connections_beyond_the_limit_are_rejected_until_one_ends() -> None:
    house = House(rule(TRACK), rule(REJECT, above(Fetch.SC0_CONN_CUR, 2)), own=COUNTS)
    (_, first), (_, second) = house.come(), house.come()
    assert (first.sc0_conn_cur, first.track) == (2, second.track)
    verdict, late = house.come()
    assert (verdict, late.track) == (REJECTED, None)
    assert first.sc0_conn_cur == 2
    assert house.verdict("10.0.0.2") is ACCEPTED
    second.end_track()
    assert house.verdict() is ACCEPTED


def test_who_is_rejected_counts_in_the_rate_all_the_same() -> None:
    house = House(rule(TRACK), rule(REJECT, above(Fetch.SC0_CONN_RATE, 3)), own=COUNTS)
    found = []
    for _ in range(5):
        verdict, visitor = house.come()
        visitor.end_track()
        found.append(verdict)
    assert found == [ACCEPTED] * 3 + [REJECTED] * 2
    house.world.now = 19.9
    assert house.verdict() is ACCEPTED
    house.world.now = 20.0
    _, visitor = house.come()
    assert visitor.sc0_conn_rate == 2


def test_before_it_is_tracked_nothing_is_known_of_a_source() -> None:
    for fetch in (Fetch.SC0_CONN_CUR, Fetch.SC0_CONN_RATE):
        house = House(rule(REJECT, known(fetch)), rule(TRACK), own=COUNTS)
        assert house.verdict() is ACCEPTED
        house = House(rule(TRACK), rule(REJECT, known(fetch)), own=COUNTS)
        assert house.verdict() is REJECTED


def test_what_the_table_does_not_store_is_not_known() -> None:
    stores_nothing = Table(size=10, stores_conn_cur=True)
    house = House(rule(TRACK), rule(REJECT, known(Fetch.SC0_CONN_RATE)), own=stores_nothing)
    assert house.verdict() is ACCEPTED


def test_the_first_rule_that_can_count_does() -> None:
    house = House(
        rule(TRACK, src("10.0.0.1"), "a"),
        rule(TRACK, table="b"),
        rule(TRACK, table="a"),
        a=COUNTS,
        b=COUNTS,
    )
    house.come("10.0.0.1")
    house.come("10.0.0.2")
    assert (len(house.tables["a"]), len(house.tables["b"])) == (1, 1)


def test_a_table_that_cannot_count_a_source_leaves_it_to_the_next_rule() -> None:
    wide = Table(size=10, type="ipv6", stores_conn_cur=True)  # type: ignore[arg-type]
    house = House(rule(TRACK), rule(TRACK, table="wide"), own=COUNTS, wide=wide)
    _, visitor = house.come("2001:db8::1")
    assert visitor.sc0_conn_cur == 1
    assert (len(house.tables["own"]), len(house.tables["wide"])) == (0, 1)


def test_who_cannot_be_counted_comes_in() -> None:
    full = Table(size=1, stores_conn_cur=True)
    house = House(rule(TRACK), rule(REJECT, above(Fetch.SC0_CONN_CUR, 1)), own=full)
    assert house.verdict("10.0.0.1") is ACCEPTED
    for _ in range(3):
        verdict, visitor = house.come("10.0.0.2")
        assert (verdict, visitor.track) == (ACCEPTED, None)
        visitor.end_track()
    assert house.verdict("10.0.0.1") is REJECTED


def test_who_is_accepted_before_the_counting_is_not_counted() -> None:
    house = House(rule(ACCEPT, src("10.0.0.1")), rule(TRACK), own=COUNTS)
    _, visitor = house.come("10.0.0.1")
    assert (visitor.track, visitor.sc0_conn_cur, visitor.sc0_conn_rate) == (None, None, None)


def test_a_visitor_shows_who_it_is() -> None:
    assert repr(Visitor(bytes((10, 0, 0, 1)), 5014, Fake())) == "<Visitor 0a000001 at 5014, None>"


_SOURCES = ["10.0.0.1", "10.0.0.2", "10.0.1.1"]
_conditions = st.sampled_from(
    [
        None,
        src("10.0.0.1"),
        src("10.0.0.0/24"),
        src("10.0.0.0/24", is_unless=True),
        above(Fetch.SC0_CONN_CUR, 1),
        known(Fetch.SC0_CONN_CUR),
    ]
)


@given(
    st.lists(st.tuples(st.sampled_from(DoorAction), _conditions), max_size=5),
    st.lists(st.sampled_from(_SOURCES), max_size=12),
)
def test_any_rules_judge_as_if_each_were_read_aloud(
    rules: list[tuple[DoorAction, Condition | None]], sources: list[str]
) -> None:
    house = House(*(rule(*words) for words in rules), own=Table(size=10, stores_conn_cur=True))
    current: Counter[str] = Counter()
    for source in sources:
        is_tracked, expected = False, ACCEPTED
        for action, condition in rules:
            facts = Visitor(ip_address(source).packed, 5014, house.world)
            facts.track = _Said(current[source]) if is_tracked else None  # type: ignore[assignment]
            if condition is not None and not condition.holds(facts):
                continue
            if action is TRACK and not is_tracked:
                is_tracked = True
                current[source] += 1
            elif action is EXPECT_PROXY:
                expected = ANNOUNCED
            elif action is REJECT:
                expected = REJECTED
                current[source] -= is_tracked
            if action in (ACCEPT, REJECT):
                break
        verdict, visitor = house.come(source)
        assert verdict is expected
        assert visitor.sc0_conn_cur == (
            current[source] if is_tracked and verdict is not REJECTED else None
        )
    house.tables["own"]._check(0.0)


class _Said(int):
    """Counters that say one number."""

    @property
    def conn_cur(self) -> int:
        return int(self)


# -- what is refused


def test_only_counting_names_a_table() -> None:
    with pytest.raises(ConfigError, match="reject does not name a table"):
        rule(REJECT, table="t")
    with pytest.raises(ConfigError, match="action must be one of accept, reject"):
        DoorRule(action="drop")  # type: ignore[arg-type]
    assert DoorRule(action="track-sc0", table="t").action is TRACK  # type: ignore[arg-type]
