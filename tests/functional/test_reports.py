"""Reports: read record by record from HTTP, S3 or a file, and told apart from what only looks like one."""

import base64
import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from rollcall import Format, Location, Report, SourceError
from rollcall.adapters import reports
from rollcall.adapters.clients import Clients
from rollcall.adapters.reports import Reports
from rollcall.adapters.secrets import Secrets
from rollcall.core.errors import RollcallError
from rollcall.core.run import Record
from tests.functional.loopback import Server, answer, reset, serving, unused_port

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
