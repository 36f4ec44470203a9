"""The forwarder's benchmarks work, and their instruments measure what they say.

Here a figure may be anything: the machine is busy with the tests.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"
QUICK = ("--rounds", "1", "--count", "small")
# Name -> how many claims.
FILES = {
    "bulk.py": 1,
    "bulk_eight.py": 1,
    "dashboard.py": 1,
    "http_bodies.py": 4,
    "http_requests.py": 2,
    "idle_cost.py": 1,
    "idle_memory.py": 1,
    "short_connections.py": 1,
    "small_requests.py": 1,
}
METRICS = {"rate", "user_us", "system_us", "cpu_us"}
OWN_METRICS = {
    "dashboard.py": {"alone_us", "p99_us", "ratio"},
    "idle_cost.py": {"alone_us", "ratio", "idle"},
    "idle_memory.py": {"bytes"},
}

pytestmark = pytest.mark.skipif(
    not all(Path(f"/proc/self/{name}").exists() for name in ("schedstat", "smaps_rollup")),
    reason="CPU and memory are read from Linux's /proc",
)


def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / name), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("load")


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("rig")


@pytest.mark.parametrize("name", FILES)
def test_a_quick_round_gives_a_line_with_every_figure_for_each_claim(name: str) -> None:
    done = run(name, *QUICK, "--rivals", "dsbalance")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({line["claim"] for line in lines}) == len(lines) == FILES[name]
    for line in lines:
        assert (line["rival"], line["failed"], line["n"]) == ("dsbalance", [], 1)
        assert {"claim", "unit", "rounds", "versions"} <= line.keys()
        (figures,) = line["rounds"]
        assert figures.keys() == METRICS | OWN_METRICS.get(name, set())
        for metric, value in figures.items():
            assert line[metric] == {"min": value, "median": value, "max": value}
        assert figures["rate"] > 0
        assert figures["cpu_us"] > 0
        # What is asked for is measured.
        assert line["bars"].keys() <= figures.keys() | {"relative", "relative_cpu"}


def test_every_fault_ends_as_it_has_to() -> None:
    done = run("fault_table.py", *QUICK, "--rivals", "dsbalance")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 8
    assert {line["case"]: line["result"] for line in lines} == {
        line["case"]: line["wanted"] for line in lines
    }
    assert done.returncode == 0


def test_a_rival_that_nobody_knows_is_refused() -> None:
    done = run("bulk.py", *QUICK, "--rivals", "nobody")
    assert done.returncode == 2
    assert "no nobody among dsbalance, haproxy" in done.stderr


def test_a_rival_that_is_not_here_is_left_out_with_the_reason(rig: Any, capsys: Any) -> None:
    rivals = importlib.import_module("rivals")
    result = rig.Result(
        rivals.Rival(name="nobody", command=list, missing=lambda: "it is not installed")
    )
    line = result.line(None)
    assert (line["absent"], line["n"]) == ("it is not installed", 0)
    assert not METRICS & line.keys()
    assert "nobody is left out: it is not installed" in capsys.readouterr().err


def test_a_round_that_went_wrong_does_not_count_and_is_told(rig: Any) -> None:
    ours, other = (rig.Result(rival) for rival in importlib.import_module("rivals").RIVALS[:2])
    for number, rate in enumerate((10.0, 20.0, 40.0)):
        other.taken[number] = {"rate": rate, "cpu_us": 5.0}
    ours.taken[2] = {"rate": 20.0, "cpu_us": 4.0}
    with ours.noting():
        raise ValueError("bytes were lost")
    line = ours.line(other)
    assert (line["failed"], line["n"]) == (["bytes were lost"], 1)
    assert line["relative"]["median"] == 0.5
    assert line["relative_cpu"]["median"] == 0.8


# --- instruments ---------------------------------------------------------------------------------


def test_cpu_counts_what_a_child_burns(rig: Any) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"
    before, _ = rig.cpu(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdin
        assert child.stdout.readline() == "done\n"
        total, user = rig.cpu(os.getpid())
        child.stdin.write("\n")
    assert total - before >= 0.3
    assert user > 0.1


def test_memory_is_what_was_written_to_and_not_what_was_asked_for(rig: Any) -> None:
    size = 32 << 20
    before = rig.memory(os.getpid())
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE) as block:
        assert rig.memory(os.getpid()) - before < size / 2
        block.write(bytes(1) * size)
        assert rig.memory(os.getpid()) - before >= size


@contextmanager
def server_that_repeats(size: int, then_swallows: int = 0) -> Iterator[int]:
    """Yield the port of a server that repeats so many bytes, keeps so many and ends cleanly."""

    def serve() -> None:
        with listener.accept()[0] as sock:
            left = size
            while left:
                part = sock.recv(left)
                sock.sendall(part)
                left -= len(part)
            sock.recv(then_swallows, socket.MSG_WAITALL)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_a_stream_that_lost_bytes_is_noticed(load: Any) -> None:
    with server_that_repeats(100_000) as port:
        load.stream(port, 1, 100_000)
    with server_that_repeats(99_999, 1) as port:
        with pytest.raises(ValueError, match="1 bytes of 100000 did not come back"):
            load.stream(port, 1, 100_000)


def test_a_request_without_a_whole_answer_is_noticed(load: Any) -> None:
    with server_that_repeats(300) as port, ExitStack() as stack:
        load.ask(load.connect(port, 1, stack), 3)
    with server_that_repeats(250, 50) as port, ExitStack() as stack:
        socks = load.connect(port, 1, stack)
        with pytest.raises(ValueError, match="not whole"):
            load.ask(socks, 3)
