"""The local Lambda API admits clients with the run's key and nobody else, and prints nothing of what strangers do."""

import http.client
import json
import socket
import struct
from collections.abc import Iterator, Mapping

import pytest

from tools.local_cloud.functions import Function
from tools.local_cloud.lambda_api import LARGEST_EVENT, LambdaApi
from tools.loopback import Keys

KEYS = Keys("ROLLCALL0123456789ABCDEF", "secret")
PATH = "/2015-03-31/functions/echo/invocations"


class Echo(Function):
    """A function without a process, which answers with its event."""

    def __init__(self) -> None:
        self.name = "echo"
        self.events: list[object] = []

    def invoke(self, event: object) -> object:
        self.events.append(event)
        return event


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def api(echo: Echo) -> Iterator[LambdaApi]:
    api = LambdaApi({"echo": echo}, KEYS)
    yield api
    api.stop()


def port_of(api: LambdaApi) -> int:
    return int(api.endpoint.rpartition(":")[2])


def post(api: LambdaApi, body: bytes = b"{}", **headers: str) -> tuple[int, bytes]:
    """The status and body of an answer; `headers` with underscores replace or add to those of a client of the run."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(api), timeout=10)
    given: Mapping[str, str] = {"Authorization": KEYS.authorization} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    try:
        connection.request("POST", PATH, body, dict(given))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_client_with_the_key_invokes_a_function(api: LambdaApi, echo: Echo) -> None:
    assert post(api, b'{"a": 1}') == (200, b'{"a": 1}')
    assert echo.events == [{"a": 1}]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20261201/"},
        {"Host": "evil.example"},
        {"Host": "localhost"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Content_Length": str(LARGEST_EVENT + 1)},
        {"Content_Length": "-1"},
    ],
    ids=str,
)
def test_a_stranger_is_refused_before_its_event_is_read(api: LambdaApi, echo: Echo, headers: dict[str, str]) -> None:
    status, body = post(api, b"{}", **headers)
    assert (status, json.loads(body)) == (403, {"Message": "this port belongs to a run of rollcall"})
    assert echo.events == []


def test_a_request_with_two_hosts_is_refused(api: LambdaApi, echo: Echo) -> None:
    lines = [f"POST {PATH} HTTP/1.1", "Host: evil.example", f"Host: 127.0.0.1:{port_of(api)}"]
    request = "\r\n".join([*lines, f"Authorization: {KEYS.authorization}", "Content-Length: 2", "", "{}"])
    with socket.create_connection(("127.0.0.1", port_of(api)), timeout=10) as client:
        client.sendall(request.encode())
        assert client.recv(100).startswith(b"HTTP/1.0 403 ")
    assert echo.events == []


def test_an_event_that_is_no_json_is_the_clients_fault(api: LambdaApi) -> None:
    status, body = post(api, b"{")
    assert (status, json.loads(body)["Message"]) == (400, "the event is not JSON")


def test_a_connection_that_breaks_off_prints_nothing(api: LambdaApi, capfd: pytest.CaptureFixture[str]) -> None:
    for request in (b"", b"POST", f"POST {PATH} HTTP/1.1\r\nContent-Length: 5\r\n\r\n".encode()):
        client = socket.create_connection(("127.0.0.1", port_of(api)), timeout=10)
        client.sendall(request)
        # A reset in the place of an orderly end.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert post(api)[0] == 200, "and the server goes on"
    assert capfd.readouterr() == ("", "")
