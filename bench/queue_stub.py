"""A queue that takes every message and keeps none, on loopback: `python -m bench.queue_stub`.

Prints its port, answers SendMessageBatch as SQS does, and ends with its standard input. GET /stats tells what it took.
"""

import asyncio
import json
import os
import threading
from uuid import uuid4

from tools.loopback import authority, listening
from tools.stand_ins.connection import Connection
from tools.stand_ins.door import Door
from tools.stand_ins.http import Request, answer

_REFUSAL = answer(400, {"__type": "com.amazonaws.sqs#UnsupportedOperation", "message": "it only takes messages"})


class QueueStub:
    """Counts messages and their bytes."""

    def __init__(self) -> None:
        self._taken = {"messages": 0, "requests": 0, "bytes": 0, "marked": 0}

    def serve(self, request: Request, connection: Connection) -> None:
        if request.method == "GET":
            connection.answer(answer(200, self._taken))
        elif request.headers.get("x-amz-target") == "AmazonSQS.SendMessageBatch":
            connection.answer(answer(200, self._take(json.loads(request.body)["Entries"])))
        else:
            connection.answer(_REFUSAL)

    def _take(self, entries: list[dict[str, str]]) -> dict[str, object]:
        self._taken["requests"] += 1
        self._taken["messages"] += len(entries)
        self._taken["bytes"] += sum(len(entry["MessageBody"]) for entry in entries)
        self._taken["marked"] += sum("MessageAttributes" in entry for entry in entries)
        taken = [{"Id": entry["Id"], "MessageId": str(uuid4()), "SequenceNumber": "1"} for entry in entries]
        return {"Successful": taken, "Failed": []}


async def _serve() -> None:
    ended, loop, stub = asyncio.Event(), asyncio.get_running_loop(), QueueStub()
    listener = listening()
    door = Door(stub.serve, authority(listener.getsockname()[1]))
    server = await loop.create_server(lambda: Connection(door.serve), sock=listener)

    def wait() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    print(door.base, flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
