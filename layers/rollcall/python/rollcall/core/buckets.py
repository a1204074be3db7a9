"""The part of an S3 bucket that job files use."""

from collections.abc import Iterator
from typing import BinaryIO, NoReturn, Protocol

from rollcall.core.errors import RollcallError


class Objects(Protocol):
    """A bucket's objects, by their keys. Safe between threads.

    What S3 refuses is botocore's ClientError, with its code.
    """

    def etag(self, key: str) -> str | None:
        """What tells two contents of one object apart; None where there is no such object."""
        ...

    def download(self, key: str, file: BinaryIO) -> str:
        """Write an object into `file`, piece by piece; returns its ETag."""
        ...

    def upload(self, key: str, file: BinaryIO) -> None:
        """Put what is in `file`, from its beginning, in the place of what is there."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is deleted already."""
        ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin so, in their order."""
        ...


def no_buckets(_: object) -> NoReturn:
    """Stands for the buckets where there are none. Raises RollcallError."""
    raise RollcallError("there are no buckets here; pass them, as the tests' fixtures do")
