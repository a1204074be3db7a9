"""Manifests in S3: a run's entries, in chunks, under a nonce that counts only once it is sealed."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rollcall.core.entry import ManifestEntry
from rollcall.core.run import RunRecord

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Manifests:
    """The bucket of manifests: `<run>/<generation>/<nonce>/<chunk>.jsonl`, a line of canonical JSON per entry."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def write(self, run: RunRecord, nonce: str, chunk: int, entries: Sequence[ManifestEntry]) -> None:
        """Store one chunk."""
        body = "\n".join(entry.line() for entry in entries).encode("ascii")
        self._client.put_object(Bucket=self._bucket, Key=_key(run, nonce, chunk), Body=body)

    def read(self, run: RunRecord, chunk: int) -> list[ManifestEntry]:
        """A chunk of the sealed manifest. Raises botocore's NoSuchKey if the manifest has expired."""
        answer = self._client.get_object(Bucket=self._bucket, Key=_key(run, run.sealed_nonce, chunk))
        return [ManifestEntry.from_fields(json.loads(line)) for line in answer["Body"].read().splitlines()]

    def keep_dead_letter(self, message_id: str, body: str) -> str:
        """Keep a message that belongs to no entry, for people to look at; returns its key."""
        key = f"dead_letter/{message_id}"
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body.encode("utf-8", errors="backslashreplace"))
        return key


def _key(run: RunRecord, nonce: str, chunk: int) -> str:
    return f"{run.id}/{run.generation}/{nonce}/{chunk:06}.jsonl"
