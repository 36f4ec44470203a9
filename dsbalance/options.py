"""The words of the command line: what there is to say, and what helps whoever does not know."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from dsbalance.haproxy.lexer import printable
from dsbalance.model import Balance
from dsbalance.version import VERSION

_EPILOG = """\
examples:
  python -m dsbalance demo
      see a server die and come back while nobody notices
  python -m dsbalance -c -f /etc/haproxy/haproxy.cfg
      check a file: every problem with its line, status 1 if there is one
  python -m dsbalance -f /etc/haproxy/haproxy.cfg
      run it; SIGTERM and Ctrl-C stop, SIGUSR1 lets the sessions finish first
  python -m dsbalance -f /etc/haproxy/haproxy.cfg --dashboard 8404 --socket /run/dsbalance.sock
      see what goes on at http://127.0.0.1:8404/, and steer it
  python -m dsbalance suite --paragon 10.0.0.11,10.0.0.12,10.0.0.13 > suite.cfg
      print the file for three Dispatcher Paragon servers
  python -m dsbalance run --listen :9100 --server 10.0.0.11:9100 --server 10.0.0.12:9100
      balance anything else that speaks TCP
  python -m dsbalance plan -f suite.cfg --clients 10.1.0.0/24 --lose primary-2
      see who goes where, and who would move
  python -m dsbalance explain 10.1.0.7 -f suite.cfg
      see why a client goes where it goes
  python -m dsbalance top -S /run/dsbalance.sock
      see what a running one does; it may be a HAProxy
  python -m dsbalance drain primary-2 -S /run/dsbalance.sock
      send no new clients to a server; then maint, and ready
"""

# What to make of servers: `set server ... state` has the same words.
STATES = {
    "ready": "let a server take clients again",
    "drain": "send no new clients to a server; those that it has may stay and come back",
    "maint": "take a server out of service, its checks too",
}
COMMANDS = ("run", "suite", "plan", "explain", "demo", "top", *STATES, "show")
# The work of argparse grows with the square of their number: a thousand take some 40 ms.
MAX_WORDS = 1000
# The options that stand without a command too.
_BARE = ("files", "is_check", "is_verbose", "is_quiet", "dashboard", "dashboard_auth", "socket")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line each, whatever was typed."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message, 300))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the words behind the program's name say; None: those of this process.

    `command` is None or a word of COMMANDS, `parser` the one to complain.

    Raises:
        SystemExit: They are wrong (2), or ask for help or the version (0).
    """
    parser = _make_parser()
    words = sys.argv[1:] if argv is None else argv
    if len(words) > MAX_WORDS:
        parser.error(f"expects at most {MAX_WORDS} words, not {len(words)}")
    args = parser.parse_args(words)
    _demand_order(parser, args)
    return args


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dsbalance",
        description="A failover balancer for TCP that reads haproxy.cfg and decides like HAProxy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(parser=parser)
    parser.add_argument("-V", "--version", action="version", version=f"dsbalance {VERSION}")
    _add_file_options(parser, prefix="bare_")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    _add_run(commands)
    _add_suite(commands)
    _add_plan(commands)
    _add_explain(commands)
    _add_demo(commands)
    _add_top(commands)
    for state in STATES:
        _add_state(commands, state)
    _add_show(commands)
    return parser


def _demand_order(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Take the options for those of ``run`` without a command, and refuse them before one."""
    bare = {word: getattr(args, f"bare_{word}") for word in _BARE}
    if args.command is None:
        vars(args).update(bare)
    # `-f FILE run`: -f takes several names, and has taken the command for one.
    command = args.command or next((w for w in args.files or () if w in COMMANDS), None)
    if command is not None and any(bare.values()) and not os.path.exists(command):
        parser.error(f"options stand behind the command: dsbalance {command} ...")


def _add_file_options(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    parser.add_argument(
        "-f",
        dest=f"{prefix}files",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="haproxy.cfg to run; a directory stands for its *.cfg; several are one configuration",
    )
    parser.add_argument(
        "-c",
        dest=f"{prefix}is_check",
        action="store_true",
        help="check the configuration, and run nothing",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        dest=f"{prefix}is_verbose",
        action="store_true",
        help="say for every session who served it and why",
    )
    parser.add_argument(
        "-q",
        "--quiet",
        dest=f"{prefix}is_quiet",
        action="store_true",
        help="say nothing but what is wrong",
    )
    parser.add_argument(
        "--dashboard",
        dest=f"{prefix}dashboard",
        metavar="ADDR:PORT",
        help="show what goes on in a browser; PORT or :PORT is 127.0.0.1, *:PORT every address",
    )
    parser.add_argument(
        "--dashboard-auth",
        dest=f"{prefix}dashboard_auth",
        metavar="FILE",
        help="who may: a file with USER:PASSWORD in each line",
    )
    parser.add_argument(
        "--socket",
        dest=f"{prefix}socket",
        metavar="PATH",
        help="make a socket for the runtime API, which may do everything: top, drain, socat ...",
    )


def _add_suite_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--paragon",
        metavar="A,B,C",
        type=_words,
        action="extend",
        help="addresses of the Dispatcher Paragon servers",
    )
    parser.add_argument(
        "--phoenix",
        metavar="A,B",
        type=_words,
        action="extend",
        help="addresses of the Dispatcher Phoenix servers",
    )
    parser.add_argument(
        "--phoenix-backup",
        metavar="C",
        type=_words,
        action="extend",
        help="Phoenix failover nodes, which work only while the others are down",
    )
    parser.add_argument(
        "--print-ports",
        metavar="515,9100",
        type=_ports,
        action="extend",
        help="ports of LPR and raw print streams to forward to the Paragon servers",
    )
    parser.add_argument("--host", metavar="ADDR", help="listen on this address alone, not on all")


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run files, the suite's preset, or a quick proxy",
        description="Run files, the preset of Dispatcher Suite, or a proxy for any TCP service.",
    )
    parser.set_defaults(parser=parser)
    _add_file_options(parser)
    _add_suite_options(parser.add_argument_group("Dispatcher Suite"))
    quick = parser.add_argument_group("a quick proxy")
    quick.add_argument(
        "--listen",
        metavar="ADDR:PORT",
        action="append",
        help="accept clients here; :PORT is every IPv4 address",
    )
    quick.add_argument(
        "--server",
        metavar="HOST:PORT",
        action="append",
        help="one of the servers; without a port: the port that the client came to",
    )
    quick.add_argument(
        "--backup",
        metavar="HOST:PORT",
        action="append",
        help="a server for when no other is left",
    )
    quick.add_argument(
        "--balance",
        choices=[str(balance) for balance in Balance],
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
    quick.add_argument(
        "--no-check", action="store_true", default=None, help="take every server to be up"
    )
    quick.add_argument("--maxconn", type=int, metavar="N", help="sessions at a time")


def _add_suite(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "suite",
        help="print the haproxy.cfg for Dispatcher Suite",
        description="Print the haproxy.cfg that keeps Dispatcher Suite available; HAProxy runs it"
        " too.",
    )
    parser.set_defaults(parser=parser)
    _add_suite_options(parser)
    parser.add_argument(
        "--dashboard",
        metavar="ADDR:PORT",
        help="with a section that shows what goes on in a browser; PORT or :PORT is 127.0.0.1",
    )


def _add_plan(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "plan",
        help="see who goes where, and who would move",
        description="Show which server each client gets, now and after a change. Nothing is run.",
        epilog=_PLAN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser)
    parser.add_argument(
        "--clients",
        metavar="WHO",
        type=_words,
        action="extend",
        required=True,
        help="addresses, networks, ranges A-B and names of files that have one a line, as a,b,c",
    )
    _add_scenario(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the sums, for programs")
    form.add_argument("--csv", action="store_true", help="a line for each client and backend")


_PLAN_EPILOG = """\
  now      every client comes once, in order, and its session stays open
  after    the change is made, and every client connects again
  settled  the stick entries have expired: everything begins anew, changed

example:
  python -m dsbalance plan -f suite.cfg --clients 10.1.0.0/24,printers.txt \\
      --add paragon/primary-4=10.0.0.14 --weight primary-1=2
"""


def _add_explain(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "explain",
        help="see why a client goes where it goes",
        description="Tell each step of the decision about one client. Nothing is run.",
    )
    parser.set_defaults(parser=parser)
    parser.add_argument("client", metavar="CLIENT", help="its address")
    _add_scenario(parser)
    parser.add_argument("--json", action="store_true", help="the steps, for programs")


def _add_scenario(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is looked at, and what is changed."""
    parser.add_argument(
        "-f",
        dest="files",
        metavar="FILE",
        action="append",
        help="haproxy.cfg to look at; a directory stands for its *.cfg; may be repeated",
    )
    parser.add_argument("--backend", metavar="NAME", help="look at this one alone")
    change = parser.add_argument_group(
        "what is changed", "NAME is SERVER or BACKEND/SERVER; each may be repeated"
    )
    change.add_argument(
        "--lose", metavar="NAME", type=_words, action="extend", help="a server is lost"
    )
    change.add_argument(
        "--add", metavar="NAME=ADDR", type=_pair, action="append", help="a server is added"
    )
    change.add_argument(
        "--weight", metavar="NAME=N", type=_weight, action="append", help="its weight is N"
    )
    _add_suite_options(parser.add_argument_group("Dispatcher Suite, instead of -f"))


def _add_demo(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="see a server die and come back while nobody notices",
        description="Run three stub suite servers, the balancer and a few printers on this machine;"
        " kill a server and bring it back.",
    )
    parser.set_defaults(parser=parser)
    parser.add_argument("--keep", action="store_true", help="run on until Ctrl-C")


def _add_top(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "top",
        help="see what a running one does, live",
        description="Show the proxies and servers of a running dsbalance or HAProxy, each second"
        " anew; as plain lines where there is no terminal. q ends it.",
    )
    parser.add_argument("proxies", metavar="PROXY", nargs="*", help="show these alone")
    _add_socket(parser)
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        default=1.0,
        help="from one look to the next (default: 1)",
    )
    parser.add_argument("--once", dest="is_once", action="store_true", help="one table, as lines")


def _add_state(commands: argparse._SubParsersAction[_Parser], state: str) -> None:
    parser = commands.add_parser(
        state,
        help=STATES[state],
        description=f"{STATES[state].capitalize()}, in a running dsbalance or HAProxy, and say what"
        " has changed.",
    )
    parser.add_argument(
        "servers",
        metavar="SERVER",
        nargs="+",
        help="BACKEND/SERVER, or SERVER in every backend that has it; where it tracks another one"
        " of these it follows by itself",
    )
    _add_socket(parser)


def _add_show(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "show",
        help="ask a running one: stat, info, table NAME ...",
        description="Print what a running dsbalance or HAProxy answers to `show`: info, stat,"
        " stat typed, table, table NAME, table NAME key ADDRESS, servers state, sess ...",
    )
    parser.add_argument("what", metavar="WHAT", nargs="+", help="the words behind show")
    _add_socket(parser)


def _add_socket(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(parser=parser)
    parser.add_argument(
        "-S",
        dest="socket",
        metavar="SOCKET",
        default=os.environ.get("DSBALANCE_SOCKET"),
        help="its `stats socket`: a path, or HOST:PORT (default: $DSBALANCE_SOCKET)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"expects seconds, 0.1 at least, not {text}")
    return seconds


def _words(text: str) -> tuple[str, ...]:
    """Split ``A,B,C``."""
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _ports(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"ports are numbers such as 515,9100, not {text}"
        ) from None


def _pair(text: str) -> tuple[str, str]:
    """Split ``NAME=VALUE``."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"expects NAME=VALUE, not {text}")
    return name, value


def _weight(text: str) -> tuple[str, int]:
    name, value = _pair(text)
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise argparse.ArgumentTypeError(f"a weight is a number of 0 to 256, not {value}")
    return name, int(value)
