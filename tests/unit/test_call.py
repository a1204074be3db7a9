"""The HTTP client of a call: bound to the target, with the entry's idempotency key on every request."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from unittest.mock import Mock

import pytest

from rollcall.core.call import Call, Http, Request, Response
from rollcall.core.errors import HttpError, NotSent, Rejected, Unanswered
from tests.unit.jobs import DUE, RUN_ID

OK = Response(200, {}, b'{"id": 7}')


class Target:
    """Answers every request alike, and remembers what was asked."""

    def __init__(self, answer: Response | Exception = OK) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def sent(ask: Callable[[Http], Awaitable[Response]]) -> Request:
    """The one request that `ask` makes of a client whose key is run-1."""
    target = Target()
    asyncio.run(awaited(ask(Http(target, "run-1"))))
    (request,) = target.requests
    return request


async def awaited(response: Awaitable[Response]) -> Response:
    return await response


@pytest.mark.parametrize(
    ("ask", "method"),
    [
        (lambda http: http.get("/deposits?page=1"), "GET"),
        (lambda http: http.post("/deposits?page=1"), "POST"),
        (lambda http: http.put("/deposits?page=1"), "PUT"),
        (lambda http: http.patch("/deposits?page=1"), "PATCH"),
        (lambda http: http.delete("/deposits?page=1"), "DELETE"),
    ],
    ids=["get", "post", "put", "patch", "delete"],
)
def test_every_request_carries_the_entrys_idempotency_key(
    ask: Callable[[Http], Awaitable[Response]], method: str
) -> None:
    assert sent(ask) == Request(method, "/deposits?page=1", {"Idempotency-Key": "run-1"}, None)


@pytest.mark.parametrize("ask", [Http.post, Http.put, Http.patch], ids=["post", "put", "patch"])
def test_json_is_sent_as_json(ask: Callable[..., Awaitable[Response]]) -> None:
    request = sent(lambda http: ask(http, "/deposits", json={"client": "Zoë", "amount": 1}))
    assert request.body == b'{"client":"Zo\\u00eb","amount":1}'
    assert request.headers["Content-Type"] == "application/json"


def test_a_body_is_sent_as_it_is() -> None:
    request = sent(lambda http: http.request("PUT", "/files/1", body=b"\x00", headers={"Content-Type": "image/png"}))
    assert (request.body, request.headers["Content-Type"]) == (b"\x00", "image/png")


def test_a_content_type_of_ones_own_stands() -> None:
    own = {"Content-Type": "application/merge-patch+json"}
    request = sent(lambda http: http.request("PATCH", "/deposits/1", json={}, headers=own))
    assert request.headers["Content-Type"] == "application/merge-patch+json"


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_success_is_returned(status: int) -> None:
    answer = replace(OK, status=status)
    assert asyncio.run(Http(Target(answer), "run-1").get("/")) == answer


@pytest.mark.parametrize("status", [199, 300, 302, 404, 429, 503])
def test_any_other_answer_is_raised_with_all_that_it_says(status: int) -> None:
    answer = Response(status, {"retry-after": "9"}, "später".encode())
    with pytest.raises(HttpError, match=f"HTTP {status}: später") as raised:
        asyncio.run(Http(Target(answer), "run-1").get("/"))
    assert (raised.value.status, raised.value.headers, raised.value.body) == (status, {"retry-after": "9"}, "später")


@pytest.mark.parametrize(("error", "unanswered"), [(Unanswered("timed out"), True), (NotSent("refused"), False)])
def test_the_client_remembers_a_request_that_nobody_answered(error: Exception, unanswered: bool) -> None:
    http = Http(Target(error), "run-1")
    with pytest.raises(type(error)):
        asyncio.run(http.get("/"))
    assert http.unanswered is unanswered


def test_an_answered_client_has_nothing_to_remember() -> None:
    http = Http(Target(), "run-1")
    asyncio.run(http.get("/"))
    assert http.unanswered is False


def call(target: Target) -> Call:
    """A first call, whose coroutines are run where they are waited for."""
    no_time, http = timedelta(0), Http(target, "run-1")
    return Call(
        RUN_ID,
        "DEP-1",
        "run-1",
        attempt=1,
        last_attempt=False,
        scheduled_for=DUE,
        late_by=no_time,
        remaining=no_time,
        http=http,
        _secret=str.upper,
        _table=Mock(),
        _wait=asyncio.run,
    )


def test_a_plain_callback_waits_for_its_answer() -> None:
    plain = call(Target())
    assert plain.wait(plain.http.get("/deposits")) == OK


def test_a_callback_reads_secrets_through_its_call() -> None:
    assert call(Target()).secret("workday") == "WORKDAY"


def test_an_answer_may_be_read_as_json_or_text() -> None:
    assert (OK.json(), OK.text) == ({"id": 7}, '{"id": 7}')


def test_bytes_that_are_no_text_do_not_hide_an_answer() -> None:
    assert Response(502, {}, b"\xff bad gateway").text == "\ufffd bad gateway"


def test_an_answer_that_is_not_json_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        Response(200, {}, b"<html>").json()


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000])
def test_an_answer_that_is_nested_too_deeply_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        Response(200, {}, body).json()


@pytest.mark.parametrize(
    "path", ["/deposits/../admin", "/..", "/./x", "/a/../../b?c=d", "/a/%2e%2E/b", "../a", "/a/.%2e"]
)
def test_a_path_that_steps_up_is_refused_and_nothing_is_sent(path: str) -> None:
    sent: list[Request] = []

    async def send(request: Request) -> Response:
        sent.append(request)
        return Response(200, {}, b"")

    with pytest.raises(Rejected, match="would leave the target's own"):
        asyncio.run(Http(send, "key").post(path))
    assert sent == []
