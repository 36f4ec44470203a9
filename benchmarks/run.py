"""Run every benchmark, keep what each round gave, and make the page and the picture of it.

    python benchmarks/run.py                        everything, as the page shows it
    python benchmarks/run.py --only ring table      these alone; what the others gave stays
    python benchmarks/run.py --quick                see that all runs; nothing is kept, no figure is
                                                    worth anything

Rivals that are not installed are left out, and the results say so. What can be installed:
``pip install -r benchmarks/requirements.txt``, and HAProxy and nginx from the system's packages.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import report

HERE = report.HERE
# Ten times what the longest takes.
_LIMIT_SECONDS = 1800


def benchmarks() -> list[str]:
    """Return the names of the files here that claim something, in the order of the page."""
    found = []
    for path in HERE.glob("*.py"):
        words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if words and words.startswith("Claim: "):
            found.append(path.stem)
    return sorted(found, key=report.place)


def machine() -> str:
    """Return what kind of machine this is; nobody's name."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    return f"{os.cpu_count()} x {model}"


def run(name: str, options: Sequence[str], folder: Path) -> bool:
    """Run one benchmark and keep its lines; return whether it says that all went well."""
    command = [sys.executable, str(HERE / f"{name}.py"), *options]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    began = time.monotonic()
    print(f"{name} ...", end=" ", flush=True)
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=_LIMIT_SECONDS,
        check=False,
    )
    print(f"{time.monotonic() - began:.0f} s{', FAILED' if done.returncode else ''}", flush=True)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    where = {"date": today, "machine": machine()}
    lines = [json.dumps(json.loads(line) | where) for line in done.stdout.splitlines()]
    if lines:
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return done.returncode == 0


def main() -> int:
    names = benchmarks()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--rounds", type=int, help="in place of what each file says")
    parser.add_argument("--quick", action="store_true", help="one small round, nothing is kept")
    args = parser.parse_args()
    options = [] if args.rounds is None else ["--rounds", str(args.rounds)]
    if not args.quick:
        report.RESULTS.mkdir(exist_ok=True)
        passed = [run(name, options, report.RESULTS) for name in args.only]
        report.main()
        return 0 if all(passed) else 1
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        quick = ["--rounds", "1", "--count", "small"]
        passed = [run(name, quick, Path(folder)) for name in args.only]
        print(report.tables(report.read(Path(folder))))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
