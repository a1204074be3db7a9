"""S3: objects by bucket and key."""

import hashlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, BinaryIO

from tests.simulation.models.refusals import NoSuchBucket, NoSuchKey, S3Errors, refusal

#: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
MOST_KEYS = 1_000


class Body(BytesIO):
    """What `get_object` streams."""

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        while piece := self.read(size):
            yield piece


class S3:
    """The service; strongly consistent, and every bucket is there that was not deleted."""

    exceptions = S3Errors

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self._metadata: dict[tuple[str, str], dict[str, str]] = {}
        self._deleted: set[str] = set()
        self._created: set[str] = set()

    # --- buckets ---

    def create_bucket(self, *, Bucket: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._created.add(Bucket)
        self._deleted.discard(Bucket)
        return {}

    def list_buckets(self) -> dict[str, Any]:
        return {"Buckets": [{"Name": name} for name in sorted(self._created)]}

    def delete_bucket(self, *, Bucket: str) -> dict[str, Any]:  # noqa: N803
        if any(bucket == Bucket for bucket, _ in self.objects):
            raise refusal("BucketNotEmpty", "DeleteBucket", status=409)
        self._created.discard(Bucket)
        self._deleted.add(Bucket)
        return {}

    # --- objects ---

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes | BinaryIO,  # noqa: N803
        Metadata: Mapping[str, str] | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        self._check(Bucket, "PutObject")
        if IfNoneMatch is not None and (Bucket, Key) in self.objects:
            raise refusal("PreconditionFailed", "PutObject", status=412)
        content = bytes(Body) if isinstance(Body, bytes | bytearray | memoryview) else Body.read()
        self.objects[Bucket, Key] = content
        self._metadata[Bucket, Key] = dict(Metadata or {})
        return {"ETag": _etag(content)}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        self._check(Bucket, "GetObject")
        found = self.objects.get((Bucket, Key))
        if found is None:
            raise refusal(
                "NoSuchKey", "GetObject", "The specified key does not exist.", kind=NoSuchKey, status=404, Key=Key
            )
        return {"Body": Body(found), **self._described(Bucket, Key)}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        """Answers what is not there by its status alone, as a response without a body can."""
        if (Bucket, Key) not in self.objects:
            raise refusal("404", "HeadObject", "Not Found", status=404)
        return self._described(Bucket, Key)

    def delete_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        self._check(Bucket, "DeleteObject")
        self.objects.pop((Bucket, Key), None)
        return {}

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str = "",  # noqa: N803
        ContinuationToken: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        self._check(Bucket, "ListObjectsV2")
        keys = sorted(key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix))
        left = [key for key in keys if key > ContinuationToken]
        page = [{"Key": key, "Size": len(self.objects[Bucket, key])} for key in left[:MOST_KEYS]]
        answer: dict[str, Any] = {"KeyCount": len(page), "IsTruncated": len(left) > MOST_KEYS}
        if answer["IsTruncated"]:
            answer["NextContinuationToken"] = page[-1]["Key"]
        return answer | ({"Contents": page} if page else {})

    def _check(self, bucket: str, operation: str) -> None:
        if bucket in self._deleted:
            raise refusal("NoSuchBucket", operation, kind=NoSuchBucket, status=404)

    def _described(self, bucket: str, key: str) -> dict[str, Any]:
        content = self.objects[bucket, key]
        metadata = dict(self._metadata.get((bucket, key), {}))
        return {"ContentLength": len(content), "ETag": _etag(content), "Metadata": metadata}


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
