"""Who may see the page, and who may change something. No I/O; the secret is given.

To see it takes one of the users of ``stats auth``, if there are any. To change something takes
more, for a browser sends a password for whatever page asks it to:

    what the request says                   from a form of ours      from a program
    Origin, or else Referer                 is the host that we are  is not there
    Sec-Fetch-Site, if it is there          same-origin              is not there
    Cookie                                  whatever                 is not there
    token                                   ours, for this user      ours, if there is one
    password                                if there are users       of one of the users

A page of somebody else's may make its own name mean our address, and is of the same origin then
(DNS rebinding). A password keeps it out, for the browser has none for that name. Where none is
asked for, a change is taken only under an address, or as ``localhost``.

All comparisons of secrets take the same time, whatever is given.

Source: RFC 7617; RFC 6454, 7; the Fetch standard on ``Origin``; W3C Fetch Metadata.
"""

from __future__ import annotations

import binascii
import hmac
import ipaddress
import re
from base64 import b64decode
from collections.abc import Iterable

from dsbalance.http1 import RequestHead

_BROWSERS = (b"origin", b"referer", b"cookie", b"sec-fetch-site", b"sec-fetch-mode")
_ORIGIN = re.compile(rb"(https?)://([^/?#@\s]+)", re.I)
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


class Credentials:
    """The users of a page.

    Args:
        users: Names and passwords; none: everybody may see it.
        secret: Of this process; what is compared is hashed with it.

    Attributes:
        is_open: Whether no password is asked for.
    """

    __slots__ = ("_known", "_secret", "is_open")

    def __init__(self, users: Iterable[tuple[str, str]], secret: bytes) -> None:
        self._secret = secret
        self._known = [(name, self._hash(f"{name}:{word}".encode())) for name, word in users]
        self.is_open = not self._known

    def find(self, request: RequestHead) -> str | None:
        """Return the user who asks, ``""`` if everybody may; None: it is none of them."""
        if self.is_open:
            return ""
        given = self._hash(_given(request))
        # All of them, also behind the right one: how long it takes says nothing.
        fitting = [name for name, known in self._known if hmac.compare_digest(given, known)]
        return fitting[0] if fitting else None

    def _hash(self, words: bytes) -> bytes:
        return hmac.digest(self._secret, b"user\0" + words, "sha256")


class Seal:
    """The tokens of the forms.

    Args:
        secret: Of this process.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def token(self, user: str, page: str) -> str:
        """Return what stands in the forms of a user's page."""
        words = b"form\0%b\0%b" % (page.encode(), user.encode())
        return hmac.new(self._secret, words, "sha256").hexdigest()

    def fits(self, token: str, user: str, page: str) -> bool:
        """Return whether a token is that of a user's page."""
        return hmac.compare_digest(token.encode(), self.token(user, page).encode())


def objection(request: RequestHead, user: str, *, has_token: bool, is_token_ours: bool) -> str:
    """Return why a change is not taken, in words; empty: it is.

    Args:
        request: Which wants it, and was let in.
        user: Who asks; empty: no password is asked for.
        has_token: Whether the form has a token.
        is_token_ours: Whether that is the one of this user's page.
    """
    if not user and not _is_address(request.host):
        return (
            "Without stats auth changes are taken only where the host is given as an address, "
            "or as localhost."
        )
    is_browser = any(request.has(name) for name in _BROWSERS)
    if is_browser and not _is_ours(request):
        return "The form was sent by another site."
    if (has_token or is_browser or not user) and not is_token_ours:
        return "The form is not of this page, or of one from before the last start. Load it again."
    return ""


def _given(request: RequestHead) -> bytes:
    """Return ``user:password`` of a request; empty if there is none, or more than one."""
    values = request.values(b"authorization")
    scheme, _, code = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
    if scheme.lower() != b"basic":
        return b""
    try:
        return b64decode(code.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_ours(request: RequestHead) -> bool:
    """Return whether a browser says that the form was on a page of ours."""
    sites = request.values(b"sec-fetch-site")
    if any(site != b"same-origin" for site in sites):
        return False
    origins = request.values(b"origin") or request.values(b"referer")
    if len(origins) != 1 or not request.host:
        return False
    match = _ORIGIN.match(origins[0])
    if match is None:
        return False
    port = _DEFAULT_PORTS[match[1].lower()]
    return match[2].lower().removesuffix(port) == request.host.lower().removesuffix(port)


def _is_address(host: bytes | None) -> bool:
    """Return whether a Host is an IP address or ``localhost``, with a port or without."""
    written = (host or b"").decode("latin-1").lower()
    match = re.fullmatch(r"\[(.+)\](?::\d*)?|([^:]*)(?::\d*)?", written)
    if match is None:
        return False
    name = match[1] or match[2]
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
