"""A page that is being written: HTML that stays, and holes for what changes. No I/O.

    hole                  in the page                         its script puts the next value there
    of an element         <span data-l>12</span>              as its text
    of an attribute       <tr data-l="data-m" data-m="up">    as the attribute that data-l names

Holes have no names: they are known by their order, in the page as in what the script is sent. Two
pages with the same HTML around the holes differ in the values alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dsbalance.page_parts import CURVE_HEIGHT, CURVE_WIDTH, path

_PICTURE = (
    f'<svg viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" preserveAspectRatio="none"'
    ' aria-hidden="true"><path data-l="d" d="'
)


class Sheet:
    """A page that is being written.

    What goes into a hole is plain text, escaped when the page is made: the script gets it as it is.
    Whatever else is not ours to choose has to be escaped before it is put here.

    Attributes:
        values: What is in the holes, in their order.
    """

    __slots__ = ("_around", "_open", "values")

    def __init__(self) -> None:
        self.values: list[str] = []
        # The HTML before each hole, and what was put behind the last one.
        self._around: list[str] = []
        self._open: list[str] = []

    def put(self, *html: str) -> None:
        """Write HTML."""
        self._open += html

    def hole(self, value: str) -> None:
        """Leave a hole with a value in it."""
        self._around.append("".join(self._open))
        self._open = []
        self.values.append(value)

    def around(self) -> list[str]:
        """Return the HTML around the holes: one piece more than there are holes."""
        return [*self._around, "".join(self._open)]

    def html(self) -> str:
        """Return the page."""
        # Most values are numbers, and to escape takes longer than all else: so all at once.
        values = escape("\0".join(value.replace("\0", "") for value in self.values)).split("\0")
        *pieces, last = self.around()
        woven = (part for pair in zip(pieces, values, strict=False) for part in pair)
        return "".join((*woven, last))

    # -- elements that are holes

    def text(self, value: str, tag: str = "span") -> None:
        """Write an element whose text changes."""
        self.put(f"<{tag} data-l>")
        self.hole(value)
        self.put(f"</{tag}>")

    def mark(self, mark: str, tag: str = "i", more: str = "") -> None:
        """Begin an element that looks like a state; ``more``: its other attributes."""
        self.put(f'<{tag}{more} data-l="data-m" data-m="')
        self.hole(mark)
        self.put('">')

    def cell(self, value: str, label: str = "", *, is_first: bool = False) -> None:
        """Write a cell with a number.

        Args:
            value: The number.
            label: What stands before it where there is no room for a table.
            is_first: Whether a group of columns begins with it.
        """
        self.put('<td class="g"' if is_first else "<td", f' data-k="{label}" data-l>')
        self.hole(value)
        self.put("</td>")

    def curve(self, values: Sequence[float], top: float, label: str, legend: str) -> None:
        """Write a cell with a curve.

        Args:
            values: The oldest first.
            top: The value that is as high as the picture.
            label: As of :meth:`cell`.
            legend: The newest value, in words.
        """
        self.put(f'<td class="c" data-k="{label}">', _PICTURE)
        self.hole(path(values, top))
        self.put('"/></svg>')
        self.text(legend)
        self.put("</td>")
