"""S3: objects by bucket and key."""

from io import BytesIO
from typing import Any

from tests.simulation.models.refusals import NoSuchKey, S3Errors, refusal


class Body(BytesIO):
    """What `get_object` streams."""


class S3:
    """The service; strongly consistent, and every bucket is there."""

    exceptions = S3Errors

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        self.objects[Bucket, Key] = bytes(Body)
        return {}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        content = self.objects.get((Bucket, Key))
        if content is None:
            raise refusal(
                "NoSuchKey", "GetObject", "The specified key does not exist.", kind=NoSuchKey, status=404, Key=Key
            )
        return {"Body": Body(content), "ContentLength": len(content)}
