"""The words in which stories are told: what somebody does, and what a deployment looks like."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from rollcall.adapters.functions import Functions
from rollcall.core.run import Redrive, RunRecord, RunState
from rollcall.core.tree import Node
from tests.releases.clouds import STEP, RecordedCloud
from tests.releases.declared import RUN
from tests.simulation.models.virtual_time import START
from tools.local_cloud.resources import ENVIRONMENT, LEDGER

#: A moment that does not come within so many looks never comes.
MOST_LOOKS = 12_000


def start(cloud: RecordedCloud, job: int = 0, due: datetime = START, nonce: str | None = None, **params: str) -> str:
    """Somebody starts a run of the story's job number `job`."""
    return Functions(cloud.observer.lambda_, ENVIRONMENT).start(cloud.jobs[job].name, due, nonce, params)


def until(cloud: RecordedCloud, condition: Callable[[], bool], every: timedelta = STEP) -> None:
    cloud.run_until(condition, MOST_LOOKS * every, every)


def state_of(cloud: RecordedCloud, run: str = RUN) -> RunState | None:
    record = cloud.ledger.run(run)
    return None if record is None else record.state


def settled(cloud: RecordedCloud, run: str = RUN) -> int:
    """How many entries of the present generation are settled."""
    return sum(cloud.outcomes(run).values()) if record_of(cloud, run).nonce is not None else 0


def record_of(cloud: RecordedCloud, run: str = RUN) -> RunRecord:
    return cloud.run(run)


def is_sealed(cloud: RecordedCloud, run: str = RUN) -> bool:
    record = cloud.ledger.run(run)
    return record is not None and record.nonce is not None


def item(cloud: RecordedCloud, key: str) -> Mapping[str, Any]:
    return cloud.ledger.items([key]).get(key, {})


def chunk(cloud: RecordedCloud, number: int = 0, run: str = RUN) -> Any:
    record = cloud.run(run)
    return cloud.ledger.nodes(record, [Node(0, number)])[Node(0, number)]


def manifest(cloud: RecordedCloud) -> int:
    """How many objects the bucket has."""
    return len(cloud.services.s3.objects)


def on_queue(cloud: RecordedCloud) -> int:
    return cloud.on_queue(cloud.jobs[0])


def announced(cloud: RecordedCloud, run: str = RUN, generation: int = 1) -> bool:
    record = cloud.ledger.run(run)
    return record is not None and record.announced and record.generation == generation


def redrive(cloud: RecordedCloud, run: str = RUN, **choice: Any) -> None:
    Functions(cloud.observer.lambda_, ENVIRONMENT).redrive(cloud.run(run), Redrive(**choice))


def items(cloud: RecordedCloud, kind: str = "") -> list[Mapping[str, Any]]:
    """The items of the ledger, or those of one kind, as they are in the model."""
    return [each for (_, key), each in cloud.services.dynamodb.tables[LEDGER].items.items() if key.startswith(kind)]
