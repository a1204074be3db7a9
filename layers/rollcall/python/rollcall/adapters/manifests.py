"""Manifests in S3: a run's entries, in chunks, under a nonce that counts only once it is sealed."""

import json
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from rollcall.core.entry import ManifestEntry
from rollcall.core.run import RunRecord

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


#: What was written stays in memory up to this size for whoever reads it next, as dispatch does.
KEPT_BYTES = 2 * 1024 * 1024


class Manifests:
    """The bucket of manifests: `<run>/<generation>/<nonce>/<chunk>.jsonl`, a line of canonical JSON per entry."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._lock = Lock()
        self._nonce = ""
        self._written: dict[str, bytes] = {}

    def write(self, run: RunRecord, nonce: str, chunk: int, entries: Sequence[ManifestEntry]) -> None:
        """Store one chunk."""
        key, body = _key(run, nonce, chunk), "\n".join(entry.line() for entry in entries).encode("ascii")
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body)
        self._remember(nonce, key, body)

    def _remember(self, nonce: str, key: str, body: bytes) -> None:
        with self._lock:
            if nonce != self._nonce:
                self._nonce, self._written = nonce, {}
            if sum(map(len, self._written.values())) + len(body) <= KEPT_BYTES:
                self._written[key] = body

    def read(self, run: RunRecord, chunk: int) -> list[ManifestEntry]:
        """A chunk of the sealed manifest. Raises botocore's ClientError if the manifest has expired."""
        key = _key(run, run.sealed_nonce, chunk)
        body = self._written.pop(key, None)
        if body is None:
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return [ManifestEntry.from_fields(json.loads(line)) for line in body.splitlines()]

    def keep_dead_letter(self, message_id: str, body: str) -> str:
        """Keep a message that belongs to no entry, for people to look at; returns its key."""
        key = f"dead_letter/{message_id}"
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body.encode("utf-8", errors="backslashreplace"))
        return key


def _key(run: RunRecord, nonce: str, chunk: int) -> str:
    return f"{run.id}/{run.generation}/{nonce}/{chunk:06}.jsonl"
