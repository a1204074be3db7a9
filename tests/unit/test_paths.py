"""Paths: whatever a server makes of one, it stays below the target's base."""

import asyncio
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.call import Http, Request, Response
from rollcall.core.errors import Rejected
from rollcall.core.paths import leaves_base

STEPS = [
    # plain, and where it is least looked for
    "/deposits/../admin", "/..", "/.", "/./x", "../a", "/a/..", "/a/../../b?c=d",
    # encoded, once and more often
    "/a/%2e%2E/b", "/a/.%2e", "/deposits/..%2F..%2Fadmin", "/deposits/%2e%2e%2fadmin", "/deposits/..%2f",
    "/deposits/%252e%252e%252fadmin", "/deposits/..%252fadmin", "/deposits/%25252e%25252e/x", "/%25%32%65%25%32%65/x",
    "/a/%2525252525252e/x", "/a%2f..", "/..%2fx?y=1",
    # backslashes
    "/deposits/..\\admin", "/deposits/..%5c..%5cadmin", "/deposits/..%255cadmin", "/..%5C",
    # parameters of a segment
    "/deposits/..;/admin", "/deposits/..;a=b/admin", "/deposits/..%3b/admin", "/deposits/.;x/y",
    # UTF-8 that is longer than need be, and code points
    "/deposits/%c0%ae%c0%ae/admin", "/deposits/..%c0%afadmin", "/deposits/..%c1%9cadmin", "/%e0%80%ae%e0%80%ae/x",
    "/%f0%80%80%ae./x", "/..%e0%80%afx", "/%25c0%25ae./x", "/%u002e%u002e/x", "/..%u002fx", "/..%U005cx",
    # letters that are taken for others
    "/\uff0e\uff0e/x", "/%ef%bc%8e%ef%bc%8e%ef%bc%8fadmin", "/\u2025/x", "/..\uff0fx", "/..%e2%81%84x", "/..\u2215x",
    "/..\uff3cx", "/%u2024%u2024/x", "/..\u29f8x",
    # what is left out or cuts off
    "/..%00/x", "/..%00.json/x", "/..%20/x", "/%20..%20/x", "/..%09/x", "/%2e%0a%2e/x", "/.%0d./x",
]  # fmt: skip

KEYS = [
    "A/B", "01/02/3", "a.b", "..a", "a..", "a..b", ".a", "...", ".well-known", "v1.0/..x", "a\\b", "C:\\x", "x;y",
    "a?b", "?", "#", "%", "%%", "100%", "%41", "%2", "a%2Fb", "50%25", "a+b c", "Zoë 💶", "½", "…", "http://x/y",
    "a//b", "/", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("path", STEPS)
def test_a_path_that_any_server_reads_as_a_step_is_rejected_and_nothing_is_sent(path: str) -> None:
    sent: list[Request] = []

    async def send(request: Request) -> Response:
        sent.append(request)
        return Response(200, {}, b"")

    with pytest.raises(Rejected, match="a segment of it can be read as"):
        asyncio.run(Http(send, "key").post(path))
    assert sent == []


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_is_quoted_stays_in_its_place(key: str) -> None:
    assert not leaves_base(f"/deposits/{quote(key, safe='')}")
    assert not leaves_base(f"/deposits/{quote(key, safe='')}/status?after=../..&x=..")


@pytest.mark.parametrize(
    "key", [".", "..", "../../admin", "..\\admin", "a/../b", "%2e%2e", "..;/x", "x/..", "\uff0e\uff0e"]
)
def test_a_key_that_is_a_step_is_rejected_though_it_is_quoted(key: str) -> None:
    assert leaves_base(f"/deposits/{quote(key, safe='')}")


@pytest.mark.parametrize("path", ["/", "/deposits?x=/../y", "/deposits?u=http://a/../b", "/a;v=1/b", "/a/b.json", ""])
def test_what_stands_in_a_query_or_a_name_is_no_step(path: str) -> None:
    assert not leaves_base(path)


@given(st.text(st.sampled_from("./%2eE5fFc;\\a ")), st.integers(0, 3))
def test_no_number_of_decodings_turns_a_path_that_passes_into_a_step(path: str, decodings: int) -> None:
    if leaves_base(path):
        return
    for _ in range(decodings):
        path = unquote(path)
    assert {".", ".."}.isdisjoint(path.partition("?")[0].replace("\\", "/").split("/"))
