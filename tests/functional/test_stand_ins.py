"""The stand-ins of report and target: the real process, spoken to over real sockets."""

import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from urllib3.util import make_headers

from tools.stand_ins.faults import expected_calls, fault, identity

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tools.stand_ins"]
JOB_MODULE = "stand_in_example"
REPORT = "/report/pay-deposits"
JOB = """
from datetime import timedelta

from rollcall.core.entry import Entry
from rollcall.core.job import Job
from rollcall.core.schedule import daily
from rollcall.core.target import Target

job = Job("pay-deposits", schedule=daily("02:30"), target=Target("accounting", concurrency=50))


@job.source
def deposits(run):
    yield from ()


@job.callback
def pay(deposit, call):
    pass
"""
EXAMPLE = """

@job.example
def example(n):
    return {"Deposit_ID": f"DEP-{n}", "Client": f"Zoë {n}", "Amount": "10.50"}
"""


class Pool(urllib3.HTTPConnectionPool):
    """Connections to the stand-ins at a base URL, whose paths are those behind it."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        super().__init__(str(parts.hostname), parts.port, maxsize=50, block=True, retries=False, timeout=30)
        self._path = parts.path

    def urlopen(self, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        return super().urlopen(method, self._path + url, *arguments, **options)


class StandIns:
    """A running process and a client of it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process = process
        self.base: str = json.loads(process.stdout.readline())["base"]
        self.port = int(urlsplit(self.base).port or 0)
        self.pool = Pool(self.base)

    def call(self, path: str, body: bytes | Iterable[bytes] = b"", key: str | None = None) -> int:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.pool.request("POST", path, body=body, headers=headers).status

    def call_until_well(self, path: str, most: int) -> list[int]:
        statuses: list[int] = []
        while len(statuses) < most and (not statuses or statuses[-1] == 503):
            statuses.append(self.call(path, b"{}", key=path))
        return statuses

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.pool.request("GET", "/-/stats").json()
        return stats

    def head(self, request: str) -> bytes:
        """The first lines of a request, such as `GET /report/a`, up to where further headers stand."""
        method, path = request.split()
        return f"{method} {urlsplit(self.base).path}{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n".encode()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def end(self) -> None:
        self.pool.close()
        with self.process as process:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(timeout=10)
            finally:
                process.kill()

    def peak_memory_kb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


Start = Callable[..., StandIns]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / f"{JOB_MODULE}.py").write_text(JOB + EXAMPLE)
    (tmp_path / "without_example.py").write_text(JOB)
    paths = [ROOT / "layers/rollcall/python", tmp_path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    running: list[StandIns] = []

    def start(**options: object) -> StandIns:
        process = subprocess.Popen(
            COMMAND, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"latency_ms": 1} | options) + "\n")
        process.stdin.flush()
        running.append(StandIns(process))
        return running[-1]

    yield start
    for each in running:
        each.end()


@pytest.fixture
def start_report(start: Start) -> Start:
    def start_report(entries: int, **options: object) -> StandIns:
        return start(job_module=JOB_MODULE, entries=entries, **options)

    return start_report


# --- Target ---


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_any_call_is_answered_well_after_the_latency(start: Start, method: str) -> None:
    stand_ins = start(latency_ms=50)
    began = time.monotonic()
    answer = stand_ins.pool.request(method, "/target/deposits/1?notify=no", body=b'{"amount": 1}')
    assert time.monotonic() - began >= 0.05
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


def test_five_thousand_calls_at_fifty_connections_are_all_answered_and_counted(start: Start) -> None:
    stand_ins = start(latency_ms=20, error_rate=0.02, seed=3)
    paths = [f"/target/deposits/{n}" for n in range(5_000)]
    before = time.monotonic()

    with ThreadPoolExecutor(50) as clients:
        statuses = list(clients.map(lambda path: stand_ins.call_until_well(path, most=4), paths))

    stats = stand_ins.stats()
    expected = expected_calls(seed=3, identities=paths, error_rate=0.02, most=4)
    assert all(each[-1] == 200 for each in statuses)
    assert stats["calls"] == sum(map(len, statuses)) == expected.calls
    assert stats["injected"] == stats["calls"] - 5_000 == expected.injected > 0
    assert stats["calls_per_entry"] == {str(times): n for times, n in sorted(expected.calls_per_entry.items())}
    assert 25 < stats["in_flight_max"] <= 50
    assert stats["in_flight"] == stats["unauthorized"] == 0
    assert before < stats["first_call"] < stats["last_call"] < time.monotonic()


def test_two_processes_with_the_same_seed_fail_the_same_calls(start: Start) -> None:
    one, again, other = (start(error_rate=0.5, seed=seed) for seed in (1, 1, 2))
    paths = [f"/target/{n}" for n in range(50)]
    # In another order too: what is called before an entry plays no part.
    statuses = {path: one.call_until_well(path, most=3) for path in paths}
    assert statuses == {path: again.call_until_well(path, most=3) for path in reversed(paths)}
    assert statuses != {path: other.call_until_well(path, most=3) for path in paths}


def test_an_entry_fails_alike_in_every_run_and_each_run_counts_its_own_calls(start: Start) -> None:
    stand_ins = start(error_rate=0.5)
    entry = next(entry for entry in map("{:032x}".format, range(100)) if _fails_only_the_first_time(entry))
    for run in ("deposits-20261121T023000Z", "deposits-20261122T023000Z-ab12"):
        assert [stand_ins.call("/target/1", key=f"{run}-{entry}") for _ in range(2)] == [503, 200]
    assert stand_ins.stats()["calls_per_entry"] == {"2": 2}


def test_a_call_without_a_key_is_known_by_what_it_asks(start: Start) -> None:
    stand_ins = start(error_rate=0.5)
    paths = map("/target/{}".format, range(100))
    path = next(path for path in paths if _fails_only_the_first_time(identity("POST", path, b"")))
    assert [stand_ins.call(path) for _ in range(2)] == [503, 200]


def _fails_only_the_first_time(entry: str) -> bool:
    return [fault(0, entry, n, 0.5) for n in (1, 2)] == [True, False]


def test_reset_forgets_all_calls(start: Start) -> None:
    stand_ins = start(error_rate=1)
    stand_ins.call("/target/1")
    stand_ins.pool.request("POST", "/-/reset")
    stats = stand_ins.stats()
    assert stats.pop("cpu_seconds") > 0
    assert stats.pop("bank")["posts"] == 0
    assert stats == {
        "calls": 0,
        "injected": 0,
        "unauthorized": 0,
        "forbidden": 0,
        "limited": 0,
        "during_outage": 0,
        "busiest_second": 0,
        "calls_per_entry": {},
        "in_flight": 0,
        "in_flight_max": 0,
        "first_call": None,
        "last_call": None,
    }


@pytest.mark.parametrize(
    ("secret", "headers"),
    [("alice:s3cret", make_headers(basic_auth="alice:s3cret")), ("t0ken", {"Authorization": "Bearer t0ken"})],
)
def test_a_target_with_a_secret_refuses_who_does_not_know_it(
    start: Start, secret: str, headers: dict[str, str]
) -> None:
    stand_ins = start(target_secret=secret)
    wrong = make_headers(basic_auth="alice:wrong")
    statuses = [stand_ins.pool.request("POST", "/target/1", headers=each).status for each in (headers, wrong, {})]
    assert statuses == [200, 401, 401]
    assert (stand_ins.stats()["calls"], stand_ins.stats()["unauthorized"]) == (3, 2)


def test_a_chunked_body_is_the_same_request_as_a_whole_one(start: Start) -> None:
    stand_ins = start()
    assert stand_ins.call("/target/1", b"a longer body") == 200
    assert stand_ins.call("/target/1", iter([b"a longer", b" ", b"body"])) == 200
    assert stand_ins.stats()["calls_per_entry"] == {"2": 1}


def test_requests_are_understood_however_their_bytes_arrive(start: Start) -> None:
    stand_ins = start(latency_ms=20)
    requests = b"".join(
        (
            stand_ins.head("POST /target/slow") + b"Content-Length: 4\r\n\r\nbody",
            stand_ins.head("HEAD /target/head") + b"\r\n",
            stand_ins.head("POST /target/chunked") + b"Transfer-Encoding: chunked\r\n\r\n",
            b"4;x=y\r\nbody\r\n0\r\nTrailer: 1\r\n\r\n",
            stand_ins.head("GET /missing") + b"Connection: close\r\n\r\n",
        )
    )
    for pieces in ([requests], [bytes([each]) for each in requests]):
        with stand_ins.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.001)
            answers = _read_all(client)
        assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"200", b"404"]
        assert answers.count(b'{"status": "ok"}') == 2


def test_a_request_that_could_be_answered_at_once_waits_for_those_before_it(start: Start) -> None:
    stand_ins = start(latency_ms=200)
    with stand_ins.connect() as client:
        client.sendall(stand_ins.head("POST /target/1") + b"\r\n")
        _wait_until(lambda: stand_ins.stats()["in_flight"] == 1)
        client.sendall(stand_ins.head("GET /missing") + b"Connection: close\r\n\r\n")
        assert re.findall(rb"HTTP/1.1 (\d+)", _read_all(client)) == [b"200", b"404"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"POST /target/1 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /target/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /target/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nbody\r\n", 400),
        (b"POST /target/1 HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /target/1 HTTP/1.1\r\nX: " + b"x" * 100_000, 431),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(start: Start, request_: bytes, status: int) -> None:
    stand_ins = start()
    with stand_ins.connect() as client:
        client.sendall(request_)
        assert _read_all(client).startswith(f"HTTP/1.1 {status} ".encode())
    assert stand_ins.stats()["calls"] == 0


def test_a_client_that_hangs_up_is_no_longer_in_flight(start: Start) -> None:
    stand_ins = start(latency_ms=200)
    with stand_ins.connect() as client:
        client.sendall(stand_ins.head("POST /target/1") + b"\r\n")
        _wait_until(lambda: stand_ins.stats()["in_flight"] == 1)
    _wait_until(lambda: stand_ins.stats()["in_flight"] == 0)
    assert stand_ins.call("/target/2") == 200


# --- The door ---


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/target/1", {}),
        ("/-/reset", {}),
        ("/-/stats", {}),
        ("/wrong-token/-/stats", {}),
        ("//-/stats", {}),
        ("{token}", {"Origin": "https://evil.example"}),
        ("{token}", {"Origin": "null"}),
        ("{token}", {"Host": "evil.example"}),
        ("{token}", {"Host": "localhost"}),
        ("{token}", {"Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_a_stranger_does_not_get_in(start: Start, path: str, headers: dict[str, str]) -> None:
    stand_ins = start()
    path = path.replace("{token}", f"{urlsplit(stand_ins.base).path}/target/1")
    with urllib3.HTTPConnectionPool("127.0.0.1", stand_ins.port, retries=False) as pool:
        answer = pool.request("POST", path, headers=headers)
    assert answer.status == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert stand_ins.stats()["calls"] == 0


def test_the_token_of_the_base_url_is_new_each_time(start: Start) -> None:
    tokens = {urlsplit(start().base).path for _ in range(2)}
    assert len(tokens) == 2


# --- Report ---


def test_a_report_of_a_hundred_thousand_entries_is_valid_and_needs_no_memory(start_report: Start) -> None:
    stand_ins = start_report(entries=100_000)
    stand_ins.pool.request("GET", "/-/stats")
    before = stand_ins.peak_memory_kb()

    records = stand_ins.pool.request("GET", REPORT).json()["Report_Entry"]

    assert stand_ins.peak_memory_kb() - before < 2_000
    assert [record["Deposit_ID"] for record in records] == [f"DEP-{n}" for n in range(100_000)]
    assert records[7] == {"Deposit_ID": "DEP-7", "Client": "Zoë 7", "Amount": "10.50"}


def test_a_reader_that_stops_reading_costs_no_memory_and_holds_nobody_up(start_report: Start) -> None:
    stand_ins = start_report(entries=1_000_000)
    stand_ins.call("/target/1")
    before = stand_ins.peak_memory_kb()
    with stand_ins.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.sendall(stand_ins.head(f"GET {REPORT}") + b"\r\n")
        time.sleep(1)
        assert stand_ins.call("/target/2") == 200
        assert stand_ins.peak_memory_kb() - before < 2_000
    assert stand_ins.call("/target/3") == 200


def test_the_target_answers_while_a_report_is_read(start_report: Start) -> None:
    stand_ins = start_report(entries=1_000_000)
    report = stand_ins.pool.request("GET", REPORT, preload_content=False)
    with ThreadPoolExecutor(1) as reader:
        length = reader.submit(lambda: sum(map(len, report.stream(64 * 1024))))
        assert [stand_ins.call("/target/1") for _ in range(20)] == [200] * 20
        assert not length.done()
        assert length.result() > 50_000_000


def test_a_report_of_other_items_and_formats(start_report: Start) -> None:
    text = {
        each: start_report(entries=2, format=each, items="Rows").pool.request("GET", REPORT).data.decode()
        for each in ("json", "jsonl", "csv")
    }
    records = [{"Deposit_ID": f"DEP-{n}", "Client": f"Zoë {n}", "Amount": "10.50"} for n in range(2)]
    assert json.loads(text["json"]) == {"Rows": records}
    assert [json.loads(line) for line in text["jsonl"].splitlines()] == records
    assert list(csv.DictReader(io.StringIO(text["csv"]))) == records


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv"])
def test_a_report_without_entries(start_report: Start, format_: str) -> None:
    report = start_report(entries=0, format=format_).pool.request("GET", REPORT)
    assert report.data == (b'{"Report_Entry":[]}' if format_ == "json" else b"")


def test_a_report_with_a_secret_refuses_who_does_not_know_it(start_report: Start) -> None:
    pool = start_report(entries=1, report_secret="alice:s3cret").pool
    right = make_headers(basic_auth="alice:s3cret")
    assert [pool.request("GET", REPORT, headers=each).status for each in (right, {})] == [200, 401]


def test_only_the_report_of_its_job_is_there(start_report: Start) -> None:
    stand_ins = start_report(entries=1)
    assert stand_ins.pool.request("GET", "/report/another-job").status == 404


@pytest.mark.parametrize(
    ("fault_", "status", "body"),
    [
        ("not_json", 200, b"<!doctype html><title>Sign in</title><form></form>"),
        ("not_an_array", 200, b'{"Report_Entry": {"a": 1}}'),
        ("missing_key", 200, b'{"Other": []}'),
        ("empty", 200, b'{"Report_Entry": []}'),
        ("server_error", 500, b'{"error": "internal error"}'),
    ],
)
def test_a_report_can_be_broken(start_report: Start, fault_: str, status: int, body: bytes) -> None:
    report = start_report(entries=100, report_fault=fault_).pool.request("GET", REPORT)
    assert (report.status, report.data) == (status, body)


def test_a_report_can_be_cut_off_in_the_middle(start_report: Start) -> None:
    stand_ins = start_report(entries=10_000, report_fault="cut_off")
    report = stand_ins.pool.request("GET", REPORT, preload_content=False)
    received = io.BytesIO()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        received.writelines(report.stream(64 * 1024))
    assert b"DEP-4000" in received.getvalue()
    assert b"DEP-6000" not in received.getvalue()


def test_a_report_can_be_slow_to_start(start_report: Start) -> None:
    stand_ins = start_report(entries=1, report_fault="slow_start")
    began = time.monotonic()
    assert len(stand_ins.pool.request("GET", REPORT).json()["Report_Entry"]) == 1
    assert time.monotonic() - began >= 3


# --- Process ---


def test_it_ends_when_its_input_ends_even_with_work_at_hand(start_report: Start) -> None:
    stand_ins = start_report(entries=1_000_000, latency_ms=60_000)
    assert stand_ins.process.stdin is not None
    with stand_ins.connect() as caller, stand_ins.connect() as reader:
        caller.sendall(stand_ins.head("POST /target/1") + b"\r\n")
        reader.sendall(stand_ins.head(f"GET {REPORT}") + b"\r\n")
        _wait_until(lambda: stand_ins.stats()["in_flight"] == 1)
        stand_ins.process.stdin.close()
        assert stand_ins.process.wait(timeout=10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(start: Start, number: signal.Signals) -> None:
    stand_ins = start()
    stand_ins.process.send_signal(number)
    assert stand_ins.process.wait(timeout=10) == 0


def test_it_does_not_outlive_a_parent_that_is_killed(environment: dict[str, str]) -> None:
    script = f"""
import subprocess, time
process = subprocess.Popen({COMMAND!r}, stdin=subprocess.PIPE, text=True)
process.stdin.write("{{}}\\n")
process.stdin.flush()
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        port = urlsplit(json.loads(parent.stdout.readline())["base"]).port or 0
        socket.create_connection(("127.0.0.1", port)).close()
        parent.kill()
        _wait_until(lambda: not _listens(port))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "no options: write one line with a JSON object to standard input, {} at least"),
        ("[]", "options: Input should be an object"),
        ('{"latency": 5}', "latency: Extra inputs are not permitted"),
        (
            '{"error_rate": 2, "entries": -1}',
            "entries: Input should be greater than or equal to 0; error_rate: ",
        ),
        ('{"report_fault": "sabotage"}', "report_fault: Input should be 'cut_off', 'not_json', "),
        ('{"target_secret": 12345678}', "target_secret: Input should be a valid string"),
        (
            '{"job_module": "no_such_module"}',
            "job_module: cannot load no_such_module: no_such_module cannot be imported",
        ),
        ('{"job_module": "without_example"}', "job_module: job pay-deposits has no example"),
    ],
)
def test_wrong_options_are_refused_in_one_line(environment: dict[str, str], line: str, reason: str) -> None:
    ended = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env=environment,
        input=line + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"stand-ins: {reason}")
    assert ended.stderr.count("\n") == 1
    assert "12345678" not in ended.stderr


def _read_all(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(64 * 1024):
        received += piece
    return received


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited for ten seconds in vain"
        time.sleep(0.01)
