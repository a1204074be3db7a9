"""An event source mapping of a DynamoDB stream: in order, at least once, filtered, strict about partial answers.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rollcall.core.run import TERMINAL
from rollcall.core.sizing import STREAM_BATCH_SIZE
from tools.local_cloud.partial_batch import failed_items

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient


class StreamSource:
    """Reads one stream from its beginning and hands what the filter lets through to a function."""

    def __init__(self, client: "DynamoDBStreamsClient", stream_arn: str) -> None:
        self._client = client
        shards = client.describe_stream(StreamArn=stream_arn)["StreamDescription"].get("Shards", [])
        self._iterators: dict[str, str] = {
            shard["ShardId"]: client.get_shard_iterator(
                StreamArn=stream_arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            for shard in shards
        }
        self._waiting: list[Mapping[str, Any]] = []

    def poll(self, function: Callable[[dict[str, Any]], object]) -> None:
        """One round: read what is new, invoke, and keep from the first failed record on for the next round."""
        for shard, iterator in self._iterators.items():
            answer = self._client.get_records(ShardIterator=iterator)
            self._iterators[shard] = answer["NextShardIterator"]
            self._waiting += [record for record in answer["Records"] if wanted(record)]
        while self._waiting:
            batch = self._waiting[:STREAM_BATCH_SIZE]
            done = _done(batch, _invoke(function, batch))
            del self._waiting[:done]
            if done < len(batch):
                return


def wanted(record: Mapping[str, Any]) -> bool:
    """The mapping's filter: changes of runs that are terminal afterwards."""
    change = record["dynamodb"]
    state = change.get("NewImage", {}).get("state", {}).get("S")
    return bool(change["Keys"]["pk"]["S"].startswith("run#") and state in TERMINAL)


def _invoke(function: Callable[[dict[str, Any]], object], batch: Sequence[Mapping[str, Any]]) -> object:
    event = {"Records": [{**record, "dynamodb": _plain(record["dynamodb"])} for record in batch]}
    try:
        return function(event)
    except Exception:
        return {"batchItemFailures": [{"itemIdentifier": _sequence(batch[0])}]}


def _plain(change: Mapping[str, Any]) -> dict[str, Any]:
    """A change as JSON: times in seconds."""
    created = change.get("ApproximateCreationDateTime")
    return {**change, "ApproximateCreationDateTime": created.timestamp() if created is not None else 0}


def _done(batch: Sequence[Mapping[str, Any]], answer: object) -> int:
    """How many records of the batch are through: all before the first that is reported; none by a malformed answer."""
    failed, names = failed_items(answer), [_sequence(record) for record in batch]
    if failed is None:
        return 0
    return min((names.index(name) if name in names else 0 for name in failed), default=len(batch))


def _sequence(record: Mapping[str, Any]) -> str:
    return str(record["dynamodb"]["SequenceNumber"])
