"""Sections have HAProxy's numbers, and what is said of logs and comes to nothing is told."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import until
from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import Reading, read
from dsbalance.identities import identify
from dsbalance.model import Backend, Frontend

HAPROXY = shutil.which("haproxy")
KINDS = ("frontend", "backend", "listen", "off")


def reading(text: str) -> Reading:
    return read([("x.cfg", f"defaults\ntimeout client 1s\n{text}")])


def file_of(sections: list[tuple[str, int | None]]) -> str:
    """Return a file with these sections, which are called x0, x1 and so on."""
    lines = []
    for number, (kind, id_) in enumerate(sections):
        lines.append(f"{'listen' if kind == 'off' else kind} x{number}")
        lines.append("mode http\nstats enable")
        lines += [] if kind == "backend" else [f"bind 127.0.0.1:{1000 + number}"]
        lines += ["disabled"] if kind == "off" else []
        lines += [] if id_ is None else [f"id {id_}"]
    return "\n".join((*lines, ""))


def numbers(text: str) -> dict[str, int]:
    """Return the numbers that the proxies of a file have when they are at work."""
    config = reading(text).config
    found = identify(config.frontends, config.backends)
    return found.frontends | found.backends


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ([("listen", None), ("listen", 1), ("listen", None)], [2, 1, 4]),
        ([("listen", None), ("listen", 2), ("listen", None)], [3, 2, 5]),
        ([("listen", 10), ("listen", 11), ("listen", None)], [10, 11, 4]),
        ([("listen", None), ("off", None), ("listen", None)], [2, 4]),
        ([("listen", None), ("listen", 20), ("listen", 4), ("listen", None)], [2, 20, 4, 5]),
        ([("backend", None), ("frontend", None), ("backend", None)], [2, 3, 4]),
    ],
)
def test_a_section_has_the_number_that_haproxy_gives_it(
    sections: list[tuple[str, int | None]], expected: list[int]
) -> None:
    assert [number for _, number in sorted(numbers(file_of(sections)).items())] == expected


def test_who_is_numbered_as_we_would_do_it_has_no_number_of_its_own() -> None:
    config = reading(file_of([("listen", None), ("frontend", None), ("backend", None)])).config
    sides: list[Frontend | Backend] = [*config.frontends, *config.backends]
    assert [side.id for side in sides] == [None] * 4


def test_a_frontend_and_a_backend_of_one_name_have_two_numbers() -> None:
    text = "frontend a\nbind :1\ndefault_backend a\nbackend a\n"
    config = reading(text).config
    assert (config.frontends[0].id, config.backends[0].id) == (2, 3)


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.none() | st.integers(1, 9)), max_size=6).filter(
        lambda sections: len({n for _, n in sections if n}) == sum(bool(n) for _, n in sections)
    )
)
def test_numbers_are_unique_and_those_that_are_said_are_kept(
    sections: list[tuple[str, int | None]],
) -> None:
    found = numbers(file_of(sections))
    assert len(set(found.values())) == len(found)
    for name, number in ((f"x{n}", id_) for n, (_, id_) in enumerate(sections)):
        assert number is None or found.get(name, number) == number


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_the_numbers_are_those_of_haproxy(tmp_path: Path) -> None:
    mixed = [("backend", None), ("frontend", None), ("listen", 4), ("off", None), ("backend", 3)]
    text = file_of([*mixed, ("listen", None)])
    path = tmp_path / "stats"
    # No port may be taken.
    text_there = text.replace("bind 127.0.0.1:", f"bind {tmp_path}/")
    file = tmp_path / "x.cfg"
    head = f"global\nstats socket {path}\ndefaults\n"
    file.write_text(head + text_there, encoding="utf-8")
    command = [HAPROXY or "", "-db", "-q", "-f", str(file)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            until(path.exists)
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(str(path))
                asking.sendall(b"show stat\n")
                answer = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
        finally:
            process.terminate()
    rows = [line.split(",") for line in answer.splitlines()[1:] if line]
    assert {row[0]: int(row[27]) for row in rows} == numbers(text)


def test_an_id_is_given_once() -> None:
    with pytest.raises(ConfigError) as caught:
        reading("listen a\nbind :1\nid 5\nlisten b\nbind :2\nid 5\n")
    assert [str(problem) for problem in caught.value.problems] == [
        "x.cfg:6: listen b: id 5 is taken by the listen of x.cfg:3"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "listen a\nbind :1\noption tcplog\n",
            ["5: option tcplog: has no effect without a 'log' line"],
        ),
        (
            "log stdout local0\noption httplog\nlisten a\nbind :1\nlisten b\nbind :2\n",
            ["4: option httplog: in 'mode tcp' it is 'option tcplog'"],
        ),
        ("log stdout local0\noption httplog\nlisten a\nmode http\nbind :1\n", []),
        ("option tcplog\nbackend b\n", []),
        (
            "backend b\nload-server-state-from-file global\n",
            ["3: load-server-state-from-file: there is no 'server-state-file' in global"],
        ),
        ("load-server-state-from-file global\nfrontend f\nbind :1\nmode http\nstats enable\n", []),
    ],
)
def test_what_comes_to_nothing_is_told(text: str, expected: list[str]) -> None:
    assert [str(notice).removeprefix("x.cfg:") for notice in reading(text).notices] == expected


@pytest.mark.parametrize(
    ("process", "lines", "files"),
    [
        ("", "", (None, False, None)),
        ("server-state-file /s", "load-server-state-from-file global", ("/s", True, None)),
        ("server-state-file s\nserver-state-base /v", "", ("/v/s", False, None)),
        ("server-state-base /v/", "load-server-state-from-file local", (None, False, "/v/a")),
        (
            "server-state-base /v",
            "load-server-state-from-file local\nserver-state-file-name x",
            (None, False, "/v/x"),
        ),
        (
            "server-state-base /v",
            "load-server-state-from-file local\nserver-state-file-name /x",
            (None, False, "/x"),
        ),
        *(
            ("", f"load-server-state-from-file local\nserver-state-file-name{word}", (None, 0, "a"))
            for word in ("", " use-backend-name")
        ),
        ("server-state-file /s", "load-server-state-from-file none", ("/s", False, None)),
    ],
)
def test_servers_begin_as_a_file_has_them(
    process: str, lines: str, files: tuple[str | None, bool, str | None]
) -> None:
    found = read([("x.cfg", f"global\n{process}\nbackend a\n{lines}\n")])
    (backend,) = found.config.backends
    assert (found.config.state_file, backend.loads_state, backend.state_file) == files
    assert found.notices == ()
