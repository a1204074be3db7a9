"""The target's HTTP client, over real sockets: what came back, and whether the request may have arrived."""

import asyncio
import datetime
import gzip
import json
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rollcall import Location, NotSent, Rejected, Response, Unanswered
from rollcall.adapters import decompression
from rollcall.adapters.clients import Clients
from rollcall.adapters.http import client, connection
from rollcall.adapters.http.client import TargetClient
from rollcall.adapters.secrets import Secrets
from rollcall.core.call import Request
from rollcall.core.target import ANSWER_BYTES
from tests.functional.loopback import answer, judging, reset, serving, unused_port

GET = Request("GET", "/", {}, None)
POST = Request("POST", "/deposits/D00?notify=no", {"Idempotency-Key": "k-1", "Content-Type": "application/json"}, b"{}")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def send(aws: Clients, runner: asyncio.Runner) -> Iterator[Callable[..., Response]]:
    """Send requests to a URL, with one client for each URL, closed at the end."""
    made: dict[str, TargetClient] = {}

    def send(
        url: str, request: Request = POST, *, secret: str | None = None, seconds: float = 10, most: int = ANSWER_BYTES
    ) -> Response:
        if url not in made:
            where, secrets = Location(url, secret), Secrets(aws.secretsmanager)
            made[url] = TargetClient(where, secrets, timedelta(seconds=seconds), 5, most)
        return runner.run(made[url].send(request))

    yield send
    for each in made.values():
        runner.run(each.close())


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


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_an_answer_and_not_followed(send: Send, status: str) -> None:
    with serving(answer(status, b"", "Location: /elsewhere")) as server:
        assert send(server.url).status == int(status[:3])
    assert len(server.heads) == 1


def test_the_targets_credentials_come_from_its_secret(aws: Clients, send: Send) -> None:
    aws.secretsmanager.create_secret(Name="accounting", SecretString=json.dumps({"token": "t0k3n"}))
    with serving(answer("200 OK")) as server:
        send(server.url, secret="accounting")
    assert "Authorization: Bearer t0k3n\r\n" in server.heads[0]


def test_a_proxy_of_the_environment_is_not_used(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
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


# --- what is written ---


def test_what_a_path_may_not_hold_is_quoted_and_nothing_else(send: Send) -> None:
    with serving(answer("200 OK")) as server:
        send(f"{server.url}/a b", Request("GET", "/Zoë/x%2Fy%7E;v=1/it's (A)?q=a b&r=[1]|2", {}, None))
    assert server.heads[0].startswith("GET /a%20b/Zo%C3%AB/x%2Fy%7E;v=1/it's%20(A)?q=a%20b&r=[1]|2 HTTP/1.1\r\n")


def test_no_compressed_answer_is_asked_for(send: Send) -> None:
    with serving(answer("200 OK")) as server:
        send(server.url)
    assert "accept-encoding" not in server.heads[0].lower()


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", None, None), ("DELETE", None, None), ("PUT", None, "0"), ("POST", b"", "0"), ("DELETE", b"{}", "2")],
)
def test_the_length_of_a_body_is_told_where_there_may_be_one(
    send: Send, method: str, body: bytes | None, length: str | None
) -> None:
    with serving(answer("200 OK")) as server:
        send(server.url, Request(method, "/", {}, body))
    lengths = [line[16:] for line in server.heads[0].split("\r\n") if line.startswith("Content-Length: ")]
    assert lengths == ([] if length is None else [length])


def test_a_callback_may_name_itself(send: Send) -> None:
    with serving(answer("200 OK")) as server:
        send(server.url, Request("GET", "/", {"user-agent": "books/2", "ACCEPT": "text/csv", "X-Client": "Zoë"}, None))
    lines = server.heads[0].split("\r\n")
    assert [line for line in lines if line.lower().startswith(("user-agent", "accept", "x-client"))] == [
        "user-agent: books/2", "ACCEPT: text/csv", "X-Client: Zoë",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/a\r\nX: y", {}, None),
        Request("GET", "/a\nX: y", {}, None),
        Request("GET", "/a\x00", {}, None),
        Request("GET", "/deposits/D#7", {}, None),
        Request("GET", "deposits", {}, None),
        Request("GET", "@elsewhere.example/", {}, None),
        Request("GET", "/\ud800", {}, None),
        Request("GET", "/", {"X": "a\r\nX: y"}, None),
        Request("GET", "/", {"X": "a\ny"}, None),
        Request("GET", "/", {"X": "a\x00"}, None),
        Request("GET", "/", {"X": "\ud800"}, None),
        Request("GET", "/", {"X\r\nY": "a"}, None),
        Request("GET", "/", {"X: y": "a"}, None),
        Request("GET", "/", {"": "a"}, None),
        Request("GET / HTTP/1.1\r\nX: y\r\n", "/", {}, None),
        Request("POST", "/", {"content-length": "0"}, b"GET / HTTP/1.1\r\n\r\n"),
        Request("POST", "/", {"Transfer-Encoding": "chunked"}, b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        Request("GET", "/", {"Host": "elsewhere.example"}, None),
        Request("POST", "/", {"Expect": "100-continue"}, b"{}"),
    ],
    ids=repr,
)
def test_a_request_that_would_be_read_as_another_is_refused(send: Send, request_: Request) -> None:
    with serving(answer("200 OK")) as server, pytest.raises(Rejected):
        send(server.url, request_)
    assert server.heads == []


# --- what is read ---


def chunked(*pieces: bytes, trailer: bytes = b"", head: str = "HTTP/1.1 200 OK") -> bytes:
    body = b"".join(b"%x;note=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return (
        f"{head}\r\nX-Kind: chunked\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + body
        + b"0\r\n"
        + trailer
        + b"\r\n"
    )


def test_a_body_in_chunks_and_nothing_of_its_trailers(send: Send) -> None:
    with serving(chunked(b"one ", b"two", trailer=b"X-Kind: trailer\r\n"), keep_alive=True) as server:
        for _ in range(2):
            response = send(server.url)
            assert (response.body, response.headers["x-kind"]) == (b"one two", "chunked")
    assert server.connections == 1


def test_a_body_until_the_connection_ends(send: Send) -> None:
    with serving(b"HTTP/1.0 200 OK\r\n\r\nall of it") as server:
        assert send(server.url).body == b"all of it"


def test_an_answer_in_many_pieces(send: Send) -> None:
    def drip(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in answer("200 OK", b"slowly", "X-Kind: a"):
            connection.sendall(bytes([byte]))

    with serving(drip) as server:
        response = send(server.url)
    assert (response.body, response.headers) == (b"slowly", {"content-length": "6", "x-kind": "a"})


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_without_a_body_is_whole_at_its_heads_end(send: Send, method: str) -> None:
    status = "200 OK" if method == "HEAD" else "304 Not Modified"
    with serving(answer(status, length=9), answer("200 OK", b"next"), keep_alive=True) as server:
        assert send(server.url, Request(method, "/", {}, None)).body == b""
        assert send(server.url).body == b"next"
    assert server.connections == 1


def test_a_body_that_may_not_be_there_is_not_read_as_the_next_answer(send: Send) -> None:
    with serving(answer("200 OK", b"body"), keep_alive=True) as server:
        assert send(server.url, Request("HEAD", "/", {}, None)).body == b""
        assert send(server.url).body == b"body"
    assert server.connections == 2


def test_an_answer_of_204_needs_no_length(send: Send) -> None:
    with serving(b"HTTP/1.1 204 No Content\r\n\r\n", keep_alive=True) as server:
        assert [send(server.url).status for _ in range(2)] == [204, 204]
    assert server.connections == 1


def test_what_comes_before_the_answer_is_passed_over(send: Send) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Kind: hint\r\n\r\n"
    with serving(early + answer("200 OK", b"{}", "X-Kind: answer")) as server:
        response = send(server.url)
    assert (response.status, response.headers["x-kind"], response.body) == (200, "answer", b"{}")


def test_a_header_that_comes_twice_is_joined(send: Send) -> None:
    with serving(answer("200 OK", b"", "Allow: GET", "X-Empty:", "allow: PUT")) as server:
        headers = send(server.url).headers
    assert (headers["allow"], headers["x-empty"]) == ("GET, PUT", "")


@pytest.mark.parametrize(
    ("coding", "body", "read"),
    [
        ("gzip", gzip.compress(b"{}" * 99, mtime=0), b"{}" * 99),
        ("X-GZIP", gzip.compress(b"{}", mtime=0), b"{}"),
        ("deflate", zlib.compress(b"{}"), b"{}"),
        ("gzip", b"", b""),
        ("br", b"\x0b\x00", b"\x0b\x00"),
    ],
)
def test_a_body_that_is_compressed_though_nobody_asked_for_it(
    send: Send, coding: str, body: bytes, read: bytes
) -> None:
    with serving(answer("200 OK", body, f"Content-Encoding: {coding}")) as server:
        assert send(server.url).body == read


# --- which connection is used ---


@dataclass(slots=True)
class HangUp:
    """Answer as if the connection were kept, and close it when told, or say `last` into it."""

    last: bytes = b""
    told: Event = field(default_factory=Event)
    done: Event = field(default_factory=Event)

    def __call__(self, connection: socket.socket) -> None:
        connection.sendall(answer("200 OK"))
        self.told.wait(5)
        if self.last:
            connection.sendall(self.last)
        else:
            connection.shutdown(socket.SHUT_RDWR)
        self.done.set()
        hang(connection)

    def now(self) -> None:
        self.told.set()
        assert self.done.wait(5)


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced_unseen(send: Send) -> None:
    """No event loop runs between the requests, as while an environment of a function is frozen."""
    put, hang_up = Request("PUT", "/deposits/D00", {}, b"{}"), HangUp()
    with serving(hang_up, answer("200 OK")) as server:
        assert send(server.url, put).status == 200
        hang_up.now()
        assert send(server.url, put).status == 200
    assert (len(server.heads), server.connections) == (2, 2)


def test_a_kept_connection_in_which_something_was_said_unasked_is_replaced(send: Send, runner: asyncio.Runner) -> None:
    speak_up = HangUp(last=b"\r\n")
    with serving(speak_up, answer("200 OK")) as server:
        assert send(server.url).status == 200
        speak_up.now()
        for _ in range(3):
            runner.run(asyncio.sleep(0))
        assert send(server.url).status == 200
    assert server.connections == 2


def test_a_kept_connection_that_was_seen_to_close_is_replaced_whoever_has_its_number_now(
    send: Send, runner: asyncio.Runner
) -> None:
    hang_up = HangUp()
    with serving(hang_up, answer("200 OK")) as server, ExitStack() as others:
        assert send(server.url).status == 200
        hang_up.now()
        for _ in range(3):
            runner.run(asyncio.sleep(0))
        for _ in range(3):
            others.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        assert send(server.url).status == 200
    assert server.connections == 2


@pytest.mark.parametrize(
    ("reply", "connections"),
    [
        (answer("200 OK", b"", "Connection: close"), 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 2),
        (answer("200 OK", b"", "Keep-Alive: timeout=0"), 2),
        (answer("200 OK", b"", "Keep-Alive: timeout=5, max=100"), 1),
        (answer("200 OK") + answer("200 OK"), 2),
        (answer("200 OK") + b"?", 2),
    ],
    ids=["close", "HTTP/1.0", "kept for no time", "kept", "two answers", "surplus"],
)
def test_a_connection_is_kept_where_both_sides_want_it(send: Send, reply: bytes, connections: int) -> None:
    with serving(reply, keep_alive=True) as server:
        assert [send(server.url).status for _ in range(2)] == [200, 200]
    assert server.connections == connections


@pytest.mark.parametrize("told", [(), ("Keep-Alive: timeout=900",)])
def test_a_connection_is_not_kept_for_long(send: Send, monkeypatch: pytest.MonkeyPatch, told: tuple[str, ...]) -> None:
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.0)
    with serving(answer("200 OK", b"", *told), keep_alive=True) as server:
        assert [send(server.url).status for _ in range(2)] == [200, 200]
    assert server.connections == 2


def test_an_answer_before_the_whole_request_ends_the_connection(send: Send) -> None:
    too_large = Request("PUT", "/", {}, bytes(16 * 1024 * 1024))
    with serving(answer("413 Content Too Large"), answer("200 OK"), keep_alive=True) as server:
        assert send(server.url, too_large).status == 413
        assert send(server.url).status == 200
    assert server.connections == 2


def test_no_more_connections_are_made_than_asked_for(aws: Clients, runner: asyncio.Runner) -> None:
    two_there = asyncio.Barrier(2)

    async def judge(_: str) -> bytes:
        await two_there.wait()
        return answer("200 OK")

    async def story() -> int:
        async with judging(judge) as server:
            client = TargetClient(Location(server.url), Secrets(aws.secretsmanager), timedelta(seconds=5), 2)
            answers = await asyncio.gather(*(client.send(POST) for _ in range(6)))
            assert [response.status for response in answers] == [200] * 6
            await client.close()
        return server.connections

    assert runner.run(story()) == 2


def test_a_call_that_is_cancelled_closes_its_connection(aws: Clients, runner: asyncio.Runner) -> None:
    ended = Event()

    def wait_for_the_end(connection: socket.socket) -> None:
        connection.settimeout(5)
        if connection.recv(1) == b"":
            ended.set()

    async def story(url: str, heads: list[str]) -> None:
        client = TargetClient(Location(url), Secrets(aws.secretsmanager), timedelta(seconds=5), 1)
        task = asyncio.create_task(client.send(POST))
        while not heads:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with serving(wait_for_the_end) as server:
        runner.run(story(server.url, server.heads))
        assert ended.wait(5)


# --- provably not sent ---


def test_a_refused_connection_proves_that_nothing_was_sent(send: Send) -> None:
    with pytest.raises(NotSent):
        send(f"http://127.0.0.1:{unused_port()}")


def test_an_unknown_host_proves_that_nothing_was_sent(send: Send) -> None:
    with pytest.raises(NotSent):
        send("http://nobody.invalid")


def test_a_connection_that_is_not_made_in_time_proves_that_nothing_was_sent(
    aws: Clients, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue of a listener that accepts nobody is full after two, and further ones get no word."""
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.05)

    async def story(port: int) -> None:
        client = TargetClient(Location(f"http://127.0.0.1:{port}"), Secrets(aws.secretsmanager), timedelta(hours=1), 1)
        async with asyncio.timeout(5):
            await client.send(POST)

    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        address = listener.getsockname()
        for _ in range(4):
            another = waiting.enter_context(socket.socket())
            another.setblocking(False)
            another.connect_ex(address)
        with pytest.raises(NotSent, match="no connection in time"):
            runner.run(story(address[1]))


def test_a_request_that_waited_for_others_proves_that_nothing_was_sent(aws: Clients, runner: asyncio.Runner) -> None:
    async def story() -> list[Response | BaseException]:
        client = TargetClient(Location(server.url), Secrets(aws.secretsmanager), timedelta(seconds=0.2), 1)
        return [*await asyncio.gather(client.send(POST), client.send(POST), return_exceptions=True)]

    with serving(hang) as server:
        assert [type(end) for end in runner.run(story())] == [Unanswered, NotSent]
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("ftp://127.0.0.1", "form"),
        ("http://", "form"),
        ("127.0.0.1", "form"),
        ("http://127.0.0.1/?key=s3cr3t", "form"),
        ("http://127.0.0.1/#s3cr3t", "form"),
        ("http://user:s3cr3t@127.0.0.1", "names a user"),
        ("http://127.0.0.1:99999", "[Pp]ort"),
        ("http://127.0.0.1:x", "[Pp]ort"),
        ("http://a..b", "label"),
    ],
)
def test_a_url_that_is_none_proves_that_nothing_was_sent(send: Send, url: str, what: str) -> None:
    with pytest.raises(NotSent, match=what) as raised:
        send(url)
    assert "s3cr3t" not in str(raised.value)


def test_a_host_beyond_ascii_is_written_as_dns_has_it(send: Send) -> None:
    with pytest.raises(NotSent, match=r"xn--bcher-kva\.invalid:8080/deposits"):
        send("http://bücher.invalid:8080")


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a server `localhost`, signed by itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=localhost")
    now, day = datetime.datetime.now(datetime.UTC), timedelta(days=1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    path.write_bytes(signed.public_bytes(pem) + private)
    return path


def send_over_tls(aws: Clients, certificate: Path, host: str) -> tuple[list[int], int]:
    """Two requests: their statuses, and the connections that they took."""

    async def judge(_: str) -> bytes:
        return answer("200 OK", b"{}")

    async def story() -> tuple[list[int], int]:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
        async with judging(judge, tls) as server:
            url = server.url.replace("http://127.0.0.1", f"https://{host}")
            client = TargetClient(Location(url), Secrets(aws.secretsmanager), timedelta(seconds=5), 1)
            try:
                return [(await client.send(POST)).status for _ in range(2)], server.connections
            finally:
                await client.close()

    return asyncio.run(story())


def test_https_to_a_server_whose_certificate_is_trusted(
    aws: Clients, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert send_over_tls(aws, certificate, "localhost") == ([200, 200], 1)


def test_a_certificate_that_nobody_vouches_for_proves_that_nothing_was_sent(aws: Clients, certificate: Path) -> None:
    with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
        send_over_tls(aws, certificate, "localhost")


def test_a_certificate_of_another_host_proves_that_nothing_was_sent(
    aws: Clients, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(NotSent, match="mismatch"):
        send_over_tls(aws, certificate, "127.0.0.1")


def test_a_failed_handshake_proves_that_nothing_was_sent(send: Send) -> None:
    with serving(b"", greeting=b"220 mail.example ready\r\n") as server, pytest.raises(NotSent):
        send(server.url.replace("http:", "https:"))


def test_a_handshake_without_an_end_proves_that_nothing_was_sent(send: Send) -> None:
    with serving(b"") as server, pytest.raises(NotSent, match="no connection in time"):
        send(server.url.replace("http:", "https:"), seconds=0.4)


# --- it may have arrived ---


def hang(connection: socket.socket) -> None:
    connection.settimeout(5)
    with suppress(TimeoutError):
        connection.recv(1)


def hang_in_the_body(connection: socket.socket) -> None:
    break_in_the_body(connection)
    hang(connection)


def break_in_the_body(connection: socket.socket) -> None:
    connection.sendall(answer("200 OK", b"half", length=100))


def reset_in_the_body(connection: socket.socket) -> None:
    break_in_the_body(connection)
    reset(connection)


def reset_in_a_body_without_length(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    time.sleep(0.05)  # a reset would take with it what has not been read
    reset(connection)


def end(_: socket.socket) -> None:
    """Close in order, without a word."""


@pytest.mark.parametrize(
    "trouble",
    [
        hang, hang_in_the_body, end, reset, break_in_the_body, reset_in_the_body, reset_in_a_body_without_length,
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nX-Cut",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        answer("200 OK", gzip.compress(b"{}" * 99, mtime=0)[:-4], "Content-Encoding: gzip"),
        answer("200 OK", b"plain", "Content-Encoding: gzip"),
    ],
    ids=lambda answer: answer.__name__ if callable(answer) else repr(answer),
)  # fmt: skip
def test_a_request_without_a_whole_answer_may_have_arrived(
    send: Send, trouble: bytes | Callable[[socket.socket], None], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(trouble) as server, pytest.raises(Unanswered):
        send(server.url, seconds=0.4)
    assert len(server.heads) == 1
    assert not caplog.records, "an error that is expected needs no traceback in the logs"


def fill(before: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """Begin an answer and send more and more of it, until the other side has had enough."""

    def reply(connection: socket.socket) -> None:
        connection.settimeout(5)
        connection.sendall(before)
        with suppress(ConnectionError):
            while True:
                connection.sendall(piece)

    return reply


@pytest.mark.parametrize(
    ("endless", "what"),
    [
        (fill(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 999), "the head of the answer is too large"),
        (fill(b"HTTP/1.1 200 OK\r\n", b"X-Kind: x\r\n"), "the head of the answer is too large"),
        (fill(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "the head of the answer is too large"),
        (fill(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 999), "the answer is too large"),
        (fill(answer("200 OK", length=99_000_000), b"x" * 999), "the answer is too large"),
        (fill(chunked()[:-5], b"1\r\nx\r\n"), "the answer is too large"),
        (fill(chunked()[:-2], b"X-Kind: x\r\n"), "the answer is too large"),
        (answer("200 OK", gzip.compress(bytes(999_999), mtime=0), "Content-Encoding: gzip"), "too large"),
        (answer("200 OK", gzip.compress(bytes(99_999), mtime=0) * 3, "Content-Encoding: gzip"), "too large"),
    ],
    ids=["a header", "headers", "1xx", "no length", "length", "chunks", "trailers", "compressed", "members"],
)
def test_an_answer_without_end_fills_no_memory(
    send: Send, endless: bytes | Callable[[socket.socket], None], what: str
) -> None:
    with serving(endless) as server, pytest.raises(Unanswered, match=what):
        send(server.url, most=200_000)


def test_an_answer_of_as_many_bytes_as_allowed_arrives(send: Send) -> None:
    with serving(answer("200 OK", b"x" * 200_000)) as server:
        assert send(server.url, most=200_000).body == b"x" * 200_000
    with (
        serving(answer("200 OK", b"x" * 200_001)) as server,
        pytest.raises(Unanswered, match=r"more than 200,000 bytes"),
    ):
        send(server.url, most=200_000)


def test_a_refused_answer_names_where_more_can_be_declared(send: Send) -> None:
    with serving(answer("200 OK", b"xx")) as server, pytest.raises(Unanswered, match=r"\(Target\.answer_bytes\)"):
        send(server.url, most=1)


@pytest.mark.parametrize("width", [1, 10])
def test_small_answers_that_unpack_to_much_are_unpacked_no_further_than_the_bound(
    aws: Clients, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """16 KB of gzip hold 16 MB: ten of them at once took a worker to 314 of its 256 MB."""
    made = 0

    class Counted:
        def __init__(self) -> None:
            self._decoder = zlib.decompressobj(wbits=47)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal made
            piece = self._decoder.decompress(data, most)
            made += len(piece)
            return piece

        def __getattr__(self, name: str) -> object:
            return getattr(self._decoder, name)

    monkeypatch.setattr(decompression, "_decoder", Counted)
    bomb = answer("200 OK", gzip.compress(bytes(16_000_000), mtime=0), "Content-Encoding: gzip")

    async def call_all(url: str) -> list[BaseException | Response]:
        client = TargetClient(Location(url), Secrets(aws.secretsmanager), timedelta(seconds=10), width, 100_000)
        return await asyncio.gather(*(client.send(GET) for _ in range(width)), return_exceptions=True)

    with serving(bomb) as server:
        answers = runner.run(call_all(server.url))
    assert all(isinstance(each, Unanswered) for each in answers)
    assert made <= width * (100_000 + decompression.PIECE)


def test_what_is_compressed_twice_is_given_as_it_came(send: Send) -> None:
    twice = gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0)
    with serving(answer("200 OK", twice, "Content-Encoding: gzip, gzip")) as server:
        assert send(server.url).body == twice


def test_an_answer_of_several_members_arrives_whole(send: Send) -> None:
    members = gzip.compress(b'{"a":', mtime=0) + gzip.compress(b"1}", mtime=0)
    with serving(answer("200 OK", members, "Content-Encoding: gzip")) as server:
        assert send(server.url).json() == {"a": 1}


def test_an_answer_has_a_bounded_number_of_headers(send: Send) -> None:
    lines = [f"X-{number}: x" for number in range(connection.MOST_HEADERS)]
    with serving(answer("200 OK", b"", *lines[1:])) as server:
        assert send(server.url).status == 200
    with serving(answer("200 OK", b"", *lines)) as server, pytest.raises(Unanswered, match=r"\(MOST_HEADERS\)"):
        send(server.url)


def test_a_kept_connection_keeps_no_answer(runner: asyncio.Runner, aws: Clients) -> None:
    async def held(url: str) -> int:
        client = TargetClient(Location(url), Secrets(aws.secretsmanager), timedelta(seconds=10), 1)
        await client.send(GET)
        (connection,) = client._kept
        length = len(connection._body)
        await client.close()
        return length

    with serving(answer("200 OK", b"x" * 99_999), keep_alive=True) as server:
        assert runner.run(held(server.url)) == 0


def test_an_answer_that_takes_too_long_says_how_long_was_waited(send: Send) -> None:
    with serving(hang) as server, pytest.raises(Unanswered, match=r"no answer within 0.4 s"):
        send(server.url, seconds=0.4)


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
