"""Starting: one occurrence is one run, however often and in whatever company it is asked for."""

from datetime import datetime, timedelta

import pytest

from rollcall import Overlap
from rollcall.core.actions import Action
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunState, run_id
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, LEASE, NAME, RUN, World, a_job, entries

TOMORROW = run_id(NAME, DUE + DAY)
NEXT_DAY = run_id(NAME, DUE + 2 * DAY)
SECOND = timedelta(seconds=1)


def killed_start(world: World, scheduled_for: datetime = DUE) -> None:
    """A start whose process dies in the middle of its enumeration; its lease stands."""

    def die_at_the_manifest(sent: Sent) -> None:
        if sent.operation == "PutObject" or world.wire.of("PutObject"):
            raise Killed(str(sent))

    world.wire.before = die_at_the_manifest
    with pytest.raises(Killed):
        world.start(scheduled_for)
    world.wire.reset()


def test_the_whole_way_from_the_report_to_completion(world: World) -> None:
    run = world.begin(26)
    assert (run.tree.width(0), run.tree.width(1), run.tree.width(2)) == (6, 2, 1)
    world.drain()
    assert world.run().state is RunState.COMPLETE
    assert len(world.target.calls) == len(world.target.times()) == 26
    actions = [Action.RUN_STARTED, Action.RUN_SEALED, Action.RUN_DISPATCHED, Action.RUN_COMPLETE]
    assert [world.events.count(action) for action in actions] == [1, 1, 1, 1]


# --- one occurrence, asked for twice ---


def test_a_duplicate_delivery_while_the_run_is_under_way_sends_nothing(world: World) -> None:
    world.begin(6)
    before = world.ledger_dump()
    assert world.start() is None
    assert len(world.sent()) == 6
    assert world.ledger_dump() == before
    assert world.events.count(Action.RUN_DUPLICATE_START) == 1


def test_a_duplicate_delivery_after_completion_calls_nobody_again(world: World) -> None:
    world.begin(3)
    world.drain()
    before = world.ledger_dump()
    world.later(timedelta(hours=1))
    assert world.start() is None
    assert world.ledger_dump() == before
    assert len(world.sent()) == 3


def test_a_duplicate_delivery_of_a_skipped_occurrence_stays_skipped_though_the_job_is_free_by_now(
    world: World,
) -> None:
    world.begin(3)
    assert world.start(DUE + DAY) is None
    world.drain()
    assert world.start(DUE + DAY) is None
    assert world.run(TOMORROW).state is RunState.SKIPPED
    assert len(world.sent()) == 3


def test_a_duplicate_delivery_of_a_queued_occurrence_does_not_start_it_early(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE))
    world.begin(3)
    world.start(DUE + DAY)
    assert world.start(DUE + DAY) is None
    assert world.run(TOMORROW).state is RunState.QUEUED
    assert world.job_record().queued == TOMORROW


def test_a_refused_occurrence_delivered_again_stays_refused(world: World) -> None:
    world.report = [ValueError("boom")]
    refused = world.start()
    assert refused is not None
    assert refused.state is RunState.REFUSED
    world.report = []
    assert world.start() is None
    assert world.run().state is RunState.REFUSED


def test_a_manual_run_beside_the_scheduled_one_is_a_run_of_its_own(world: World) -> None:
    world.declare(a_job(overlap=Overlap.ALLOW))
    world.begin(3)
    manual = world.start(nonce="again")
    assert manual is not None
    assert manual.id == f"{RUN}-again"
    assert len(world.sent()) == 6


# --- overlap ---


def test_skip_records_the_occurrence_with_the_run_that_was_in_its_way(world: World) -> None:
    world.begin(3)
    assert world.start(DUE + DAY) is None
    skipped = world.run(TOMORROW)
    assert skipped.state is RunState.SKIPPED
    assert skipped.reason == f"{RUN} is not finished"
    assert world.job_record().current == RUN
    assert world.events.count(Action.RUN_SKIPPED) == 1


def test_skip_does_not_skip_once_the_run_before_has_ended(world: World) -> None:
    world.begin(3)
    world.drain()
    run = world.start(DUE + DAY)
    assert run is not None
    assert run.state is RunState.RUNNING
    assert world.job_record().current == TOMORROW


def test_queue_lets_one_run_wait_and_skips_the_next(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE))
    world.begin(3)
    assert world.start(DUE + DAY) is None
    assert world.start(DUE + 2 * DAY) is None
    assert world.run(TOMORROW).state is RunState.QUEUED
    assert world.run(NEXT_DAY).state is RunState.SKIPPED
    assert world.run(NEXT_DAY).reason == f"{RUN} is not finished, and {TOMORROW} waits already"


def test_the_queued_run_is_not_started_before_the_current_one_has_ended(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE))
    world.begin(3)
    world.start(DUE + DAY)
    assert world.resume(TOMORROW) is None
    assert world.run(TOMORROW).state is RunState.QUEUED
    assert len(world.sent()) == 3


def test_the_queued_run_starts_when_the_current_one_has_ended_and_frees_the_place(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE))
    world.begin(3)
    world.start(DUE + DAY)
    world.drain()
    run = world.resume(TOMORROW)
    assert run is not None
    assert run.state is RunState.RUNNING
    job = world.job_record()
    assert (job.current, job.queued) == (TOMORROW, None)
    assert job.open == {RUN, TOMORROW}


def test_a_queued_run_is_started_once_by_two_requests(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE))
    world.begin(3)
    world.start(DUE + DAY)
    world.drain()
    world.resume(TOMORROW)
    assert world.resume(TOMORROW) is None
    assert world.run(TOMORROW).enumerations == 1
    assert len(world.sent()) == 6


def test_allow_lets_two_runs_go_side_by_side_with_counts_of_their_own(world: World) -> None:
    world.declare(a_job(overlap=Overlap.ALLOW))
    world.begin(7)
    world.begin(12, scheduled_for=DUE + timedelta(seconds=5))
    world.drain()
    second = run_id(NAME, DUE + timedelta(seconds=5))
    assert [world.run(run).state for run in (RUN, second)] == [RunState.COMPLETE] * 2
    assert [sum(world.outcomes(run).values()) for run in (RUN, second)] == [7, 12]
    assert world.target.times()["D00"] == 2


def test_two_different_occurrences_that_race_for_a_free_job_do_not_both_win(world: World) -> None:
    """The other one is started between our reading of the job and our transaction."""
    raced = False

    def the_other_comes_first(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "TransactWriteItems" and not raced:
            raced = True
            world.start(DUE + DAY)

    world.wire.before = the_other_comes_first
    assert world.start() is None
    assert world.run(RUN).state is RunState.SKIPPED
    assert world.run(TOMORROW).state is RunState.RUNNING


def cancelled_once(world: World, *codes: str) -> None:
    """DynamoDB cancels the first transaction, with a reason for each of its parts."""
    cancelled = False

    def before(sent: Sent) -> None:
        nonlocal cancelled
        if sent.operation == "TransactWriteItems" and not cancelled:
            cancelled = True
            raise world.clients.dynamodb.exceptions.TransactionCanceledException(
                {
                    "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
                    "CancellationReasons": [{"Code": code} for code in codes],
                },
                sent.operation,
            )

    world.wire.before = before


@pytest.mark.parametrize("codes", [("None", "ConditionalCheckFailed"), ("TransactionConflict", "None")], ids=str)
def test_a_transaction_that_others_writes_cancelled_is_tried_again(world: World, codes: tuple[str, ...]) -> None:
    cancelled_once(world, *codes)
    world.begin(3)
    assert world.wire.counts()["TransactWriteItems"] == 2


@pytest.mark.parametrize(
    "codes",
    [
        ("ThrottlingError", "None"),
        ("None", "ProvisionedThroughputExceeded"),
        ("ThrottlingError", "TransactionConflict"),
    ],
    ids=str,
)
def test_a_transaction_that_throttling_cancelled_is_no_conflict(world: World, codes: tuple[str, ...]) -> None:
    cancelled_once(world, *codes)
    with pytest.raises(world.clients.dynamodb.exceptions.TransactionCanceledException):
        world.start()
    assert world.wire.counts()["TransactWriteItems"] == 1
    assert world.ledger.run(RUN) is None


# --- leases ---


def test_a_live_lease_makes_a_second_start_exit(world: World) -> None:
    killed_start(world)
    world.later(LEASE - SECOND)
    before = world.ledger_dump()
    assert world.start() is None
    assert world.ledger_dump() == before
    assert world.events.count(Action.RUN_DUPLICATE_START) == 1


def test_an_expired_lease_is_taken_over_with_the_next_fence(world: World) -> None:
    killed_start(world)
    world.later(LEASE)
    run = world.start()
    assert run is not None
    assert (run.fence, run.enumerations, run.state) == (2, 2, RunState.RUNNING)
    assert world.events.of(Action.RUN_TAKEN_OVER)[0]["died"] is True


def test_of_two_that_take_over_at_once_one_wins(world: World) -> None:
    """The other one takes over between our reading of the run and our write."""
    killed_start(world)
    world.later(LEASE)
    raced = False

    def the_other_comes_first(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "UpdateItem" and not raced:
            raced = True
            world.start()

    world.wire.before = the_other_comes_first
    assert world.start() is None
    assert world.run().fence == 2
    assert len(world.sent()) == 12


def test_who_decided_to_take_over_before_another_did_and_gave_it_back_finds_its_knowledge_stale(world: World) -> None:
    """Between our reading of the run and our write, another one tops it up and releases it: no lease tells of that."""
    raced = False

    def the_other_comes_and_goes(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "UpdateItem" and not raced:
            raced = True
            world.resume()

    world.declare(a_job(window=10))
    world.report = entries(30)
    world.start()
    world.drain()
    world.wire.before = the_other_comes_and_goes
    assert world.resume() is None
    assert world.run().checkpoint == 20
    assert [message.index for message, _ in world.sent()] == list(range(20))


def test_a_failing_fan_out_leaves_its_run_to_be_taken_over_at_once(world: World) -> None:
    def s3_is_down(sent: Sent) -> None:
        if sent.operation == "PutObject":
            raise RuntimeError("S3 is down")

    world.wire.before = s3_is_down
    with pytest.raises(RuntimeError, match="S3 is down"):
        world.start()
    world.wire.heal()
    run = world.start()
    assert run is not None
    assert run.state is RunState.RUNNING


def test_an_enumeration_that_dies_three_times_is_refused_and_nothing_is_sent(world: World) -> None:
    for _ in range(3):
        killed_start(world)
        world.later(LEASE)
    run = world.start()
    assert run is not None
    assert run.state is RunState.REFUSED
    assert run.reason is not None
    assert "died 3 times" in run.reason
    assert world.sent() == []


def test_the_third_enumeration_is_still_tried(world: World) -> None:
    for _ in range(2):
        killed_start(world)
        world.later(LEASE)
    run = world.start()
    assert run is not None
    assert run.state is RunState.RUNNING


def test_to_resume_a_run_that_nobody_started_is_an_error_that_names_it(world: World) -> None:
    with pytest.raises(RollcallError, match=f"there is no run {RUN}"):
        world.resume()
