"""What one EventBridge Scheduler cron expression means on a wall clock, before any time zone.

Only what AWS documents is taken (docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html). What
the service might refuse or read otherwise, such as LW or a range that wraps, is refused before deployment.
"""

from calendar import monthrange
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache

from rollcall.core.errors import DeclarationError

#: The days of one (year, month) that a day field chooses, ascending.
DaysOf = Callable[[int, int], Sequence[int]]

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
SATURDAY = 7


class ScheduleError(DeclarationError):
    """A schedule that cannot be: the text says which part, why, and shows one that can."""


@dataclass(frozen=True, slots=True)
class Field:
    """One of the six fields: the numbers it takes and an expression that shows it well used."""

    name: str
    low: int
    high: int
    takes: str
    example: str
    #: Names for the numbers from 1 on.
    names: tuple[str, ...] = ()

    def error(self, text: str, why: str) -> ScheduleError:
        return ScheduleError(f'{self.name} "{text}": {why}. Example: {self.example}')

    def number(self, text: str) -> int:
        if text in self.names:
            return self.names.index(text) + 1
        if text.isascii() and text.isdigit() and self.low <= int(text) <= self.high:
            return int(text)
        raise self.error(text, f"this field takes {self.takes}")

    def values(self, text: str) -> list[int]:
        """The numbers of a list such as `0,15-30/5`, ascending."""
        return sorted({value for item in text.split(",") for value in self._item(item)})

    def _item(self, text: str) -> range:
        span, slash, step = text.partition("/")
        first, last = self._span(span, to_the_end=bool(slash))
        return range(first, last + 1, self._step(text, step) if slash else 1)

    def _span(self, text: str, *, to_the_end: bool) -> tuple[int, int]:
        if text == "*":
            return self.low, self.high
        first, dash, last = text.partition("-")
        start = self.number(first)
        if not dash:
            return start, self.high if to_the_end else start
        end = self.number(last)
        if end < start:
            raise self.error(text, "a range runs upwards; join the two parts of a wrapped one with a comma")
        return start, end

    def _step(self, text: str, step: str) -> int:
        if step.isascii() and step.isdigit() and 1 <= int(step) <= self.high - self.low:
            return int(step)
        raise self.error(text, f"the step after / must be 1-{self.high - self.low}")


MINUTES = Field("minutes", 0, 59, "0-59", 'Cron("30 2 * * ? *") is 02:30 every day')
HOURS = Field("hours", 0, 23, "0-23", 'Cron("0 4,16 * * ? *") is 04:00 and 16:00 every day')
DAY_OF_MONTH = Field(
    "day-of-month",
    1,
    31,
    "1-31, or alone: L (last day) or a day and W (its nearest weekday)",
    'Cron("0 4 15W * ? *") is 04:00 on the weekday nearest to the 15th',
)
MONTH = Field("month", 1, 12, "1-12 or JAN-DEC", 'Cron("0 4 1 JAN,JUL ? *") is 04:00 on 1 January and 1 July', MONTHS)
DAY_OF_WEEK = Field(
    "day-of-week",
    1,
    7,
    "1-7 or SUN-SAT (1 is Sunday), or alone: L, FRIL (last Friday) or FRI#2 (second Friday)",
    'Cron("0 4 ? * MON-FRI *") is 04:00 from Monday to Friday',
    WEEKDAYS,
)
YEAR = Field("year", 1970, 2199, "1970-2199", 'Cron("0 4 1 1 ? 2027-2030") is 04:00 on 1 January of four years')

LAST_OF_FEBRUARY = 'Example: Cron("0 4 L 2 ? *") is 04:00 on the last day of February'


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed cron expression; every sequence ascends."""

    minutes: Sequence[int]
    hours: Sequence[int]
    days_of: DaysOf
    months: Sequence[int]
    years: Sequence[int]

    def walls(self, start: datetime) -> Iterator[datetime]:
        """The naive wall-clock times from `start` on, ascending. Goes from chosen day to chosen day."""
        times = [time(hour, minute) for hour in self.hours for minute in self.minutes]
        for day in self.days(start.date()):
            walls = (datetime.combine(day, at) for at in times)
            yield from (wall for wall in walls if wall >= start)

    def days(self, start: date) -> Iterator[date]:
        """The chosen days from `start` on, ascending."""
        for year in (year for year in self.years if year >= start.year):
            for month in self.months:
                if (year, month) >= (start.year, start.month):
                    days = (date(year, month, day) for day in self.days_of(year, month))
                    yield from (day for day in days if day >= start)


@lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """Read `minutes hours day-of-month month day-of-week year`; names in any case.

    Raises ScheduleError when a field is wrong, or when no day in 1970-2199 is ever chosen.
    """
    try:
        expression = _expression(_fields(text.upper()))
    except ScheduleError as error:
        raise ScheduleError(f'Cron("{text}"): {error}') from None
    if next(expression.days(date.min), None) is None:
        raise ScheduleError(f'Cron("{text}"): no such day ever comes. {LAST_OF_FEBRUARY}')
    return expression


def _fields(text: str) -> list[str]:
    if text.startswith("RATE("):
        raise ScheduleError(
            "a rate counts from the moment it is deployed, so that a deploy starts a run; "
            "every() is anchored to the clock. Example: every(minutes=5)"
        )
    if "(" in text:
        raise ScheduleError(f"write the six fields alone. Example: {MINUTES.example}")
    fields = text.split()
    if len(fields) != 6:
        raise ScheduleError(
            f"{len(fields)} fields instead of six: minutes hours day-of-month month day-of-week year. "
            f"Example: {MINUTES.example}"
        )
    return fields


def _expression(fields: list[str]) -> Expression:
    minutes, hours, day_of_month, month, day_of_week, year = fields
    return Expression(
        minutes=MINUTES.values(minutes),
        hours=HOURS.values(hours),
        days_of=_days_of(day_of_month, day_of_week),
        months=MONTH.values(month),
        years=YEAR.values(year),
    )


def _days_of(day_of_month: str, day_of_week: str) -> DaysOf:
    if (day_of_month == "?") == (day_of_week == "?"):
        raise ScheduleError(
            f'day-of-month "{day_of_month}" and day-of-week "{day_of_week}": exactly one of the two '
            f'must be "?". Example: {DAY_OF_WEEK.example}'
        )
    return _by_weekday(day_of_week) if day_of_month == "?" else _by_date(day_of_month)


def _by_date(text: str) -> DaysOf:
    if text == "L":
        return lambda year, month: [_length(year, month)]
    if text.endswith("W") and text[:-1].isdigit():
        nearest_to = DAY_OF_MONTH.number(text[:-1])
        return lambda year, month: _nearest_weekday(year, month, nearest_to)
    days = DAY_OF_MONTH.values(text)
    return lambda year, month: [day for day in days if day <= _length(year, month)]


def _by_weekday(text: str) -> DaysOf:
    if text == "L":
        return lambda year, month: _weekday_in(year, month, SATURDAY)
    if "#" in text:
        return _nth_weekday(text)
    if text.endswith("L"):
        last = DAY_OF_WEEK.number(text.removesuffix("L"))
        return lambda year, month: _weekday_in(year, month, last)[-1:]
    if "/" in text:
        raise DAY_OF_WEEK.error(text, "EventBridge has no steps between days of the week; list the days")
    weekdays = DAY_OF_WEEK.values(text)
    return lambda year, month: sorted(day for n in weekdays for day in _weekday_in(year, month, n))


def _nth_weekday(text: str) -> DaysOf:
    weekday, _, nth = text.partition("#")
    number = DAY_OF_WEEK.number(weekday)
    if nth not in ("1", "2", "3", "4", "5"):
        raise DAY_OF_WEEK.error(text, "# stands alone, and 1-5 after it")
    return lambda year, month: _weekday_in(year, month, number)[int(nth) - 1 : int(nth)]


def _length(year: int, month: int) -> int:
    return monthrange(year, month)[1]


def _weekday_in(year: int, month: int, number: int) -> range:
    """Each day of the month that falls on weekday `number` (1 is Sunday)."""
    monday_based, length = monthrange(year, month)
    first = 1 + (number - 2 - monday_based) % 7
    return range(first, length + 1, 7)


def _nearest_weekday(year: int, month: int, day: int) -> list[int]:
    """The weekday nearest to `day` within its month; none in a month without that day."""
    length = _length(year, month)
    if day > length:
        return []
    match date(year, month, day).isoweekday():
        case 6:
            return [day - 1 if day > 1 else day + 2]
        case 7:
            return [day + 1 if day < length else day - 2]
        case _:
            return [day]
