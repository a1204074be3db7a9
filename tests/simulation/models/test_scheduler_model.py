"""The model of EventBridge Scheduler, by itself: no emulator is right about it."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from rollcall.core.schedule import Cron, Schedule, daily, every
from rollcall.engine.fan_out.run_lease import Start, request_of
from tests.simulation.models.scheduler import SCHEDULED_TIME, Delivery, Scheduler

INPUT = json.dumps({"job": "bills", "scheduled_time": SCHEDULED_TIME})
START = datetime(2026, 11, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def deliveries(schedule: Schedule, days: int, **more: Any) -> list[Delivery]:
    return Scheduler(schedule, INPUT, seed=7, **more).deliveries(START, START + days * DAY)


def scheduled(delivery: Delivery) -> datetime:
    """The occurrence, as the engine reads it."""
    request = request_of(delivery.event)
    assert isinstance(request, Start)
    return request.scheduled_for


def lateness(delivery: Delivery) -> timedelta:
    return delivery.at - scheduled(delivery)


def test_every_occurrence_arrives_within_its_minute() -> None:
    schedule = every(minutes=15)
    in_time = [each for each in deliveries(schedule, days=10) if lateness(each) < MINUTE]
    assert {scheduled(each) for each in in_time} == {*schedule.occurrences(START, START + 10 * DAY)}
    assert all(timedelta(0) <= lateness(each) for each in in_time)


def test_some_arrive_twice_and_some_again_much_later() -> None:
    found = deliveries(every(minutes=15), days=10)
    times = Counter(each.event["scheduled_time"] for each in found if lateness(each) < MINUTE)
    assert set(times.values()) == {1, 2}
    late = [lateness(each) for each in found if lateness(each) >= MINUTE]
    assert late
    assert max(late) <= timedelta(minutes=30)


def test_all_deliveries_of_an_occurrence_say_the_same() -> None:
    found = deliveries(daily("02:30"), days=3, twice=1.0, again=1.0)
    texts = Counter(json.dumps(each.event, sort_keys=True) for each in found)
    assert set(texts) == {
        json.dumps({"job": "bills", "scheduled_time": f"2026-11-{day}T02:30:00Z"}) for day in (22, 23, 24)
    }
    assert min(texts.values()) >= 3


def test_they_arrive_in_the_order_of_time() -> None:
    found = [each.at for each in deliveries(every(minutes=5), days=2)]
    assert found == sorted(found)


def test_a_seed_always_gives_the_same_and_a_firing_does_not_depend_on_others() -> None:
    schedule = every(hours=1)
    assert deliveries(schedule, days=4) == deliveries(schedule, days=4)
    first = deliveries(schedule, days=1)
    assert [each for each in deliveries(schedule, days=4) if each.event in [one.event for one in first]] == first
    assert Scheduler(schedule, INPUT, seed=8).deliveries(START, START + DAY) != first


def test_ticks_below_a_minute_are_one_firing() -> None:
    found = deliveries(every(seconds=15), days=1, twice=0.0, again=0.0)
    assert len(found) == 24 * 60


def test_each_expression_fires_by_itself() -> None:
    schedule = Schedule(("0 2 * * ? *", "0 2 ? * SUN *"))
    found = deliveries(schedule, days=1, twice=0.0, again=0.0)
    assert [each.event["scheduled_time"] for each in found] == ["2026-11-22T02:00:00Z"] * 2


def test_a_wall_clock_time_that_the_zone_skips_does_not_fire() -> None:
    scheduler = Scheduler(Cron("30 1 * * ? *", timezone="Europe/London"), INPUT, twice=0.0, again=0.0)
    skipped = datetime(2027, 3, 28, tzinfo=UTC)
    assert scheduler.deliveries(skipped, skipped + DAY) == []
