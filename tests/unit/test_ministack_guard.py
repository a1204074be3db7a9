"""The guard in front of MiniStack, without MiniStack: what it passes on, and what it refuses."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tools.local_cloud.ministack_guard import FORBIDDEN, POLICY_VIOLATION, Guard
from tools.loopback import Keys

HOST = "127.0.0.1:4566"
KEYS = Keys("ROLLCALL0123456789ABCDEF", "secret")


class Emulator:
    """An application that counts what reaches it."""

    def __init__(self) -> None:
        self.reached: list[Mapping[str, Any]] = []
        self.sent: list[Mapping[str, Any]] = []

    async def __call__(self, scope: Mapping[str, Any], receive: object, send: object) -> None:
        del receive, send
        self.reached.append(scope)

    def asked(self, kind: str = "http", method: str = "POST", path: str = "/", **headers: str) -> bool:
        """Whether a request to the guard in front of it reaches it."""
        given = {"host": HOST, "authorization": KEYS.authorization} | {
            n.replace("_", "-"): v for n, v in headers.items()
        }
        pairs = [(name.encode(), value.encode()) for name, value in given.items()]
        before = len(self.reached)

        async def receive() -> Mapping[str, Any]:
            raise AssertionError("a refused request is not read")

        async def send(message: Mapping[str, Any]) -> None:
            self.sent.append(message)

        guard = Guard(self, HOST, KEYS.access_key_id)
        asyncio.run(guard({"type": kind, "method": method, "path": path, "headers": pairs}, receive, send))
        return len(self.reached) > before


@pytest.fixture
def emulator() -> Emulator:
    return Emulator()


@pytest.mark.parametrize("path", ["/", "/000000000000/bills.fifo", "/rollcall-local-manifests/run/_chunk"])
def test_requests_of_the_run_pass(emulator: Emulator, path: str) -> None:
    assert emulator.asked(path=path)
    assert emulator.sent == []


def test_a_server_that_starts_passes(emulator: Emulator) -> None:
    assert emulator.asked("lifespan")


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "AWS4-HMAC-SHA256 Credential=test/20261201/"},
        {"host": "evil.example"},
        {"host": "localhost:4566"},
        {"origin": "https://evil.example"},
        {"sec_fetch_site": "cross-site"},
    ],
    ids=str,
)
def test_a_stranger_is_refused_and_told_nothing(emulator: Emulator, headers: dict[str, str]) -> None:
    assert not emulator.asked(**headers)
    start, body = emulator.sent
    assert start["status"] == FORBIDDEN
    assert [name for name, _ in start["headers"]] == [b"content-type", b"content-length"]
    assert KEYS.access_key_id.encode() not in body["body"]


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_methods_that_no_client_of_aws_uses_are_refused(emulator: Emulator, method: str) -> None:
    assert not emulator.asked(method=method)


@pytest.mark.parametrize(
    "path", ["/_ministack/reset", "/_localstack/health", "//_ministack/reset", "/_aws/sqs/messages", "/health"]
)
def test_its_own_paths_are_closed_to_the_run_as_well(emulator: Emulator, path: str) -> None:
    assert not emulator.asked(path=path)


def test_a_web_socket_is_closed(emulator: Emulator) -> None:
    assert not emulator.asked("websocket")
    assert emulator.sent == [{"type": "websocket.close", "code": POLICY_VIOLATION}]
