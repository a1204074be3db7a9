"""Where a job's data comes from and goes to: targets, reports, secrets, and where each is bound."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import urlsplit

from rollcall.core.errors import DeclarationError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def checked_name(kind: str, name: str, longest: int) -> str:
    """`name`, if it is lower-case words joined by hyphens. Raises DeclarationError otherwise."""
    if not _NAME.fullmatch(name) or len(name) > longest:
        raise DeclarationError(
            f"the {kind} name {name!r} is not usable: take at most {longest} characters of a-z, 0-9 and single hyphens,"
            f" beginning with a letter, such as 'client-deposit-update'"
        )
    return name


@dataclass(frozen=True, slots=True)
class Target:
    """A downstream system, shared by all jobs that call it."""

    name: str
    #: Calls in flight over all its jobs and workers, at least 2 for each queue job.
    concurrency: int
    #: How long one call may take, connecting included.
    timeout: timedelta = timedelta(seconds=10)

    def __post_init__(self) -> None:
        checked_name("target", self.name, 40)
        if self.concurrency < 1:
            raise DeclarationError(
                f"target {self.name}: concurrency is {self.concurrency}; at least 1 call must be allowed"
            )
        if not timedelta(milliseconds=100) <= self.timeout <= timedelta(minutes=5):
            raise DeclarationError(f"target {self.name}: timeout is {self.timeout}; take 0.1 s to 5 minutes")


class Format(StrEnum):
    """How a report's records are written."""

    JSON = "json"
    JSON_LINES = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Report:
    """A list of records that a source reads; where it lies is bound per environment.

    Declared among a job's `needs` and read with `run.read(REPORT)`.
    """

    name: str
    #: JSON only: the key of the array in the top-level object; None for a top-level array.
    #: Workday's report-as-a-service answers `{"Report_Entry": [...]}`.
    array: str | None = "Report_Entry"

    def __post_init__(self) -> None:
        checked_name("report", self.name, 40)


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that the source and callback may read with `secret(name)`; each environment has its own."""

    name: str


Need: TypeAlias = Report | Secret


@dataclass(frozen=True, slots=True)
class Location:
    """Where a target or a report lives in one environment: explicit, without a default."""

    #: `https://…`, `http://…` (loopback), and for reports also `s3://bucket/key` or a local file's path.
    url: str
    #: Name of the secret with the credentials: `{"username": …, "password": …}` or `{"token": …}`.
    secret: str | None = None
    #: Reports: None tells it from the ending of the URL (.jsonl, .ndjson, .csv, else JSON).
    format: Format | None = None

    def __post_init__(self) -> None:
        if not self.url:
            raise DeclarationError("a location needs a URL; name where the target or report lives")

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme or "file"

    def record_format(self) -> Format:
        """The declared format, or the one that the URL's path ends in."""
        if self.format is not None:
            return self.format
        path = urlsplit(self.url).path.lower()
        if path.endswith((".jsonl", ".ndjson")):
            return Format.JSON_LINES
        return Format.CSV if path.endswith(".csv") else Format.JSON
