"""What the library's benchmarks share: rivals in turn, what a round costs them, JSON lines.

In each round every rival does the same work, one after the other, so that a noisy minute hits them
all, and one is compared with another within a round. The lines are as ``rig.py`` describes them;
here CPU is that of this process, or of a child that has the round to itself. A machine that has
other things to do spoils ``rate`` first, and ``relative_cpu`` last.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module, metadata
from typing import Protocol, TypeVar

import rig

Figures = Mapping[str, float]
Bars = Mapping[str, tuple[float | None, float | None]]


class Rival(Protocol):
    """Whoever is measured: what the results call it, and whose version counts."""

    @property
    def name(self) -> str:  # noqa: D102
        ...

    @property
    def package(self) -> str:  # noqa: D102
        ...


class Importable(Rival, Protocol):
    """A rival that is there if its module can be imported."""

    @property
    def module(self) -> str:  # noqa: D102
        ...


R = TypeVar("R", bound=Rival)
Module = TypeVar("Module", bound=Importable)


def per_unit(units: float, seconds: float, user: float, system: float) -> dict[str, float]:
    """Return what so many units took in all as a rate, and as microseconds of CPU for each."""
    return rig.Sample(units, seconds, user, system).metrics


class Contest:
    """The rounds of one claim."""

    def __init__(
        self,
        claim: str,
        unit: str,
        against: str = "",
        *,
        bars: Mapping[str, Bars] | None = None,
        absent: Mapping[str, str] | None = None,
    ) -> None:
        """Begin with none.

        Args:
            claim: What it is about; the claim itself is in its file.
            unit: Of what each figure is given.
            against: The rival with which the others are compared; empty: nobody.
            bars: Rival -> key -> least and most that is asked of its median.
            absent: Rival -> why it is not measured.
        """
        self._head = {"claim": claim, "unit": unit}
        self._against = against
        self._bars = bars or {}
        # Rival -> number of the round -> figures, since not every round of everybody counts.
        self._rounds: dict[str, dict[int, Figures]] = {}
        self._failed: dict[str, list[str]] = {}
        self._absent = dict(absent or {})

    def run(self, rivals: Sequence[R], rounds: int, measure: Callable[[R], Figures]) -> None:
        """Let every rival do its work in each of so many rounds, and print a line for each.

        ``measure`` returns the figures of one round of one rival, and raises OSError or ValueError
        if the rival did not do its part.
        """
        for number in range(rounds):
            for rival in rivals:
                taken = self._rounds.setdefault(rival.name, {})
                try:
                    taken[number] = measure(rival)
                except (OSError, ValueError) as error:
                    self._failed.setdefault(rival.name, []).append(str(error))
        found = versions(rival.package for rival in rivals)
        for name in {**self._rounds, **self._absent}:
            print(json.dumps(self._line(name) | {"versions": found}), flush=True)

    def _line(self, rival: str) -> dict[str, object]:
        taken = self._rounds.get(rival, {})
        rounds = list(taken.values())
        line: dict[str, object] = {**self._head, "rival": rival}
        line |= {"absent": self._absent[rival]} if rival in self._absent else {}
        line |= {"failed": self._failed.get(rival, []), "n": len(rounds)}
        for key in rounds[0] if rounds else ():
            line[key] = spread([figures[key] for figures in rounds])
        baseline = self._rounds.get(self._against, {})
        if both := taken.keys() & baseline.keys():
            line["against"] = self._against
            for name, key in (("relative", "rate"), ("relative_cpu", "cpu_us")):
                line[name] = spread([taken[n][key] / baseline[n][key] for n in both])
        if rival in self._bars:
            line["bars"] = self._bars[rival]
        return line | {"rounds": [_rounded(figures) for figures in rounds]}


def spread(values: list[float]) -> dict[str, float]:
    """Return least, median and most."""
    found = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return _rounded(found)


def _rounded(figures: Figures) -> dict[str, float]:
    """Return figures with decimals enough for a look-up, which takes part of a microsecond."""
    return {key: round(value, 3 if abs(value) > 10 else 5) for key, value in figures.items()}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of everything that took part and is here."""
    wanted = ["dsbalance", "python", "kernel", *packages]
    found = {name: version for name, version in rig.versions().items() if name in wanted}
    for package in wanted:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.setdefault(package, metadata.version(package))
    return found


def options(claim: str, *, rounds: int, count: int, small: int) -> argparse.Namespace:
    """Read the command line, which is that of every benchmark.

    Args:
        claim: The file's docstring.
        rounds: How many there are unless it is told otherwise.
        count: Units in a round, likewise.
        small: Units in a round that only shows that it works.
    """

    def units(text: str) -> int:
        return small if text == "small" else int(text)

    parser = argparse.ArgumentParser(description=claim.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--count", type=units, default=count, help="units a round, or: small")
    parser.add_argument(
        "--rivals", type=lambda text: text.split(","), help="these packages alone, as a,b,c"
    )
    parser.add_argument("--child", metavar="NAME", help="for its own use: one rival, one answer")
    return parser.parse_args()


def sort_out(
    rivals: Iterable[Module], wanted: list[str] | None
) -> tuple[list[Module], dict[str, str]]:
    """Return the rivals that are wanted and can be imported, and why others cannot, by name."""
    present = []
    absent = {}
    for rival in rivals:
        if wanted is not None and rival.package not in wanted:
            continue
        try:
            import_module(rival.module)
        except ImportError as error:
            absent[rival.name] = f"not installed: {error}"
            print(f"{rival.name} is left out: {error}", file=sys.stderr)
        else:
            present.append(rival)
    return present, absent
