"""The commands that ask and steer a running balancer: what is printed, and the status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsbalance import cli
from runtime_api import RuntimeApi


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    with RuntimeApi() as api:
        api.row("paragon/FRONTEND", "OPEN")
        api.row("paragon/primary-1", "UP", scur="2")
        api.row("paragon-http/primary-1", "UP", tracked="paragon/primary-1", scur="0")
        yield api


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DSBALANCE_SOCKET", raising=False)


def test_a_server_is_steered_and_what_has_changed_is_printed(
    api: RuntimeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["drain", "primary-1", "-S", api.address]) == cli.EXIT_OK
    assert capsys.readouterr().out.splitlines() == [
        "paragon/primary-1       UP -> DRAIN  2 sessions left",
        "paragon-http/primary-1  UP -> DRAIN  follows paragon/primary-1, 0 sessions left",
    ]
    assert cli.main(["maint", "paragon/primary-1", "-S", api.address]) == cli.EXIT_OK
    assert cli.main(["ready", "-S", api.address, "primary-1"]) == cli.EXIT_OK
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "paragon/primary-1       MAINT -> UP",
        "paragon-http/primary-1  MAINT -> UP  follows paragon/primary-1",
    ]


def test_the_environment_may_name_the_socket(
    api: RuntimeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DSBALANCE_SOCKET", api.address)
    assert cli.main(["show", "info"]) == cli.EXIT_OK
    assert capsys.readouterr().out.startswith("Name: HAProxy\nVersion: 2.6.12\n")
    with RuntimeApi() as other:
        assert cli.main(["show", "info", "-S", other.address]) == cli.EXIT_OK
        assert other.heard == ["show info"]


def test_an_answer_is_printed_as_it_is(api: RuntimeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["show table paragon key 10.1.0.7"] = b"# table: paragon\n0x1: key=10.1.0.7\n\n"
    words = ["show", "table", "paragon", "key", "10.1.0.7", "-S", api.address]
    assert cli.main(words) == cli.EXIT_OK
    assert capsys.readouterr().out == "# table: paragon\n0x1: key=10.1.0.7\n"


def test_top_shows_a_table(api: RuntimeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["top", "--once", "paragon", "-S", api.address]) == cli.EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[4:]] == [["paragon", "OPEN"], ["primary-1", "UP"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["drain", "primary-9"], "primary-9: no backend has a server of this name"),
        (["ready", "paragon/primary-9"], "paragon/primary-9: No such server."),
        (["show", "nothing"], "Unknown command: 'show nothing'"),
        (["show", "a\nb"], r"show a\nb: a command is one line"),
        (["top", "--once", "nope"], "nope: there is no proxy of this name"),
    ],
)
def test_a_refusal_is_an_error(
    words: list[str], said: str, api: RuntimeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "-S", api.address]) == cli.EXIT_WRONG
    assert capsys.readouterr().err == f"dsbalance: {api.address}: {said}\n"


@pytest.mark.parametrize("words", [["drain", "a"], ["show", "info"], ["top"]])
def test_nobody_there_is_an_error_that_names_the_socket(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gone.sock"
    assert cli.main([*words, "-S", str(path)]) == cli.EXIT_WRONG
    error = capsys.readouterr().err
    assert error.startswith(f"dsbalance: {path}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["drain"],
        ["drain", "a"],
        ["drain", "-S", "x"],
        ["show", "info"],
        ["show", "-S", "x"],
        ["top"],
        ["top", "-S", ""],
        ["top", "-S", "x", "--interval", "0"],
        ["top", "-S", "x", "--interval", "soon"],
        ["top", "-S", "x", "--interval", "nan"],
    ],
)
def test_wrong_words_are_a_matter_of_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == cli.EXIT_USAGE
    assert capsys.readouterr().err.startswith(f"usage: dsbalance {words[0]} ")
