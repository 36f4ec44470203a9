"""Make the page ``docs/benchmarks.md`` and its picture from the results, and nothing else.

The page keeps what people wrote in it: the tables stand between two marks. The same results always
give the same page.
Command: ``python benchmarks/report.py``
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from picture import Line, number, picture

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
PICTURE = PAGE.with_suffix(".svg")
BEGIN = "<!-- The rest is made by benchmarks/report.py from benchmarks/results. -->"

Rows = list[list[str]]

# The files in the order of the page; others follow.
ORDER = (
    "bulk",
    "bulk_eight",
    "small_requests",
    "short_connections",
    "idle_memory",
    "idle_cost",
    "fault_table",
    "http_requests",
    "http_bodies",
    "dashboard",
    "ring",
    "table",
    "route",
    "plan",
    "parsing",
    "startup",
)
MET = {True: "met", False: "**missed**"}
COSTS = {"user_us": "user us", "system_us": "system us", "cpu_us": "CPU us"}
COMPARED = {"relative": "rate", "relative_cpu": "CPU"}
# More further figures than these get a table of their own.
MAX_FURTHER = 3


def main() -> None:
    found = read(RESULTS)
    PAGE.write_text(page(found), encoding="utf-8")
    PICTURE.write_text(picture(found), encoding="utf-8")


def page(found: Mapping[str, Sequence[Line]]) -> str:
    """Return the page: what people wrote, and what these results say."""
    head = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    return f"{head}{BEGIN}\n\n{tables(found)}".rstrip() + "\n"


def place(name: str) -> tuple[int, str]:
    """Return what sorts benchmarks as the page has them."""
    return ORDER.index(name) if name in ORDER else len(ORDER), name


def read(folder: Path) -> dict[str, list[Line]]:
    """Return the result lines of each file: name of the benchmark -> lines."""
    names = sorted((path.stem for path in folder.glob("*.jsonl")), key=place)
    texts = {name: (folder / f"{name}.jsonl").read_text(encoding="utf-8") for name in names}
    return {name: [json.loads(line) for line in text.splitlines()] for name, text in texts.items()}


def tables(found: Mapping[str, Sequence[Line]]) -> str:
    """Return the page's second part."""
    return "\n".join(section(name, lines) for name, lines in found.items())


def section(name: str, lines: Sequence[Line]) -> str:
    """Return what there is to say of one benchmark's results."""
    source = (HERE / f"{name}.py").read_text(encoding="utf-8")
    claim = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    parts = [f"## {capital(claim.removeprefix('Claim: ').rstrip('.'))}"]
    for title in dict.fromkeys(line["claim"] for line in lines):
        mine = [line for line in lines if line["claim"] == title]
        body = outcomes(mine) if "case" in mine[0] else figures(mine)
        parts += [f"### {capital(title)}", *body]
    parts.append(circumstances(name, lines[0]))
    return "\n\n".join(parts) + "\n"


def outcomes(lines: Sequence[Line]) -> list[str]:
    """Return a table of cases, where every rival has a result for each."""
    cases = list(dict.fromkeys(line["case"] for line in lines))
    rows = [["", *cases]]
    for rival in dict.fromkeys(line["rival"] for line in lines):
        results = {line["case"]: line for line in lines if line["rival"] == rival}
        rows.append([rival, *(outcome(results[case]) for case in cases)])
    return [markdown(rows), "Bold is what must not be."]


def outcome(line: Line) -> str:
    """Return what became of a case; bold if it is not what is wanted."""
    result: str = line.get("result", "not measured")
    return result if result == line.get("wanted", result) else f"**{result}**"


def figures(lines: Sequence[Line]) -> list[str]:
    """Return the tables of one claim, what is asked and what went wrong."""
    measured = [line for line in lines if line["n"]]
    tables = []
    if measured:
        further = further_keys(measured[0])
        is_split = len(further) > MAX_FURTHER
        if "rate" in measured[0]:
            tables.append(main_table(measured, () if is_split else further))
        if is_split:
            tables.append(further_table(measured, further))
    notes = [asked(line) for line in measured if line.get("bars")]
    notes += [
        f"{line['rival']} is not in it: {line['absent']}" for line in lines if "absent" in line
    ]
    for line in lines:
        notes += [f"{line['rival']}, a round that does not count: {why}" for why in line["failed"]]
    return [*tables, "\n".join(f"- {note}" for note in notes)] if notes else tables


def further_keys(line: Line) -> list[str]:
    """Return the keys of the figures that only this benchmark has."""
    known = {"rate", *COSTS, *COMPARED}
    return [key for key, value in line.items() if is_spread(value) and key not in known]


def is_spread(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"min", "median", "max"}


def main_table(lines: Sequence[Line], further: Iterable[str]) -> str:
    """Return the table of rates and costs, with these further figures."""
    unit = lines[0]["unit"]
    against = next((line["against"] for line in lines if "against" in line), "")
    heads = {key: words(key) for key in further}
    heads |= {"rate": f"{unit}/s", "range": "least to most", **COSTS}
    heads |= {key: f"{word} x {against}" for key, word in COMPARED.items()}
    keys = [key for key in heads if any(median(line, key) for line in lines)]
    rows = [["", *(heads[key] for key in keys)]]
    rows += [[line["rival"], *(median(line, key) for key in keys)] for line in lines]
    return markdown(rows)


def further_table(lines: Sequence[Line], keys: Sequence[str]) -> str:
    """Return a table of these figures."""
    rows = [["", *map(words, keys)]]
    rows += [[line["rival"], *(median(line, key) for key in keys)] for line in lines]
    return markdown(rows)


def median(line: Line, key: str) -> str:
    """Return a figure's median as text, or of ``range`` how far the rates are apart."""
    if key == "range":
        rate = line.get("rate")
        return f"{number(rate['min'])} to {number(rate['max'])}" if rate else ""
    return number(line[key]["median"]) if key in line else ""


def words(key: str) -> str:
    return key.replace("_", " ").replace("cpu", "CPU")


def capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def asked(line: Line) -> str:
    """Return what is asked of a rival's figures, and whether it is so."""
    return f"Asked of {line['rival']}: " + "; ".join(verdict(line, key) for key in line["bars"])


def verdict(line: Line, key: str) -> str:
    """Return what is asked of one figure, and whether it is so."""
    least, most = line["bars"][key]
    limit = f"at least {number(least)}" if most is None else f"at most {number(most)}"
    if least == most:
        limit = f"exactly {number(most)}"
    name = f"{COMPARED[key]} x {line.get('against', '')}" if key in COMPARED else words(key)
    if key not in line:
        return f"{name} {limit}, not measured"
    value = line[key]["median"]
    is_met = (least is None or value >= least) and (most is None or value <= most)
    return f"{name} {limit}, it is {number(value)}: {MET[is_met]}"


def circumstances(name: str, line: Line) -> str:
    """Return where the figures come from."""
    versions = ", ".join(f"{what} {version}" for what, version in line["versions"].items())
    where = ", ".join(line[key] for key in ("date", "machine") if key in line)
    source = f"[{name}.py](../benchmarks/{name}.py)"
    raw = f"[results](../benchmarks/results/{name}.jsonl)"
    return f"{where}; {versions}. {source} says what is measured and how, {raw} has every round."


def markdown(rows: Rows) -> str:
    """Return rows, the first of which is the head, as a table of numbers."""
    ruler = [":--", *["--:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], ruler, *rows[1:]))


if __name__ == "__main__":
    main()
