"""The ledger's table: keys, reads, and what an item is in the words of the core.

Writes stand beside it: `runs` (starting, sealing, checkpoints, completion), `counting` (chunks and the tree)
and `entries` (what there is to say about one entry).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rollcall.adapters.ledger.items import values_of
from rollcall.core.errors import RollcallError
from rollcall.core.outcome import EXCEPTIONAL, Outcome
from rollcall.core.rate import moment
from rollcall.core.run import Generation, JobRecord, Redrive, RunRecord, RunState, TargetRecord, from_iso
from rollcall.core.tree import Node
from rollcall.core.values import batched

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: The most items in a BatchGetItem
#: (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
MOST_ITEMS = 100
#: A deadline, 14 days on the queue, 14 days on the dead-letter queue, and time to look back.
KEPT_FOR = timedelta(days=90)
_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node of a run's counting tree, as sets of positions."""

    settled: frozenset[int] = frozenset()
    #: The exceptional outcomes; a settled position in none of them succeeded.
    by_outcome: Mapping[Outcome, frozenset[int]] = field(default_factory=lambda: dict.fromkeys(EXCEPTIONAL, _NONE))
    #: Redelivered positions that may be in a call just now.
    begun: frozenset[int] = frozenset()
    #: Positions that were returned without a call.
    held: frozenset[int] = frozenset()
    #: Positions whose call was not answered, until the target may be asked about it.
    asking: frozenset[int] = frozenset()
    #: Attempts used up by positions that came back for another.
    attempts: Mapping[int, int] = field(default_factory=dict)
    #: Positions with an attempt that was never answered.
    unanswered: frozenset[int] = frozenset()
    #: Positions with an attempt whose answer, if there was one, leaves open whether the target did anything.
    indefinite: frozenset[int] = frozenset()

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "NodeRecord":
        return cls(
            settled=item.get("settled", _NONE),
            by_outcome={outcome: item.get(outcome.value, _NONE) for outcome in EXCEPTIONAL},
            begun=item.get("begun", _NONE),
            held=item.get("held", _NONE),
            asking=item.get("asking", _NONE),
            attempts=_attempts(item),
            unanswered=item.get("unanswered", _NONE),
            indefinite=item.get("indefinite", _NONE),
        )

    def full(self, expected: int) -> bool:
        """Whether every position of [0, expected) is settled."""
        return len(self.settled) >= expected and self.settled.issuperset(range(expected))

    def outcome(self, position: int) -> Outcome | None:
        """The outcome that stands, or None for a position that is not settled."""
        if position not in self.settled:
            return None
        return next((name for name, members in self.by_outcome.items() if position in members), Outcome.SUCCEEDED)

    def count(self, outcome: Outcome) -> int:
        if outcome is Outcome.SUCCEEDED:
            return len(self.settled) - sum(len(members) for members in self.by_outcome.values())
        return len(self.by_outcome[outcome])


def tried(attempt: int) -> str:
    """The set of the positions that have used up `attempt` attempts; a position moves on from set to set."""
    return f"tried{attempt}"


def _attempts(item: Mapping[str, Any]) -> dict[int, int]:
    numbers = sorted(int(name.removeprefix("tried")) for name in item if name.startswith("tried"))
    return {position: number for number in numbers for position in item[tried(number)]}


def run_key(run: str) -> str:
    return f"run#{run}"


def job_key(job: str) -> str:
    return f"job#{job}"


def node_key(run: str, generation: int, node: Node) -> str:
    return f"node#{run}#{generation}#{node.level}#{node.number}"


def target_key(target: str) -> str:
    return f"target#{target}"


def slice_key(run: str, generation: int, number: int) -> str:
    return f"slice#{run}#{generation}#{number}"


def waiting_key(run: str) -> str:
    return f"waiting#{run}"


def entry_key(run: str, entry_id: str) -> str:
    return f"entry#{run}#{entry_id}"


class Ledger:
    """Strongly consistent reads of the table, and the handle that the writes share."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self.client = client
        self.table = table

    def items(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The items that exist, by key. Raises RollcallError if DynamoDB leaves keys unprocessed again and again."""
        found: dict[str, dict[str, Any]] = {}
        for some in batched(dict.fromkeys(keys), MOST_ITEMS):
            wanted: Any = [{"pk": {"S": key}} for key in some]
            for _ in range(8):
                answer = self.client.batch_get_item(RequestItems={self.table: {"Keys": wanted, "ConsistentRead": True}})
                for item in answer["Responses"].get(self.table, []):
                    found[item["pk"]["S"]] = values_of(item)
                left: Any = answer.get("UnprocessedKeys", {})
                wanted = left[self.table]["Keys"] if self.table in left else []
                if not wanted:
                    break
            else:
                raise RollcallError(
                    f"DynamoDB left {len(wanted)} keys of {self.table} unread; it is throttled, try again"
                )
        return found

    def run(self, run: str) -> RunRecord | None:
        item = self.items([run_key(run)]).get(run_key(run))
        return run_record(item) if item else None

    def runs(self, runs: Iterable[str]) -> dict[str, RunRecord]:
        """The records that exist, by run id, the earliest scheduled of a job first."""
        records = [run_record(item) for item in self.items(map(run_key, sorted(runs))).values()]
        return {record.id: record for record in records}

    def job(self, job: str) -> JobRecord:
        """The job's record; an empty one where no run of it was ever started."""
        return job_record(job, self.items([job_key(job)]).get(job_key(job), {}))

    def target(self, target: str) -> TargetRecord:
        """The target's record; an empty one where nothing was ever said of it."""
        return target_record(target, self.items([target_key(target)]).get(target_key(target), {}))

    def nodes(self, run: RunRecord, nodes: Iterable[Node]) -> dict[Node, NodeRecord]:
        """The nodes' records; empty ones where nothing is settled yet."""
        keys = {node_key(run.id, run.generation, node): node for node in nodes}
        items = self.items(keys)
        return {node: NodeRecord.of(items.get(key, {})) for key, node in keys.items()}


def expiry(run: RunRecord) -> int:
    """When DynamoDB may delete what belongs to `run`, in seconds since the epoch. Never used as a timer."""
    return int((run.started_at + KEPT_FOR).timestamp())


def run_record(item: Mapping[str, Any]) -> RunRecord:
    """The run of an item."""
    lease, completed, cancelling = (item.get(name) for name in ("lease_until", "completed_at", "cancelling_since"))
    sent, progressed = item.get("sent_at"), item.get("progressed_at")
    return RunRecord(
        id=item["run"],
        job=item["job"],
        state=RunState(item["state"]),
        scheduled_for=from_iso(item["scheduled_for"]),
        started_at=from_iso(item["started_at"]),
        generation=item["generation"],
        params=item.get("params", {}),
        enumerations=item.get("enumerations", 0),
        owner=item.get("owner"),
        fence=item["fence"],
        lease_until=from_iso(lease) if lease else None,
        nonce=item.get("nonce"),
        total=item.get("total", 0),
        chunk_size=item["chunk_size"],
        fan_in=item["fan_in"],
        duplicates=item.get("duplicates", 0),
        checkpoint=item.get("checkpoint", 0),
        window_end=item.get("window_end", 0),
        progress=item.get("progress", 0),
        progressed_at=from_iso(progressed) if progressed else None,
        sent_at=from_iso(sent) if sent else None,
        reason=item.get("reason"),
        completed_at=from_iso(completed) if completed else None,
        announced="announced_at" in item,
        skip_reason=item.get("skip_reason"),
        skipped_by=item.get("skipped_by"),
        keeps=item.get("keeps", {}),
        waits_for=item.get("waits_for"),
        keyed=item.get("keyed", True),
        cancelling_since=from_iso(cancelling) if cancelling else None,
        redrive=Redrive.from_fields(item["redrive"]) if "redrive" in item else None,
        past=tuple(
            Generation(each["nonce"], each["total"], from_iso(each["started_at"]), each["sent"])
            for each in item.get("past", ())
        ),
    )


def job_record(job: str, item: Mapping[str, Any]) -> JobRecord:
    """The job of an item."""
    return JobRecord(
        name=job,
        current=item.get("current"),
        current_generation=item.get("current_generation", 1),
        queued=item.get("queued"),
        open=item.get("open", frozenset()),
        last_total=item.get("last_total"),
        paused_since=from_iso(item["paused_since"]) if "paused_since" in item else None,
        watched_schedule=item.get("watched_schedule"),
        watched_until=from_iso(item["watched_until"]) if "watched_until" in item else None,
        kept=item.get("kept", {}),
    )


def target_record(target: str, item: Mapping[str, Any]) -> TargetRecord:
    """The target of an item."""
    open_until, opened_at, trying_until = item.get("open_until"), item.get("opened_at"), item.get("trying_until")
    return TargetRecord(
        name=target,
        free=item.get("free"),
        held_until=item.get("held_until"),
        epoch=item.get("epoch", 0),
        failures=item.get("failures", 0),
        open_until=None if open_until is None else moment(open_until),
        opened_at=None if opened_at is None else moment(opened_at),
        reason=item.get("reason"),
        failed_tries=item.get("failed_tries", 0),
        tried_by=item.get("tried_by"),
        trier=item.get("trier"),
        trying_until=None if trying_until is None else moment(trying_until),
    )
