"""What the demo is played on: the suite's own configuration, on addresses that are free."""

from __future__ import annotations

import contextlib
import errno
import math
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from actors import until
from dsbalance.demo_stage import BLOCKS, PRINTERS, Ground, Group, Stage, hastened, open_stage
from dsbalance.errors import ConnectError
from dsbalance.hashring import HashRing
from dsbalance.model import Check
from dsbalance.suite import PARAGON_CHECK, PHOENIX_CHECK, suite


@pytest.fixture
def stage(loopback: Callable[[], str]) -> Iterator[Stage]:
    loopback()
    stage = open_stage(pause=0.01)
    yield stage
    stage.close()


def occupy(host: str, port: int) -> socket.socket | None:
    """Listen there; None: somebody does already, which is as good."""
    with contextlib.suppress(OSError):
        return socket.create_server((host, port))
    return None


def word(states: tuple[str, ...]) -> str:
    """Return what every part of the suite takes a server for, counts of checks aside."""
    (found,) = {state.split()[0] for state in states}
    return found


def test_nothing_but_the_pace_differs_from_the_preset() -> None:
    preset = suite(paragon=["10.0.0.11", "10.0.0.12"], phoenix=["10.0.0.11"])

    def slowed(check: Check | None, real: Check) -> Check | None:
        return check and replace(check, interval=real.interval, rise=real.rise)

    back = []
    for backend in hastened(preset).backends:
        real = PARAGON_CHECK if backend.name == "paragon" else PHOENIX_CHECK
        servers = tuple(replace(s, check=slowed(s.check, real)) for s in backend.servers)
        back.append(replace(backend, servers=servers))
    assert replace(preset, backends=tuple(back)) == preset
    assert hastened(preset) != preset


def test_the_parts_of_the_suite_are_known_by_their_tables() -> None:
    stage = Stage(0)
    assert stage.groups == (
        Group("paragon", (5022, 5014, 5015, 5016, 5017, 5018, 5019, 5012)),
        Group("phoenix", (50809, 50808)),
    )
    assert [group.title for group in stage.groups] == ["Paragon", "Phoenix"]
    assert stage.check == PARAGON_CHECK


@pytest.mark.parametrize("block", BLOCKS)
def test_every_server_has_some_of_the_first_printers(block: int) -> None:
    ring = HashRing({1: 1, 2: 1, 3: 1})
    ground = Ground(block)
    sources = [ground.printer(number) for number in range(1, PRINTERS + 1)]
    packed = [bytes(map(int, source.split("."))) for source in sources]
    assert {ring.lookup(int.from_bytes(address, "big")) for address in packed} == {1, 2, 3}


def test_a_block_with_a_port_taken_is_passed_over(loopback: Callable[[], str]) -> None:
    loopback()
    taken = occupy(Ground(BLOCKS[0]).servers[1], 5555)
    try:
        stage = open_stage()
        stage.close()
        assert stage.ground.block != BLOCKS[0]
    finally:
        if taken is not None:
            taken.close()


def test_where_every_block_is_taken_it_says_so(loopback: Callable[[], str]) -> None:
    loopback()
    with contextlib.ExitStack() as exits:
        for block in BLOCKS:
            if taken := occupy(Ground(block).balancer, 5022):
                exits.enter_context(taken)
        with pytest.raises(ConnectError, match="End it and try again") as raised:
            open_stage()
    assert raised.value.address.endswith(":5022")


def test_where_an_address_is_missing_it_says_how_to_add_it() -> None:
    class Elsewhere(Ground):
        """Addresses for documentation (RFC 5737), which no machine has."""

        @property
        def balancer(self) -> str:
            return "192.0.2.1"

    stage = Stage(0)
    stage.ground = Elsewhere(0)
    with pytest.raises(ConnectError) as raised:
        stage.open()
    cause = raised.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.EADDRNOTAVAIL


def test_the_printers_are_where_the_balancer_sent_them(stage: Stage) -> None:
    stage.add_printers()
    until(lambda: len(stage.ledger.owners()) == PRINTERS * len(stage.groups))
    assert stage.ledger.moves() == []
    view = stage.view(1.0)
    assert {word(row.states) for row in view.servers} == {"UP"}
    assert all(row.process == f"running {stage.servers[row.name].pid}" for row in view.servers)
    assert [column.number for column in view.printers] == list(range(1, PRINTERS + 1))
    for column in view.printers:
        assert column.servers[0] in stage.servers
        assert column.has_moved == (False, False)


def test_servers_are_told_the_printers_addresses_at_the_plain_ports_and_nowhere_else(
    stage: Stage,
) -> None:
    stage.add_printers()
    until(lambda: {answer.port for answer in stage.ledger.since(0.0)} == set(stage.ports))
    answers = stage.ledger.since(0.0)
    assert stage.mistold(0.0) == []
    plain = {answer.port: answer for answer in answers if answer.told}
    assert set(plain) == {5012, 50808}
    right = plain[5012]
    wrong = [
        right._replace(told="", asked_at=math.inf),
        right._replace(told=stage.ground.balancer, asked_at=math.inf),
        right._replace(port=5022, asked_at=math.inf),
    ]
    for answer in wrong:
        stage.ledger.answered(answer)
    assert stage.mistold(math.inf) == wrong


def test_a_newcomer_has_the_hash_that_was_asked_for(stage: Stage) -> None:
    for number, server in enumerate(stage.servers, 1):
        assert stage.add_printer(server).number == number
        until(lambda n=number: (n, "paragon") in stage.ledger.owners())  # type: ignore[misc]
        assert stage.ledger.owners()[number, "paragon"] == server


def test_a_server_is_drained_in_every_part_and_made_ready_again(stage: Stage) -> None:
    stage.drain("primary-2")
    assert word(stage.states()["primary-2"]) == "DRAIN"
    assert word(stage.states()["primary-1"]) == "UP"
    stage.ready("primary-2")
    assert word(stage.states()["primary-2"]) == "UP"


def test_a_server_that_is_killed_is_found_out(stage: Stage) -> None:
    stage.servers["primary-3"].kill()
    found = {stage.changes.get(timeout=20).backend for _ in range(2)}
    assert found <= {"paragon", "paragon-http", "phoenix", "phoenix-http"}
    assert next(r for r in stage.view(1.0).servers if r.name == "primary-3").process == "KILLED"
