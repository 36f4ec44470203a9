"""The command line: read, run, show. Each command parses, calls the library and returns a status.

status   means
0        it was done
1        a configuration, an address or a limit is wrong; or the demo lost a request
2        the command line is wrong
130      interrupted
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dsbalance.errors import ConfigError, ConnectError, Problem
from dsbalance.haproxy.config import Reading, read
from dsbalance.haproxy.lexer import parse_time
from dsbalance.haproxy.writer import write
from dsbalance.limits import raise_descriptor_limit, wanted_descriptors
from dsbalance.model import Balance, Config
from dsbalance.proxy import Proxy
from dsbalance.quick import quick
from dsbalance.suite import suite
from dsbalance.version import VERSION

EXIT_OK = 0
EXIT_WRONG = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_log = logging.getLogger("dsbalance.cli")

_EPILOG = """\
examples:
  python -m dsbalance demo
      see a server die and come back while nobody notices
  python -m dsbalance -c -f /etc/haproxy/haproxy.cfg
      check a file: every problem with its line, status 1 if there is one
  python -m dsbalance -f /etc/haproxy/haproxy.cfg
      run it; SIGTERM and Ctrl-C stop, SIGUSR1 lets the sessions finish first
  python -m dsbalance suite --paragon 10.0.0.11,10.0.0.12,10.0.0.13 > suite.cfg
      print the file for three Dispatcher Paragon servers
  python -m dsbalance run --listen :9100 --server 10.0.0.11:9100 --server 10.0.0.12:9100
      balance anything else that speaks TCP
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status.

    Args:
        argv: The words behind the program's name; None: those of this process.

    Raises:
        SystemExit: The words are wrong (2), or ask for help or the version (0).
    """
    parser = _make_parser()
    args = parser.parse_args(argv)
    try:
        status: int = args.action(args)
    except ConfigError as error:
        _complain(error.problems)
        status = EXIT_WRONG
    except ConnectError as error:
        _complain([Problem(str(error))])
        status = EXIT_WRONG
    except BrokenPipeError:
        # Whoever reads our output has seen enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_OK
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    return status


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dsbalance",
        description="A failover balancer for TCP that reads haproxy.cfg and decides like HAProxy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(action=_files, parser=parser)
    parser.add_argument("-V", "--version", action="version", version=f"dsbalance {VERSION}")
    _add_file_options(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_run(commands)
    _add_suite(commands)
    _add_demo(commands)
    return parser


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        dest="files",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="haproxy.cfg to run; a directory stands for its *.cfg; several are one configuration",
    )
    parser.add_argument(
        "-c", dest="is_check", action="store_true", help="check the files, and run nothing"
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="say for every session who served it and why",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but what is wrong")


def _add_suite_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--paragon",
        metavar="A,B,C",
        type=_words,
        default=(),
        help="addresses of the Dispatcher Paragon servers",
    )
    parser.add_argument(
        "--phoenix",
        metavar="A,B",
        type=_words,
        default=(),
        help="addresses of the Dispatcher Phoenix servers",
    )
    parser.add_argument(
        "--phoenix-backup",
        metavar="C",
        type=_words,
        default=(),
        help="Phoenix failover nodes, which work only while the others are down",
    )
    parser.add_argument(
        "--print-ports",
        metavar="515,9100",
        type=_ports,
        default=(),
        help="ports of LPR and raw print streams to forward to the Paragon servers",
    )
    parser.add_argument(
        "--host", default="", metavar="ADDR", help="listen on this address alone, not on all"
    )


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run files, the suite's preset, or a quick proxy",
        description="Run files, the preset of Dispatcher Suite, or a proxy for any TCP service.",
    )
    parser.set_defaults(action=_run, parser=parser)
    _add_file_options(parser)
    _add_suite_options(parser.add_argument_group("Dispatcher Suite"))
    quick = parser.add_argument_group("a quick proxy")
    quick.add_argument(
        "--listen",
        metavar="ADDR:PORT",
        action="append",
        default=[],
        help="accept clients here; :PORT is every IPv4 address",
    )
    quick.add_argument(
        "--server",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="one of the servers; without a port: the port that the client came to",
    )
    quick.add_argument(
        "--backup",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="a server for when no other is left",
    )
    quick.add_argument(
        "--balance",
        choices=[str(balance) for balance in Balance],
        default=str(Balance.ROUNDROBIN),
        help="how to choose (default: roundrobin); source: the same server for the same client",
    )
    quick.add_argument(
        "--stick",
        metavar="TIME",
        help="send a client to its server again for this long after its last session: 30m",
    )
    quick.add_argument(
        "--policy", metavar="PACKAGE.MODULE:NAME", help="a policy of your own instead of --balance"
    )
    quick.add_argument("--no-check", action="store_true", help="take every server to be up")
    quick.add_argument("--maxconn", type=int, metavar="N", help="sessions at a time")


def _add_suite(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "suite",
        help="print the haproxy.cfg for Dispatcher Suite",
        description="Print the haproxy.cfg that keeps Dispatcher Suite available; HAProxy runs it"
        " too.",
    )
    parser.set_defaults(action=_suite, parser=parser)
    _add_suite_options(parser)


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="see a server die and come back while nobody notices",
        description="Run three stub suite servers, the balancer and a few printers on this machine;"
        " kill a server and bring it back.",
    )
    parser.set_defaults(action=_demo, parser=parser)
    parser.add_argument("--keep", action="store_true", help="run on until Ctrl-C")


# -- commands


def _files(args: argparse.Namespace) -> int:
    """Run, or check, the files of ``-f``."""
    if not args.files:
        args.parser.print_help(sys.stderr)
        return EXIT_USAGE
    return _run_or_check(_read(args.files), args)


def _run(args: argparse.Namespace) -> int:
    """Run what the options describe: files, the suite, or a quick proxy."""
    is_suite = bool(args.paragon or args.phoenix)
    is_quick = bool(args.listen or args.server)
    if bool(args.files) + is_suite + is_quick != 1:
        args.parser.error("give either -f, or --paragon and --phoenix, or --listen and --server")
    if args.files:
        return _files(args)
    config = _suite_config(args) if is_suite else _quick_config(args)
    return _run_or_check(Reading(config=config), args)


def _run_or_check(reading: Reading, args: argparse.Namespace) -> int:
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
    if not (args.paragon or args.phoenix):
        args.parser.error("give --paragon, --phoenix, or both")
    sys.stdout.write(write(_suite_config(args)))
    return EXIT_OK


def _demo(args: argparse.Namespace) -> int:
    """Show a failover."""
    # It needs TLS, child processes and a screen, which no other command does.
    from dsbalance.demo import demo  # noqa: PLC0415

    return demo(keep=args.keep)


# -- from options to a configuration


def _suite_config(args: argparse.Namespace) -> Config:
    return suite(
        paragon=args.paragon,
        phoenix=args.phoenix,
        phoenix_backup=args.phoenix_backup,
        print_ports=args.print_ports,
        host=args.host,
    )


def _quick_config(args: argparse.Namespace) -> Config:
    if not (args.listen and args.server):
        args.parser.error("a quick proxy wants --listen and --server")
    return quick(
        listen=args.listen,
        servers=args.server,
        backups=args.backup,
        balance=Balance(args.balance),
        stick=parse_time(args.stick) if args.stick else None,
        policy=args.policy,
        is_checked=not args.no_check,
        maxconn=args.maxconn,
    )


def _words(text: str) -> tuple[str, ...]:
    """Split ``A,B,C``."""
    return tuple(word for word in text.split(",") if word)


def _ports(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in _words(text))


# -- files


def _read(names: Sequence[str]) -> Reading:
    """Read the files, those of a directory in the order of their names.

    Raises:
        ConfigError: One cannot be read, or something in them is wrong.
    """
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
        return str(path), path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(Problem(f"cannot read: {reason}", file=str(path))) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        reason = f"byte {error.object[error.start]:#04x} is not UTF-8"
        raise ConfigError(Problem(reason, file=str(path), line=line)) from error


def _complain(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(f"dsbalance: {problem}", file=sys.stderr)


# -- serving


def _serve(reading: Reading, args: argparse.Namespace) -> int:
    """Run a configuration until a signal ends it."""
    _start_logging(args)
    for notice in reading.notices:
        _log.warning("%s", notice)
    raise_descriptor_limit(wanted_descriptors(reading.config))
    proxy = _make_proxy(reading)
    _obey_signals(proxy)
    for frontend in reading.config.frontends:
        binds = " ".join(map(str, frontend.binds))
        _log.info("%s: %s -> backend %s", frontend.name, binds, frontend.backend)
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
    """Let SIGTERM and SIGINT stop the proxy, and SIGUSR1 drain it, where there is one."""
    # Without it a signal would wait for the next event on a system whose poll it does not end.
    signal.set_wakeup_fd(proxy.wakeup_fd, warn_on_full_buffer=False)
    for word, act in (
        ("SIGINT", proxy.stop),
        ("SIGTERM", proxy.stop),
        ("SIGBREAK", proxy.stop),
        ("SIGUSR1", proxy.soft_stop),
    ):
        if hasattr(signal, word):
            signal.signal(getattr(signal, word), _handler(word, act))


def _handler(word: str, act: Callable[[], None]) -> Callable[[int, object], None]:
    def handle(number: int, frame: object) -> None:
        _log.info("%s: stopping", word)
        act()

    return handle


def _start_logging(args: argparse.Namespace) -> None:
    level = logging.WARNING if args.quiet else logging.INFO
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)-7s %(message)s"
    )
    if not args.verbose:
        # A line for each session is for those who ask: it costs more than the session.
        logging.getLogger("dsbalance.session").setLevel(logging.WARNING)
