"""A run of the main job whose worker processes are all killed (SIGKILL) three times, against the same run unharmed.

Measured: 10,000 entries, an HTTP callback each, answered after 50 ms, 1 % with 503. When the target has had a quarter,
a half and three quarters of the calls, every process of the worker is killed, at work or not; the next invocation
starts a new one, as Lambda does. What the killed held is counted, not assumed: the messages of the batches that they
were handling, less those that the ledger has as settled by then; they come back after minutes, so nobody else settles
them meanwhile. Calls made twice are those beyond one for each entry and one for each 503 that the target injected.

Claims, whatever the machine: the run is complete and clean, it is announced once, and no more calls are made twice than
messages were received and unsettled at the kills. The exit code is 1 where one does not hold.

Limits: a killed worker's messages come back after their visibility timeout, six times the worker's own, as on AWS,
which gives them back no earlier; the seconds with kills are mostly that wait.
"""

import argparse
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench.main_job import JOB
from bench.result import Result
from rollcall.core.catalog import find
from rollcall.core.message import Message
from rollcall.core.sizing import worker_sizing
from rollcall.core.target import UNLIMITED, Location
from rollcall.engine.runs.progress import progress
from tools.cli.stand_ins import StandIns
from tools.local_cloud.cloud import Deployed, LocalCloud
from tools.local_cloud.event_source import LONG_POLL_SECONDS

#: Of the calls, when the workers are killed.
PROGRESS = (0.25, 0.5, 0.75)
#: Until a request that a killed process has made is served: then the ledger is what it will be.
SERVED_SECONDS = 0.5
LOOK_SECONDS = 0.02


@dataclass(slots=True)
class Killed:
    """What was found at one kill."""

    #: Calls that the target had had.
    calls: int
    processes: int
    #: In the batches of those that were at work.
    received: int
    #: Of these, not settled.
    unsettled: int


@dataclass(slots=True)
class Ran:
    """A run that has ended."""

    state: str
    clean: bool
    completions: int
    outcomes: Mapping[str, int]
    calls: int
    injected: int
    #: How many entries were called once, twice, …
    calls_per_entry: Mapping[str, int]
    #: From the start to the announcement.
    seconds: float
    #: From the start until all were settled that no killed process held.
    others_seconds: float
    kills: list[Killed] = field(default_factory=list)

    @property
    def entries(self) -> int:
        return sum(self.outcomes.values())

    @property
    def twice(self) -> int:
        """Calls beyond one for each entry and one for each injected fault."""
        return self.calls - self.injected - self.entries

    @property
    def unsettled(self) -> int:
        return sum(kill.unsettled for kill in self.kills)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--error-rate", type=float, default=0.01)


def measure(arguments: argparse.Namespace) -> Result:
    """Run it unharmed, then with kills."""
    result = Result("kills")
    rates = {"latency_ms": arguments.latency_ms, "error_rate": arguments.error_rate}
    unharmed = run_with_kills(arguments.entries, (), **rates)
    ran = run_with_kills(arguments.entries, PROGRESS, **rates)
    sizing = worker_sizing(find(JOB).job.bound_to(Location("http://127.0.0.1", rate=UNLIMITED)))
    result.add("entries", ran.entries, entries=arguments.entries)
    result.add("state, completions", f"{ran.state}, {ran.completions}", state=ran.state, completions=ran.completions)
    outcomes = {name: count for name, count in ran.outcomes.items() if count}
    result.add("outcomes", ", ".join(f"{name} {count:,}" for name, count in outcomes.items()), outcomes=outcomes)
    result.add("calls, of which answered with 503", f"{ran.calls:,}, {ran.injected:,}")
    for number, kill in enumerate(ran.kills, start=1):
        held = f"{kill.processes} processes, {kill.received} messages received, {kill.unsettled} unsettled"
        result.add(f"kill {number}, after {kill.calls:,} calls", held)
    result.add("received and unsettled at the kills", ran.unsettled, unsettled=ran.unsettled)
    result.add("calls made twice", ran.twice, twice=ran.twice, calls=ran.calls, injected=ran.injected)
    result.add("from start to completion", ran.seconds, "s", seconds=round(ran.seconds, 1))
    result.add("  of which a killed worker's messages are invisible", sizing.visibility.total_seconds(), "s")
    result.add("  all others settled", ran.others_seconds, "s", others_seconds=round(ran.others_seconds, 1))
    result.add("without kills", unharmed.seconds, "s", unharmed_seconds=round(unharmed.seconds, 1))
    result.add("  ratio", ran.seconds / unharmed.seconds, "x", ratio=round(ran.seconds / unharmed.seconds, 2))
    ratio = ran.others_seconds / unharmed.seconds
    result.add("  ratio until all others are settled", ratio, "x", others_ratio=round(ratio, 2))
    result.fields["kills"] = [
        {"calls": each.calls, "processes": each.processes, "received": each.received, "unsettled": each.unsettled}
        for each in ran.kills
    ]
    result.fields["calls_per_entry"] = dict(ran.calls_per_entry)
    complete = ran.clean and ran.entries == arguments.entries
    result.claim("every entry succeeded", complete)
    result.claim("one completion", ran.completions == 1)
    result.claim("workers were at work at each kill", all(kill.received for kill in ran.kills))
    result.claim("no more calls made twice than messages received and unsettled", 0 <= ran.twice <= ran.unsettled)
    result.claim("no call made twice without kills", unharmed.twice == 0)
    return result


def run_with_kills(entries: int, at: Iterable[float], **rates: float) -> Ran:
    """One run on a cloud of its own; all workers are killed when the target has had these shares of its calls."""
    declared = find(JOB)
    with (
        StandIns(job_module=declared.module, entries=entries, **rates) as stand_ins,
        LocalCloud() as cloud,
    ):
        reports = {report.name: Location(f"{stand_ins.base}/report/{JOB}") for report in declared.job.reports}
        deployed = cloud.deploy(declared, Location(f"{stand_ins.base}/target", rate=UNLIMITED), reports)
        begun = time.monotonic()
        run = cloud.start(JOB, datetime.now(UTC), secrets.token_hex(3))
        kills = [_kill(cloud, deployed, stand_ins, run, int(share * entries)) for share in at]
        others = _others_settled(cloud, run, entries - sum(kill.unsettled for kill in kills)) - begun
        completed = _completed(cloud, run)
        seconds = time.monotonic() - begun
        cloud.finish()
        stats, record = stand_ins.stats(), cloud.ledger.run(run)
        return Ran(
            state=record.state.value if record is not None else "gone",
            clean=bool(completed["clean"]),
            completions=sum(detail["run"] == run for detail in cloud.announcements(1)),
            outcomes=completed["outcomes"],
            calls=stats["calls"],
            injected=stats["injected"],
            calls_per_entry=stats["calls_per_entry"],
            seconds=seconds,
            others_seconds=others,
            kills=kills,
        )


def _kill(cloud: LocalCloud, deployed: Deployed, stand_ins: StandIns, run: str, calls: int) -> Killed:
    """Kill all workers once the target has had so many calls, and some are at work."""
    while (had := stand_ins.stats()["calls"]) < calls or not deployed.worker.busy:
        time.sleep(LOOK_SECONDS)
    events = deployed.worker.kill_all()
    time.sleep(SERVED_SECONDS)
    messages = [Message.parse(record["body"]) for event in events for record in event["Records"]]
    return Killed(had, len(events), len(messages), len(messages) - _settled(cloud, run, messages))


def _settled(cloud: LocalCloud, run: str, messages: Iterable[Message]) -> int:
    record = cloud.ledger.run(run)
    if record is None:
        return 0
    places = [record.tree.chunk_of(message.index) for message in messages]
    chunks = cloud.ledger.nodes(record, {chunk for chunk, _ in places})
    return sum(position in chunks[chunk].settled for chunk, position in places)


def _others_settled(cloud: LocalCloud, run: str, number: int) -> float:
    """When so many entries were settled, on the monotonic clock."""
    target = find(JOB).job.target.name
    while (record := cloud.ledger.run(run)) is None or progress(cloud.ledger, record, target).settled < number:
        time.sleep(0.5)
    return time.monotonic()


def _completed(cloud: LocalCloud, run: str) -> Mapping[str, Any]:
    while True:
        for detail in cloud.announcements(LONG_POLL_SECONDS):
            if detail["run"] == run:
                return detail
