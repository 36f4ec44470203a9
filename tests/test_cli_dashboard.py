"""The options that show what goes on: --dashboard, --dashboard-auth and --socket."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import until
from dsbalance import cli
from dsbalance.haproxy.config import read

FILE = "listen web\n    bind 127.0.0.1:0\n    timeout client 1s\n"
QUICK = ["run", "--listen", "127.0.0.1:0", "--server", "127.0.0.1:9"]


@pytest.fixture(autouse=True)
def _quiet_process() -> Iterator[None]:
    """Leave the signals as they were."""
    words = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
    known = [getattr(signal, word) for word in words if hasattr(signal, word)]
    before = {number: signal.getsignal(number) for number in known}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.cfg"
    path.write_text(FILE, encoding="utf-8")
    return path


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text("# who may\nsomebody:hunter2\n", encoding="utf-8")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def asked(port: int, password: str) -> int:
    """Return the status of the dashboard; 0: nobody listens there."""
    asking = http.client.HTTPConnection("127.0.0.1", port)
    secret = base64.b64encode(f"somebody:{password}".encode()).decode()
    try:
        asking.request("GET", "/", headers={"Authorization": f"Basic {secret}"})
        return asking.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        asking.close()


@pytest.mark.parametrize("is_bare", [True, False])
def test_a_dashboard_and_a_socket_are_there_while_it_runs(
    is_bare: bool, file: Path, users: Path, tmp_path: Path
) -> None:
    port, path = free_port(), tmp_path / "api"
    words = ["-f", str(file)] if is_bare else QUICK
    words = [*words, "--dashboard", str(port), "--dashboard-auth", str(users), "-q"]
    seen: list[int] = []

    def look() -> None:
        until(lambda: asked(port, "hunter2") == 200)
        seen.append(asked(port, "hunter3"))
        if hasattr(socket, "AF_UNIX"):
            seen.append(stat.S_IMODE(path.stat().st_mode))
        os.kill(os.getpid(), signal.SIGTERM)

    looking = threading.Thread(target=look)
    looking.start()
    has_unix = hasattr(socket, "AF_UNIX")
    assert cli.main([*words, *(["--socket", str(path)] if has_unix else [])]) == cli.EXIT_OK
    looking.join()
    assert seen == [401, 0o600][: 1 + has_unix]


@pytest.mark.parametrize(
    ("address", "is_told"),
    [("0", False), (":0", False), ("127.0.0.1:0", False), ("*:0", True), ("0.0.0.0:0", True)],
)
def test_who_lets_everybody_see_it_is_told(
    address: str, is_told: bool, users: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*QUICK, "-c", "--dashboard", address]
    assert cli.main(words) == cli.EXIT_OK
    said = capsys.readouterr().err
    assert ("other machines reach it, and nobody is asked for a password" in said) is is_told
    assert cli.main([*words, "--dashboard-auth", str(users)]) == cli.EXIT_OK
    assert capsys.readouterr().err == ""


def test_a_file_that_says_nothing_may_be_looked_at_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.cfg"
    path.write_text("global\n", encoding="utf-8")
    assert cli.main(["-c", "-f", str(path), "--dashboard", "0"]) == cli.EXIT_OK
    assert cli.main(["-c", "-f", str(path)]) == cli.EXIT_WRONG
    assert "nobody could come in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dashboard", "here"], "a port is a number of 0 to 65535, not 'here'"),
        (["--dashboard", "10.0.0.1"], "a port is a number of 0 to 65535"),
        (["--dashboard", "0", "--dashboard-auth", "no such"], "no such: cannot read: "),
        (["--socket", "/" + "x" * 107], "the path of a socket has at most 107 bytes, this one 108"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*QUICK, *words]) == cli.EXIT_WRONG
    assert message in capsys.readouterr().err


def test_no_message_has_a_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "users"
    path.write_text("somebody:x\nhunter2\n", encoding="utf-8")
    words = [*QUICK, "--dashboard", "0", "--dashboard-auth", str(path)]
    assert cli.main(words) == cli.EXIT_WRONG
    assert capsys.readouterr().err == f"dsbalance: {path}:2: expects USER:PASSWORD\n"


@pytest.mark.parametrize(
    "words",
    [
        [*QUICK, "--dashboard-auth", "x"],
        ["--dashboard", "0", *QUICK],
        ["--socket", "/x", "suite", "--paragon", "a"],
    ],
)
def test_wrong_words_are_a_matter_of_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == cli.EXIT_USAGE
    assert " error: " in capsys.readouterr().err


def test_the_suite_is_printed_with_its_dashboard(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["suite", "--paragon", "10.0.0.11", "--dashboard"]
    assert cli.main([*words, "8404"]) == cli.EXIT_OK
    said = capsys.readouterr()
    assert said.err == ""
    frontend = read([("suite.cfg", said.out)]).config.frontends[-1]
    assert (frontend.name, str(frontend.binds[0])) == ("stats", "127.0.0.1:8404")
    assert cli.main([*words, "*:8404"]) == cli.EXIT_OK
    said = capsys.readouterr()
    assert said.err.startswith("dsbalance: stats: :8404: other machines reach it")
    assert "bind :8404\n" in said.out
