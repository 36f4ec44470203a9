"""What holds for the project as a whole: sizes, tests, pages, the wheel's data."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import ssl
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dsbalance
from dsbalance.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dsbalance"
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = "python3 -m dsbalance demo"
CHECK = "python3 tools/check.py"

MAX_MODULE = 500
MAX_CLASS = 300
MAX_FUNCTION = 60
# "dsbalance/x.py" or "dsbalance/x.py:function" -> why it may be longer.
LARGE: dict[str, str] = {}

# Module -> where it is tested instead of in a file of its own name.
TESTED_ELSEWHERE = {
    "dsbalance/__init__.py": "tests/test_project.py",
    "dsbalance/__main__.py": "tests/test_cli.py",
    "dsbalance/arrival.py": "tests/test_conversation.py",
    "dsbalance/engine.py": "tests/test_proxy.py",
    "dsbalance/options.py": "tests/test_cli.py",
    "dsbalance/poller.py": "tests/test_loop.py",
    "dsbalance/steering.py": "tests/test_operations.py",
    "dsbalance/version.py": "tests/test_project.py",
    "dsbalance/watching.py": "tests/test_proxy.py",
    "dsbalance/haproxy/__init__.py": "tests/test_layers.py",
}

# A home directory, or a drive letter's, followed by somebody's name.
MACHINE_PATH = re.compile(r"(?:/(?:home|Users|root|work)/|[A-Z]:\\Users\\)\w")
PAGE = re.compile(r"(?<![\w/:.*-])(?:[\w.-]+/)*[\w-]+\.md\b")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# What a rule is tried on.
SIGN = """
def sign(number):
    if number:
        return 1
    return 0
"""

# The README shows the library as it is when the proxy is in it.
PUBLIC_API = hasattr(dsbalance, "Proxy")


def package_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def written_files() -> Iterator[Path]:
    """Yield the text files that people write: sources, pages, settings."""
    yield from (ROOT / name for name in (".gitignore", ".ci/run", "LICENSE", "pyproject.toml"))
    yield from ROOT.glob("*.md")
    for folder in ("dsbalance", "tests", "tools", "benchmarks", "examples", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".md", ".txt", ".toml", ".json", ".jsonl", ".cfg", ".sh"}:
                yield path


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def project() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)["project"]
    return table


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a Markdown page that are marked as ``language``."""
    return [text for marked, text in BLOCK.findall(page) if marked == language]


def oversized(source: str, name: str) -> list[str]:
    """Return a line for each module, class or function of ``source`` that is too long."""
    found = []
    if (lines := source.count("\n")) > MAX_MODULE:
        found.append(f"{name} {lines} lines")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > (MAX_CLASS if isinstance(node, ast.ClassDef) else MAX_FUNCTION):
                found.append(f"{name}:{node.name} {lines} lines")
    return found


# --- the package ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", package_files(), ids=name_of)
def test_every_module_has_a_test_file_of_its_name(path: Path) -> None:
    name = name_of(path)
    stem = "_".join(path.relative_to(PACKAGE).with_suffix("").parts)
    expected = TESTED_ELSEWHERE.get(name, f"tests/test_{stem}.py")
    assert (ROOT / expected).exists(), f"{name} wants {expected}"


@pytest.mark.parametrize("path", package_files(), ids=name_of)
def test_no_module_class_or_function_is_too_long(path: Path) -> None:
    found = oversized(path.read_text(encoding="utf-8"), name_of(path))
    unexcused = [line for line in found if line.split(" ")[0] not in LARGE]
    assert not unexcused, "split it, or give the reason in LARGE"


def test_the_limits_of_length_bite() -> None:
    body = "    pass\n"
    assert not oversized("def f():\n" + body * 59, "x.py")
    assert oversized("def f():\n" + body * 60, "x.py") == ["x.py:f 61 lines"]
    assert oversized("async def f():\n" + body * 60, "x.py") == ["x.py:f 61 lines"]
    assert not oversized("class A:\n" + body * 299, "x.py")
    assert oversized("class A:\n" + body * 300, "x.py") == ["x.py:A 301 lines"]
    assert oversized("x = 1\n" * 501, "x.py") == ["x.py 501 lines"]


@pytest.mark.parametrize("path", package_files(), ids=name_of)
def test_the_examples_in_docstrings_hold(path: Path) -> None:
    if path.name == "__main__.py":
        pytest.skip("to import the command line may be to run it")
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    assert doctest.testmod(module, raise_on_error=False).failed == 0


def test_every_public_name_exists() -> None:
    public = getattr(dsbalance, "__all__", [])
    assert len(public) == len(set(public))
    assert [name for name in public if not hasattr(dsbalance, name)] == []


def test_what_is_loaded_when_it_is_asked_for_is_what_type_checkers_see() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        str(line.module).removeprefix("dsbalance."): tuple(alias.name for alias in line.names)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
    }
    assert seen == dsbalance._HOMES
    assert {name for names in seen.values() for name in names} == {*dsbalance.__all__} - {"VERSION"}
    assert {*dsbalance.__all__, "__version__"} <= {*dir(dsbalance)}


def test_who_wants_a_ring_does_not_pay_for_a_proxy() -> None:
    code = """
import sys, dsbalance
assert not {"socket", "logging", "dsbalance.errors"} & {*sys.modules}
dsbalance.HashRing({"a": 1})
assert not {"socket", "logging", "dsbalance.model"} & {*sys.modules}
assert dsbalance.proxy.Proxy is dsbalance.Proxy
assert not {"argparse", "dsbalance.cli", "dsbalance.haproxy.config"} & {*sys.modules}
"""
    # -S, because a plug-in of the environment's may load anything.
    subprocess.run([sys.executable, "-S", "-c", code], check=True, cwd=ROOT)


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


# --- pyproject.toml, the pages and the scripts ---------------------------------------------------


def test_nothing_has_to_be_installed_to_run_it() -> None:
    assert project()["dependencies"] == []
    assert project()["requires-python"] == ">=3.11"


def test_every_page_knows_the_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest
    assert newest[1] == VERSION


def test_the_readme_has_the_two_commands_and_they_exist() -> None:
    commands = [line for block in blocks(README, "sh") for line in block.splitlines()]
    assert DEMO in commands
    assert CHECK in commands
    assert (ROOT / CHECK.split()[1]).exists()
    assert CHECK.split()[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="there is no such bit here")
def test_the_checks_can_be_started() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_check_script_explains_itself_and_contributors_know_its_options() -> None:
    command = [sys.executable, str(ROOT / CHECK.split()[1]), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    options = set(re.findall(r"--[a-z]+", done.stdout)) - {"--help"}
    assert "--others" in options
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert options == {option for option in options if option in page}


def test_the_rule_about_own_tests_bites(tmp_path: Path) -> None:
    pytest.importorskip("coverage")
    files = {
        "pyproject.toml": """
            [tool.dsbalance.layers]
            core = ["dsbalance.a", "dsbalance.b"]
            [tool.coverage.run]
            branch = true
            source = ["dsbalance"]
            """,
        "dsbalance/__init__.py": "",
        "dsbalance/a.py": SIGN,
        "dsbalance/b.py": SIGN,
        "tests/test_a.py": "from dsbalance import a\ndef test(): a.sign(0)\n",
        "tests/test_a_more.py": "from dsbalance import a, b\ndef test(): b.sign(a.sign(1))\n",
        "tests/test_b.py": "from dsbalance import b\ndef test(): b.sign(0)\n",
        "tools/own_coverage.py": (ROOT / "tools" / "own_coverage.py").read_text(encoding="utf-8"),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            # Where coverage keeps what it measures of these tests is not the place for that.
            env={name: value for name, value in os.environ.items() if "COV" not in name},
            capture_output=True,
            text=True,
            check=False,
        )

    tests = run("-m", "coverage", "run", "-m", "pytest", "-p", "tools.own_coverage")
    assert tests.returncode == 0, tests.stdout + tests.stderr
    report = run("tools/own_coverage.py")
    assert report.returncode == 1
    assert report.stdout.splitlines()[0] == "dsbalance/b.py: test_b omits 4"
    assert len(report.stdout.splitlines()) == 2


@pytest.mark.parametrize("code", blocks(README, "python"))
def test_python_in_the_readme_runs_up_to_where_it_opens_a_socket(code: str) -> None:
    if ">>>" in code:
        example = doctest.DocTestParser().get_doctest(code, {}, "README.md", "README.md", 0)
        assert doctest.DocTestRunner().run(example).failed == 0
        return
    compile(code, "README.md", "exec")
    if PUBLIC_API:
        tree = ast.parse(code)
        tree.body = [node for node in tree.body if not isinstance(node, ast.With)]
        exec(compile(tree, "README.md", "exec"), {})


@pytest.mark.parametrize("path", package_files(), ids=name_of)
def test_every_module_stands_in_the_picture_of_the_house(path: Path) -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f" {path.name} " in picture, f"draw {name_of(path)} in docs/architecture.md"


@pytest.mark.parametrize("path", list(written_files()), ids=name_of)
def test_no_file_names_a_machine_or_a_page_that_is_not_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not MACHINE_PATH.findall(text)
    assert f"{ROOT}{os.sep}" not in text
    named = set(PAGE.findall(text)) | (set(LINK.findall(text)) if path.suffix == ".md" else set())
    places = (ROOT, ROOT / "docs", path.parent)
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert missing == []


def test_the_rule_about_paths_and_pages_bites() -> None:
    assert MACHINE_PATH.search("see /home" + "/anna/x")
    assert MACHINE_PATH.search("C:" + "\\Users\\anna")
    assert not MACHINE_PATH.search("at /homes and /root or /work in words")
    gone = "GONE" + ".md"
    assert PAGE.findall(f"as {gone} says, and https://example.com/a/{gone}") == [gone]
    assert LINK.findall("[a](docs/b.txt) [c](https://example.com) [d](#e)") == ["docs/b.txt"]


# --- the certificates of the tests and the demo --------------------------------------------------


def pem(number: int) -> str:
    return str(PACKAGE / "testdata" / f"TEST-ONLY-primary-{number}.pem")


def peer_of(server: int, trusted: tuple[int, ...]) -> str:
    """Return the common name that a client sees which trusts ``trusted`` and reaches ``server``."""
    contexts = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for number in trusted:
        contexts[0].load_verify_locations(pem(number))
    contexts[1].load_cert_chain(pem(server))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = contexts[0].wrap_bio(to_client, to_server, server_hostname="localhost")
    ends = client, contexts[1].wrap_bio(to_server, to_client, server_side=True)
    for end in ends * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate: Any = client.getpeercert()
    return str(dict(pair for group in certificate["subject"] for pair in group)["commonName"])


@pytest.mark.parametrize("server", [1, 2, 3])
def test_a_client_sees_which_test_server_it_reached(server: int) -> None:
    assert peer_of(server, trusted=(1, 2, 3)) == f"TEST ONLY primary-{server}"


def test_a_client_refuses_a_test_server_that_it_was_not_told_of() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        peer_of(3, trusted=(1, 2))


def test_the_certificates_say_that_they_are_for_tests() -> None:
    folder = PACKAGE / "testdata"
    assert {path.name for path in folder.iterdir()} == {
        "README.txt",
        *(f"TEST-ONLY-primary-{number}.pem" for number in (1, 2, 3)),
    }
    assert "NEVER USE IT" in (folder / "README.txt").read_text(encoding="utf-8")
