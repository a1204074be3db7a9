"""One HTTP client calls the target again and again: `python -m bench.http_client NAME URL N WIDTH`.

N calls of PUT with 150 bytes of JSON and an idempotency key, WIDTH at a time, after two rounds that open the
connections. Prints one JSON object.
"""

import asyncio
import http.client
import importlib
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import boto3  # noqa: F401 - as in the handlers, it has imported whatever it shares with a client

from rollcall.adapters.secrets import Secrets
from rollcall.core.call import Request
from rollcall.core.target import Location

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

#: What is imported before the first call.
MODULES: Mapping[str, tuple[str, ...]] = {
    "rollcall": ("rollcall.adapters.http.client", "rollcall.adapters.http.connection"),
    "aiohttp": ("aiohttp",),
    "asyncio streams": ("asyncio",),
    "http.client in threads": ("http.client",),
    "urllib3 in threads": ("urllib3",),
}
TIMEOUT = 10.0
BODY = json.dumps({"client": "Client 12", "amount": "100.50", "currency": "EUR", "memo": "x" * 80}).encode()


def _path(number: int) -> str:
    return f"/client-deposits/DEP-{number:07}"


def _headers(number: int) -> dict[str, str]:
    return {
        "Idempotency-Key": f"client-deposit-update-20260101T000000Z-{number:032}",
        "Content-Type": "application/json",
    }


class Course:
    """Which call is next, and what the calls after the first ones took. Safe between threads."""

    def __init__(self, calls: int, width: int) -> None:
        self.width = width
        self._warm = 2 * width
        self._calls = calls
        self._numbers: Iterator[int] = iter(range(self._warm + calls))
        self._lock = threading.Lock()
        self._begun = (0.0, 0.0)

    def next(self) -> int | None:
        with self._lock:
            number = next(self._numbers, None)
            if number == self._warm:
                self._begun = (time.process_time(), time.monotonic())
            return number

    def took(self) -> dict[str, float]:
        cpu, wall = time.process_time() - self._begun[0], time.monotonic() - self._begun[1]
        return {"cpu_ms_per_call": cpu * 1000 / self._calls, "seconds": wall}

    async def run(self, call: Callable[[int], Awaitable[int]]) -> None:
        async def lane() -> None:
            while (number := self.next()) is not None:
                _check(await call(number))

        await asyncio.gather(*(lane() for _ in range(self.width)))

    def run_in_threads(self, open_lane: Callable[[], Callable[[int], int]]) -> None:
        def lane() -> None:
            call = open_lane()
            while (number := self.next()) is not None:
                _check(call(number))

        threads = [threading.Thread(target=lane) for _ in range(self.width)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _check(status: int) -> None:
    if status != 200:
        raise RuntimeError(f"the target answered {status}")


async def _rollcall(url: str, course: Course) -> None:
    from rollcall.adapters.http.client import TargetClient

    secrets = Secrets(cast("SecretsManagerClient", None))  # never read: the target asks for no credentials
    client = TargetClient(Location(url), secrets, timedelta(seconds=TIMEOUT), course.width)

    async def call(number: int) -> int:
        return (await client.send(Request("PUT", _path(number), _headers(number), BODY))).status

    await course.run(call)
    await client.close()


async def _aiohttp(url: str, course: Course) -> None:
    import aiohttp

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=course.width),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=TIMEOUT / 2),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )

    async def call(number: int) -> int:
        async with session.put(
            url + _path(number), data=BODY, headers=_headers(number), allow_redirects=False
        ) as answer:
            await answer.read()
            return answer.status

    async with session:
        await course.run(call)


async def _streams(url: str, course: Course) -> None:
    """As little as can be done: no pool, no errors told apart, nothing but answers with a length understood."""
    parts = urlsplit(url)
    kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(number: int) -> int:
        reader, writer = kept.pop() if kept else await asyncio.open_connection(parts.hostname, parts.port)
        headers = "".join(f"{name}: {value}\r\n" for name, value in _headers(number).items())
        first = f"PUT {parts.path}{_path(number)} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(BODY)}\r\n"
        async with asyncio.timeout(TIMEOUT):
            writer.write(f"{first}{headers}\r\n".encode() + BODY)
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            told = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            await reader.readexactly(int(told["content-length"]))
        kept.append((reader, writer))
        return int(status[9:12])

    await course.run(call)
    for _, writer in kept:
        writer.transport.abort()


def _http_client(url: str, course: Course) -> None:
    parts = urlsplit(url)

    def open_lane() -> Callable[[int], int]:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)

        def call(number: int) -> int:
            connection.request("PUT", parts.path + _path(number), BODY, _headers(number))
            with connection.getresponse() as response:
                response.read()
                return response.status

        return call

    course.run_in_threads(open_lane)


def _urllib3(url: str, course: Course) -> None:
    import urllib3

    pool = urllib3.PoolManager(maxsize=course.width, retries=False, timeout=TIMEOUT)

    def call(number: int) -> int:
        return pool.request("PUT", url + _path(number), body=BODY, headers=_headers(number), redirect=False).status

    course.run_in_threads(lambda: call)


def main() -> int:
    name, url, calls, width = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    wall, cpu = time.perf_counter(), time.process_time()
    for module in MODULES[name]:
        importlib.import_module(module)
    imported = {"import_ms": (time.perf_counter() - wall) * 1000, "import_cpu_ms": (time.process_time() - cpu) * 1000}
    course = Course(calls, width)
    run: Mapping[str, Callable[[str, Course], Any]] = {
        "rollcall": _rollcall,
        "aiohttp": _aiohttp,
        "asyncio streams": _streams,
        "http.client in threads": _http_client,
        "urllib3 in threads": _urllib3,
    }
    under_way = run[name](url, course)
    if under_way is not None:
        asyncio.run(under_way)
    print(json.dumps(imported | course.took()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
