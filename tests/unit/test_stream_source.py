"""The stream feeds its function in order, at least once, and is strict about partial answers.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from rollcall.core.sizing import STREAM_BATCH_SIZE
from tools.local_cloud.stream import StreamSource, wanted


def change(number: int, key: str = "run#r", state: str | None = "complete") -> dict[str, Any]:
    """A record of the ledger's stream."""
    image = {"state": {"S": state}} if state is not None else {}
    return {
        "eventID": str(number),
        "dynamodb": {
            "Keys": {"pk": {"S": key}},
            "NewImage": image,
            "SequenceNumber": f"{number:05}",
            "ApproximateCreationDateTime": datetime(2026, 11, 21, tzinfo=UTC),
        },
    }


class Streams:
    """A stream whose shards give these pages, one a look."""

    def __init__(self, *shards: Sequence[Sequence[dict[str, Any]]]) -> None:
        self._shards = {f"shard-{number}": shard for number, shard in enumerate(shards)}
        self.iterator_types: list[str] = []

    def describe_stream(self, **_: str) -> dict[str, Any]:
        return {"StreamDescription": {"Shards": [{"ShardId": name} for name in self._shards]}}

    def get_shard_iterator(self, **request: str) -> dict[str, str]:
        self.iterator_types.append(request["ShardIteratorType"])
        return {"ShardIterator": f"{request['ShardId']}/0"}

    def get_records(self, **request: str) -> dict[str, Any]:
        shard, _, page = request["ShardIterator"].partition("/")
        pages = self._shards[shard]
        records = pages[int(page)] if int(page) < len(pages) else []
        return {"Records": records, "NextShardIterator": f"{shard}/{int(page) + 1}"}


class Function:
    """Answers with these, then with nothing; an exception is raised."""

    def __init__(self, *answers: object) -> None:
        self._answers: Iterator[object] = iter(answers)
        self.batches: list[list[int]] = []

    def __call__(self, event: dict[str, Any]) -> object:
        json.dumps(event)  # as it has to go to another process
        self.batches.append([int(record["dynamodb"]["SequenceNumber"]) for record in event["Records"]])
        answer = next(self._answers, None)
        if isinstance(answer, Exception):
            raise answer
        return answer


def source(*pages: Sequence[dict[str, Any]]) -> StreamSource:
    return StreamSource(Streams(pages), "arn")  # type: ignore[arg-type]


def failing(*numbers: int) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": f"{number:05}"} for number in numbers]}


def numbered(first: int, last: int) -> list[dict[str, Any]]:
    return [change(number) for number in range(first, last + 1)]


def test_records_come_in_order_and_once() -> None:
    stream, function = source(numbered(1, 3), [], numbered(4, 5)), Function()
    for _ in range(5):
        stream.poll(function)
    assert function.batches == [[1, 2, 3], [4, 5]]


def test_many_records_come_in_batches() -> None:
    stream, function = source(numbered(1, STREAM_BATCH_SIZE + 1)), Function()
    stream.poll(function)
    assert [len(batch) for batch in function.batches] == [STREAM_BATCH_SIZE, 1]


def test_it_begins_at_the_oldest_record_of_every_shard() -> None:
    streams, function = Streams([numbered(1, 1)], [numbered(2, 2)]), Function()
    StreamSource(streams, "arn").poll(function)  # type: ignore[arg-type]
    assert streams.iterator_types == ["TRIM_HORIZON"] * 2
    assert function.batches == [[1, 2]]


def test_from_the_first_failed_record_on_all_come_again_before_newer_ones() -> None:
    stream, function = source(numbered(1, 4), numbered(5, 5)), Function(failing(4, 2))
    stream.poll(function)
    assert function.batches == [[1, 2, 3, 4]]
    stream.poll(function)
    assert function.batches[1:] == [[2, 3, 4, 5]]


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("the function failed"),
        "ok",
        failing(9),
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"itemIdentifier": ["00002"]}]},
        {"batchItemFailures": [{"sequenceNumber": "00002"}]},
        {"batchItemFailures": ["00002"]},
        {"batchItemFailures": "00002"},
        {"batchItemFailures": {"itemIdentifier": "00002"}},
        {"batchItemFailures": [{"itemIdentifier": "00002"}, {"itemIdentifier": "00009"}]},
    ],
)
def test_an_answer_that_cannot_be_understood_brings_the_whole_batch_again(answer: object) -> None:
    stream, function = source(numbered(1, 3)), Function(answer)
    stream.poll(function)
    stream.poll(function)
    assert function.batches == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_an_answer_without_failures_is_success(answer: object) -> None:
    stream, function = source(numbered(1, 3)), Function(answer)
    stream.poll(function)
    stream.poll(function)
    assert function.batches == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("record", "through"),
    [
        (change(1), True),
        (change(1, state="refused"), True),
        (change(1, state="skipped"), True),
        (change(1, state="cancelled"), True),
        (change(1, state="running"), False),
        (change(1, state=None), False),
        (change(1, key="chunk#r#1#0#0"), False),
        ({"dynamodb": {"Keys": {"pk": {"S": "run#r"}}, "SequenceNumber": "1"}}, False),
    ],
)
def test_the_filter_lets_ends_of_runs_through(record: dict[str, Any], through: bool) -> None:
    assert wanted(record) is through
