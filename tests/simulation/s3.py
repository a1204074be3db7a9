"""S3: objects by bucket and key."""

from typing import Any

from tests.simulation.refusals import NoSuchKey, S3Errors, refusal


class Body:
    """What `get_object` streams, whole."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self) -> bytes:
        return self._content


class S3:
    """The service; strongly consistent."""

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
