"""What the simulation has found, each told as a story of its own: seeds change their plans, these do not."""

from dataclasses import replace
from datetime import timedelta

from rollcall import NEVER_ARRIVED, Call, NeverArrived, Outcome, Retry
from rollcall.adapters.ledger.entries import EntryRecord
from rollcall.adapters.ledger.records import entry_key
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action
from rollcall.core.entry import entry_id
from rollcall.core.job import Overlap
from rollcall.core.run import RunState
from rollcall.core.tree import Node
from rollcall.engine.runs.cancellation import cancel
from rollcall.engine.runs.failures import failures
from rollcall.engine.runs.verification import verify
from tests.simulation.checks.checks import violations
from tests.simulation.models import fibers
from tests.simulation.models.gate import Answer, Crash, Sent, Serve
from tests.simulation.models.virtual_time import START
from tests.simulation.plays.cloud import SimulatedCloud
from tests.simulation.plays.counterparty import Mishap
from tests.simulation.plays.plans import Act, Deed, JobPlan, Plan
from tests.simulation.plays.playing import play
from tests.simulation.plays.test_cloud import MINUTE, a_job, complete
from tests.simulation.plays.test_money import banked, transfers
from tests.simulation.plays.test_repair import purge
from tools.local_cloud.resources import MANIFESTS

JOB = JobPlan("pay-rent", entries=6, retries=0)


def a_plan(job: JobPlan, *acts: Act, redrives: int = 0) -> Plan:
    """A plan in which nothing goes wrong between the engine and the services."""
    return Plan(seed=1, jobs=(job,), acts=acts, quiet_at=60.0, redrives=redrives)


def fires(*at: float) -> list[Act]:
    return [Act(seconds, Deed.START_BY_HAND, JOB.name) for seconds in at]


def test_of_two_redrives_of_one_job_at_the_same_time_one_is_refused_until_the_other_has_ended() -> None:
    """Both had read that the job was free; the second one read it once more only to take it."""
    failing = replace(JOB, mishaps={Mishap.UNAVAILABLE: 1.0})
    played = play(a_plan(failing, *fires(0, 30), redrives=1))
    assert violations(played) == []
    assert played.redriven
    assert any("is under way" in failure.reason for failure in played.cloud.failures)


def test_the_opening_of_a_breaker_is_logged_though_the_request_takes_time() -> None:
    played = play(a_plan(replace(JOB, mishaps={Mishap.UNAVAILABLE: 1.0}, breaker=3), *fires(0)))
    assert played.log[Action.BREAKER_OPENED.value] > 0


def test_of_runs_at_the_same_time_the_earliest_goes_on_first() -> None:
    """They would open their windows together, and all step back, minute by minute."""
    busy = replace(JOB, entries=17, window=10, overlap=Overlap.ALLOW)
    played = play(a_plan(busy, *fires(0, 0, 0)))
    assert violations(played) == []
    assert played.log[Action.RUN_WINDOW_FULL.value] < 12


def test_a_message_lost_in_a_workers_hands_holds_its_group_no_more() -> None:
    """Only groups keep runs that overlap apart (docs/decisions/repair.md); nothing is done twice nevertheless."""
    slow = replace(JOB, keys=False, own_references=True, overlap=Overlap.ALLOW, latency=70.0, timeout=90.0)
    acts = Act(0, Deed.FIRE, JOB.name), Act(20, Deed.LOSE, JOB.name), Act(100, Deed.FIRE, JOB.name)
    played = play(a_plan(slow, *acts))
    assert violations(played) == []
    assert played.cloud.lost_in_hand
    played.cloud.lost_in_hand.clear()
    assert any(each.startswith("one call of an entity at a time") for each in violations(played))


def test_who_got_its_claim_too_late_does_not_call() -> None:
    """The write is made at once; its answer comes when the invocation is nearly over, and others may soon ask."""
    cloud, bank = banked(transfers(1, None))
    late: list[str] = []

    def delay(sent: Sent, serve: Serve) -> Answer:
        answer = serve()
        claim = sent.operation == "UpdateItem" and "#n7 = if_not_exists" in str(sent.parameters)
        if claim and not late:
            late.append(sent.origin)
            fibers.pause(cloud.function("worker", cloud.jobs[0]).timeout.total_seconds() - 5)
        return answer

    with cloud:
        cloud.services.gate.interceptor = delay
        run = cloud.fire(cloud.jobs[0])
        cloud.run_until_announced(run)
        [reference] = bank.movements
        key = entry_key(run, entry_id(reference, 0))
        assert len(late) == 1
        assert cloud.ledger.items([key])[key]["fence"] == 2
        assert bank.orders == {reference: 1}


def test_a_dispatch_that_is_left_in_doubt_goes_on_though_the_doubt_takes_up_the_window() -> None:
    """The first fan-out dies when it sends; the next one gets its window so late that it must not send any more."""
    job = a_job(4)
    job.window = 5
    slow: list[str] = []

    def trouble(sent: Sent, serve: Serve) -> Answer:
        if "fan-out/1" in sent.origin and sent.operation == "SendMessageBatch":
            raise Crash("before it sends")
        answer = serve()
        opening = "fan-out" in sent.origin and sent.parameters.get("UpdateExpression") == "SET #n0 = :v0"
        if opening and "fan-out/1" not in sent.origin and not slow:
            slow.append(sent.origin)
            fibers.pause(880)
        return answer

    with SimulatedCloud([job]) as cloud:
        cloud.services.gate.interceptor = trouble
        run = cloud.fire(job)
        cloud.pass_time(MINUTE)
        cloud.run_until(lambda: cloud.run(run).fence == 2, within=60 * MINUTE)
        cloud.run_until(lambda: cloud.run(run).lease_until is None, within=60 * MINUTE)
        left = cloud.run(run)
        assert (left.state, left.checkpoint, left.window_end) == (RunState.DISPATCHING, 0, 4)
        cloud.run_until_announced(run)
        complete(cloud, run, 4)


def test_a_success_stands_in_every_generation_whatever_came_first() -> None:
    assert EntryRecord.of({"g1_outcome": "succeeded"}, 2).outcome is Outcome.SUCCEEDED
    assert EntryRecord.of({"late_answer": {"outcome": "succeeded"}}, 2).outcome is Outcome.SUCCEEDED
    assert EntryRecord.of({"g1_outcome": "rejected"}, 2).outcome is None
    assert EntryRecord.of({"g2_outcome": "rejected"}, 2).outcome is Outcome.REJECTED


def test_dead_letters_of_held_entries_keep_no_run_open() -> None:
    job = a_job(20, retry=Retry(retries=3))
    with SimulatedCloud([job]) as cloud:
        cloud.services.sqs.queue(cloud.queues[job.name][0].url).most_receives = 2
        cloud.target(job).script = lambda _, number: 503 if cloud.clock.now() < START + MINUTE and number < 3 else None
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        assert sum(cloud.outcomes(run).values()) == 20
        cloud.run_until(lambda: cloud.on_queue(job, dead_letters=True) == 0)


def test_a_cancelled_run_ends_though_what_a_worker_had_begun_behind_the_checkpoint_is_lost() -> None:
    """Nobody dispatches it any more, and what is begun nobody else cancels: only a message of it settles it."""
    job = a_job(2, retry=Retry(retries=5, first=timedelta(seconds=5)))

    def dies_before_its_checkpoint(sent: Sent, serve: Serve) -> Answer:
        answer = serve()
        if "fan-out" in sent.origin and sent.operation == "SendMessageBatch":
            raise Crash(str(sent))
        return answer

    with SimulatedCloud([job]) as cloud:
        cloud.services.gate.interceptor = dies_before_its_checkpoint
        cloud.target(job).script = lambda _key, _number: 503
        run = cloud.fire(job)

        def begun() -> bool:
            started = cloud.ledger.run(run)
            if started is None or started.nonce is None:
                return False
            return bool(cloud.ledger.nodes(started, [Node(0, 0)])[Node(0, 0)].begun)

        cloud.run_until(begun, every=timedelta(milliseconds=20), within=10 * MINUTE)
        for environment in cloud.function("worker", job).busy.values():
            environment.end()
        cancel(cloud.ledger, run, cloud.clock)
        purge(cloud, job)
        cloud.services.gate.interceptor = None
        cloud.run_until_announced(run)
        assert cloud.run(run).state is RunState.CANCELLED


def test_a_refusal_that_comes_after_its_claim_was_lost_is_kept_with_its_reason() -> None:
    """Another worker asks, hears of nothing, and puts the entry back; then the refusal is the first outcome."""
    claimed = {"keys": None, "timeout": timedelta(seconds=10), "settles_within": MINUTE}
    job = a_job(1, target=claimed, retry=Retry(3, first=4 * MINUTE))
    job.probe(nothing_arrived)
    late: list[str] = []

    def stands_still_before_it_says_so(sent: Sent, serve: Serve) -> Answer:
        written = set(sent.parameters.get("ExpressionAttributeNames", {}).values())
        if sent.operation == "UpdateItem" and "g1_outcome" in written and not late:
            late.append(sent.origin)
            cloud.function("worker", job).busy[sent.origin].zombie = True
            fibers.pause(760)
        return serve()

    with SimulatedCloud([job]) as cloud:
        cloud.services.gate.interceptor = stands_still_before_it_says_so
        cloud.target(job).script = lambda _key, number: 422 if number == 1 else 429
        run = cloud.fire(job)
        cloud.run_until_announced(run)
        manifests = Manifests(cloud.observer.s3, MANIFESTS)
        (failure,) = failures(cloud.ledger, manifests, cloud.run(run))
        assert failure.outcome is Outcome.REJECTED
        assert failure.error is not None
        assert failure.reason is not None
        assert list(verify(cloud.ledger, manifests, cloud.run(run))) == []


async def nothing_arrived(_payload: object, _call: Call) -> NeverArrived:
    return NEVER_ARRIVED
