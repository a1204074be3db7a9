"""The README says what is so: its example is the tested file, its links and commands exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_example_is_the_file_that_is_run_end_to_end() -> None:
    assert blocks("python") == [(ROOT / "docs/examples/deposit_statements.py").read_text()]


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", README))))
def test_a_make_target_exists(target: str) -> None:
    assert target in TARGETS


def test_it_can_be_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_index_leads_to_every_page(page: Path) -> None:
    index = ROOT / "docs/README.md"
    assert page == index or f"({page.name})" in index.read_text()


def test_the_picture_loads_nothing() -> None:
    assert "url(http" not in (ROOT / "docs/main-job.svg").read_text()


def test_the_two_commands_are_shown_first() -> None:
    assert [line.split("#")[0].strip() for line in blocks("sh")[0].splitlines()] == ["make run", "make test"]
