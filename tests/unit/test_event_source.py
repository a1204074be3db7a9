"""What a function's answer means for the messages of its batch, as AWS documents it, and the steps of a mapping.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.local_cloud.event_source import Batch, EventSource, kept_on_queue

IDS = ["a", "b", "c"]
ALL, NONE = set(IDS), set[str]()


def failing(*ids: object) -> dict[str, object]:
    return {"batchItemFailures": [{"itemIdentifier": name} for name in ids]}


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        # Complete success: an empty list, a null list, an empty answer, a null answer.
        (failing(), NONE),
        ({"batchItemFailures": None}, NONE),
        ({}, NONE),
        (None, NONE),
        # Partial failure.
        (failing("b"), {"b"}),
        (failing("c", "a"), {"a", "c"}),
        (failing("a", "b", "c"), ALL),
        (failing("b", "b"), {"b"}),
        # Complete failure: an empty or null identifier, a wrong key, an identifier that is not of the batch.
        (failing(""), ALL),
        (failing(None), ALL),
        (failing("a", ""), ALL),
        ({"batchItemFailures": [{"itemId": "a"}]}, ALL),
        ({"batchItemFailures": [{"itemIdentifier": "a"}, {"ItemIdentifier": "b"}]}, ALL),
        (failing("d"), ALL),
        (failing("a", "d"), ALL),
        # And whatever is not of this form at all.
        ("ok", ALL),
        (["a"], ALL),
        (7, ALL),
        ({"batchItemFailures": "a"}, ALL),
        ({"batchItemFailures": {"itemIdentifier": "a"}}, ALL),
        ({"batchItemFailures": ["a"]}, ALL),
        ({"batchItemFailures": [None]}, ALL),
        ({"batchItemFailures": [[]]}, ALL),
        (failing(7), ALL),
        (failing(["a"]), ALL),
        (failing({"a": 1}), ALL),
    ],
)
def test_what_stays_on_the_queue(answer: object, kept: set[str]) -> None:
    assert kept_on_queue(answer, IDS) == kept


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3) | st.sampled_from(IDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["batchItemFailures", "itemIdentifier", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(answer=JSON | st.builds(lambda ids: failing(*ids), st.lists(JSON, max_size=3)))
def test_no_answer_loses_a_message_that_was_not_named_a_success(answer: Any) -> None:
    kept = kept_on_queue(answer, IDS)
    assert kept <= ALL
    listed = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if answer is None or (isinstance(answer, dict) and (listed is None or listed == [])):
        assert kept == NONE
    elif isinstance(listed, list) and all(
        isinstance(each, dict) and each.get("itemIdentifier") in IDS for each in listed
    ):
        assert kept == {each["itemIdentifier"] for each in listed}
    else:
        assert kept == ALL


@given(ids=st.lists(st.text(min_size=1), unique=True, max_size=10), data=st.data())
def test_exactly_the_listed_messages_stay(ids: list[str], data: st.DataObject) -> None:
    listed = data.draw(st.lists(st.sampled_from(ids))) if ids else []
    assert kept_on_queue(failing(*listed), ids) == set(listed)


class Sqs:
    """Remembers what it was asked; has two messages."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def receive_message(self, **request: Any) -> dict[str, Any]:
        self.asked.append(("receive", request))
        messages = [
            {
                "MessageId": name,
                "ReceiptHandle": f"receipt-{name}",
                "Body": f"body of {name}",
                "Attributes": {"ApproximateReceiveCount": "1", "MessageGroupId": "group"},
                "MessageAttributes": {"sent_again": {"DataType": "String", "StringValue": "1"}},
            }
            for name in ("a", "b")
        ]
        return {"Messages": messages} if len(self.asked) == 1 else {}

    def delete_message_batch(self, **request: Any) -> None:
        self.asked.append(("delete", request))


def test_a_batch_becomes_an_event_and_what_does_not_stay_is_deleted() -> None:
    sqs = Sqs()
    source = EventSource(sqs, "url", "arn:aws:sqs:eu-west-1:0:jobs.fifo", 10)  # type: ignore[arg-type]
    batch = source.receive(3)
    assert batch is not None
    assert batch.ids == ["a", "b"]
    request = sqs.asked[0][1]
    assert (request["QueueUrl"], request["MaxNumberOfMessages"], request["WaitTimeSeconds"]) == ("url", 10, 3)
    events: list[dict[str, Any]] = []

    def function(event: dict[str, Any]) -> object:
        events.append(event)
        return failing("b")

    kept = source.invoke(batch, function)
    assert kept == {"b"}
    record = events[0]["Records"][0]
    assert (record["messageId"], record["receiptHandle"], record["body"]) == ("a", "receipt-a", "body of a")
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"] == {"sent_again": {"stringValue": "1", "dataType": "String"}}
    assert (record["eventSource"], record["awsRegion"]) == ("aws:sqs", "eu-west-1")
    source.delete(batch, kept)
    source.delete(batch, batch.ids)
    assert sqs.asked[1:] == [("delete", {"QueueUrl": "url", "Entries": [{"Id": "0", "ReceiptHandle": "receipt-a"}]})]
    assert source.receive() is None


def test_a_function_that_fails_keeps_its_batch() -> None:
    source = EventSource(Sqs(), "url", "arn:aws:sqs:eu-west-1:0:jobs.fifo", 10)  # type: ignore[arg-type]
    batch = source.receive()
    assert batch is not None

    def function(event: dict[str, Any]) -> object:
        raise RuntimeError(event)

    assert source.invoke(batch, function) == {"a", "b"}
    assert source.invoke(Batch(batch.messages), lambda _: failing(["a"])) == {"a", "b"}
