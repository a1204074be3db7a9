"""The rate limiter of one worker: slots of the target's rate."""

import random
from datetime import datetime, timedelta

from rollcall.adapters.ledger import targets
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.breaker import LONGEST_HOLD
from rollcall.core.clock import Clock
from rollcall.core.rate import Rate, microseconds, moment
from rollcall.engine.worker.messages import Control


class Pacer:
    """A rate limiter that reserves slots no further ahead than its invocation can wait.

    A slot that is reserved far ahead and then not used is lost to all workers; with many workers, nearly all slots
    would be. Entries without a slot are held until their estimated turn.
    """

    def __init__(self, ledger: Ledger, control: Control, rate: Rate, clock: Clock, random_: random.Random) -> None:
        self._ledger = ledger
        self._control = control
        self._rate = rate
        self._clock = clock
        self._random = random_
        self._busy = False

    def take(self, wanted: int, latest: datetime) -> list[datetime]:
        """Reserve up to `wanted` slots, none after `latest`; return their times."""
        now = microseconds(self._clock.now())
        taken = targets.take_slots(
            self._ledger, self._control.target, self._rate, now, wanted, microseconds(latest), busy=self._busy
        )
        self._control.target, self._busy = taken.target, taken.busy
        return [moment(time) for time in taken.times]

    def waits(self, entries: int) -> list[timedelta]:
        """Return a wait for each of `entries` held entries, at most 15 minutes.

        The ledger records the end of the last wait, so that later held entries wait longer.
        """
        now, target = microseconds(self._clock.now()), self._control.target
        latest = now + LONGEST_HOLD // timedelta(microseconds=1)
        first = max(now, target.free or 0, target.held_until or 0)
        times = [first + number * self._rate.interval for number in range(entries)]
        following = min(first + entries * self._rate.interval, latest)
        if following != target.held_until:
            targets.hold_until(self._ledger, target, following)
        return [
            timedelta(microseconds=time - now) if time < latest else LONGEST_HOLD * self._random.uniform(0.75, 1)
            for time in times
        ]
