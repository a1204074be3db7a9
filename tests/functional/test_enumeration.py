"""Enumeration: the manifest is whole, or nobody is called."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from rollcall import AtLeast, AtMost, Call, Entry, Outcome, ShareOfLast
from rollcall.core.actions import Action
from rollcall.core.run import RunRecord, RunState
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, LEASE, RUN, World, a_job, entries, keys


def started(world: World, report: Sequence[Entry | Exception], **options: Any) -> RunRecord:
    world.report = report
    run = world.start(**options)
    assert run is not None
    return run


def refusal(world: World, report: Sequence[Entry | Exception], **options: Any) -> str:
    """The reason why a run over this report is refused; nobody may have been called."""
    run = started(world, report, **options)
    assert run.state is RunState.REFUSED
    assert world.sent() == []
    assert world.events.count(Action.RUN_REFUSED) == 1
    assert run.reason is not None
    return run.reason


# --- manifest and seal ---


def test_the_manifest_lies_in_chunks_under_the_nonce_that_the_seal_wrote(world: World) -> None:
    run = started(world, entries(12))
    folder = f"{RUN}/1/{run.sealed_nonce}"
    assert world.manifest_keys() == [f"{folder}/{chunk:06}.jsonl" for chunk in range(3)]
    assert [line.key for chunk in range(3) for line in world.manifests.read(run, chunk)] == keys(12)
    assert run.total == 12


def test_nothing_is_sent_before_the_seal(world: World) -> None:
    started(world, entries(12))
    operations = [
        f"{sent.operation} {'seal' if 'nonce' in sent.fields.get('ExpressionAttributeNames', {}).values() else ''}"
        for sent in world.wire.sent
    ]
    assert operations.index("UpdateItem seal") < operations.index("SendMessageBatch ")


def test_the_chunks_of_an_enumeration_that_died_are_never_mixed_with_those_of_the_next(world: World) -> None:
    """The first one died before its seal; the report has changed when the second one reads it."""

    def die_at_the_seal(sent: Sent) -> None:
        if sent.operation == "UpdateItem" or world.wire.of("UpdateItem"):
            raise Killed(str(sent))

    world.wire.before = die_at_the_seal
    with pytest.raises(Killed):
        started(world, [Entry(f"old-{number}", {}) for number in range(12)])
    world.wire.heal()
    world.later(LEASE)
    run = started(world, entries(7))
    assert len({name.split("/")[2] for name in world.manifest_keys()}) == 2
    world.drain()
    assert sorted(world.target.keys) == keys(7)
    assert run.total == 7


def test_a_zombie_cannot_seal_a_run_that_was_taken_over(world: World) -> None:
    """It awakes at its seal, long after its lease; in between another one has sealed its own manifest."""
    raced = False

    def taken_over(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "UpdateItem" and not raced:
            raced = True
            world.later(LEASE)
            world.report = entries(4)
            world.start()

    world.wire.before = taken_over
    run = started(world, entries(12))
    assert run.fence == 2
    assert run.total == 4
    assert len(world.sent()) == 4


def test_an_empty_report_completes_with_nothing(world: World) -> None:
    run = started(world, [])
    assert run.state is RunState.COMPLETE
    assert run.total == 0
    assert run.completed_at is not None
    assert world.sent() == []
    assert world.events.count(Action.RUN_COMPLETE) == 1


# --- entries that cannot be what they are ---


def test_the_same_entry_again_is_a_duplicate_reported_and_not_counted(world: World) -> None:
    run = started(world, [*entries(6), *entries(3)])
    assert (run.total, run.duplicates) == (6, 3)
    assert [event["number"] for event in world.events.of(Action.ENTRY_DUPLICATE)] == [7, 8, 9]
    assert [message.key for message, _ in world.sent()] == keys(6)


def test_the_same_key_with_another_payload_contradicts_the_report_and_nobody_is_called(world: World) -> None:
    reason = refusal(world, [*entries(12), Entry("D03", {"deposit": "another"})])
    assert "it contradicts itself: entry 13 has the key of an earlier one and another payload" in reason


def test_the_same_key_with_another_idempotency_key_contradicts_the_report_too(world: World) -> None:
    reason = refusal(world, [Entry("D00", {}, "transfer-1"), Entry("D00", {}, "transfer-2")])
    assert "contradicts itself" in reason


def test_a_job_may_say_that_the_first_of_two_wins(world: World) -> None:
    world.declare(a_job(first_wins=True))
    run = started(world, [*entries(6), Entry("D03", {"deposit": "another"})])
    assert (run.total, run.duplicates) == (6, 1)
    assert world.line(3).payload == {"deposit": "D03"}


class Deposit(BaseModel):
    amount: int


async def pay(deposit: Deposit, call: Call) -> None:
    await call.http.put(f"/deposits/{call.key}", json=deposit.model_dump())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Entry(None, {"amount": 1}), "it has no key"),
        (Entry(17, {"amount": 1}), "its key is of type int, not text: 17"),
        (Entry("", {"amount": 1}), "its key is empty"),
        (Entry("x" * 2_000, {"amount": 1}), "its key has 2,000 characters"),
        (Entry("D-bad", {"amount": "a lot"}), "amount: Input should be a valid integer"),
        (Entry("D-bad", {"amount": 1}, ""), "its idempotency key is not text"),
    ],
)
def test_an_invalid_entry_is_rejected_with_its_reason_and_hurts_no_other(world: World, bad: Entry, reason: str) -> None:
    world.declare(a_job(), pay)
    good = [Entry(key, {"amount": 1}) for key in keys(8)]
    run = started(world, [*good[:3], bad, *good[3:]])
    world.drain()
    assert world.run().state is RunState.COMPLETE
    assert run.total == 9
    assert world.outcomes() == {Outcome.SUCCEEDED: 8, Outcome.REJECTED: 1}
    assert world.outcome(3) is Outcome.REJECTED
    key = bad.key if isinstance(bad.key, str) and reason.startswith(("amount", "its idempotency")) else None
    detail = world.entry(key, 3)["g1_rejected"]
    assert detail["reason"].startswith(reason)
    assert '"amount"' in detail["payload"]
    assert sorted(world.target.keys) == keys(8)


def test_entries_without_a_key_are_rejected_one_by_one(world: World) -> None:
    started(world, [Entry(None, {"row": number}) for number in range(7)])
    assert world.run().state is RunState.COMPLETE
    assert world.outcomes() == {Outcome.REJECTED: 7}
    assert [world.entry(None, index)["index"] for index in range(7)] == list(range(7))


def test_a_megabyte_in_one_field_is_rejected_as_too_large(world: World) -> None:
    started(world, [Entry("D00", {"note": "x" * 1_000_000}), *entries(3)[1:]])
    assert world.outcome(0) is Outcome.REJECTED
    assert world.entry("D00")["g1_rejected"]["reason"].startswith("too large: its payload has 1,000,011 bytes")


def test_a_name_beyond_ascii_arrives_as_it_is(world: World) -> None:
    seen: list[tuple[str, Any]] = []

    def note(deposit: dict[str, Any], call: Call) -> None:
        seen.append((call.key, deposit))
        call.idempotency_key.encode("ascii")

    world.declare(a_job(), note)
    started(world, [Entry("Zoë 💶", {"client": "Ægir"})])
    world.drain()
    assert seen == [("Zoë 💶", {"client": "Ægir"})]


# --- reports that cannot be trusted as a whole ---


def test_a_source_that_raises_in_the_middle_refuses_the_run(world: World) -> None:
    reason = refusal(world, [*entries(12), RuntimeError("the connection broke")])
    assert reason.startswith("the source failed after 12 entries: RuntimeError in source (world.py, line ")


def test_a_source_that_yields_something_else_refuses_the_run(world: World) -> None:
    reason = refusal(world, [*entries(2), {"Deposit_ID": "D02"}])  # type: ignore[list-item]
    assert "entry 3 is of type dict, not an Entry" in reason


def test_fewer_entries_than_expected_refuse_the_run(world: World) -> None:
    world.declare(a_job(expect=AtLeast(10)))
    assert refusal(world, entries(9)) == "the report has 9 entries; the job expects at least 10"


def test_as_many_entries_as_expected_will_do(world: World) -> None:
    world.declare(a_job(expect=AtLeast(10)))
    assert started(world, entries(10)).state is RunState.RUNNING


def test_an_empty_report_is_refused_where_entries_are_expected(world: World) -> None:
    world.declare(a_job(expect=AtLeast(1)))
    assert "0 entries" in refusal(world, [])


def test_a_report_much_shorter_than_the_last_one_is_refused(world: World) -> None:
    world.declare(a_job(expect=ShareOfLast(0.5)))
    started(world, entries(12))
    world.drain()
    world.wire.reset()
    reason = refusal(world, entries(5), scheduled_for=DUE + DAY)
    assert reason == "the report has 5 entries; the job expects at least 50% of the last run's 12"


def test_a_refused_report_does_not_lower_what_the_next_one_is_measured_by(world: World) -> None:
    world.declare(a_job(expect=ShareOfLast(0.5)))
    started(world, entries(12))
    world.drain()
    started(world, entries(5), scheduled_for=DUE + DAY)
    assert started(world, entries(5), scheduled_for=DUE + 2 * DAY).state is RunState.REFUSED


def test_the_first_report_has_nothing_to_be_measured_by(world: World) -> None:
    world.declare(a_job(expect=ShareOfLast(0.5)))
    assert started(world, entries(1)).state is RunState.RUNNING


@pytest.mark.parametrize("duplicates", [False, True])
def test_a_source_without_end_is_asked_for_no_more_entries_than_the_job_expects(world: World, duplicates: bool) -> None:
    yielded = 0

    class Endless(list[Entry]):
        def __iter__(self) -> Any:
            nonlocal yielded
            while True:
                yielded += 1
                yield Entry("D00" if duplicates else f"D{yielded:02}", {})

    world.declare(a_job(expect=AtMost(20)))
    reason = refusal(world, Endless())
    assert reason == (
        "its source yields more than 20 entries, duplicates included; if that is right, declare the job with more, as "
        "in expect=AtMost(40)"
    )
    assert yielded == 21


def test_as_many_entries_as_expected_at_most_will_do(world: World) -> None:
    world.declare(a_job(expect=AtMost(10)))
    assert started(world, entries(10)).state is RunState.RUNNING


def test_a_source_too_slow_for_the_invocation_is_refused_before_it_is_cut_off(world: World) -> None:
    class SlowReport(list[Entry]):
        def __iter__(self) -> Any:
            for entry in entries(60):
                world.later(timedelta(minutes=1))
                yield entry

    assert "it is not enumerated in time" in refusal(world, SlowReport())
