"""The part of boto3's DynamoDB Table that job files use; numbers are Decimals.

https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/dynamodb/table/index.html
"""

from typing import Any, Protocol


class Items(Protocol):
    """A table's items. Every method raises botocore's ClientError, with its code, for what DynamoDB refuses."""

    def get_item(self, **kwargs: Any) -> dict[str, Any]: ...

    def put_item(self, **kwargs: Any) -> dict[str, Any]: ...

    def update_item(self, **kwargs: Any) -> dict[str, Any]: ...

    def query(self, **kwargs: Any) -> dict[str, Any]: ...
