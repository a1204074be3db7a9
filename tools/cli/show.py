"""What a person sees of a run: progress while it lasts, then the result."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from rollcall.core.outcome import Outcome
from rollcall.core.run import JobRecord, RunState
from rollcall.core.values import counted
from rollcall.engine.batch.pipeline_steps import Step
from rollcall.engine.runs.failures import Failure
from rollcall.engine.runs.progress import Held
from tools.cli.local_run import MOST_LISTED, Result
from tools.cli.looks import Look
from tools.cli.terminal import Terminal, visible, wide
from tools.cli.verify import Verification
from tools.cli.watching import Standing

#: Seconds over which the pace is taken.
PACE_SECONDS = 5.0
#: Groups of entries that ended alike that a result shows, and entries that it names of each.
MOST_ROWS = 20
MOST_NAMED = 3
#: Objects of a bucket, with their rows.
MOST_OBJECTS = 100
#: Of such a run nobody was called.
NOT_RUN = frozenset({RunState.REFUSED, RunState.SKIPPED, RunState.MISSED})
_CUT = Column(no_wrap=True, overflow="ellipsis")


class RunProgress(AbstractContextManager["RunProgress"]):
    """A line of progress on a terminal, a line every ten seconds elsewhere; nothing where it is quiet."""

    def __init__(self, console: Terminal, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._seen: list[tuple[float, int]] = []
        self._told = 0.0
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[trouble]}", "yellow", markup=False, table_column=_CUT),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, look: Look) -> None:
        """Show a look at the run."""
        state = look.record.state.value if look.record is not None else "starting"
        total = look.record.total if look.record is not None else 0
        self._seen = [seen for seen in self._seen if look.seconds - seen[0] <= PACE_SECONDS]
        self._seen.append((look.seconds, look.settled))
        pace = _pace(self._seen, total)
        trouble = "; ".join([*map(_held, look.held), *(each.words() for each in look.troubles)])
        if self._task is None:
            self._task = self._bar.add_task(state, total=None, pace="", trouble="")
        self._bar.update(
            self._task,
            description=state,
            total=total or None,
            completed=look.settled,
            pace=pace,
            trouble=visible(trouble),
        )
        if not self._quiet and not self._console.is_terminal and look.seconds - self._told >= 10:
            self._told = look.seconds
            told = f"{look.settled:,} of {total:,} settled"
            text = f"{look.seconds:5.0f} s  {state}: {', '.join(filter(None, [told, pace, trouble]))}"
            self._console.print(text, soft_wrap=True)

    def tell(self, line: str) -> None:
        """Print a line that stays, for people; also where progress is quiet."""
        self._console.print(f"  {line}", soft_wrap=True)


def _held(held: Held) -> str:
    until = "" if held.until is None else f" until {held.until:%H:%M:%SZ}"
    return f"{held.entries:,} held{until}: {held.reason}"


def _pace(seen: list[tuple[float, int]], total: int) -> str:
    (first, before), (last, now) = seen[0], seen[-1]
    if last <= first or now <= before:
        return ""
    pace = (now - before) / (last - first)
    return f"{pace:,.0f}/s, {max(0, total - now) / pace:,.0f} s left"


def show_result(console: Terminal, result: Result) -> None:
    """Print the result for people."""
    record, fields = result.record, result.fields()
    colour = "green" if result.clean else "yellow" if record.state is RunState.COMPLETE else "red"
    verdict = ", clean" if result.clean else ", not clean" if record.state is RunState.COMPLETE else ""
    console.print(f"{record.id}: {record.state}{verdict}", style=f"bold {colour}", soft_wrap=True)
    if record.reason:
        console.print(f"  {record.reason}", soft_wrap=True)
    console.print(_outcomes(int(result.completed["total"]), _counts(result), int(result.completed["duplicates"])))
    if result.steps:
        console.print(_steps(result.steps))
    if result.failures:
        console.print(_failures(result))
    for bucket, objects in result.objects.items():
        console.print(f"  {len(objects):,} objects in {bucket}", soft_wrap=True)
        for key, facts in islice(objects.items(), MOST_OBJECTS):
            rows = f"  {int(facts['rows']):,} rows" if "rows" in facts else ""
            console.print(f"    {key}{rows}", soft_wrap=True)
    for line in _facts(fields):
        console.print(f"  {line}", soft_wrap=True)


def _counts(result: Result) -> dict[Outcome, int]:
    return {outcome: result.outcome(outcome) for outcome in Outcome}


def _outcomes(total: int, counts: Mapping[Outcome, int], duplicates: int) -> Table:
    table = Table("", Column(justify="right"), box=None, padding=(0, 2), show_header=False)
    rows: list[tuple[str, int]] = [("entries", total)]
    rows += [(outcome.value, counts[outcome]) for outcome in Outcome]
    rows.append(("duplicates", duplicates))
    for name, count in rows:
        if count or name in {"entries", "succeeded"}:
            table.add_row(name, f"{count:,}")
    return table


def _steps(steps: Iterable[Step]) -> Table:
    """The steps of a pipeline, and of those that are runs how these stand."""
    table = Table("step", "outcome", "run", "entries", box=None, padding=(0, 2))
    for step in steps:
        counts = step.outcomes or {}
        told = ", ".join(f"{count:,} {outcome.value}" for outcome, count in counts.items() if count)
        state = "" if step.run is None else f"{step.run.id}: {step.run.state}"
        table.add_row(step.name, "" if step.outcome is None else step.outcome.value, state, told)
    return table


def show_standing(console: Terminal, found: Standing, failures: str) -> None:
    """Print where a run of a deployment stands; `failures` is the command that lists what did not succeed."""
    record = found.record
    name = record.id if record.generation == 1 else f"{record.id}/{record.generation}"
    colour = "green" if found.clean else "red" if record.state in NOT_RUN else "yellow"
    console.print(f"{name}: {_stands(found)}", style=f"bold {colour}", soft_wrap=True)
    for line in _about(found):
        console.print(f"  {line}", soft_wrap=True)
    if record.nonce is not None:
        console.print(_outcomes(record.total, found.outcomes, record.duplicates))
        if found.steps:
            console.print(_steps(found.steps))
        if found.settled > found.outcomes[Outcome.SUCCEEDED]:
            console.print(f"  what did not succeed, and why: {failures}", soft_wrap=True)


def _stands(found: Standing) -> str:
    record = found.record
    if record.state is RunState.COMPLETE:
        return "complete, clean" if found.clean else "complete, not clean"
    if record.nonce is None:
        return record.state.value
    return f"{record.state}, {found.settled:,} of {record.total:,} settled"


def _about(found: Standing) -> Iterator[str]:
    record = found.record
    if record.reason:
        yield record.reason
    yield from map(_held, found.held)
    if record.completed_at is None:
        yield f"started {record.started_at:%Y-%m-%d %H:%M:%SZ}"
    else:
        yield f"ended {record.completed_at:%Y-%m-%d %H:%M:%SZ}, {found.seconds:,.1f} s after its start"
    if record.state.terminal and not record.announced:
        yield "its end is not announced yet"


def show_jobs(console: Terminal, environment: str, jobs: Iterable[tuple[JobRecord, list[Standing]]]) -> None:
    """Print the open and latest runs of jobs, a line each."""
    table = Table(Column("job", no_wrap=True), "run", "state", "settled", "started", "", title=environment)
    for job, runs in jobs:
        paused = "" if job.paused_since is None else f"paused since {job.paused_since:%Y-%m-%d %H:%M:%SZ}"
        for found in runs:
            record = found.record
            settled = "" if record.nonce is None else f"{found.settled:,} of {record.total:,}"
            remark = "; ".join(filter(None, [paused, *map(_held, found.held), record.reason]))
            begun = f"{record.started_at:%Y-%m-%d %H:%M:%SZ}"
            table.add_row(job.name, record.id, _state(found), settled, begun, remark)
        if not runs:
            table.add_row(job.name, "", "no run yet", "", "", paused)
    wide(console).print(table)


def _state(found: Standing) -> str:
    return _stands(found) if found.record.state is RunState.COMPLETE else found.record.state.value


def _failures(result: Result) -> Table:
    groups = grouped(result.failures)
    shown = groups[:MOST_ROWS]
    entries = sum(len(group) for group in shown)
    not_well = int(result.completed["total"]) - result.outcome(Outcome.SUCCEEDED)
    table = _table(f"the first {entries:,} of {not_well:,}" if not_well > entries else None)
    for group in shown:
        named = ", ".join(map(_name, group[:MOST_NAMED]))
        more = len(group) - MOST_NAMED
        table.add_row(f"{named} and {more:,} more" if more > 0 else named, *_row(group[0]))
    return table


def grouped(failures: Iterable[Failure]) -> list[list[Failure]]:
    """Failures with those together that ended alike, in the order of each one's first."""
    groups: dict[tuple[object, ...], list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.outcome, failure.attempts, failure.error, failure.reason), []).append(failure)
    return list(groups.values())


def table_of(failures: Iterable[Failure], title: str | None = None) -> Table:
    """Failures for people, a line each."""
    table = _table(title)
    for failure in failures:
        table.add_row(_name(failure), *_row(failure))
    return table


def _table(title: str | None) -> Table:
    return Table("entry", "outcome", "calls", "error", "reason", title=title, title_justify="left")


def _name(failure: Failure) -> str:
    return failure.key if failure.key is not None else f"number {failure.index + 1}"


def _row(failure: Failure) -> tuple[str, ...]:
    return failure.outcome.value, str(failure.attempts), failure.error or "", failure.reason or ""


def show_summary(console: Terminal, found: Verification) -> None:
    """Print in a line how a run stands, and by what is known of them how many entries are missing."""
    run = found.run
    name = run.id if run.generation == 1 else f"{run.id}/{run.generation}"
    if found.without is not None:
        text = f"{name}: {found.without}"
    else:
        known = ", ".join(f"{count:,} {what}" for what, count in found.known.items())
        wrong = len(found.inconsistencies)
        text = f"{name}: {run.state}, {found.settled:,} of {run.total:,} settled" + (f"; {known}" if known else "")
        text += "; consistent" if not wrong else f"; {wrong:,} inconsistent"
    console.print(text, style="bold green" if found.exit_code == 0 else "bold yellow", soft_wrap=True)


def show_verification(console: Terminal, found: Verification) -> None:
    """Print what was found of a run, a line for each entry that is missing and each thing that should never be."""
    show_summary(console, found)
    uncut = wide(console)
    if found.inconsistencies:
        table = Table("what should never be", "where", "what there is")
        for each in found.inconsistencies[:MOST_LISTED]:
            table.add_row(each.wrong.value, each.place, each.said)
        uncut.print(table)
    if found.missing:
        more = len(found.missing) > MOST_LISTED
        title = f"the first {MOST_LISTED:,} of {len(found.missing):,}; all with --json" if more else None
        entries = Table("index", "entry", "what is known", "attempts", title=title, title_justify="left")
        for entry in found.missing[:MOST_LISTED]:
            entries.add_row(str(entry.index), entry.key or "", entry.known.value, str(entry.attempts or ""))
        uncut.print(entries)


def fields_of(failure: Failure) -> dict[str, object]:
    """A failure as JSON fields."""
    since = failure.unanswered_since
    return {
        "key": failure.key,
        "index": failure.index,
        "outcome": failure.outcome.value,
        "error": failure.error,
        "reason": failure.reason,
        "attempts": failure.attempts,
        "generation": failure.generation,
        "payload": failure.line.payload,
        "unanswered_since": None if since is None else since.isoformat(),
    }


def _facts(fields: dict[str, Any]) -> list[str]:
    lines = [f"{fields['seconds']:.1f} s from start to completion, announced {_times(fields['completions'])}"]
    if fields["callbacks"] is not None:
        lines.append(
            f"{counted(fields['callbacks'], 'call')} received by the stand-in, "
            f"which failed {fields['injected']:,} of them"
        )
    bank = fields["bank"]
    if isinstance(bank, dict):
        twice = sum(count for times, count in bank["movements_per_reference"].items() if times != "1")
        lines.append(
            f"the bank moved money {counted(bank['movements'], 'time')}, more than once for "
            f"{counted(twice, 'transfer')}; "
            f"it refused {bank['refused']:,}"
        )
    requests = fields["requests"]
    executions = requests.get("sfn", {}).get("StartExecution") if isinstance(requests, dict) else None
    lines.append(
        f"{counted(fields['messages_sent'], 'message')} sent"
        if executions is None
        else f"in batches, by {counted(executions, 'execution')} of the state machine"
    )
    if isinstance(requests, dict):
        told = ", ".join(f"{sum(counts.values()):,} {service}" for service, counts in requests.items())
        per_entry = fields["requests_per_entry"]
        lines.append(f"requests: {told}" + (f"; {per_entry} per entry" if per_entry is not None else ""))
    peaks = fields["peak_memory_mb"]
    if isinstance(peaks, dict):
        lines.append("peak memory: " + ", ".join(f"{kind} {peak:.0f} MB" for kind, peak in peaks.items()))
    return lines


def _times(count: object) -> str:
    return "once" if count == 1 else f"{count} times"
