"""Lines on their way out, on real sockets and pipes: whole, in order, and never waited for."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dsbalance.logs
from dsbalance.errors import ConfigError, ConnectError
from dsbalance.log_options import Facility, LogFormat, LogTarget, Severity
from dsbalance.logs import Logs, OwnHandler, Pen
from dsbalance.model import Config

INFO = Severity.INFO
HAS_UNIX = hasattr(socket, "AF_UNIX")
NOON = 1_800_000_000.0


class Ear:
    """A syslogd: a datagram socket, and what it heard."""

    def __init__(self, family: socket.AddressFamily, address: str | tuple[str, int]) -> None:
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.settimeout(20)

    def hear(self) -> bytes:
        return self.sock.recv(1 << 16)

    def close(self) -> None:
        self.sock.close()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with contextlib.closing(Logs(Config())) as logs:
        yield logs


@pytest.fixture
def path(tmp_path: Path) -> str:
    if not HAS_UNIX:
        pytest.skip("there are no Unix sockets here")
    return str(tmp_path / "log")


def pen(logs: Logs, address: str, **words: object) -> Pen:
    made = logs.pen([LogTarget(address=address, **words)])  # type: ignore[arg-type]
    assert made is not None
    return made


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_line_goes_out_over_udp(logs: Logs, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        ear = Ear(family, (host, 0))
    except OSError as error:
        pytest.skip(f"{host} cannot be used here: {error}")
    with contextlib.closing(ear):
        shown = f"[{host}]" if ":" in host else host
        pen(logs, f"{shown}:{ear.sock.getsockname()[1]}", facility=Facility.LOCAL2).write(
            INFO, "hello"
        )
        message = ear.hear()
    assert message.startswith(b"<150>")
    assert message.endswith(b" haproxy[%d]: hello\n" % os.getpid())


def test_a_host_without_a_port_is_spoken_to_where_syslogd_is() -> None:
    outlet = dsbalance.logs._open("127.0.0.1")
    assert isinstance(outlet, dsbalance.logs._Datagrams)
    assert outlet._address == ("127.0.0.1", 514)
    outlet.close()


def test_a_line_to_a_unix_socket_is_a_datagram_without_an_end(logs: Logs, path: str) -> None:
    with contextlib.closing(Ear(socket.AF_UNIX, path)) as ear:
        pen(logs, path, format=LogFormat.RAW).write(INFO, "hello")
        assert ear.hear() == b"hello"


def test_a_syslogd_that_is_started_anew_is_found(logs: Logs, path: str) -> None:
    written = pen(logs, path, format=LogFormat.RAW)
    with contextlib.closing(Ear(socket.AF_UNIX, path)) as ear:
        written.write(INFO, "one", NOON)
        assert ear.hear() == b"one"
    written.write(INFO, "to nobody", NOON)
    assert logs.dropped == 1
    Path(path).unlink()
    written.write(INFO, "nor this", NOON)
    assert logs.dropped == 2
    with contextlib.closing(Ear(socket.AF_UNIX, path)) as ear:
        written.write(INFO, "two", NOON)
        assert ear.hear() == b"2 log lines before this one were dropped"
        assert ear.hear() == b"two"


def test_a_syslogd_that_does_not_read_is_not_waited_for(logs: Logs, path: str) -> None:
    written = pen(logs, path, format=LogFormat.RAW)
    with contextlib.closing(Ear(socket.AF_UNIX, path)) as ear:
        count = 0
        while not logs.dropped:
            written.write(INFO, f"line {count}" + "." * 1000, NOON)
            count += 1
        for _ in range(9):
            written.write(INFO, "lost", NOON)
        assert logs.dropped == 10
        for number in range(count - 1):
            assert ear.hear().startswith(b"line %d." % number)
        written.write(INFO, "again", NOON)
        assert ear.hear() == b"10 log lines before this one were dropped"
        assert ear.hear() == b"again"


def test_there_is_a_word_about_drops_once_a_minute_at_the_most(
    logs: Logs, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    written = pen(logs, path, format=LogFormat.RAW)
    heard = []
    for moment in (0, 10, 20, 61, 5):
        written.write(INFO, "lost", NOON + moment)
        with contextlib.closing(Ear(socket.AF_UNIX, path)) as ear:
            written.write(INFO, "end", NOON + moment)
            while (message := ear.hear()) != b"end":
                heard.append(message)
        Path(path).unlink()
    # The clock was set back before the last.
    assert heard == [
        b"1 log lines before this one were dropped",
        b"3 log lines before this one were dropped",
        b"1 log lines before this one were dropped",
    ]
    told = [r.getMessage() for r in caplog.records if r.name == "dsbalance.logs"]
    assert len(told) == 3
    assert told[0] == f"{path} takes no log lines: No such file or directory"
    assert logs.dropped == 5


def test_who_wants_no_warnings_gets_none_about_drops(logs: Logs, path: str) -> None:
    written = pen(logs, path, format=LogFormat.RAW, level=Severity.ERR)
    written.write(Severity.ERR, "lost")
    with contextlib.closing(Ear(socket.AF_UNIX, path)) as ear:
        written.write(Severity.WARNING, "not wanted")
        written.write(Severity.ERR, "hello")
        assert ear.hear() == b"hello"
    assert logs.dropped == 1


def test_a_section_may_have_several_targets_and_a_tag_of_its_own(path: str) -> None:
    config = Config(log_tag="proxy", log_hostname="vm")
    with (
        contextlib.closing(Logs(config)) as logs,
        contextlib.closing(Ear(socket.AF_UNIX, path)) as ear,
    ):
        targets = [LogTarget(address=path), LogTarget(address=path, format=LogFormat.SHORT)]
        one, two = logs.pen(targets), logs.pen(targets[:1], "own")
        assert one is not None
        assert two is not None
        one.write(INFO, "hello", 0.0)
        assert ear.hear().endswith(b" vm proxy[%d]: hello" % os.getpid())
        assert ear.hear() == b"<6>hello"
        two.write(INFO, "hello", 0.0)
        assert ear.hear().endswith(b" vm own[%d]: hello" % os.getpid())


def test_a_name_that_is_asked_for_is_that_of_the_machine(path: str) -> None:
    with (
        contextlib.closing(Logs(Config(log_hostname=""))) as logs,
        contextlib.closing(Ear(socket.AF_UNIX, path)) as ear,
    ):
        pen(logs, path).write(INFO, "hello")
        assert f" {socket.gethostname()} haproxy[".encode() in ear.hear()


def test_without_targets_there_is_no_pen(logs: Logs) -> None:
    assert logs.pen([]) is None
    assert logs.dropped == 0


def test_a_host_that_has_no_address_is_refused_at_once(logs: Logs) -> None:
    with pytest.raises(ConnectError, match=r"log nowhere\.invalid:514"):
        logs.pen([LogTarget(address="nowhere.invalid:514")])


def test_unix_sockets_are_refused_where_there_are_none(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(ConfigError, match="no Unix sockets"):
        logs.pen([LogTarget(address="/dev/log")])


def test_what_is_written_after_the_end_is_dropped(path: str) -> None:
    logs = Logs(Config())
    written = pen(logs, path)
    logs.close()
    written.write(INFO, "hello")
    assert logs.dropped == 1


# -- streams


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    """Return a function that makes a descriptor the standard output, for what is tested."""

    def use(fd: int) -> str:
        monkeypatch.setitem(dsbalance.logs._STREAMS, "stdout", fd)
        return "stdout"

    return use


@pytest.fixture(params=["proc", "poll"])
def pipe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A pipe, with a description of our own and without."""
    if not hasattr(select, "poll"):
        pytest.skip("there is no poll here")
    if request.param == "proc" and not Path("/proc/self/fd").exists():
        pytest.skip("there is no /proc here")
    if request.param == "poll":
        monkeypatch.setattr(dsbalance.logs, "_DESCRIPTIONS", "/nowhere/{}")
    ends = [*os.pipe()]
    yield ends
    for end in ends:
        os.close(end)


def test_a_pipe_gets_lines_and_its_description_is_left_as_it_is(
    logs: Logs, pipe: list[int], stream: Callable[[int], str]
) -> None:
    written = pen(logs, stream(pipe[1]), format=LogFormat.RAW)
    written.write(INFO, "one")
    written.write(INFO, "two")
    assert os.read(pipe[0], 100) == b"one\ntwo\n"
    assert os.get_blocking(pipe[1])


def test_a_full_pipe_is_not_waited_for_and_each_line_that_came_is_whole(
    logs: Logs, pipe: list[int], stream: Callable[[int], str]
) -> None:
    written = pen(logs, stream(pipe[1]), format=LogFormat.RAW, length=60000)
    sent = 0
    while not logs.dropped:
        written.write(INFO, f"{sent}:" + "x" * 50_000, NOON)
        sent += 1
    for _ in range(9):
        written.write(INFO, "lost", NOON)
    assert logs.dropped == 10
    got = bytearray()
    while select.select([pipe[0]], [], [], 0)[0]:
        got += os.read(pipe[0], 1 << 16)
        # What was taken in part goes out before what comes next.
        if got.count(b"\n") < sent - 1:
            written.write(Severity.DEBUG, "", NOON)
    lines = got.decode().split("\n")
    numbers = [line.partition(":")[0] for line in lines if "x" in line]
    assert numbers == [str(number) for number in range(sent - 1)]
    assert all(len(line) == len(f"{n}:") + 50_000 for n, line in enumerate(lines) if "x" in line)
    assert "10 log lines before this one were dropped" in lines


def test_a_pipe_that_nobody_reads_any_more_takes_nothing(
    logs: Logs, pipe: list[int], stream: Callable[[int], str], caplog: pytest.LogCaptureFixture
) -> None:
    written = pen(logs, stream(pipe[1]))
    os.close(pipe[0])
    pipe[0] = os.open(os.devnull, os.O_RDONLY)
    written.write(INFO, "hello")
    assert logs.dropped == 1
    # A word about it would go the same way.
    assert not [record for record in caplog.records if record.name == "dsbalance.logs"]


def test_a_pipe_is_not_written_to_after_the_end(
    pipe: list[int], stream: Callable[[int], str]
) -> None:
    logs = Logs(Config())
    written = pen(logs, stream(pipe[1]))
    logs.close()
    written.write(INFO, "hello")
    assert logs.dropped == 1
    assert not select.select([pipe[0]], [], [], 0)[0]


def test_a_file_gets_lines_where_others_write_too(
    logs: Logs, tmp_path: Path, stream: Callable[[int], str]
) -> None:
    with open(tmp_path / "out", "wb", buffering=0) as file:
        written = pen(logs, stream(file.fileno()), format=LogFormat.RAW)
        file.write(b"before\n")
        written.write(INFO, "hello")
        file.write(b"behind\n")
    assert (tmp_path / "out").read_bytes() == b"before\nhello\nbehind\n"


@pytest.mark.skipif(not hasattr(socket, "MSG_DONTWAIT"), reason="there is no MSG_DONTWAIT here")
def test_a_socket_as_standard_output_is_not_waited_for(
    logs: Logs, stream: Callable[[int], str]
) -> None:
    near, far = socket.socketpair()
    with near, far:
        written = pen(logs, stream(near.fileno()), format=LogFormat.RAW)
        written.write(INFO, "hello")
        assert far.recv(100) == b"hello\n"
        while logs.dropped < 10:
            written.write(INFO, "x" * 1000)
        assert near.gettimeout() is None
        assert os.get_blocking(near.fileno())


def test_a_closed_stream_is_refused_for_its_number_may_soon_be_a_clients(
    logs: Logs, stream: Callable[[int], str]
) -> None:
    fd = os.dup(1)
    os.close(fd)
    with pytest.raises(ConfigError, match="it is closed"):
        logs.pen([LogTarget(address=stream(fd))])


def test_standard_output_and_error_are_what_the_process_was_given() -> None:
    script = textwrap.dedent("""\
        from dsbalance.log_options import LogFormat, LogTarget, Severity
        from dsbalance.logs import Logs
        from dsbalance.model import Config
        logs = Logs(Config())
        for name in ("stdout", "stderr"):
            pen = logs.pen([LogTarget(address=name, format=LogFormat.RAW)])
            pen.write(Severity.INFO, f"to {name}")
        logs.close()
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"to stdout\n", b"to stderr\n")


class Own:
    """What writes a program's own log, to a pipe as to its standard error."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._handler = OwnHandler(self._writer)

    def say(self, text: str, *words: object) -> None:
        record = {"msg": text, "args": words}
        self._handler.handle(logging.makeLogRecord(record))

    def read(self) -> list[str]:
        read = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                read += os.read(self.reader, 1 << 16)
        return read.decode().splitlines()

    def close(self) -> None:
        self._handler.close()
        os.close(self.reader)
        os.close(self._writer)


@pytest.fixture
def own() -> Iterator[Own]:
    own = Own()
    yield own
    own.close()


def test_the_programs_own_log_waits_for_nobody(own: Own) -> None:
    for number in range(5000):
        own.say("line %d %s", number, "x" * 100)
    lines = own.read()
    own.say("the last one")
    lines += own.read()
    kept = [line for line in lines if line.startswith("line ")]
    assert kept == [f"line {number} {'x' * 100}" for number in range(len(kept))]
    dropped = 5000 - len(kept)
    assert dropped
    assert lines[len(kept) :] == [
        f"{dropped} lines of this log were dropped, for nobody read them",
        "the last one",
    ]


def test_what_cannot_be_formatted_ends_nobody(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    own.say("%d", "no number")
    own.say("\udcff is no text")
    assert own.read() == ["\\udcff is no text"]
    assert "no number" in capsys.readouterr().err


def test_nothing_is_logged_by_the_module_at_first(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "dsbalance.logs"), contextlib.closing(Logs(Config())):
        assert not caplog.records
