"""Claim: in none of these faults do we lose a byte, an end, a client or the processor.

Each case is played with both ends of the connection in this process and the rival between them, a
new one each time; what is printed is what happened. The rivals give a server one second to accept.

case                  what is done, and the result
half-closed client    it sends 100 kB and ends its direction, then the server answers: ok, lost
half-closed server    it greets and ends its direction, then the client sends 10 kB: ok, lost
server's reset        after 100 kB of an answer; what the client sees: RST, FIN (all looks well)
client's reset        what the server sees
stopped client        the server sends all it can: by how much the rival's own memory grows; what
                      waits in the kernel is not in it
refusing server       one of two servers refuses: how many of 10 clients are served
silent server         one of two drops every SYN: how many of 4 clients are served within 8 s
64 descriptors        100 clients at once, each of which leaves when it is served: ok if all are,
                      and the rival is quiet while it is full. HAProxy and we are not told a
                      ``maxconn``; with one that does not fit both refuse to start

Command: ``.venv/bin/python benchmarks/fault_table.py --markdown``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from load import WORDS, echo_server
from rig import cpu, memory, versions
from rivals import RIVALS, Rival, StartError, Target, named, running

PATIENCE = 8.0


@contextlib.contextmanager
def play(rival: Rival) -> Iterator[tuple[socket.socket, socket.socket, Target]]:
    """Yield a client, its server, and the rival between them."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE)
        target = stack.enter_context(between(rival, listener.getsockname()[1]))
        client = stack.enter_context(connect(target))
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(PATIENCE)
        yield client, server, target


def between(rival: Rival, *servers: int) -> contextlib.AbstractContextManager[Target]:
    return running(rival, *servers, connect=1, is_sticky=False)


def connect(target: Target) -> socket.socket:
    return socket.create_connection(("127.0.0.1", target.port), PATIENCE)


def hear(sock: socket.socket) -> tuple[int, str]:
    """Return how many bytes come until the end, and what the end is."""
    count = 0
    try:
        while part := sock.recv(1 << 16):
            count += len(part)
    except ConnectionResetError:
        return count, "RST"
    except TimeoutError:
        return count, "nothing"
    return count, "FIN"


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# --- the cases -----------------------------------------------------------------------------------


def half_closed_client(rival: Rival) -> str:
    with play(rival) as (client, server, _):
        client.sendall(bytes(100_000))
        client.shutdown(socket.SHUT_WR)
        asked, _ = hear(server)
        with contextlib.suppress(ConnectionError):
            server.sendall(bytes(100_000))
        server.close()
        return "ok" if (asked, *hear(client)) == (100_000, 100_000, "FIN") else "lost"


def half_closed_server(rival: Rival) -> str:
    with play(rival) as (client, server, _):
        server.sendall(WORDS)
        server.shutdown(socket.SHUT_WR)
        greeted = hear(client)
        with contextlib.suppress(ConnectionError):
            client.sendall(bytes(10_000))
        client.close()
        return "ok" if (greeted, hear(server)[0]) == ((len(WORDS), "FIN"), 10_000) else "lost"


def server_reset(rival: Rival) -> str:
    with play(rival) as (client, server, _):
        server.sendall(bytes(100_000))
        left = 100_000
        while left:
            left -= len(client.recv(left))
        reset(server)
        return hear(client)[1]


def client_reset(rival: Rival) -> str:
    with play(rival) as (client, server, _):
        client.sendall(WORDS)
        server.recv(len(WORDS))
        reset(client)
        return hear(server)[1]


def stopped_client(rival: Rival) -> str:
    with play(rival) as (client, server, target):
        before = memory(target.pid)
        server.settimeout(0.5)
        left = 256 << 20
        with contextlib.suppress(TimeoutError):
            while left:
                left -= server.send(bytes(1 << 20))
        grown = (memory(target.pid) - before) / (1 << 20)
        client.close()
        return f"+{grown:.1f} MiB"


def refusing_server(rival: Rival) -> str:
    # Bound and not listening: nobody else gets the port, and whoever connects is refused.
    with socket.socket() as refusing, echo_server() as server:
        refusing.bind(("127.0.0.1", 0))
        with between(rival, refusing.getsockname()[1], server) as target:
            return served(target, 10)


def silent_server(rival: Rival) -> str:
    with (
        echo_server() as server,
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,
        # Nobody accepts, so this one fills the backlog, and Linux drops what does not fit.
        socket.create_connection(silent.getsockname()),
        between(rival, silent.getsockname()[1], server) as target,
    ):
        return served(target, 4)


def served(target: Target, clients: int) -> str:
    """Return how many of so many clients that come at once have an answer in time."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(target)) for _ in range(clients)]
        for sock in socks:
            sock.sendall(WORDS)
        deadline = time.monotonic() + PATIENCE
        return str(sum(is_answered(sock, deadline) for sock in socks))


def is_answered(sock: socket.socket, deadline: float) -> bool:
    sock.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        return sock.recv(len(WORDS)) == WORDS
    except OSError:
        return False


def few_descriptors(rival: Rival) -> str:
    with echo_server() as server, contextlib.ExitStack() as stack:
        try:
            target = stack.enter_context(running(rival, server, descriptors=64, maxconn=None))
        except StartError:
            return "refuses to start"
        waiting = []
        for _ in range(100):
            with contextlib.suppress(OSError):
                waiting.append(stack.enter_context(connect(target)))
                waiting[-1].sendall(WORDS)
        percent = 100 * busy(target)
        done = served_in_turn(waiting)
        if "State:\tZ" in Path(f"/proc/{target.pid}/status").read_text(encoding="ascii"):
            return "dies"
        spins = f"spins, {percent:.0f} % CPU" if percent >= 5 else ""
        loses = f"loses {100 - done} of 100" if done < 100 else ""
        return ", ".join(filter(None, (spins, loses))) or "ok"


def busy(target: Target) -> float:
    """Return the share of a processor that it takes in the two seconds after it has settled."""
    time.sleep(0.5)
    before, start = cpu(target.pid)[0], time.monotonic()
    time.sleep(2)
    return (cpu(target.pid)[0] - before) / (time.monotonic() - start)


def served_in_turn(waiting: list[socket.socket]) -> int:
    """Have each client leave as soon as it has its answer; return how many got one."""
    done, deadline = 0, time.monotonic() + PATIENCE
    while waiting and time.monotonic() < deadline:
        ready, _, _ = select.select(waiting, [], [], 1.0)
        for sock in ready:
            done += is_answered(sock, deadline)
            waiting.remove(sock)
            sock.close()
    return done


# Case -> how it is played, and what ours has to be.
CASES: dict[str, tuple[Callable[[Rival], str], str]] = {
    "half-closed client": (half_closed_client, "ok"),
    "half-closed server": (half_closed_server, "ok"),
    "server's reset": (server_reset, "RST"),
    "client's reset": (client_reset, "RST"),
    "stopped client": (stopped_client, "+0.0 MiB"),
    "refusing server": (refusing_server, "10"),
    "silent server": (silent_server, "4"),
    "64 descriptors": (few_descriptors, "ok"),
}


def outcome(name: str, rival: Rival, rounds: int) -> dict[str, object]:
    """Play a case and return its result line, with all results if they differ."""
    case, wanted = CASES[name]
    line: dict[str, object] = {"claim": "faults", "case": name, "rival": rival.name}
    if reason := rival.missing():
        return line | {"absent": reason, "versions": versions()}
    results = []
    for _ in range(rounds):
        try:
            results.append(case(rival))
        except OSError as error:
            results.append(f"{type(error).__name__}: {error}")
    result = " or ".join(dict.fromkeys(results))
    return line | {"result": result, "wanted": wanted, "versions": versions()}


def table(lines: list[dict[str, object]]) -> str:
    """Return the result lines as a Markdown table; bold is what ours must not be."""
    rows: dict[object, list[str]] = {}
    for line in lines:
        result = line.get("result", "-")
        is_good = result == line.get("wanted", result)
        rows.setdefault(line["rival"], []).append(f"{result}" if is_good else f"**{result}**")
    head = [["program", *CASES], ["---"] * (len(CASES) + 1)]
    body = [[f"{rival}", *results] for rival, results in rows.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in head + body)


def main() -> None:
    """Play every case; the exit status is 1 if ours is not what it has to be."""
    parser = argparse.ArgumentParser(description="What becomes of connections when things fail.")
    parser.add_argument("--rounds", type=int, default=1, help="how often each case is played")
    parser.add_argument("--count", help="as elsewhere; a case has no units, so it says nothing")
    parser.add_argument("--rivals", type=named, default=list(RIVALS), help="these alone, as a,b,c")
    parser.add_argument("--markdown", action="store_true", help="a table in place of JSON lines")
    options = parser.parse_args()
    for rival in options.rivals:
        if reason := rival.missing():
            print(f"{rival.name} is left out: {reason}", file=sys.stderr)
    lines = [outcome(name, rival, options.rounds) for rival in options.rivals for name in CASES]
    if options.markdown:
        print(table(lines))
    else:
        print(*map(json.dumps, lines), sep="\n")
    ours = [line for line in lines if line["rival"] == "dsbalance"]
    sys.exit(any(line["result"] != line["wanted"] for line in ours))


if __name__ == "__main__":
    main()
