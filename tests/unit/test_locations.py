"""A user's own report and target: what can be called or read, and one line about what cannot."""

from pathlib import Path

import pytest

from rollcall.core.errors import RollcallError
from rollcall.core.target import Format, Location
from tools.cli import locations


@pytest.mark.parametrize(
    "where",
    ["http://localhost:8080/api", "https://books.example", "http://[::1]:8080/", "HTTP://books.example:65535/a?b=c"],
)
def test_a_target_is_an_http_url(where: str) -> None:
    assert locations.target(where) == locations.Named(Location(where))


@pytest.mark.parametrize(
    "where",
    [
        "localhost:8080/api", "localhost", "README.md", __file__, "http://", "https:///api", "http://:8080/api",
        "http://books.example:99999", "http://books.example:0", "http://books.example:api", "http://[::1/api",
        "http://books .example", "file:///tmp/a.json", "s3://bucket/key", "ftp://books.example", "",
    ],
)  # fmt: skip
def test_nothing_else_is(where: str) -> None:
    with pytest.raises(RollcallError, match=r"--target .*: write a URL with http:// or https://, a host and"):
        locations.target(where)


def test_credentials_in_a_url_go_into_a_secret() -> None:
    named = locations.target("https://robot:p%40ss%3Aw@books.example:8443/api")
    assert named.credentials == {"username": "robot", "password": "p@ss:w"}
    assert named.kept_in("ours") == Location("https://books.example:8443/api", secret="ours")


def test_a_url_that_is_refused_does_not_tell_its_password() -> None:
    with pytest.raises(RollcallError) as raised:
        locations.target("http://robot:sing-sing@books.example:99999")
    assert "sing-sing" not in str(raised.value)


@pytest.mark.parametrize("spelled", ["{}", "file://{}", "file://localhost{}", "FILE://{}"])
@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.json", Format.JSON),
        ("a.JSONL", Format.JSON_LINES),
        ("a.csv", Format.CSV),
        ("a", None),
        ("é.csv", Format.CSV),
    ],
)
def test_a_report_is_a_file_by_path_or_url(tmp_path: Path, spelled: str, name: str, format_: Format | None) -> None:
    path = tmp_path / name
    path.touch()
    assert locations.report(spelled.format(path)).location == Location(str(path), format=format_)


def test_a_file_url_may_be_quoted(tmp_path: Path) -> None:
    path = tmp_path / "my bills.json"
    path.touch()
    assert locations.report(path.as_uri()).location.url == str(path)


def test_a_report_is_an_http_url_as_well() -> None:
    assert locations.report("https://reports.example/bills").location == Location("https://reports.example/bills")


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("nowhere.json", "there is no file /.*/nowhere.json"),
        ("file:///nowhere/bills.json", "there is no file /nowhere/bills.json"),
        ("file://bills.json", "with three slashes"),
        ("localhost:8080/bills", "or its URL, which begins with http://"),
        ("http://", "--report http://: write a URL"),
        ("http://reports.example:99999/bills", "a port from 1 to 65535"),
        ("ftp://reports.example/bills", "write the path of a file, or a URL with http"),
        ("s3://bucket/bills.json", "reads no S3 of AWS"),
        ("", "there is no file"),
    ],
)
def test_a_report_that_cannot_be_read_is_told(where: str, told: str) -> None:
    with pytest.raises(RollcallError, match=told):
        locations.report(where)
