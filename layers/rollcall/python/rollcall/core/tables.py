"""The part of boto3's DynamoDB Table that job files use; numbers are Decimals.

https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/dynamodb/table/index.html
"""

from collections.abc import Mapping
from typing import Any, Protocol

from rollcall.core.errors import RollcallError


class ConditionFailed(RollcallError):
    """The item was not as a conditional write expected it, and nothing was written."""

    def __init__(self, old: Mapping[str, Any]) -> None:
        super().__init__("the item is not as the write expected it")
        #: The item as it stands; empty where there is none.
        self.old = old


class Items(Protocol):
    """A table's items. Safe between threads.

    A write whose condition fails raises ConditionFailed. All else that DynamoDB refuses is botocore's ClientError,
    with its code.
    """

    def get_item(self, **kwargs: Any) -> dict[str, Any]: ...

    def put_item(self, **kwargs: Any) -> dict[str, Any]: ...

    def update_item(self, **kwargs: Any) -> dict[str, Any]: ...

    def delete_item(self, **kwargs: Any) -> dict[str, Any]:
        """For jobs that need the table with `deletes`."""
        ...

    def query(self, **kwargs: Any) -> dict[str, Any]: ...
