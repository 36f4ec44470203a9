"""Draw the results: small bar charts in one SVG, for a light page and a dark one.

It is written by hand, so that the same results give the same bytes and nothing has to be installed.
``report.py`` calls it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Line = Mapping[str, Any]

COLUMNS = 3
MARGIN, GAP = 28, 32
WIDTH, ROW, HEAD = 300, 19, 46  # of a chart, of a bar with its space, of what stands above the bars
LABEL, BAR = 118, 126  # of a rival's name, of the longest bar
HEIGHT = HEAD + 6 * ROW
TOP = 82

STYLE = """\
.page { fill: #ffffff; stroke: #d8dee6 } .ink { fill: #1f2733 } .faint { fill: #66717f }
.ours { fill: #0b7285 } .theirs { fill: #7f8b99 } .rule { stroke: #d8dee6 }
.kernel { opacity: 0.45 }
text { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
.title { font-size: 20px; font-weight: 600 } .chart { font-size: 13px; font-weight: 600 }
.small { font-size: 11px } .strong { font-weight: 600 }
@media (prefers-color-scheme: dark) {
.page { fill: #10151c; stroke: #2b3440 } .ink { fill: #e4e9ef } .faint { fill: #97a3b1 }
.ours { fill: #3bc9db } .theirs { fill: #76828f } .rule { stroke: #2b3440 }
}"""

LEGEND = (
    "Medians of rounds in which all took part, one thread each."
    " Of CPU the full tone is the program, the pale one the kernel on its behalf."
)


@dataclass(frozen=True)
class Chart:
    """One figure of one claim.

    Attributes:
        title: What it shows.
        unit: Of the numbers beside the bars.
        source: The benchmark, and where it has more than one claim, the claim.
        key: The figure.
        scale: What it is multiplied with to be in that unit.
    """

    title: str
    unit: str
    source: tuple[str, str]
    key: str
    scale: float = 1.0

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.key == "rate"


HTTP_KEPT = "HTTP requests, both connections kept"
HTTP_BODY = "download with Content-Length"
CHARTS = (
    Chart("Throughput of one stream", "MB/s", ("bulk", ""), "rate"),
    Chart("CPU for a gigabyte", "s", ("bulk", ""), "cpu_us", 1e-3),
    Chart("CPU for a gigabyte, eight streams", "s", ("bulk_eight", ""), "cpu_us", 1e-3),
    Chart("Short connections", "per second", ("short_connections", ""), "rate"),
    Chart("CPU for a short connection", "\u00b5s", ("short_connections", ""), "cpu_us"),
    Chart("Memory of an idle connection", "KiB", ("idle_memory", ""), "bytes", 1 / 1024),
    Chart("Kept-alive requests", "per second", ("small_requests", ""), "rate"),
    Chart("CPU for a kept-alive request", "\u00b5s", ("small_requests", ""), "cpu_us"),
    Chart("HTTP requests, kept alive", "per second", ("http_requests", HTTP_KEPT), "rate"),
    Chart("CPU for an HTTP request", "\u00b5s", ("http_requests", HTTP_KEPT), "cpu_us"),
    Chart("CPU for a GB from an HTTP server", "s", ("http_bodies", HTTP_BODY), "cpu_us", 1e-3),
    Chart("CPU for a request beside idle ones", "\u00b5s", ("idle_cost", ""), "cpu_us"),
    Chart(
        "Ring look-ups, 100 servers", "per second", ("ring", "ring look-ups, 100 servers"), "rate"
    ),
    Chart("Table look-ups, a million clients", "per second", ("table", ""), "rate"),
    Chart("Longest call as a million clients expire", "ms of CPU", ("table", ""), "expired_cpu_ms"),
)


def picture(found: Mapping[str, Sequence[Line]]) -> str:
    """Return the picture of all charts that there are results for."""
    drawn = [(chart, lines) for chart in CHARTS if (lines := rivals(chart, found))]
    rows = -(-len(drawn) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * WIDTH + (COLUMNS - 1) * GAP
    height = TOP + rows * (HEIGHT + GAP) - GAP + MARGIN
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "<title>dsbalance and others: what they do in a second, and what it costs</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        text("What it does, and what it costs", MARGIN, 38, "title ink"),
        text(LEGEND, MARGIN, 60, "faint"),
    ]
    for index, (chart, lines) in enumerate(drawn):
        x = MARGIN + index % COLUMNS * (WIDTH + GAP)
        y = TOP + index // COLUMNS * (HEIGHT + GAP)
        parts += draw(chart, lines, x, y)
    return "\n".join([*parts, "</svg>", ""])


def rivals(chart: Chart, found: Mapping[str, Sequence[Line]]) -> list[Line]:
    """Return the lines of a chart; a name with a comma is a variant, for the tables alone."""
    name, claim = chart.source
    return [
        line
        for line in found.get(name, ())
        if chart.key in line and "," not in line["rival"] and claim in ("", line["claim"])
    ]


def draw(chart: Chart, lines: Sequence[Line], x: int, y: int) -> Iterator[str]:
    """Yield the elements of one chart, whose upper left corner is at x and y."""
    better = "more" if chart.is_rate else "less"
    yield text(chart.title, x, y + 14, "chart ink")
    yield text(f"{chart.unit}, {better} is better", x, y + 31, "small faint")
    longest = max(line[chart.key]["median"] for line in lines)
    for index, line in enumerate(lines):
        middle = y + HEAD + index * ROW + ROW // 2
        is_ours = line["rival"] == "dsbalance"
        ink = "ink strong" if is_ours else "ink"
        yield text(line["rival"], x + LABEL - 8, middle + 4, f"small {ink}", anchor="end")
        value = line[chart.key]["median"]
        length = max(1.0, BAR * value / longest)
        yield from bar(line, chart, x + LABEL, middle - 6, length)
        shown = number(value * chart.scale)
        yield text(shown, x + LABEL + length + 6, middle + 4, f"small {ink}")
    top, bottom = y + HEAD - 2, y + HEAD + len(lines) * ROW
    yield f'<path class="rule" d="M{x + LABEL} {top}V{bottom}"/>'


def bar(line: Line, chart: Chart, x: float, y: float, length: float) -> Iterator[str]:
    """Yield one bar, or two where the kernel's share of the CPU is known."""
    colour = "ours" if line["rival"] == "dsbalance" else "theirs"
    first = length
    if chart.key == "cpu_us":
        user, system = line["user_us"]["median"], line["system_us"]["median"]
        first = length * user / (user + system)
    yield box(colour, x, y, first)
    if first < length:
        yield box(f"{colour} kernel", x + first, y, length - first)


def box(style: str, x: float, y: float, width: float) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="12"/>'


def number(value: float) -> str:
    """Return a number with three digits."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"


def text(words: str, x: float, y: float, style: str, anchor: str = "start") -> str:
    """Return a line of text."""
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}"'
    return f'<text class="{style}" {place}>{escape(words)}</text>'
