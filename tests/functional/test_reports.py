"""Reports: read record by record from HTTP, S3 or a file, and told apart from what only looks like one."""

import base64
import gzip
import json
import logging
import socket
from decimal import Decimal
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import pytest

from functions._logs import write_logs
from rollcall import Format, Location, Report, SourceError
from rollcall.adapters import reports
from rollcall.adapters.clients import Clients
from rollcall.adapters.reports import Reports
from rollcall.adapters.secrets import Secrets
from rollcall.core.actions import Action
from rollcall.core.errors import RollcallError
from rollcall.core.run import Record
from tests.functional.loopback import Server, answer, reset, serving, unused_port
from tests.functional.world import Events

RAAS = Report("deposits")
TOP_LEVEL = Report("deposits", array=None)
ROWS = [{"id": "D00", "client": "Zoë"}, {"id": "D01", "client": "Ægir"}]
RAAS_BODY = json.dumps({"Report_Entry": ROWS}).encode()
TOKEN = "s3cr3t-in-a-query"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again as often as ever, without waiting a second for it."""
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda _: 0)


def read(aws: Clients, location: Location | str, report: Report = RAAS) -> list[Record]:
    where = location if isinstance(location, Location) else Location(location)
    return list(Reports({"deposits": where}, Secrets(aws.secretsmanager), aws).read(report))


def read_file(aws: Clients, tmp_path: Path, name: str, content: bytes, report: Report = RAAS) -> list[Record]:
    (tmp_path / name).write_bytes(content)
    return read(aws, str(tmp_path / name), report)


# --- what is a report ---


def test_the_array_of_workdays_report_as_a_service(aws: Clients, tmp_path: Path) -> None:
    assert read_file(aws, tmp_path, "r.json", RAAS_BODY) == ROWS


def test_an_array_at_the_top_level(aws: Clients, tmp_path: Path) -> None:
    assert read_file(aws, tmp_path, "r.json", json.dumps(ROWS).encode(), TOP_LEVEL) == ROWS


def test_the_array_may_come_after_other_fields(aws: Clients, tmp_path: Path) -> None:
    body = json.dumps({"About": {"Report_Entry": [1]}, "Report_Entry": ROWS, "End": None}).encode()
    assert read_file(aws, tmp_path, "r.json", body) == ROWS


@pytest.mark.parametrize("ending", ["r.jsonl", "r.ndjson"])
def test_json_lines_with_empty_lines_between_them(aws: Clients, tmp_path: Path, ending: str) -> None:
    body = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()
    assert read_file(aws, tmp_path, ending, body) == ROWS


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_csv_with_a_header_line(aws: Clients, tmp_path: Path, start: bytes) -> None:
    body = start + 'id,client\r\nD00,Zoë\r\nD01,"Ægir, the\nolder"\r\n'.encode()
    expected = [{"id": "D00", "client": "Zoë"}, {"id": "D01", "client": "Ægir, the\nolder"}]
    assert read_file(aws, tmp_path, "r.csv", body) == expected


def test_the_declared_format_counts_whatever_the_url_ends_in(aws: Clients, tmp_path: Path) -> None:
    (tmp_path / "export").write_text("id,client\nD00,x\n")
    location = Location(str(tmp_path / "export"), format=Format.CSV)
    assert read(aws, location) == [{"id": "D00", "client": "x"}]


@pytest.mark.parametrize(("written", "read"), [("10.10", 10.1), ("0.1", 0.1), ("7", 7)])
@pytest.mark.parametrize("form", ["r.json", "r.jsonl"])
def test_a_number_is_a_number(aws: Clients, tmp_path: Path, form: str, written: str, read: float) -> None:
    body = '{"a": %s}' if form == "r.jsonl" else '{"Report_Entry": [{"a": %s}]}'
    assert read_file(aws, tmp_path, form, (body % written).encode()) == [{"a": read}]


def test_a_number_that_no_float_holds_keeps_its_digits(aws: Clients, tmp_path: Path) -> None:
    long = "12345678901234567.89"
    assert read_file(aws, tmp_path, "r.jsonl", b'{"a": %s}' % long.encode()) == [{"a": Decimal(long)}]


@pytest.mark.parametrize("body", [b'{"Report_Entry": {"item": {"a": 1}}}', b'{"Report_Entry": {"item": [{"a": 1}]}}'])
def test_an_object_with_a_key_named_item_is_no_array(aws: Clients, tmp_path: Path, body: bytes) -> None:
    with pytest.raises(SourceError, match="it has no array 'Report_Entry'"):
        read_file(aws, tmp_path, "r.json", body)


def test_a_header_that_names_a_column_twice_is_refused(aws: Clients, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="its header names a column twice: columns 1 and 3; see whether"):
        read_file(aws, tmp_path, "r.csv", b"a,b,a\n1,2,3\n")


def test_an_object_in_s3(aws: Clients) -> None:
    aws.s3.put_object(Bucket="manifests", Key="in/r.json", Body=RAAS_BODY)
    assert read(aws, "s3://manifests/in/r.json") == ROWS


def test_a_file_url(aws: Clients, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(RAAS_BODY)
    assert read(aws, f"file://{tmp_path}/r.json") == ROWS


def test_a_report_over_http(aws: Clients) -> None:
    with serving(answer("200 OK", RAAS_BODY)) as server:
        assert read(aws, f"{server.url}/report?format=json") == ROWS
    assert server.heads[0].startswith("GET /report?format=json HTTP/1.1")
    assert "authorization" not in server.heads[0].lower()


def test_a_compressed_report_over_http(aws: Clients) -> None:
    with serving(answer("200 OK", gzip.compress(RAAS_BODY), "Content-Encoding: gzip")) as server:
        assert read(aws, server.url) == ROWS


def test_a_chunked_report_over_http(aws: Clients) -> None:
    parts = [RAAS_BODY[:11], RAAS_BODY[11:40], RAAS_BODY[40:], b""]
    body = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
    with serving(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body) as server:
        assert read(aws, server.url) == ROWS


def test_records_come_before_the_report_has_ended(aws: Clients) -> None:
    """It is never held as a whole: the first record is there when the connection breaks in the middle."""
    many = b'{"Report_Entry": [' + b",".join(b'{"id": "%06d"}' % number for number in range(20_000))
    with serving(answer("200 OK", many, length=len(many) + 10)) as server:
        records = Reports({"deposits": Location(server.url)}, Secrets(aws.secretsmanager), aws).read(RAAS)
        assert next(records) == {"id": "000000"}
        with pytest.raises(SourceError, match="broke off after"):
            list(records)


# --- credentials ---


@pytest.mark.parametrize(
    ("secret", "header"),
    [
        ({"username": "ann", "password": "päss"}, "Basic " + base64.b64encode("ann:päss".encode()).decode()),
        ({"token": "t0k3n"}, "Bearer t0k3n"),
    ],
    ids=["basic", "bearer"],
)
def test_the_credentials_of_a_secret_go_into_the_header(aws: Clients, secret: dict[str, str], header: str) -> None:
    aws.secretsmanager.create_secret(Name="workday", SecretString=json.dumps(secret))
    with serving(answer("200 OK", RAAS_BODY)) as server:
        read(aws, Location(server.url, secret="workday"))
    assert f"Authorization: {header}\r\n" in server.heads[0]


@pytest.mark.parametrize("text", ["hunter2", '{"user": "hunter2"}', '["hunter2"]', '"hunter2"'])
def test_a_secret_of_another_form_is_an_error_that_does_not_repeat_it(aws: Clients, text: str) -> None:
    aws.secretsmanager.create_secret(Name="workday", SecretString=text)
    with pytest.raises(RollcallError, match="the secret workday holds no credentials") as caught:
        read(aws, Location("http://127.0.0.1:9/", secret="workday"))
    assert "hunter2" not in str(caught.value)


def vault(aws: Clients, fields: dict[str, str]) -> None:
    """Store the secret of the report, or rotate it."""
    text = json.dumps(fields)
    try:
        aws.secretsmanager.create_secret(Name="workday", SecretString=text)
    except aws.secretsmanager.exceptions.ResourceExistsException:
        aws.secretsmanager.put_secret_value(SecretId="workday", SecretString=text)


def tokens(server: Server) -> list[str]:
    """What the server was shown, in order."""
    lines = [line for head in server.heads for line in head.split("\r\n")]
    return [line.partition("Bearer ")[2] for line in lines if line.startswith("Authorization: ")]


REFUSES = answer("401 Unauthorized", b"expired", "Connection: close")


def test_a_rotated_secret_is_read_again_and_the_report_asked_for_once_more(aws: Clients, events: Events) -> None:
    vault(aws, {"token": "the first token"})
    secrets = Secrets(aws.secretsmanager)
    replies = (answer("200 OK", RAAS_BODY, "Connection: close"), REFUSES, answer("200 OK", RAAS_BODY))
    with serving(*replies) as server:
        reports = Reports({"deposits": Location(server.url, secret="workday")}, secrets, aws)
        assert list(reports.read(RAAS)) == ROWS
        vault(aws, {"token": "the second token"})
        assert list(reports.read(RAAS)) == ROWS, "in the same, warm environment"
    assert tokens(server) == ["the first token", "the first token", "the second token"]
    assert [event["changed"] for event in events.of(Action.CREDENTIALS_REFUSED)] == [True]


def test_it_is_asked_for_once_more_and_not_again(aws: Clients) -> None:
    vault(aws, {"token": "the first token"})
    secrets = Secrets(aws.secretsmanager)
    secrets.authorization("workday")
    vault(aws, {"token": "the second token"})
    with serving(REFUSES) as server, pytest.raises(SourceError, match=r"it answered HTTP 401$"):
        list(Reports({"deposits": Location(server.url, secret="workday")}, secrets, aws).read(RAAS))
    assert tokens(server) == ["the first token", "the second token"]


def test_a_secret_that_has_not_changed_is_not_shown_again(aws: Clients, events: Events) -> None:
    vault(aws, {"token": "the first token"})
    with serving(REFUSES) as server, pytest.raises(SourceError, match=r"it answered HTTP 401$"):
        read(aws, Location(server.url, secret="workday"))
    assert tokens(server) == ["the first token"]
    assert [event["changed"] for event in events.of(Action.CREDENTIALS_REFUSED)] == [False]


def test_a_secret_that_cannot_be_read_again_leaves_the_refusal(aws: Clients, events: Events) -> None:
    vault(aws, {"token": "the first token"})
    secrets = Secrets(aws.secretsmanager)
    secrets.authorization("workday")
    aws.secretsmanager.delete_secret(SecretId="workday", ForceDeleteWithoutRecovery=True)
    with serving(REFUSES) as server, pytest.raises(SourceError, match=r"it answered HTTP 401$"):
        list(Reports({"deposits": Location(server.url, secret="workday")}, secrets, aws).read(RAAS))
    (event,) = events.of(Action.CREDENTIALS_UNREADABLE)
    assert (event["secret"], event["reason"]) == ("workday", "GetSecretValue: ResourceNotFoundException")


# --- redirects ---


def moved(to: str, status: str = "302 Found") -> bytes:
    return answer(status, b"", f"Location: {to}", "Connection: close")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize(
    ("to", "asked"),
    [
        ("/new/report.json?page=1", "/new/report.json?page=1"),
        ("other", "/raas/other"),
        ("../up/report", "/up/report"),
        ("?page=2", "/raas/report?page=2"),
        ("//{authority}/there", "/there"),
        ("http://{authority}", "/"),
        ("HTTP://{authority}/there#fragment", "/there"),
        ("http:///there", "/there"),
        ("http://somebody:hunter2hunter2@{authority}/there", "/there"),
    ],
)
def test_a_redirect_within_the_origin_is_followed_with_the_credentials(
    aws: Clients, status: str, to: str, asked: str
) -> None:
    vault(aws, {"token": "the first token"})
    authority = ""

    def redirect(connection: socket.socket) -> None:
        connection.sendall(moved(to.format(authority=authority), status))

    with serving(redirect, answer("200 OK", RAAS_BODY)) as server:
        authority = server.url.removeprefix("http://")
        assert read(aws, Location(f"{server.url}/raas/report", secret="workday")) == ROWS
    assert server.heads[1].startswith(f"GET {asked} HTTP/1.1\r\n")
    assert tokens(server) == ["the first token"] * 2


ELSEWHERE = {
    "another host": ("http://elsewhere.invalid/report?{token}", "http://elsewhere.invalid:80"),
    "another host, without a scheme": ("//elsewhere.invalid/report", "http://elsewhere.invalid:80"),
    "another port": ("http://127.0.0.1:{unused}/report?t={token}", "http://127.0.0.1:{unused}"),
    "another scheme": ("https://127.0.0.1:{port}/report", "https://127.0.0.1:{port}"),
    "another name of the host": ("http://localhost:{port}/report", "http://localhost:{port}"),
    "a user that looks like the host": (
        "http://127.0.0.1:{port}@elsewhere.invalid/{token}",
        "http://elsewhere.invalid:80",
    ),
    "credentials": ("http://ann:{token}@elsewhere.invalid:8080/", "http://elsewhere.invalid:8080"),
    "IPv6": ("http://[::1]:{port}/", "http://[::1]:{port}"),
    "a scheme that is none of HTTP's": ("file:///etc/passwd", "which is none of HTTP"),
    "a script": ("javascript:{token}", "which is none of HTTP"),
    "a port that is none": ("http://127.0.0.1:{token}/", "which is none of HTTP"),
    "a host that is none": ("http://{token}%20/", "which is none of HTTP"),
}


@pytest.mark.parametrize(("to", "shown"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_redirect_to_another_origin_is_refused_by_that_and_nobody_there_is_asked(
    aws: Clients, to: str, shown: str
) -> None:
    vault(aws, {"token": "the first token"})
    with serving(answer("200 OK", RAAS_BODY)) as elsewhere:
        names: dict[str, object] = {"unused": elsewhere.port, "token": TOKEN}

        def redirect(connection: socket.socket) -> None:
            connection.sendall(moved(to.format(**names)))

        with serving(redirect) as server:
            names["port"] = server.port
            with pytest.raises(SourceError) as caught:
                read(aws, Location(f"{server.url}/report", secret="workday"))
    reason = str(caught.value)
    assert reason.endswith(
        f": it redirects to another origin, {shown.format(**names)}; bind the report to where it lies"
    )
    assert TOKEN not in reason
    assert (len(server.heads), elsewhere.heads) == (1, [])


def test_a_url_in_which_two_readers_see_two_hosts_is_asked_for_at_the_reports_own(aws: Clients) -> None:
    """WHATWG's rules end the host at a backslash, those of RFC 3986 do not."""
    with serving(answer("200 OK", RAAS_BODY)) as elsewhere:
        port = 0

        def redirect(connection: socket.socket) -> None:
            connection.sendall(moved(f"http://127.0.0.1:{elsewhere.port}\\@127.0.0.1:{port}/report"))

        with serving(redirect, answer("200 OK", RAAS_BODY)) as server:
            port = server.port
            assert read(aws, f"{server.url}/report") == ROWS
    assert elsewhere.heads == []


def test_a_redirect_in_a_circle_ends(aws: Clients) -> None:
    with serving(moved("/report")) as server:
        assert "it redirects more than 5 times" in refused(aws, server)
    assert len(server.heads) == 1 + reports.MOST_REDIRECTS


@pytest.mark.parametrize("status", ["300 Multiple Choices", "302 Found", "304 Not Modified"])
def test_a_redirect_that_leads_nowhere_is_no_report(aws: Clients, status: str) -> None:
    with serving(answer(status, b"", "Connection: close")) as server:
        assert refused(aws, server).endswith(f": it answered HTTP {status[:3]}")


# --- what is none ---


@pytest.mark.parametrize(
    ("name", "body", "report", "reason"),
    [
        ("r.json", RAAS_BODY[:-3], RAAS, "records: it is not whole JSON: parse error: premature EOF"),
        ("r.json", RAAS_BODY + b"x", RAAS, "records: it is not whole JSON: parse error: trailing garbage"),
        ("r.json", b"", RAAS, "cannot be read: it is not whole JSON"),
        ("r.json", b"<html>Sign in</html>", RAAS, "cannot be read: it is not whole JSON"),
        ("r.json", b'{"Report_Entry": 7}', RAAS, "it has no array 'Report_Entry'"),
        ("r.json", b'{"Report_Entry": {}}', RAAS, "it has no array 'Report_Entry'"),
        ("r.json", b'{"Report_Entry": null}', RAAS, "it has no array 'Report_Entry'"),
        ("r.json", b'{"Deposits": []}', RAAS, "it has no array 'Report_Entry'"),
        ("r.json", b"[]", RAAS, "it has no array 'Report_Entry'"),
        ("r.json", b'{"a": "' + b"x" * 100_000 + b'"}', RAAS, "it has no array 'Report_Entry'"),
        ("r.json", b"{}", TOP_LEVEL, "it is not an array"),
        ("r.json", RAAS_BODY, TOP_LEVEL, "it is not an array"),
        ("r.json", b'{"Report_Entry": [{}, 7]}', RAAS, "record 2 is of type int, not an object"),
        ("r.json", b'{"Report_Entry": [{"id": "\xff"}]}', RAAS, ": lexical error: invalid bytes in UTF8 string."),
        ("r.jsonl", b'{"id": 1}\n{"id": ', RAAS, "broke off after 1 records: line 2 is not JSON"),
        ("r.jsonl", b'{"id": 1}\n\xff\xfe', RAAS, "codec can't decode"),
        ("r.csv", b"", RAAS, "it has no header line"),
        ("r.csv", b"id,client\nD00,a\nD01\n", RAAS, "broke off after 1 records: line 3 has 1 of 2 columns"),
        ("r.csv", b"id,client\nD00,a,b\n", RAAS, "line 2 has 3 of 2 columns"),
        ("r.csv", b'id,client\nD00,"a', RAAS, "line 2: unexpected end of data"),
    ],
)
def test_what_cannot_be_trusted_as_a_whole_is_told_with_its_reason(
    aws: Clients, tmp_path: Path, name: str, body: bytes, report: Report, reason: str
) -> None:
    with pytest.raises(SourceError) as caught:
        read_file(aws, tmp_path, name, body, report)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"the report deposits ({tmp_path}/{name})")


@pytest.mark.parametrize(
    ("name", "body", "report"),
    [
        ("r.json", b'{"Report_Entry": []}', RAAS),
        ("r.json", b"[]", TOP_LEVEL),
        ("r.jsonl", b"", RAAS),
        ("r.csv", b"id,client\n", RAAS),
    ],
)
def test_an_empty_report_is_a_report(aws: Clients, tmp_path: Path, name: str, body: bytes, report: Report) -> None:
    assert read_file(aws, tmp_path, name, body, report) == []


def test_a_missing_file_is_told_with_its_path(aws: Clients, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot be read: .*No such file"):
        read(aws, str(tmp_path / "none.json"))


@pytest.mark.parametrize("url", ["s3://manifests/none.json", "s3://no-such-bucket/r.json"])
def test_a_missing_object_is_told_with_its_url(aws: Clients, url: str) -> None:
    with pytest.raises(SourceError, match=f"the report deposits .{url}. cannot be read"):
        read(aws, url)


def test_a_report_that_this_environment_does_not_bind_is_an_error_of_the_job(aws: Clients) -> None:
    with pytest.raises(RollcallError, match="the report bills is not bound in this environment"):
        list(Reports({}, Secrets(aws.secretsmanager), aws).read(Report("bills")))


# --- HTTP's troubles ---


def refused(aws: Clients, server: Server) -> str:
    """The reason why the report of a server cannot be had; its query string is never in it."""
    with pytest.raises(SourceError) as caught:
        read(aws, f"{server.url}/report?token={TOKEN}#{TOKEN}")
    reason = str(caught.value)
    assert f"({server.url}/report)" in reason
    assert TOKEN not in reason
    return reason


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found", "204 No Content"])
def test_an_answer_that_is_no_report_is_told_at_once(aws: Clients, status: str) -> None:
    with serving(answer(status, b"" if status.startswith("204") else b"who are you?")) as server:
        reason = refused(aws, server)
    assert reason.endswith(f": it answered HTTP {status[:3]}")
    assert len(server.heads) == 1


def test_a_server_that_keeps_failing_is_asked_three_times(aws: Clients) -> None:
    with serving(answer("500 Oops", b"try later", "Connection: close")) as server:
        assert refused(aws, server).endswith(": it answered HTTP 500")
    assert len(server.heads) == 1 + reports.OPEN_RETRIES


def test_a_server_that_fails_once_is_asked_again(aws: Clients) -> None:
    with serving(answer("503 Wait", b"", "Connection: close"), answer("200 OK", RAAS_BODY)) as server:
        assert read(aws, server.url) == ROWS


def test_a_server_that_nobody_runs_is_unreachable(aws: Clients) -> None:
    assert "it is unreachable" in refused(aws, Server(unused_port()))


def test_a_host_that_nobody_knows_is_unreachable(aws: Clients) -> None:
    with pytest.raises(SourceError, match="it is unreachable") as caught:
        read(aws, f"http://nobody.invalid/report?token={TOKEN}")
    assert TOKEN not in str(caught.value)


def test_a_connection_that_ends_early_breaks_the_report_off(aws: Clients) -> None:
    with serving(answer("200 OK", RAAS_BODY[:-2], length=len(RAAS_BODY))) as server:
        reason = refused(aws, server)
    assert "the connection ended early" in reason
    assert len(server.heads) == 1, "once a byte has been read, nothing is asked again"


def test_a_connection_that_is_reset_while_it_is_opened_is_unreachable(aws: Clients) -> None:
    with serving(reset) as server:
        assert "it is unreachable" in refused(aws, server)


def test_credentials_in_a_url_are_not_shown(aws: Clients) -> None:
    with pytest.raises(SourceError) as caught:
        read(aws, f"http://ann:hunter2@127.0.0.1:{unused_port()}/report")
    assert "hunter2" not in str(caught.value)


# --- nothing of what a server says is repeated ---

SAID = "client-Ann-Smith-DE02"


def without_words(reason: str) -> str:
    assert SAID not in reason
    assert SAID not in unquote(reason)
    return reason


@pytest.mark.parametrize(
    "reply",
    [
        answer("500 " + SAID, SAID.encode(), f"X-Said: {SAID}", "Connection: close"),
        answer("403 " + SAID, SAID.encode(), f"WWW-Authenticate: {SAID}"),
        answer("302 Found", b"", f"Location: http://elsewhere.invalid\t/{SAID}"),
        answer("302 Found", b"", f"Location: http://ann:{SAID}@elsewhere.invalid/?{SAID}#{SAID}"),
        SAID.encode() + b"\r\n\r\n",
        f"HTTP/1.1 {SAID}\r\n\r\n".encode(),
        f"HTTP/{SAID} 200 OK\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SAID}\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nContent-Length: {SAID}\r\n\r\n{SAID}".encode(),
        answer("200 OK", SAID.encode(), "Content-Encoding: gzip"),
        answer("200 OK", SAID.encode(), f"Content-Encoding: {SAID}"),
        answer("200 OK", f"<html>{SAID}</html>".encode()),
        answer("200 OK", b'{"Report_Entry": [{"id": "%s}' % SAID.encode()),
        answer("200 OK", b'{"Report_Entry": [{"id": %s}]}' % SAID.encode()),
        answer("200 OK", b'{"Report_Entry": [{"id": "%s\xff"}]}' % SAID.encode()),
        answer("200 OK", b'{"Report_Entry": [{"id": "%s\x01"}]}' % SAID.encode()),
        answer("200 OK", b'{"Report_Entry": ["%s"]}' % SAID.encode()),
        answer("200 OK", b'{"%s": []}' % SAID.encode()),
    ],
    ids=lambda reply: reply.decode("latin-1").partition("\r")[0][:20] + " " + str(len(reply)),
)
@pytest.mark.usefixtures("events")
def test_nothing_that_a_report_server_says_is_in_a_refusal_or_a_log(
    aws: Clients, reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write_logs("test", StringIO())
    caplog.set_level(logging.DEBUG)
    with serving(reply) as server:
        without_words(refused(aws, server))
    assert SAID not in caplog.text


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("r.jsonl", f'{{"id": "{SAID}"\n'),
        ("r.jsonl", f'"{SAID}"\n'),
        ("r.jsonl", f"{SAID}\n"),
        ("r.csv", f"id,client\nD00,{SAID},{SAID}\n"),
        ("r.csv", f"{SAID},{SAID}\n{SAID},x\n"),
        ("r.csv", f'id,client\nD00,"{SAID}'),
        ("r.csv", f'id,client\nD00,"{SAID}"{SAID}\n'),
        ("r.json", f'{{"Report_Entry": [{{"id": "{SAID}"}}, "{SAID}"]}}'),
    ],
)
def test_no_value_of_a_report_is_in_a_refusal(aws: Clients, tmp_path: Path, name: str, body: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_file(aws, tmp_path, name, body.encode())
    without_words(str(caught.value))


@pytest.mark.usefixtures("events")
def test_what_is_tried_again_is_logged_without_the_query(aws: Clients, caplog: pytest.LogCaptureFixture) -> None:
    write_logs("test", StringIO())
    caplog.set_level(logging.DEBUG)
    assert "it is unreachable: Connection refused" in refused(aws, Server(unused_port()))
    assert TOKEN not in caplog.text


def test_what_is_secret_in_the_url_of_a_report_is_replaced_elsewhere_too(aws: Clients) -> None:
    secrets = Secrets(aws.secretsmanager)
    Reports({"deposits": Location(f"https://ann:p%40ssw%C3%B6rd@books.invalid/r?token={TOKEN}&a=b")}, secrets, aws)
    redacted = secrets.in_use.redacted(f"cannot open {TOKEN} with p@sswörd or p%40ssw%C3%B6rd")
    assert redacted == "cannot open [secret] with [secret] or [secret]"


@pytest.mark.parametrize("url", ["http://ann:hunter2/hunter2@127.0.0.1/report", "http://[hunter2hunter2]/report"])
def test_of_a_url_that_is_none_nothing_is_shown(aws: Clients, url: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(aws, url)
    assert "(a URL that is none)" in str(caught.value)
    assert "hunter2" not in str(caught.value)
