"""Options that several commands take, and what is made of their texts."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from rollcall.core.errors import RollcallError
from rollcall.core.outcome import Outcome
from rollcall.core.rate import Rate
from rollcall.core.run import Redrive, job_of
from rollcall.core.target import UNLIMITED

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, as `rollcall run` or `start` printed it.")]
Environment = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="ENVIRONMENT",
        help="A deployed environment, reached with your AWS credentials; else the kept local cloud.",
    ),
]
Params = Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the run.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show its progress until it has ended, and exit as `run` does.")]
Outcomes = Annotated[
    list[Outcome] | None, typer.Option("--outcome", metavar="OUTCOME", help="Only entries that ended so.")
]
Errors = Annotated[
    list[str] | None, typer.Option("--error", metavar="ERROR", help="Only this class of error, as http_503.")
]
Entries = Annotated[list[str] | None, typer.Option("--entry", metavar="KEY", help="Only this entry.")]
Report = Annotated[str | None, typer.Option("--report", metavar="FILE|URL", help="Your own report.")]
ReportCredentials = Annotated[
    str | None,
    typer.Option(
        "--report-credentials",
        metavar="FILE|-",
        help="Its credentials, in a file that only you can read; - asks for them, without echo.",
    ),
]
Target = Annotated[str | None, typer.Option("--target", metavar="URL", help="Your own target.")]
TargetCredentials = Annotated[
    str | None,
    typer.Option(
        "--target-credentials",
        metavar="FILE|-",
        help="Its credentials, in a file that only you can read; - asks for them, without echo.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The last line of output is one JSON object.")]


def job_of_run(run: str) -> str:
    """The job's name. Raises RollcallError for a text that is no run id."""
    try:
        return job_of(run)
    except ValueError as error:
        raise RollcallError(str(error)) from error


def choice(outcomes: list[Outcome] | None, errors: list[str] | None, keys: list[str] | None) -> Redrive:
    """The entries that these choose."""
    if outcomes and Outcome.SUCCEEDED in outcomes:
        raise RollcallError("entries that succeeded are neither failures nor settled again; choose other outcomes")
    return Redrive(frozenset(outcomes or ()), frozenset(errors or ()), frozenset(keys or ()))


def pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    """NAME=VALUE, as often as it was given."""
    parts = [(text, *text.partition("=")) for text in texts or ()]
    for text, name, sign, _ in parts:
        if not (name and sign):
            raise RollcallError(f"{option} {text}: write NAME=VALUE")
    return {name: value for _, name, _, value in parts}


def values(option: str, texts: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE, with values as JSON where they are JSON, else as text."""

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    return {name: value(text) for name, text in pairs(option, texts).items()}


def rate(text: str | None) -> str | None:
    """A rate that can be read."""
    if text is not None and text != UNLIMITED:
        Rate.parse(text)
    return text


def moment(option: str, text: str | None) -> datetime:
    """A time, in UTC where it names no zone; without a text, now."""
    if text is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise RollcallError(f"{option} {text}: write a time such as 2026-11-21T02:30:00Z") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
