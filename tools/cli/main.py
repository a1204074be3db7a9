"""`rollcall`: the commands. Every error is one line on standard error that says what to do."""

import json
import os
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from rollcall.core.catalog import catalog, find
from rollcall.core.errors import RollcallError
from rollcall.core.outcome import Outcome
from rollcall.core.rate import Rate
from rollcall.core.run import Redrive, job_of
from rollcall.core.target import UNLIMITED
from tools.cli.stand_ins import StandInsError
from tools.local_cloud.isolation import isolate
from tools.local_cloud.ministack import CHECKOUT, MiniStackError

#: Where `--keep` leaves the local cloud's data.
KEPT = CHECKOUT / ".rollcall"
INTERRUPTED = 130

app = typer.Typer(
    help="Scheduled fan-out jobs that know when every entry has answered.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> int:
    """The console script; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # Typer makes this of a KeyboardInterrupt
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted; everything that was started is ended", INTERRUPTED)
    except (RollcallError, MiniStackError, StandInsError) as error:
        return _failed(str(error))
    except typer.TyperException as error:
        said = error.format_message().rstrip(".")
        return _failed(f"{said}. See rollcall --help.") if said else 1
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
        return _failed(f"{what}; see that it can be written to and has free space, and run it again")
    return code if isinstance(code, int) else 0


def _failed(text: str, code: int = 1) -> int:
    print("rollcall: " + " ".join(text.split()), file=sys.stderr)
    return code


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="The job's name; `rollcall jobs` lists them.")],
    entries: Annotated[int, typer.Option(min=0, help="Size of the stand-in report or table.")] = 8_000,
    report: Annotated[str | None, typer.Option(metavar="FILE|URL", help="Your own report.")] = None,
    target: Annotated[str | None, typer.Option(metavar="URL", help="Your own target.")] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="What the stand-in target takes to answer.")] = 50,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of its answers that are 503.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Which calls it fails.")] = 0,
    rate: Annotated[
        str | None, typer.Option(metavar="RATE", help="The target's rate, as 20/s or '1000/h burst 50'.")
    ] = None,
    stand_in: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the stand-ins: docs/stand-ins.md.")
    ] = None,
    param: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter of the run.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="MiniStack's port; a free one.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the local cloud's data in .rollcall/.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="The last line of output is one JSON object.")] = False,
) -> None:
    """Run JOB once on a local cloud, without AWS.

    Exit code 0: complete and clean; 3: complete, not clean; 4: refused or skipped; 1: an error.
    """
    from tools.cli import show
    from tools.cli.local_run import Options, exit_code, run_locally

    isolate(os.environ)
    options = Options(
        entries=entries,
        report=report,
        target=target,
        latency_ms=latency_ms,
        error_rate=error_rate,
        seed=seed,
        rate=_rate(rate),
        stand_in=_values(stand_in or []),
        params=_pairs("--param", param or []),
        folder=KEPT if keep else None,
        port=port,
    )
    console = Console(stderr=json_)
    with show.RunProgress(console, quiet=json_ and not console.is_terminal) as progress:
        result = run_locally(find(job), options, progress.show)
    show.show_result(console, result)
    if json_:
        print(json.dumps(result.fields()))
    raise typer.Exit(exit_code(result))


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for (name, sign, _), text in zip(pairs, texts, strict=True):
        if not (name and sign):
            raise RollcallError(f"{option} {text}: write NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _values(texts: list[str]) -> dict[str, Any]:
    """Values as JSON where they are JSON, else as text."""

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    return {name: value(text) for name, text in _pairs("--stand-in", texts).items()}


def _rate(text: str | None) -> str | None:
    if text is not None and text != UNLIMITED:
        Rate.parse(text)
    return text


Run = Annotated[str, typer.Argument(help="The run's id, as `rollcall run --keep` printed it.")]
Outcomes = Annotated[
    list[Outcome] | None, typer.Option("--outcome", metavar="OUTCOME", help="Only entries that ended so.")
]
Errors = Annotated[
    list[str] | None, typer.Option("--error", metavar="ERROR", help="Only this class of error, as http_503.")
]
Entries = Annotated[list[str] | None, typer.Option("--entry", metavar="KEY", help="Only this entry.")]
AsJson = Annotated[bool, typer.Option("--json", help="The last line of output is one JSON object.")]


@app.command()
def failures(
    run: Run, outcome: Outcomes = None, error: Errors = None, entry: Entries = None, json_: AsJson = False
) -> None:
    """List the entries of a kept RUN that did not succeed, and why."""
    from tools.cli import show
    from tools.cli.kept import failures_of

    isolate(os.environ)
    found = failures_of(_kept(), run, _redrive(outcome, error, entry))
    if json_:
        print(json.dumps({"run_id": run, "failures": [show.fields_of(failure) for failure in found]}))
    else:
        console = Console()
        Console(width=None if console.is_terminal else 200).print(show.table_of(found, f"{len(found):,} of {run}"))


@app.command()
def redrive(
    run: Run,
    outcome: Outcomes = None,
    error: Errors = None,
    entry: Entries = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Under new idempotency keys: only where every call was answered for sure.")
    ] = False,
    target: Annotated[str | None, typer.Option(metavar="URL", help="Your own target.")] = None,
    rate: Annotated[str | None, typer.Option(metavar="RATE", help="The target's rate, as 20/s.")] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="What the stand-in target takes to answer.")] = 50,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of its answers that are 503.")] = 0,
    stand_in: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the stand-ins: docs/stand-ins.md.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Settle entries of a kept RUN again, all that did not succeed or those that the options choose.

    Exit codes as those of run.
    """
    from tools.cli import show
    from tools.cli.local_run import Options, exit_code, redrive_locally

    isolate(os.environ)
    options = Options(
        entries=0,
        target=target,
        latency_ms=latency_ms,
        error_rate=error_rate,
        rate=_rate(rate),
        stand_in=_values(stand_in or []),
        folder=_kept(),
    )
    chosen = replace(_redrive(outcome, error, entry), new_key=new_key)
    console = Console(stderr=json_)
    with show.RunProgress(console, quiet=json_ and not console.is_terminal) as progress:
        result = redrive_locally(find(_job_of(run)), options, run, chosen, progress.show)
    show.show_result(console, result)
    if json_:
        print(json.dumps(result.fields()))
    raise typer.Exit(exit_code(result))


@app.command()
def verify(
    run: Run,
    repair: Annotated[
        bool, typer.Option("--repair", help="Bring it to its end; the options below are for that.")
    ] = False,
    entries: Annotated[int, typer.Option(min=0, help="Size of the stand-in report or table.")] = 8_000,
    report: Annotated[str | None, typer.Option(metavar="FILE|URL", help="Your own report.")] = None,
    target: Annotated[str | None, typer.Option(metavar="URL", help="Your own target.")] = None,
    rate: Annotated[str | None, typer.Option(metavar="RATE", help="The target's rate, as 20/s.")] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="What the stand-in target takes to answer.")] = 50,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of its answers that are 503.")] = 0,
    stand_in: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the stand-ins: docs/stand-ins.md.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Compare the manifest of a kept RUN with the ledger: what is not settled, and what should never be.

    Exit code 0: every entry is settled, and all is consistent; 3: not so, or not sealed yet; 4: nobody was called;
    1: an error.
    """
    from tools.cli import show
    from tools.cli.local_run import Options
    from tools.cli.verify import repair_locally, verify_kept

    isolate(os.environ)
    console = Console(stderr=json_)
    found = verify_kept(_kept(), run)
    if repair and not (found.exit_code == 0 and found.run.state.terminal and found.run.announced):
        options = Options(
            entries=entries,
            report=report,
            target=target,
            latency_ms=latency_ms,
            error_rate=error_rate,
            rate=_rate(rate),
            stand_in=_values(stand_in or []),
            folder=_kept(),
        )
        show.show_summary(console, found)
        with show.RunProgress(console, quiet=json_ and not console.is_terminal) as progress:
            result = repair_locally(find(_job_of(run)), options, run, progress.show, progress.tell)
        show.show_result(console, result)
        found = verify_kept(_kept(), run)
    show.show_verification(console, found)
    if json_:
        print(json.dumps(found.fields()))
    raise typer.Exit(found.exit_code)


def _kept() -> Path:
    if not KEPT.is_dir():
        raise RollcallError("there is no kept local cloud; make one with: rollcall run JOB --keep")
    return KEPT


def _job_of(run: str) -> str:
    try:
        return job_of(run)
    except ValueError as error:
        raise RollcallError(str(error)) from error


def _redrive(outcomes: list[Outcome] | None, errors: list[str] | None, keys: list[str] | None) -> Redrive:
    if outcomes and Outcome.SUCCEEDED in outcomes:
        raise RollcallError("entries that succeeded are neither failures nor settled again; choose other outcomes")
    return Redrive(frozenset(outcomes or ()), frozenset(errors or ()), frozenset(keys or ()))


@app.command()
def jobs(
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Next times after this one, ISO 8601.")] = None,
) -> None:
    """List the jobs, their schedules and next times."""
    moment = _moment(at)
    table = Table(Column("job", no_wrap=True), "system", "schedule", "next", "target", "calls at once")
    for name, declared in catalog().items():
        upcoming = declared.job.schedule.next_after(moment)
        shown = upcoming.strftime("%a %Y-%m-%d %H:%M:%SZ") if upcoming is not None else "never"
        job = declared.job
        table.add_row(name, declared.system, job.schedule.words(), shown, job.target.name, str(job.concurrency))
    # A table that is piped somewhere is not cut to a terminal's width.
    console = Console()
    Console(width=None if console.is_terminal else 160).print(table)


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RollcallError(f"--at {text}: write a time such as 2026-11-21T02:30:00Z") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@app.command()
def start(job: Annotated[str, typer.Argument(help="The job's name.")]) -> None:
    """Start JOB in a deployed environment (not built yet)."""
    raise RollcallError(
        f"start is for deployed environments, which this version does not reach yet; "
        f"run {job} on this machine with: rollcall run {job}"
    )
