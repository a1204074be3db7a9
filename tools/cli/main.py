"""`rollcall`: the commands. Every error is one line on standard error that says what to do."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.table import Column, Table

from rollcall.core.catalog import catalog, find
from rollcall.core.clock import SystemClock
from rollcall.core.errors import RollcallError
from tools.cli import exit_codes, operating, options
from tools.cli.credentials import own
from tools.cli.deployment import Interrupted
from tools.cli.locations import without_credentials
from tools.cli.reaching import KEPT, check_for_local_cloud, kept_folder, reached
from tools.cli.stand_ins import StandInsError
from tools.cli.terminal import Terminal, guard_stderr, print_json, print_notice, wide
from tools.local_cloud.isolation import isolate
from tools.local_cloud.ministack import MiniStackError

if TYPE_CHECKING:
    from tools.cli.local_run import Result
    from tools.cli.looks import Look

app = typer.Typer(
    help="Scheduled fan-out jobs that know when every entry has answered.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> int:
    """The console script; returns the exit code."""
    guard_stderr()
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        code = app(standalone_mode=False)
        if code == exit_codes.INTERRUPTED:  # Typer makes this of a KeyboardInterrupt
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted; everything that was started is ended", exit_codes.INTERRUPTED)
    except Interrupted as error:
        return _failed(str(error), exit_codes.INTERRUPTED)
    except (RollcallError, MiniStackError, StandInsError) as error:
        return _failed(str(error))
    except typer.TyperException as error:
        said = error.format_message().rstrip(".")
        return _failed(f"{said}. See rollcall --help.") if said else exit_codes.ERROR
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
        return _failed(f"{what}; see that it can be written to and has free space, and run it again")
    return code if isinstance(code, int) else 0


def _failed(text: str, code: int = exit_codes.ERROR) -> int:
    print_notice(without_credentials(" ".join(text.split())))
    return code


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="The job's name; `rollcall jobs` lists them.")],
    entries: Annotated[int, typer.Option(min=0, help="Size of the stand-in report or table.")] = 8_000,
    report: options.Report = None,
    report_credentials: options.ReportCredentials = None,
    target: options.Target = None,
    target_credentials: options.TargetCredentials = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="What the stand-in target takes to answer.")] = 50,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of its answers that are 503.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Which calls it fails.")] = 0,
    rate: Annotated[
        str | None, typer.Option(metavar="RATE", help="The target's rate, as 20/s or '1000/h burst 50'.")
    ] = None,
    stand_in: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the stand-ins: docs/stand-ins.md.")
    ] = None,
    param: options.Params = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="MiniStack's port; a free one.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the local cloud's data in .rollcall/.")] = False,
    json_: options.AsJson = False,
) -> None:
    """Run JOB once on a local cloud, without AWS.

    Credentials may also be in ROLLCALL_REPORT_CREDENTIALS and ROLLCALL_TARGET_CREDENTIALS: docs/credentials.md.

    Exit code 0: complete and clean; 3: complete, not clean; 4: refused or skipped; 1: an error.
    """
    from tools.cli.local_run import Options, run_locally

    mine = own(
        os.environ,
        report=report,
        report_credentials=report_credentials,
        target=target,
        target_credentials=target_credentials,
    )
    isolate(os.environ)
    asked = Options(
        entries=entries,
        own=mine,
        latency_ms=latency_ms,
        error_rate=error_rate,
        seed=seed,
        rate=options.rate(rate),
        stand_in=options.values("--stand-in", stand_in),
        params=options.pairs("--param", param),
        folder=KEPT if keep else None,
        port=port,
    )
    _show_local(lambda look: run_locally(find(job), asked, look), json_=json_)


def _show_local(ending: Callable[[Callable[["Look"], None]], "Result"], *, json_: bool) -> NoReturn:
    """Show a local run while it lasts, and its result; ends the command with its exit code."""
    from tools.cli import show

    console = Terminal(stderr=json_)
    with show.RunProgress(console, quiet=json_ and not console.is_terminal) as progress:
        result = ending(progress.show)
    show.show_result(console, result)
    if json_:
        print_json(result.fields())
    raise typer.Exit(exit_codes.of_run(result.record.state, clean=result.clean))


@app.command()
def failures(
    run: options.RunId,
    env: options.Environment = None,
    outcome: options.Outcomes = None,
    error: options.Errors = None,
    entry: options.Entries = None,
    json_: options.AsJson = False,
) -> None:
    """List the entries of RUN that did not succeed, and why."""
    from rollcall.engine.fan_out.redrive import matching
    from tools.cli import show

    choice = options.choice(outcome, error, entry)
    with reached(env) as deployment:
        found = list(matching(deployment.ledger, deployment.manifests, deployment.run(run), choice))
    if json_:
        print_json({"run_id": run, "failures": [show.fields_of(failure) for failure in found]})
    else:
        wide(Terminal()).print(show.table_of(found, f"{len(found):,} of {run}"))


@app.command()
def redrive(
    context: typer.Context,
    run: options.RunId,
    env: options.Environment = None,
    outcome: options.Outcomes = None,
    error: options.Errors = None,
    entry: options.Entries = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Under new idempotency keys: only where every call was answered for sure.")
    ] = False,
    wait: options.Wait = False,
    target: options.Target = None,
    target_credentials: options.TargetCredentials = None,
    rate: Annotated[str | None, typer.Option(metavar="RATE", help="The target's rate, as 20/s.")] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="What the stand-in target takes to answer.")] = 50,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of its answers that are 503.")] = 0,
    stand_in: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the stand-ins: docs/stand-ins.md.")
    ] = None,
    json_: options.AsJson = False,
) -> None:
    """Settle entries of RUN again, all that did not succeed or those that the options choose.

    Credentials of your own target may also be in ROLLCALL_TARGET_CREDENTIALS: docs/credentials.md.

    A kept local cloud is always waited for. Exit codes as those of run; deployed, without --wait, 0: asked for.
    """
    from tools.cli.redriving import redrivable

    chosen = replace(options.choice(outcome, error, entry), new_key=new_key)
    job = options.job_of_run(run)
    if env is None:
        from tools.cli.local_run import Options, redrive_locally

        mine = own(os.environ, target=target, target_credentials=target_credentials)
        isolate(os.environ)
        asked = Options(
            entries=0,
            own=mine,
            latency_ms=latency_ms,
            error_rate=error_rate,
            rate=options.rate(rate),
            stand_in=options.values("--stand-in", stand_in),
            folder=kept_folder(),
        )
        _show_local(lambda look: redrive_locally(find(job), asked, run, chosen, look), json_=json_)
    check_for_local_cloud(context, "target", "target_credentials", "rate", "latency_ms", "error_rate", "stand_in")
    declared = find(job)
    with reached(env) as deployment:
        record = redrivable(deployment, declared.job, run, chosen)
        deployment.functions.redrive(record, chosen)
        generation = record.generation + 1
        if wait:
            operating.watched(deployment, declared.job, run, generation, json_=json_)
        operating.asked(deployment, run, {"job": job, "generation": generation}, json_=json_)


@app.command()
def verify(
    context: typer.Context,
    run: options.RunId,
    env: options.Environment = None,
    repair: Annotated[bool, typer.Option("--repair", help="Bring it to its end.")] = False,
    entries: Annotated[int, typer.Option(min=0, help="Size of the stand-in report or table.")] = 8_000,
    report: options.Report = None,
    report_credentials: options.ReportCredentials = None,
    target: options.Target = None,
    target_credentials: options.TargetCredentials = None,
    rate: Annotated[str | None, typer.Option(metavar="RATE", help="The target's rate, as 20/s.")] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="What the stand-in target takes to answer.")] = 50,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of its answers that are 503.")] = 0,
    stand_in: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the stand-ins: docs/stand-ins.md.")
    ] = None,
    json_: options.AsJson = False,
) -> None:
    """Compare the manifest of RUN with the ledger: what is not settled, and what should never be.

    Credentials may also be in ROLLCALL_REPORT_CREDENTIALS and ROLLCALL_TARGET_CREDENTIALS: docs/credentials.md.

    The options from --entries on are for a local repair. Exit code 0: every entry is settled, and all is consistent;
    3: not so, or not sealed yet; 4: nobody was called; 1: an error.
    """
    from tools.cli import show
    from tools.cli.local_run import Options
    from tools.cli.verify import repair_deployed, repair_locally, verification

    if env is not None:
        its_own = ("report", "report_credentials", "target", "target_credentials")
        check_for_local_cloud(context, "entries", *its_own, "rate", "latency_ms", "error_rate", "stand_in")
    # Before the environment is isolated, which removes the variables with credentials.
    mine = own(
        os.environ,
        report=report,
        report_credentials=report_credentials,
        target=target,
        target_credentials=target_credentials,
    )
    console = Terminal(stderr=json_)
    with reached(env) as deployment:
        found = verification(deployment, run)
    if repair and not found.at_its_end:
        job, result = find(options.job_of_run(run)), None
        show.show_summary(console, found)
        with show.RunProgress(console, quiet=json_ and not console.is_terminal) as progress:
            if env is not None:
                with reached(env) as deployment:
                    repair_deployed(deployment, job.job, run, progress.show, progress.tell, SystemClock())
            else:
                asked = Options(
                    entries=entries,
                    own=mine,
                    latency_ms=latency_ms,
                    error_rate=error_rate,
                    rate=options.rate(rate),
                    stand_in=options.values("--stand-in", stand_in),
                    folder=kept_folder(),
                )
                result = repair_locally(job, asked, run, progress.show, progress.tell)
        if result is not None:
            show.show_result(console, result)
        with reached(env) as deployment:
            found = verification(deployment, run)
    show.show_verification(console, found)
    if json_:
        print_json(found.fields())
    raise typer.Exit(found.exit_code)


@app.command()
def jobs(
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Next times after this one, ISO 8601.")] = None,
) -> None:
    """List the jobs, their schedules and next times."""
    moment = options.moment("--at", at)
    table = Table(Column("job", no_wrap=True), "system", "schedule", "next", "target", "calls at once")
    for name, declared in catalog().items():
        upcoming = declared.job.schedule.next_after(moment)
        shown = upcoming.strftime("%a %Y-%m-%d %H:%M:%SZ") if upcoming is not None else "never"
        job = declared.job
        table.add_row(name, declared.system, job.schedule.words(), shown, job.target.name, str(job.concurrency))
    wide(Terminal()).print(table)


for command in (operating.start, operating.status, operating.cancel, operating.pause, operating.resume):
    app.command()(command)
