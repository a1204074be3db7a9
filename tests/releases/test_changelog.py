"""The changelog, the version of the package and the recorded releases agree."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.releases.files import Release, releases

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def released() -> list[tuple[int, ...]]:
    """The versions in the changelog, in its order."""
    return [tuple(map(int, version.split("."))) for version, _ in HEADING.findall(CHANGELOG)]


def section(version: str) -> str:
    """What the changelog says of a release."""
    (start,) = (match.end() for match in HEADING.finditer(CHANGELOG) if match[1] == version)
    return CHANGELOG[start:].partition("\n## ")[0]


def test_the_package_has_the_version_of_the_newest_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == ".".join(map(str, released()[0]))


def test_the_newest_release_comes_first_and_what_is_unreleased_before_it() -> None:
    assert released() == sorted(released(), reverse=True)
    assert next(line for line in CHANGELOG.splitlines() if line.startswith("## ")) == "## [Unreleased]"


def test_every_release_is_recorded() -> None:
    versions = {".".join(map(str, version)) for version in released()}
    assert {release.version for release in releases()} == versions


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.version)
def test_a_recording_is_of_the_commit_in_the_changelog(release: Release) -> None:
    about = release.read("release.json")
    assert about["version"] == release.version
    assert f"Commit `{about['commit']}`" in section(release.version)
