"""What the parent asks for: JSON on standard input, so that no secret shows in the list of processes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

Rate: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: The number of a call, from 1.
CallNumber: TypeAlias = Annotated[int, Field(ge=1)]


class OptionsError(Exception):
    """The options cannot be used; the message says which and why, in one line and without their values."""


class ReportFault(StrEnum):
    """How a report can be broken."""

    #: The connection is closed in the middle of the entries.
    CUT_OFF = "cut_off"
    #: A page of HTML with status 200, as a login form would be.
    NOT_JSON = "not_json"
    #: One object where the array should be.
    NOT_AN_ARRAY = "not_an_array"
    #: An object without the array's key.
    MISSING_KEY = "missing_key"
    #: An array without entries.
    EMPTY = "empty"
    #: Status 500.
    SERVER_ERROR = "server_error"
    #: Nothing for three seconds, then the whole report.
    SLOW_START = "slow_start"


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: The module of the job whose report is served, as `functions.jobs.accounting.client_deposit_update`.
    #: Without it no report is.
    job_module: str | None = None
    #: The number of entries of the report.
    entries: int = Field(default=0, ge=0)
    #: The key of the array in a JSON report.
    items: str = "Report_Entry"
    format: Literal["json", "jsonl", "csv"] = "json"
    #: How the report is broken; not at all without it.
    report_fault: ReportFault | None = Field(default=None, strict=False)
    #: `user:password` (basic) or a bearer token; without it everybody may read the report.
    report_secret: SecretStr | None = None
    #: How long target and bank take to answer, every time.
    latency_ms: float = Field(default=50, ge=0, allow_inf_nan=False)
    #: The share of calls that the target answers with 503.
    error_rate: Rate = 0
    #: Another seed makes other calls fail.
    seed: int = 0
    #: `user:password` (basic) or a bearer token; without it everybody may call target and bank.
    target_secret: SecretStr | None = None
    #: With this call the target goes down: it answers 503 for `outage_s` seconds.
    outage_after_calls: CallNumber | None = None
    outage_s: Seconds = 30

    # Of target and bank alike; each counts its own calls.

    #: More calls than this are answered with 429; without it none is.
    limit_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    #: How many calls may come at once.
    limit_burst: int = Field(default=1, ge=1)
    #: From this call on every call is answered with 401, until credentials are accepted again.
    refuse_credentials_after_calls: CallNumber | None = None
    #: A path, or a transfer's reference, with any of these in it is answered with 403.
    forbidden: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    # Of the bank; what the rates mean says bank_faults.py.

    #: Whether it knows idempotency keys, and for how long from a key's first call on.
    bank_keys: bool = True
    bank_key_window_s: Seconds = 24 * 60 * 60
    bank_refusal_rate: Rate = 0
    bank_error_rate: Rate = 0
    bank_lost_rate: Rate = 0
    bank_late_rate: Rate = 0
    bank_late_s: Seconds = 30
    bank_silent_rate: Rate = 0
    bank_silent_s: Seconds = 60
    #: With this POST the bank goes down: it answers everything with 503 for `bank_outage_s` seconds.
    bank_outage_after_calls: CallNumber | None = None
    bank_outage_s: Seconds = 30
    #: Whether it keeps every POST for `GET /-/bank-calls`.
    bank_keeps_calls: bool = False
    #: The file in which the bank remembers what it did, made if it is missing; without it it forgets with its process.
    bank_books: Path | None = None

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Reads the options out of one line of JSON. Raises OptionsError."""
        if not line.strip():
            raise OptionsError("no options: write one line with a JSON object to standard input, {} at least")
        try:
            return cls.model_validate_json(line)
        except ValidationError as error:
            raise OptionsError("; ".join(map(_describe, error.errors()))) from None


def _describe(error: ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"])) or "options"
    return f"{where}: {error['msg']}"
