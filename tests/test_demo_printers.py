"""The printers keep asking whatever happens, and the book says what happened."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actors import Stub, connect, until
from dsbalance.demo_printers import Answer, Ledger, Line, Move, Printer, Reply, Wrong, request
from dsbalance.demo_servers import Job, StubServer

TESTDATA = Path(__file__).resolve().parent.parent / "dsbalance" / "testdata"
CERTIFICATES = [str(TESTDATA / f"TEST-ONLY-primary-{n}.pem") for n in (1, 2)]
GROUPS = {5022: "paragon", 5012: "paragon", 50809: "phoenix"}


def answer(printer: int, port: int, server: str, at: float, **more: float) -> Answer:
    return Answer(printer, port, server, at, more.get("wait", 0.01), int(more.get("attempts", 1)))


# -- the book


def test_the_book_knows_who_answered_first_and_last() -> None:
    ledger = Ledger(GROUPS)
    for at, server in enumerate(("a", "b", "c"), 10):
        ledger.answered(answer(1, 5022, server, at))
    ledger.answered(answer(1, 50809, "z", 14))
    assert ledger.homes() == {(1, "paragon"): "a", (1, "phoenix"): "z"}
    assert ledger.owners() == {(1, "paragon"): "c", (1, "phoenix"): "z"}


def test_a_move_is_of_a_printer_and_a_group_not_of_a_port() -> None:
    ledger = Ledger(GROUPS)
    ledger.answered(answer(1, 5022, "a", 10, wait=0.5))
    ledger.answered(answer(2, 5022, "b", 10))
    ledger.answered(answer(1, 50809, "b", 10))
    assert ledger.moves() == []
    ledger.answered(answer(1, 5012, "b", 11, wait=0.5))
    ledger.answered(answer(1, 5022, "b", 12))
    assert ledger.moves() == [Move(1, "paragon", "a", "b", 11.5)]
    # A move is where the answer is, not where the question was.
    assert ledger.moves(11.2) == ledger.moves()
    assert ledger.moves(11.6) == []


def test_the_book_says_what_was_asked_since() -> None:
    ledger = Ledger(GROUPS)
    answers = [answer(1, 5022, "a", at) for at in (1.0, 2.0, 3.0)]
    for each in answers:
        ledger.answered(each)
    assert ledger.since(2.0) == answers[1:]


def test_the_book_adds_up() -> None:
    ledger = Ledger(GROUPS)
    ledger.answered(answer(1, 5022, "a", 1, wait=0.25))
    ledger.answered(answer(1, 5022, "a", 2, wait=0.75, attempts=2))
    ledger.answered(answer(2, 5022, "b", 2))
    ledger.cut()
    ledger.failed(2, 5012, "refused")
    tally = ledger.tally()
    assert tally.by_server == {"a": 2, "b": 1}
    assert (tally.answered, tally.failed, tally.repeated, tally.cut) == (3, 1, 1, 1)
    assert tally.slowest == 0.75
    assert ledger.failures() == ["printer 2, port 5012: refused"]


def test_the_book_keeps_no_more_failures_than_one_wants_to_read() -> None:
    ledger = Ledger(GROUPS)
    for number in range(1000):
        ledger.failed(number, 5022, "refused")
    assert ledger.tally().failed == 1000
    assert len(ledger.failures()) == 5


# -- the printers


@pytest.fixture
def stub(loopback: Callable[[], str]) -> Iterator[StubServer]:
    stub = StubServer(
        Job(
            name="primary-1",
            host=loopback(),
            secure_ports=(5022, 50809),
            plain_ports=(5012,),
            certificate=CERTIFICATES[0],
        )
    )
    stub.start()
    stub.wait()
    yield stub
    stub.close()


def line_to(stub: StubServer, certificates: list[str] = CERTIFICATES) -> Line:
    return Line(stub.job.host, stub.job.secure_ports, stub.job.plain_ports, certificates)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(GROUPS)


@pytest.fixture
def printer(stub: StubServer, ledger: Ledger) -> Iterator[Printer]:
    printer = Printer(7, "127.0.0.1", line_to(stub), ledger, pause=0.01)
    printer.start()
    yield printer
    printer.stop()
    printer.join()


def rounds(ledger: Ledger, instant: float = 0.0) -> bool:
    """Return whether every port has answered since."""
    return {each.port for each in ledger.since(instant)} == set(GROUPS)


def test_a_printer_asks_at_each_port_over_one_lasting_session(
    ledger: Ledger, printer: Printer
) -> None:
    until(lambda: rounds(ledger))
    printer.stop()
    printer.join()
    assert set(ledger.owners().items()) == {
        ((7, "paragon"), "primary-1"),
        ((7, "phoenix"), "primary-1"),
    }
    tally = ledger.tally()
    assert (tally.failed, tally.repeated, tally.cut) == (0, 0, 0)


def test_a_printer_opens_its_session_again_when_it_was_cut(
    stub: StubServer, ledger: Ledger, printer: Printer
) -> None:
    until(lambda: rounds(ledger))
    stub.kill()
    until(lambda: ledger.tally().failed > 0)
    stub.start()
    stub.wait()
    back_at = ledger.since(0.0)[-1].asked_at + 0.001
    until(lambda: rounds(ledger, back_at))
    # Noticed between two requests, or in the middle of one.
    tally = ledger.tally()
    assert tally.cut + tally.repeated + tally.failed >= 1


def test_a_request_fails_when_every_attempt_does(stub: StubServer, ledger: Ledger) -> None:
    line = line_to(stub)
    stub.kill()
    printer = Printer(1, "127.0.0.1", line, ledger, pause=0.0)
    printer.stop()
    printer.run()
    assert ledger.tally().failed == 2
    assert all("refused" in failure.lower() for failure in ledger.failures())


def test_a_session_that_ended_in_silence_is_opened_anew(stub: StubServer, ledger: Ledger) -> None:
    pauses = threading.Event()

    class Waiting(Printer):
        """Its second round begins when the test says so."""

        def _ask(self, port: int) -> None:
            if ledger.tally().answered == 2:
                pauses.wait()
            super()._ask(port)

    printer = Waiting(1, "127.0.0.1", line_to(stub), ledger, pause=0.0)
    printer.start()
    until(lambda: ledger.tally().answered == 2)
    stub.kill()
    stub.start()
    stub.wait()
    pauses.set()
    until(lambda: ledger.tally().answered >= 4)
    printer.stop()
    printer.join()
    tally = ledger.tally()
    assert (tally.failed, tally.repeated, tally.cut) == (0, 0, 1)


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], Reply]]:
    """Return a function that makes a request which is answered with these bytes."""
    stub = Stub()

    def ask(response: bytes) -> Reply:
        with connect((stub.host, stub.port)) as client, stub.accept() as server:
            server.say(response)
            return request(client.sock)

    yield ask
    stub.close()


def test_what_a_server_was_told_is_part_of_its_answer(answering: Callable[[bytes], Reply]) -> None:
    told = b"HTTP/1.1 200 OK\r\nX-Served-For: 127.0.1.7\r\nContent-Length: 2\r\n\r\na\n"
    assert answering(told) == Reply("a", "127.0.1.7")
    assert answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na\n") == Reply("a", "")


def test_the_page_of_an_error_is_no_servers_name(answering: Callable[[bytes], Reply]) -> None:
    with pytest.raises(http.client.HTTPException, match="the answer is 502 Bad Gateway"):
        answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\na\n")


def test_only_the_certificates_of_the_servers_are_trusted(stub: StubServer, ledger: Ledger) -> None:
    # The second printer begins with a secure port.
    printer = Printer(2, "127.0.0.1", line_to(stub, CERTIFICATES[1:]), ledger, pause=0.0)
    printer.stop()
    printer.run()
    assert len(ledger.failures()) == 2
    assert all("CERTIFICATE_VERIFY_FAILED" in failure for failure in ledger.failures())
    assert ledger.tally().answered == 0


def test_an_answer_in_another_name_than_the_certificates_is_wrong(
    loopback: Callable[[], str], ledger: Ledger, stub: StubServer
) -> None:
    liar = StubServer(replace(stub.job, name="primary-9", host=loopback()))
    liar.start()
    liar.wait()
    try:
        with line_to(liar).connect("127.0.0.1", 5022) as sock, pytest.raises(Wrong):
            request(sock)
        printer = Printer(1, "127.0.0.1", line_to(liar), ledger, pause=0.0)
        printer.stop()
        printer.run()
    finally:
        liar.close()
    assert ledger.failures()[0].endswith("is that of primary-1, the answer comes from primary-9")
