"""A section starts from a copy of its defaults, and notes what it says of its own."""

from __future__ import annotations

import pytest

from dsbalance.door import BackendRule
from dsbalance.haproxy.sections import (
    Acl,
    GlobalSection,
    HttpSettings,
    HttpWord,
    Kind,
    PlacedFile,
    PlacedRoute,
    Rules,
    Section,
    Settings,
)
from dsbalance.haproxy.statement import Place
from dsbalance.http_options import Deny, Redirect
from dsbalance.model import Bind

ABOVE = Place("x.cfg", 2)
HERE = Place("x.cfg", 7)


def section(kind: Kind = Kind.LISTEN, settings: Settings | None = None) -> Section:
    return Section(kind, "a", Place("x.cfg", 5), settings or Settings())


@pytest.mark.parametrize(
    ("kind", "letter", "is_frontend", "is_backend"),
    [
        (Kind.DEFAULTS, "D", False, False),
        (Kind.FRONTEND, "F", True, False),
        (Kind.LISTEN, "L", True, True),
        (Kind.BACKEND, "B", False, True),
    ],
)
def test_a_section_has_the_sides_of_its_kind(
    kind: Kind, letter: str, is_frontend: bool, is_backend: bool
) -> None:
    made = section(kind)
    assert (made.kind.letter, made.is_frontend, made.is_backend) == (
        letter,
        is_frontend,
        is_backend,
    )
    assert str(made) == f"{kind} a"


def test_a_section_without_a_name_is_called_by_its_kind() -> None:
    assert str(Section(Kind.DEFAULTS, "", HERE, Settings())) == "defaults"


def test_what_is_inherited_is_a_copy() -> None:
    defaults = Settings(retries=7, has_tcp_check=True, check_ports=(1, None))
    copy = defaults.inherited()
    assert copy == defaults
    copy.retries = 8
    assert defaults.retries == 7


def test_check_rules_are_inherited_only_together_with_their_option() -> None:
    assert Settings(check_ports=(1,)).inherited().check_ports == ()


def test_a_word_of_mode_http_is_noted_where_the_section_has_it_first() -> None:
    defaults = section(Kind.DEFAULTS)
    defaults.says_http("redirect", ABOVE, "")
    defaults.says_http("cookie", ABOVE, "why")
    own = section(settings=defaults.settings.inherited())
    own.says_http("redirect", HERE, "")
    own.says_http("redirect", Place("x.cfg", 9), "")
    assert list(own.settings.http.words.values()) == [
        HttpWord("redirect", HERE, "", own.place),
        HttpWord("cookie", ABOVE, "why", defaults.place),
    ]
    assert defaults.settings.http.words["redirect"].place == ABOVE


def test_what_is_inherited_of_mode_http_is_changed_in_a_copy() -> None:
    defaults = section(Kind.DEFAULTS)
    inherited, added = PlacedFile("a", ABOVE), PlacedFile("b", HERE)
    defaults.own_http().error_files[503] = inherited
    assert defaults.own_http() is defaults.settings.http
    silent, own = (section(settings=defaults.settings.inherited()) for _ in range(2))
    own.own_http().error_files[400] = added
    own.own_http().is_on = True
    assert silent.settings.http is defaults.settings.http
    assert defaults.settings.http == HttpSettings(error_files={503: inherited})
    assert own.settings.http == HttpSettings(is_on=True, error_files={503: inherited, 400: added})
    assert section().settings.http == HttpSettings()


def test_rules_are_there_once_there_is_one() -> None:
    made = section()
    assert made.rules is None
    assert made.own_rules() is made.own_rules()
    assert made.rules is made.own_rules()


def test_rules_may_be_of_heads() -> None:
    made = [Rules() for _ in range(4)]
    made[0].routes.append(PlacedRoute(BackendRule(backend="b"), HERE))
    made[1].request_rules.append(Deny(status=403))
    made[2].redirects.append(Redirect(scheme="https"))
    made[3].response_rules.append(Deny(status=502))
    assert [each.has_http for each in made] == [False, True, True, True]


def test_an_acl_begins_without_tests_and_is_not_in_use() -> None:
    acl = Acl()
    assert (acl.tests, acl.term) == ([], None)


@pytest.mark.parametrize(
    ("kind", "has_bind", "takes"),
    [
        (Kind.FRONTEND, False, True),
        (Kind.LISTEN, True, True),
        (Kind.LISTEN, False, False),
        (Kind.BACKEND, False, False),
    ],
)
def test_a_listen_without_a_bind_takes_no_clients(kind: Kind, has_bind: bool, takes: bool) -> None:
    made = section(kind)
    made.binds += [Bind(port=1)] * has_bind
    assert made.takes_clients is takes


def test_a_section_knows_what_the_process_says() -> None:
    process = GlobalSection(maxconn=5)
    assert Section(Kind.LISTEN, "a", HERE, Settings(), process).process is process
    assert section().process == GlobalSection()
    assert (GlobalSection().log_tag, GlobalSection().timeout_stats) == ("haproxy", 10.0)
