"""What an operator does with a deployed environment: starts, watches, stops, holds, and settles again."""

import re
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from rollcall import Overlap
from rollcall.adapters.ledger.records import node_key
from rollcall.adapters.ledger.update import Update
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunState
from rollcall.core.sizing import LAMBDA_GIVES_UP_AFTER
from tests.functional.operator import FAN_OUT, LEDGER, MANIFESTS, WATCHDOG, Operator
from tests.functional.wire import Killed, Sent
from tests.functional.world import DUE, LEASE, NAME, RUN, a_job, entries
from tools.cli.watching import LOOK_EVERY, PATIENCE

RUN_ID = re.compile(rf"{NAME}-20261121T023000Z-[0-9a-f]{{6}}")


# --- start ---


def test_a_run_is_started_by_its_fan_out_and_its_id_is_all_of_standard_output(operator: Operator) -> None:
    ended = operator.rollcall("start", NAME, "--param", "month=2026-10")
    run = ended.out.strip()
    assert ended.code == 0
    assert RUN_ID.fullmatch(run)
    assert f"rollcall status {run} --wait --env test" in ended.err
    operator.work()
    record = operator.world.run(run)
    assert (record.state, record.params) == (RunState.COMPLETE, {"month": "2026-10"})
    assert [function for function, _ in operator.invoked] == [FAN_OUT]


def test_two_starts_in_the_same_second_are_two_runs(operator: Operator) -> None:
    operator.world.declare(a_job(overlap=Overlap.ALLOW))
    assert operator.started() != operator.started()


def test_a_start_is_waited_for_and_told_with_the_names_of_a_local_result(operator: Operator) -> None:
    ended = operator.rollcall("start", NAME, "--wait", "--json")
    assert ended.code == 0, ended.err
    result = ended.result
    assert {name: result[name] for name in ("environment", "job", "generation", "state", "clean", "announced")} == {
        "environment": "test",
        "job": NAME,
        "generation": 1,
        "state": "complete",
        "clean": True,
        "announced": True,
    }
    assert (result["total"], result["settled"], result["succeeded"], result["failed"]) == (12, 12, 12, 0)
    assert ended.out.count("\n") == 1
    assert result["run_id"] in ended.err, "the id is told before it is waited for"


def test_a_run_that_is_not_clean_ends_the_command_with_3_and_names_the_next_one(operator: Operator) -> None:
    operator.world.target.script("D03", 422)
    ended = operator.rollcall("start", NAME, "--wait")
    run = ended.err.splitlines()[0]
    assert ended.code == 3
    assert f"{run}: complete, not clean" in ended.out
    assert f"what did not succeed, and why: rollcall failures {run} --env test" in ended.out


def test_a_run_that_is_refused_or_skipped_ends_the_command_with_4_and_the_reason(operator: Operator) -> None:
    operator.world.report = [RuntimeError("the report broke off")]
    ended = operator.rollcall("start", NAME, "--wait")
    assert ended.code == 4
    assert "the source failed after 0 entries: RuntimeError in source" in ended.out
    operator.world.report = entries(3)
    operator.rollcall("pause", NAME)
    first = operator.started()
    ended = operator.rollcall("start", NAME, "--wait", "--json")
    assert (ended.code, ended.result["state"], ended.result["reason"]) == (4, "skipped", f"{first} is not finished")


def test_who_starts_a_paused_job_is_told_so(operator: Operator) -> None:
    operator.rollcall("pause", NAME)
    assert f"{NAME} is paused: nobody is called until: rollcall resume {NAME}" in operator.rollcall("start", NAME).err


def test_a_job_that_is_not_deployed_there_is_told_and_one_that_there_is_not(operator: Operator) -> None:
    told = operator.told("start", "refunds")
    assert "environment test has no such job: Function not found: rollcall-test-refunds-fan-out" in told
    assert "there is no job 'refund'; there are: pay-deposits, refunds" in operator.told("start", "refund")


# --- waiting ---


def test_a_start_that_nobody_handles_is_told_and_then_given_up_with_where_to_look(operator: Operator) -> None:
    operator.working = False
    before = operator.world.clock.now()
    ended = operator.rollcall("start", NAME, "--wait")
    assert ended.code == 1
    assert "fan-out has not begun it yet; the log group /aws/lambda/rollcall-test-pay-deposits-fan-out" in ended.out
    assert "was never begun, and Lambda has given it up" in ended.err
    assert "the queue rollcall-test-pay-deposits-undelivered say why" in ended.err
    waited = operator.world.clock.now() - before
    assert LAMBDA_GIVES_UP_AFTER <= waited < LAMBDA_GIVES_UP_AFTER + timedelta(minutes=1)


def test_an_end_is_told_once_it_is_announced(operator: Operator) -> None:
    def announced_later(_: Sent) -> None:
        operator.announcing = operator.world.clock.now() >= DUE + timedelta(seconds=20)

    operator.announcing = False
    operator.world.wire.before = announced_later
    ended = operator.rollcall("start", NAME, "--wait", "--json")
    assert (ended.code, ended.result["announced"]) == (0, True)
    assert timedelta(seconds=20) <= operator.world.clock.now() - DUE < timedelta(seconds=30)


def test_an_end_that_nobody_announces_is_waited_for_a_little_and_told(operator: Operator) -> None:
    operator.announcing = False
    ended = operator.rollcall("start", NAME, "--wait", "--json")
    assert (ended.code, ended.result["announced"]) == (0, False)
    assert "its end is not announced yet" in ended.err


@pytest.mark.parametrize(("failing", "code"), [(20, 0), (1_000, 1)], ids=["for a moment", "for good"])
@pytest.mark.parametrize("trouble", ["throttled", "unreachable"])
def test_what_passes_ends_no_wait_before_it_has_lasted_for_minutes(
    operator: Operator, trouble: str, failing: int, code: int
) -> None:
    run = operator.started()
    reads = 0

    def troubled(sent: Sent) -> None:
        nonlocal reads
        reads += sent.operation == "BatchGetItem"
        if 1 < reads <= failing:
            throttled = a_client_error("ThrottlingException")
            raise throttled if trouble == "throttled" else EndpointConnectionError(endpoint_url="https://aws")

    operator.world.wire.before = troubled
    ended = operator.rollcall("status", run, "--wait")
    assert ended.code == code
    told = {"throttled": "AWS throttles BatchGetItem", "unreachable": "AWS cannot be reached"}[trouble]
    assert (told in ended.err) == (code == 1)
    assert min(failing, PATIENCE / LOOK_EVERY) <= reads < 2 * PATIENCE / LOOK_EVERY


def test_a_lost_permission_ends_a_wait_at_once(operator: Operator) -> None:
    run = operator.started()
    reads = 0

    def denied(sent: Sent) -> None:
        nonlocal reads
        reads += sent.operation == "BatchGetItem"
        if reads > 1:
            raise a_client_error("AccessDeniedException")

    operator.world.wire.before = denied
    assert operator.rollcall("status", run, "--wait").code == 1
    assert reads == 2


def test_a_wait_ends_where_somebody_opens_another_generation(operator: Operator) -> None:
    run = operator.rollcall("start", NAME).out.strip()
    operator.world.target.script("D03", 422)
    operator.work()

    def redriven(sent: Sent) -> None:
        if sent.operation == "BatchGetItem" and sent.fields["RequestItems"][LEDGER]["Keys"] == [{"pk": {"S": key}}]:
            operator.world.wire.before = operator.world.wire.after = None
            operator.world.redrive(run)

    key = f"run#{run}"

    def second(sent: Sent) -> None:
        if sent.operation == "BatchGetItem":
            operator.world.wire.before = redriven

    operator.world.wire.before = second
    told = operator.told("status", run, "--wait")
    assert f"{run} was redriven: its generation is 2 now; see it with: rollcall status {run} --env test" in told


def test_ctrl_c_ends_the_watching_and_nothing_else(operator: Operator) -> None:
    def pressed(_: Sent) -> None:
        raise KeyboardInterrupt

    operator.world.wire.before = pressed
    ended = operator.rollcall("status", f"{NAME}-20261121T023000Z", "--wait")
    assert ended.code == 130
    assert ended.err == (
        "rollcall: interrupted; what runs in environment test goes on; see it with: rollcall status --env test\n"
    )


# --- status ---


def test_every_job_is_listed_with_its_open_waiting_and_latest_runs(operator: Operator) -> None:
    operator.world.declare(a_job(overlap=Overlap.QUEUE))
    operator.rollcall("pause", NAME)
    current, queued = operator.rollcall("start", NAME).out.strip(), operator.rollcall("start", NAME).out.strip()
    operator.work()
    ended = operator.rollcall("status", "--json")
    first, second = ended.result["jobs"]
    assert (ended.code, first["job"], second["job"]) == (0, NAME, "refunds")
    assert first["paused_since"] == "2026-11-21T02:30:00+00:00"
    assert {each["run_id"]: each["state"] for each in first["runs"]} == {current: "running", queued: "queued"}
    assert "paused since 2026-11-21 02:30:00Z" in ended.err
    assert operator.rollcall("status", NAME, "--json").result["jobs"] == [first]


def test_a_job_without_runs_is_listed_without(operator: Operator) -> None:
    ended = operator.rollcall("status", "refunds")
    assert ended.code == 0
    assert "no run yet" in ended.out


def test_a_run_under_way_is_told_with_what_is_held_and_why(operator: Operator) -> None:
    operator.rollcall("pause", NAME)
    run = operator.started()
    operator.world.work(operator.world.receive())
    ended = operator.rollcall("status", run, "--json")
    assert ended.code == 0
    assert (ended.result["state"], ended.result["settled"], ended.result["total"]) == ("running", 0, 12)
    assert ended.result["held"] == [{"entries": 10, "reason": f"the job {NAME} is paused", "until": None}]
    assert f"{run}: running, 0 of 12 settled" in ended.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("status", f"{NAME}-20260101T000000Z"), f"there is no run {NAME}-20260101T000000Z in environment test"),
        (("status", "nonsense"), "there is no job 'nonsense'; there are: pay-deposits, refunds"),
        (("status", "--wait"), "--wait waits for one run: name it"),
        (("status", NAME, "--wait"), "--wait waits for one run: name it"),
        (("cancel", f"{NAME}-20260101T000000Z"), "there is no run"),
        (("failures", f"{NAME}-20260101T000000Z"), "there is no run"),
        (("verify", f"{NAME}-20260101T000000Z"), "there is no run"),
        (("redrive", f"{NAME}-20260101T000000Z"), "there is no run"),
        (("redrive", "nonsense"), "'nonsense' is not a run id such as"),
        (("pause", "nonsense"), "there is no job 'nonsense'"),
        (("redrive", f"{NAME}-20260101T000000Z", "--rate", "5/s"), "--rate is for local clouds"),
        (("redrive", f"{NAME}-20260101T000000Z", "--error-rate", "0"), "leave out --error-rate, or --env"),
        (("verify", f"{NAME}-20260101T000000Z", "--report", "x.json"), "--report is for local clouds"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(operator: Operator, arguments: tuple[str, ...], told: str) -> None:
    assert told in operator.told(*arguments)
    assert operator.invoked == []


def test_a_name_that_no_environment_can_have_is_told_before_anything_is_asked(operator: Operator) -> None:
    operator.monkeypatch.setattr("tests.functional.operator.ENVIRONMENT", "Prod/1")
    assert "the environment name 'Prod/1' is not usable" in operator.told("status")
    assert operator.requests == []


# --- failures and redrive ---


def test_failures_are_listed_and_settled_again(operator: Operator) -> None:
    operator.world.target.script("D03", 422)
    operator.world.target.script("D05", 404)
    run = operator.started()
    found = operator.rollcall("failures", run, "--json").result["failures"]
    assert {each["key"]: each["error"] for each in found} == {"D03": "http_422", "D05": "http_404"}
    ended = operator.rollcall("redrive", run, "--error", "http_422", "--wait", "--json")
    assert ended.code == 0, ended.err
    assert (ended.result["generation"], ended.result["total"], ended.result["succeeded"]) == (2, 1, 1)
    ended = operator.rollcall("redrive", run, "--json")
    assert ended.result == {"environment": "test", "run_id": run, "job": NAME, "generation": 3}
    operator.work()
    assert operator.rollcall("failures", run, "--json").result["failures"] == []
    assert operator.world.target.times()["D03"] == 2


def test_a_redrive_that_cannot_begin_is_told_before_fan_out_is_asked(operator: Operator) -> None:
    run = operator.started()
    told = operator.told("redrive", run)
    assert f"no entry of {run} is chosen; see what there is with: rollcall failures {run} --env test" in told
    operator.rollcall("pause", NAME)
    open_ = operator.started()
    asked = len(operator.invoked)
    assert f"{open_} cannot be redriven: it is running; wait until it has ended" in operator.told("redrive", open_)
    operator.world.tamper(run, state="complete")
    assert f"{run} cannot be redriven: {open_} is under way" in operator.told("redrive", run)
    assert len(operator.invoked) == asked


def test_a_manifest_that_has_expired_is_told(operator: Operator) -> None:
    operator.world.target.script("D03", 422)
    run = operator.started()
    for key in operator.world.manifest_keys():
        operator.world.clients.s3.delete_object(Bucket=MANIFESTS, Key=key)
    assert "the bucket keeps manifests for the environment's manifest_retention_days" in operator.told("failures", run)


# --- cancel, pause, resume ---


def test_a_run_is_cancelled_and_so_is_what_is_on_the_queue(operator: Operator) -> None:
    operator.rollcall("pause", NAME)
    run = operator.started()
    ended = operator.rollcall("cancel", run, "--json")
    assert (ended.code, ended.result["state"]) == (0, "cancelling")
    assert f"see it with: rollcall status {run} --env test" in ended.err
    operator.rollcall("resume", NAME)
    operator.work()
    assert operator.world.run(run).state is RunState.CANCELLED
    assert operator.world.outcomes(run) == {Outcome.CANCELLED: 12}
    assert operator.world.target.calls == []
    assert operator.rollcall("cancel", run).code == 0


def test_a_run_that_has_ended_stays_as_it_is_and_the_exit_code_says_so(operator: Operator) -> None:
    run = operator.started()
    ended = operator.rollcall("cancel", run)
    assert (ended.code, ended.out) == (3, f"{run}: it had ended, complete, and stays so\n")


def test_a_job_is_held_until_it_is_resumed(operator: Operator) -> None:
    ended = operator.rollcall("pause", NAME, "--json")
    assert (ended.code, ended.result["paused_since"]) == (0, "2026-11-21T02:30:00+00:00")
    assert operator.world.job_record().paused_since is not None
    operator.world.later(timedelta(minutes=1))
    assert operator.rollcall("pause", NAME, "--json").result == ended.result, "since the first time"
    assert operator.rollcall("resume", NAME, "--json").result["paused_since"] is None
    assert operator.world.job_record().paused_since is None


# --- verify ---


def test_a_run_is_verified_and_what_is_missing_is_named(operator: Operator) -> None:
    run = operator.started()
    assert operator.rollcall("verify", run).code == 0
    operator.rollcall("pause", NAME)
    held = operator.started()
    ended = operator.rollcall("verify", held, "--json")
    assert (ended.code, ended.result["total"], len(ended.result["missing"])) == (3, 12, 12)


def test_lost_messages_are_sent_again_by_the_repair_and_the_run_ends(operator: Operator) -> None:
    operator.rollcall("pause", NAME)
    run = operator.started()
    operator.world.clients.sqs.purge_queue(QueueUrl=operator.world.queue_url)
    operator.rollcall("resume", NAME)
    ended = operator.rollcall("verify", run, "--repair")
    assert ended.code == 0, ended
    assert "what is unsettled was sent a short time ago, and may be sent again at 02:36:00Z" in ended.out
    assert "what is unsettled is sent again" in ended.out
    assert operator.invoked[-1] == (FAN_OUT, {"job": NAME, "repair": run})
    assert operator.world.run(run).state is RunState.COMPLETE


def test_the_lease_of_a_deployed_fan_out_is_left_to_it_and_another_takes_the_run_when_it_ends(
    operator: Operator,
) -> None:
    operator.world.wire.kill_before(4)
    with pytest.raises(Killed):
        operator.world.start(nonce="died")
    operator.world.wire.heal()
    run = f"{RUN}-died"
    assert operator.world.run(run).state is RunState.ENUMERATING
    ended = operator.rollcall("verify", run, "--repair")
    assert ended.code == 0, ended
    assert "it is enumerating: a fan-out has it until 02:45:00Z; if that one died, another takes it then" in ended.out
    assert operator.world.run(run).completed_at == DUE + LEASE + LOOK_EVERY
    assert operator.invoked == [(FAN_OUT, {"job": NAME, "resume": run})] * 2


def test_a_full_node_is_counted_again_and_the_watchdog_is_asked_to_announce_what_was_not(operator: Operator) -> None:
    operator.announcing = False
    record = operator.world.start()
    assert record is not None
    operator.work()
    root = record.tree.root()
    assert root is not None
    Update().discard("settled", [0]).send(operator.world.clients.dynamodb, LEDGER, node_key(RUN, 1, root))
    ended = operator.rollcall("verify", RUN, "--repair")
    assert ended.code == 0, ended
    assert "1 full node counted again" in ended.out
    assert operator.invoked[-1] == (WATCHDOG, {})


def a_client_error(code: str, message: str = "", operation: str = "BatchGetItem") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}}
    return ClientError(answer, operation)
