"""The core decides, the shell does: who may import what, held by reading every import.

The table of modules is ``[tool.dsbalance.layers]`` in pyproject.toml.
"""

from __future__ import annotations

import ast
import fnmatch
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dsbalance"

# Clocks, chance, threads and system calls, and what leads to them by another door.
FORBIDDEN_IN_CORE = frozenset(
    {
        *("socket", "select", "selectors", "os", "time", "random", "threading", "logging"),
        *("signal", "ssl", "subprocess"),
        *("_socket", "_thread", "asyncio", "concurrent", "fcntl", "http", "mmap"),
        *("multiprocessing", "queue", "resource", "sched", "secrets", "shutil", "socketserver"),
        *("tempfile", "urllib", "uuid"),
    }
)
# A program's own words, and files: a core module takes text and returns it.
FORBIDDEN_CALLS = frozenset({"open", "print", "input"})

# What a plain `import dsbalance` must not pay for.
LOADED_WHEN_USED = ("dsbalance.cli", "dsbalance.admin", "dsbalance.demo", "dsbalance.haproxy")

# What one system has and another has not. Each is taken away and every module still loads.
PLATFORM_MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "msvcrt")
PLATFORM_NAMES = {
    "os": "splice sendfile pipe2 fork getuid geteuid chown O_NONBLOCK O_CLOEXEC sched_getaffinity "
    "SPLICE_F_MOVE SPLICE_F_MORE SPLICE_F_NONBLOCK",
    "select": "epoll poll EPOLLIN EPOLLOUT EPOLLET EPOLLRDHUP EPOLLHUP EPOLLERR EPOLLEXCLUSIVE",
    "selectors": "EpollSelector PollSelector",
    "signal": "SIGUSR1 SIGUSR2 SIGHUP SIGPIPE SIGKILL SIGALRM pthread_sigmask",
    "socket": "AF_UNIX AF_NETLINK SOCK_NONBLOCK SOCK_CLOEXEC SO_REUSEPORT MSG_NOSIGNAL "
    "MSG_DONTWAIT TCP_QUICKACK TCP_USER_TIMEOUT TCP_CORK TCP_DEFER_ACCEPT "
    "TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT SO_DOMAIN",
}


class Layers(NamedTuple):
    """The table: names of modules, or patterns such as ``dsbalance.haproxy.*``."""

    core: list[str]
    shell: list[str]

    def of(self, module: str) -> str | None:
        """Return "core", "shell", or None for a module that the table does not have."""
        for layer, patterns in zip(self._fields, self, strict=True):
            if any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns):
                return layer
        return None


class Import(NamedTuple):
    """One imported module, as an absolute name; ``line`` is where."""

    name: str
    line: int

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def read_layers() -> Layers:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return Layers(**tomllib.loads(text)["tool"]["dsbalance"]["layers"])


def modules() -> dict[str, Path]:
    """Return every module of the package, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, module: str, known: frozenset[str], *, package: bool) -> Iterator[Import]:
    """Yield what ``source`` imports, wherever it stands: in functions and behind conditions too.

    ``from a import b`` is the module ``a.b`` if there is one, else ``a``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: None if package else -1]
            base = base[: len(base) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{origin}.{alias.name}"
                yield Import(full if full in known else origin, node.lineno)
        elif isinstance(node, ast.Call) and _is_import(node.func):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield Import(argument.value, node.lineno)


def _is_import(function: ast.expr) -> bool:
    name = getattr(function, "attr", getattr(function, "id", ""))
    return name in {"__import__", "import_module"}


def breaches(
    source: str, module: str, layers: Layers, known: frozenset[str], *, package: bool = False
) -> list[str]:
    """Return a sentence for each rule that ``source``, as the text of ``module``, breaks."""
    found = []
    is_core = layers.of(module) == "core"
    for each in imports(source, module, known, package=package):
        where = f"{module}, line {each.line}: imports {each.name}"
        if each.top == "dsbalance":
            if is_core and layers.of(each.name) != "core":
                found.append(f"{where}, which is not core")
        elif each.top not in sys.stdlib_module_names:
            found.append(f"{where}, which is not in the standard library")
        elif is_core and each.top in FORBIDDEN_IN_CORE:
            found.append(f"{where}: the core takes values and `now`, the shell does the rest")
    if is_core:
        found += [
            f"{module}, line {node.lineno}: the core does not call {node.func.id}()"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in FORBIDDEN_CALLS
        ]
    return found


def run_python(code: str) -> str:
    """Run ``code`` in a new interpreter, warnings as errors, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


KNOWN = frozenset(modules())
PLANTED = Layers(
    core=["dsbalance.ring", "dsbalance.codec", "dsbalance.codec.*"], shell=["dsbalance*"]
)
PLANTED_MODULES = frozenset(
    {"dsbalance", "dsbalance.ring", "dsbalance.loop", "dsbalance.codec", "dsbalance.codec.text"}
)


@pytest.mark.parametrize("module", sorted(KNOWN))
def test_every_module_stands_in_the_table(module: str) -> None:
    assert read_layers().of(module), (
        f"{module} is in neither layer: add it to [tool.dsbalance.layers] in pyproject.toml, to "
        "`core` if it only decides, to `shell` if it makes system calls or reads a clock, "
        "and draw it in docs/architecture.md"
    )


@pytest.mark.parametrize("module", sorted(KNOWN))
def test_a_module_imports_what_its_layer_may(module: str) -> None:
    path = modules()[module]
    source = path.read_text(encoding="utf-8")
    package = path.name == "__init__.py"
    assert not breaches(source, module, read_layers(), KNOWN, package=package)


@pytest.mark.parametrize(
    "planted",
    [
        "import socket",
        "import os.path",
        "from time import monotonic",
        "def f():\n    import random",
        "if False:\n    import threading as t",
        "try:\n    from select import epoll\nexcept ImportError:\n    pass",
        "class A:\n    from logging import getLogger",
        "import enum, selectors",
        "from concurrent.futures import Future",
        "import importlib\nimportlib.import_module('signal')",
        "__import__('ssl')",
        "import dsbalance",
        "import dsbalance.loop",
        "from dsbalance import loop",
        "from dsbalance import Proxy",
        "from dsbalance.loop import Loop",
        "from . import loop",
        "from .loop import Loop",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dsbalance.loop import Loop",
        "import requests",
        "def f():\n    return open('x')",
        "print('x')",
    ],
)
def test_a_breach_planted_in_the_core_is_found(planted: str) -> None:
    assert len(breaches(planted, "dsbalance.ring", PLANTED, PLANTED_MODULES)) == 1


@pytest.mark.parametrize(
    ("module", "package", "planted"),
    [
        ("dsbalance.codec.text", False, "from .. import loop"),
        ("dsbalance.codec.text", False, "from ..loop import Loop"),
        ("dsbalance.codec", True, "from .. import loop"),
        ("dsbalance.loop", False, "import requests"),
        ("dsbalance.loop", False, "from yaml import safe_load"),
    ],
)
def test_a_breach_planted_elsewhere_is_found(module: str, package: bool, planted: str) -> None:
    assert len(breaches(planted, module, PLANTED, PLANTED_MODULES, package=package)) == 1


@pytest.mark.parametrize(
    ("module", "package", "source"),
    [
        ("dsbalance.ring", False, "from bisect import bisect\nimport zlib"),
        ("dsbalance.ring", False, "from dsbalance.codec.text import read"),
        ("dsbalance.ring", False, "from dsbalance import codec"),
        ("dsbalance.codec.text", False, "from ..ring import Ring\nfrom . import text"),
        ("dsbalance.codec", True, "from .text import read\nfrom ..ring import Ring"),
        ("dsbalance.loop", False, "import socket\nfrom dsbalance.ring import Ring\nprint(1)"),
    ],
)
def test_what_a_layer_may_import_is_left_alone(module: str, package: bool, source: str) -> None:
    assert not breaches(source, module, PLANTED, PLANTED_MODULES, package=package)


def test_a_module_that_the_table_does_not_have_has_no_layer() -> None:
    layers = Layers(core=["dsbalance.ring"], shell=["dsbalance"])
    assert layers.of("dsbalance.new") is None
    assert layers.of("dsbalance.ring") == "core"


def test_importing_the_library_loads_neither_the_command_line_nor_the_codecs() -> None:
    loaded = run_python("import dsbalance, sys; print(*sys.modules)").split()
    assert "dsbalance" in loaded
    assert not [name for name in loaded if name.startswith(LOADED_WHEN_USED)]


def test_every_module_loads_where_the_platform_has_less() -> None:
    # `__main__` is the command line: to import it may be to run it.
    names = [name for name in sorted(KNOWN) if not name.endswith("__main__")]
    stdlib = {
        each.name
        for name in names
        for each in imports(modules()[name].read_text(encoding="utf-8"), name, KNOWN, package=False)
        if each.top in sys.stdlib_module_names and each.top not in PLATFORM_MODULES
    }
    # The standard library is loaded whole first: what it does with less is not ours to test.
    code = f"""
import importlib, sys
for name in {sorted(stdlib)}:
    importlib.import_module(name)
sys.platform = "unknown"
for name in {PLATFORM_MODULES}:
    sys.modules[name] = None
for module, gone in {PLATFORM_NAMES}.items():
    module = importlib.import_module(module)
    for name in gone.split():
        if hasattr(module, name):
            delattr(module, name)
for name in {names}:
    importlib.import_module(name)
print(len([name for name in sys.modules if name.startswith("dsbalance")]))
"""
    assert int(run_python(code)) >= len(names)
