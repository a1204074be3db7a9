"""What a function says about the items of its batch, by AWS's rules, which queues and streams share.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

from collections.abc import Mapping


def failed_items(answer: object) -> list[object] | None:
    """The identifiers that an answer lists as failed; None for an answer that cannot be understood.

    None, an object without a list and an empty or null list are success of all.
    """
    if answer is None:
        return []
    if not isinstance(answer, Mapping):
        return None
    failures = answer.get("batchItemFailures")
    if failures is None:
        return []
    if not isinstance(failures, list):
        return None
    return [failure.get("itemIdentifier") if isinstance(failure, Mapping) else None for failure in failures]
