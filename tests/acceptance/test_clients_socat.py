"""socat, and our own commands: the runtime API from a shell, ours and HAProxy's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors import PATIENCE, connect
from dsbalance import cli
from processes import Process
from programs import DSBALANCE
from steered import PROGRAMS, Steered

SOCAT = shutil.which("socat")


@pytest.fixture(params=PROGRAMS)
def steered(
    request: pytest.FixtureRequest, tmp_path: Path, loopback: Callable[[], str]
) -> Iterator[Steered]:
    with ExitStack() as stack:
        yield Steered(request.param, tmp_path, loopback, stack)


def test_socat_asks_and_steers_from_a_shell(steered: Steered) -> None:
    if SOCAT is None:
        pytest.skip("socat is not installed")

    def socat(said: str) -> list[str]:
        command = [SOCAT or "", "-", f"UNIX-CONNECT:{steered.socket}"]
        done = subprocess.run(
            command, input=said, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        return done.stdout.splitlines()

    assert socat("show stat\n")[0].startswith("# pxname,svname,qcur,")
    assert socat("show info;show backend\n")[-5:] == [
        *("# name", "paragon", "paragon-http", "stats", ""),
    ]
    assert socat("disable server paragon/primary-1\n") == [""]
    assert steered.status("paragon-http/primary-1") == "MAINT (via paragon/primary-1)"
    assert socat("enable server paragon/primary-1; get weight paragon/primary-1\n") == [
        *("", "1 (initial 1)", ""),
    ]
    assert socat("get weight paragon/primary-9\n") == ["No such server.", ""]
    # An operator who types, with a prompt, until he has had enough.
    assert socat("prompt\nshow backend\nquit\n") == [
        *("", "> # name", "paragon", "paragon-http", "stats", "", "> "),
    ]


def test_our_commands_steer_both(
    steered: Steered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DSBALANCE_SOCKET", str(steered.socket))

    def command(*words: str) -> tuple[int, list[str]]:
        status = cli.main(words)
        said = capsys.readouterr()
        return status, (said.out + said.err).splitlines()

    with connect((steered.front, 5022)) as client:
        name = client.take(16).decode().strip()
        other = "primary-1" if name == "primary-2" else "primary-2"
        assert command("drain", name) == (
            0,
            [
                f"paragon/{name}       UP -> DRAIN  1 session left",
                f"paragon-http/{name}  UP -> DRAIN  follows paragon/{name}, 0 sessions left",
            ],
        )
        # It stays with its client, and nobody new comes.
        client.say(b"still here").hear(b"still here")
        for last in range(10, 14):
            with connect((steered.front, 5022), f"127.0.1.{last}") as newcomer:
                assert newcomer.take(16).decode().strip() == other
    assert command("drain", other)[1][1].split() == [
        *("paragon/BACKEND", "UP", "->", "DOWN", "nobody", "takes", "new", "clients"),
    ]
    status, lines = command("ready", "primary-1", "primary-2")
    assert (status, [line.split()[:4] for line in lines]) == (
        0,
        [
            ["paragon/primary-1", "DRAIN", "->", "UP"],
            ["paragon/primary-2", "DRAIN", "->", "UP"],
            ["paragon/BACKEND", "DOWN", "->", "UP"],
            ["paragon-http/primary-1", "DRAIN", "->", "UP"],
            ["paragon-http/primary-2", "DRAIN", "->", "UP"],
            ["paragon-http/BACKEND", "DOWN", "->", "UP"],
        ],
    )
    status, lines = command("show", "table", "paragon", "key", "127.0.1.10")
    assert (status, lines[0].split(",")[0], len(lines)) == (0, "# table: paragon", 2)
    assert f"server_key={other}" in lines[1]
    for wrong in (("drain", "paragon/primary-9"), ("show", "table", "nope"), ("show", "nothing")):
        status, lines = command(*wrong)
        assert (status, lines[0][:11]) == (1, "dsbalance: ")


def test_top_lives_through_a_stop(steered: Steered) -> None:
    words = ("top", "-S", str(steered.socket), "--interval", "0.1", "paragon")
    with Process(*DSBALANCE, *words) as top:
        top.until_it_says("primary-2")
        steered.remote.steer(["primary-2"], "maint")
        top.until_it_says("paragon/primary-2: UP -> MAINT")
        steered.process.kill()
        top.until_it_says("NO ANSWER: cannot connect")
        if hasattr(os, "fork"):
            import signal

            top.signal(signal.SIGINT)
            assert top.wait() == 130
