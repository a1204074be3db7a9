"""The commands that start, watch, stop and hold jobs where they are deployed."""

import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn

import typer

from rollcall.adapters.ledger import runs
from rollcall.core.catalog import catalog, find
from rollcall.core.clock import SystemClock
from rollcall.core.errors import RollcallError
from rollcall.core.job import Job
from rollcall.core.run import JobRecord, RunState, is_run_id
from rollcall.core.values import counted
from rollcall.engine.runs import cancellation
from tools.cli import exit_codes, options
from tools.cli.deployment import Deployment
from tools.cli.reaching import reached
from tools.cli.terminal import Terminal, print_json, print_line
from tools.cli.watching import Standing, Watch, standing

JobName = Annotated[str, typer.Argument(metavar="JOB", help="The job's name; `rollcall jobs` lists them.")]
WHILE_HELD = "entries that workers receive are held, and use up no attempt; calls under way keep their answers"


def start(
    job: JobName,
    env: options.Environment = None,
    param: options.Params = None,
    wait: options.Wait = False,
    json_: options.AsJson = False,
) -> None:
    """Start a run of JOB in a deployed environment now, and print its id.

    Exit code 0: asked for; with --wait as that of run.
    """
    if env is None:
        raise RollcallError(
            f"start is for deployed environments: name one with --env; "
            f"run {job} on this machine with: rollcall run {job}"
        )
    declared, params, clock = find(job), options.pairs("--param", param), SystemClock()
    with reached(env) as deployment:
        # Whoever has no such environment, or may not read it, starts nothing there.
        paused = deployment.ledger.job(job).paused_since is not None
        run = deployment.functions.start(job, clock.now(), secrets.token_hex(3), params)
        if paused:
            print_line(
                f"{job} is paused: nobody is called until: rollcall resume {job}{deployment.option}", stderr=True
            )
        if wait:
            print_line(run, stderr=True)
            watched(deployment, declared.job, run, 1, json_=json_)
        asked(deployment, run, {"job": job}, json_=json_)


def status(
    what: Annotated[
        str | None, typer.Argument(metavar="[RUN|JOB]", help="One run, or one job; else every job's latest runs.")
    ] = None,
    env: options.Environment = None,
    wait: options.Wait = False,
    json_: options.AsJson = False,
) -> None:
    """Show where a RUN stands, or the open and latest runs of a JOB or of all.

    Exit code 0: it could be told; with --wait as that of run.
    """
    from tools.cli import show

    one = what is not None and what not in catalog() and is_run_id(what)
    if wait and not one:
        raise RollcallError("--wait waits for one run: name it, as in: rollcall status RUN --wait")
    console = Terminal(stderr=json_)
    if one and what is not None:
        job = find(options.job_of_run(what)).job
        with reached(env) as deployment:
            record = deployment.run(what)
            if wait:
                watched(deployment, job, what, record.generation, json_=json_)
            found = standing(deployment, record, job)
            show.show_standing(console, found, f"rollcall failures {what}{deployment.option}")
            fields = found.fields()
    else:
        jobs = [declared.job for declared in catalog().values()] if what is None else [find(what).job]
        with reached(env) as deployment:
            listed = [_runs_of(deployment, job) for job in jobs]
            show.show_jobs(console, deployment.place, listed)
            fields = {"environment": deployment.environment, "jobs": [_fields(*each) for each in listed]}
    if json_:
        print_json(fields)


def cancel(run: options.RunId, env: options.Environment = None, json_: options.AsJson = False) -> None:
    """Stop RUN: nobody else is called for it, and calls under way keep their answers.

    Exit code 0: it is cancelled, or will be in a moment; 3: it had ended otherwise.
    """
    with reached(env) as deployment:
        deployment.run(run)
        record = cancellation.cancel(deployment.ledger, run, SystemClock())
        print_line(f"{run}: {_cancelled(deployment, run, record.state)}", stderr=json_)
        cancelled = record.state in {RunState.CANCELLING, RunState.CANCELLED}
        if json_:
            fields = {"environment": deployment.environment, "run_id": run, "state": record.state.value}
            print_json(fields)
    raise typer.Exit(exit_codes.CLEAN if cancelled else exit_codes.NOT_CLEAN)


def pause(job: JobName, env: options.Environment = None, json_: options.AsJson = False) -> None:
    """Hold the entries of all runs of JOB until it is resumed."""
    _hold(job, env, lambda deployment: runs.pause(deployment.ledger, job, SystemClock().now()), json_=json_)


def resume(job: JobName, env: options.Environment = None, json_: options.AsJson = False) -> None:
    """Let a paused JOB go on."""
    _hold(job, env, lambda deployment: runs.resume(deployment.ledger, job), json_=json_)


def watched(deployment: Deployment, job: Job, run: str, generation: int, *, json_: bool) -> NoReturn:
    """Show a run's progress and end; ends the command with the exit code of the run's outcome."""
    from tools.cli import show

    console, clock = Terminal(stderr=json_), SystemClock()
    with show.RunProgress(console, quiet=json_ and not console.is_terminal) as progress:
        record = Watch(deployment, job, clock, progress.show, progress.tell).until_end(run, generation)
    found = standing(deployment, record, job)
    show.show_standing(console, found, f"rollcall failures {run}{deployment.option}")
    if json_:
        print_json(found.fields())
    raise typer.Exit(exit_codes.of_run(record.state, clean=found.clean))


def asked(deployment: Deployment, run: str, more: Mapping[str, Any], *, json_: bool) -> None:
    """Say that fan-out was asked for a run, on standard output by its id alone."""
    print_line(
        f"{deployment.place} was asked; watch it with: rollcall status {run} --wait{deployment.option}", stderr=True
    )
    if json_:
        print_json({"environment": deployment.environment, "run_id": run, **more})
    else:
        print_line(run)


def _runs_of(deployment: Deployment, job: Job) -> tuple[JobRecord, list[Standing]]:
    """The job's record, and its open, waiting and latest runs."""
    record = deployment.ledger.job(job.name)
    named = {*record.open, *(run for run in (record.current, record.queued) if run is not None)}
    return record, [standing(deployment, run, job) for run in deployment.ledger.runs(named).values()]


def _fields(job: JobRecord, runs: list[Standing]) -> dict[str, Any]:
    return {"job": job.name, **_paused(job), "runs": [run.fields() for run in runs]}


def _paused(job: JobRecord) -> dict[str, Any]:
    return {"paused_since": None if job.paused_since is None else job.paused_since.isoformat()}


def _cancelled(deployment: Deployment, run: str, state: RunState) -> str:
    if state is RunState.CANCELLING:
        see = f"see it with: rollcall status {run}{deployment.option}"
        if deployment.alone:
            see = f"bring it to its end with: rollcall verify {run} --repair"
        return f"cancelling; nobody else is called, and it is cancelled when every entry is settled; {see}"
    return "cancelled" if state is RunState.CANCELLED else f"it had ended, {state}, and stays so"


def _hold(job: str, env: str | None, change: Callable[[Deployment], None], *, json_: bool) -> None:
    find(job)
    with reached(env) as deployment:
        change(deployment)
        record = deployment.ledger.job(job)
        since = record.paused_since
        held = f"paused since {since:%Y-%m-%d %H:%M:%SZ}; {WHILE_HELD}" if since is not None else "not paused"
        open_ = f"; it has {counted(len(record.open), 'open run')}"
        print_line(f"{job}: {held}{open_}", stderr=json_)
        if json_:
            print_json({"environment": deployment.environment, "job": job, **_paused(record)})
