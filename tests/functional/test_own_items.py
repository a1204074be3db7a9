"""The items of the shared ledger that a job's functions ask for: the ones that their roles may touch, and no others."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import permutations
from typing import Any

import pytest

from rollcall import Job, Overlap, Rate, Target, daily
from stacks.keys import item_of_target, items_of
from tests.functional.wire import Sent
from tests.functional.world import DAY, DUE, World, a_job
from tests.functional.world import entries as listed


def keys_of(sent: Sent) -> Iterator[str]:
    """What IAM compares with dynamodb:LeadingKeys; a transaction's parts are allowed one by one."""
    if sent.service != "dynamodb":
        return
    fields = sent.fields
    for part in (fields, *(part for each in fields.get("TransactItems", []) for part in each.values())):
        for item in (part.get("Key"), part.get("Item")):
            if item is not None:
                yield item["pk"]["S"]
    for table in fields.get("RequestItems", {}).values():
        yield from (key["pk"]["S"] for key in table["Keys"])


class Asked:
    """The keys that were asked for since this was made or last read."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen = len(world.wire.sent)

    def keys(self) -> set[str]:
        new, self._seen = self._world.wire.sent[self._seen :], len(self._world.wire.sent)
        return {key for sent in new for key in keys_of(sent)}


def outside(keys: Iterable[str], *patterns: str) -> set[str]:
    return {key for key in keys if not any(fnmatchcase(key, pattern) for pattern in patterns)}


@pytest.fixture
def rated(world: World) -> World:
    """Every kind of item is asked for: the rate reserves slots, and the overlap needs the run before."""
    world.declare(a_job(rate=Rate.parse("100/s burst 100"), overlap=Overlap.QUEUE))
    return world


def test_a_run_with_every_kind_of_outcome_asks_for_its_own_jobs_items_only(rated: World) -> None:
    world, job = rated, rated.job
    own = items_of(job)
    asked = Asked(world)
    world.report = listed(23)
    world.start()
    world.start()
    world.start(DUE + DAY)
    keys = asked.keys()
    assert {key.split("#")[0] for key in keys} >= {"job", "run"}
    assert outside(keys, *own) == set()

    world.target.script("D01", 422)
    world.target.script("D02", *[503] * 9)
    world.target.script("D03", 503)
    world.target.script("D04", TimeoutError())
    world.drain()
    keys = asked.keys()
    assert {key.split("#")[0] for key in keys} == {"job", "run", "node", "entry", "target"}
    assert outside(keys, *own, item_of_target(job)) == set()


def test_repairs_and_redrives_ask_for_their_own_jobs_items_only(rated: World) -> None:
    rated.target.script("D01", 422)
    rated.begin(3)
    asked = Asked(rated)
    rated.repair()
    rated.resume()
    assert outside(asked.keys(), *items_of(rated.job)) == set()
    rated.drain()
    rated.announce()
    asked.keys()
    rated.redrive()
    keys = asked.keys()
    assert {key.split("#")[0] for key in keys} >= {"job", "run", "node"}
    assert outside(keys, *items_of(rated.job)) == set()


def test_dead_letters_ask_for_their_own_jobs_items_only(rated: World) -> None:
    rated.begin(7)
    letters = rated.batch(0, 1, 6, receives=1_000)
    asked = Asked(rated)
    assert rated.dead_letters(letters) == []
    keys = asked.keys()
    assert {key.split("#")[0] for key in keys} >= {"run", "node", "entry"}
    assert outside(keys, *items_of(rated.job)) == set()


def test_a_message_of_another_job_is_dropped_before_anything_is_asked(rated: World) -> None:
    rated.begin(3)
    (record,) = rated.batch(0)
    name = rated.job.name
    foreign: dict[str, Any] = record | {"body": record["body"].replace(name, f"{name}-too")}
    asked = Asked(rated)
    rated.work([foreign])
    assert outside(asked.keys(), *items_of(rated.job), item_of_target(rated.job)) == set()


def test_no_other_jobs_items_match() -> None:
    for name, other in permutations(("pay", "pay-back", "back", "pay-20261121"), 2):
        job = Job(name, schedule=daily("02:30"), target=Target("bank", concurrency=10))
        run = f"{other}-20261121T023000Z"
        keys = {f"job#{other}", f"run#{run}", f"run#{run}-a1", f"node#{run}#1#0#0", f"entry#{run}#00ff", "target#bank"}
        assert outside(keys, *items_of(job)) == keys
