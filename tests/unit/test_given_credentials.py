"""Credentials of a user's own report and target: where they may come from, and that nothing repeats them."""

import getpass
import os
import warnings
from pathlib import Path

import pytest

from rollcall.core.errors import RollcallError
from tools.cli import main
from tools.cli.credentials import LONGEST, own
from tools.cli.locations import Named, without_credentials

URL = "https://books.example/api"
IN_URL = "https://robot:sing-sing@books.example/api"
TARGET = "ROLLCALL_TARGET_CREDENTIALS"
REPORT = "ROLLCALL_REPORT_CREDENTIALS"
PAIR = {"username": "robot", "password": "sing-sing"}


def a_file(folder: Path, content: str | bytes = "robot:sing-sing\n", mode: int = 0o600) -> str:
    path = folder / "credentials"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return str(path)


def of_target(environ: dict[str, str] | None = None, **given: str) -> Named:
    named = own(environ if environ is not None else {}, **{"target": URL, **given}).target
    assert named is not None
    return named


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        ("robot:sing-sing", PAIR),
        ("robot:sing-sing\r\n", PAIR),
        ("\ufeffrobot:sing-sing\n", PAIR),
        ("robot:p:w @/{ é", {"username": "robot", "password": "p:w @/{ é"}),
        (":key", {"username": "", "password": "key"}),
        ('{"username": "robot", "password": "sing-sing", "host": "db"}', PAIR),
        (' {"token": "abc.def"}\n', {"token": "abc.def"}),
    ],
)
@pytest.mark.parametrize("source", ["file", "variable", "prompt"])
def test_credentials_come_from_a_file_a_variable_or_a_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, text: str, credentials: dict[str, str]
) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda _: text)
    match source:
        case "file":
            named = of_target(target_credentials=a_file(tmp_path, text))
        case "variable":
            named = of_target({TARGET: text})
        case _:
            named = of_target(target_credentials="-")
    assert named.credentials == credentials
    assert named.location.url == URL
    assert "sing-sing" not in repr(named)


def test_a_report_and_a_target_have_their_own(tmp_path: Path) -> None:
    mine = own({REPORT: "a:b"}, report=URL, target=URL, target_credentials=a_file(tmp_path))
    assert mine.report is not None
    assert mine.target is not None
    assert (mine.report.credentials, mine.target.credentials) == ({"username": "a", "password": "b"}, PAIR)


def test_the_variables_are_removed_so_that_no_child_inherits_them() -> None:
    environ = {TARGET: "robot:sing-sing", REPORT: "robot:sing-sing", "PATH": "/bin"}
    assert own(environ, target=URL).report is None
    assert environ == {"PATH": "/bin"}


def test_an_option_precedes_the_variable(tmp_path: Path) -> None:
    assert of_target({TARGET: "a:b"}, target_credentials=a_file(tmp_path)).credentials == PAIR


@pytest.mark.parametrize("environ", [{}, {TARGET: ""}])
def test_without_any_there_are_none(environ: dict[str, str]) -> None:
    assert of_target(environ).credentials is None


def test_a_variable_for_another_run_is_left_alone(tmp_path: Path) -> None:
    report = tmp_path / "bills.json"
    report.touch()
    mine = own({REPORT: "a:b", TARGET: "a:b"}, report=str(report))
    assert mine.target is None
    assert mine.report is not None
    assert mine.report.credentials is None


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o620, 0o601, 0o666, 0o777])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(RollcallError, match=rf"whose mode is 0{mode:o}; take that from them with chmod 600"):
        of_target(target_credentials=a_file(tmp_path, mode=mode))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_ones_own_is_taken(tmp_path: Path, mode: int) -> None:
    assert of_target(target_credentials=a_file(tmp_path, mode=mode)).credentials == PAIR


def test_a_link_does_not_hide_who_may_open_a_file(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(a_file(tmp_path, mode=0o644))
    with pytest.raises(RollcallError, match="other users may open the file"):
        of_target(target_credentials=str(link))


def test_a_pipe_is_a_file() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"robot:sing-sing\n")
    os.close(writing)
    try:
        assert of_target(target_credentials=f"/dev/fd/{reading}").credentials == PAIR
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    "content",
    [
        "", "\n", "sing-sing", "robot:sing-sing\nother:sing-sing", "{sing-sing:1}", '{"password": "sing-sing"}',
        '{"username": "robot", "password": ["sing-sing"]}', '{"token": "sing-sing\\nX-Header: 1"}', '{"token": null}',
        '{"token": "sing-singé"}', "{" * 9_000, b"robot:sing-sing\xff", "robot:" + "sing-sing" * LONGEST,
    ],
)  # fmt: skip
def test_what_holds_no_credentials_is_refused_and_not_repeated(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(RollcallError, match="--target-credentials: ") as raised:
        of_target({TARGET: "a:b"}, target_credentials=a_file(tmp_path, content))
    assert "sing-sing" not in str(raised.value)


@pytest.mark.parametrize("typed", ["robot:sing-sing", "/nowhere/sing-sing", "sing-sing\0", "/"])
def test_credentials_in_the_place_of_a_file_are_not_repeated(typed: str) -> None:
    with pytest.raises(
        RollcallError, match=r"--target-credentials cannot be read: .*; pass the path of a file"
    ) as raised:
        of_target(target_credentials=typed)
    assert "sing-sing" not in str(raised.value)


@pytest.mark.parametrize("given", [{"target_credentials": "-"}, {"report_credentials": "-"}])
def test_credentials_of_nothing_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(RollcallError, match=r"--(\w+)-credentials is for your own \1; name it with --\1"):
        own({}, **given)


def test_a_file_needs_none(tmp_path: Path) -> None:
    with pytest.raises(RollcallError, match="a file needs no credentials"):
        own({}, report=a_file(tmp_path), report_credentials="-")


@pytest.mark.parametrize("environ", [{}, {TARGET: "a:b"}])
def test_two_pairs_for_one_service_are_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    given = {} if environ else {"target_credentials": a_file(tmp_path)}
    with pytest.raises(RollcallError, match=r"has credentials in its URL, and .* has others") as raised:
        of_target(environ, target=IN_URL, **given)
    assert "sing-sing" not in str(raised.value)


def test_a_url_with_credentials_works_and_one_line_says_who_sees_them(capsys: pytest.CaptureFixture[str]) -> None:
    named = of_target(target=IN_URL)
    told = capsys.readouterr()
    assert (named.location.url, named.credentials) == (URL, PAIR)
    assert (told.out, told.err.count("\n")) == ("", 1)
    for said in (
        "other users of this machine can see",
        "ps",
        TARGET,
        "--target-credentials FILE",
        "--target-credentials -",
    ):
        assert said in told.err
    assert "sing-sing" not in told.err


def test_without_credentials_in_a_url_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_target(target_credentials=a_file(tmp_path))
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def unechoed(_: str) -> str:
        warnings.warn("Can not control echo on the terminal.", getpass.GetPassWarning, stacklevel=2)
        raise AssertionError("it would have been shown while it is typed")

    monkeypatch.setattr(getpass, "getpass", unechoed)
    with pytest.raises(RollcallError, match="there is no terminal to ask for them on; set ROLLCALL_TARGET_CREDENTIALS"):
        of_target(target_credentials="-")


@pytest.mark.parametrize(
    "report",
    [
        "robot:sing-sing@books.example/bills", "s3://robot:sing-sing@bucket/key", "file://robot:sing-sing@host/a.json",
        "ftp://robot:sing-sing@books.example/a", "http://robot:sing-sing@books.example:99999",
        "http://robot:sing/sing-sing@books.example", "http://robot:#sing-sing@books.example", "~robot:sing-sing@x",
    ],
)  # fmt: skip
def test_a_report_that_is_refused_does_not_repeat_its_password(report: str) -> None:
    with pytest.raises(RollcallError) as raised:
        own({}, report=report)
    assert "sing-sing" not in str(raised.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "a-job", IN_URL),
        ("run", "a-job", "--entries", IN_URL),
        (IN_URL,),
        ("run", "a-job", "--target", IN_URL, "--report-credentials", "robot:sing-sing"),
        ("run", "a-job", "--target", "https://robot:sing/sing-sing@x@books.example"),
        ("run", "a-job", "--report", IN_URL, "--report-credentials", "-"),
    ],
)
def test_an_error_about_the_command_line_does_not_repeat_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.argv", ["rollcall", *arguments])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert main.main() == 1
    told = capsys.readouterr().err
    assert told.startswith("rollcall: ")
    assert "sing-sing" not in told


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no https://a:b@c.example/d here", "no https://…@c.example/d here"),
        ("https://a:b/c@d@e.example", "https://…@e.example"),
        ("https://c.example/d and a@b.example", "https://c.example/d and a@b.example"),
        ("https://c.example/@user", "https://c.example/@user"),
    ],
)
def test_the_credentials_of_urls_are_left_out_of_a_text(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
