"""The circuit breaker of a target, as one worker sees it and reports to it."""

import logging
import random
from datetime import datetime, timedelta
from enum import Enum

from rollcall.adapters.ledger import targets
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.answers import Answer
from rollcall.core.breaker import LONGEST_HOLD
from rollcall.core.clock import Clock
from rollcall.core.outcome import Outcome
from rollcall.core.run import TargetRecord
from rollcall.core.target import Target
from rollcall.engine.worker.messages import Control

#: Failures in a row within one worker before it reports them: single failures are noise, and each report is a write.
REPORTED = 3
#: Entries in a row with refused credentials before the credentials count as revoked; fewer may be those entries' fault.
REFUSALS = 4
#: Wait of an entry while another worker makes the half-open trial call.
WHILE_TRIED = timedelta(seconds=5)


class Passage(Enum):
    """The calls that the breaker lets through."""

    FREE = "free"
    #: One half-open trial call.
    ONE = "one"
    SHUT = "shut"


class Gate:
    """One worker's view of the breaker: its own calls' answers and the record in the ledger."""

    def __init__(
        self, ledger: Ledger, control: Control, target: Target, clock: Clock, random_: random.Random, owner: str
    ) -> None:
        self._ledger = ledger
        self._control = control
        self._target = target
        self._clock = clock
        self._random = random_
        self._owner = owner
        #: Unreported failures in a row.
        self._in_a_row = 0
        #: The epoch of the breaker in which they occurred.
        self._epoch = 0
        #: True if earlier failures of this epoch were reported.
        self._reported = False
        #: True if the latest conclusive answer showed a healthy target.
        self._healthy = False
        #: Text, for the ledger, and class, for logs, of the latest answer that counted against the target.
        self._reason = ""
        self._error: str | None = None
        #: Entries with refused credentials, and the start of the refused call.
        self._refused: dict[str, datetime] = {}
        #: The start of the latest call with accepted credentials.
        self._accepted: datetime | None = None

    @property
    def epoch(self) -> int:
        """The breaker's epoch; a call carries the epoch in which it began."""
        return self._control.target.epoch

    @property
    def shut(self) -> bool:
        """True if this worker must not make calls now."""
        self._see(self._control.target)
        if self._control.target.open_until is not None:
            return True
        return self._in_a_row >= self._target.breaker.failures or self.credentials_revoked

    def passage(self, lease: timedelta) -> Passage:
        """Return the calls that may pass; ONE leases the trial call for `lease`."""
        target, now = self._control.target, self._clock.now()
        if target.open_until is not None and target.open_until <= now:
            target = targets.lease_try(self._ledger, target, self._owner, now, lease)
        self._see(target)
        if target.open_until is None:
            return Passage.FREE
        return Passage.ONE if target.trier == self._owner and target.open_until <= now else Passage.SHUT

    def wait(self) -> timedelta:
        """Return the wait of a held entry: until the next trial call, plus jitter.

        The jitter grows with the length of the outage.
        """
        target, now = self._control.target, self._clock.now()
        if target.open_until is None or target.opened_at is None:
            return self._target.breaker.pause * self._random.uniform(0, 0.25)
        if target.open_until <= now:
            return WHILE_TRIED * self._random.uniform(0.2, 1)
        spread = max(self._target.breaker.pause / 4, (now - target.opened_at) / 2)
        wait = target.open_until - now + spread * self._random.uniform(0, 1)
        return min(wait, LONGEST_HOLD)

    # --- what calls ended with ---

    def saw(self, entry: str, answer: Answer, began: datetime, epoch: int) -> None:
        """Count the answer to a call, unless the call began in an earlier epoch."""
        if epoch != self.epoch:
            return
        if answer.credentials_refused:
            if not self.accepted_since(began):
                self._refused[entry] = began
                self._reason, self._error = f"credentials refused: {answer.reason}", answer.error
        elif answer.target_failed:
            self._in_a_row, self._healthy = self._in_a_row + 1, False
            self._reason, self._error = answer.reason or answer.error or "", answer.error
        elif answer.outcome in {Outcome.SUCCEEDED, Outcome.REJECTED}:
            self._in_a_row, self._healthy = 0, True
            self._accept(began)

    def _accept(self, began: datetime) -> None:
        self._accepted = began if self._accepted is None else max(self._accepted, began)
        self._refused = {entry: at for entry, at in self._refused.items() if at > self._accepted}

    def accepted_since(self, began: datetime) -> bool:
        """Return whether credentials were accepted in a call that began at `began` or later.

        An earlier call proves nothing, as the credentials may have been revoked in between.
        """
        return self._accepted is not None and self._accepted >= began

    @property
    def credentials_revoked(self) -> bool:
        """True if refusals of REFUSALS entries in a row rule out the fault of a single entry."""
        return len(self._refused) >= REFUSALS

    def report(self) -> None:
        """Write the counted answers to the ledger, and open the breaker after enough failures."""
        target, breaker, now = self._control.target, self._target.breaker, self._clock.now()
        self._see(target)
        if target.open_until is not None:
            return
        if self.credentials_revoked:
            self._opened(targets.open_breaker(self._ledger, target, breaker, now, self._reason), now)
        elif self._in_a_row >= (1 if self._reported else min(REPORTED, breaker.failures)):
            after = targets.note_failures(self._ledger, target, breaker, self._in_a_row, now, self._reason)
            self._in_a_row, self._reported = 0, True
            self._opened(after, now)
        elif self._healthy and (self._reported or target.failures):
            self._reported = False
            self._see(targets.forget_failures(self._ledger, target))

    def tried(self, answer: Answer | None, entry: str = "") -> bool:
        """Close or reopen the breaker by the answer to the trial call; None if no call was made.

        Returns True if the call is forgiven: the target is still down, and another entry made the previous trial call.
        """
        target, now = self._control.target, self._clock.now()
        if answer is None:
            targets.give_up_try(self._ledger, target, self._owner)
            return False
        if answer.target_failed or answer.credentials_refused:
            reason = answer.reason or answer.error or ""
            after = targets.reopen_breaker(
                self._ledger,
                target,
                self._target.breaker,
                self._owner,
                now,
                reason,
                entry=entry,
                longer=not answer.credentials_refused,
            )
            self._see(after)
            return target.tried_by != entry
        self._see(targets.close_breaker(self._ledger, target, self._owner))
        self._accept(now)
        log(Action.BREAKER_CLOSED, logging.WARNING, target=self._target.name)
        return False

    def _opened(self, target: TargetRecord, now: datetime) -> None:
        """Log that the breaker opened, if this worker opened it."""
        if target.open_until is not None and target.opened_at == now:
            log(
                Action.BREAKER_OPENED,
                logging.ERROR,
                job=self._control.job.name,
                target=self._target.name,
                until=target.open_until.isoformat(),
                error=self._error,
            )
        self._see(target)

    def _see(self, target: TargetRecord) -> None:
        """Adopt the ledger's record; a new epoch discards the answers counted so far."""
        if target.epoch != self._epoch:
            self._epoch, self._in_a_row, self._reported, self._healthy = target.epoch, 0, False, False
            self._refused.clear()
        self._control.target = target
