"""What becomes of a transfer at the bank stand-in."""

from collections import Counter

import pytest

from tools.stand_ins.bank_faults import Course, Rates, course, is_refused

REFERENCES = [f"rent-{n}" for n in range(10_000)]
ALL = Rates(error=0.5, refused=0.5, lost=0.5, late=0.5, silent=0.5)


def courses(rates: Rates, seed: int = 0, n: int = 1, references: list[str] = REFERENCES) -> list[Course]:
    return [course(seed, each, n, rates) for each in references]


def test_a_transfer_takes_its_course_whatever_came_before_and_wherever_it_runs() -> None:
    # Written down once: if these change, no run can be compared with an earlier one.
    found = courses(Rates(error=0.1, refused=0.1, lost=0.1, late=0.1, silent=0.1), references=REFERENCES[:8])
    assert {n: str(each) for n, each in enumerate(found) if each is not Course.BOOKED} == {
        2: "error",
        4: "refused",
        5: "late",
    }


@pytest.mark.parametrize("which", ["error", "refused", "lost", "late", "silent"])
def test_a_rate_is_the_share_of_its_course_and_of_no_other(which: str) -> None:
    found = Counter(courses(Rates(**{which: 0.1}), seed=7))
    assert set(found) == {Course(which), Course.BOOKED}
    assert 900 < found[Course(which)] < 1_100


@pytest.mark.parametrize("which", ["error", "refused", "lost", "late", "silent"])
def test_a_rate_of_one_is_every_call(which: str) -> None:
    assert set(courses(Rates(**{which: 1}))) == {Course(which)}


def test_nothing_happens_without_a_rate() -> None:
    assert set(courses(Rates())) == {Course.BOOKED}


def test_where_several_apply_the_first_does() -> None:
    rates = {"error": 1.0, "refused": 1.0, "lost": 1.0, "late": 1.0, "silent": 1.0}
    for first in list(rates):
        assert set(courses(Rates(**rates), references=REFERENCES[:10])) == {Course(first)}
        del rates[first]


def test_every_course_draws_by_itself() -> None:
    hit = {
        which: frozenset(n for n, each in enumerate(courses(Rates(**{which: 0.5}))) if each is not Course.BOOKED)
        for which in ("error", "refused", "lost", "late", "silent")
    }
    for one in hit:
        for other in hit.keys() - {one}:
            # Half of the half: with the same salt it would be the whole half.
            assert 2_300 < len(hit[one] & hit[other]) < 2_700


def test_a_refused_reference_is_refused_every_time_and_no_other_ever_is() -> None:
    refused = [is_refused(0, each, 0.3) for each in REFERENCES[:500]]
    assert any(refused)
    for n in range(1, 5):
        found = courses(Rates(refused=0.3), n=n, references=REFERENCES[:500])
        assert [each is Course.REFUSED for each in found] == refused


def test_another_seed_or_another_call_takes_another_course() -> None:
    first, again, second, other_seed = (courses(ALL, seed, n) for seed, n in ((0, 1), (0, 1), (0, 2), (1, 1)))
    assert first == again
    assert first != second
    assert first != other_seed
