"""Pacing: slots of the target's rate for the calls of one worker."""

import random
from datetime import datetime, timedelta

from rollcall.adapters.ledger import targets
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.breaker import LONGEST_HOLD
from rollcall.core.clock import Clock
from rollcall.core.rate import Rate, microseconds, moment
from rollcall.engine.worker.messages import Control


class Pacer:
    """Takes slots no further ahead than its invocation can wait.

    Slots taken far ahead, and forgotten over a hold, would be lost to everybody: with many workers nearly all of
    them. What gets none is held until the time that it would come to if the held entries came in order.
    """

    def __init__(self, ledger: Ledger, control: Control, rate: Rate, clock: Clock, random_: random.Random) -> None:
        self._ledger = ledger
        self._control = control
        self._rate = rate
        self._clock = clock
        self._random = random_
        self._busy = False

    def take(self, wanted: int, latest: datetime) -> list[datetime]:
        """Up to `wanted` slots, none after `latest`."""
        now = microseconds(self._clock.now())
        taken = targets.take_slots(
            self._ledger, self._control.target, self._rate, now, wanted, microseconds(latest), busy=self._busy
        )
        self._control.target, self._busy = taken.target, taken.busy
        return [moment(time) for time in taken.times]

    def waits(self, entries: int) -> list[timedelta]:
        """How long each of so many held entries waits, 15 minutes at most; the next ones are told to wait longer."""
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
