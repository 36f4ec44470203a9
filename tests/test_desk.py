"""The desk at work: real clients of a real proxy, who look at it and steer it."""

from __future__ import annotations

import itertools
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any, cast

import pytest

import dsbalance.history
from actors import Peer, Stub, connect, until
from dsbalance import Backend, Bind, Config, Frontend, Proxy, Server
from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.desk import Office, World
from dsbalance.http_answers import Answer, error
from dsbalance.http_options import Deny, HttpOptions
from dsbalance.loop import Loop
from dsbalance.model import StickRule, Table
from dsbalance.stats_options import StatsPage
from dsbalance.steering import Steering

USERS = (("anna", "one"), ("bert", "two"))
BERT = f"Authorization: Basic {b64encode(b'bert:two').decode()}"
Opened = Callable[..., "Desk"]


class Desk:
    """A proxy with a page, and a client of it.

    Args:
        stats: What the page is configured with; its address is ``/st``, if nothing else is said.
        http: What else its frontend is configured with.
    """

    def __init__(self, http: dict[str, Any] | None = None, **stats: Any) -> None:
        self.stub = Stub()
        page = StatsPage(**({"uri": "/st"} | stats))
        doors = (Bind(host="127.0.0.1", port=0),)
        servers = tuple(
            Server(name=name, host="127.0.0.1", port=self.stub.port) for name in ("a", "b")
        )
        config = Config(
            frontends=(
                Frontend(name="tcp", binds=doors, backend="be"),
                Frontend(
                    name="web",
                    binds=doors,
                    backend="web",
                    http=HttpOptions(**({"stats": page} | (http or {}))),
                ),
            ),
            backends=(
                Backend(
                    name="be",
                    servers=servers,
                    table=Table(size=100, expire=600.0),
                    stick=(StickRule(),),
                ),
                Backend(name="web", servers=servers, http=HttpOptions()),
            ),
        )
        self.proxy = Proxy(config)
        self.proxy.start()
        self.address = self.proxy.addresses("web")[0]

    def ask(self, target: str = "", *lines: str, method: str = "GET", body: bytes = b"") -> Got:
        """Ask for ``/st`` with ``target`` behind it."""
        place = target if target.startswith("http") else f"/st{target}"
        host = () if any(line.startswith("Host:") for line in lines) else (f"Host: {self.host}",)
        length = (f"Content-Length: {len(body)}",) if method == "POST" else ()
        head = "\r\n".join((f"{method} {place} HTTP/1.1", *host, *lines, *length, "", ""))
        with connect(self.address) as client:
            client.say(head.encode() + body)
            return Got(client, has_body=method != "HEAD")

    def post(self, body: str, *lines: str, target: str = "") -> Got:
        """Send a form."""
        return self.ask(target, *lines, method="POST", body=body.encode())

    def token(self, *lines: str) -> str:
        """Return what stands in the forms."""
        found = re.search(
            r'name="token" value="(\w+)"', self.ask(";ask=drain;on=be/a", *lines).body
        )
        assert found
        return found[1]

    @property
    def host(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def origin(self) -> str:
        return f"Origin: http://{self.host}"

    def admin(self) -> list[str]:
        """Return what was asked of each server of ``be``."""
        (backend, _) = self.proxy.snapshot().backends
        return [server.admin for server in backend.servers]

    def close(self) -> None:
        self.proxy.stop()
        self.proxy.join()
        self.stub.close()


class Got:
    """A response."""

    def __init__(self, client: Peer, *, has_body: bool = True) -> None:
        self.head = client.take_head().decode()
        self.status = int(self.head[9:12])
        length = int(self["content-length"] or 0)
        self.body = client.take(length).decode() if has_body else ""

    def __getitem__(self, name: str) -> str | None:
        found = re.search(rf"(?im)^{name}: (.*?)\r$", self.head)
        return found[1] if found else None


@pytest.fixture
def opened() -> Iterator[Opened]:
    desks: list[Desk] = []

    def make(http: dict[str, Any] | None = None, **stats: Any) -> Desk:
        desks.append(Desk(http, **stats))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


# -- what is answered here


@pytest.mark.parametrize("target", ["", "x", "/foo", ";up", "?st=DONE"])
def test_all_that_begins_with_the_uri_is_the_page(opened: Opened, target: str) -> None:
    got = opened().ask(target)
    assert got.status == 200
    assert got["content-type"] == "text/html; charset=utf-8"
    assert "<title>Both servers serve" in got.body
    assert "</html>" in got.body


def test_the_host_may_be_in_the_target(opened: Opened) -> None:
    desk = opened()
    assert desk.ask(f"http://{desk.host}/st").status == 200


@pytest.mark.parametrize("method", ["PUT", "OPTIONS"])
def test_other_methods_and_targets_go_to_the_servers(opened: Opened, method: str) -> None:
    desk = opened()
    for line in (f"{method} /st", "GET /other", "GET /s"):
        with connect(desk.address) as client:
            client.say(f"{line} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            with desk.stub.accept() as server:
                server.hear_request(line.encode())


def test_head_is_answered_without_a_body(opened: Opened) -> None:
    got = opened().ask(method="HEAD")
    assert got.status == 200
    assert int(got["content-length"] or 0) > 10_000


def test_a_rule_comes_before_the_page(opened: Opened) -> None:
    assert opened(http={"request_rules": (Deny(status=403),)}).ask().status == 403


def test_a_page_loads_nothing_and_lets_nothing_in(opened: Opened) -> None:
    got = opened().ask()
    policy = got["content-security-policy"] or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert got["cache-control"] == "no-store"
    assert got["x-content-type-options"] == "nosniff"
    assert got["referrer-policy"] == "same-origin"
    assert not re.search(r"(src|href)=\"(https?:)?//", got.body)
    assert "style=" not in got.body


def test_the_page_of_a_backend_is_behind_that_of_the_frontend(opened: Opened) -> None:
    near, far = StatsPage(uri="/st/near"), StatsPage(uri="/st", users=USERS)
    page = HttpOptions(stats=far)
    front = Frontend(
        name="web",
        binds=(Bind(host="127.0.0.1", port=0),),
        backend="be",
        http=HttpOptions(stats=near),
    )
    with Proxy(Config(frontends=(front,), backends=(Backend(name="be", http=page),))) as proxy:
        for target, status in ((b"/st/near", 200), (b"/st/far", 401)):
            with connect(proxy.addresses("web")[0]) as client:
                client.say(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
                client.hear_answer(status)


# -- what is shown


def test_statistics_are_given_as_haproxys_tools_read_them(opened: Opened) -> None:
    desk = opened()
    csv = desk.ask(";csv")
    assert csv["content-type"] == "text/plain; charset=utf-8"
    assert csv.body.startswith("# pxname,svname,")
    rows = [line.split(",")[:2] for line in csv.body.splitlines()[1:] if line]
    assert ["be", "a"] in rows
    assert ["web", "FRONTEND"] in rows
    assert desk.ask(";typed").body.startswith("F.")
    answer = desk.ask(";json")
    assert answer["content-type"] == "application/json"
    assert json.loads(answer.body)


def test_a_scope_in_the_target_leaves_some_sections(opened: Opened) -> None:
    csv = opened().ask("?;csv;scope=WE").body
    assert {line.split(",")[0] for line in csv.splitlines()[1:] if line} == {"web"}


def test_a_configured_scope_holds_for_everything(opened: Opened) -> None:
    desk = opened(scope=(".",), admin=True)
    for target in (";csv", "", "/metrics"):
        body = desk.ask(target).body
        assert "web" in body
        assert '"tcp"' not in body
        assert 'id="b1"' not in body
    assert desk.ask(";ask=drain;on=be/a").status == 404
    got = desk.post(f"s=a&b=be&action=drain&token={scoped_token(desk)}", desk.origin)
    assert got["location"] == "/st;st=ERRP"
    assert desk.admin() == ["ready", "ready"]


def scoped_token(desk: Desk) -> str:
    found = re.search(r'name="token" value="(\w+)"', desk.ask(";ask=drain;on=web/a").body)
    assert found
    return found[1]


def test_metrics_are_given_in_the_format_that_is_asked_for(opened: Opened) -> None:
    desk = opened(http={"metrics": ("/metrics", "/m2")}, users=USERS)
    with connect(desk.address) as client:
        client.say(b"GET /m2?scope=server HTTP/1.1\r\nHost: h\r\n\r\n")
        got = Got(client)
    assert got["content-type"] == "text/plain; version=0.0.4"
    assert "haproxy_server_" in got.body
    assert "haproxy_frontend_" not in got.body
    below = desk.ask("/metrics?scope=backend", BERT, "Accept: application/openmetrics-text")
    assert (below["content-type"] or "").startswith("application/openmetrics-text")
    assert below.body.endswith("# EOF\n")
    assert "haproxy_server_" not in below.body
    assert desk.ask("/metrics?scope=nonsense", BERT).status == 400
    assert desk.ask("/metrics").status == 401


def test_what_identifies_us_is_told_where_that_is_wanted(opened: Opened) -> None:
    plain = opened(hides_version=True).ask().body
    told = opened(node="lb-7", description="floor 3", shows_legends=True).ask().body
    assert "lb-7 \u00b7 floor 3 \u00b7 " in told
    assert "<p></p>" in plain
    assert "127.0.0.1:" in told.partition("<main>")[2]
    assert "127.0.0.1" not in plain.partition("<main>")[2]


def test_the_page_is_loaded_anew_unless_it_is_to_stay(opened: Opened) -> None:
    desk = opened(refresh=7.0)
    assert 'content="7"' in desk.ask().body
    assert 'data-live="/st;live"' in desk.ask().body
    assert "refresh" not in desk.ask(";norefresh").body.partition("<style>")[0]
    assert "data-live" not in desk.ask(";norefresh").body.partition("<main>")[0].rpartition("<")[0]


def test_what_was_made_lately_is_good_for_everybody_until_something_changes(opened: Opened) -> None:
    desk = opened(admin=True, users=USERS)
    before = desk.ask(";live", BERT).body
    got = desk.post("s=a&b=be&action=drain", BERT)
    assert got["location"] == "/st;st=DONE"
    assert desk.ask(";live", BERT).body != before


@pytest.mark.parametrize(("took", "kept"), [(0.001, 1.0), (0.04, 1.0), (0.2, 4.0)])
def test_what_takes_long_to_make_is_made_less_often(
    monkeypatch: pytest.MonkeyPatch, took: float, kept: float
) -> None:
    clock = Clock()
    office = Office(World(cast(Loop, clock), cast(Steering, None), lambda *_: ()))
    monkeypatch.setattr(time, "perf_counter", lambda: clock.spent)
    made = []

    def make() -> Answer:
        clock.spent += took
        made.append(clock.now)
        return error(200)

    for step in range(100):
        clock.now = step / 10
        office.keep("key", make)
    gaps = [round(after - before, 3) for before, after in itertools.pairwise(made)]
    assert set(gaps) == {kept}


class Clock:
    """A loop's time, and what was spent in it."""

    now = spent = 0.0


@pytest.mark.parametrize(
    "target", [";csv;st={}", ";csv;find={}", ";json;norefresh={}", "/metrics?{}"]
)
def test_words_that_make_no_difference_are_no_work(opened: Opened, target: str) -> None:
    desk = opened()
    office = desk.proxy._engine._office
    assert office is not None
    desk.ask(target.format("x0"))
    before = len(office._kept)
    for number in range(1, 10):
        desk.ask(target.format(f"x{number}"))
    assert len(office._kept) == before


def test_many_names_of_sections_do_not_fill_the_memory(opened: Opened) -> None:
    desk = opened()
    for number in range(100):
        assert desk.ask(f";scope={number}").status == 200


# -- where is a client?


def test_a_client_that_is_remembered_is_found_with_the_reason(opened: Opened) -> None:
    desk = opened()
    with connect(desk.proxy.addresses("tcp")[0]), desk.stub.accept():
        until(lambda: bool(desk.proxy.stick_entries("be")))
        got = desk.ask(";find=127.0.0.1")
        mapped = desk.ask(";find=::ffff:127.0.0.1")
    for body in (got.body, mapped.body):
        assert "as be remembers" in body
        assert "1 open now" in body
        assert "A stick entry says a, and so it goes there." in body
        assert "A new connection to web" in body


def test_one_that_is_not_is_told_where_it_would_go(opened: Opened) -> None:
    body = opened().ask(";find=2001:db8::1").body
    assert "No stick table remembers it." in body
    assert "No stick entry says where it goes." in body


def test_what_is_no_address_is_said_to_be_none(opened: Opened) -> None:
    body = opened().ask(";find=%3Cscript%3Ealert(1)%3C/script%3E").body
    assert "That is no IP address." in body
    assert "<script>alert" not in body


def test_the_search_leads_to_a_target_that_can_be_kept(opened: Opened) -> None:
    desk = opened()
    got = desk.post("find=+::1+", "Origin: http://evil", target=";scope=be")
    assert got.status == 303
    assert got["location"] == "/st;scope=be;find=::1"


# -- health


def test_health_is_told_without_a_password_and_without_names(opened: Opened) -> None:
    desk = opened(users=USERS)
    assert (desk.ask("/health").status, desk.ask("/health").body) == (200, "ok\n")
    for server in ("be/a", "be/b"):
        desk.proxy.set_health(server, "down")
    until(lambda: desk.ask("/health").status == 503)
    assert desk.ask("/health").body == "no server in 1 of 2 backends\n"
    assert desk.ask("/health", BERT).body == "no server: be\n"


def test_who_is_about_to_stop_is_not_healthy(opened: Opened) -> None:
    desk = opened()
    with connect(desk.proxy.addresses("tcp")[0]), desk.stub.accept():
        with connect(desk.address) as client:
            # Half of a request keeps the connection open.
            client.say(b"GET /st/health HTTP/1.1\r\n")
            until(lambda: desk.proxy.snapshot().frontends[1].current == 1)
            desk.proxy.soft_stop()
            until(lambda: desk.proxy.snapshot().process.is_stopping)
            client.say(b"Host: h\r\n\r\n")
            got = Got(client)
    assert (got.status, got.body) == (503, "stopping\n")


# -- who may see it


@pytest.mark.parametrize("target", ["", ";csv", ";json", ";live", "/metrics", ";ask=drain;on=be/a"])
def test_nothing_but_the_health_is_shown_without_a_password(opened: Opened, target: str) -> None:
    desk = opened(users=USERS, realm='The "R\\ealm"')
    got = desk.ask(target)
    assert got.status == 401
    assert got["www-authenticate"] == 'Basic realm="The \\"R\\\\ealm\\""'
    assert "be" not in got.body.partition("<body>")[2].replace("needed", "").split()
    wrong = f"Authorization: Basic {b64encode(b'bert:one').decode()}"
    assert desk.ask(target, wrong).status == 401


def test_each_user_gets_in(opened: Opened) -> None:
    desk = opened(users=USERS)
    assert desk.ask("", BERT).status == 200
    assert desk.ask("", f"Authorization: basic {b64encode(b'anna:one').decode()}").status == 200


# -- who may change something

DRAIN = "s=a&b=be&action=drain"


@pytest.mark.parametrize("stats", [{}, {"admin": False}, {"users": USERS}])
def test_who_is_no_admin_changes_nothing_and_sees_no_buttons(
    opened: Opened, stats: dict[str, Any]
) -> None:
    desk = opened(**stats)
    assert "data-ask" not in desk.ask("", BERT).body.partition("<script>")[0]
    assert desk.ask(";ask=drain;on=be/a", BERT).status == 403
    got = desk.post(DRAIN, BERT)
    assert (got.status, got["location"]) == (303, "/st;st=DENY")
    assert desk.admin() == ["ready", "ready"]


@pytest.mark.parametrize(("source", "status"), [("127.0.0.0/8", 200), ("10.0.0.0/8", 403)])
def test_an_admin_may_be_whoever_comes_from_somewhere(
    opened: Opened, source: str, status: int
) -> None:
    desk = opened(admin=from_network(source))
    assert desk.ask(";ask=drain;on=be/a").status == status


def from_network(source: str) -> Condition:
    look = Look(fetch=Fetch.SRC, networks=(ip_network(source),))
    return Condition(alternatives=((Term(tests=(look,)),),))


def test_a_button_asks_first_and_its_form_does_it(opened: Opened) -> None:
    desk = opened(admin=True)
    assert "/st;ask=drain;on=be/a" in desk.ask().body
    page = desk.ask(";ask=drain;on=be/a").body
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    body = "&".join(f"{name}={value.replace('#', '%23')}" for name, value in fields.items())
    got = desk.post(body, desk.origin, "Sec-Fetch-Site: same-origin")
    assert (got.status, got["location"]) == (303, "/st;st=DONE")
    assert desk.admin() == ["drain", "ready"]
    assert "Done." in desk.ask(";st=DONE").body


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        (DRAIN, ()),
        (f"{DRAIN}&token=", ()),
        (f"{DRAIN}&token=00ff", ()),
        (f"{DRAIN}&token=TOKEN", ("Origin: http://evil",)),
        (f"{DRAIN}&token=TOKEN", ("Origin: null",)),
        (f"{DRAIN}&token=TOKEN", ("Referer: http://evil/",)),
        (f"{DRAIN}&token=TOKEN", ("ORIGIN", "Sec-Fetch-Site: cross-site")),
        (f"{DRAIN}&token=TOKEN", ("Cookie: a=b",)),
        (f"{DRAIN}&token=00ff", ("ORIGIN",)),
        (f"{DRAIN}&token=TOKEN", ("Host: rebound.evil", "Origin: http://rebound.evil")),
    ],
)
def test_a_form_that_is_not_ours_is_refused_and_changes_nothing(
    opened: Opened, form: str, lines: tuple[str, ...]
) -> None:
    desk = opened(admin=True)
    form = form.replace("TOKEN", desk.token())
    got = desk.post(form, *(desk.origin if line == "ORIGIN" else line for line in lines))
    assert got.status == 403
    assert desk.admin() == ["ready", "ready"]


def test_the_token_of_another_user_or_another_page_is_none(opened: Opened) -> None:
    desk = opened(admin=True, users=USERS)
    anna = f"Authorization: Basic {b64encode(b'anna:one').decode()}"
    form = f"{DRAIN}&token={desk.token(anna)}"
    assert desk.post(form, BERT, desk.origin).status == 403
    assert desk.post(form, anna, desk.origin).status == 303


# What HAProxy's scripts send; observed on HAProxy 2.6.12.
@pytest.mark.parametrize(
    ("form", "code", "admin"),
    [
        ("s=a&action=drain&b=be", "DONE", ["drain", "ready"]),
        ("s=a&action=maint&b=%23IID", "DONE", ["maint", "ready"]),
        ("s=a&s=b&action=maint&b=be", "DONE", ["maint", "maint"]),
        ("s=a&s=x&action=drain&b=be", "PART", ["drain", "ready"]),
        ("s=a&action=drain&b=%2399", "ERRP", ["ready", "ready"]),
        ("s=a&action=drain&b=none", "ERRP", ["ready", "ready"]),
        ("s=a&action=explode&b=be", "ERRP", ["ready", "ready"]),
        ("s=x&action=drain&b=be", "ERRP", ["ready", "ready"]),
        ("s=a", "NONE", ["ready", "ready"]),
        ("", "NONE", ["ready", "ready"]),
    ],
)
def test_a_program_with_a_password_steers_as_it_does_haproxy(
    opened: Opened, form: str, code: str, admin: list[str]
) -> None:
    desk = opened(admin=True, users=USERS)
    number = desk.proxy.snapshot().backends[0].id
    got = desk.post(form.replace("IID", str(number)), BERT)
    assert (got.status, got["location"]) == (303, f"/st;st={code}")
    assert desk.admin() == admin


def test_health_checks_and_sessions_are_steered_too(opened: Opened) -> None:
    desk = opened(admin=True, users=USERS)
    for action, status in (("hdown", "DOWN"), ("hrunn", "no check"), ("hnolb", "NOLB")):
        assert desk.post(f"s=a&b=be&action={action}", BERT)["location"] == "/st;st=DONE"
        until(lambda: desk.proxy.snapshot().backends[0].servers[0].status == status)  # noqa: B023
    for action in ("ready", "dhlth", "ehlth"):
        assert desk.post(f"s=b&b=be&action={action}", BERT).status == 303
    with connect(desk.proxy.addresses("tcp")[0]) as client, desk.stub.accept():
        until(lambda: desk.proxy.snapshot().backends[0].current == 1)
        for name in ("a", "b"):
            desk.post(f"s={name}&b=be&action=shutdown", BERT)
        client.hear_gone()


def test_the_view_is_the_same_behind_a_form(opened: Opened) -> None:
    desk = opened(admin=True, users=USERS)
    got = desk.post(DRAIN, BERT, target=";norefresh;csv;scope=be")
    assert got["location"] == "/st;st=DONE;norefresh?scope=be"


def test_there_is_no_question_about_nothing(opened: Opened) -> None:
    desk = opened(admin=True)
    for words in (";ask=drain;on=be/zz", ";ask=explode;on=be/a", ";ask"):
        assert desk.ask(words).status in (200, 404)
    assert desk.ask(";ask=explode;on=be/a").status == 404


# -- what it costs others


def test_a_viewer_that_reads_nothing_holds_nobody_up(opened: Opened) -> None:
    desk = opened()
    with connect(desk.address) as lazy:
        lazy.say(b"GET /st HTTP/1.1\r\nHost: h\r\n\r\n" * 200)
        assert desk.ask().status == 200
        with connect(desk.proxy.addresses("tcp")[0]) as client, desk.stub.accept() as server:
            client.say(b"hello")
            server.hear(b"hello")


def test_a_form_that_is_too_long_is_refused(opened: Opened) -> None:
    desk = opened(admin=True, users=USERS)
    assert desk.post(f"{DRAIN}&x={'y' * 20_000}", BERT).status == 413
    assert desk.admin() == ["ready", "ready"]


def test_curves_are_drawn_while_the_proxy_runs(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dsbalance.history, "INTERVAL", 0.1)
    desk = opened()
    until(lambda: len(re.findall(r' d="M1[01]\d', desk.ask().body)) >= 2)
