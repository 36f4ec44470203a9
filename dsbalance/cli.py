"""The command line: read, run, show. Each command parses, calls the library and returns a status.

status   means
0        it was done
1        a configuration, an address or a limit is wrong; the demo lost a request; or a running
         balancer could not be asked, or said no
2        the command line is wrong
130      the demo, or top, was interrupted
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsbalance.errors import ConfigError, ConnectError, DsbalanceError, Problem
from dsbalance.haproxy.config import Reading, read
from dsbalance.haproxy.lexer import parse_time, printable
from dsbalance.haproxy.writer import write
from dsbalance.limits import raise_descriptor_limit, wanted_descriptors
from dsbalance.logs import own_handler
from dsbalance.model import Balance, Config, Frontend
from dsbalance.options import STATES, parse
from dsbalance.panel import dashboard, equipped, exposure, is_open_to_change, read_users
from dsbalance.proxy import Proxy
from dsbalance.quick import quick
from dsbalance.suite import suite

if TYPE_CHECKING:
    from dsbalance.plan_text import Style
    from dsbalance.remote import Remote

EXIT_OK = 0
EXIT_WRONG = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_log = logging.getLogger("dsbalance.cli")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status.

    Args:
        argv: The words behind the program's name; None: those of this process.

    Raises:
        SystemExit: The words are wrong (2), or ask for help or the version (0).
    """
    try:
        try:
            return _act(argv)
        finally:
            # Now, while what goes wrong can still be told; at exit it would be a traceback.
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads our output has seen enough.
        _silence_stdout()
        return EXIT_OK
    except OSError as error:
        _complain([Problem(f"cannot write: {error.strerror or error}")])
        _silence_stdout()
        return EXIT_WRONG


def _act(argv: Sequence[str] | None) -> int:
    args = parse(argv)
    try:
        status = _ACTIONS[args.command](args)
    except ConfigError as error:
        _complain(error.problems)
        status = EXIT_WRONG
    except DsbalanceError as error:
        _complain(map(Problem, str(error).splitlines()))
        status = EXIT_WRONG
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    return status


def _silence_stdout() -> None:
    """Let nothing be written at exit either."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it lives as long as we do


# -- commands


def _files(args: argparse.Namespace) -> int:
    """Run, or check, the files of ``-f``."""
    if not args.files:
        args.parser.print_help(sys.stderr)
        return EXIT_USAGE
    return _run_or_check(_read(args.files), args)


def _run(args: argparse.Namespace) -> int:
    """Run what the options describe: files, the suite, or a quick proxy."""
    given = {
        kind: [f"--{word.replace('_', '-')}" for word in words if getattr(args, word) is not None]
        for kind, words in (("suite", _SUITE_OPTIONS), ("quick", _QUICK_OPTIONS))
    }
    kinds = [["-f"] if args.files else [], *given.values()]
    chosen = [words[0] for words in kinds if words]
    if len(chosen) > 1:
        args.parser.error(f"{chosen[0]} does not go with {chosen[1]}")
    if args.files:
        return _files(args)
    if given["suite"]:
        return _run_or_check(Reading(config=_suite_config(args)), args)
    if not (args.listen and args.server):
        args.parser.error("give -f, or --paragon or --phoenix, or --listen and --server")
    return _run_or_check(Reading(config=_quick_config(args)), args)


_SUITE_OPTIONS = ("paragon", "phoenix", "phoenix_backup", "print_ports", "host")
_QUICK_OPTIONS = (
    *("listen", "server", "backup", "balance", "stick", "policy", "no_check", "maxconn"),
)


def _run_or_check(reading: Reading, args: argparse.Namespace) -> int:
    reading = _equipped(reading, args)
    if not reading.config.frontends:
        raise ConfigError("there is no frontend with a bind, so nobody could come in")
    if not args.is_check:
        return _serve(reading, args)
    # What only shows when it is made: names that do not resolve, limits that are too low.
    raise_descriptor_limit(wanted_descriptors(reading.config))
    _make_proxy(reading).stop()
    _complain(reading.notices)
    print("Configuration file is valid")
    return EXIT_OK


def _suite(args: argparse.Namespace) -> int:
    """Print the suite's configuration."""
    config = _suite_config(args, args.dashboard)
    _complain(_exposures(config.frontends))
    print(write(config), end="")
    return EXIT_OK


def _plan(args: argparse.Namespace) -> int:
    """Show who goes where, and who would move."""
    # What only these two commands need is loaded by them alone.
    from dsbalance.client_list import ClientList, is_client_word  # noqa: PLC0415
    from dsbalance.foresight import plan  # noqa: PLC0415
    from dsbalance.plan_text import as_csv, as_json, painted, picture  # noqa: PLC0415

    reading = _reading_to_look_at(args)
    clients = ClientList()
    for word in args.clients:
        if is_client_word(word):
            clients.add(word)
        else:
            _, text = _text(Path(word))
            clients.add_lines(text, word)
    with _naming_lines(reading):
        found = plan(reading.config, clients, **_scenario(args))
    if args.csv:
        print(as_csv(found), end="")
    elif args.json:
        print(as_json(found))
    else:
        _show(picture(found, _style()), painted)
    return EXIT_OK


def _explain(args: argparse.Namespace) -> int:
    """Tell why a client goes where it goes."""
    from dsbalance.inquiry import account_facts, account_lines, explain  # noqa: PLC0415

    reading = _reading_to_look_at(args)
    with _naming_lines(reading):
        accounts = explain(reading.config, args.client, **_scenario(args))
    if args.json:
        print(json.dumps([account_facts(account) for account in accounts], indent=2))
        return EXIT_OK
    for number, account in enumerate(accounts):
        _show([*[""] * (number > 0), *account_lines(account, _style().width)])
    return EXIT_OK


def _demo(args: argparse.Namespace) -> int:
    """Show a failover."""
    # It needs TLS, child processes and a screen, which no other command does.
    from dsbalance.demo import demo  # noqa: PLC0415

    return demo(keep=args.keep)


def _top(args: argparse.Namespace) -> int:
    """Show what a running balancer does, live."""
    from dsbalance.top import Screen, top  # noqa: PLC0415

    screen = Screen(sys.stdout, os.environ, is_once=args.is_once)
    top(_remote(args), screen, sys.stdin, args.interval, args.proxies)
    return EXIT_OK


def _steer(args: argparse.Namespace) -> int:
    """Make servers of a running balancer ready, drain them, or take them into maintenance."""
    from dsbalance.remote import turn_lines  # noqa: PLC0415

    for line in turn_lines(_remote(args).steer(args.servers, args.command), args.command):
        print(line)
    return EXIT_OK


def _ask(args: argparse.Namespace) -> int:
    """Print what a running balancer answers to ``show``."""
    text = _remote(args).show(args.what)
    if sys.stdout.isatty():
        # What a server's name may have in it is not for a terminal to obey.
        text = "".join(f"{printable(line)}\n" for line in text.splitlines())
    print(text, end="")
    return EXIT_OK


def _remote(args: argparse.Namespace) -> Remote:
    from dsbalance.remote import Remote  # noqa: PLC0415

    if not args.socket:
        args.parser.error("give -S SOCKET, or set DSBALANCE_SOCKET")
    return Remote(args.socket)


_ACTIONS: dict[str | None, Callable[[argparse.Namespace], int]] = {
    None: _files,
    "run": _run,
    "suite": _suite,
    "plan": _plan,
    "explain": _explain,
    "demo": _demo,
    "top": _top,
    **dict.fromkeys(STATES, _steer),
    "show": _ask,
}


# -- from options to a configuration


def _suite_config(args: argparse.Namespace, dashboard: str | None = None) -> Config:
    if not (args.paragon or args.phoenix):
        args.parser.error("give --paragon, --phoenix, or both")
    return suite(
        paragon=args.paragon or (),
        phoenix=args.phoenix or (),
        phoenix_backup=args.phoenix_backup or (),
        print_ports=args.print_ports or (),
        host=args.host or "",
        dashboard=dashboard,
    )


def _equipped(reading: Reading, args: argparse.Namespace) -> Reading:
    """Return what was read, with the dashboard and the socket that the options ask for."""
    frontend = None
    if args.dashboard is not None:
        users = []
        if args.dashboard_auth is not None:
            file, text = _text(Path(args.dashboard_auth))
            users = read_users(text.splitlines(), file)
        frontend = dashboard(args.dashboard, users)
    elif args.dashboard_auth is not None:
        args.parser.error("--dashboard-auth goes with --dashboard")
    config = equipped(reading.config, frontend, args.socket)
    exposed = [each for each in config.frontends if each is frontend or is_open_to_change(each)]
    return replace(reading, config=config, notices=(*reading.notices, *_exposures(exposed)))


def _exposures(frontends: Iterable[Frontend]) -> list[Problem]:
    found = ((frontend, exposure(frontend)) for frontend in frontends)
    return [Problem(text, subject=frontend.name) for frontend, text in found if text]


def _quick_config(args: argparse.Namespace) -> Config:
    return quick(
        listen=args.listen,
        servers=args.server,
        backups=args.backup or (),
        balance=Balance(args.balance or Balance.ROUNDROBIN),
        stick=parse_time(args.stick) if args.stick else None,
        policy=args.policy,
        is_checked=not args.no_check,
        maxconn=args.maxconn,
    )


def _reading_to_look_at(args: argparse.Namespace) -> Reading:
    """Return what the files say, or the suite's preset."""
    suite_words = [word for word in _SUITE_OPTIONS if getattr(args, word) is not None]
    if args.files and suite_words:
        args.parser.error(f"-f does not go with --{suite_words[0].replace('_', '-')}")
    if args.files:
        return _read(args.files)
    if not suite_words:
        args.parser.error("give -f, or --paragon or --phoenix")
    return Reading(config=_suite_config(args))


def _scenario(args: argparse.Namespace) -> dict[str, Any]:
    """Return what is looked at and changed, as ``plan`` and ``explain`` take it.

    Raises:
        ConfigError: A server is added twice, or given two weights.
    """
    words: dict[str, Any] = {"backend": args.backend, "lose": args.lose or ()}
    for word, key, pairs in (("add", "add", args.add), ("weight", "weights", args.weight)):
        words[key] = dict(pairs or ())
        if len(words[key]) < len(pairs or ()):
            raise ConfigError(f"--{word}: a server is named twice")
    return words


# -- for people


def _style() -> Style:
    """Return how wide the terminal is, and whether it shows blocks."""
    from dsbalance.plan_text import BAR_CHARACTERS, Style  # noqa: PLC0415

    try:
        BAR_CHARACTERS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        is_ascii = True
    else:
        is_ascii = False
    # One column less: a line that fills the last one makes some terminals begin another.
    return Style(width=shutil.get_terminal_size().columns - 1, is_ascii=is_ascii)


def _show(lines: Iterable[str], paint: Callable[[str], str] | None = None) -> None:
    """Print lines, in colours if the terminal has them and nobody objects."""
    environ = os.environ
    # A console of Windows has to be told first; its newer terminal says who it is.
    has_sequences = sys.platform != "win32" or "WT_SESSION" in environ
    is_plain = environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not has_sequences
    if paint is None or is_plain or not sys.stdout.isatty():
        paint = str
    print("\n".join(map(paint, lines)))


# -- files


def _read(names: Sequence[str]) -> Reading:
    """Read the files, those of a directory in the order of their names.

    Raises:
        ConfigError: One cannot be read, or something in them is wrong.
    """
    if "" in names:
        raise ConfigError("-f wants the name of a file, and got an empty word")
    texts = [_text(path) for name in names for path in _expand(Path(name))]
    return read(texts, os.environ)


def _expand(path: Path) -> list[Path]:
    # Not Path.is_dir, which raises for a name that is too long or a folder that is closed to us.
    if not os.path.isdir(path):
        return [path]
    found = sorted(path.glob("*.cfg"))
    if not found:
        raise ConfigError(Problem("there is no *.cfg in this directory", file=str(path)))
    return found


def _text(path: Path) -> tuple[str, str]:
    try:
        # Not read_text, for which a carriage return ends a line; for HAProxy it does not.
        return str(path), path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        reason = f"byte {error.object[error.start]:#04x} is not UTF-8"
        raise ConfigError(Problem(reason, file=str(path), line=line)) from error
    except (OSError, ValueError) as error:
        # A ValueError is a name that no file can have, such as one with a NUL character.
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(Problem(f"cannot read: {reason}", file=str(path))) from error


def _complain(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(printable(f"dsbalance: {problem}"), file=sys.stderr)


# -- serving


def _serve(reading: Reading, args: argparse.Namespace) -> int:
    """Run a configuration until a signal ends it."""
    _start_logging(args)
    for notice in reading.notices:
        _log.warning("%s", printable(str(notice)))
    raise_descriptor_limit(wanted_descriptors(reading.config))
    proxy = _make_proxy(reading)
    _obey_signals(proxy)
    with _naming_lines(reading):
        proxy.run()
    _log.info("stopped")
    return EXIT_OK


def _make_proxy(reading: Reading) -> Proxy:
    with _naming_lines(reading):
        return Proxy(reading.config)


@contextlib.contextmanager
def _naming_lines(reading: Reading) -> Iterator[None]:
    """Give what goes wrong when a configuration is set to work its line in the files."""
    try:
        yield
    except ConnectError as error:
        problem = Problem(f"{error.address}: {error.reason}", subject=error.subject)
        raise ConfigError(_locate(reading, problem)) from error
    except ConfigError as error:
        raise ConfigError(*(_locate(reading, problem) for problem in error.problems)) from error


def _locate(reading: Reading, problem: Problem) -> Problem:
    place = reading.places.get(problem.subject)
    return problem if place is None else replace(problem, file=place.file, line=place.line)


def _obey_signals(proxy: Proxy) -> None:
    """Let SIGTERM and SIGINT stop the proxy, SIGUSR1 drain it, SIGHUP say how the servers are."""
    # Without it a signal would wait for the next event on a system whose poll it does not end.
    signal.set_wakeup_fd(proxy.wakeup_fd, warn_on_full_buffer=False)
    for word, act in (
        ("SIGINT", lambda: _stop(proxy, "SIGINT")),
        ("SIGTERM", lambda: _stop(proxy, "SIGTERM")),
        ("SIGBREAK", lambda: _stop(proxy, "SIGBREAK")),
        ("SIGUSR1", lambda: _drain(proxy)),
        ("SIGUSR2", lambda: _log.warning("SIGUSR2: there is no reload, it takes a restart")),
        ("SIGHUP", lambda: _tell(proxy)),
    ):
        if hasattr(signal, word):
            signal.signal(getattr(signal, word), _on_signal(act))


def _on_signal(act: Callable[[], None]) -> Callable[[int, object], None]:
    return lambda _number, _frame: act()


def _stop(proxy: Proxy, word: str) -> None:
    _log.info("%s: stopping", word)
    proxy.stop()


def _drain(proxy: Proxy) -> None:
    sessions = sum(frontend.current for frontend in proxy.snapshot().frontends)
    _log.info("SIGUSR1: no new clients; it ends with the last of %d sessions", sessions)
    proxy.soft_stop()


def _tell(proxy: Proxy) -> None:
    for backend in proxy.snapshot().backends:
        for server in backend.servers:
            _log.info(
                "SIGHUP: %s/%s is %s, %d sessions, %d in queue, last check: %s",
                backend.name,
                server.name,
                server.status,
                server.current,
                server.queued,
                server.last_check or "none",
            )


def _start_logging(args: argparse.Namespace) -> None:
    level = logging.WARNING if args.is_quiet else logging.INFO
    logging.basicConfig(
        handlers=[own_handler()], level=level, format="%(asctime)s %(levelname)-7s %(message)s"
    )
    if not args.is_verbose:
        # A line for each session or request is for those who ask: it costs more than they do.
        for name in ("dsbalance.session", "dsbalance.conversation"):
            logging.getLogger(name).setLevel(logging.WARNING)
