"""Names of what is deployed: within AWS's limits, and no two the same."""

import re
from collections.abc import Callable, Iterator
from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollcall.core import names
from rollcall.core.job import LONGEST_JOB_NAME

words = st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True)
job_names = words.filter(lambda name: len(name) <= LONGEST_JOB_NAME)
environments = words.filter(lambda name: len(name) <= 16)
KINDS = ["fan_out", "worker", "dead_letter", "completion", "watchdog"]
LONGEST = ["j" * 39 + "a", "j" * 39 + "b"]


def queues(environment: str, job: str) -> list[str]:
    return [
        names.queue_name(environment, job),
        names.dead_letter_queue_name(environment, job),
        names.undelivered_queue_name(environment, job),
    ]


def everything(environment: str, job: str) -> Iterator[tuple[str, str]]:
    """All names of a job with the pattern that AWS has for them."""
    for kind in KINDS:
        yield names.function_name(environment, kind, job), r"[a-zA-Z0-9-_]{1,64}"
        yield names.function_name(environment, kind), r"[a-zA-Z0-9-_]{1,64}"
    for queue in queues(environment, job):
        yield queue, r"[a-zA-Z0-9-_]{1,80}|[a-zA-Z0-9-_]{1,75}\.fifo"
    yield names.schedule_name(environment, job, 12), r"[0-9a-zA-Z-_.]{1,64}"
    yield names.manifests_name(environment, "123456789012", "ap-southeast-4"), r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
    yield names.ledger_name(environment), r"[a-zA-Z0-9_.-]{3,255}"
    yield names.bus_name(environment), r"[/.\-_A-Za-z0-9]{1,256}"
    yield names.secret_name(environment, "workday"), r"[a-zA-Z0-9/_+=.@-]{1,512}"


@given(environments, job_names)
@example("a" * 16, LONGEST[0])
def test_every_name_is_one_that_aws_takes(environment: str, job: str) -> None:
    assert [name for name, pattern in everything(environment, job) if not re.fullmatch(pattern, name)] == []


def test_a_name_says_what_it_is_of() -> None:
    assert names.function_name("dev", "fan_out", "deposits") == "rollcall-dev-deposits-fan-out"


@pytest.mark.parametrize("queue", [names.queue_name, names.dead_letter_queue_name])
def test_workers_queues_are_fifo(queue: Callable[[str, str], str]) -> None:
    assert queue("dev", "deposits").endswith(".fifo")


def test_the_schedulers_dead_letter_queue_is_standard() -> None:
    assert not names.undelivered_queue_name("dev", "deposits").endswith(".fifo")


def test_undelivered_records_of_the_stream_have_a_queue_of_no_job() -> None:
    assert names.undelivered_queue_name("dev") == "rollcall-dev-undelivered"


def test_a_job_called_like_anothers_dead_letters_has_queues_of_its_own() -> None:
    assert not set(queues("dev", "deposits")) & set(queues("dev", "deposits-dead-letter"))


@given(st.lists(job_names, min_size=2, max_size=4, unique=True))
def test_no_two_jobs_share_a_queue(jobs: list[str]) -> None:
    for one, other in combinations(jobs, 2):
        assert not set(queues("dev", one)) & set(queues("dev", other))


@pytest.mark.parametrize(
    "name",
    [
        lambda job: names.function_name("a" * 16, "dead_letter", job),
        lambda job: names.queue_name("a" * 16, job),
        lambda job: names.dead_letter_queue_name("a" * 16, job),
        lambda job: names.undelivered_queue_name("a" * 16, job),
        lambda job: names.schedule_name("a" * 16, job, 1),
    ],
    ids=["function", "queue", "dead-letter queue", "undelivered queue", "schedule"],
)
def test_long_names_that_differ_at_the_end_stay_different(name: Callable[[str], str]) -> None:
    assert name(LONGEST[0]) != name(LONGEST[1])


def test_the_functions_of_the_longest_job_stay_different() -> None:
    assert len({names.function_name("a" * 16, kind, LONGEST[0]) for kind in KINDS}) == len(KINDS)


def test_a_name_that_just_fits_is_not_cut() -> None:
    assert names.schedule_name("dev", "j" * 49, 1) == f"rollcall-dev-{'j' * 49}-1"


def test_a_name_that_was_cut_is_the_same_every_time() -> None:
    assert names.schedule_name("staging", "j" * 64, 1) == f"rollcall-staging-{'j' * 38}-53f72f72"


def test_no_two_environments_share_a_secret() -> None:
    assert names.secret_name("dev", "workday") != names.secret_name("prod", "workday")
