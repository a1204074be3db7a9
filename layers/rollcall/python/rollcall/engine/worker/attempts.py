"""The attempts of an entry: calls and questions, by the rules of its target."""

import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from secrets import token_hex

from rollcall.adapters.clients import AWS_ERRORS, words_of
from rollcall.adapters.ledger import chunk_updates, entries
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.ledger.update import ConditionFailed
from rollcall.core.actions import Action, log
from rollcall.core.answers import CONFLICT, Answer
from rollcall.core.clock import Clock
from rollcall.core.job import Job
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord
from rollcall.core.target import Keys
from rollcall.engine.worker.callback import Caller
from rollcall.engine.worker.work_item import AT_ONCE, Work

#: Outcomes that a definite answer of a target without keys proves.
_CLEAR = frozenset({Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.FAILED})
#: Questions about one entry before its outcome is unknown, to bound the time until the run completes.
MOST_QUESTIONS = 5
SUSPECTED = Answer(
    Outcome.UNKNOWN, "worker_died", "a worker died or ran out of time in each of its calls", answered=False
)
EXPIRED = Answer(
    Outcome.UNKNOWN,
    "unanswered",
    "a call was never answered, and its idempotency key may be forgotten by now; the job has no probe to ask",
    answered=False,
)
NO_ANSWER = Answer(
    Outcome.UNKNOWN,
    "probe",
    f"a call was never answered, and the target was asked {MOST_QUESTIONS} times without an answer",
    answered=False,
)
NOBODY_TO_ASK = Answer(
    Outcome.UNKNOWN,
    "unanswered",
    "a call was never answered, the target takes no keys, and the job has no probe to ask",
    answered=False,
)
NEVER_ARRIVED = Answer(Outcome.FAILED, "never_arrived", "its last call never arrived, and its attempts are used up")


class Attempts(ABC):
    """A policy that calls an entry, or asks about it, and decides how it continues."""

    def __init__(self, job: Job, ledger: Ledger, caller: Caller, clock: Clock, random_: random.Random) -> None:
        self._job = job
        self._target = job.target
        self._ledger = ledger
        self._caller = caller
        self._clock = clock
        self._random = random_

    @abstractmethod
    def remember(self, run: RunRecord, works: Iterable[Work]) -> None:
        """Read records that supplement the chunk; may decide how the works continue."""

    async def make(self, work: Work) -> bool:
        """Make one call or ask one question; return True if the work needs another turn at once."""
        try:
            if work.must_ask:
                return await self._ask(work)
            return await self._call(work)
        except AWS_ERRORS as error:
            log(Action.ENTRY_RETURNED, logging.ERROR, **work.delivery.message.named, reason=words_of(error))
            called = work.answer is not None
            work.put_back(AT_ONCE)
            work.uncalled = not called
            # The answer to the call may not be in the ledger.
            work.unanswered, work.indefinite = work.unanswered or called, work.indefinite or called
            return False

    def conclude(self, work: Work, answer: Answer, outcome: Outcome) -> bool:
        """Record why an entry did not succeed; return False if another worker has claimed it."""
        run, told = work.delivery.run, work.told_of(answer)
        entries.note_outcome(self._ledger, run, work.name, outcome, told, self._clock.now())
        return True

    @abstractmethod
    async def _call(self, work: Work) -> bool: ...

    # --- asking ---

    async def _ask(self, work: Work) -> bool:
        """Ask the target for the result of an earlier call."""
        run, message = work.delivery.run, work.delivery.message
        first = work.record.asked_after != work.attempts
        number = 1 if first else work.record.asked + 1
        if number > MOST_QUESTIONS:
            self._tell(work, Outcome.UNKNOWN, NO_ANSWER)
            return False
        # A claim records the end of its call. A call without a claim has ended before this question.
        called_until = self._clock.now() if first and work.record.owner is None else None
        work.record = entries.note_question(self._ledger, run, work.name, number, work.attempts, called_until)
        work.answer = found = await self._caller.ask(run, message, number)
        log(
            Action.ENTRY_ASKED,
            **message.named,
            number=number,
            found="never_arrived" if found is None else found.outcome or found.error,
        )
        if found is None:
            return self._never_arrived(work)
        if found.outcome is not None:
            self._tell(work, found.outcome, found)
        elif number >= MOST_QUESTIONS:
            reason = f"a call was never answered, and asked {number} times the target could not tell: {found.reason}"
            self._tell(work, Outcome.UNKNOWN, Answer(Outcome.UNKNOWN, "probe", reason, answered=False))
        else:
            work.ask_later(self._job.retry.wait(number, self._random, found.retry_after))
        return False

    def _never_arrived(self, work: Work) -> bool:
        """Handle a probe that found no call.

        That proves nothing until `settles_within` has passed since the call; until then, ask again later.
        """
        now = self._clock.now()
        certain = (work.record.called_until or now) + self._target.settles_within
        if now < certain:
            work.ask_later(certain - now)
            return False
        work.must_ask = work.unanswered = False
        if work.attempts > self._job.retry.retries:
            self._tell(work, Outcome.FAILED, NEVER_ARRIVED)
            return False
        return self._release(work)

    def _release(self, work: Work) -> bool:
        """Release the claim of a call that had no effect.

        If another worker has taken the claim, return the work to the queue and return False.
        """
        owner = work.record.owner
        if owner is not None and not entries.free(self._ledger, work.delivery.run, work.name, owner):
            work.put_back(AT_ONCE)
            return False
        work.record = replace(work.record, owner=None)
        return True

    def _tell(self, work: Work, outcome: Outcome, answer: Answer) -> None:
        """Set the outcome of the work."""
        work.end(outcome, answer)

    def _later(self, work: Work, answer: Answer) -> None:
        """Schedule another attempt after its backoff."""
        work.wait = self._job.retry.wait(work.attempts, self._random, answer.retry_after)


class KeyedAttempts(Attempts):
    """Attempts on a target with idempotency keys: repeat calls while the target keeps the key."""

    def __init__(
        self, job: Job, ledger: Ledger, caller: Caller, clock: Clock, random_: random.Random, keys: Keys
    ) -> None:
        super().__init__(job, ledger, caller, clock, random_)
        self._window = keys.window

    def remember(self, run: RunRecord, works: Iterable[Work]) -> None:
        works = list(works)
        # An earlier generation may have claimed the entries, if the target did not take keys then.
        redriven = [work for work in works if work.delivery.message.unanswered_since is not None]
        claimed = {name for name, record in self._known(run, redriven).items() if record.owner is not None}
        doubtful = [work for work in works if self._must_ask(work) or work.name in claimed]
        if doubtful and self._job.probe_function is None:
            for work in doubtful:
                work.end(Outcome.UNKNOWN, SUSPECTED if self._used_up(work) else EXPIRED)
        elif doubtful:
            known = self._known(run, doubtful)
            for work in doubtful:
                work.record, work.must_ask = known[work.name], True

    def _known(self, run: RunRecord, works: list[Work]) -> dict[entries.EntryName, entries.EntryRecord]:
        return entries.records(self._ledger, run, [work.name for work in works]) if works else {}

    def _must_ask(self, work: Work) -> bool:
        if work.delivery.message.unanswered_since is not None:
            work.unanswered = work.indefinite = True
        since = work.called_since
        doubt = work.unanswered or (work.indefinite and self._job.moves_money)
        if not doubt or since is None:
            return False
        expired = self._clock.now() + self._target.timeout > since + self._window
        return expired or (work.unanswered and self._used_up(work))

    def _used_up(self, work: Work) -> bool:
        return work.attempts > self._job.retry.retries

    async def _call(self, work: Work) -> bool:
        run, message = work.delivery.run, work.delivery.message
        attempt = work.attempts + 1
        if work.suspect:
            log(Action.ENTRY_SUSPECT, logging.WARNING, **message.named, attempts=work.attempts)
            chunk_updates.note_attempt(self._ledger, run, work.delivery.chunk, work.position, attempt)
        work.attempts = attempt
        answer = await self._caller.attempt(run, message, attempt, unanswered_before=work.unanswered)
        work.answer = answer
        work.unanswered = work.unanswered or not answer.answered
        work.indefinite = work.indefinite or not answer.definite
        # Refused credentials prove nothing about an earlier, unanswered call.
        if answer.outcome is not None and not (answer.credentials_refused and work.unanswered):
            work.outcome = answer.outcome
        elif not self._used_up(work):
            self._later(work, answer)
        elif not work.unanswered:
            work.outcome = Outcome.FAILED
        elif self._job.probe_function is None:
            work.outcome = Outcome.UNKNOWN
        else:
            work.ask_later(self._job.retry.wait(1, self._random, answer.retry_after))
        return False


class ClaimedAttempts(Attempts):
    """Attempts on a target without keys: claim before each call, never repeat it blindly.

    After an unanswered call, the probe asks the target; without a probe, the outcome is unknown.
    """

    def remember(self, run: RunRecord, works: Iterable[Work]) -> None:
        some = [work for work in works if work.delivery.again or run.generation > 1]
        if some:
            known = entries.records(self._ledger, run, [work.name for work in some])
            for work in some:
                self._recall(work, known[work.name])

    def _recall(self, work: Work, record: entries.EntryRecord) -> None:
        run, called = work.delivery.run, work.attempts > 0
        work.record, work.attempts = record, record.attempts
        # Without a claim, the entry was called while the target took keys: in an earlier generation or in this one.
        message = work.delivery.message
        keyed = message.unanswered_since is not None and record.attempts == 0
        called = called or message.called_since is not None
        keyed = keyed or (run.keyed and record.attempts == 0 and (called or work.unanswered))
        work.unanswered = work.indefinite = record.owner is not None or keyed
        if record.outcome is not None:
            work.outcome, work.told = record.outcome, True
        elif work.unanswered:
            self._doubt(work)

    def _doubt(self, work: Work) -> None:
        """Ask about an earlier call that may have had an effect, or settle it as unknown."""
        work.must_ask = self._job.probe_function is not None
        if not work.must_ask:
            work.end(Outcome.UNKNOWN, work.answer or NOBODY_TO_ASK)

    async def _call(self, work: Work) -> bool:
        run, message = work.delivery.run, work.delivery.message
        owner, now = token_hex(16), self._clock.now()
        try:
            work.record = entries.claim(self._ledger, run, work.name, work.record, owner, work.call_until, now)
        except ConditionFailed as failure:
            self._recall(work, entries.EntryRecord.of(failure.old, run.generation))
            return not work.decided
        work.attempts = work.record.attempts
        if self._clock.now() + self._target.timeout > work.call_until:
            # At `call_until`, other workers treat the call as ended, and may ask and call.
            if self._release(work):
                work.put_back(AT_ONCE)
            return False
        work.answer = answer = await self._caller.attempt(
            run, message, work.attempts, unanswered_before=work.unanswered
        )
        work.indefinite = work.indefinite or not answer.definite
        if answer.never_executed:
            self._nothing_done(work, answer)
        elif answer.outcome in _CLEAR and answer.definite and not self._conflict(work):
            self._tell(work, answer.outcome, answer)
        else:
            work.unanswered = True
            self._doubt(work)
            if work.must_ask:
                work.ask_later(self._job.retry.wait(1, self._random, answer.retry_after))
        return False

    def conclude(self, work: Work, answer: Answer, outcome: Outcome) -> bool:
        """Record the outcome unless another worker has claimed the entry since.

        A call without effect has released its claim, so another worker may have called meanwhile.
        """
        if outcome not in _CLEAR:
            return super().conclude(work, answer, outcome)
        run, told = work.delivery.run, work.told_of(answer)
        return entries.conclude_unclaimed(self._ledger, run, work.name, work.record, outcome, told, self._clock.now())

    def _conflict(self, work: Work) -> bool:
        """Return whether the target reports a conflict, perhaps with our own earlier call."""
        return work.unanswered and work.answer is not None and work.answer.error == f"http_{CONFLICT}"

    def _nothing_done(self, work: Work, answer: Answer) -> None:
        if not self._release(work):
            return
        if answer.outcome is not None:
            work.outcome = answer.outcome
        elif work.attempts <= self._job.retry.retries:
            self._later(work, answer)
        else:
            work.outcome = Outcome.FAILED

    def _tell(self, work: Work, outcome: Outcome, answer: Answer) -> None:
        """Set the outcome, and write it to the entry's record before the chunk."""
        super()._tell(work, outcome, answer)
        run, owner = work.delivery.run, work.record.owner
        if owner is None or outcome is Outcome.UNKNOWN:
            return
        told = work.told_of(answer)
        work.told = True
        if not entries.conclude(self._ledger, run, work.name, owner, outcome, told, self._clock.now()):
            log(Action.ENTRY_LATE_ANSWER, logging.WARNING, **work.delivery.message.named, outcome=outcome)
