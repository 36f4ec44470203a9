"""Which words of haproxy.cfg are used, which have no effect here, and which are refused. No I/O.

    verdict      what the reader does
    used         its arguments are read
    no effect    it is listed once among the notices, its arguments are skipped
    refused      it is a problem, with the reason and what would be accepted instead
    (no row)     it is a problem: unknown keyword, and the nearest one that is known

A word has no effect only if no decision and no byte changes without it: limits of HAProxy's own
process, hints to the kernel. What HAProxy would do and this version does not is refused, so
that a file that is read behaves as it says. A word of ``mode http`` is used, or refused, only in a
section of that mode; in another it has no effect, and a notice says so.

The rows of this file are those of ``global`` and of whole sections, ``idle_words`` has those of
proxies and of their lines. The words that are used have theirs in ``proxy_words``, ``http_words``,
``access_words``, ``stats_words``, ``log_words`` and ``server_words``.

Source: the keywords that HAProxy 2.6.12 lists (``-dKall``) or takes; its manual, 3, 4.1 and 5.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dsbalance.haproxy.statement import Arguments


class Verdict(enum.Enum):
    """What becomes of a keyword."""

    USED = "used"
    NO_EFFECT = "accepted and without effect here"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyword:
    """A row: one keyword of a section.

    Attributes:
        sections: Where it may stand: letters of ``DFLB`` for defaults, frontend, listen, backend;
            ``G`` for global.
        verdict: What becomes of it.
        reason: Why it is refused, and what to write instead.
        is_option: Whether ``no`` may stand before it.
        repeats: Whether a section may have it more than once, each adding to the others.
        is_http: Whether it is for ``mode http`` alone.
        parse: Called with the draft of the section and the arguments of a word that is used.
    """

    sections: str
    verdict: Verdict = Verdict.USED
    reason: str = ""
    is_option: bool = False
    repeats: bool = False
    is_http: bool = False
    parse: Callable[[Any, Arguments], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A row: one word of a ``bind`` or ``server`` line.

    Attributes:
        arguments: How many words belong to it.
        verdict: What becomes of it.
        reason: Why it is refused, and what to write instead.
        field: What it sets, of a word that is used.
        parse: Makes the value from the argument.
        value: The value, of a word without an argument.
    """

    arguments: int = 0
    verdict: Verdict = Verdict.USED
    reason: str = ""
    field: str = ""
    parse: Callable[[str], object] | None = None
    value: object = None


_REASONS = {
    "agent": "agent checks are not done by this version",
    "check": "checks are TCP connects here; write 'option tcp-check' and 'tcp-check connect'",
    "gone": "HAProxy 2.6 does not have it any more",
    "http": "HAProxy has it, this version does not",
    "if": "conditional blocks are not read by this version; write the lines that hold",
    "lack": "HAProxy has it, this version does not",
    "name": "a name is resolved once, at the start",
    "tls": "TLS passes through untouched, it is not decrypted here",
}


class _Row(NamedTuple):
    """A line of a table: a word, the middle column, and what the others say."""

    word: str
    middle: str
    verdict: Verdict
    reason: str
    is_http: bool


def _table(text: str) -> Iterator[_Row]:
    """Yield what each line of ``text`` says.

    Columns are parted by two spaces or more. The third one is ``none`` (no effect) or a key of
    the reasons; a fourth one says what to write instead.
    """
    for line in text.strip().splitlines():
        word, middle, key, *advice = re.split(r"\s{2,}", line.strip())
        if key == "none":
            yield _Row(word, middle, Verdict.NO_EFFECT, "", is_http=False)
        else:
            reason = "; ".join((_REASONS[key], *advice))
            yield _Row(word, middle, Verdict.REFUSED, reason, is_http=key == "http")


def keywords(text: str) -> dict[str, Keyword]:
    """Return the rows of a table of sections; a ``*`` after the sections marks an option."""
    return {
        row.word: Keyword(
            sections=row.middle.rstrip("*"),
            verdict=row.verdict,
            reason=row.reason,
            is_option=row.middle.endswith("*"),
            is_http=row.is_http,
        )
        for row in _table(text)
    }


def words(text: str) -> dict[str, Word]:
    """Return the rows of a table of ``bind`` or ``server`` words."""
    return {
        row.word: Word(arguments=int(row.middle), verdict=row.verdict, reason=row.reason)
        for row in _table(text)
    }


def families(rows: Mapping[str, object]) -> dict[str, list[str]]:
    """Return the first words of keywords that have two, each with its second words."""
    found: dict[str, list[str]] = {}
    for row in rows:
        first, space, second = row.partition(" ")
        if space:
            found.setdefault(first, []).append(second)
    return found


# The sections that are no proxies: their lines are passed over, or the section is refused.
OTHER_SECTIONS = keywords("""
    cache           -  none
    fcgi-app        -  none
    http-errors     -  none
    log-forward     -  lack
    mailers         -  none
    namespace_list  -  none
    peers           -  lack  stick tables are not shared with another process
    program         -  lack  start it by the service manager
    resolvers       -  none
    ring            -  none
    userlist        -  none
""")

PREPROCESSOR = keywords("""
    .alert    -  if
    .diag     -  if
    .elif     -  if
    .else     -  if
    .endif    -  if
    .if       -  if
    .notice   -  if
    .warning  -  if
""")

GLOBAL_WORDS = keywords("""
    51degrees-cache-size                        G  none
    51degrees-data-file                         G  none
    51degrees-property-name-list                G  none
    51degrees-property-separator                G  none
    busy-polling                                G*  none
    ca-base                                     G  none
    chroot                                      G  none
    close-spread-time                           G  none
    cluster-secret                              G  none
    cpu-map                                     G  none
    crt-base                                    G  none
    daemon                                      G  none
    default-path                                G  none
    deviceatlas-json-file                       G  none
    deviceatlas-log-level                       G  none
    deviceatlas-properties-cookie               G  none
    deviceatlas-separator                       G  none
    expose-experimental-directives              G  none
    external-check                              G  none
    fd-hard-limit                               G  none
    gid                                         G  none
    grace                                       G  lack  a drain starts at once
    group                                       G  none
    h1-accept-payload-with-any-method           G  none
    h1-case-adjust                              G  none
    h1-case-adjust-file                         G  none
    h2-workaround-bogus-websocket-clients       G  none
    httpclient.resolvers.id                     G  none
    httpclient.resolvers.prefer                 G  none
    httpclient.ssl.ca-file                      G  none
    httpclient.ssl.verify                       G  none
    insecure-fork-wanted                        G*  none
    insecure-setuid-wanted                      G  none
    issuers-chain-path                          G  none
    localpeer                                   G  none
    lua-load                                    G  lack  a policy in Python is the way to decide
    lua-load-per-thread                         G  lack  a policy in Python is the way to decide
    lua-prepend-path                            G  none
    master-worker                               G  none
    max-spread-checks                           G  none
    maxcompcpuusage                             G  none
    maxcomprate                                 G  none
    maxconnrate                                 G  lack
    maxpipes                                    G  none
    maxsessrate                                 G  lack
    maxsslconn                                  G  none
    maxsslrate                                  G  none
    maxzlibmem                                  G  none
    mworker-max-reloads                         G  none
    nbproc                                      G  gone
    nbthread                                    G  none
    no-memory-trimming                          G  none
    noepoll                                     G  none
    noevports                                   G  none
    nogetaddrinfo                               G  none
    nokqueue                                    G  none
    nopoll                                      G  none
    noreuseport                                 G  none
    nosplice                                    G  none
    numa-cpu-mapping                            G*  none
    pidfile                                     G  none
    pp2-never-send-local                        G  none
    presetenv                                   G  lack  set it in the environment of the process
    profiling.tasks                             G  none
    quiet                                       G  none
    resetenv                                    G  lack  set it in the environment of the process
    set-dumpable                                G*  none
    set-var                                     G  none
    set-var-fmt                                 G  none
    setenv                                      G  lack  set it in the environment of the process
    spread-checks                               G  none
    ssl-default-bind-ciphers                    G  none
    ssl-default-bind-ciphersuites               G  none
    ssl-default-bind-curves                     G  none
    ssl-default-bind-options                    G  none
    ssl-default-server-ciphers                  G  none
    ssl-default-server-ciphersuites             G  none
    ssl-default-server-options                  G  none
    ssl-dh-param-file                           G  none
    ssl-engine                                  G  none
    ssl-load-extra-del-ext                      G  none
    ssl-load-extra-files                        G  none
    ssl-mode-async                              G  none
    ssl-propquery                               G  none
    ssl-provider                                G  none
    ssl-provider-path                           G  none
    ssl-server-verify                           G  none
    ssl-skip-self-issued-ca                     G  none
    strict-limits                               G*  none
    thread-group                                G  none
    thread-groups                               G  none
    tune.buffers.limit                          G  none
    tune.buffers.reserve                        G  none
    tune.bufsize                                G  none
    tune.chksize                                G  none
    tune.comp.maxlevel                          G  none
    tune.fail-alloc                             G  none
    tune.fd.edge-triggered                      G  none
    tune.h2.header-table-size                   G  none
    tune.h2.initial-window-size                 G  none
    tune.h2.max-concurrent-streams              G  none
    tune.h2.max-frame-size                      G  none
    tune.http.cookielen                         G  none
    tune.http.logurilen                         G  none
    tune.http.maxhdr                            G  none
    tune.idle-pool.shared                       G  none
    tune.idletimer                              G  none
    tune.listener.multi-queue                   G  none
    tune.lua.forced-yield                       G  none
    tune.lua.maxmem                             G  none
    tune.lua.service-timeout                    G  none
    tune.lua.session-timeout                    G  none
    tune.lua.task-timeout                       G  none
    tune.maxaccept                              G  none
    tune.maxpollevents                          G  none
    tune.maxrewrite                             G  none
    tune.pattern.cache-size                     G  none
    tune.peers.max-updates-at-once              G  none
    tune.pipesize                               G  none
    tune.pool-high-fd-ratio                     G  none
    tune.pool-low-fd-ratio                      G  none
    tune.quic.frontend.conn-tx-buffers.limit    G  none
    tune.quic.frontend.max-idle-timeout         G  none
    tune.quic.frontend.max-streams-bidi         G  none
    tune.quic.retry-threshold                   G  none
    tune.rcvbuf.client                          G  none
    tune.rcvbuf.server                          G  none
    tune.recv_enough                            G  none
    tune.runqueue-depth                         G  none
    tune.sched.low-latency                      G  none
    tune.sndbuf.client                          G  none
    tune.sndbuf.server                          G  none
    tune.ssl.cachesize                          G  none
    tune.ssl.capture-buffer-size                G  none
    tune.ssl.capture-cipherlist-size            G  none
    tune.ssl.default-dh-param                   G  none
    tune.ssl.force-private-cache                G  none
    tune.ssl.hard-maxrecord                     G  none
    tune.ssl.keylog                             G  none
    tune.ssl.lifetime                           G  none
    tune.ssl.maxrecord                          G  none
    tune.ssl.ssl-ctx-cache-size                 G  none
    tune.vars.check-max-size                    G  none
    tune.vars.global-max-size                   G  none
    tune.vars.proc-max-size                     G  none
    tune.vars.reqres-max-size                   G  none
    tune.vars.sess-max-size                     G  none
    tune.vars.txn-max-size                      G  none
    tune.zlib.memlevel                          G  none
    tune.zlib.windowsize                        G  none
    uid                                         G  none
    ulimit-n                                    G  none
    unix-bind                                   G  none
    unsetenv                                    G  lack  set it in the environment of the process
    user                                        G  none
    wurfl-cache-size                            G  none
    wurfl-data-file                             G  none
    wurfl-information-list                      G  none
    wurfl-information-list-separator            G  none
    zero-warning                                G  none
""")
