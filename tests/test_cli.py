"""The command line, within this process; tests of whole runs are in tests/acceptance."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import Greeter, greeted_by, until
from dsbalance import VERSION, cli
from dsbalance.haproxy.config import read
from dsbalance.options import COMMANDS

GOOD = """\
defaults
    timeout connect 1s
    timeout client 1m
    timeout server 1m
listen web
    bind 127.0.0.1:{port}
    server a 127.0.0.1:{server}
"""


@pytest.fixture(autouse=True)
def _quiet_process() -> Iterator[None]:
    """Leave signals and logging as they were."""
    obeyed = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
    words = [word for word in obeyed if hasattr(signal, word)]
    before = {word: signal.getsignal(getattr(signal, word)) for word in words}
    level = logging.getLogger("dsbalance.session").level
    yield
    for word, handler in before.items():
        signal.signal(getattr(signal, word), handler)
    signal.set_wakeup_fd(-1)
    logging.getLogger("dsbalance.session").setLevel(level)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.cfg"
    path.write_text(GOOD.format(port=1, server=1), encoding="utf-8")
    return path


def test_without_arguments_it_teaches_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == cli.EXIT_USAGE
    assert "python -m dsbalance demo" in capsys.readouterr().err


def test_it_knows_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"dsbalance {VERSION}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_a_good_file_is_valid(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-c", "-f", str(good)]) == cli.EXIT_OK
    assert capsys.readouterr().out == "Configuration file is valid\n"


def test_a_directory_stands_for_its_files_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    defaults, listen = GOOD.split("listen")
    (tmp_path / "1.cfg").write_text(defaults, encoding="utf-8")
    (tmp_path / "2.cfg").write_text("listen" + listen.format(port=1, server=1), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not a configuration", encoding="utf-8")
    assert cli.main(["-c", "-f", str(tmp_path)]) == cli.EXIT_OK
    assert capsys.readouterr().err == ""


def test_what_has_no_effect_is_listed(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good.write_text("global\n    nbthread 4\n" + good.read_text(encoding="utf-8"), encoding="utf-8")
    assert cli.main(["-c", "-f", str(good)]) == cli.EXIT_OK
    assert f"{good}:2: nbthread" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "x.cfg: cannot read: No such file or directory"),
        (b"listen web\n    bind \xff:80\n", "x.cfg:2: byte 0xff is not UTF-8"),
        (b"listen web\n    bind :99999\n    server a h:1\n", "x.cfg:2: "),
        (
            GOOD.format(port=1, server=1).replace("127.0.0.1:1\n", "no.invalid:1\n").encode(),
            "x.cfg:7",
        ),
        (b"global\n    maxconn 2000000000\n" + GOOD.format(port=1, server=1).encode(), "x.cfg:2"),
    ],
)
def test_a_bad_file_is_named_with_its_line(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.cfg"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["-c", "-f", str(path)]) == cli.EXIT_WRONG
    error = capsys.readouterr().err
    assert error.startswith("dsbalance: ")
    assert message in error


def test_a_carriage_return_ends_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.cfg"
    path.write_bytes(b"global\r\n\r\rmaxconn 5\rx\r\ny\r\n")
    assert cli.main(["-c", "-f", str(path)]) == cli.EXIT_WRONG
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"dsbalance: {path}:2: maxconn: unexpected word 'x'"
    assert second.startswith(f"dsbalance: {path}:3: unknown keyword 'y'")


@pytest.mark.parametrize("name", ["no\0name", "a\nb\x1b[2J.cfg", "\udcff.cfg"])
def test_a_name_that_is_no_name_is_said_on_one_line(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["-c", "-f", name]) == cli.EXIT_WRONG
    error = capsys.readouterr().err
    assert error.endswith("\n")
    assert error[:-1].isprintable()
    assert error.startswith("dsbalance: ")
    assert "cannot read: " in error


def test_an_empty_directory_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-c", "-f", str(tmp_path)]) == cli.EXIT_WRONG
    assert "there is no *.cfg" in capsys.readouterr().err


def test_the_suite_is_printed_as_a_file_that_reads_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["suite", "--paragon", "10.0.0.11,10.0.0.12", "--phoenix", "10.0.0.11", "--host", "::1"]
    assert cli.main(words) == cli.EXIT_OK
    config = read([("suite.cfg", capsys.readouterr().out)]).config
    assert [frontend.name for frontend in config.frontends][:2] == ["paragon", "paragon-http"]
    assert all(bind.host == "::1" for f in config.frontends for bind in f.binds)


@pytest.mark.parametrize(
    "words",
    [
        ["suite"],
        ["run"],
        ["run", "--listen", ":1"],
        ["run", "--server", "a:1"],
        ["run", "-f", "x", "--listen", ":1", "--server", "a:1"],
        ["run", "--paragon", "a", "--listen", ":1"],
        ["run", "--maxconn", "many"],
        ["suite", "--paragon", "a", "--print-ports", "lpr"],
        ["dance"],
        ["-c", "run", "--listen", ":1", "--server", "a:1"],
        ["-f", "x", "demo"],
        ["-f", "x", "-q", "suite", "--paragon", "a"],
        ["run", "-f", "x", "--stick", "3m"],
        ["run", "--paragon", "a", "--maxconn", "5"],
        ["run", "--print-ports", "9100"],
        ["run", *["-v"] * 1000],
        ["a\nb\x1b[2J"],
        ["run", "--server", "a\nb", "--no\nsuch"],
    ],
)
def test_wrong_words_are_a_matter_of_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == cli.EXIT_USAGE
    said = capsys.readouterr().err
    assert said.startswith("usage: dsbalance ")
    assert said.endswith("\n")
    assert " error: " in said.splitlines()[-1]
    assert said.splitlines()[-1].isprintable()


@pytest.mark.parametrize(
    "words",
    [
        ["--paragon", "10.0.0.11", "--phoenix", "10.0.0.11", "--phoenix-backup", "10.0.0.12"],
        [
            "--listen",
            ":9100",
            "--server",
            "10.0.0.11:9100",
            "--balance",
            "source",
            "--stick",
            "30m",
        ],
    ],
)
def test_options_can_be_checked_like_a_file(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *words, "-c"]) == cli.EXIT_OK
    assert "valid" in capsys.readouterr().out


def test_a_wrong_option_value_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--listen", ":9100", "--server", "10.0.0.11:9100", "--stick", "soon"]
    assert cli.main(words) == cli.EXIT_WRONG
    assert "soon" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_ends_a_run_well(word: str, tmp_path: Path) -> None:
    if not hasattr(signal, word):
        pytest.skip(f"this system has no {word}")
    greeter = Greeter("a")
    port = _free_port()
    path = tmp_path / "x.cfg"
    path.write_text(GOOD.format(port=port, server=greeter.port), encoding="utf-8")

    def interrupt() -> None:
        until(lambda: _answers(port))
        os.kill(os.getpid(), getattr(signal, word))

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert cli.main(["-f", str(path)]) == cli.EXIT_OK
    thread.join()
    greeter.close()


def _answers(port: int) -> bool:
    try:
        return greeted_by(("127.0.0.1", port)) == "a"
    except ConnectionRefusedError:
        return False


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_a_port_in_use_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    greeter = Greeter("a")
    path = tmp_path / "x.cfg"
    path.write_text(GOOD.format(port=greeter.port, server=1), encoding="utf-8")
    assert cli.main(["-q", "-f", str(path)]) == cli.EXIT_WRONG
    assert (
        f"x.cfg:6: 127.0.0.1:{greeter.port}: cannot listen: Address already in use"
        in capsys.readouterr().err
    )
    greeter.close()


@pytest.mark.parametrize("words", [["suite", "--paragon", "10.0.0.11"], ["--help"], ["run", "-h"]])
@pytest.mark.parametrize("reader", ["closed", "/dev/full"])
def test_output_that_nobody_takes_is_no_traceback(words: list[str], reader: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "dsbalance", *words]
    if reader == "closed":
        read_end, write_end = os.pipe()
        os.close(read_end)
    elif not Path(reader).exists():
        pytest.skip(f"this system has no {reader}")
    else:
        write_end = os.open(reader, os.O_WRONLY)
    run = subprocess.run(
        command, stdout=write_end, stderr=subprocess.PIPE, text=True, env=environment, check=False
    )
    os.close(write_end)
    if reader == "closed":
        assert (run.returncode, run.stderr) == (cli.EXIT_OK, "")
    else:
        assert run.returncode == cli.EXIT_WRONG
        assert run.stderr.startswith("dsbalance: cannot write: ")
        assert run.stderr.count("\n") == 1


def test_an_empty_name_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-f", ""]) == cli.EXIT_WRONG
    assert "empty" in capsys.readouterr().err


def test_hup_tells_how_the_servers_are_and_usr2_that_there_is_no_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("this system has no SIGHUP")
    greeter = Greeter("a")
    port = _free_port()
    path = tmp_path / "x.cfg"
    path.write_text(GOOD.format(port=port, server=greeter.port), encoding="utf-8")

    def interrupt() -> None:
        until(lambda: _answers(port))
        os.kill(os.getpid(), signal.SIGHUP)
        until(lambda: "SIGHUP: web/a is no check" in caplog.text)
        os.kill(os.getpid(), signal.SIGUSR2)
        until(lambda: "there is no reload" in caplog.text)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with caplog.at_level(logging.INFO):
        assert cli.main(["-f", str(path)]) == cli.EXIT_OK
    thread.join()
    greeter.close()


def test_an_interrupt_before_the_run_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli._ACTIONS, "suite", interrupt)
    assert cli.main(["suite", "--paragon", "a"]) == cli.EXIT_INTERRUPTED
