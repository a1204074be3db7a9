"""A target's credentials: read once, read again when the target refuses them, and never more often than needed."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import ClientError

from rollcall import Location
from rollcall.adapters.http.client import TargetClient
from rollcall.adapters.secrets import Secrets
from rollcall.core.actions import Action
from rollcall.core.call import Http, Request
from rollcall.core.errors import HttpError, RollcallError
from tests.functional.loopback import Server, answer, judging
from tests.functional.world import Events

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

PUT = Request("PUT", "/deposits/D00", {"Idempotency-Key": "k-1"}, b"{}")
NAME = "books"
OK, REFUSED = answer("200 OK"), answer("401 Unauthorized")
GONE = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")


class Vault:
    """Secrets Manager with one secret: each reading gives the next of these texts, the last one for ever."""

    def __init__(self, *texts: str | Exception) -> None:
        self.readings = 0
        self._texts = texts

    def get_secret_value(self, **_: str) -> dict[str, str]:
        self.readings += 1
        text = self._texts[min(self.readings, len(self._texts)) - 1]
        if isinstance(text, Exception):
            raise text
        return {"SecretString": text}

    @property
    def secrets(self) -> Secrets:
        return Secrets(cast("SecretsManagerClient", self))


def token(text: str) -> str:
    return json.dumps({"token": text})


def bearer(head: str) -> str:
    return next(line[22:] for line in head.split("\r\n") if line.startswith("Authorization: Bearer "))


Story = Callable[[TargetClient, Server], Awaitable[None]]
Judge = Callable[[str], Awaitable[bytes]]


def told(vault: Vault, judge: Judge, story: Story, name: str | None = NAME) -> Server:
    """Tell a story of a client and of a target that judges every request; returns what the target saw."""

    async def tell() -> Server:
        async with judging(judge) as server:
            client = TargetClient(Location(server.url, name), vault.secrets, timedelta(seconds=5), 10)
            await story(client, server)
            await client.close()
        return server

    return asyncio.run(tell())


def taking(good: str) -> Judge:
    async def judge(head: str) -> bytes:
        return OK if bearer(head) == good else REFUSED

    return judge


def sending(*statuses: int, request: Request = PUT) -> Story:
    """Requests one after another, and how each has to be answered."""

    async def story(client: TargetClient, _: Server) -> None:
        assert [(await client.send(request)).status for _ in statuses] == [*statuses]

    return story


def test_refused_credentials_are_read_again_and_the_request_is_sent_once_more(events: Events) -> None:
    vault = Vault(token("old"), token("new"))
    server = told(vault, taking("new"), sending(200, 200))
    assert [bearer(head) for head in server.heads] == ["old", "new", "new"]
    assert all("Idempotency-Key: k-1" in head for head in server.heads)
    assert vault.readings == 2
    assert events.of(Action.CREDENTIALS_REFUSED)[0]["changed"] is True


def test_it_is_sent_once_more_and_not_again(events: Events) -> None:
    vault = Vault(*map(token, "abcd"))
    server = told(vault, taking("good"), sending(401))
    assert [bearer(head) for head in server.heads] == ["a", "b"]
    assert len(events.of(Action.CREDENTIALS_REFUSED)) == 1


def test_an_unchanged_secret_leaves_the_refusal_as_it_is() -> None:
    vault = Vault(token("old"))
    server = told(vault, taking("new"), sending(401))
    assert (len(server.heads), vault.readings) == (1, 2)


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "500 Oops"])
def test_nothing_else_is_a_reason_to_read_it_again(status: str) -> None:
    async def judge(_: str) -> bytes:
        return answer(status)

    vault = Vault(token("old"), token("new"))
    server = told(vault, judge, sending(int(status[:3])))
    assert (len(server.heads), vault.readings) == (1, 1)


def test_without_a_secret_a_refusal_is_an_answer() -> None:
    async def judge(_: str) -> bytes:
        return REFUSED

    vault = Vault(token("old"))
    server = told(vault, judge, sending(401), None)
    assert (len(server.heads), vault.readings) == (1, 0)


def test_a_callbacks_own_credentials_are_left_alone() -> None:
    vault = Vault(token("old"), token("new"))
    own = Request("GET", "/", {"authorization": "Bearer mine"}, None)

    async def judge(head: str) -> bytes:
        assert head.lower().count("authorization:") == 1
        return REFUSED

    server = told(vault, judge, sending(401, request=own))
    assert (len(server.heads), vault.readings) == (1, 0)


@pytest.mark.parametrize(
    ("second", "status", "requests"), [(token("new"), 200, 20), (token("old"), 401, 10), (GONE, 401, 10)]
)
def test_ten_refusals_at_once_cause_one_reading(second: str | Exception, status: int, requests: int) -> None:
    vault = Vault(token("old"), second)
    all_there = asyncio.Barrier(10)

    async def judge(head: str) -> bytes:
        if bearer(head) == "new":
            return OK
        await all_there.wait()
        return REFUSED

    async def story(client: TargetClient, _: Server) -> None:
        answers = await asyncio.gather(*(client.send(PUT) for _ in range(10)))
        assert [response.status for response in answers] == [status] * 10

    server = told(vault, judge, story)
    assert (len(server.heads), vault.readings) == (requests, 2)


def test_who_is_refused_late_takes_what_was_read_since() -> None:
    vault = Vault(token("old"), token("new"), token("newest"))
    renewed = asyncio.Event()
    late = Request("PUT", "/late", {}, None)

    async def judge(head: str) -> bytes:
        if bearer(head) == "new":
            return OK
        if head.startswith("PUT /late "):
            await renewed.wait()
        return REFUSED

    async def story(client: TargetClient, server: Server) -> None:
        waiting = asyncio.create_task(client.send(late))
        while not server.heads:
            await asyncio.sleep(0)
        assert (await client.send(PUT)).status == 200
        renewed.set()
        assert (await waiting).status == 200

    told(vault, judge, story)
    assert vault.readings == 2


@pytest.mark.parametrize("trouble", [GONE, '{"token": "b\\nad"}', "nonsense"], ids=["gone", "line break", "no JSON"])
def test_a_secret_that_cannot_be_read_again_leaves_the_refusal_and_is_logged(
    events: Events, trouble: str | Exception
) -> None:
    server = told(Vault(token("old"), trouble), taking("new"), sending(401))
    assert len(server.heads) == 1
    assert events.of(Action.CREDENTIALS_UNREADABLE)[0]["secret"] == NAME


def test_a_secret_that_was_never_read_sends_nothing() -> None:
    async def story(client: TargetClient, _: Server) -> None:
        with pytest.raises(RollcallError, match="line break"):
            await client.send(PUT)
        assert (await client.send(PUT)).status == 200

    server = told(Vault(token("b\r\nHost: elsewhere"), token("good")), taking("good"), story)
    assert len(server.heads) == 1


def test_a_pair_is_sent_as_basic_credentials() -> None:
    async def judge(head: str) -> bytes:
        assert "\r\nAuthorization: Basic Y2jDqWY6czNjcjN0\r\n" in head
        return OK

    told(Vault(json.dumps({"username": "chéf", "password": "s3cr3t"})), judge, sending(200))


# --- what is in use ---


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Authorization: Basic YW5uOmh1bnRlcjI=", "Authorization: [secret]"),
        ("YW5uOmh1bnRlcjI=", "[secret]"),
        ("https://ann:hunter2@books.invalid", "https://[secret]@books.invalid"),
        ("ann", "ann"),
    ],
)
def test_a_short_password_is_replaced_where_it_is_part_of_credentials(said: str, kept: str) -> None:
    secrets = Vault(json.dumps({"username": "ann", "password": "hunter2"})).secrets
    secrets.authorization(NAME)
    assert secrets.in_use.redacted(said) == kept


def test_a_token_is_replaced_with_its_scheme_and_without() -> None:
    secrets = Vault(token("t0k3n-t0k3n")).secrets
    secrets.authorization(NAME)
    assert secrets.in_use.redacted("Bearer t0k3n-t0k3n, t0k3n-t0k3n") == "[secret], [secret]"


def test_a_secret_that_was_rotated_away_is_replaced_still() -> None:
    secrets = Vault(token("the-first-token"), token("the-second-token")).secrets
    secrets.text(NAME)
    secrets.text(NAME, fresh=True)
    assert secrets.in_use.redacted("the-first-token the-second-token") == "[secret] [secret]"


def test_a_target_that_repeats_what_it_was_sent_finds_it_replaced_in_the_error() -> None:
    """Over a connection, and through what a callback has in its hands."""

    async def echo(head: str) -> bytes:
        return answer("500 Oops", head.encode(), f"X-Said: {bearer(head)}")

    vault = Vault(token("t0k3n-t0k3n"))
    secrets = vault.secrets

    async def tell() -> HttpError:
        async with judging(echo) as server:
            client = TargetClient(Location(server.url, NAME), secrets, timedelta(seconds=5), 1)
            http = Http(client.send, "k-1", secrets.in_use.redacted)
            try:
                await http.put("/deposits/D00", json={})
            except HttpError as error:
                return error
            finally:
                await client.close()
        raise AssertionError("it was answered well")

    error = asyncio.run(tell())
    assert "Authorization: [secret]\r\n" in error.body
    assert error.headers["x-said"] == "[secret]"
    assert "t0k3n" not in f"{error} {error.body} {error.headers}"
