"""The planted bugs can still be planted, and the models share nothing with what they judge.

That each bug is found is what ``python3 -m tests.mutants`` says; it takes minutes.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mutants import PARTS
from mutants.__main__ import Trial, run
from mutants.planting import Mutant, Part, planted

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "tests" / "models"
MUTANTS = [
    pytest.param(part, mutant, id=f"{name}: {mutant.bug}")
    for name, part in PARTS.items()
    for mutant in part.mutants
]


@pytest.mark.parametrize(("part", "mutant"), MUTANTS)
def test_a_bug_has_its_place_and_is_still_python(part: Part, mutant: Mutant) -> None:
    path, text = planted(mutant, part, ROOT)
    sound = ast.dump(ast.parse(path.read_text(encoding="utf-8")))
    assert ast.dump(ast.parse(text)) != sound


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_part_has_tests_and_different_bugs(part: Part) -> None:
    assert all((ROOT / name).exists() for name in part.tests)
    bugs = {mutant.bug for mutant in part.mutants}
    assert len(bugs) == len(part.mutants) >= 3


@pytest.mark.parametrize("old", ["self", "no such text"])
def test_a_bug_without_a_place_of_its_own_is_refused(old: str) -> None:
    lost = Mutant(bug="", old=old, new="")
    with pytest.raises(ValueError, match=rf"^gate.py: \d+ places read '{old}'$"):
        planted(lost, PARTS["gate"], ROOT)
    assert run(Trial("gate", PARTS["gate"], lost)).verdict == "ERROR"


@pytest.mark.parametrize(
    ("new", "verdict"),
    [("self._health = 0", "found"), ("self._health = self._start + 0", "SURVIVES"), ("(", "ERROR")],
)
def test_a_bug_is_found_when_a_test_fails_and_not_when_nothing_runs(new: str, verdict: str) -> None:
    bug = Mutant(bug="", old="self._health = self._start", new=new)
    outcome = run(Trial("gate", PARTS["gate"], bug))
    assert outcome.verdict == verdict
    assert outcome.is_good is (verdict == "found")


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.py")), ids=lambda path: path.stem)
def test_the_models_import_nothing_of_the_core(path: Path) -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported
    assert not [name for name in imported if name.partition(".")[0] == "dsbalance"]
