"""The prose of the shipped code follows the project's style, but for a list of files that may only shrink."""

from collections import Counter
from pathlib import Path

import pytest

from tools.prose.__main__ import main
from tools.prose.findings import findings
from tools.prose.passages import ROOT, Kind, Passage, passages, sources

#: Folders (with a slash) and files with findings, one a line. Remove a line when it is done; never add one.
NOT_YET = Path(__file__).with_name("not_yet_rewritten.txt").read_text(encoding="utf-8").splitlines()

#: Modules that are named after an activity. Remove a name when its module is renamed; never add one.
PARTICIPLES = frozenset(
    {
        "functions/_announcing.py",
        "functions/_calling.py",
        "tools/cli/operating.py",
        "tools/cli/reaching.py",
        "tools/cli/redriving.py",
        "tools/cli/watching.py",
        "tools/deploy_local/showing.py",
        "tools/local_cloud/counting.py",
    }
)
#: Nouns that end like participles.
NOUNS = frozenset({"layers/rollcall/python/rollcall/core/sizing.py"})


def found_in(text: str, kind: Kind = Kind.DOCSTRING) -> list[str]:
    return [finding.rule for finding in findings(Passage(Path("a.py"), 1, kind, text))]


def files_with_findings() -> dict[str, list[str]]:
    found = {
        str(path.relative_to(ROOT)): [str(finding) for passage in passages(path) for finding in findings(passage)]
        for path in sources()
    }
    return {path: broken for path, broken in found.items() if broken}


def test_a_file_that_was_rewritten_stays_free_of_findings() -> None:
    found = files_with_findings()
    broken = [finding for path in found if not path.startswith(tuple(NOT_YET)) for finding in found[path]]

    assert broken == []


def test_the_list_of_files_to_rewrite_only_shrinks() -> None:
    broken = tuple(files_with_findings())

    done = [entry for entry in NOT_YET if not any(path.startswith(entry) for path in broken)]

    assert done == [], "remove them from the list"


def test_modules_are_named_after_what_they_contain() -> None:
    activities = {str(path.relative_to(ROOT)) for path in sources() if path.stem.endswith("ing")}

    assert activities == PARTICIPLES | NOUNS


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Settle " + "x" * 82, "first line over 88 characters"),
        ("What the ledger knows of an entry.", "begins with a noun clause"),
        ("Whether the run has ended.", "begins with a noun clause"),
        ("Release the lease. Who holds it loses it.", "bare subject"),
        ("Tell the others.", "word 'Tell'"),
        ("Return the reason that the log says.", "word 'says'"),
        ("Give each job a queue of its own.", "word 'of its own'"),
    ],
)
def test_a_forbidden_form_is_found(text: str, rule: str) -> None:
    assert found_in(text) == [rule]


@pytest.mark.parametrize(
    "text",
    [
        "Settle " + "x" * 81,
        "Return whether the run has ended.",
        "Release the lease.\n\nA worker who holds it loses it.",
        "Return the entries, as well as their keys, of a run.",
    ],
)
def test_a_good_form_is_left_alone(text: str) -> None:
    assert found_in(text) == []


def test_only_docstrings_have_a_longest_first_line() -> None:
    assert found_in("x" * 89, Kind.COMMENT) == []


def test_passages_carry_their_lines_and_kinds(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        '"""A module."""\n#: Seconds.\nWAIT = 3\n# One comment\n# in two lines.\nraise ValueError(f"no {WAIT}")\n',
        encoding="utf-8",
    )

    assert [(each.line, each.kind, each.text) for each in passages(file, tmp_path)] == [
        (1, Kind.DOCSTRING, "A module."),
        (2, Kind.CONSTANT, "Seconds."),
        (4, Kind.COMMENT, "One comment\nin two lines."),
        (6, Kind.ERROR, "no {}"),
    ]


def test_the_same_seed_draws_the_same_passages(capsys: pytest.CaptureFixture[str]) -> None:
    draws = []
    for seed in ("7", "7", "8"):
        assert main(["--seed", seed, "--count", "5", "--under", "tools/prose"]) == 0
        draws.append(capsys.readouterr().out)

    assert draws[0] == draws[1] != draws[2]
    assert Counter(draws[0])["\n"] >= 10
