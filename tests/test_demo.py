"""The demo as newcomers meet it: run, read, interrupted; and that it would tell of a failure."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from actors import PATIENCE, until
from dsbalance.demo import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_WRONG,
    Show,
    _CtrlC,
    _play,
    _silence,
    demo,
)
from dsbalance.demo_screen import PlainScreen
from dsbalance.demo_stage import BLOCKS, Ground, Stage, open_stage

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-W", "error", "-m", "dsbalance", "demo"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
LONG = 120.0


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A Ctrl-C of a terminal would reach a group; nothing here shall reach the tests.
        start_new_session=True,
    )


def read_until(child: subprocess.Popen[str], word: str) -> str:
    """Return what the child says, up to the line with ``word``."""
    assert child.stdout is not None
    said = ""
    for line in child.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(f"it ended without {word!r}: {said}")


def balancer_of(said: str) -> str:
    """Return the address that the balancer listens on."""
    found = re.search(r"in front of them, on (\S+),", said)
    assert found
    return found[1]


def is_open(host: str) -> bool:
    try:
        socket.create_connection((host, 5022), PATIENCE).close()
    except ConnectionError:
        return False
    return True


def servers_of(balancer: str) -> list[str]:
    return [balancer.removesuffix("10") + str(10 + number) for number in (1, 2, 3)]


def test_the_demo_ends_well_and_says_what_was_seen(
    loopback: Callable[[], str], tmp_path: Path
) -> None:
    loopback()
    done = subprocess.run(
        COMMAND,
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == EXIT_OK, done.stdout + done.stderr
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
    assert max(map(len, done.stdout.splitlines())) <= 80
    story, _, summary = done.stdout.partition("The demo is over")
    killed = re.search(r"(primary-\d) is KILLED \(process \d+\)\. It served (\d+) printers", story)
    assert killed
    lost, served = killed.groups()
    for fact in (
        f"The checks of Paragon say that {lost} is DOWN.",
        f"The checks of Paragon say that {lost} is UP.",
        f"Printer 13 is new; its hash: {lost}; its server: {lost}.",
        "DRAIN",
    ):
        assert fact in story
    words = " ".join(summary.split())
    for fact in (
        r"- [1-9]\d\d+ requests were answered and 0 failed\.",
        r"Each printer had one server for all its 8 Paragon ports and for all its 2 Phoenix ports",
        rf"- {lost} was killed\. Its {served} printers went on with primary-\d",
        rf"; the other {12 - int(served)} kept their servers\.",
        rf"- {lost} came back\. The printers that had left it stayed where they were",
        r"- primary-\d was drained, for maintenance\. Its \d+ printers stayed",
        r"On plain HTTP it told the server the printer's own address, in X-Forwarded-For\.",
        r"The real preset checks every 5 s.* after 12 good ones, which is a minute\.",
        r"-m dsbalance demo --keep",
    ):
        assert re.search(fact, words), fact
    died = re.search(rf"- (\d+) open connections died with {lost}", words)
    assert died
    assert int(died[1]) >= int(served), "a request that was repeated counts once more"
    assert "WRONG" not in summary


@pytest.mark.skipif(sys.platform == "win32", reason="a Ctrl-C cannot be sent to one process")
def test_ctrl_c_ends_everything_without_a_traceback(
    loopback: Callable[[], str], tmp_path: Path
) -> None:
    loopback()
    with start(tmp_path, "--keep") as child:
        said = read_until(child, "12 printers begin")
        balancer = balancer_of(said)
        pids = [int(pid) for pid in re.findall(r"\(process\s+(\d+)\)", said)]
        assert len(pids) == 3
        child.send_signal(signal.SIGINT)
        rest, errors = child.communicate(timeout=LONG)
    assert child.returncode == EXIT_INTERRUPTED
    assert errors == ""
    assert "The demo was interrupted" in rest
    assert "0 failed" in rest
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not is_open(balancer)


@pytest.mark.skipif(sys.platform == "win32", reason="it has no SIGKILL")
def test_its_servers_end_with_it_however_it_ends(
    loopback: Callable[[], str], tmp_path: Path
) -> None:
    loopback()
    with start(tmp_path) as child:
        servers = servers_of(balancer_of(read_until(child, "12 printers begin")))
        assert all(map(is_open, servers))
        child.kill()
        child.communicate(timeout=LONG)
    until(lambda: not any(map(is_open, servers)))


def test_where_it_cannot_run_it_says_why(loopback: Callable[[], str]) -> None:
    loopback()
    out = io.StringIO()
    with contextlib.ExitStack() as exits:
        for block in BLOCKS:
            with contextlib.suppress(OSError):
                exits.enter_context(socket.create_server((Ground(block).balancer, 5555)))
        assert demo(out=out) == EXIT_WRONG
    assert out.getvalue().startswith("The demo cannot run here. 127.")
    assert "End it and try again" in out.getvalue()


class Uneventful(Show):
    """A show whose scenes the test plays."""

    def play(self) -> None:
        pass


def show_of(stage: Stage) -> tuple[Uneventful, io.StringIO]:
    out = io.StringIO()
    return Uneventful(stage, PlainScreen(out), 1.0, 0.0), out


def test_whoever_kills_a_server_gets_it_back(loopback: Callable[[], str]) -> None:
    loopback()
    stage = open_stage()
    try:
        show, out = show_of(stage)
        killed = stage.servers["primary-1"]
        killed.kill()
        show._look()
        assert "primary-1 was KILLED by somebody else; it comes back in 5 s." in out.getvalue()
        show._absent["primary-1"] = 0.0
        show._look()
        assert killed.is_running
        assert f"primary-1 is started again (process {killed.pid})." in out.getvalue()
    finally:
        stage.close()


def test_what_runs_on_says_what_to_try_and_ends_with_ctrl_c(loopback: Callable[[], str]) -> None:
    loopback()
    stage = open_stage()
    try:
        show, out = show_of(stage)
        show.ctrl_c.press()
        assert _play(show, keep=True) == EXIT_INTERRUPTED
    finally:
        stage.close()
    words = " ".join(out.getvalue().split())
    for stub in stage.servers.values():
        assert f"({stub.job.name})" in words
    assert f"curl -k https://{stage.ground.balancer}:5022/" in words
    assert "The demo was interrupted" in words
    assert "What next" not in words


def test_ctrl_c_is_watched_on_the_main_thread_and_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    pressed = _CtrlC()
    with pressed.watched():
        assert not pressed.is_pressed
        signal.raise_signal(signal.SIGINT)
        assert pressed.is_pressed
    assert signal.getsignal(signal.SIGINT) is before

    def elsewhere() -> None:
        with _CtrlC().watched():
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers: list[object] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert handlers == [before]


def test_the_log_is_kept_off_the_screen_while_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("dsbalance.engine")
    with _silence():
        log.warning("unheard")
    log.warning("heard")
    assert caplog.messages == ["heard"]


def test_a_request_that_failed_is_the_status_and_the_reason() -> None:
    stage = Stage(0)
    show, out = show_of(stage)
    assert _play(show, keep=False) == EXIT_OK
    stage.ledger.failed(3, 5012, "Connection refused")
    show, out = show_of(stage)
    assert _play(show, keep=False) == EXIT_WRONG
    assert "a request failed: printer 3, port 5012: Connection refused" in out.getvalue()
    assert "0 requests were answered and 1 failed." in out.getvalue()


def test_a_scene_that_was_not_as_it_has_to_be_is_the_status_and_the_reason() -> None:
    show, out = show_of(Stage(0))
    show._learn("This was seen before.")
    show._demand(True, "not said")
    show._demand(False, "printer 7 moved")
    show._learn("This was not seen any more.")
    assert _play(show, keep=False) == EXIT_WRONG
    words = out.getvalue()
    assert "WRONG: printer 7 moved.\n" in words
    assert "  - printer 7 moved\n" in words
    assert "This was seen before." in words
    assert "not said" not in words
    assert "any more" not in words
