"""Servers begin as a file has them, and nothing that is wrong with it keeps the proxy from it."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from actors import Greeter, front, greeted_by, one_backend, server, state
from dsbalance import Check, Config, Proxy
from dsbalance.haproxy.server_state import write

NEVER = Check(interval=3600.0)


def config(greeters: list[Greeter], file: Path, *, is_local: bool = False) -> Config:
    made = one_backend(*(server(each, weight=5) for each in greeters))
    back = replace(
        made.backends[0], loads_state=not is_local, state_file=str(file) if is_local else None
    )
    return replace(made, backends=(back,), state_file=None if is_local else str(file))


def saved(greeters: list[Greeter], file: Path) -> None:
    """Write the file of a proxy whose operator has drained one server and weighed the other."""
    with Proxy(config(greeters, file.with_name("none"))) as proxy:
        proxy.drain("back/a")
        proxy.set_weight("back/b", 9)
        file.write_text("".join(write(proxy.snapshot().backends)), encoding="utf-8")


@pytest.mark.parametrize("is_local", [False, True], ids=["global", "local"])
def test_servers_begin_as_they_were_saved(
    greeters: list[Greeter], tmp_path: Path, *, is_local: bool
) -> None:
    file = tmp_path / "states"
    saved(greeters, file)
    with Proxy(config(greeters, file, is_local=is_local)) as proxy:
        assert (state(proxy, "a").status, state(proxy, "b").weight) == ("DRAIN", 9)
        assert {greeted_by(front(proxy)) for _ in range(3)} == {"b"}


def test_a_backend_that_does_not_ask_for_it_begins_as_configured(
    greeters: list[Greeter], tmp_path: Path
) -> None:
    file = tmp_path / "states"
    first = config(greeters, file)
    other = replace(first.backends[0], name="other", loads_state=False)
    made = replace(first, backends=(*first.backends, other))
    with Proxy(made) as proxy:
        for path in ("back/a", "other/a"):
            proxy.drain(path)
        file.write_text("".join(write(proxy.snapshot().backends)), encoding="utf-8")
    proxy = Proxy(made)
    assert [each.servers[0].status for each in proxy.snapshot().backends] == ["DRAIN", "no check"]
    proxy.stop()


def test_a_server_that_was_down_begins_so(greeters: list[Greeter], tmp_path: Path) -> None:
    file = tmp_path / "states"
    a, b = (server(each, check=NEVER) for each in greeters)
    with Proxy(one_backend(a, b)) as proxy:
        proxy.set_health("back/a", "down")
        file.write_text("".join(write(proxy.snapshot().backends)), encoding="utf-8")
    made = one_backend(a, b)
    made = replace(made, backends=(replace(made.backends[0], state_file=str(file)),))
    proxy = Proxy(made)
    assert (state(proxy, "a").status, state(proxy, "b").status) == ("DOWN", "UP")
    proxy.stop()


def test_a_server_that_was_let_out_of_disabled_stays_out(
    greeters: list[Greeter], tmp_path: Path
) -> None:
    file = tmp_path / "states"
    made = one_backend(server(greeters[0], disabled=True))
    made = replace(made, backends=(replace(made.backends[0], state_file=str(file)),))
    for status in ("MAINT", "no check"):
        proxy = Proxy(made)
        assert state(proxy, "a").status == status
        proxy.ready("back/a")
        file.write_text("".join(write(proxy.snapshot().backends)), encoding="utf-8")
        proxy.stop()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "servers begin as configured: .*states: No such file"),
        ("7\n", "states"),
        ("1\nback nonsense\n", "states"),
        ("\udcff\x00\n", "states"),
    ],
    ids=["missing", "version", "broken", "binary"],
)
def test_a_file_that_cannot_be_used_is_a_warning(
    greeters: list[Greeter],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    text: str | None,
    words: str,
) -> None:
    file = tmp_path / "states"
    if text is not None:
        file.write_bytes(text.encode(errors="surrogateescape"))
    with caplog.at_level(logging.WARNING), Proxy(config(greeters, file)) as proxy:
        assert greeted_by(front(proxy)) in {"a", "b"}
    (record, *_) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "dsbalance.recall"

    assert re.search(words, record.getMessage())
