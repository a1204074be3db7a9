"""A play put in order: every entry of every generation, by everybody who knows of it."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from rollcall.adapters.manifests import Manifests
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, RunState
from rollcall.core.tree import Node
from rollcall.engine.runs.failures import Failure, failures
from tests.simulation.plays.counterparty import Counterparty, Ordered
from tests.simulation.plays.planned_jobs import Expected, expected
from tests.simulation.plays.plans import JobPlan
from tests.simulation.plays.playing import Played
from tools.local_cloud.resources import MANIFESTS

INVALID = Expected(None, "", valid=False)


@dataclass(frozen=True, slots=True)
class Told:
    """One entry of one generation."""

    run: RunRecord
    plan: JobPlan
    index: int
    expected: Expected
    outcome: Outcome | None
    #: The orders that were made of it, in this generation and in all so far.
    orders: list[Ordered]
    all_orders: list[Ordered]
    #: Whether its target refuses it, always.
    refused: bool
    failure: Failure | None

    def __str__(self) -> str:
        return f"{self.run.id}/{self.run.generation} #{self.index} {self.expected.reference} {self.outcome}"


class History:
    """Made once a play has ended."""

    def __init__(self, played: Played) -> None:
        self.played = played
        self.plans = {each.name: each for each in played.plan.jobs}
        self.runs = played.runs()
        self.manifests = Manifests(played.cloud.observer.s3, MANIFESTS)
        self.orders: dict[tuple[str, int, str], list[Ordered]] = defaultdict(list)
        for target in played.targets.values():
            for order in target.orders:
                generation = played.audit.generation_at(order.run, order.at.timestamp())
                self.orders[order.run, generation, order.reference].append(order)

    def target(self, plan: JobPlan) -> Counterparty:
        return self.played.targets[plan.target]

    def expected(self, run: RunRecord) -> list[Expected]:
        return expected(self.plans[run.job], run.id, f"{run.scheduled_for:%Y%m%d}")

    def last_state(self, run: str, generation: int) -> RunState | None:
        """What a run's generation ended in; None where there is none."""
        states = self.played.audit.states.get((run, generation))
        return states[-1][1] if states else None

    def batches_begun(self) -> dict[tuple[str, int, str], datetime]:
        """When the first entry of its batch was called, by run, generation and reference, of runs in batches."""
        batches: dict[tuple[str, int, int], list[Told]] = defaultdict(list)
        for told in self.told():
            if told.plan.batches is not None and told.orders:
                batches[told.run.id, told.run.generation, told.index // told.plan.batches.size].append(told)
        return {
            (run, generation, told.expected.reference): min(order.at for each in some for order in each.orders)
            for (run, generation, _), some in batches.items()
            for told in some
        }

    def told(self) -> Iterator[Told]:
        """Every entry of every sealed generation."""
        for latest in self.runs.values():
            by_key = {each.key: each for each in self.expected(latest)}
            for run in latest.generations:
                yield from self._of_generation(run, by_key)

    def _of_generation(self, run: RunRecord, by_key: dict[str | None, Expected]) -> Iterator[Told]:
        ledger, plan = self.played.cloud.ledger, self.plans[run.job]
        listed = {each.index: each for each in failures(ledger, self.manifests, replace(run, past=()))}
        chunks = [Node(0, number) for number in range(run.tree.chunks)]
        nodes = ledger.nodes(run, chunks)
        for chunk in chunks:
            for position, line in enumerate(self.manifests.read(run, chunk.number)):
                index, entry = chunk.number * run.chunk_size + position, by_key.get(line.key, INVALID)
                earlier = range(1, run.generation + 1)
                yield Told(
                    run,
                    plan,
                    index,
                    entry,
                    nodes[chunk].outcome(position),
                    self.orders[run.id, run.generation, entry.reference],
                    [order for number in earlier for order in self.orders[run.id, number, entry.reference]],
                    entry.valid and self.target(plan).refuses(entry.reference),
                    listed.get(index),
                )
