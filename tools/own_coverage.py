"""Hold each module of the core to its own tests: they alone have to run every line and branch.

    python -m coverage run -m pytest -p tools.own_coverage --tests-of core
                                    notes which test file of the core runs what
    python tools/own_coverage.py    says what a module's own tests omit
    python -m pytest -p tools.own_coverage --tests-of shell
                                    runs the others, which nobody has to watch

The tests of ``dsbalance/sticky.py`` are ``tests/test_sticky.py`` and ``tests/test_sticky_*.py``.
What runs while a module is imported is put down to nobody: the core is imported before any test.
"""

from __future__ import annotations

import functools
import importlib
import io
import re
import sys
import tomllib
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parent.parent

# -- a plugin of pytest

# The test files that have run so far.
_credited: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of one layer be chosen; by default there are all of them."""
    parser.addoption("--tests-of", choices=("core", "shell"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over the test files of the other layer."""
    wanted = config.getoption("--tests-of")
    if wanted is None or not collection_path.match("test_*.py"):
        return None
    modules = {stem_of(path): path for path in core_files()}
    is_core = owner_of(collection_path.stem, modules) is not None
    return True if is_core is (wanted == "shell") else None


def pytest_sessionstart() -> None:
    """Import the core."""
    for path in core_files():
        importlib.import_module(".".join(path.with_suffix("").parts))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Put down to a test file what runs while it is imported."""
    _credit(collector.path)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Put down to a test file what its tests run, with their fixtures."""
    _credit(item.path)
    return (yield)


def _credit(path: Path) -> None:
    running = coverage.Coverage.current()
    if running is not None and _credited[-1:] != [path.stem]:
        _credited.append(path.stem)
        running.switch_context(path.stem)


# -- the report


def main() -> int:
    """Print what is omitted; return 1 if anything is."""
    measured = coverage.Coverage()
    measured.load()
    modules = {stem_of(path): path for path in core_files()}
    own: dict[str, list[str]] = {stem: [] for stem in modules}
    for ran in sorted(measured.get_data().measured_contexts()):
        if owner := owner_of(ran, modules):
            own[owner].append(ran)
    wanting = 0
    for stem, path in modules.items():
        if omitted := missing(measured, path, own[stem]):
            wanting += 1
            print(f"{path.as_posix()}: {' and '.join(own[stem]) or stem} omits {omitted}")
    covered = len(modules) - wanting
    print(f"{covered} of {len(modules)} modules of the core are covered by their own tests alone")
    return 1 if wanting else 0


def missing(measured: coverage.Coverage, path: Path, tests: list[str]) -> str:
    """Return the lines of a module, and its branches, that none of ``tests`` runs."""
    table = io.StringIO()
    contexts = ["^$", *(f"^{re.escape(test)}$" for test in tests)]
    measured.report([str(path)], contexts=contexts, show_missing=True, file=table)
    row = next(line for line in table.getvalue().splitlines() if line.startswith(str(path)))
    return row.partition("%")[2].strip()


def owner_of(test: str, stems: dict[str, Path]) -> str | None:
    """Return which of ``stems`` a test file belongs to: the longest that its name starts with."""
    fitting = [stem for stem in stems if test == stem or test.startswith(f"{stem}_")]
    return max(fitting, key=len, default=None)


def stem_of(path: Path) -> str:
    """Return the name, without its suffix, of the test file of a module."""
    return "_".join(("test", *path.with_suffix("").parts[1:]))


@functools.cache
def core_files() -> list[Path]:
    """Return the modules of the core, seen from the root."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    core: list[str] = tomllib.loads(text)["tool"]["dsbalance"]["layers"]["core"]
    found = {path for name in core for path in ROOT.glob(f"{name.replace('.', '/')}.py")}
    return sorted(path.relative_to(ROOT) for path in found)


if __name__ == "__main__":
    sys.exit(main())
