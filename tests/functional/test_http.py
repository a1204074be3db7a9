"""The target's HTTP client, over real sockets: what came back, and whether the request may have arrived."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from rollcall import Location, NotSent, Response, Unanswered
from rollcall.adapters.clients import Clients
from rollcall.adapters.http import TargetClient
from rollcall.adapters.secrets import Secrets
from rollcall.core.call import Request
from tests.functional.loopback import answer, reset, serving, unused_port

POST = Request("POST", "/deposits/D00?notify=no", {"Idempotency-Key": "k-1", "Content-Type": "application/json"}, b"{}")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def send(aws: Clients, runner: asyncio.Runner) -> Iterator[Callable[..., Response]]:
    """Send requests to a URL, with one client for each URL, closed at the end."""
    made: dict[str, TargetClient] = {}

    def send(url: str, request: Request = POST, *, secret: str | None = None) -> Response:
        if url not in made:
            made[url] = TargetClient(Location(url, secret), Secrets(aws.secretsmanager), timedelta(seconds=0.4), 5)
        return runner.run(made[url].send(request))

    yield send
    for client in made.values():
        runner.run(client.close())


Send = Callable[..., Response]


def test_a_request_arrives_as_it_is_and_its_answer_comes_back(send: Send) -> None:
    with serving(answer("201 Created", b'{"ok": true}', "Retry-After: 7")) as server:
        response = send(f"{server.url}/api/")
    assert (response.status, response.json()) == (201, {"ok": True})
    assert response.headers["retry-after"] == "7"
    head = server.heads[0]
    assert head.startswith("POST /api/deposits/D00?notify=no HTTP/1.1\r\n")
    assert "Idempotency-Key: k-1\r\n" in head
    assert "Content-Type: application/json\r\n" in head
    assert head.endswith("{}")


@pytest.mark.parametrize("status", [200, 400, 404, 500, 503])
def test_any_status_is_an_answer(send: Send, status: int) -> None:
    with serving(answer(f"{status} Whatever")) as server:
        assert send(server.url).status == status


def test_a_redirect_is_an_answer_and_not_followed(send: Send) -> None:
    with serving(answer("302 Found", b"", "Location: /elsewhere")) as server:
        assert send(server.url).status == 302
    assert len(server.heads) == 1


def test_the_targets_credentials_come_from_its_secret(aws: Clients, send: Send) -> None:
    aws.secretsmanager.create_secret(Name="accounting", SecretString=json.dumps({"token": "t0k3n"}))
    with serving(answer("200 OK")) as server:
        send(server.url, secret="accounting")
    assert "Authorization: Bearer t0k3n\r\n" in server.heads[0]


def test_a_proxy_of_the_environment_is_not_used(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    with serving(answer("200 OK")) as server:
        assert send(server.url).status == 200


def test_a_connection_is_kept_for_the_next_request(send: Send) -> None:
    with serving(answer("200 OK"), keep_alive=True) as server:
        for _ in range(3):
            assert send(server.url).status == 200
    assert (len(server.heads), server.connections) == (3, 1)


def test_cookies_are_not_kept(send: Send) -> None:
    with serving(answer("200 OK", b"", "Set-Cookie: session=1"), keep_alive=True) as server:
        send(server.url)
        send(server.url)
    assert "cookie" not in server.heads[1].lower()


# --- provably not sent ---


def test_a_refused_connection_proves_that_nothing_was_sent(send: Send) -> None:
    with pytest.raises(NotSent):
        send(f"http://127.0.0.1:{unused_port()}")


def test_an_unknown_host_proves_that_nothing_was_sent(send: Send) -> None:
    with pytest.raises(NotSent):
        send("http://nobody.invalid")


def test_a_failed_handshake_proves_that_nothing_was_sent(send: Send) -> None:
    with serving(b"", greeting=b"220 mail.example ready\r\n") as server, pytest.raises(NotSent):
        send(server.url.replace("http:", "https:"))


# --- it may have arrived ---


def hang(connection: socket.socket) -> None:
    connection.settimeout(0.6)
    with suppress(TimeoutError):
        connection.recv(1)


def hang_in_the_body(connection: socket.socket) -> None:
    break_in_the_body(connection)
    hang(connection)


def break_in_the_body(connection: socket.socket) -> None:
    connection.sendall(answer("200 OK", b"half", length=100))


@pytest.mark.parametrize("trouble", [hang, hang_in_the_body, reset, break_in_the_body, b"nonsense\r\n\r\n"], ids=str)
def test_a_request_without_a_whole_answer_may_have_arrived(
    send: Send, trouble: bytes | Callable[[socket.socket], None]
) -> None:
    with serving(trouble) as server, pytest.raises(Unanswered):
        send(server.url)
    assert len(server.heads) == 1


def test_an_answer_that_takes_too_long_says_how_long_was_waited(send: Send) -> None:
    with serving(hang) as server, pytest.raises(Unanswered, match=r"no answer within 0.4 s"):
        send(server.url)


def test_a_kept_connection_that_is_reset_is_not_used_for_a_silent_second_try(send: Send) -> None:
    """PUT counts as idempotent, but whether to call again is for the retry policy and its count to say."""
    put = Request("PUT", "/deposits/D00", {}, b"{}")
    with serving(answer("200 OK"), reset, keep_alive=True) as server:
        send(server.url, put)
        with pytest.raises(Unanswered):
            send(server.url, put)
    assert len(server.heads) == 2


def test_the_client_recovers_after_a_broken_connection(send: Send) -> None:
    with serving(reset, answer("200 OK")) as server:
        with pytest.raises(Unanswered):
            send(server.url)
        assert send(server.url).status == 200
