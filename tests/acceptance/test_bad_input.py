"""Whatever is wrong is said in one line each, with its place, and the status is not 0.

Each test runs ``python -m dsbalance`` as a user does. At the end: what ends a run that went well.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from actors import PATIENCE, Greeter, Peer, connect, until
from processes import ROOT, Process
from programs import DSBALANCE

GOOD = """\
global
    maxconn 100
defaults
    timeout connect 1s
    timeout client 1m
    timeout server 1m
listen web
    bind 127.0.0.1:9100
    balance source
    server a 127.0.0.1:9101 weight 5 check inter 2s
    server b 127.0.0.1:9102 weight 5 check inter 2s
"""
# Line -> what stands there.
LINES = dict(enumerate(GOOD.splitlines(), 1))

# Runs the command line with the limit of descriptors that the first word gives.
LIMITED = (
    sys.executable,
    "-c",
    """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
runpy.run_module("dsbalance", run_name="__main__", alter_sys=True)
""",
)

posix = pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals and limits")


def run(*words: str, command: tuple[str, ...] = DSBALANCE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def refused(*words: str, command: tuple[str, ...] = DSBALANCE) -> list[str]:
    """Demand that a run is refused; return what it said, without the program's name."""
    done = run(*words, command=command)
    assert done.returncode == 1, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    # So there is nothing else, and no traceback.
    assert [line for line in lines if not line.startswith("dsbalance: ")] == []
    return [line.removeprefix("dsbalance: ") for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site.cfg"


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


# --- the file itself ------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_said(path: Path) -> None:
    reason = os.strerror(errno.ENOENT)
    assert refused("-q", "-f", str(path)) == [f"{path}: cannot read: {reason}"]


def test_a_directory_without_a_configuration_is_said(path: Path) -> None:
    path.mkdir()
    write(path / "notes.txt", GOOD)
    assert refused("-q", "-f", str(path)) == [f"{path}: there is no *.cfg in this directory"]


def test_a_file_that_is_not_text_is_said(path: Path) -> None:
    path.write_bytes(b"listen web\n\x7fELF\x02\x01\xd0\xff\n")
    assert refused("-q", "-f", str(path)) == [f"{path}:2: byte 0xd0 is not UTF-8"]


def test_a_name_that_no_file_can_have_is_said(path: Path) -> None:
    name = str(path) + 300 * "x"
    (said,) = refused("-q", "-f", name)
    assert said.startswith(f"{name}: cannot read: ")


@posix
def test_a_file_that_cannot_be_opened_is_said(path: Path) -> None:
    # A link to itself is closed to root too.
    path.symlink_to(path)
    reason = os.strerror(errno.ELOOP)
    assert refused("-q", "-f", str(path)) == [f"{path}: cannot read: {reason}"]


@posix
def test_a_file_that_may_not_be_read_is_said(path: Path) -> None:
    write(path, GOOD)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    reason = os.strerror(errno.EACCES)
    assert refused("-q", "-f", str(path)) == [f"{path}: cannot read: {reason}"]


# --- what stands in it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "old", "new", "words"),
    [
        (10, "127.0.0.1:9101", "300.0.0.1:9101", "server a.*'300.0.0.1'"),
        (10, "127.0.0.1:9101", "127.0.0.1:99999", "server a.*'?99999'?"),
        (8, "127.0.0.1:9100", "127.0.0.1", "bind.*'127.0.0.1'"),
        (8, "127.0.0.1:9100", "127.0.0.256:9100", "bind.*'127.0.0.256'"),
        (10, "weight 5", "weight 257", "server a.*weight.*256.*'257'"),
        (11, "weight 5", "weight heavy", "server b.*weight.*'heavy'"),
        (4, "1s", "1parsec", "timeout connect.*'1parsec'"),
        (11, "inter 2s", "inter -2s", "server b.*inter.*'-2s'"),
        (9, "balance source", "blance source", "unknown keyword 'blance'.*balance"),
        (11, "weight 5", "wieght 5", "server b.*unknown.*'wieght'.*weight"),
        (9, "balance source", "balance fair", "balance.*'fair'"),
        (2, "maxconn 100", "maxconn lots", "maxconn.*'lots'"),
    ],
)
def test_a_wrong_word_is_said_with_its_line(
    path: Path, line: int, old: str, new: str, words: str
) -> None:
    lines = LINES | {line: LINES[line].replace(old, new)}
    assert lines != LINES
    write(path, "\n".join(lines.values()) + "\n")
    (said,) = refused("-q", "-f", str(path))
    assert said.startswith(f"{path}:{line}: ")
    assert re.search(words, said)
    # To check it is to learn the same.
    assert refused("-c", "-f", str(path)) == [said]


def test_everything_that_is_wrong_is_said_at_once(path: Path) -> None:
    text = GOOD.replace("weight 5", "weight 999").replace(
        "timeout connect 1s", "timeout connect soon"
    )
    write(path, text)
    said = refused("-q", "-f", str(path))
    assert [line.split(": ")[0] for line in said] == [f"{path}:{number}" for number in (4, 10, 11)]


def test_each_file_of_several_is_named(tmp_path: Path) -> None:
    defaults, listen = GOOD.split("listen")
    write(tmp_path / "1.cfg", defaults.replace("timeout client 1m", "timeout client soon"))
    write(tmp_path / "2.cfg", "listen" + listen.replace("source", "fair"))
    said = refused("-q", "-f", str(tmp_path))
    assert [line.split(": ")[0] for line in said] == [f"{tmp_path}/1.cfg:5", f"{tmp_path}/2.cfg:3"]


def test_a_configuration_that_would_serve_nobody_is_refused(path: Path) -> None:
    write(path, "defaults\n    timeout connect 1s\n")
    (said,) = refused("-q", "-f", str(path))
    assert str(path) in said or "bind" in said


# --- what the machine says to it ------------------------------------------------------------------


@pytest.mark.parametrize("is_quiet", [True, False], ids=["quiet", "talking"])
def test_a_port_in_use_is_said_with_the_line_of_the_bind(path: Path, is_quiet: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        write(path, GOOD.replace("127.0.0.1:9100", address))
        expected = f"{path}:8: {address}: cannot listen: {os.strerror(errno.EADDRINUSE)}"
        if is_quiet:
            assert refused("-q", "-f", str(path)) == [expected]
            return
        done = run("-f", str(path))
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == f"dsbalance: {expected}"
        assert done.stderr.count("cannot listen") == 1
        assert "Traceback" not in done.stderr


def test_one_port_of_a_range_in_use_is_said(path: Path, loopback: Callable[[], str]) -> None:
    host = loopback()
    with socket.create_server((host, 5016)):
        write(path, GOOD.replace("127.0.0.1:9100", f"{host}:5014-5019"))
        (said,) = refused("-q", "-f", str(path))
    assert said == f"{path}:8: {host}:5016: cannot listen: {os.strerror(errno.EADDRINUSE)}"


def test_an_address_of_another_machine_is_said(path: Path) -> None:
    # TEST-NET-1 of RFC 5737 is nobody's.
    write(path, GOOD.replace("127.0.0.1:9100", "192.0.2.1:9100"))
    (said,) = refused("-q", "-f", str(path))
    assert said == f"{path}:8: 192.0.2.1:9100: cannot listen: {os.strerror(errno.EADDRNOTAVAIL)}"


@pytest.mark.parametrize("option", ["-q", "-c"])
def test_a_name_that_does_not_resolve_is_said_with_its_line(path: Path, option: str) -> None:
    # RFC 6761: no name in .invalid ever resolves.
    write(path, GOOD.replace("127.0.0.1:9102", "primary-2.invalid:9102"))
    (said,) = refused(option, "-f", str(path))
    assert said.startswith(f"{path}:11: primary-2.invalid: ")


@posix
@pytest.mark.parametrize("option", ["-q", "-c"])
def test_more_sessions_than_descriptors_are_refused(path: Path, option: str) -> None:
    write(path, GOOD.replace("maxconn 100", "maxconn 5000"))
    (said,) = refused("256", option, "-f", str(path), command=LIMITED)
    assert re.fullmatch(
        rf"{re.escape(str(path))}:2: maxconn 5000 .* this process may open 256 .*", said
    )


@posix
def test_as_many_sessions_as_descriptors_allow_are_not(path: Path) -> None:
    write(path, GOOD)
    assert run("512", "-c", "-f", str(path), command=LIMITED).returncode == 0


# --- without a file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "--listen", "127.0.0.1", "--server", "127.0.0.1:9101"), "'127.0.0.1'"),
        (("run", "--listen", ":9100", "--server", "127.0.0.1:99999"), "99999"),
        (("run", "--listen", ":9100", "--server", "a.invalid:9101"), "a.invalid"),
        (("run", "--listen", ":9100", "--server", "127.0.0.1:1", "--stick", "soon"), "'soon'"),
        (("run", "--listen", ":9100", "--server", "127.0.0.1:1", "--policy", "no.where:A"), "no"),
        (("suite", "--paragon", "10.0.0.11,10.0.0.11"), "10.0.0.11 is given 2 times"),
        (("suite", "--paragon", "10.0.0.300"), "10.0.0.300"),
        (("suite", "--phoenix-backup", "10.0.0.11", "--paragon", "10.0.0.12"), "Phoenix"),
    ],
)
def test_a_wrong_option_is_said(words: tuple[str, ...], said: str) -> None:
    (line,) = refused(*words)
    assert said in line


# --- what is right --------------------------------------------------------------------------------


def test_a_good_file_is_valid_even_while_it_runs(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        done = run("-c", "-f", write(path, GOOD.replace("127.0.0.1:9100", address)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "Configuration file is valid\n", "")


class Running:
    """A run that serves one client, with one server.

    Attributes:
        address: Where it listens.
        client: A session that is open.
    """

    def __init__(self, path: Path, host: str, stack: ExitStack, text: str = GOOD) -> None:
        greeter = Greeter("a")
        stack.callback(greeter.close)
        self.address = host, 9100
        text = text.replace("127.0.0.1:9100", f"{host}:9100")
        text = re.sub(r"127.0.0.1:910[12]", f"{greeter.host}:{greeter.port}", text)
        self.program = stack.enter_context(Process(*DSBALANCE, "-f", write(path, text)))
        self.program.until_it_listens(self.address)
        self.client: Peer = stack.enter_context(connect(self.address))
        self.client.hear(b"a".ljust(16))

    def is_closed(self) -> bool:
        """Return whether nobody else may come in."""
        try:
            connect(self.address).close()
        except ConnectionRefusedError:
            return True
        return False

    def assert_it_ends_well(self) -> None:
        assert self.program.wait() == 0
        assert "Traceback" not in self.program.output
        assert self.is_closed()
        with suppress(ConnectionResetError):
            self.client.hear_end()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@posix
@pytest.mark.parametrize("word", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_at_once(
    path: Path, loopback: Callable[[], str], stack: ExitStack, word: str
) -> None:
    running = Running(path, loopback(), stack)
    running.program.signal(signal.Signals[word])
    running.assert_it_ends_well()


@posix
def test_a_drain_lets_the_session_finish_and_takes_no_new_client(
    path: Path, loopback: Callable[[], str], stack: ExitStack
) -> None:
    running = Running(path, loopback(), stack)
    running.program.signal(signal.SIGUSR1)
    until(running.is_closed)
    running.client.say(b"I am not finished")
    running.client.hear(b"I am not finished")
    running.client.finish()
    running.client.hear_end()
    assert running.program.wait() == 0


@posix
def test_a_drain_is_cut_short_by_a_second_signal(
    path: Path, loopback: Callable[[], str], stack: ExitStack
) -> None:
    running = Running(path, loopback(), stack)
    running.program.signal(signal.SIGUSR1)
    until(running.is_closed)
    running.program.signal(signal.SIGTERM)
    running.assert_it_ends_well()


@posix
def test_a_drain_ends_when_its_time_is_up(
    path: Path, loopback: Callable[[], str], stack: ExitStack
) -> None:
    text = GOOD.replace("global\n", "global\n    hard-stop-after 500ms\n")
    running = Running(path, loopback(), stack, text)
    running.program.signal(signal.SIGUSR1)
    running.assert_it_ends_well()
