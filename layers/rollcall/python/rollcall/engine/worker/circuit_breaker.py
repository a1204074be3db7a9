"""The gate before the target: shut while its breaker is open; what the calls of one worker say about the breaker."""

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

#: Failures in a row within one worker that it begins to tell the others of: single ones are noise, and each report is
#: a write.
REPORTED = 3
#: Entries in a row whose credentials were refused, with nobody's accepted since: then it is not about one entry.
REFUSALS = 4
#: How long entries wait while another worker tries whether the target is back.
WHILE_TRIED = timedelta(seconds=5)


class Passage(Enum):
    """What may pass."""

    FREE = "free"
    #: One call, to try whether the target is back.
    ONE = "one"
    SHUT = "shut"


class Gate:
    """Belongs to one worker; knows what its own calls ended with, and what the ledger says of the others'."""

    def __init__(
        self, ledger: Ledger, control: Control, target: Target, clock: Clock, random_: random.Random, owner: str
    ) -> None:
        self._ledger = ledger
        self._control = control
        self._target = target
        self._clock = clock
        self._random = random_
        self._owner = owner
        #: Failures in a row that nobody was told of yet, in which epoch, and whether some were told.
        self._in_a_row = 0
        self._epoch = 0
        self._reported = False
        #: Whether the latest call that says something was answered well.
        self._healthy = False
        #: The latest answer that speaks against the target: its text is for the ledger, its class for logs.
        self._reason = ""
        self._error: str | None = None
        #: Entries whose credentials were refused, and when the call that ended so began.
        self._refused: dict[str, datetime] = {}
        #: When the latest call began whose credentials were accepted.
        self._accepted: datetime | None = None

    @property
    def epoch(self) -> int:
        """A call carries the epoch in which it began."""
        return self._control.target.epoch

    @property
    def shut(self) -> bool:
        """Whether calls must not be made now, by all that this worker knows."""
        self._see(self._control.target)
        if self._control.target.open_until is not None:
            return True
        return self._in_a_row >= self._target.breaker.failures or self.credentials_revoked

    def passage(self, lease: timedelta) -> Passage:
        """What may pass; ONE takes the lease of the one that tries, for so long."""
        target, now = self._control.target, self._clock.now()
        if target.open_until is not None and target.open_until <= now:
            target = targets.lease_try(self._ledger, target, self._owner, now, lease)
        self._see(target)
        if target.open_until is None:
            return Passage.FREE
        return Passage.ONE if target.trier == self._owner and target.open_until <= now else Passage.SHUT

    def wait(self) -> timedelta:
        """How long a held entry waits: until the target is tried, and then the longer the longer it has been down."""
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
        """Note the end of a call. One of an earlier epoch says nothing about this one."""
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
        """Whether the credentials of a call were accepted that began no earlier. What an older one was answered says
        nothing: they may have been revoked in between.
        """
        return self._accepted is not None and self._accepted >= began

    @property
    def credentials_revoked(self) -> bool:
        """Whether the credentials of so many entries in a row were refused that it is not about one of them."""
        return len(self._refused) >= REFUSALS

    def report(self) -> None:
        """Tell the others, where there is something to tell; opens the breaker once enough calls failed in a row."""
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
        """Say what the call that may pass alone ended with; None where none was made.

        True if that call should count for nothing: the target is down, and it is not as if this very entry had been
        the one that tried before.
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
        """Log the opening, where it was ours."""
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
        """Believe what the ledger says; what was seen in an earlier epoch counts for nothing."""
        if target.epoch != self._epoch:
            self._epoch, self._in_a_row, self._reported, self._healthy = target.epoch, 0, False, False
            self._refused.clear()
        self._control.target = target
