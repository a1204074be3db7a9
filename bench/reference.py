"""What the throughput is held against: asyncio with a semaphore, and no queue. `python -m bench.reference URL N WIDTH`.

It calls the target once for each of N entries, WIDTH at a time, and again, after up to two seconds, what was answered
with an error. It knows nothing if it dies. Prints one JSON object.
"""

import asyncio
import json
import random
import resource
import sys
import time

import aiohttp


async def _call(session: aiohttp.ClientSession, url: str, width: asyncio.Semaphore, number: int) -> int:
    body = {"client": f"Client {number % 997}", "amount": f"{100 + number % 9_000}.50", "currency": "EUR"}
    for attempt in range(1, 5):
        async with width, session.put(f"{url}/client-deposits/DEP-{number:07}", json=body) as answer:
            await answer.read()
            if answer.status < 500:
                return attempt
        await asyncio.sleep(random.uniform(0, 2**attempt))  # noqa: S311 - spreads waits
    raise RuntimeError(f"entry {number} was never answered well")


async def _run(url: str, entries: int, width: int) -> dict[str, float]:
    limit = asyncio.Semaphore(width)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=width)) as session:
        begun, used = time.monotonic(), time.process_time()
        attempts = await asyncio.gather(*(_call(session, url, limit, number) for number in range(entries)))
        return {
            "seconds": time.monotonic() - begun,
            "cpu_seconds": time.process_time() - used,
            "calls": sum(attempts),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
