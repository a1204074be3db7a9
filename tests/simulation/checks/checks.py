"""The guarantees, each as a check of what happened; each says what is wrong, entry by entry."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import accumulate, pairwise
from math import inf

from rollcall.core.actions import Action
from rollcall.core.job import Overlap
from rollcall.core.outcome import Outcome
from rollcall.core.run import OPEN, RunState, job_of
from rollcall.core.sizing import MAX_RECEIVE_COUNT
from rollcall.engine.runs.progress import outcomes
from rollcall.engine.runs.verification import verify
from tests.simulation.checks.batch_checks import (
    a_busy_target_is_left_alone,
    batches_keep_their_turns,
    executions_end_well,
    one_execution_after_another,
)
from tests.simulation.checks.ledger_checks import a_claim_that_is_over_says_so, nobody_is_in_hand
from tests.simulation.plays.counterparty import Mishap, Ordered
from tests.simulation.plays.history import History, Told
from tests.simulation.plays.plans import Deed, JobPlan, ReportFault
from tests.simulation.plays.playing import FREEZE_SECONDS, Played
from tools.local_cloud.resources import MANIFESTS

#: A worker believes for five seconds what it read of a run, its requests may be slow, and its clock wrong.
OLD_NEWS = timedelta(seconds=30)
#: Nodes of which the watchdog may see that they are full before their parents are told.
SEEN_BETWEEN = 2
#: The rate is kept up to clock skew, and a slot may be used a second late.
RATE_SLACK_SECONDS = 6
#: Why a good report may be refused, where fan-outs die or stand still.
_DIED = "its enumeration died", "it is not enumerated in time"
_CALLED_NOBODY = frozenset({RunState.REFUSED, RunState.SKIPPED, RunState.CANCELLED, RunState.MISSED})
#: Answers that a worker can get from nobody but a target that has, or may have, done something.
_OPEN_MISHAPS = frozenset(Mishap) - {Mishap.NOT_SENT, Mishap.BUSY, Mishap.LOCKED_OUT}
Check = Callable[[History], Iterator[str]]


def violations(played: Played) -> list[str]:
    """Everything that is wrong with a play."""
    found = [*played.violations, *played.audit.violations]
    history = History(played)
    for check in CHECKS:
        found += [f"{check.__name__.replace('_', ' ')}: {wrong}" for wrong in check(history)]
    return found


# --- runs ---


def every_start_has_one_run(history: History) -> Iterator[str]:
    """Guarantee 5; a start that Lambda gave up for good has none."""
    for job, asked in history.played.asked_for.items():
        missing = asked.keys() - history.runs.keys()
        if missing and history.played.calm:
            yield f"{job}: {sorted(missing)} never began"
    known = {name.partition("#")[2] for _, name in history.played.audit.table.items if name.startswith("run#")}
    if extra := known - history.runs.keys():
        yield f"nobody asked for {sorted(extra)}"


def a_bad_report_calls_nobody(history: History) -> Iterator[str]:
    """Guarantee 7."""
    for run in history.runs.values():
        plan = history.plans[run.job]
        bad = plan.report is not None and (plan.entries > 0 or plan.report is not ReportFault.CONTRADICTION)
        died = not history.played.calm and (run.reason or "").startswith(_DIED)
        if run.state is RunState.REFUSED and not bad and not died:
            yield f"{run.id} is refused: {run.reason}"
        if bad and run.state not in _CALLED_NOBODY:
            yield f"{run.id} is {run.state}, though its report is bad"


def only_sealed_and_open_runs_call(history: History) -> Iterator[str]:
    """Guarantees 6 and 7: no call before the seal, for another generation, or once a run is cancelled or has ended.

    A batch in hand is not cut short.
    """
    audit, in_hand = history.played.audit, history.batches_begun()
    for (run, generation, reference), orders in history.orders.items():
        for order in orders:
            if order.origin in history.played.frozen:
                continue
            state, since = audit.state_at(run, generation, order.at.timestamp())
            begun = in_hand.get((run, generation, reference), order.at)
            if state in {None, RunState.ENUMERATING, RunState.QUEUED}:
                yield f"{order} while {run}/{generation} was {state}"
            elif state not in OPEN and begun.timestamp() > since + OLD_NEWS.total_seconds():
                yield f"{order}, and {run}/{generation} is {state} since {since}"


def a_manifest_is_the_report(history: History) -> Iterator[str]:
    """Guarantee 1: nothing is lost on the way from the source, and nothing doubled."""
    for run in history.runs.values():
        first = run.generations[-1] if run.generations else None
        if first is None or first.generation != 1:
            continue
        lines = [line.key for chunk in range(first.tree.chunks) for line in history.manifests.read(first, chunk)]
        if lines != [entry.key for entry in history.expected(run)]:
            yield f"{run.id} lists {lines}"
        if first.total != len(lines):
            yield f"{run.id} counts {first.total} of {len(lines)}"


def one_run_of_a_job_at_a_time(history: History) -> Iterator[str]:
    """Unless its runs may overlap."""
    for job, plan in history.plans.items():
        if plan.overlap is Overlap.ALLOW:
            continue
        changes = []
        for (run, generation), states in history.played.audit.states.items():
            if run.startswith(f"{job}-"):
                changes += [(at, state, f"{run}/{generation}") for at, state in states]
        active: set[str] = set()
        for at, state, name in sorted(changes, key=lambda change: change[0]):
            if state.terminal or state is RunState.QUEUED:
                active.discard(name)
            else:
                active.add(name)
            if len(active) > 1:
                yield f"{sorted(active)} at {at}"


def nobody_is_passed_over_without_reason(history: History) -> Iterator[str]:
    """An occurrence is skipped, or waits, only while another one of its job is under way."""
    audit = history.played.audit
    for (run, generation), states in audit.states.items():
        at, state = states[0]
        job = job_of(run)
        if generation > 1 or state not in {RunState.SKIPPED, RunState.QUEUED}:
            continue
        others = [(name, number) for name, number in audit.states if name != run and job_of(name) == job]
        under_way = [name for name, number in others if _under_way(history, name, number, at)]
        if not under_way or history.plans[job].overlap is Overlap.ALLOW:
            yield f"{run} is {state}, and no other run was under way"


def _under_way(history: History, run: str, generation: int, at: float) -> bool:
    """Whether a run was at work then, or a moment before: what is read is older than what is written."""
    states = history.played.audit.states[run, generation]
    old_news = OLD_NEWS.total_seconds() + (max(FREEZE_SECONDS.values()) if history.played.frozen else 0)
    ends = [since for since, _ in states[1:]] + [inf]
    return any(
        since <= at and until >= at - old_news and not state.terminal
        for (since, state), until in zip(states, ends, strict=True)
    )


def nothing_fails_of_itself(history: History) -> Iterator[str]:
    """Where nobody does it any harm, every invocation ends well; a redrive may find its job at work."""
    played = history.played
    poisoned = any(_poisoned(plan) for plan in history.plans.values())
    if not played.calm or poisoned or played.redriven:
        return
    for failure in played.cloud.failures:
        yield f"{failure.function}: {failure.reason}"


def nobody_is_suspected_without_a_death(history: History) -> Iterator[str]:
    """Guarantee 11: an entry is called alone only where a worker may have died of it."""
    played = history.played
    if played.calm and played.log["entry.suspect"] and not any(_poisoned(plan) for plan in history.plans.values()):
        yield f"{played.log['entry.suspect']} entries were"


def nobody_needs_to_be_healed(history: History) -> Iterator[str]:
    """Whoever fills a node counts it in its parent; the watchdog does so only for the dead, or by seeing the one write
    before the other.
    """
    if history.played.calm and history.played.log["run.healed"] > SEEN_BETWEEN:
        yield f"{history.played.log['run.healed']} nodes were"


def what_never_came_is_missed(history: History) -> Iterator[str]:
    """Guarantee 16; and what came, though late, is not."""
    for name in history.played.never_fired:
        state = history.runs[name].state if name in history.runs else None
        if state is not RunState.MISSED:
            yield f"no start of {name} ever came, and it is {state}"
    for run in history.runs.values():
        if run.state is RunState.MISSED and history.played.calm and run.id not in history.played.never_fired:
            yield f"{run.id} is missed, and was fired"


# --- entries ---


def everything_is_settled(history: History) -> Iterator[str]:
    """Guarantees 1 and 2."""
    for told in history.told():
        if told.outcome is None and told.run.generation == history.runs[told.run.id].generation:
            yield str(told)


def outcomes_are_true(history: History) -> Iterator[str]:
    """Guarantees 3, 8, 9 and 11: each outcome against what the target knows."""
    for told in history.told():
        if told.outcome is None:
            continue
        wrong = _WRONG[told.outcome](history, told)
        if wrong:
            yield f"{told}: {wrong}; {told.all_orders}"


def _wrong_success(history: History, told: Told) -> str | None:
    return None if history.target(told.plan).effects.get(told.expected.reference) else "nothing was done"


def _wrong_rejection(_: History, told: Told) -> str | None:
    if not told.expected.valid:
        return "it was called, though it is invalid" if told.orders else None
    locked_out = any(order.status == 401 for order in told.orders)
    # What another run has ordered may still be under way.
    conflict = any(order.status == 409 for order in told.orders) and not told.plan.own_references
    return None if told.refused or locked_out or conflict else "its target never refused it"


def _wrong_failure(history: History, told: Told) -> str | None:
    if not told.expected.valid:
        return "it is invalid"
    # The word of an environment that stood still may come while another one calls: the first outcome stands.
    unanswered = [order for order in told.orders if not order.answered and not history.played.frozen]
    if unanswered and not told.plan.probe:
        return "not every call was answered"
    if any(order.effect_at is not None for order in unanswered):
        return "a call without an answer did something"
    if not told.plan.keys and not _deployed(history) and any(order.effect_at for order in told.all_orders):
        return "something was done"
    if history.played.calm and not _mishaps(told.plan):
        return "nothing went wrong"
    return None


def _wrong_unknown(history: History, told: Told) -> str | None:
    if not told.expected.valid:
        return "it is invalid"
    # An entry that is sent again, for its message was lost, may have been called; what a dead letter did, nobody says.
    lost = any(act.deed is Deed.LOSE for act in history.played.plan.acts)
    lost = lost or history.played.log[Action.DEAD_LETTER_SETTLED.value] > 0
    innocent = history.played.calm and not lost and not _mishaps(told.plan) & _OPEN_MISHAPS
    return "nothing went wrong" if innocent else None


def _wrong_cancellation(history: History, told: Told) -> str | None:
    if told.run.id not in history.played.cancelled:
        return "nobody cancelled its run"
    # What a call that was never answered did is the redrive's to find out; an answer is never dropped for a cancel.
    done = any(order.status in {201, 422} for order in told.orders)
    innocent = history.played.calm and not _poisoned(told.plan)
    return "its target had answered, and nothing went wrong" if done and innocent else None


_WRONG = {
    Outcome.SUCCEEDED: _wrong_success,
    Outcome.REJECTED: _wrong_rejection,
    Outcome.FAILED: _wrong_failure,
    Outcome.UNKNOWN: _wrong_unknown,
    Outcome.CANCELLED: _wrong_cancellation,
}


def no_second_effect(history: History) -> Iterator[str]:
    """Guarantee 8."""
    for name, target in history.played.targets.items():
        for reference, times in target.effects.items():
            if len(times) > 1:
                orders = [order for order in target.orders if order.reference == reference]
                yield f"{name} did {reference} at {times}: {orders}"


def one_key_for_an_entry(history: History) -> Iterator[str]:
    """Guarantee 8: the same over redeliveries, retries, crashes and redrives."""
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (run, generation, reference), orders in history.orders.items():
        of = f"{run}/{generation}" if history.played.plan.new_key else run
        keys[of, reference] |= {order.idempotency_key for order in orders}
    for (run, reference), found in keys.items():
        if len(found) > 1:
            yield f"{reference} of {run} was called with {found}"


def retries_are_counted(history: History) -> Iterator[str]:
    """Guarantees 9 and 11: as many calls as the retries allow, but for deaths, tries of a breaker, and deployments."""
    played = history.played
    if not played.calm or _deployed(history) or played.log["breaker.opened"]:
        return
    for told in history.told():
        if told.plan.most_receives <= told.plan.retries + 1:
            continue
        poisoned = _mishaps(told.plan) & {Mishap.POISON_BEFORE, Mishap.POISON_AFTER, Mishap.LOCKED_OUT}
        if len(told.orders) > told.plan.retries + 1 and not poisoned:
            yield f"{told} was called {len(told.orders)} times"
        if told.outcome is Outcome.FAILED and len(told.orders) < told.plan.retries + 1 and not poisoned:
            yield f"{told} was called {len(told.orders)} times only"


def the_settled_are_not_called(history: History) -> Iterator[str]:
    """Guarantee 8: who is settled is called no more, but by environments that stood still meanwhile."""
    played = history.played
    if played.frozen:
        return
    for told in history.told():
        at, _ = played.audit.settled.get((told.run.id, told.run.generation, told.index), (None, None))
        for order in told.orders:
            if at is not None and order.at.timestamp() > at + OLD_NEWS.total_seconds():
                yield f"{told} was settled at {at}, and called: {order}"


def one_call_of_an_entity_at_a_time(history: History) -> Iterator[str]:
    """Guarantee 14, over all runs of a job.

    Unless a message was lost of which a worker made one of the two calls: the lock of its group went with it
    (docs/decisions/repair.md).
    """
    played = history.played
    if played.frozen:
        return
    entities: dict[tuple[str, str], list[Ordered]] = defaultdict(list)
    for target in played.targets.values():
        for order in target.orders:
            job, number, _ = order.reference.split("/")
            entities[job, number].append(order)
    for entity, orders in entities.items():
        for earlier, later in pairwise(orders):
            unlocked = any((order.run, f"E{entity[1]}") in played.cloud.lost_in_hand for order in (earlier, later))
            if not unlocked and (earlier.ended is None or later.at < earlier.ended):
                yield f"{entity}: {earlier}, {later}"


def every_failure_can_be_found(history: History) -> Iterator[str]:
    """Guarantee 15: with payload, calls, and the last answer."""
    for told in history.told():
        exceptional = told.outcome not in {None, Outcome.SUCCEEDED}
        if exceptional is not (told.failure is not None):
            yield f"{told} is listed as {told.failure}"
        failure = told.failure
        if failure is None or failure.outcome is not told.outcome:
            continue
        if told.expected.valid and (failure.line.payload or {}) != {"reference": told.expected.reference}:
            yield f"{told} is listed with another payload: {failure.line}"
        if failure.outcome is not Outcome.CANCELLED and not (failure.error and failure.reason):
            yield f"{told} is listed without a reason: {failure}"
        # Of one that had no effect its target may have told, when it was asked.
        doubtful = [
            order for order in told.all_orders if not order.answered and (order.effect_at or not told.plan.probe)
        ]
        if doubtful and failure.definite and not history.played.frozen:
            yield f"{told} is listed as definite: {doubtful}"


# --- the end ---


def every_end_is_announced(history: History) -> Iterator[str]:
    """Guarantee 4: at least once, and once where nothing went wrong; with the counts as they are."""
    played = history.played
    announced = Counter(detail["id"] for detail in played.cloud.announcements)
    heard = Counter(completed.id for completed in played.jobs.heard)
    for run in history.runs.values():
        ends = {f"{run.id}/{number}" for number in range(1, run.generation + 1)}
        for end in ends:
            times = announced[end], heard[end]
            if 0 in times or (played.calm and times != (1, 1)):
                yield f"{end} was announced {times[0]} times, and {times[1]} times to its hook"
        counts = {outcome.value: number for outcome, number in outcomes(played.cloud.ledger, run).items()}
        for detail in played.cloud.announcements:
            if detail["id"] == f"{run.id}/{run.generation}" and (detail["outcomes"], detail["total"]) != (
                counts,
                run.total,
            ):
                yield f"{run.id} was announced with {detail}"


def an_end_is_told_as_it_is(history: History) -> Iterator[str]:
    """Guarantee 4: whose end it is, and whether anybody has to look."""
    for detail in history.played.cloud.announcements:
        run, generation = detail["run"], detail["generation"]
        known = f"{run}/{generation}", job_of(run), history.last_state(run, generation)
        if (detail["id"], detail["job"], detail["state"]) != known:
            yield f"{detail} of {known}"
    for completed in history.played.jobs.heard:
        all_done = completed.state is RunState.COMPLETE and completed.outcomes[Outcome.SUCCEEDED] == completed.total
        if completed.clean is not all_done:
            yield f"{completed} is told as {'clean' if completed.clean else 'not clean'}"


def who_cancels_is_obeyed(history: History) -> Iterator[str]:
    """A run of which somebody was told that it is being cancelled ends so."""
    for name in history.played.surely_cancelled:
        states = {history.last_state(name, number) for number in range(1, history.runs[name].generation + 1)}
        if RunState.CANCELLED not in states:
            yield f"{name} is {states}"


def who_pauses_is_obeyed(history: History) -> Iterator[str]:
    """No new calls of a job that is paused, a moment later."""
    if history.played.frozen:
        return
    for job, pauses in history.played.pauses.items():
        for (run, _, _), orders in history.orders.items():
            for since, until in pauses if job_of(run) == job else []:
                if late := [order for order in orders if since + OLD_NEWS < order.at < until]:
                    yield f"{job} was paused from {since} to {until}: {late}"


def verify_finds_nothing(history: History) -> Iterator[str]:
    """What `rollcall verify` says of every run that ended."""
    for run in history.runs.values():
        if run.nonce is not None:
            yield from map(str, verify(history.played.cloud.ledger, history.manifests, run))


def nothing_is_left_behind(history: History) -> Iterator[str]:
    """No message, no open run, no lease, no claim on an announcement."""
    played = history.played
    if played.violations:
        return
    for job in played.cloud.jobs:
        if left := played.cloud.on_queue(job, dead_letters=True):
            yield f"{left} dead letters of {job.name}"
    # A dead letter may come when its entry is long settled, and its run over.
    buried = any(plan.most_receives < MAX_RECEIVE_COUNT for plan in history.plans.values())
    kept = [key for bucket, key in played.cloud.services.s3.objects if bucket == MANIFESTS and "dead_letter/" in key]
    if kept and not buried:
        yield f"messages that belong to nobody: {kept}"
    for run in history.runs.values():
        if run.lease_until is not None:
            yield f"{run.id} is {run.state} and leased until {run.lease_until}"
        if run.owner is not None or run.completed_at is None:
            yield f"{run.id} is {run.state}, owned by {run.owner}, ended at {run.completed_at}"


def limits_are_kept(history: History) -> Iterator[str]:
    """Guarantee 10: the rate always, up to clock skew; the calls in flight where nobody dies in the middle of one."""
    played = history.played
    for plan in history.plans.values():
        target = history.target(plan)
        if plan.rate is not None and not played.frozen:
            times = [order.at.timestamp() for order in target.orders]
            for number, since in enumerate(times):
                within = sum(since <= at < since + 10 for at in times[number:])
                if within > plan.rate * (10 + RATE_SLACK_SECONDS) + plan.rate:
                    yield f"{plan.target}: {within} calls in 10 s from {since}"
                    break
        if played.calm and target.peak > 2 * plan.concurrency:
            yield f"{plan.target}: {target.peak} calls at once"


def windows_are_kept(history: History) -> Iterator[str]:
    """No more entries are on a job's queue at once, over all its runs, than its window has; those settled count not."""
    played = history.played
    if not played.calm:
        return
    for job in played.cloud.jobs:
        if job.name not in played.cloud.queues:
            continue
        address, _ = played.cloud.queues[job.name]
        changes: list[tuple[float, int]] = []
        sent: set[tuple[str, int, int]] = set()
        for at, body in played.cloud.services.sqs.queue(address.url).history:
            message = json.loads(body)
            entry = message["run"], message["generation"], message["index"]
            if entry not in sent:
                changes.append((at, 1))
                sent.add(entry)
        changes += [(played.audit.settled[entry][0], -1) for entry in sent & played.audit.settled.keys()]
        most = max(accumulate((change for _, change in sorted(changes)), initial=0))
        if most > history.plans[job.name].window:
            yield f"{most} entries of {job.name} were on its queue at once"


def requests_are_few(history: History) -> Iterator[str]:
    """The budget, where nothing goes wrong and nobody interferes: what a small run may cost."""
    played = history.played
    plan = played.plan
    if not played.calm or plan.mishaps or len(plan.acts) != 1 or plan.redrives:
        return
    if any(job.rate or job.every for job in plan.jobs):
        return
    job = history.plans[plan.acts[0].job]
    if job.report is not None or not job.keys:
        return
    workers = sum(function.invocations for name, function in played.cloud.functions.items() if "worker" in name)
    writes = played.cloud.requests["dynamodb", "UpdateItem"]
    chunks = -(-(job.entries + job.invalid) // plan.chunk_size)
    # A batch may lie in as many chunks as it has entries; each chunk is counted in its parent, and those in theirs.
    allowed = min(10, chunks) * workers + 2 * chunks + 2 * job.invalid + job.entries * (job.refused > 0) + 40
    if writes > allowed:
        yield f"{writes} writes for {job.entries} entries in {chunks} chunks and {workers} batches; {allowed} would do"


def _poisoned(plan: JobPlan) -> bool:
    return bool(_mishaps(plan) & {Mishap.POISON_BEFORE, Mishap.POISON_AFTER})


def _mishaps(plan: JobPlan) -> frozenset[Mishap]:
    return frozenset(plan.mishaps)


def _deployed(history: History) -> bool:
    return any(act.deed.value.startswith("deploy") for act in history.played.plan.acts)


CHECKS: tuple[Check, ...] = (
    every_start_has_one_run,
    a_bad_report_calls_nobody,
    only_sealed_and_open_runs_call,
    a_manifest_is_the_report,
    one_run_of_a_job_at_a_time,
    nobody_is_passed_over_without_reason,
    nothing_fails_of_itself,
    what_never_came_is_missed,
    nobody_is_suspected_without_a_death,
    nobody_needs_to_be_healed,
    everything_is_settled,
    outcomes_are_true,
    no_second_effect,
    one_key_for_an_entry,
    retries_are_counted,
    the_settled_are_not_called,
    one_call_of_an_entity_at_a_time,
    every_failure_can_be_found,
    every_end_is_announced,
    an_end_is_told_as_it_is,
    who_cancels_is_obeyed,
    who_pauses_is_obeyed,
    verify_finds_nothing,
    nobody_is_in_hand,
    a_claim_that_is_over_says_so,
    nothing_is_left_behind,
    limits_are_kept,
    windows_are_kept,
    requests_are_few,
    batches_keep_their_turns,
    a_busy_target_is_left_alone,
    one_execution_after_another,
    executions_end_well,
)
