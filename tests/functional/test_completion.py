"""Completion: every end of a run is announced, and acted on once unless the announcer dies in the middle."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.completion import handler as completion
from rollcall import Outcome, Overlap, RunCompleted
from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.items import attribute
from rollcall.adapters.ledger.runs import ANNOUNCEMENT_LEASE, Claimed
from rollcall.core.actions import Action
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunState, run_id
from tests.functional.wire import Killed, Sent
from tests.functional.world import DAY, DUE, NAME, RUN, World, a_job, entries

TOMORROW = run_id(NAME, DUE + DAY)


def completed(world: World, number: int = 3) -> None:
    world.begin(number)
    world.drain()


# --- the stream's records ---


def change(old: dict[str, object] | None, new: dict[str, object] | None, number: int = 1) -> dict[str, Any]:
    """A record of the ledger's stream, as DynamoDB writes it (NEW_AND_OLD_IMAGES)."""
    images = {"OldImage": old, "NewImage": new}
    return {
        "eventID": f"e{number}",
        "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_795_228_200,
            "Keys": {"pk": {"S": f"run#{RUN}"}},
            "SequenceNumber": f"10000000000000000{number}",
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        }
        | {name: {key: attribute(value) for key, value in image.items()} for name, image in images.items() if image},
    }


def a_run(state: str, **more: object) -> dict[str, object]:
    return {"pk": f"run#{RUN}", "run": RUN, "job": NAME, "state": state, "generation": 1, **more}


@pytest.mark.parametrize(
    ("old", "new", "ended"),
    [
        (a_run("running"), a_run("complete"), True),
        (a_run("dispatching"), a_run("complete"), True),
        (a_run("enumerating"), a_run("refused"), True),
        (a_run("cancelling"), a_run("cancelled"), True),
        (None, a_run("skipped"), True),
        (None, a_run("missed"), True),
        (a_run("complete"), a_run("complete", announced_at="now"), False),
        (a_run("dispatching"), a_run("running"), False),
        (a_run("complete"), a_run("dispatching", generation=2), False),
        (None, a_run("enumerating"), False),
        (a_run("complete"), None, False),
        (None, {"pk": "node#1", "settled": {1, 2}}, False),
        ({"pk": "node#1", "settled": {1}}, {"pk": "node#1", "settled": {1, 2}}, False),
        (None, {"pk": "entry#1", "run": RUN, "key": "D00", "index": 0}, False),
        (None, {"pk": f"job#{NAME}", "job": NAME, "current": RUN}, False),
    ],
)
def test_only_a_run_that_became_terminal_is_announced(
    old: dict[str, object] | None, new: dict[str, object] | None, ended: bool
) -> None:
    assert completion.ended_run(change(old, new)) == (RUN if ended else None)


@pytest.fixture
def handler(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The entry point, over the world's announcers: another one for every event."""

    class Runtime:
        @property
        def announcer(self) -> Any:
            return world.announcer()

    monkeypatch.setattr(completion, "runtime", Runtime())
    return world


def handle(*records: dict[str, Any]) -> dict[str, Any]:
    return completion.handler({"Records": list(records)}, SimpleNamespace(aws_request_id="1"))


def test_the_handler_announces_what_ended_and_nothing_else(handler: World) -> None:
    completed(handler)
    answer = handle(change(None, a_run("enumerating"), 1), change(a_run("running"), a_run("complete"), 2))
    assert answer == {"batchItemFailures": []}
    assert [event["id"] for event in handler.announcements()] == [f"{RUN}/1"]


def test_a_batch_that_fails_is_delivered_again_from_the_record_that_failed(handler: World) -> None:
    def before(sent: Sent) -> dict[str, Any] | None:
        return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "x"}]} if sent.operation == "PutEvents" else None

    completed(handler)
    handler.wire.before = before
    first, second = change(None, a_run("enumerating"), 1), change(a_run("running"), a_run("complete"), 2)
    assert handle(first, second) == {"batchItemFailures": [{"itemIdentifier": second["dynamodb"]["SequenceNumber"]}]}


def refusing_once(world: World, how: str) -> None:
    """The bus does not take the first event."""
    refused = False

    def before(sent: Sent) -> dict[str, Any] | None:
        nonlocal refused
        if sent.operation != "PutEvents" or refused:
            return None
        refused = True
        if how == "an entry refused":
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "PutEvents")

    world.wire.before = before


@pytest.mark.parametrize("how", ["an entry refused", "a request refused"])
def test_what_the_bus_refuses_once_is_announced_by_the_streams_retry_at_once(handler: World, how: str) -> None:
    hooks: list[str] = []
    completed(handler)
    handler.hook = lambda event: hooks.append(event.id)
    record = change(a_run("running"), a_run("complete"))
    refusing_once(handler, how)
    assert handle(record)["batchItemFailures"] != []
    assert handler.events.count(Action.RUN_NOT_ANNOUNCED) == 1
    assert hooks == []
    for _ in range(2):
        assert handle(record) == {"batchItemFailures": []}
    assert hooks == [f"{RUN}/1"]
    assert handler.wire.counts()["PutEvents"] == 2
    assert handler.events.count(Action.RUN_ANNOUNCED) == 1


def test_a_record_whose_end_another_announces_is_delivered_again_until_that_is_done(handler: World) -> None:
    completed(handler)
    runs.claim_announcement(handler.ledger, handler.run(), "another", handler.clock.now())
    record = change(a_run("running"), a_run("complete"))
    assert handle(record) == {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
    assert handler.announcements() == []
    runs.note_announced(handler.ledger, handler.run(), "another", handler.clock.now())
    assert handle(record) == {"batchItemFailures": []}
    assert handler.announcements() == []


# --- the announcement ---


def test_the_event_tells_what_came_of_the_run(world: World) -> None:
    world.target.script("D01", 400)
    world.report = [*entries(4), *entries(1)]
    world.start()
    world.later(timedelta(minutes=2))
    world.drain()
    announced = world.announcer().announce(RUN)
    assert announced is not None
    assert not announced.clean
    assert world.announcements() == [
        {
            "id": f"{RUN}/1",
            "run": RUN,
            "job": NAME,
            "generation": 1,
            "state": "complete",
            "clean": False,
            "total": 4,
            "outcomes": {"succeeded": 3, "rejected": 1, "failed": 0, "unknown": 0, "cancelled": 0},
            "duplicates": 1,
            "reason": None,
            "scheduled_for": "2026-11-21T02:30:00.000000+00:00",
            "started_at": "2026-11-21T02:30:00.000000+00:00",
            "completed_at": "2026-11-21T02:32:00.000000+00:00",
            "duration_seconds": 120.0,
        }
    ]
    (sent,) = world.wire.of("PutEvents")
    (entry,) = sent.fields["Entries"]
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == ("rollcall", "RunCompleted", "rollcall")


def test_a_run_whose_entries_all_succeeded_is_clean(world: World) -> None:
    completed(world)
    world.announcer().announce(RUN)
    assert world.announcements()[0]["clean"] is True


def test_an_empty_run_is_announced_as_complete_and_clean(world: World) -> None:
    world.report = []
    world.start()
    world.announcer().announce(RUN)
    (event,) = world.announcements()
    assert (event["state"], event["clean"], event["total"]) == ("complete", True, 0)


def test_a_refused_run_is_announced_with_its_reason_and_is_not_clean(world: World) -> None:
    world.report = [ValueError("boom")]
    world.start()
    world.announcer().announce(RUN)
    (event,) = world.announcements()
    assert (event["state"], event["clean"]) == ("refused", False)
    assert event["reason"].startswith("the source failed after 0 entries: ValueError in source (world.py, line ")


def test_a_skipped_run_is_announced(world: World) -> None:
    world.begin(3)
    world.start(DUE + DAY)
    world.announcer().announce(TOMORROW)
    assert [event["state"] for event in world.announcements()] == ["skipped"]


def test_a_run_under_way_or_unknown_is_not_announced(world: World) -> None:
    world.begin(3)
    assert world.announcer().announce(RUN) is None
    assert world.announcer().announce(TOMORROW) is None
    assert world.announcements() == []


def test_an_end_is_announced_once_however_often_the_stream_tells_of_it(world: World) -> None:
    completed(world)
    assert [world.announcer().announce(RUN) is not None for _ in range(3)] == [True, False, False]
    assert len(world.announcements()) == 1


def test_of_two_announcers_at_once_one_acts(world: World) -> None:
    """The other one comes when the first has claimed and not yet acted."""
    hooks: list[str] = []
    raced = False
    completed(world)
    world.hook = lambda event: hooks.append(event.id)

    def the_other_comes(sent: Sent) -> None:
        nonlocal raced
        if sent.operation == "PutEvents" and not raced:
            raced = True
            with pytest.raises(Claimed):
                world.announcer().announce(RUN)

    world.wire.before = the_other_comes
    world.announcer().announce(RUN)
    assert raced
    assert hooks == [f"{RUN}/1"]
    assert len(world.announcements()) == 1


@pytest.mark.parametrize("dies_at", ["PutEvents", "the hook", "the note"])
def test_an_announcer_that_died_is_followed_by_another_after_its_lease(world: World, dies_at: str) -> None:
    hooks: list[str] = []
    completed(world)
    world.wire.sent.clear()

    def before(sent: Sent) -> None:
        notes = sent.operation == "UpdateItem"
        if world.wire.of("PutEvents") and (dies_at == "PutEvents" or (dies_at == "the note" and notes)):
            raise Killed(str(sent))

    def hook(event: RunCompleted) -> None:
        if dies_at == "the hook" and not hooks:
            hooks.append("died")
            raise Killed
        hooks.append(event.id)

    world.hook = hook
    world.wire.before = before
    with pytest.raises(Killed):
        world.announcer().announce(RUN)
    world.wire.heal()
    world.later(ANNOUNCEMENT_LEASE - timedelta(seconds=1))
    with pytest.raises(Claimed):
        world.announcer().announce(RUN)
    world.later(timedelta(seconds=1))
    assert world.announcer().announce(RUN) is not None
    assert hooks[-1] == f"{RUN}/1"
    assert world.run().announced
    assert len({event["id"] for event in world.announcements()}) == 1


def test_a_bus_that_does_not_take_the_event_leaves_the_run_unannounced(world: World) -> None:
    completed(world)
    world.wire.before = lambda sent: (
        {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
        if sent.operation == "PutEvents"
        else None
    )
    with pytest.raises(RollcallError, match="did not take"):
        world.announcer().announce(RUN)
    assert not world.run().announced


# --- the hook ---


def test_the_hook_is_called_with_what_came_of_the_run_after_the_event_is_out(world: World) -> None:
    seen: list[tuple[RunCompleted, int]] = []
    completed(world)
    world.hook = lambda event: seen.append((event, len(world.announcements())))
    world.announcer().announce(RUN)
    ((event, announced),) = seen
    assert event.outcomes[Outcome.SUCCEEDED] == event.total == 3
    assert announced == 1


def test_a_hook_that_fails_is_logged_and_does_not_keep_the_run_from_its_end(world: World) -> None:
    def hook(event: RunCompleted) -> None:
        raise ValueError(f"cannot mail about {event.id}")

    completed(world)
    world.hook = hook
    assert world.announcer().announce(RUN) is not None
    assert world.run().announced
    (event,) = world.events.of(Action.HOOK_FAILED)
    assert event["reason"].startswith("ValueError in hook (test_completion.py, line ")
    assert world.events.count(Action.RUN_ANNOUNCED) == 1


# --- what follows ---


def test_an_announced_run_is_no_longer_among_the_jobs_open_ones(world: World) -> None:
    completed(world)
    assert world.job_record().open == {RUN}
    world.announcer().announce(RUN)
    assert world.job_record().open == frozenset()


def test_the_queued_run_is_resumed_when_the_current_one_is_announced(world: World) -> None:
    world.declare(a_job(overlap=Overlap.QUEUE))
    world.begin(3)
    world.start(DUE + DAY)
    world.drain()
    world.announcer().announce(RUN)
    assert world.functions.resumed == [(NAME, TOMORROW)]
    world.resume(TOMORROW)
    assert world.run(TOMORROW).state is RunState.RUNNING


def test_nobody_is_resumed_where_nobody_waits(world: World) -> None:
    completed(world)
    world.announcer().announce(RUN)
    assert world.functions.resumed == []
