"""Schedules: what EventBridge is told, and when a job is due by our own reckoning."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from time import perf_counter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rollcall.core.cron import parse
from rollcall.core.schedule import (
    Cron,
    Schedule,
    ScheduleError,
    by_hand,
    daily,
    every,
    monthly,
    weekdays,
    weekly,
)

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    """`2026-10-25 01:30` as that instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(schedule: Schedule, start: str, end: str) -> list[str]:
    return [moment.strftime("%m-%d %H:%M") for moment in schedule.occurrences(at(start), at(end))]


def days(cron: str, start: str, end: str) -> list[str]:
    return [f"{moment:%Y-%m-%d}" for moment in Cron(cron).occurrences(at(start), at(end))]


# --- What EventBridge is told, and what a listing says ---


@pytest.mark.parametrize(
    ("schedule", "expressions", "words"),
    [
        (daily("02:30"), ["cron(30 2 * * ? *)"], "02:30 daily"),
        (daily("00:00", "12:00"), ["cron(0 0,12 * * ? *)"], "00:00, 12:00 daily"),
        (daily("00:30", "00:15"), ["cron(15,30 0 * * ? *)"], "00:15, 00:30 daily"),
        (daily("12:30", "00:15"), ["cron(15 0 * * ? *)", "cron(30 12 * * ? *)"], "00:15, 12:30 daily"),
        (daily("02:30", "02:30"), ["cron(30 2 * * ? *)"], "02:30 daily"),
        (
            weekdays("04:00", timezone="Europe/London"),
            ["cron(0 4 ? * MON-FRI *)"],
            "04:00 Mon\u2013Fri Europe/London",
        ),
        (weekly("MON", "08:15"), ["cron(15 8 ? * MON *)"], "08:15 Mon"),
        (monthly(1, "08:15"), ["cron(15 8 1 * ? *)"], "08:15 monthly on day 1"),
        (monthly("L", "08:15"), ["cron(15 8 L * ? *)"], "08:15 monthly on the last day"),
        (every(hours=6, at="04:00"), ["cron(0 4,10,16,22 * * ? *)"], "every 6 hours from 04:00"),
        (every(hours=6, at="23:10"), ["cron(10 5,11,17,23 * * ? *)"], "every 6 hours from 23:10"),
        (every(hours=1), ["cron(0 * * * ? *)"], "every hour from 00:00"),
        (every(hours=24, at="04:00"), ["cron(0 4 * * ? *)"], "every 24 hours from 04:00"),
        (every(minutes=15), ["cron(0,15,30,45 * * * ? *)"], "every 15 minutes"),
        (every(minutes=1), ["cron(* * * * ? *)"], "every minute"),
        (every(minutes=60), ["cron(0 * * * ? *)"], "every 60 minutes"),
        (every(seconds=15), ["cron(* * * * ? *)"], "every 15 seconds"),
        (every(seconds=60), ["cron(* * * * ? *)"], "every minute"),
        (Cron("15 10 ? * 6L 2026-2027"), ["cron(15 10 ? * 6L 2026-2027)"], "15 10 ? * 6L 2026-2027"),
    ],
)
def test_a_schedule_says_itself_to_eventbridge_and_to_people(
    schedule: Schedule, expressions: list[str], words: str
) -> None:
    assert list(schedule.expressions()) == expressions
    assert schedule.words() == words


def test_the_zone_goes_beside_the_expression_and_into_the_words() -> None:
    schedule = Cron("0 4 * * ? *", timezone="Asia/Tokyo")

    assert schedule.timezone == "Asia/Tokyo"
    assert schedule.expressions() == ("cron(0 4 * * ? *)",)
    assert schedule.words() == "0 4 * * ? * Asia/Tokyo"


def test_schedules_are_values_whatever_they_were_written_with() -> None:
    assert daily("02:30") == Cron("30 2 * * ? *") == Cron(" 30  2 * * ? * ")
    assert weekdays("04:00") == Cron("0 4 ? * mon-fri *")
    assert len({every(minutes=1), Cron("* * * * ? *"), every(seconds=15), daily("02:30")}) == 3
    assert daily("02:30") != daily("02:30", timezone="Europe/London")


# --- When a job is due ---


def test_the_window_holds_its_start_and_not_its_end() -> None:
    schedule = daily("02:30")

    assert due(schedule, "2026-03-01 02:30", "2026-03-03 02:30") == ["03-01 02:30", "03-02 02:30"]
    assert due(schedule, "2026-03-01 02:30", "2026-03-01 02:30") == []


def test_next_after_is_strictly_after() -> None:
    schedule = daily("02:30")

    assert schedule.next_after(at("2026-03-01 02:30")) == at("2026-03-02 02:30")
    assert schedule.next_after(at("2026-03-01 02:30") - timedelta(microseconds=1)) == at("2026-03-01 02:30")


def test_times_of_several_expressions_come_in_order_and_each_once() -> None:
    crons = ("30 12 * * ? *", "15 0 * * ? *", "30 0,12 * * ? *")

    assert due(Schedule(crons), "2026-03-01", "2026-03-02") == ["03-01 00:15", "03-01 00:30", "03-01 12:30"]


def test_moments_come_in_from_any_zone_and_go_out_in_utc() -> None:
    seven_in_tokyo = datetime(2026, 3, 1, 7, tzinfo=ZoneInfo("Asia/Tokyo"))

    found = daily("08:00", timezone="Asia/Tokyo").next_after(seven_in_tokyo)

    assert found == at("2026-02-28 23:00")
    assert found.tzinfo is UTC


def test_below_a_minute_every_firing_stands_for_its_ticks() -> None:
    schedule = every(seconds=15)
    ticks = [at("2026-03-01 04:00") + timedelta(seconds=seconds) for seconds in (0, 15, 30, 45)]

    assert list(schedule.ticks(ticks[0])) == ticks
    assert list(schedule.occurrences(ticks[0], ticks[0] + MINUTE)) == ticks
    assert list(schedule.occurrences(ticks[1], ticks[3])) == ticks[1:3]
    assert schedule.next_after(ticks[3]) == ticks[0] + MINUTE


def test_from_a_minute_on_a_firing_stands_for_itself() -> None:
    assert daily("04:00").ticks(at("2026-03-01 04:00")) == (at("2026-03-01 04:00"),)


# --- Clocks that change ---


@pytest.mark.parametrize(
    ("zone", "local_time", "window", "expected"),
    [
        # Europe/London: 29 March 2026 01:00 -> 02:00, 25 October 02:00 -> 01:00.
        ("Europe/London", "01:30", ("2026-03-28", "2026-03-31"), ["03-28 01:30", "03-30 00:30"]),
        ("Europe/London", "02:00", ("2026-03-28", "2026-03-30"), ["03-28 02:00", "03-29 01:00"]),
        ("Europe/London", "01:30", ("2026-10-25", "2026-10-27"), ["10-25 00:30", "10-26 01:30"]),
        ("Europe/London", "02:00", ("2026-10-25", "2026-10-26"), ["10-25 02:00"]),
        # America/New_York: 8 March 2026 02:00 -> 03:00, 1 November 02:00 -> 01:00.
        ("America/New_York", "02:30", ("2026-03-07", "2026-03-10"), ["03-07 07:30", "03-09 06:30"]),
        ("America/New_York", "01:30", ("2026-11-01", "2026-11-03"), ["11-01 05:30", "11-02 06:30"]),
        # America/Havana: at midnight, 8 March 2026 00:00 -> 01:00, 1 November 01:00 -> 00:00.
        ("America/Havana", "00:00", ("2026-03-07", "2026-03-10"), ["03-07 05:00", "03-09 04:00"]),
        ("America/Havana", "00:30", ("2026-11-01", "2026-11-03"), ["11-01 04:30", "11-02 05:30"]),
        # Asia/Beirut: 25 October 2026 00:00 -> 24 October 23:00, so the evening before comes twice.
        ("Asia/Beirut", "23:30", ("2026-10-24", "2026-10-26"), ["10-24 20:30", "10-25 21:30"]),
    ],
)
def test_a_skipped_time_is_skipped_and_a_repeated_one_counts_once(
    zone: str, local_time: str, window: tuple[str, str], expected: list[str]
) -> None:
    assert due(daily(local_time, timezone=zone), *window) == expected


def test_a_schedule_of_every_minute_pauses_in_the_repeated_hour() -> None:
    schedule = every(minutes=1, timezone="Europe/London")

    assert schedule.next_after(at("2026-10-25 00:59")) == at("2026-10-25 02:00")
    assert schedule.next_after(at("2026-10-25 01:20")) == at("2026-10-25 02:00")


def test_utc_needs_no_time_zone_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ZoneInfo:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr("rollcall.core.schedule.ZoneInfo", missing)

    assert daily("02:30").next_after(at("2026-03-01")) == at("2026-03-01 02:30")


# --- Calendars ---


def test_29_february_comes_in_leap_years_and_not_in_2100() -> None:
    assert days("0 0 29 2 ? *", "2026-01-01", "2033-01-01") == ["2028-02-29", "2032-02-29"]
    assert Cron("0 0 29 2 ? *").next_after(at("2096-02-29")) == at("2104-02-29")


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 0 L * ? *", ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]),
        ("0 0 31 * ? *", ["2028-01-31", "2028-03-31"]),
        ("0 0 15W * ? *", ["2028-01-14", "2028-02-15", "2028-03-15", "2028-04-14"]),
        ("0 0 1W * ? *", ["2028-01-03", "2028-02-01", "2028-03-01", "2028-04-03"]),
        ("0 0 30W * ? *", ["2028-01-31", "2028-03-30", "2028-04-28"]),
        ("0 0 ? * FRI#5 *", ["2028-03-31"]),
        ("0 0 ? * 6#5 *", ["2028-03-31"]),
        ("0 0 ? * 3#2 *", ["2028-01-11", "2028-02-08", "2028-03-14", "2028-04-11"]),
        ("0 0 ? * 6L *", ["2028-01-28", "2028-02-25", "2028-03-31", "2028-04-28"]),
        ("0 0 ? FEB L *", ["2028-02-05", "2028-02-12", "2028-02-19", "2028-02-26"]),
        ("0 0 ? 4 1-2 *", [f"2028-04-{day:02}" for day in (2, 3, 9, 10, 16, 17, 23, 24, 30)]),
        ("0 0 25/3 JAN ? *", ["2028-01-25", "2028-01-28", "2028-01-31"]),
        ("0 0 1 1/2 ? *", ["2028-01-01", "2028-03-01"]),
    ],
)
def test_days_of_the_first_four_months_of_2028(cron: str, expected: list[str]) -> None:
    assert days(cron, "2028-01-01", "2028-05-01") == expected


def test_the_weekday_nearest_to_a_sunday_31st_stays_in_its_month() -> None:
    assert days("0 0 31W * ? *", "2026-05-01", "2026-06-03") == ["2026-05-29"]


def test_the_years_of_a_schedule_end() -> None:
    schedule = Cron("0 0 1 1 ? 2027,2029-2030")

    assert schedule.next_after(at("2026-06-01")) == at("2027-01-01")
    assert schedule.next_after(at("2027-01-01")) == at("2029-01-01")
    assert schedule.next_after(at("2030-01-01")) is None
    assert list(schedule.occurrences(at("2031-01-01"), at("2199-01-01"))) == []


@pytest.mark.parametrize("cron", ["0 0 29 2 ? 2096", "0 0 ? 2 1#5 *", "59 23 31 12 ? 2199", "0 0 1 1 ? 1970"])
def test_a_rare_schedule_is_not_searched_minute_by_minute(cron: str) -> None:
    schedule = Cron(cron)

    began = perf_counter()
    schedule.next_after(at("2026-01-01"))

    assert perf_counter() - began < 0.1  # below 1 ms; 70 years have 37 million minutes


def test_the_first_day_is_entered_at_the_asked_minute() -> None:
    almost_midnight = datetime(2026, 3, 1, 23, 59)  # noqa: DTZ001 - a wall clock

    assert next(parse("* * * * ? *").walls(almost_midnight)) == almost_midnight


# --- What cannot be ---


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        (
            "61 2 * * ? *",
            'minutes "61": this field takes 0-59. Example: Cron("30 2 * * ? *") is 02:30 every day',
        ),
        (
            "0 24 * * ? *",
            'hours "24": this field takes 0-23. Example: Cron("0 4,16 * * ? *") is 04:00 and 16:00 every day',
        ),
        (
            "0 4 LW * ? *",
            'day-of-month "LW": this field takes 1-31, or alone: L (last day) or a day and W '
            "(its nearest weekday). "
            'Example: Cron("0 4 15W * ? *") is 04:00 on the weekday nearest to the 15th',
        ),
        (
            "0 4 1 13 ? *",
            'month "13": this field takes 1-12 or JAN-DEC. '
            'Example: Cron("0 4 1 JAN,JUL ? *") is 04:00 on 1 January and 1 July',
        ),
        (
            "0 4 ? * 0 *",
            'day-of-week "0": this field takes 1-7 or SUN-SAT (1 is Sunday), or alone: L, '
            "FRIL (last Friday) or FRI#2 (second Friday). "
            'Example: Cron("0 4 ? * MON-FRI *") is 04:00 from Monday to Friday',
        ),
        (
            "0 4 1 1 ? 2200",
            'year "2200": this field takes 1970-2199. '
            'Example: Cron("0 4 1 1 ? 2027-2030") is 04:00 on 1 January of four years',
        ),
        (
            "30 2 * * * *",
            'day-of-month "*" and day-of-week "*": exactly one of the two must be "?". '
            'Example: Cron("0 4 ? * MON-FRI *") is 04:00 from Monday to Friday',
        ),
        (
            "30 2 ? * ? *",
            'day-of-month "?" and day-of-week "?": exactly one of the two must be "?". '
            'Example: Cron("0 4 ? * MON-FRI *") is 04:00 from Monday to Friday',
        ),
        (
            "30 2 * * *",
            "5 fields instead of six: minutes hours day-of-month month day-of-week year. "
            'Example: Cron("30 2 * * ? *") is 02:30 every day',
        ),
        (
            "cron(30 2 * * ? *)",
            'write the six fields alone. Example: Cron("30 2 * * ? *") is 02:30 every day',
        ),
        (
            "rate(5 minutes)",
            "a rate counts from the moment it is deployed, so that a deploy starts a run; "
            "every() is anchored to the clock. Example: every(minutes=5)",
        ),
        (
            "0 4 ? * FRI-MON *",
            'day-of-week "FRI-MON": a range runs upwards; join the two parts of a wrapped '
            'one with a comma. Example: Cron("0 4 ? * MON-FRI *") is 04:00 from Monday to Friday',
        ),
        (
            "*/90 * * * ? *",
            'minutes "*/90": the step after / must be 1-59. Example: Cron("30 2 * * ? *") is 02:30 every day',
        ),
        (
            "0 4 ? * */2 *",
            'day-of-week "*/2": EventBridge has no steps between days of the week; list the '
            'days. Example: Cron("0 4 ? * MON-FRI *") is 04:00 from Monday to Friday',
        ),
        (
            "0 4 ? * FRI#6 *",
            'day-of-week "FRI#6": # stands alone, and 1-5 after it. '
            'Example: Cron("0 4 ? * MON-FRI *") is 04:00 from Monday to Friday',
        ),
        (
            "0 4 30 2 ? *",
            'no such day ever comes. Example: Cron("0 4 L 2 ? *") is 04:00 on the last day of February',
        ),
    ],
)
def test_a_bad_cron_says_which_field_why_and_what_would_do(cron: str, message: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        Cron(cron)

    assert str(refused.value) == f'Cron("{cron}"): {message}'


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "? 2 * * ? *",
        "a 2 * * ? *",
        "0,, 2 * * ? *",
        "-5 2 * * ? *",
        "5- 2 * * ? *",
        "*/0 2 * * ? *",
        "1/2/3 2 * * ? *",
        "*-5 2 * * ? *",
        "\u0665 2 * * ? *",
        "0 2 L-3 * ? *",
        "0 2 L,15 * ? *",
        "0 2 15W,16 * ? *",
        "0 2 32W * ? *",
        "0 2 ? * 3#1,6#3 *",
        "0 2 ? * MON,FRIL *",
        "0 2 29 2 ? 2027",
        "0 2 * * ? 1969",
        "at(2026-01-01T00:00:00)",
    ],
)
def test_what_eventbridge_might_refuse_or_misread_is_refused_at_once(cron: str) -> None:
    with pytest.raises(ScheduleError, match="Example: Cron"):
        Cron(cron)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: daily("2:30"), '"2:30" is no time of day: write HH:MM, 00:00 to 23:59. Example: "02:30"'),
        (lambda: daily("24:00"), '"24:00" is no time of day: write HH:MM, 00:00 to 23:59. Example: "02:30"'),
        (
            lambda: weekly("Monday", "08:15"),
            'weekly("Monday"): the day is one of SUN MON TUE WED THU FRI SAT. Example: weekly("MON", "08:15")',
        ),
        (
            lambda: monthly(31, "08:15"),
            'monthly(31): the day is 1-28, which every month has, or "L" for its last. '
            'Example: monthly("L", "08:15"); Cron("15 8 31 * ? *") leaves out the shorter months',
        ),
        (lambda: every(hours=5), 'every(hours=5): hours must divide 24. Example: every(hours=6, at="04:00")'),
        (lambda: every(minutes=0), "every(minutes=0): minutes must divide 60. Example: every(minutes=15)"),
        (lambda: every(seconds=7), "every(seconds=7): seconds must divide 60. Example: every(seconds=15)"),
        (
            lambda: every(minutes=15, at="04:00"),
            "every() takes one whole number of hours, minutes or seconds, and at only with hours. "
            'Example: every(hours=6, at="04:00")',
        ),
        (
            lambda: every(hours=1, minutes=30),
            "every() takes one whole number of hours, minutes or seconds, and at only with hours. "
            'Example: every(hours=6, at="04:00")',
        ),
        (
            lambda: daily("02:30", timezone="Europe/Lodnon"),
            'timezone "Europe/Lodnon" is not in the IANA database. Example: "Europe/London"',
        ),
        (
            lambda: Cron("30 2 * * ? *", timezone="../etc/passwd"),
            'timezone "../etc/passwd" is not in the IANA database. Example: "Europe/London"',
        ),
        (
            lambda: Cron("30 2 * * ? *", timezone="Europe"),
            'timezone "Europe" is not in the IANA database. Example: "Europe/London"',
        ),
        (
            lambda: Schedule(("61 2 * * ? *",)),
            'Cron("61 2 * * ? *"): minutes "61": this field takes 0-59. '
            'Example: Cron("30 2 * * ? *") is 02:30 every day',
        ),
        (
            lambda: Schedule(("* * * * ? *",), tick=timedelta(seconds=7)),
            "tick 0:00:07 does not divide a minute into whole seconds. Example: every(seconds=15)",
        ),
    ],
)
def test_a_bad_declaration_says_why_and_what_would_do(declare: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        declare()

    assert str(refused.value) == message


@pytest.mark.parametrize(
    "ask",
    [
        lambda schedule, naive: schedule.occurrences(naive, at("2026-03-02")),
        lambda schedule, naive: schedule.occurrences(at("2026-03-01"), naive),
        lambda schedule, naive: schedule.next_after(naive),
        lambda schedule, naive: schedule.ticks(naive),
    ],
)
def test_a_naive_moment_is_refused_when_asked_and_not_when_iterated(
    ask: Callable[[Schedule, datetime], object],
) -> None:
    with pytest.raises(ValueError, match="tzinfo=UTC"):
        ask(daily("02:30"), datetime(2026, 3, 1))  # noqa: DTZ001 - the point of the test


# --- Against a matcher that looks at every minute ---


@dataclass(frozen=True)
class Chosen:
    """One field: as text, and the numbers it stands for."""

    text: str
    numbers: frozenset[int]


def fields(low: int, high: int, *, steps: bool = True) -> st.SearchStrategy[Chosen]:
    number = st.integers(low, high)
    lists = st.sets(number, min_size=1, max_size=4).map(
        lambda found: Chosen(",".join(map(str, found)), frozenset(found))
    )
    ranges = st.tuples(number, number).map(
        lambda ends: Chosen(f"{min(ends)}-{max(ends)}", frozenset(range(min(ends), max(ends) + 1)))
    )
    stepped = st.tuples(number, st.integers(1, high - low)).map(
        lambda pair: Chosen(f"{pair[0]}/{pair[1]}", frozenset(range(pair[0], high + 1, pair[1])))
    )
    all_of_them = st.just(Chosen("*", frozenset(range(low, high + 1))))
    return st.one_of(all_of_them, lists, ranges, *([stepped] if steps else []))


@dataclass(frozen=True)
class Days:
    """The two day fields: as text with room for the month between them, and a question to ask of each day."""

    text: str
    include: Callable[[datetime], bool]


def by_date(chosen: Chosen) -> Days:
    return Days(f"{chosen.text} {{}} ?", lambda day: day.day in chosen.numbers)


def by_weekday(chosen: Chosen) -> Days:
    return Days(f"? {{}} {chosen.text}", lambda day: day.isoweekday() % 7 + 1 in chosen.numbers)


def nth(weekday: int, number: int) -> Days:
    return Days(
        f"? {{}} {weekday}#{number}",
        lambda day: day.isoweekday() % 7 + 1 == weekday and (day.day + 6) // 7 == number,
    )


def last_weekday(weekday: int) -> Days:
    return Days(
        f"? {{}} {weekday}L",
        lambda day: day.isoweekday() % 7 + 1 == weekday and (day + 7 * DAY).month != day.month,
    )


def nearest(number: int) -> Days:
    """Of all working days in the month the one with the least distance."""

    def include(day: datetime) -> bool:
        month = [other for n in range(-30, 31) if (other := day + n * DAY).month == day.month]
        working = [other for other in month if other.isoweekday() <= 5]
        return len(month) >= number and day == min(working, key=lambda other: abs(other.day - number))

    return Days(f"{number}W {{}} ?", include)


LAST_DAY = Days("L {} ?", lambda day: (day + DAY).day == 1)
any_days = st.one_of(
    fields(1, 31).map(by_date),
    fields(1, 7, steps=False).map(by_weekday),
    st.just(LAST_DAY),
    st.integers(1, 31).map(nearest),
    st.builds(nth, st.integers(1, 7), st.integers(1, 5)),
    st.integers(1, 7).map(last_weekday),
)
#: Clock changes, month ends, and days like any other.
starts = st.sampled_from(
    [
        at(f"{day} {time}")
        for day in (
            "2026-03-07",
            "2026-03-28",
            "2026-10-24",
            "2026-10-31",
            "2028-02-27",
            "2026-12-30",
            "2026-07-10",
        )
        for time in ("00:00", "01:30:20", "22:10")
    ]
)
zones = st.sampled_from(
    ["UTC", "Europe/London", "America/New_York", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe"]
)
EVERY_MINUTE = Chosen("*", frozenset(range(60)))
EVERY_HOUR = Chosen("*", frozenset(range(24)))
EVERY_MONTH = Chosen("*", frozenset(range(1, 13)))
EVERY_DAY = by_date(Chosen("*", frozenset(range(1, 32))))


@given(fields(0, 59), fields(0, 23), any_days, fields(1, 12), zones, starts)
@example(EVERY_MINUTE, EVERY_HOUR, EVERY_DAY, EVERY_MONTH, "Europe/London", at("2026-03-28"))
@example(EVERY_MINUTE, EVERY_HOUR, EVERY_DAY, EVERY_MONTH, "Asia/Beirut", at("2026-10-24"))
@example(EVERY_MINUTE, EVERY_HOUR, nearest(1), EVERY_MONTH, "America/Havana", at("2026-10-31"))
@settings(max_examples=150, deadline=None)
def test_occurrences_are_the_minutes_that_match(
    minutes: Chosen, hours: Chosen, days_field: Days, months: Chosen, zone: str, start: datetime
) -> None:
    def matches(instant: datetime) -> bool:
        local = instant.astimezone(ZoneInfo(zone))
        return (
            local.fold == 0
            and local.minute in minutes.numbers
            and local.hour in hours.numbers
            and local.month in months.numbers
            and days_field.include(local.replace(hour=0, minute=0, tzinfo=None))
        )

    text = f"{minutes.text} {hours.text} {days_field.text.format(months.text)} *"
    try:
        schedule = Cron(text, timezone=zone)
    except ScheduleError as never:
        assert "no such day ever comes" in str(never)  # noqa: PT017 - not what is under test
        return
    end = start + 2 * DAY
    first = start if start.second == 0 else start.replace(second=0) + MINUTE
    expected = [first + number * MINUTE for number in range(2 * 24 * 60) if matches(first + number * MINUTE)]
    expected = [instant for instant in expected if instant < end]

    assert list(schedule.occurrences(start, end)) == expected
    if expected:
        assert schedule.next_after(start - timedelta(microseconds=1)) == expected[0]


def test_a_fixed_offset_is_as_good_as_utc() -> None:
    two_hours_east = datetime(2026, 3, 1, 4, 0, tzinfo=timezone(timedelta(hours=2)))

    assert daily("02:30").next_after(two_hours_east) == at("2026-03-01 02:30")


def test_a_job_that_is_started_by_hand_is_never_due_and_has_nothing_to_deploy() -> None:
    schedule, moment = by_hand(), datetime(2026, 11, 21, tzinfo=UTC)
    assert schedule.expressions() == ()
    assert schedule.next_after(moment) is None
    assert list(schedule.occurrences(moment, moment + timedelta(days=400))) == []
    assert schedule.words() == "by hand"
    assert schedule.ticks(moment) == (moment,)
