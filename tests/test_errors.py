"""What an error says, and what it carries."""

import pytest

from dsbalance.errors import ConfigError, ConnectError, DsbalanceError, NoServerError, Problem


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("weight must be 0 to 256"), "weight must be 0 to 256"),
        (Problem("no such word", subject="server a"), "server a: no such word"),
        (Problem("no such", subject="server a", file="x.cfg", line=7), "x.cfg:7: no such"),
        (Problem("cannot read", file="x.cfg"), "x.cfg: cannot read"),
    ],
)
def test_a_problem_names_the_best_place_that_it_knows(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_a_configuration_error_says_every_problem_on_a_line() -> None:
    error = ConfigError("first", Problem("second", file="x.cfg", line=2))
    assert str(error) == "first\nx.cfg:2: second"
    assert [problem.message for problem in error.problems] == ["first", "second"]


def test_joined_errors_keep_their_problems_in_order() -> None:
    error = ConfigError.join(
        [ConfigError("a", Problem("b", line=2, file="x.cfg")), ConfigError("c")]
    )
    assert error.problems == (Problem("a"), Problem("b", line=2, file="x.cfg"), Problem("c"))


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (ConfigError("x"), ValueError),
        (ConnectError("[::1]:80", "cannot listen"), OSError),
        (NoServerError("paragon", "all are down"), DsbalanceError),
    ],
)
def test_every_error_is_ours_and_of_a_kind_that_callers_know(
    error: Exception, builtin: type[Exception]
) -> None:
    assert isinstance(error, DsbalanceError)
    assert isinstance(error, builtin)


def test_an_address_error_names_address_reason_and_subject() -> None:
    error = ConnectError("127.0.0.1:80", "cannot listen: Address already in use", "frontend web")
    assert str(error) == "frontend web: 127.0.0.1:80: cannot listen: Address already in use"
    assert str(ConnectError("a.example", "not known")) == "a.example: not known"


def test_no_server_names_its_backend() -> None:
    error = NoServerError("paragon", "all are down")
    assert str(error) == "paragon: all are down"
    assert (error.backend, error.reason) == ("paragon", "all are down")
