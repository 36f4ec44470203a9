"""The forwarders that are measured, each held to one thread, and how each is started.

Here they forward bytes that they do not look at; ``http_rivals.py`` has some of them speak HTTP.

name            what it is
dsbalance       this project, all features on: source hash, stick table, statistics
haproxy         HAProxy as it comes, one thread
haproxy-tuned   one thread, and the buffers and pipes with which it is at its best on loopback
nginx           nginx stream, one worker, with a buffer that suits streams
asyncio         ``forwarder.py``: two copying tasks a connection, as everybody writes it
uvloop          the same file on uvloop
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATIENCE = 10.0

_HAPROXY_CONFIG = """\
global
{limit}
{tuning}
defaults
{mode}
    timeout connect {connect}s
    timeout client 10m
    timeout server 10m
    retries 3
    option redispatch 1
{splice}
listen bench
    bind 127.0.0.1:{port}
{balance}
{servers}
"""
_ONE_THREAD = "    nbthread 1\n"
# A quarter of maxconn would be the default for maxpipes, more than there are descriptors for when
# nearly all of them are connections. A stream takes two.
_TUNED = (
    f"{_ONE_THREAD}    tune.bufsize 65536\n    tune.pipesize 1048576\n    maxpipes 128\n",
    "    option splice-request\n    option splice-response\n",
)
_STICKY = """\
    balance source
    hash-type consistent
    stick-table type ip size 200k expire 30m
    stick on src"""
_IN_TURNS = "    balance roundrobin"
TCP = ("mode tcp",)

_NGINX_CONFIG = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
{module}
events {{ worker_connections {connections}; }}
stream {{
    upstream servers {{
        {balance}
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        proxy_pass servers;
        proxy_buffer_size 256k;
        tcp_nodelay on;
        proxy_connect_timeout {connect}s;
        proxy_timeout 10m;
    }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a rival is put to work.

    Attributes:
        folder: Its own, for what it reads and writes.
        port: Where it listens, on 127.0.0.1.
        servers: The ports that it forwards to, there too.
        maxconn: Sessions at a time that it is told to expect; None: it is told nothing.
        connect: Seconds that a server may take to accept.
        is_sticky: Places by the hash of the source, and where it can, keeps a table; if not, the
            servers take turns.
        mode: What is done with the bytes, in lines of HAProxy's language.
    """

    folder: Path
    port: int
    servers: tuple[int, ...]
    maxconn: int | None = 5000
    connect: int = 5
    is_sticky: bool = True
    mode: tuple[str, ...] = TCP


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A program that forwards.

    Attributes:
        command: Writes its settings for a site and returns the words that start it.
        missing: Returns why it cannot be started here; empty if it can.
    """

    name: str
    command: Callable[[Site], list[str]]
    missing: Callable[[], str] = lambda: ""


@dataclass(frozen=True, slots=True)
class Target:
    """A rival at work."""

    rival: Rival
    pid: int
    port: int


class StartError(OSError):
    """A rival did not start. The text is the last line that it wrote."""


def haproxy() -> str | None:
    # Its folder is not on the path of everybody but root.
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


def nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def _haproxy_settings(site: Site, tuning: str, splice: str) -> str:
    servers = (f"    server s{n} 127.0.0.1:{port}" for n, port in enumerate(site.servers))
    return _HAPROXY_CONFIG.format(
        limit="" if site.maxconn is None else f"    maxconn {site.maxconn}",
        tuning=tuning,
        splice=splice,
        mode="\n".join(f"    {line}" for line in site.mode),
        connect=site.connect,
        port=site.port,
        balance=_STICKY if site.is_sticky else _IN_TURNS,
        servers="\n".join(servers),
    )


def _start_dsbalance(site: Site) -> list[str]:
    path = site.folder / "dsbalance.cfg"
    path.write_text(_haproxy_settings(site, "", ""), encoding="ascii")
    return [sys.executable, "-m", "dsbalance", "-f", str(path)]


def _start_haproxy(site: Site, *, tuning: str = _ONE_THREAD, splice: str = "") -> list[str]:
    path = site.folder / "haproxy.cfg"
    path.write_text(_haproxy_settings(site, tuning, splice), encoding="ascii")
    return [haproxy() or "haproxy", "-db", "-f", str(path)]


def _start_nginx(site: Site) -> list[str]:
    servers = (f"        server 127.0.0.1:{port};" for port in site.servers)
    path = site.folder / "nginx.conf"
    path.write_text(
        _NGINX_CONFIG.format(
            folder=site.folder,
            module=_stream_module() or "",
            connections=2 * (site.maxconn or 5000) + 100,
            balance="hash $remote_addr consistent;" if site.is_sticky else "",
            servers="\n".join(servers),
            port=site.port,
            connect=site.connect,
        ),
        encoding="ascii",
    )
    return [nginx() or "nginx", "-e", "stderr", "-c", str(path)]


def _start_sample(site: Site, *, loop: str) -> list[str]:
    ports = [str(port) for port in (site.port, *site.servers)]
    return [sys.executable, str(HERE / "forwarder.py"), loop, *ports]


@functools.cache
def _stream_module() -> str | None:
    """Return the line that loads nginx's stream module, empty if it is built in, None without."""
    program = nginx()
    if program is None:
        return None
    built = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
    if "--with-stream=dynamic" not in built:
        return "" if "--with-stream " in built else None
    # Relative to nginx's own prefix, which is where packages put it or a link to it.
    line = "load_module modules/ngx_stream_module.so;"
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"pid {file.name}.pid;\n{line}\nevents {{}}\nstream {{}}\n")
        file.flush()
        trial = subprocess.run(
            [program, "-e", "stderr", "-t", "-c", file.name], capture_output=True, check=False
        )
    return line if trial.returncode == 0 else None


def _no_haproxy() -> str:
    return "" if haproxy() else "HAProxy is not installed"


def _no_nginx() -> str:
    if nginx() is None:
        return "nginx is not installed"
    return "" if _stream_module() is not None else "nginx has no stream module"


def _no_uvloop() -> str:
    return "" if importlib.util.find_spec("uvloop") else "uvloop is not installed"


RIVALS = (
    Rival(name="dsbalance", command=_start_dsbalance),
    Rival(name="haproxy", command=_start_haproxy, missing=_no_haproxy),
    Rival(
        name="haproxy-tuned",
        command=functools.partial(_start_haproxy, tuning=_TUNED[0], splice=_TUNED[1]),
        missing=_no_haproxy,
    ),
    Rival(name="nginx", command=_start_nginx, missing=_no_nginx),
    Rival(name="asyncio", command=functools.partial(_start_sample, loop="asyncio")),
    Rival(
        name="uvloop",
        command=functools.partial(_start_sample, loop="uvloop"),
        missing=_no_uvloop,
    ),
)


def named(names: str, rivals: Iterable[Rival] = RIVALS) -> list[Rival]:
    """Return the rivals of a list like ``dsbalance,nginx``.

    Raises:
        argparse.ArgumentTypeError: There is none of such a name.
    """
    by_name = {rival.name: rival for rival in rivals}
    if unknown := [name for name in names.split(",") if name not in by_name]:
        raise argparse.ArgumentTypeError(f"no {unknown[0]} among {', '.join(by_name)}")
    return [by_name[name] for name in names.split(",")]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(
    rival: Rival, *servers: int, descriptors: int | None = None, **site: int | None
) -> Iterator[Target]:
    """Run a rival in front of the servers' ports.

    Args:
        rival: Which one.
        servers: Ports on 127.0.0.1.
        descriptors: How many it may open; None: as many as we may.
        site: What else differs from the defaults of :class:`Site`.

    Raises:
        StartError: It ended, or did not listen in time.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        place = Site(folder=Path(name), port=free_port(), servers=servers, **site)  # type: ignore[arg-type]
        words = rival.command(place)
        if descriptors is not None:
            words = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *words]
        said = stack.enter_context((place.folder / "stderr").open("w+"))
        process = subprocess.Popen(words, cwd=HERE.parent, stdout=said, stderr=said)
        stack.callback(_end, process)
        try:
            _await(process, place.port)
        except TimeoutError as error:
            said.seek(0)
            raise StartError("".join(said.readlines()[-1:]).strip() or str(error)) from None
        yield Target(rival, process.pid, place.port)


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _listens(port):
        if process.poll() is not None:
            raise TimeoutError(f"it ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on {port}")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    """Look whether somebody listens, without a connection that a server would see."""
    with Path("/proc/net/tcp").open(encoding="ascii") as table:
        next(table)
        for line in table:
            _, local, _, state, *_ = line.split()
            # Those who listen (state 0A) come first.
            if state != "0A":
                break
            if int(local.partition(":")[2], 16) == port:
                return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
