"""Values that travel: canonical JSON, hashes, instants, batches."""

import time
from dataclasses import is_dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall import core
from rollcall.core.call import Http
from rollcall.core.clock import SystemClock
from rollcall.core.run import from_iso, iso
from rollcall.core.values import batched, canonical, digest, utc

anywhere = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.timezones())  # noqa: DTZ001


def test_values_of_the_core_do_not_change() -> None:
    """All but a call's HTTP client, which remembers whether it was answered."""
    modules = [import_module(f"{core.__name__}.{module.name}") for module in iter_modules(core.__path__)]
    classes: set[Any] = {value for module in modules for value in vars(module).values() if is_dataclass(value)}
    assert len(classes) > 10
    assert [value for value in classes if not value.__dataclass_params__.frozen] == [Http]


def test_equal_values_have_equal_json_whatever_the_order_of_keys() -> None:
    assert canonical({"b": [1, {"d": 1, "c": 2}], "a": 1}) == canonical({"a": 1, "b": [1, {"c": 2, "d": 1}]})


def test_canonical_json_is_compact_ascii() -> None:
    assert canonical({"name": "Zoë", "amount": 1.5}) == '{"amount":1.5,"name":"Zo\\u00eb"}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_has_no_number_for_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical({"amount": number})


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        canonical({"at": datetime(2026, 1, 1, tzinfo=UTC)})


def test_a_digest_is_what_other_tools_compute() -> None:
    """`printf '"DEP-1"' | sha256sum`"""
    assert digest("DEP-1") == "3dd7645f6416293f4756ae1744ff8cea00b1925dd25e8fc95316ad43bf342576"


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_has_a_digest(text: str) -> None:
    assert len(digest(text)) == 64


@given(anywhere)
def test_utc_is_the_same_instant(moment: datetime) -> None:
    assert utc(moment).timestamp() == moment.timestamp()
    assert utc(moment).tzinfo is UTC


@given(anywhere)
def test_an_instant_survives_its_text(moment: datetime) -> None:
    assert from_iso(iso(moment)) == utc(moment)


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2))
def test_texts_of_instants_sort_as_the_instants_do(moments: list[datetime]) -> None:
    assert sorted(map(iso, moments)) == [iso(moment) for moment in sorted(moments)]


def test_a_naive_datetime_names_no_instant() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        utc(datetime(2026, 11, 21, 2, 30))  # noqa: DTZ001 - the point


def test_a_text_without_zone_names_no_instant() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        from_iso("2026-11-21T02:30:00")


@pytest.mark.parametrize("text", ["2026-11-21T02:30:00Z", "2026-11-21T03:30:00+01:00"])
def test_the_schedulers_texts_are_instants(text: str) -> None:
    assert from_iso(text) == datetime(2026, 11, 21, 3, 30, tzinfo=ZoneInfo("Europe/Paris"))


@given(st.lists(st.integers()), st.integers(1, 20))
def test_batches_hold_every_item_once_in_order(items: list[int], size: int) -> None:
    assert [item for batch in batched(items, size) for item in batch] == items


@given(st.lists(st.integers()), st.integers(1, 20))
def test_every_batch_but_the_last_is_full(items: list[int], size: int) -> None:
    lengths = [len(batch) for batch in batched(items, size)]
    assert lengths[:-1] == [size] * (len(lengths) - 1)
    assert 0 not in lengths


def test_batches_are_taken_as_they_are_needed() -> None:
    endless = iter(int, 1)
    assert next(batched(endless, 3)) == [0, 0, 0]


@pytest.mark.parametrize(("duration", "slept"), [(2.5, 2.5), (0, 0), (-1, 0)])
def test_the_systems_clock_sleeps_and_never_backwards(
    duration: float, slept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    SystemClock().sleep(timedelta(seconds=duration))
    assert naps == [slept]


def test_the_systems_clock_tells_instants() -> None:
    assert SystemClock().now().tzinfo is UTC
