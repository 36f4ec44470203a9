"""Sessions that stay open, servers that are full: what HAProxy 2.6.12 answered, step by step."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from dsbalance.balancer import AdminState, Balancer, Change, Health, Placement
from dsbalance.errors import NoServerError
from dsbalance.model import Backend, Balance, HashKind, HashType, Server, StickRule
from dsbalance.policy import Client
from dsbalance.sticky import StickTable

DATA = Path(__file__).parent / "data"
HEALTH = {"up": Health.UP, "down": Health.DOWN, "stopping": Health.STOPPING}


def cases(*names: str) -> list[dict[str, Any]]:
    return [
        case
        for name in names
        for case in json.loads((DATA / name).read_text(encoding="utf-8"))["cases"]
    ]


def client(address: str) -> Client:
    return Client(address, ip_address(address).packed, 5022)


def balancer_of(case: dict[str, Any]) -> Balancer:
    servers = tuple(
        Server(host="192.0.2.1", port=number, **settings)
        for number, settings in enumerate(case["servers"], 1)
    )
    word, _, hash_type = case["balance"].partition(" ")
    backend = Backend(
        name="l",
        servers=servers,
        balance=Balance(word),
        hash_type=HashType(kind=HashKind(hash_type or "map-based")),
        allbackups=case.get("allbackups", False),
        redispatch=-1 if case.get("redispatch") else 0,
        stick=(StickRule(),) if case.get("stick") else (),
        fullconn=case.get("fullconn"),
    )
    return Balancer(backend, {"l": StickTable(size=1000)})


def order(balancer: Balancer, command: str) -> list[Change]:
    """Carry out a command of the runtime API, as ``set weight l/s1 4``, on a server of ``l``."""
    words = command.split()
    name = next(word for word in words if word.startswith("l/")).removeprefix("l/")
    match words:
        case ["set", "weight", _, weight]:
            return balancer.set_weight(name, int(weight), 0.0)
        case ["set", "server", _, "health", health]:
            return balancer.set_health(name, HEALTH[health], 0.0)
        case ["set", "server", _, "state", admin]:
            return balancer.set_admin(name, AdminState(admin), 0.0)
        case ["disable", "server", _]:
            return balancer.set_admin(name, AdminState.MAINT, 0.0)
        case ["enable", "server", _]:
            return balancer.set_admin(name, AdminState.READY, 0.0)
    raise AssertionError(command)


class Differs(Exception):  # noqa: N818 -- it is no error
    """From here on we differ from HAProxy, on purpose; docs/differences.md says why."""


class Story:
    """Sessions by their numbers, as a capture tells of them."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.balancer = balancer_of(case)
        self.sessions: dict[int, Placement] = {}

    def seen(self) -> dict[str, str | None]:
        """Return where each session is, in the words of the capture."""
        return {str(number): _where(p) for number, p in self.sessions.items()}

    def step(self, step: list[Any]) -> dict[str, str | None]:
        """Return where the other sessions went."""
        before = self.seen()
        match step:
            case ["open", session, source, *_]:
                self.open(session, source)
            case ["end", session, _]:
                self.connect(self.balancer.release(self.sessions.pop(session), 0.0))
            case [command, _]:
                self.order(command)
        self.balancer._check()
        after = self.seen()
        return {n: after.get(n) for n in before if after.get(n) != before[n] and not ended(step, n)}

    def open(self, session: int, source: str) -> None:
        try:
            placement = self.balancer.route(client(source), 0.0)
        except NoServerError:
            return
        self.sessions[session] = placement
        if not placement.is_queued:
            self.connect([placement])

    def order(self, command: str) -> None:
        if command.startswith("set maxconn"):
            raise Differs
        for change in order(self.balancer, command):
            is_dissolved = change.requeued and not self.case["redispatch"]
            # Nobody waits in vain for a server that is down, nor while one is there to go to.
            if is_dissolved or change.admitted:
                raise Differs
            for placement in change.requeued:
                self.reroute(placement)

    def reroute(self, placement: Placement) -> None:
        try:
            self.balancer.reroute(placement, 0.0)
        except NoServerError:
            self.balancer.release(placement, 0.0)
            self.sessions = {n: p for n, p in self.sessions.items() if p is not placement}
            return
        if not placement.is_queued:
            self.connect([placement])

    def connect(self, placements: list[Placement]) -> None:
        for placement in placements:
            self.balancer.connected(placement, 0.0)


def ended(step: list[Any], number: str) -> bool:
    return step[0] == "end" and str(step[1]) == number


def _where(placement: Placement) -> str:
    if placement.server is None:
        return "Q"
    return f"q:{placement.server.name}" if placement.is_queued else placement.server.name


def replay(case: dict[str, Any]) -> int:
    """Return how many steps went as in HAProxy; AssertionError: one did not."""
    story = Story(case)
    for number, step in enumerate(case["steps"]):
        try:
            moved = story.step(step)
        except Differs:
            return number
        if step[0] == "open":
            is_refused = step[3] is None
            assert story.seen().get(str(step[1])) == step[3], f"step {number}: {step}"
            # There, one that is refused lets those in for whom a grown limit has room.
            if is_refused and step[-1]:
                return number
        assert moved == step[-1], f"step {number}: {step}"
    return len(case["steps"])


QUEUES = cases("haproxy-queues.json")


@pytest.mark.parametrize("case", QUEUES, ids=lambda case: case["title"])
def test_sessions_wait_and_are_let_in_as_in_haproxy(case: dict[str, Any]) -> None:
    assert replay(case) > 0


def test_most_of_what_haproxy_did_is_done() -> None:
    # Or the test above would be an empty one. Changes of maxconn at run time end half the cases.
    assert sum(map(replay, QUEUES)) > 900


def visit(balancer: Balancer) -> Placement | None:
    """Return a new session; None: it found everything full, and went, or nobody was there."""
    try:
        placement = balancer.route(client("10.0.0.1"), 0.0)
    except NoServerError:
        return None
    if placement.is_queued:
        balancer.release(placement, 0.0)
        return None
    balancer.connected(placement, 0.0)
    return placement


@pytest.mark.parametrize(
    "case",
    cases("haproxy-leastconn.json", "haproxy-roundrobin-full.json", "haproxy-states.json"),
    ids=lambda case: case["title"],
)
def test_each_session_goes_where_haproxy_sent_it(case: dict[str, Any]) -> None:
    balancer = balancer_of(case)
    open_sessions: dict[int, Placement] = {}
    for number, step in enumerate(case["steps"]):
        match step:
            case str(command):
                order(balancer, command)
            case [session]:
                assert balancer.release(open_sessions.pop(session), 0.0) == []
            case [session, answered]:
                placement = visit(balancer)
                state = None if placement is None else placement.server
                assert (state and state.name) == answered, f"step {number}: {step}"
                if placement is not None:
                    open_sessions[session] = placement
        balancer._check()
