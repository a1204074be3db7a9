"""What is done for one entry when its turn has come: called, or asked about, by the rules of its target."""

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

#: What a target without keys can say in so many words.
_CLEAR = frozenset({Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.FAILED})
#: Questions about one entry that its target cannot answer; then it stays unknown.
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
    """Calls entries, and asks about them, one at a time; decides what follows for each."""

    def __init__(self, job: Job, ledger: Ledger, caller: Caller, clock: Clock, random_: random.Random) -> None:
        self._job = job
        self._target = job.target
        self._ledger = ledger
        self._caller = caller
        self._clock = clock
        self._random = random_

    @abstractmethod
    def remember(self, run: RunRecord, works: Iterable[Work]) -> None:
        """Find out what is known of works beyond what their chunk says; may decide about them."""

    async def make(self, work: Work) -> bool:
        """One call or question; True if another turn is wanted at once."""
        try:
            if work.must_ask:
                return await self._ask(work)
            return await self._call(work)
        except AWS_ERRORS as error:
            log(Action.ENTRY_RETURNED, logging.ERROR, **work.delivery.message.named, reason=words_of(error))
            called = work.answer is not None
            work.put_back(AT_ONCE)
            work.uncalled = not called
            # What came of the call may not be in the ledger.
            work.unanswered, work.indefinite = work.unanswered or called, work.indefinite or called
            return False

    def conclude(self, work: Work, answer: Answer, outcome: Outcome) -> bool:
        """Keep in its record why an entry does not succeed; False where it is somebody else's by now."""
        run, told = work.delivery.run, work.told_of(answer)
        entries.note_outcome(self._ledger, run, work.name, outcome, told, self._clock.now())
        return True

    @abstractmethod
    async def _call(self, work: Work) -> bool: ...

    # --- asking ---

    async def _ask(self, work: Work) -> bool:
        """Ask the target what became of an earlier call."""
        run, message = work.delivery.run, work.delivery.message
        first = work.record.asked_after != work.attempts
        number = 1 if first else work.record.asked + 1
        if number > MOST_QUESTIONS:
            self._tell(work, Outcome.UNKNOWN, NO_ANSWER)
            return False
        # A claim says itself when its call is over; of any other, that it is over by now.
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
        """The target knows nothing of the call; that proves something only once its effect would show."""
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
        """Give its claim back, where there is one: its call did nothing. False, and returned, if the claim was lost."""
        owner = work.record.owner
        if owner is not None and not entries.free(self._ledger, work.delivery.run, work.name, owner):
            work.put_back(AT_ONCE)
            return False
        work.record = replace(work.record, owner=None)
        return True

    def _tell(self, work: Work, outcome: Outcome, answer: Answer) -> None:
        """Decide on an outcome."""
        work.end(outcome, answer)

    def _later(self, work: Work, answer: Answer) -> None:
        """Another attempt, after its wait."""
        work.wait = self._job.retry.wait(work.attempts, self._random, answer.retry_after)


class KeyedAttempts(Attempts):
    """For targets that take idempotency keys: calling again is safe while they remember."""

    def __init__(
        self, job: Job, ledger: Ledger, caller: Caller, clock: Clock, random_: random.Random, keys: Keys
    ) -> None:
        super().__init__(job, ledger, caller, clock, random_)
        self._window = keys.window

    def remember(self, run: RunRecord, works: Iterable[Work]) -> None:
        works = list(works)
        # An earlier generation may have claimed them, when the target took no keys yet.
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
        # Refused credentials say nothing of an earlier call that was not answered.
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
    """For targets without keys: a claim stands before the call, and an unanswered call is asked about or left."""

    def remember(self, run: RunRecord, works: Iterable[Work]) -> None:
        some = [work for work in works if work.delivery.again or run.generation > 1]
        if some:
            known = entries.records(self._ledger, run, [work.name for work in some])
            for work in some:
                self._recall(work, known[work.name])

    def _recall(self, work: Work, record: entries.EntryRecord) -> None:
        run, called = work.delivery.run, work.attempts > 0
        work.record, work.attempts = record, record.attempts
        # Without a claim: called in an earlier generation, or in this one, when the target still took keys.
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
        """An earlier call may have taken effect."""
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
            # Others take the call for ended by then, and may soon ask and call.
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
        """A call that did nothing has no claim any more: another worker's may have been done since."""
        if outcome not in _CLEAR:
            return super().conclude(work, answer, outcome)
        run, told = work.delivery.run, work.told_of(answer)
        return entries.conclude_unclaimed(self._ledger, run, work.name, work.record, outcome, told, self._clock.now())

    def _conflict(self, work: Work) -> bool:
        """Whether the target speaks of a conflict with what may be an earlier call of ours."""
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
        """The outcome is in the entry's record before it is in its chunk."""
        super()._tell(work, outcome, answer)
        run, owner = work.delivery.run, work.record.owner
        if owner is None or outcome is Outcome.UNKNOWN:
            return
        told = work.told_of(answer)
        work.told = True
        if not entries.conclude(self._ledger, run, work.name, owner, outcome, told, self._clock.now()):
            log(Action.ENTRY_LATE_ANSWER, logging.WARNING, **work.delivery.message.named, outcome=outcome)
