"""Small lives of runs that are delivered in batches: what goes wrong in them goes wrong at every request."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from rollcall.core.batches import Batches
from tests.simulation.plays.counterparty import Mishap
from tests.simulation.plays.plans import Act, Deed, JobPlan, Plan

#: All that goes wrong at the targets does so within a minute.
QUIET_AT = 60.0
#: Slices and chunks of five do not begin at the same entries.
ONE_AT_A_TIME = Batches(size=4, at_once=1, pause=timedelta(seconds=3), most_entries=100)
TWO_AT_ONCE = replace(ONE_AT_A_TIME, at_once=2)
_JOB = JobPlan(
    "pay-rent",
    entries=13,
    duplicates=1,
    invalid=1,
    retries=2,
    moves_money=True,
    refused=0.08,
    batches=ONE_AT_A_TIME,
    mishaps={Mishap.UNAVAILABLE: 0.1, Mishap.ANSWER_LOST: 0.05, Mishap.REQUEST_LOST: 0.05},
)
_FIRE = Act(0.0, Deed.FIRE, _JOB.name)


def _life(*acts: Act, redrives: int = 0, **job: Any) -> Plan:
    """14 entries in four slices and three chunks, of which the counting tree has two levels."""
    return Plan(3, (replace(_JOB, **job),), (_FIRE, *acts), {}, QUIET_AT, redrives, chunk_size=5, fan_in=3)


def _then(at: float, deed: Deed) -> Act:
    return Act(at, deed, _JOB.name)


BATCH_LIVES = {
    "in batches, and a redrive": _life(redrives=1),
    "in batches, two at once": _life(batches=TWO_AT_ONCE),
    "in batches, with claims and a probe": _life(keys=False, entries=9, batches=TWO_AT_ONCE, redrives=1),
    "in batches, with claims": _life(keys=False, probe=False, entries=9),
    "in batches, cancelled in the middle": _life(_then(5.0, Deed.CANCEL)),
    "in batches, cancelled at once": _life(_then(0.3, Deed.CANCEL), entries=9, batches=TWO_AT_ONCE),
    "in batches, poisoned": _life(
        entries=8, mishaps={Mishap.POISON_BEFORE: 0.1, Mishap.POISON_AFTER: 0.1}, batches=TWO_AT_ONCE
    ),
    "in batches, paused, and resumed": _life(_then(3.0, Deed.PAUSE), _then(90.0, Deed.RESUME), entries=9),
    "in batches, paused for longer than a repair waits": replace(
        _life(_then(3.0, Deed.PAUSE), _then(700.0, Deed.RESUME), entries=9), quiet_at=800.0
    ),
    "in batches, a target that is down": _life(entries=9, breaker=3, mishaps={Mishap.UNAVAILABLE: 0.7}),
    "in batches, a busy target": _life(entries=9, batches=TWO_AT_ONCE, mishaps={Mishap.BUSY: 0.4}),
    "in batches, another declaration": _life(
        _then(4.0, Deed.DEPLOY_KEYS), entries=9, redrives=1, mishaps={Mishap.BROKEN: 0.2, Mishap.ANSWER_LOST: 0.2}
    ),
}
