"""The client of the runtime API, against a stand-in; against real balancers in tests/acceptance."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import Stub
from dsbalance import remote as module
from dsbalance.remote import RefusedError, Remote, RemoteError, StatRow, turn_lines
from runtime_api import RuntimeApi


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    """Three servers in two backends; those of the second one follow those of the first."""
    with RuntimeApi() as api:
        api.row("paragon/FRONTEND", "OPEN")
        for number in (1, 2, 3):
            api.row(f"paragon/primary-{number}", "UP", scur=str(number - 1))
        api.row("paragon/BACKEND", "UP")
        for number in (1, 2, 3):
            name = f"primary-{number}"
            api.row(f"paragon-http/{name}", "UP", tracked=f"paragon/{name}", scur="0")
        api.row("phoenix/primary-1", "UP", scur="0")
        yield api


def told(api: RuntimeApi) -> list[str]:
    """Return what it was told to do."""
    return [command for command in api.heard if not command.startswith("show ")]


# -- asking


def test_a_command_is_a_line_and_the_answer_ends_with_the_connection(api: RuntimeApi) -> None:
    api.answers["show table"] = b"# table: paragon\n\n"
    assert Remote(api.address).ask("show table") == "# table: paragon\n"
    assert api.heard == ["show table"]


def test_a_unix_socket_is_a_path(tmp_path: Path) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no Unix sockets here")
    path = tmp_path / "api:1"
    with RuntimeApi(path) as api:
        api.answers["x"] = b"y\n"
        assert Remote(str(path)).ask("x") == "y"
        assert Remote(f"unix@{path}").ask("x") == "y"


def test_an_address_may_be_ipv6_or_leave_the_host_out() -> None:
    with RuntimeApi() as api:
        port = int(api.address.split(":")[1])
        for address in (f":{port}", f"localhost:{port}", f"ipv4@127.0.0.1:{port}"):
            assert Remote(address).info()["Pid"] == "11"
    assert module._place("[::1]:9999", is_path=False) == ("::1", 9999)


@pytest.mark.parametrize("address", ["", "localhost:", "localhost:http", "a:99999", "a:0", "a:²"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(RemoteError, match=r"is neither a path nor HOST:PORT"):
        Remote(address)


def test_nobody_there_is_said_with_the_path(tmp_path: Path) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no Unix sockets here")
    path = tmp_path / "gone.sock"
    with pytest.raises(RemoteError) as caught:
        Remote(str(path)).info()
    assert str(caught.value) == f"{path}: cannot connect: No such file or directory"
    assert (caught.value.address, caught.value.reason[:14]) == (str(path), "cannot connect")


@pytest.mark.parametrize("address", ["/a\0b", "/" + "x" * 300, "no.such.invalid:1"])
def test_what_cannot_be_connected_to_is_said(address: str) -> None:
    with pytest.raises(RemoteError, match=r"cannot connect: \w"):
        Remote(address).info()


def test_without_unix_sockets_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(RemoteError, match="no Unix sockets; name HOST:PORT"):
        Remote("/run/x.sock").info()


def test_silence_has_a_limit() -> None:
    stub = Stub()
    with pytest.raises(RemoteError, match=r"no answer within 0\.1 s"):
        Remote(f"{stub.host}:{stub.port}", timeout=0.1).ask("show info")
    stub.close()


def test_silence_has_a_limit_on_a_unix_socket_too(tmp_path: Path) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no Unix sockets here")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "x"))
        silent.listen()
        with pytest.raises(RemoteError, match="no answer within"):
            Remote(str(tmp_path / "x"), timeout=0.1).ask("show info")


def test_an_answer_has_a_limit(api: RuntimeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER", 1 << 20)
    api.answers["show table"] = bytes(1 << 20)
    assert len(Remote(api.address).ask("show table")) == 1 << 20
    api.answers["show table"] += b"\n"
    with pytest.raises(RemoteError, match="longer than 1 MiB"):
        Remote(api.address).ask("show table")


def test_a_connection_that_ends_without_a_word_is_no_answer(api: RuntimeApi) -> None:
    api.answers["show info"] = b""
    with pytest.raises(RemoteError, match="closed the connection without a word"):
        Remote(api.address).info()


def test_a_connection_that_breaks_off_is_no_answer() -> None:
    stub = Stub()
    remote = Remote(f"{stub.host}:{stub.port}")

    def break_off() -> None:
        peer = stub.accept()
        peer.hear(b"show stat\n").say(b"# pxname,")
        peer.reset()

    import threading

    thread = threading.Thread(target=break_off)
    thread.start()
    with pytest.raises(RemoteError, match="broke off: Connection reset"):
        remote.stat()
    thread.join()
    stub.close()


def test_a_command_of_two_lines_is_refused_here(api: RuntimeApi) -> None:
    for command in ("show info\nshow stat", "show info\r"):
        with pytest.raises(RefusedError, match="one line"):
            Remote(api.address).ask(command)
    assert api.heard == []


# -- what it says


def test_statistics_are_read_by_the_names_of_their_columns(api: RuntimeApi) -> None:
    rows = Remote(api.address).stat()
    assert [row.path for row in rows][:2] == ["paragon/FRONTEND", "paragon/primary-1"]
    assert [(row.is_frontend, row.is_server, row.is_backend) for row in rows[::4]][:2] == [
        (True, False, False),
        (False, False, True),
    ]
    assert (rows[2].number("scur"), rows[2].number("slim"), rows[2]["no_such"]) == (1, None, "")


def test_quoted_values_may_have_commas_and_lines(api: RuntimeApi) -> None:
    api.answers["show stat"] = b'# pxname,svname,last_chk,\na,b,"say ""x"",\ny",\n\n'
    (row,) = Remote(api.address).stat()
    assert row["last_chk"] == 'say "x",\ny'


def test_columns_that_are_new_or_missing_do_no_harm(api: RuntimeApi) -> None:
    api.answers["show stat"] = b"# pxname,new,svname,type,\na,7,b,2,\nc,8\n\n"
    first, second = Remote(api.address).stat()
    assert (first.path, first["new"], first.is_server) == ("a/b", "7", True)
    assert (second["pxname"], second["svname"]) == ("c", "")


@pytest.mark.parametrize("command", ["stat", "info"])
def test_who_speaks_something_else_is_quoted(command: str, api: RuntimeApi) -> None:
    api.answers[f"show {command}"] = b"HTTP/1.1 400 Bad\x1b[2J request\r\nServer: x\r\n\r\n"
    with pytest.raises(RemoteError) as caught:
        getattr(Remote(api.address), command)()
    assert str(caught.value) == (
        f"{api.address}: it does not say what was asked, but: HTTP/1.1 400 Bad\\x1b[2J request"
    )


def test_statistics_that_cannot_be_read_are_said(api: RuntimeApi) -> None:
    api.answers["show stat"] = b"# pxname,svname,\na," + b"x" * 200_000 + b"\n\n"
    with pytest.raises(RemoteError, match="its statistics cannot be read: field larger"):
        Remote(api.address).stat()


def test_show_passes_everything_on(api: RuntimeApi) -> None:
    api.answers["show table paragon key 10.1.0.7"] = b"# table: paragon\n0x1: key=10.1.0.7\n\n"
    answer = Remote(api.address).show(["table", "paragon", "key", "10.1.0.7"])
    assert answer == "# table: paragon\n0x1: key=10.1.0.7\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"No such table\n\n",
        b"Can't find backend.\n\n",
        b"Permission denied\n\n",
        b"Unknown command: 'x', but maybe one of the following is a better match:\n\n",
    ],
)
def test_show_knows_a_refusal(answer: bytes, api: RuntimeApi) -> None:
    api.answers["show x"] = answer
    with pytest.raises(RefusedError) as caught:
        Remote(api.address).show(["x"])
    assert caught.value.reason == answer.decode().strip()


# -- steering


def test_a_server_is_named_with_its_backend(api: RuntimeApi) -> None:
    (turn,) = Remote(api.address).steer(["phoenix/primary-1"], "maint")
    assert told(api) == ["set server phoenix/primary-1 state maint"]
    assert (turn.after.path, turn.statuses, turn.is_meant) == (
        "phoenix/primary-1",
        ("UP", "MAINT"),
        True,
    )


@pytest.mark.parametrize("state", ["drain", "maint"])
def test_a_name_alone_is_every_backend_but_where_it_follows(state: str, api: RuntimeApi) -> None:
    turns = Remote(api.address).steer(["primary-1"], state)
    assert told(api) == [
        f"set server paragon/primary-1 state {state}",
        f"set server phoenix/primary-1 state {state}",
    ]
    assert [(turn.after.path, turn.after["status"], turn.is_meant) for turn in turns] == [
        ("paragon/primary-1", state.upper(), True),
        ("paragon-http/primary-1", state.upper(), True),
        ("phoenix/primary-1", state.upper(), True),
    ]


def test_ready_is_said_to_followers_too(api: RuntimeApi) -> None:
    Remote(api.address).steer(["primary-1"], "ready")
    assert [command.split()[2] for command in told(api)] == [
        "paragon/primary-1",
        "paragon-http/primary-1",
        "phoenix/primary-1",
    ]


def test_a_follower_of_a_follower_is_left_to_follow(api: RuntimeApi) -> None:
    api.row("more/primary-1", "UP", tracked="other/x")
    api.row("other/x", "UP", tracked="paragon/primary-1")
    Remote(api.address).steer(["primary-1"], "drain")
    assert "set server more/primary-1 state drain" not in told(api)


def test_a_follower_can_be_steered_for_itself(api: RuntimeApi) -> None:
    Remote(api.address).steer(["paragon-http/primary-1"], "drain")
    assert told(api) == ["set server paragon-http/primary-1 state drain"]


def test_what_changes_besides_is_told_too(api: RuntimeApi) -> None:
    turns = Remote(api.address).steer(["paragon/primary-2", "paragon/primary-2"], "drain")
    assert len(told(api)) == 1
    assert [(turn.after.path, turn.is_meant) for turn in turns] == [
        ("paragon/primary-2", True),
        ("paragon-http/primary-2", False),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("primary-9", "primary-9: no backend has a server of this name"),
        ("FRONTEND", "FRONTEND: no backend has a server of this name"),
        ("paragon/primary-9", "paragon/primary-9: No such server."),
        ("paragon/x;shutdown", "paragon/x;shutdown: no server can have this name"),
        ("a b", "a b: no server can have this name"),
        ("x/", "x/: no server can have this name"),
        ("", ": no server can have this name"),
        ("a\nb", r"a\nb: no server can have this name"),
    ],
)
def test_an_unknown_server_is_refused(name: str, reason: str, api: RuntimeApi) -> None:
    with pytest.raises(RefusedError) as caught:
        Remote(api.address).steer([name], "drain")
    assert caught.value.reason == reason
    assert [command for command in told(api) if "9" not in command] == []


def test_who_may_not_steer_is_told_so(api: RuntimeApi) -> None:
    api.answers["set server phoenix/primary-1 state maint"] = b"Permission denied\n\n"
    with pytest.raises(RefusedError, match=r"phoenix/primary-1: Permission denied$"):
        Remote(api.address).steer(["phoenix/primary-1"], "maint")


def test_a_turn_is_told_on_a_line_with_what_to_know_of_it(api: RuntimeApi) -> None:
    api.row("paragon-http/BACKEND", "UP")
    remote = Remote(api.address)
    api.rows[3]["status"] = "DOWN 1/12"
    api.rows[3]["scur"] = "0"
    turns = remote.steer(["primary-2", "primary-3"], "drain")
    assert turn_lines(turns, "drain") == [
        "paragon/primary-2       UP -> DRAIN  1 session left",
        "paragon/primary-3       DOWN 1/12    as before, drained once it is up, 0 sessions left",
        "paragon-http/primary-2  UP -> DRAIN  follows paragon/primary-2, 0 sessions left",
        "paragon-http/primary-3  UP -> DRAIN  follows paragon/primary-3, 0 sessions left",
    ]
    turns = remote.steer(["paragon/primary-2"], "ready")
    assert turn_lines(turns, "ready") == [
        "paragon/primary-2       DRAIN -> UP",
        "paragon-http/primary-2  DRAIN -> UP  follows paragon/primary-2",
    ]
    assert turn_lines([], "ready") == []


def test_a_backend_that_is_lost_with_it_is_told() -> None:
    before, after = (
        StatRow({"pxname": "a", "svname": "BACKEND", "type": "1", "status": status})
        for status in ("UP", "DOWN")
    )
    turn = module.Turn(before, after, is_meant=False)
    assert turn_lines([turn], "drain") == ["a/BACKEND  UP -> DOWN  nobody takes new clients"]
    assert turn_lines([module.Turn(after, before, is_meant=False)], "ready") == [
        "a/BACKEND  DOWN -> UP"
    ]


def test_where_the_status_says_whom_it_follows_that_is_not_repeated() -> None:
    row = StatRow(
        {
            "pxname": "a",
            "svname": "s",
            "type": "2",
            "status": "MAINT (via b/s)",
            "tracked": "b/s",
            "scur": "0",
        }
    )
    (line,) = turn_lines([module.Turn(row, row, is_meant=True)], "maint")
    assert line == "a/s  MAINT (via b/s)  as before, 0 sessions left"
