"""When a job runs: schedules anchored to the clock, as EventBridge Scheduler takes and reads them.

No clock is read here: every moment comes in as an aware datetime, and every answer is in UTC.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from heapq import merge
from itertools import groupby, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

from rollcall.core.cron import WEEKDAYS, ScheduleError, parse
from rollcall.core.values import utc

__all__ = ["Cron", "Schedule", "ScheduleError", "by_hand", "daily", "every", "monthly", "weekdays", "weekly"]

MINUTE = timedelta(minutes=1)
TICKS = frozenset(timedelta(seconds=seconds) for seconds in range(1, 60) if 60 % seconds == 0)
#: The days that every month has.
MONTH_DAYS = (*range(1, 29), "L")
BY_HAND = "by hand"
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class Schedule:
    """All the moments at which a job is due. Made by `Cron`, `daily`, `every` and their like.

    Two schedules are equal when their expressions, time zone and tick are. Raises ScheduleError when
    made from anything EventBridge Scheduler would not take.
    """

    #: One EventBridge schedule each; six fields, without the `cron( )` around them. None: it is never due by itself.
    crons: tuple[str, ...]
    _: KW_ONLY
    #: IANA name of the zone whose wall clock the expressions are read on.
    timezone: str = "UTC"
    #: One firing t stands for runs at t, t + tick, … within its minute: EventBridge's grain is 60 seconds.
    tick: timedelta | None = None
    #: What a listing says; the expressions when empty.
    label: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.crons and self.label != BY_HAND:
            raise ScheduleError('a schedule needs at least one expression. Example: Cron("30 2 * * ? *")')
        for cron in self.crons:
            parse(cron)
        _zone(self.timezone)
        if self.tick is not None and self.tick not in TICKS:
            raise ScheduleError(
                f"tick {self.tick} does not divide a minute into whole seconds. Example: every(seconds=15)"
            )

    def expressions(self) -> tuple[str, ...]:
        """Each as EventBridge's ScheduleExpression: `cron(30 2 * * ? *)`; the zone goes beside it."""
        return tuple(f"cron({cron})" for cron in self.crons)

    def words(self) -> str:
        """A few words for a listing, such as `02:30 daily Europe/London`; UTC goes without saying."""
        text = self.label or " | ".join(self.crons)
        return text if self.timezone == "UTC" else f"{text} {self.timezone}"

    def ticks(self, firing: datetime) -> tuple[datetime, ...]:
        """The scheduled times that one firing stands for: itself alone, or each tick of its minute, in UTC.

        Raises ValueError for a naive datetime.
        """
        first = utc(firing)
        step = MINUTE if self.tick is None else self.tick
        return tuple(first + step * number for number in range(MINUTE // step))

    def occurrences(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Every scheduled time t with start <= t < end, ticks included: UTC, ascending, each once.

        A wall-clock time that the zone skips is skipped; one that it repeats counts once, the first time. So
        does EventBridge Scheduler ("Daylight savings time" in schedule-types.html of its User Guide).
        Raises ValueError for a naive datetime.
        """
        first, last = utc(start), utc(end)
        return takewhile(lambda moment: moment < last, self._since(first))

    def next_after(self, moment: datetime) -> datetime | None:
        """The first scheduled time strictly after `moment`, in UTC; None when its years are over.

        Raises ValueError for a naive datetime.
        """
        after = utc(moment)
        return next((due for due in self._since(after) if due > after), None)

    def _since(self, start: datetime) -> Iterator[datetime]:
        # From a minute before: a firing just before the start may have ticks after it.
        firings = merge(*(self._firings(cron, start - MINUTE) for cron in self.crons))
        ticks = (tick for firing, _ in groupby(firings) for tick in self.ticks(firing))
        return (tick for tick in ticks if tick >= start)

    def _firings(self, cron: str, start: datetime) -> Iterator[datetime]:
        zone = _zone(self.timezone)
        walls = parse(cron).walls(start.astimezone(zone).replace(tzinfo=None))
        return (firing for wall in walls if (firing := _first_instant(wall, zone)) is not None)


def by_hand() -> Schedule:
    """Never: such a job is started by somebody, or by a pipeline."""
    return Schedule((), label=BY_HAND)


def Cron(expression: str, *, timezone: str = "UTC") -> Schedule:  # noqa: N802 - reads as the value that it gives
    """The schedule of one EventBridge cron: `minutes hours day-of-month month day-of-week year`.

    `Cron("0 4 ? * MON-FRI *", timezone="Europe/London")`. Exactly one of the two day fields is `?`. Days
    of the week are SUN-SAT or 1-7, Sunday first. `L` is the last day, `15W` the weekday nearest to the
    15th within its month, `FRIL` the last Friday, `FRI#2` the second.
    Raises ScheduleError with the field at fault.
    """
    parse(expression)  # here, so that an error shows the expression as it was typed
    return Schedule((" ".join(expression.upper().split()),), timezone=timezone)


def daily(at: str, *more: str, timezone: str = "UTC") -> Schedule:
    """Every day at the given times: `daily("00:00", "12:00")`. Times are HH:MM on the zone's wall clock."""
    return _at_times((at, *more), "* * ?", "daily", timezone)


def weekdays(at: str, *more: str, timezone: str = "UTC") -> Schedule:
    """Monday to Friday at the given times: `weekdays("04:00", timezone="Europe/London")`."""
    return _at_times((at, *more), "? * MON-FRI", "Mon\u2013Fri", timezone)


def weekly(day: str, at: str, *more: str, timezone: str = "UTC") -> Schedule:
    """One day a week, SUN to SAT: `weekly("MON", "08:15")`."""
    if day not in WEEKDAYS:
        names = " ".join(WEEKDAYS)
        raise ScheduleError(f'weekly("{day}"): the day is one of {names}. Example: weekly("MON", "08:15")')
    return _at_times((at, *more), f"? * {day}", day.title(), timezone)


def monthly(day: int | Literal["L"], at: str, *more: str, timezone: str = "UTC") -> Schedule:
    """One day a month, 1 to 28, or `"L"` for the last: `monthly(1, "08:15")`.

    The 29th to 31st are refused, for they would silently leave out months.
    """
    if day not in MONTH_DAYS:
        raise ScheduleError(
            f'monthly({day}): the day is 1-28, which every month has, or "L" for its last. '
            'Example: monthly("L", "08:15"); Cron("15 8 31 * ? *") leaves out the shorter months'
        )
    label = "monthly on the last day" if day == "L" else f"monthly on day {day}"
    return _at_times((at, *more), f"{day} * ?", label, timezone)


def every(
    *,
    hours: int | None = None,
    minutes: int | None = None,
    seconds: int | None = None,
    at: str | None = None,
    timezone: str = "UTC",
) -> Schedule:
    """At even distances on the clock: `every(hours=6, at="04:00")` is 04:00, 10:00, 16:00 and 22:00.

    Exactly one unit. Hours divide 24 and count from `at` (default 00:00); minutes divide 60 and count from
    the full hour; seconds divide 60 and become the ticks of one firing a minute. Where clocks go back, the
    repeated hour has no run: keep UTC if the distance matters.
    """
    match hours, minutes, seconds:
        case int(), None, None:
            return _every_hours(hours, "00:00" if at is None else at, timezone)
        case None, int(), None if at is None:
            return _every_minutes(minutes, timezone)
        case None, None, int() if at is None:
            return _every_seconds(seconds, timezone)
    raise ScheduleError(
        "every() takes one whole number of hours, minutes or seconds, and at only with hours. "
        'Example: every(hours=6, at="04:00")'
    )


def _every_hours(hours: int, at: str, timezone: str) -> Schedule:
    _check_divides("hours", hours, 24, 'every(hours=6, at="04:00")')
    first, minute = _time_of_day(at)
    chosen = _numbers((first + hours * turn) % 24 for turn in range(24 // hours))
    cron = f"{minute} {'*' if hours == 1 else chosen} * * ? *"
    return Schedule((cron,), timezone=timezone, label=f"every {_counted(hours, 'hour')} from {at}")


def _every_minutes(minutes: int, timezone: str) -> Schedule:
    _check_divides("minutes", minutes, 60, "every(minutes=15)")
    chosen = "*" if minutes == 1 else _numbers(range(0, 60, minutes))
    return Schedule((f"{chosen} * * * ? *",), timezone=timezone, label=f"every {_counted(minutes, 'minute')}")


def _every_seconds(seconds: int, timezone: str) -> Schedule:
    _check_divides("seconds", seconds, 60, "every(seconds=15)")
    if seconds == 60:
        return _every_minutes(1, timezone)
    tick = timedelta(seconds=seconds)
    label = f"every {_counted(seconds, 'second')}"
    return Schedule(("* * * * ? *",), timezone=timezone, tick=tick, label=label)


def _check_divides(unit: str, number: int, whole: int, example: str) -> None:
    if number < 1 or whole % number:
        raise ScheduleError(f"every({unit}={number}): {unit} must divide {whole}. Example: {example}")


def _at_times(times: tuple[str, ...], days: str, label: str, timezone: str) -> Schedule:
    crons = tuple(f"{minutes} {hours} {days} *" for minutes, hours in _grouped(times))
    return Schedule(crons, timezone=timezone, label=f"{', '.join(sorted(set(times)))} {label}")


def _grouped(times: tuple[str, ...]) -> list[tuple[str, str]]:
    """Few (minutes, hours) field pairs that mean exactly these times: a pair means every combination."""
    hours_at: dict[int, set[int]] = {}
    for hour, minute in map(_time_of_day, times):
        hours_at.setdefault(minute, set()).add(hour)
    minutes_at: dict[str, set[int]] = {}
    for minute, hours in hours_at.items():
        minutes_at.setdefault(_numbers(hours), set()).add(minute)
    return sorted((_numbers(minutes), hours) for hours, minutes in minutes_at.items())


def _time_of_day(text: str) -> tuple[int, int]:
    found = TIME_OF_DAY.fullmatch(text)
    if found is None:
        raise ScheduleError(f'"{text}" is no time of day: write HH:MM, 00:00 to 23:59. Example: "02:30"')
    return int(found[1]), int(found[2])


def _numbers(values: Iterable[int]) -> str:
    return ",".join(map(str, sorted(values)))


def _counted(number: int, unit: str) -> str:
    return unit if number == 1 else f"{number} {unit}s"


def _zone(name: str) -> tzinfo:
    if name == "UTC":  # needs no time zone database, which slim images lack
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # OSError: a folder of the database, on some Pythons
        raise ScheduleError(f'timezone "{name}" is not in the IANA database. Example: "Europe/London"') from error


def _first_instant(wall: datetime, zone: tzinfo) -> datetime | None:
    """When the zone's clock first shows `wall`; None if never: by PEP 495 a gap does not round-trip."""
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return instant if instant.astimezone(zone).replace(tzinfo=None) == wall else None
