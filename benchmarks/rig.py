"""What the forwarder's benchmarks share: rounds with rivals beside us, CPU and memory by process.

Rivals run one after the other in each round, and rounds follow each other, so that a noisy minute
hits them all. Client, server and rival share the machine, so a rate is bound by all three; the CPU
of the rival's own processes per unit is the figure to compare. CPU and memory are read from /proc,
so this runs on Linux alone.

Results are JSON lines, one a rival:

key                 value
claim, unit, rival  text
absent              only where the rival was not measured: why
failed              what went wrong in rounds that do not count
n                   rounds that count
rate                units a second; like all that follow ``{"min": x, "median": y, "max": z}``
user_us, system_us  microseconds of CPU a unit, divided as the clock tick has sampled them
cpu_us              both together, as the scheduler has counted them
(others)            what a benchmark measures besides; its file says what
relative            the rate as a multiple of that of the rival that ``against`` names
relative_cpu        ``cpu_us`` likewise; both from figures of the same round
bars                what is asked of our median: key -> [least, most], null: no limit
rounds              the figures of each round
versions            of everything that takes part
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import FrameType, TracebackType
from typing import Generic, Self, TypeVar

from load import echo_server
from rivals import RIVALS, Rival, StartError, Target, haproxy, named, nginx, running

from dsbalance import VERSION

_TICKS = os.sysconf("SC_CLK_TCK")
# A round takes seconds; one that takes this long hangs.
_ROUND_SECONDS = 120

Stage = TypeVar("Stage")


# --- what a process spends -----------------------------------------------------------------------


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all that it has started, as a master has workers."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text(encoding="ascii").split():
            yield from tree(int(child))


def cpu(pid: int) -> tuple[float, float]:
    """Return the seconds of CPU that a process and its children have used, and the user's part.

    The first is exact to the nanosecond, the second is sampled by the clock tick.
    """
    total = user = 0.0
    for each in tree(pid):
        for schedstat in Path(f"/proc/{each}/task").glob("*/schedstat"):
            total += int(schedstat.read_text(encoding="ascii").split()[0]) / 1e9
        fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        user += int(fields[11]) / _TICKS
    return total, user


def own_cpu() -> tuple[float, float]:
    """Return the same for this process alone, at once and to the microsecond."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_utime


def memory(pid: int) -> int:
    """Return the bytes of memory that a process and its children have to themselves.

    That is what is theirs alone and their share of what they have in common, without the pages of
    files. What the kernel holds for them, sockets for one, is not in it.
    """
    kib = 0
    for each in tree(pid):
        for line in Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                kib += int(line.split()[1])
    return kib * 1024


def descriptors(pid: int) -> int:
    """Return how many descriptors a process and its children have open."""
    return sum(len(os.listdir(f"/proc/{each}/fd")) for each in tree(pid))


@dataclass(frozen=True)
class Sample:
    """What one round cost one rival; ``more`` is what a benchmark measures besides."""

    units: float
    seconds: float
    user: float
    system: float
    more: Mapping[str, float] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """What is printed, for each unit."""
        return {
            "rate": self.units / self.seconds,
            "user_us": 1e6 * self.user / self.units,
            "system_us": 1e6 * self.system / self.units,
            "cpu_us": 1e6 * (self.user + self.system) / self.units,
            **self.more,
        }


class Meter:
    """What is spent while the ``with`` lasts; the sum, if it is entered more than once."""

    def __init__(self, target: Target | None = None) -> None:
        """Watch the processes of a target; None: this one alone, where a reading takes 1 us."""
        self._spent = own_cpu if target is None else functools.partial(cpu, target.pid)
        self._seconds = self._total = self._user = 0.0

    def __enter__(self) -> Self:
        self._before, self._start = self._spent(), time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._seconds += time.perf_counter() - self._start
        total, user = self._spent()
        self._total += total - self._before[0]
        self._user += user - self._before[1]

    def sample(self, units: float, **more: float) -> Sample:
        """Return what was spent on so many units."""
        user = min(self._user, self._total)
        return Sample(units, self._seconds, user, self._total - user, more)


# --- rounds --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Claim(Generic[Stage]):
    """One benchmark.

    Attributes:
        text: What it is about; the claim itself is in its file.
        unit: Of what each figure is given.
        count: Units in a round.
        small: Units in a round that only shows that it works, and in the one before the first.
        work: Does so many units on a stage and returns what they cost.
            Raises OSError or ValueError if the rival did not do its part.
        stage: Sets a rival up for all rounds.
        bars: What is asked of us: key -> least and most.
        rivals: Who takes part.
        against: The name of the one to measure up to.
    """

    text: str
    unit: str
    count: int
    small: int
    work: Callable[[Stage, int], Sample]
    stage: Callable[[Rival, int], AbstractContextManager[Stage]]
    bars: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    rivals: Sequence[Rival] = RIVALS
    against: str = "haproxy-tuned"

    def run(self) -> None:
        """Do what the command line asks for, print the result lines and end the process.

        The exit status is 1 if a rival that is here did not finish one round.
        """
        run([self])

    def measure(self, options: argparse.Namespace) -> bool:
        """Print the result lines; return whether all that are here finished a round."""
        wanted = {rival.name for rival in options.rivals}
        found = [Result(rival) for rival in self.rivals if rival.name in wanted]
        self._play([result for result in found if not result.absent], options)
        baseline = next((result for result in found if result.rival.name == self.against), None)
        for result in found:
            head = {"claim": self.text, "unit": self.unit} | result.line(baseline)
            if result.rival.name == "dsbalance":
                head["bars"] = self.bars
            print(json.dumps(head | {"versions": versions()}))
        return all(result.taken or result.absent for result in found)

    def _play(self, results: list[Result], options: argparse.Namespace) -> None:
        with contextlib.ExitStack() as stack:
            stages: list[tuple[Result, Stage]] = []
            for result in results:
                with result.noting():
                    stage = stack.enter_context(self.stage(result.rival, options.count))
                    stages.append((result, stage))
                    self.work(stage, self.small)
            for number in range(options.rounds):
                for result, stage in stages:
                    with result.noting():
                        result.taken[number] = self.work(stage, options.count).metrics


class Result:
    """What becomes of one rival.

    Attributes:
        absent: Why it is not measured; empty if it is.
        failed: What went wrong in rounds that do not count.
        taken: Number of the round -> its figures.
    """

    def __init__(self, rival: Rival) -> None:
        self.rival = rival
        self.absent = rival.missing()
        self.failed: list[str] = []
        self.taken: dict[int, dict[str, float]] = {}
        if self.absent:
            print(f"{rival.name} is left out: {self.absent}", file=sys.stderr)

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Take down what goes wrong, and end what hangs."""

        def give_up(_number: int, _frame: FrameType | None) -> None:
            raise TimeoutError(f"not done after {_ROUND_SECONDS} s")

        signal.signal(signal.SIGALRM, give_up)
        signal.alarm(_ROUND_SECONDS)
        try:
            yield
        except StartError as error:
            self.failed.append(f"it did not start: {error}")
        except (OSError, ValueError) as error:
            self.failed.append(str(error))
        finally:
            signal.alarm(0)

    def line(self, baseline: Result | None) -> dict[str, object]:
        """Return the result line without what all rivals have in common."""
        rounds = list(self.taken.values())
        line: dict[str, object] = {"rival": self.rival.name}
        line |= {"absent": self.absent} if self.absent else {}
        line |= {"failed": self.failed, "n": len(rounds)}
        for key in rounds[0] if rounds else ():
            line[key] = _spread([figures[key] for figures in rounds])
        both = self.taken.keys() & baseline.taken.keys() if baseline else ()
        if baseline and both:
            line["against"] = baseline.rival.name
            for name, key in (("relative", "rate"), ("relative_cpu", "cpu_us")):
                line[name] = _spread([self.taken[n][key] / baseline.taken[n][key] for n in both])
        return line | {"rounds": [_rounded(figures) for figures in rounds]}


def _spread(values: list[float]) -> dict[str, float]:
    return _rounded({"min": min(values), "median": statistics.median(values), "max": max(values)})


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {key: round(value, 3) for key, value in figures.items()}


@contextlib.contextmanager
def alone(
    rival: Rival,
    _count: int = 0,
    serving: Callable[[], AbstractContextManager[int]] = echo_server,
) -> Iterator[Target]:
    """Run a rival in front of a server of its own, for all rounds."""
    with serving() as server, running(rival, server) as target:
        yield target


def run(claims: Sequence[Claim[Stage]]) -> None:
    """Do what the command line asks for with each claim of a file, and end the process.

    They have their units and their rivals' names in common.
    """
    options = _parse(claims[0])
    _raise_descriptor_limit()
    passed = [claim.measure(options) for claim in claims]
    sys.exit(not all(passed))


def _parse(claim: Claim[Stage]) -> argparse.Namespace:
    def count(text: str) -> int:
        return claim.small if text == "small" else int(text)

    parser = argparse.ArgumentParser(description=claim.text)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=count, default=claim.count, help="units a round, or: small")
    parser.add_argument(
        "--rivals",
        type=functools.partial(named, rivals=claim.rivals),
        default=list(claim.rivals),
        help="these alone, as a,b,c",
    )
    return parser.parse_args()


def _raise_descriptor_limit() -> None:
    """Let this process, and all that it starts, open as many descriptors as the system lets it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@functools.cache
def versions() -> dict[str, str]:
    """Return the version of everything that takes part and is here."""
    found = {
        "dsbalance": VERSION,
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
    if program := haproxy():
        found["haproxy"] = _ask(program, "-v").split()[2]
    if program := nginx():
        found["nginx"] = _ask(program, "-v").strip().rpartition("/")[2]
    with contextlib.suppress(metadata.PackageNotFoundError):
        found["uvloop"] = metadata.version("uvloop")
    return found


def _ask(*words: str) -> str:
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    return run.stdout + run.stderr
