"""The relay: two streams of bytes, and who has gone how."""

from __future__ import annotations


class Relay:
    """Two ends, what each has said, and what the one in the middle has come to know of them.

    An end is *silent* when all that it will ever say has been passed on; it is *gone* when it has
    reset. From these two alone follows what the other one has to be told, and when all is over.
    """

    ends = ("client", "server")

    def __init__(self) -> None:
        self.said = {end: bytearray() for end in self.ends}
        self.heard = {end: bytearray() for end in self.ends}
        self.silent: set[str] = set()
        self.gone: set[str] = set()

    @staticmethod
    def other(end: str) -> str:
        return "server" if end == "client" else "client"

    def is_heard(self, end: str) -> bool:
        """Whether it is still worth while to listen to an end."""
        return end not in self.silent and self.other(end) not in self.gone

    def possible(self) -> list[tuple[str, str]]:
        """What may be learned next of whom: an end, a reset, or that it takes nothing any more."""
        found = []
        for end in self.ends:
            if self.is_heard(end):
                found += [(end, "ended"), (end, "reset"), (end, "refused")]
            elif end not in self.gone:
                found.append((end, "reset"))
        return [] if self.is_over() else found

    def learn(self, source: str, event: str) -> None:
        """Learn by listening to ``source``, or, for "refused", by passing on what it said."""
        if event == "refused":
            self.gone.add(self.other(source))
            return
        self.silent.add(source)
        if event == "reset":
            self.gone.add(source)

    def pass_on(self, source: str, count: int) -> None:
        """Let the other end hear the next bytes."""
        heard = self.heard[self.other(source)]
        heard += self.said[source][len(heard) : len(heard) + count]

    def unheard(self, source: str) -> int:
        return len(self.said[source]) - len(self.heard[self.other(source)])

    def due(self, end: str) -> str:
        """What an end that is there has to have been told by now: nothing, FIN or RST."""
        other = self.other(end)
        if other not in self.silent:
            return ""
        return "RST" if other in self.gone else "FIN"

    def is_over(self) -> bool:
        """Whether nobody is left who could say, or be told, any more."""
        dues = [self.due(end) for end in self.ends]
        return self.gone == set(self.ends) or "RST" in dues or dues == ["FIN", "FIN"]
