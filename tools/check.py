"""Make an environment and pass every check. Needs Python 3.11 and nothing else.

    python3 tools/check.py                  ruff, mypy, the tests, the coverage of the core
    python3 tools/check.py --python 3.12    the tests alone, under another Python
    python3 tools/check.py --others         the same under each supported Python found here, but for
                                            whole programs under those between oldest and newest
    python3 tools/check.py --wheel          a wheel, installed into an empty environment, runs there
    python3 tools/check.py --mutants        bugs that are planted into the core fail its tests
    python3 tools/check.py --all            everything but the planted bugs

Options may stand together, and what they ask for runs side by side. The environments are ``.venv``
and ``.venv-3.12`` and so on; they are this script's own and are made anew when their Python or
pyproject.toml has changed. A step that fails does not stop the next one; the exit status is 1 if
any has failed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
# A step that takes this long on any machine hangs. Whoever waits for all of it may wait 10 minutes.
STEP_SECONDS = 480.0
# The tests wait for almost as long as they compute.
AT_ONCE = (os.cpu_count() or 1) + 1
_BIN, _EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
_SAY_VERSION = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
# The tests that are of no module: they play with programs.
_PLAYS = ("tests/acceptance", "tests/differential", "tests/faults")
_NO_PLAYS = [f"--ignore={folder}" for folder in _PLAYS]
# What chooses the tests of a layer.
_OF = ("-p", "tools.own_coverage", "--tests-of")
# What measures and plants is run by this Python, not by whoever has the package.
_TESTS_OF_TOOLS = ("tests/test_benchmarks*.py", "tests/test_mutants.py")
# What a user has set for other programs would be tested along with the project.
_LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
# Set by Ctrl-C: no further step is to start.
_interrupted = threading.Event()


class Step(NamedTuple):
    """One step that was run; ``note`` is the last line that it printed."""

    title: str
    passed: bool
    note: str


def main() -> int:
    """Run what the command line asks for, print a summary and return the exit status."""
    if sys.version_info < OLDEST:
        print(f"dsbalance needs Python 3.11 or newer; this one is {platform.python_version()}")
        return 1
    began = time.monotonic()
    steps = check(_parser().parse_args())
    print(f"\n== Summary, after {time.monotonic() - began:.0f} s and {_cpu():.0f} s of CPU time")
    for step in steps:
        print(f"{'ok    ' if step.passed else 'FAILED'}  {step.title:<22}  {step.note}")
    return 0 if all(step.passed for step in steps) else 1


def check(options: argparse.Namespace) -> list[Step]:
    """Run what ``options`` ask for, and return the steps that there were."""
    others = [version for version in supported_versions() if version != _version()]
    is_required = dict.fromkeys(others if options.others or options.all else (), False)
    is_required |= dict.fromkeys(options.python, True)
    # Whole programs do not differ between two versions: of those that were not asked for by name
    # the newest plays them, as the oldest does.
    newest = others[-1] if others else ""
    lanes = [
        check_tests(version, required=must, is_whole=must or version == newest)
        for version, must in is_required.items()
    ]
    steps = []
    if at_home := list(_at_home(options)):
        title = f"environment {_version()}"
        python, made = environment(title, sys.executable, ROOT / ".venv", "dev")
        steps.append(made)
        if made.passed:
            # The longest are the first to start.
            lanes = [lane(python) for lane in at_home[:2]] + lanes[::-1]
            lanes += [lane(python) for lane in at_home[2:]]
    return steps + side_by_side(lanes)


def _at_home(options: argparse.Namespace) -> Iterator[Callable[[Path], Iterator[Step]]]:
    """Yield what is to run in the environment of this Python, the longest first."""
    if options.all or not any(vars(options).values()):
        yield check_core_here
        yield check_rest_here
        yield check_text
    if options.wheel or options.all:
        yield check_wheel
    if options.mutants:
        yield check_mutants


def side_by_side(lanes: Iterable[Iterator[Step]]) -> list[Step]:
    """Run ``lanes`` at the same time, the steps of each in their order; return all steps."""
    finished: list[list[Step]] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            finished += pool.map(list, lanes)
        except KeyboardInterrupt:
            # Whatever runs has had the same signal.
            _interrupted.set()
            raise
    return [step for lane in finished for step in lane]


def check_text(python: Path) -> Iterator[Step]:
    """Check what can be checked without running it."""
    yield run("ruff check", python, "-m", "ruff", "check", ".")
    yield run("ruff format", python, "-m", "ruff", "format", "--check", ".")
    yield run("mypy --strict", python, "-m", "mypy", *typed_folders())


def check_core_here(python: Path) -> Iterator[Step]:
    """Run the tests of the core, and see whether each module is covered by its own ones."""
    watched = ("-m", "coverage", "run", "-m", "pytest", *_OF, "core")
    yield run(f"tests {_version()}, core", python, *watched, *_NO_PLAYS)
    yield run("coverage of the core", python, ROOT / "tools" / "own_coverage.py")


def check_rest_here(python: Path) -> Iterator[Step]:
    """Run the tests that nobody watches: those of the shell, and the plays of whole programs."""
    pytest = (python, "-m", "pytest", "-p", "no:cacheprovider")
    yield run(f"tests {_version()}, shell", *pytest, *_OF, "shell", *_NO_PLAYS)
    yield run(f"tests {_version()}, plays", *pytest, *_PLAYS)


def check_mutants(python: Path) -> Iterator[Step]:
    """Plant bugs into the core, one at a time; the tests of the module have to fail."""
    yield run("planted bugs", python, "-m", "tests.mutants")


def check_tests(version: str, *, required: bool, is_whole: bool) -> Iterator[Step]:
    """Run the tests under Python ``version``; where it is missing, fail only if ``required``.

    Unless ``is_whole`` the plays are left out.
    """
    base = find_python(version)
    if base is None:
        yield Step(f"tests {version}", not required, "there is no such Python on this machine")
        return
    folder = ROOT / f".venv-{version}"
    python, step = environment(f"environment {version}", base, folder, "test")
    yield step
    if step.passed:
        # What failed last is for whoever runs pytest, and kept by one of them. All examples of a
        # property are tried under this Python; another one has to see that it understands them.
        pytest = (python, "-m", "pytest", "-p", "no:cacheprovider", "--hypothesis-profile", "brief")
        left_out = [f"--ignore-glob={tests}" for tests in _TESTS_OF_TOOLS]
        yield run(f"tests {version}, modules", *pytest, *_NO_PLAYS, *left_out)
        if is_whole:
            yield run(f"tests {version}, plays", *pytest, *_PLAYS)


def check_wheel(python: Path) -> Iterator[Step]:
    """Build the wheel, install it where nothing else is, and run it from an empty folder."""
    with tempfile.TemporaryDirectory(prefix="dsbalance-") as name:
        place = Path(name)
        copy_sources(place / "source")
        built = run(
            "wheel", python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, place / "source"
        )
        yield built
        wheels = sorted(place.glob("*.whl"))
        if not (built.passed and wheels):
            return
        yield contents(wheels[0])
        yield from installed(python, wheels[0], place / "environment", place / "empty")


def installed(python: Path, wheel: Path, folder: Path, empty: Path) -> Iterator[Step]:
    """Install ``wheel`` into a new environment in ``folder`` and run it in ``empty``.

    The environment has no pip of its own, and no index is asked: a dependency could not hide.
    """
    empty.mkdir()
    yield run("empty environment", python, "-m", "venv", "--without-pip", folder)
    target = executable(folder, "python")
    pip = (python, "-m", "pip", "--python", target, "install", "-q", "--no-index", wheel)
    yield run("wheel installed", *pip)
    say = "import dsbalance.version as v; print('version', v.VERSION)"
    # -I keeps the current folder and the user's packages out.
    yield run("wheel imported", target, "-I", "-c", say, cwd=empty)
    if (ROOT / "dsbalance" / "cli.py").exists():
        yield run("console script", executable(folder, "dsbalance"), "--help", cwd=empty)
    if (ROOT / "dsbalance" / "demo.py").exists():
        yield run("demo from the wheel", target, "-I", "-m", "dsbalance", "demo", cwd=empty)


def contents(wheel: Path) -> Step:
    """Compare the files of the package in ``wheel`` with those in the source."""
    expected = {path.relative_to(ROOT).as_posix() for path in package_files()}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    differing = sorted(expected ^ found)
    note = f"{len(found)} files" if not differing else f"differ: {', '.join(differing)}"
    return Step("wheel's contents", not differing, note)


def copy_sources(target: Path) -> None:
    """Copy what a wheel is made of: a build in the checkout would pick up what an old one left."""
    target.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target)
    for path in package_files():
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def package_files() -> Iterator[Path]:
    """Yield every file of the package."""
    for path in sorted((ROOT / "dsbalance").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def environment(title: str, base: str, folder: Path, extra: str) -> tuple[Path, Step]:
    """Return the Python of the environment in ``folder``, which is made if it is not as wanted."""
    python = executable(folder, "python")
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    wanted.update(f"{base} {extra} {ROOT}".encode())
    stamp = folder / "made-by-check.txt"
    if stamp.exists() and stamp.read_text() == wanted.hexdigest() and working(str(python)):
        return python, Step(title, passed=True, note=f"{folder.name} is as wanted")
    made = run(title, base, "-m", "venv", "--clear", folder)
    if made.passed:
        package = f"{ROOT}[{extra}]"
        made = run(title, python, "-m", "pip", "install", "-q", "--editable", package)
    if made.passed:
        stamp.write_text(wanted.hexdigest())
        made = made._replace(note=f"{folder.name} made")
    return python, made


def find_python(version: str) -> str | None:
    """Return a Python of ``version`` that runs and can make environments, or None.

    A name on the PATH may be a pyenv shim that only says that it is not chosen, so each is tried.
    """
    candidates = [
        *([sys.executable] if version == _version() else []),
        *(shutil.which(f"python{version}", path=folder) for folder in os.get_exec_path()),
        *_pyenv(version),
        *_launcher(version),
    ]
    return next((each for each in candidates if each and working(each) == version), None)


def _pyenv(version: str) -> Iterator[str]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(root.glob(f"versions/{version}*/{_BIN}/python{_EXE}")))


def _launcher(version: str) -> Iterator[str]:
    """Ask the ``py`` of Windows."""
    launcher = shutil.which("py")
    if launcher:
        command = [launcher, f"-{version}", "-c", "import sys; print(sys.executable)"]
        yield subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def working(python: str) -> str | None:
    """Return the version, such as "3.12", if ``python`` runs and can make environments."""
    try:
        said = subprocess.run(
            [python, "-c", _SAY_VERSION], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return said.stdout.strip() if said.returncode == 0 else None


def run(title: str, *command: str | Path, cwd: Path = ROOT) -> Step:
    """Run ``command``, and stop it after ``STEP_SECONDS``.

    What it says is printed when it has ended, in one piece: others run at the same time.
    """
    if _interrupted.is_set():
        return Step(title, passed=False, note="interrupted")
    print(f"-- {title} ...", flush=True)
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    words = [str(part) for part in command]
    # Not a pipe: a child that the command has left behind would keep it open.
    with tempfile.TemporaryFile() as output:
        try:
            status = subprocess.run(
                words,
                cwd=cwd,
                env={**kept, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=STEP_SECONDS,
                check=False,
            ).returncode
            note = f"ended by signal {-status}" if status < 0 else ""
        except subprocess.TimeoutExpired:
            status, note = 1, f"stopped after {STEP_SECONDS:.0f} s"
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    print(f"\n== {title}: {textwrap.shorten(_shown(command), 150)}\n{text}", flush=True)
    lines = (line.strip(" =") for line in reversed(text.splitlines()))
    return Step(title, status == 0, note or next(filter(None, lines), ""))


def executable(folder: Path, name: str) -> Path:
    """Return the path of a program of the environment in ``folder``."""
    return folder / _BIN / f"{name}{_EXE}"


def supported_versions() -> list[str]:
    """Return the versions that the classifiers in pyproject.toml name, the newest last."""
    stem = "Programming Language :: Python :: "
    lines: list[str] = _pyproject()["project"]["classifiers"]
    return [line.removeprefix(stem) for line in lines if line.startswith(f"{stem}3.")]


def typed_folders() -> list[str]:
    """Return the folders that mypy is to read; it refuses one that has no Python file."""
    folders: list[str] = _pyproject()["tool"]["mypy"]["files"]
    return [name for name in folders if any((ROOT / name).rglob("*.py"))]


def _pyproject() -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - main() has to say that Python is too old before this fails

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _cpu() -> float:
    """Return the seconds of CPU time that every command has taken so far; 0 on Windows."""
    times = os.times()
    return times.children_user + times.children_system


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _shown(command: tuple[str | Path, ...]) -> str:
    """Return ``command`` with the paths of the checkout as they are seen from it."""
    return " ".join(map(str, command)).replace(f"{ROOT}{os.sep}", "")


def _parser() -> argparse.ArgumentParser:
    text = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=text[0],
        epilog=text[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="X.Y",
        help="run the tests under Python X.Y",
    )
    parser.add_argument(
        "--others", action="store_true", help="run them under the other Pythons that are found"
    )
    parser.add_argument("--wheel", action="store_true", help="build, install and run a wheel")
    parser.add_argument(
        "--mutants",
        action="store_true",
        help="plant bugs, which the tests of the core have to find",
    )
    parser.add_argument(
        "--all", action="store_true", help="the default, --others and --wheel, side by side"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
