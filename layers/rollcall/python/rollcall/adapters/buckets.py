"""The buckets of jobs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PIECE = 1 << 20


class BucketObjects:
    """`rollcall.Objects` of one bucket."""

    def __init__(self, client: "S3Client", name: str) -> None:
        self._client = client
        self._name = name

    def etag(self, key: str) -> str | None:
        # A role that may not list a bucket is told 403 of what is not there; it may list (`stacks/needs.py`).
        try:
            return self._client.head_object(Bucket=self._name, Key=key)["ETag"].strip('"')
        except self._client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchKey", "NotFound"}:
                return None
            raise

    def download(self, key: str, file: BinaryIO) -> str:
        found = self._client.get_object(Bucket=self._name, Key=key)
        for piece in found["Body"].iter_chunks(_PIECE):
            file.write(piece)
        return found["ETag"].strip('"')

    def upload(self, key: str, file: BinaryIO) -> None:
        file.seek(0)
        self._client.put_object(Bucket=self._name, Key=key, Body=file)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self._name, Key=key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix):
            for found in page.get("Contents", []):
                yield found["Key"]
