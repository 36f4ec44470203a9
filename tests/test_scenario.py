"""What a plan changes: names to servers, and backends that decide alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from dsbalance import (
    Backend,
    Balance,
    Bind,
    Candidates,
    Check,
    Client,
    Config,
    ConfigError,
    Frontend,
    Server,
    StickRule,
    Table,
)
from dsbalance.door import BackendRule
from dsbalance.haproxy.config import read
from dsbalance.http_options import HttpOptions
from dsbalance.model import HashKey, InitState, StickAction
from dsbalance.placement import Placement, Stage
from dsbalance.scenario import Group, Scenario, Trial, find_groups, resolve, retry
from dsbalance.suite import suite

A = Server(name="a", host="10.0.0.1", port=80, check=Check())
B = Server(name="b", host="10.0.0.2", port=80, check=Check())
K = Server(name="k", host="10.0.0.9", port=80, backup=True)


def backend(name: str, *servers: Server, **words: Any) -> Backend:
    return Backend(name=name, servers=servers or (A, B), **words)


def tracking(name: str, **words: Any) -> tuple[Server, ...]:
    """Return servers a and b that track those of another backend."""
    return tuple(
        replace(server, check=None, track=f"{name}/{server.name}", **words) for server in (A, B)
    )


def named(*backends: Backend) -> list[tuple[str, ...]]:
    """Return the names of each group."""
    return [group.names for group in find_groups(Config(backends=backends))]


def trial(config: Config, name: str | None = None, **words: Any) -> Trial:
    """Return a trial of the first group, with a change made."""
    groups = find_groups(config, name)
    found = Trial(config, groups[0])
    found.apply(resolve(Scenario(**words), config, groups))
    return found


def words_of(found: Trial) -> dict[str, str]:
    return {name: state.word for name, state in found.balancer.states.items()}


# -- groups

TABLE = Table(size=10)
STUCK = StickRule(table="one")


def test_backends_with_one_table_or_one_health_are_one_group() -> None:
    one = backend("one", table=TABLE, stick=(StickRule(),))
    assert named(one, backend("two", stick=(STUCK,))) == [("one", "two")]
    assert named(backend("one"), backend("two", *tracking("one"))) == [("one", "two")]
    assert named(backend("two", *tracking("one")), backend("one")) == [("two", "one")]
    config = suite(paragon=["10.0.0.1"], phoenix=["10.0.0.1"], print_ports=[515])
    assert [group.names for group in find_groups(config)] == [
        ("paragon", "paragon-http", "paragon-print"),
        ("phoenix", "phoenix-http"),
    ]


def test_backends_that_have_nothing_in_common_are_shown_apart() -> None:
    assert named(backend("one"), backend("two")) == [("one",), ("two",)]


@pytest.mark.parametrize(
    "change",
    [
        lambda two: replace(two, balance=Balance.LEASTCONN),
        lambda two: replace(two, allbackups=True),
        lambda two: replace(two, redispatch=1),
        lambda two: replace(two, servers=two.servers[:1]),
        lambda two: replace(two, servers=two.servers[::-1]),
        lambda two: replace(two, servers=tracking("one", weight=2)),
        lambda two: replace(two, servers=tracking("one", disabled=True)),
        lambda two: replace(two, servers=tracking("one", hash_key=HashKey.ADDR)),
        lambda two: replace(two, stick=(replace(STUCK, action=StickAction.MATCH),)),
    ],
)
def test_linked_backends_that_decide_otherwise_are_shown_apart(
    change: Callable[[Backend], Backend],
) -> None:
    one = backend("one", table=TABLE, stick=(StickRule(),))
    two = backend("two", *tracking("one"), stick=(STUCK,))
    assert named(one, two) == [("one", "two")]
    assert named(one, change(two)) == [("one",), ("two",)]


def test_what_decides_nothing_makes_no_difference() -> None:
    followers = tracking("one", port=443, send_proxy="send-proxy")
    two = backend("two", *followers, timeout_server=5.0, http=HttpOptions())
    assert named(backend("one"), two) == [("one", "two")]


def test_a_port_decides_where_it_is_hashed() -> None:
    def by_port(name: str, port: int) -> Backend:
        server = replace(A, port=port, hash_key=HashKey.ADDR_PORT)
        return backend(name, server, table=None, stick=(STUCK,))

    one = replace(by_port("one", 80), table=TABLE)
    assert named(one, by_port("two", 80)) == [("one", "two")]
    assert named(one, by_port("two", 81)) == [("one",), ("two",)]


def test_a_backend_that_only_keeps_a_table_is_not_shown() -> None:
    keeper = Backend(name="keeper", table=TABLE)
    assert named(keeper, backend("one", stick=(StickRule(table="keeper"),))) == [("one",)]


def test_one_group_is_chosen_by_any_of_its_names() -> None:
    config = suite(paragon=["10.0.0.1"], phoenix=["10.0.0.1"])
    assert [group.name for group in find_groups(config, "phoenix-http")] == ["phoenix"]
    with pytest.raises(ConfigError, match="no backend with servers 'x'; there is paragon, phoenix"):
        find_groups(config, "x")
    with pytest.raises(ConfigError, match=r"there is no backend with servers$"):
        find_groups(Config())


# -- where clients come in


@pytest.mark.parametrize(
    ("binds", "address", "source", "port"),
    [
        ([Bind(port=80), Bind(port=81)], "10.1.0.7", "10.1.0.7", 80),
        ([Bind(host="::", port=80)], "10.1.0.7", "::ffff:10.1.0.7", 80),
        ([Bind(host="::", port=80), Bind(port=81)], "10.1.0.7", "::ffff:10.1.0.7", 80),
        ([Bind(host="::", port=80, v6only=True), Bind(port=81)], "10.1.0.7", "10.1.0.7", 81),
        ([Bind(host="::1", port=80)], "10.1.0.7", "10.1.0.7", 0),
        ([Bind(port=80), Bind(host="::", port=81)], "2001:db8::7", "2001:db8::7", 81),
        ([Bind(port=80)], "2001:db8::7", "2001:db8::7", 0),
        ([], "10.1.0.7", "10.1.0.7", 0),
    ],
)
def test_a_client_comes_as_the_first_listener_that_takes_it_sees_it(
    binds: list[Bind], address: str, source: str, port: int
) -> None:
    group = Group(backend=backend("one"), binds=tuple(binds))
    client = group.client(ip_address(address))
    assert client == Client(source, ip_address(source).packed, port)


def test_the_first_frontend_that_leads_to_a_group_counts() -> None:
    def frontend(name: str, port: int) -> Frontend:
        return Frontend(name=name, binds=(Bind(port=port),), backend="one")

    config = Config(backends=(backend("one"),), frontends=(frontend("f", 1), frontend("g", 2)))
    (group,) = find_groups(config)
    assert group.binds == (Bind(port=1),)


def test_a_frontend_leads_to_every_backend_that_it_may_choose() -> None:
    frontend = Frontend(
        name="f",
        binds=(Bind(port=1),),
        backend="one",
        routes=(BackendRule(backend="two"),),
    )
    config = Config(backends=(backend("one"), backend("two")), frontends=(frontend,))
    assert [group.binds for group in find_groups(config)] == [frontend.binds] * 2


# -- changes

PAIR = Config(backends=(backend("one"), backend("two", A, B, K)))


def test_a_name_means_a_server_in_every_backend_or_in_one() -> None:
    groups = find_groups(PAIR)
    both = resolve(Scenario(lose=["a"], weights={"b": 3}), PAIR, groups)
    assert both.lose == (("one", "a"), ("two", "a"))
    assert both.weights == {("one", "b"): 3, ("two", "b"): 3}
    assert resolve(Scenario(lose=["two/a", "two/a"]), PAIR, groups).lose == (("two", "a"),)


def test_who_tracks_another_is_lost_with_it() -> None:
    config = Config(backends=(backend("one"), backend("two", *tracking("one"), K)))
    for name in ("one", "two"):
        found = trial(config, name, lose=["two/a"])
        assert words_of(found)["a"] == "DOWN"
        assert words_of(found)["b"] == "UP"


def test_one_server_after_the_other_can_be_lost() -> None:
    config = Config(backends=(backend("one"), backend("two", *tracking("one"), K)))
    found = Trial(config, find_groups(config, "two")[0])
    found.lose("a")
    assert words_of(found) == {"a": "DOWN", "b": "UP", "k": "no check"}
    found.lose("k")
    assert words_of(found) == {"a": "DOWN", "b": "UP", "k": "DOWN"}


def test_names_of_backends_that_are_not_looked_at_are_known() -> None:
    groups = find_groups(PAIR, "two")
    assert resolve(Scenario(lose=["one/a"]), PAIR, groups).lose == (("one", "a"),)
    assert list(resolve(Scenario(add={"c": "10.0.0.3"}), PAIR, groups).add) == ["two"]
    assert list(resolve(Scenario(add={"one/c": "10.0.0.3"}), PAIR, groups).add) == ["one"]


def test_a_name_of_a_fellow_means_the_group() -> None:
    config = suite(paragon=["10.0.0.1", "10.0.0.2"])
    found = trial(config, lose=["paragon-http/primary-1"], weights={"paragon-http/primary-2": 7})
    assert words_of(found) == {"primary-1": "DOWN", "primary-2": "UP"}
    assert found.balancer.states["primary-2"].server.weight == 7


def test_a_server_that_is_added_is_like_the_last_one_that_is_no_backup() -> None:
    last = replace(B, id=7, guid="x", weight=5, disabled=True, slowstart=9.0, maxconn=3)
    config = Config(backends=(backend("one", A, last, K),))
    found = trial(config, add={"c": "10.0.0.3", "one/d": "[::1]:81"}, weights={"d": 2})
    c, d = (found.balancer.states[name].server for name in "cd")
    assert c == replace(B, name="c", host="10.0.0.3", weight=5, maxconn=3)
    assert (d.host, d.port, d.weight) == ("::1", 81, 2)
    linked = Config(backends=(backend("one"), backend("two", *tracking("one"), K)))
    found = trial(linked, "two", add={"two/c": "10.0.0.3"}, lose=["a", "b"])
    assert words_of(found)["c"] == "no check", "it has a health of its own"
    only_backups = Config(backends=(backend("one", K),))
    assert trial(only_backups, add={"c": "10.0.0.3"}).balancer.states["c"].server.backup


def test_everybody_is_well_at_the_start_but_who_is_in_maintenance() -> None:
    late = replace(A, init_state=InitState.FULLY_DOWN, slowstart=60.0)
    config = Config(backends=(backend("one", late, replace(B, disabled=True)),))
    assert words_of(trial(config)) == {"a": "UP", "b": "MAINT"}
    # There is nothing left to lose.
    assert words_of(trial(config, lose=["b"])) == {"a": "UP", "b": "MAINT"}


def test_what_is_changed_elsewhere_does_not_concern_a_backend() -> None:
    groups = find_groups(PAIR)
    for change in ({"lose": ["two/a"]}, {"add": {"two/c": "10.0.0.3"}}, {"weights": {"two/a": 2}}):
        edits = resolve(Scenario(**change), PAIR, groups)
        one, two = (Trial(PAIR, group) for group in groups)
        assert (one.concerns(edits), two.concerns(edits)) == (False, True)
        assert one.apply(edits) == []
        assert two.apply(edits)


def test_a_trial_needs_no_backend_that_has_no_part_in_it() -> None:
    broken = backend("two", policy="no.such:Thing")
    config = Config(backends=(backend("one"), broken))
    assert words_of(trial(config, "one")) == {"a": "UP", "b": "UP"}
    with pytest.raises(ConfigError, match=r"no\.such"):
        trial(config, "two")


def test_a_trial_needs_none_of_those_that_conditions_on_heads_count() -> None:
    text = "defaults\nmode http\nbackend one\nserver a h:1\n"
    text += "http-request deny if { nbsrv(two) lt 1 }\nbackend two\nserver b h:1\n"
    assert words_of(trial(read([("x.cfg", text)]).config, "one")) == {"a": "no check"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"lose": ["x"]}, r"there is no server 'x'; there is a, b, k$"),
        ({"lose": ["one/k"]}, "there is no server 'one/k'; there is one/a, one/b, two/a"),
        ({"lose": ["x/a"]}, "there is no server 'x/a'"),
        ({"weights": {"x": 1}}, "there is no server 'x'"),
        ({"weights": {"a": 257}}, "weight must be 0 to 256, not 257"),
        ({"add": {"c": "10.0.0.3"}}, "say BACKEND/c, for there are several: one, two"),
        ({"add": {"x/c": "10.0.0.3"}}, "there is no backend with servers 'x'"),
        ({"add": {"one/a": "10.0.0.3"}}, "server 'a' is given 2 times"),
        ({"add": {"one/c": ":80"}}, "c wants an address"),
        ({"add": {"one/c": "10.0.0.3:1-2"}}, "c wants an address"),
        ({"add": {"one/c": "10.0.0.300"}}, "not an IPv4 address"),
        ({"add": {"one/c d": "10.0.0.3"}}, "a name is made of"),
    ],
)
def test_what_cannot_be_changed_is_refused_with_the_reason(
    words: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        trial(PAIR, **words)


def test_a_long_list_of_names_is_cut() -> None:
    servers = (replace(A, name=f"s{number}") for number in range(12))
    with pytest.raises(ConfigError, match="s8, s9 and 2 more"):
        trial(Config(backends=(backend("one", *servers),)), lose=["x"])


def test_a_scenario_says_what_it_is() -> None:
    scenario = Scenario(lose=["a"], add={"c": "10.0.0.3"}, weights={"b": 2})
    assert str(scenario) == "a is lost, c (10.0.0.3) is added, b gets weight 2"
    assert str(Scenario()) == "nothing is changed"
    assert scenario
    assert not Scenario()


def test_a_trial_has_the_table_that_is_asked_first() -> None:
    config = suite(paragon=["10.0.0.1"])
    assert trial(PAIR).table is None
    for group in (find_groups(config)[0], Group(backend=config.backends[1])):
        found = Trial(config, group).table
        assert found is not None
        owner, table = found
        assert (owner, table.size) == ("paragon", 200 * 1024)


# -- policies of the user's own


class Once:
    """Refuses to decide twice."""

    def __init__(self) -> None:
        self.asked = 0

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        self.asked += 1
        return servers.servers[-1]


class Unique(Once):
    """Cannot be copied."""

    def __deepcopy__(self, memo: object) -> Unique:
        raise TypeError("there is one of me")


def test_a_policy_of_ones_own_is_tried_on_a_copy() -> None:
    policy = Once()
    config = Config(backends=(backend("one", policy=policy),))
    placement = trial(config).balancer.route(Client("10.1.0.7", bytes([10, 1, 0, 7]), 80), 0.0)
    assert placement.server is not None
    assert placement.server.name == "b"
    assert policy.asked == 0


def test_a_policy_that_cannot_be_copied_is_named() -> None:
    config = Config(backends=(backend("one", policy=Unique()),))
    with pytest.raises(ConfigError, match=r"backend one: its policy cannot be copied.*one of me"):
        trial(config)


# -- refusals


def came(found: Trial, number: int) -> Placement:
    address = f"10.1.0.{number}"
    return found.balancer.route(Client(address, ip_address(address).packed, 80), 0.0)


def test_a_refusal_is_followed_by_the_next_attempt_after_its_pause() -> None:
    found = trial(Config(backends=(backend("one", A, redispatch=1, retries=1),)))
    placement = came(found, 7)
    again = retry(found.balancer, placement)
    assert again is not None
    assert again.delay == 1.0
    assert placement.server is found.balancer.states["a"]
    assert placement.stage is Stage.CONNECTING
    assert retry(found.balancer, placement) is None


def test_a_refusal_sends_elsewhere_at_once() -> None:
    found = trial(Config(backends=(backend("one", redispatch=1),)))
    placement = came(found, 7)
    again = retry(found.balancer, placement)
    assert again is not None
    assert again.delay == 0.0
    assert placement.server is found.balancer.states["b"]


class Second:
    """Lets the second client wait for anybody, and sends all others to the first server."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        return None if client.packed[3] == 2 else servers.servers[0]


def test_whoever_finds_a_full_queue_after_the_pause_is_given_up() -> None:
    small = replace(A, maxconn=1, maxqueue=1)
    found = trial(Config(backends=(backend("one", small, policy=Second(), redispatch=1),)))
    first, second, third = (came(found, number) for number in (1, 2, 3))
    assert second.is_queued
    assert third.is_queued
    assert retry(found.balancer, first) is None
    # Whoever waited longest has the place that was left, and nobody has lost his turn.
    assert second.stage is Stage.CONNECTED
    assert third.is_queued
