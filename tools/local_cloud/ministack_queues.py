"""MiniStack's FIFO queues, made to work at the length that ours have. Runs in MiniStack's own environment.

MiniStack 1.5.33 rewrites the whole deduplication cache with every message sent, and passes over all messages of
a queue about four times with every receive and once with every message deleted: a run of 10,000 entries spent
half of its time there, and twice the entries took four times as long. What is put in place here does the same
with the oldest first, or in one pass; `tests/functional/test_ministack_queues.py` compares the two.
"""

import importlib
import time
from typing import Any

Queue = dict[str, Any]
Message = dict[str, Any]

_sqs: Any = importlib.import_module("ministack.services.sqs")
_ensure_fields = _sqs._ensure_msg_fields
_sweep = _sqs._dlq_sweep
_expire = _sqs._expire_retained


def apply() -> None:
    """Put it in place, in this process."""
    _sqs._prune_dedup = prune_deduplication
    _sqs._expire_retained = expire_retained
    _sqs._dlq_sweep = sweep
    _sqs._collect_fifo = collect
    _sqs._act_delete_message_batch = delete_batch
    _sqs._HANDLERS["DeleteMessageBatch"] = delete_batch


def prune_deduplication(queue: Queue) -> None:
    """Forget what is older than the window; entries stand in the order in which they expire."""
    cache, now = queue["dedup_cache"], time.time()
    while cache and cache[oldest := next(iter(cache))]["expire"] <= now:
        del cache[oldest]


def expire_retained(queue: Queue) -> None:
    """Drop messages past their retention; the first of a FIFO queue is the oldest."""
    messages = queue["messages"]
    if messages and queue["is_fifo"]:
        queue_of_oldest = {"attributes": queue["attributes"], "messages": messages[:1]}
        _expire(queue_of_oldest)
        if queue_of_oldest["messages"]:
            return
    _expire(queue)


def sweep(queue: Queue) -> None:
    """Move dead letters; only what was received can be one."""
    received = [message for message in queue["messages"] if message.get("receive_count")]
    if received:
        swept = queue | {"messages": received}
        _sweep(swept)
        if len(swept["messages"]) < len(received):
            _sweep_away(queue, {id(message) for message in received} - {id(message) for message in swept["messages"]})


def _sweep_away(queue: Queue, gone: set[int]) -> None:
    queue["messages"] = [message for message in queue["messages"] if id(message) not in gone]


def collect(queue: Queue, most: int, visibility: int, now: float) -> list[Message]:
    """Receive: the first visible messages of groups of which none is in flight."""
    messages = queue["messages"]
    received = [message for message in messages if message.get("receive_count")]
    locked = {message["group_id"] for message in received if message["visible_at"] > now and message["group_id"]}
    found: list[Message] = []
    for message in messages:
        if len(found) == most:
            break
        _ensure_fields(message)
        if message["visible_at"] <= now and message["group_id"] not in locked:
            message["receipt_handle"] = _sqs.new_uuid()
            message["visible_at"] = now + visibility
            message["receive_count"] += 1
            if message["first_receive_at"] is None:
                message["first_receive_at"] = now
            found.append(message)
    return found


def delete_batch(data: dict[str, Any], url: str) -> dict[str, Any]:
    """DeleteMessageBatch in one pass; a receipt that comes twice is gone the second time."""
    queue = _sqs._get_q(data.get("QueueUrl", url), "sqs:DeleteMessage")
    entries = data.get("Entries", [])
    _sqs._validate_batch_entries(entries, "DeleteMessageBatchRequestEntry")
    wanted = {entry.get("ReceiptHandle", "") for entry in entries}
    there = {
        message["receipt_handle"]
        for message in queue["messages"]
        if message["receipt_handle"] is not None and message["receipt_handle"] in wanted
    }
    queue["messages"] = [message for message in queue["messages"] if message["receipt_handle"] not in there]
    answer: dict[str, Any] = {"Successful": [], "Failed": []}
    for entry in entries:
        receipt = entry.get("ReceiptHandle", "")
        if receipt in there:
            there.discard(receipt)
            answer["Successful"].append({"Id": entry.get("Id", "")})
        else:
            answer["Failed"].append(
                {
                    "Id": entry.get("Id", ""),
                    "Code": "ReceiptHandleIsInvalid",
                    "Message": "The input receipt handle is invalid.",
                    "SenderFault": True,
                }
            )
    return answer
