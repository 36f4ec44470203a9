"""The words that need no code are none that the reader uses, and give their reasons."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import read
from dsbalance.haproxy.idle_words import IDLE_BIND_WORDS, IDLE_PROXY_WORDS, IDLE_SERVER_WORDS
from dsbalance.haproxy.keywords import Keyword, Verdict, Word
from dsbalance.haproxy.proxy_words import PROXY_WORDS
from dsbalance.haproxy.server_words import BIND_WORDS, SERVER_WORDS

LINES = [
    (IDLE_BIND_WORDS, BIND_WORDS, "listen a\nbind :1 {}\n"),
    (IDLE_SERVER_WORDS, SERVER_WORDS, "backend a\nserver s 10.0.0.1 {}\n"),
]


@pytest.mark.parametrize(
    ("idle", "rows"), [*(line[:2] for line in LINES), (IDLE_PROXY_WORDS, PROXY_WORDS)]
)
def test_no_idle_word_is_a_used_one(
    idle: Mapping[str, Word | Keyword], rows: Mapping[str, Word | Keyword]
) -> None:
    assert {word: rows[word] for word in idle} == idle
    assert not [word for word, row in idle.items() if row.verdict is Verdict.USED]


@pytest.mark.parametrize(("idle", "text"), [(idle, text) for idle, _, text in LINES])
def test_an_idle_word_takes_its_arguments_with_it(idle: Mapping[str, Word], text: str) -> None:
    for word, row in idle.items():
        said = " ".join((word, *["x"] * row.arguments))
        if row.verdict is Verdict.REFUSED:
            with pytest.raises(ConfigError) as caught:
                read([("x.cfg", text.format(said))])
            (problem,) = caught.value.problems
            assert problem.message.endswith(f"{word}: refused: {row.reason}")
        else:
            notices = read([("x.cfg", text.format(said))]).notices
            assert any(n.message.startswith(f"{word} on a ") and n.line == 2 for n in notices), word
