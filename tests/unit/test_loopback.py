"""A port of ours admits requests that name it exactly, come from no browser and carry the run's key."""

import socket

import pytest

from tools.loopback import Keys, is_local, listening, signs, token

HOST = "127.0.0.1:4566"
KEYS = Keys("ROLLCALL0123456789ABCDEF", "secret")


def test_a_request_that_names_the_port_is_local() -> None:
    assert is_local({"host": HOST, "user-agent": "Boto3"}, HOST)


@pytest.mark.parametrize(
    "host",
    ["localhost:4566", "127.0.0.1", "127.0.0.1:4567", "evil.example:4566", "127.0.0.1.evil.example:4566", "", None],
)
def test_a_request_that_names_another_host_is_not(host: str | None) -> None:
    assert not is_local({} if host is None else {"host": host}, HOST)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", f"http://{HOST}"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "no-cors"),
        ("access-control-request-method", "POST"),
    ],
)
def test_a_request_of_a_browser_is_not(header: str, value: str) -> None:
    assert not is_local({"host": HOST, header: value}, HOST)


def test_the_key_of_the_run_signs() -> None:
    scope = "20261201/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    assert signs(f"AWS4-HMAC-SHA256 Credential={KEYS.access_key_id}/{scope}", KEYS.access_key_id)
    assert signs(KEYS.authorization, KEYS.access_key_id)


def test_the_key_of_a_session_begins_with_that_of_the_run() -> None:
    assert signs(f"AWS4-HMAC-SHA256 Credential={KEYS.access_key_id}AAAA/x", KEYS.access_key_id)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "AWS4-HMAC-SHA256 Credential=/20261201",
        "AWS4-HMAC-SHA256 Credential=test/20261201",
        "AWS4-HMAC-SHA256 Credential=000000000000/20261201",
        f"AWS4-HMAC-SHA256 Credential={KEYS.access_key_id[:-1]}/20261201",
        f"AWS4-HMAC-SHA256 Credential=test, Credential={KEYS.access_key_id}/20261201",
        f"Bearer {KEYS.access_key_id}/",
        f"AWS {KEYS.access_key_id}:signature",
        "AWS4-HMAC-SHA256 Credential=" + "é" * 24 + "/",
    ],
)
def test_another_key_does_not_sign(authorization: str) -> None:
    assert not signs(authorization, KEYS.access_key_id)


def test_keys_and_tokens_are_new_each_time() -> None:
    assert len({Keys.fresh().access_key_id for _ in range(100)}) == 100
    assert len({token() for _ in range(100)}) == 100


def test_a_port_that_is_listened_on_cannot_be_taken() -> None:
    with listening() as ours, socket.socket() as theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            theirs.bind(ours.getsockname())


def test_a_port_is_open_on_loopback_alone() -> None:
    with listening() as ours:
        assert ours.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_an_error() -> None:
    with listening() as first, pytest.raises(OSError, match="in use"):
        listening(first.getsockname()[1])
