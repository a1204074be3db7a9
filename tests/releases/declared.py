"""The jobs of the stories, and what their targets answer."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from rollcall import (
    NEVER_ARRIVED,
    Batches,
    Breaker,
    Call,
    Entry,
    Jitter,
    Job,
    NeverArrived,
    Outcome,
    Pipeline,
    Retry,
    Run,
    Skip,
    Target,
    Task,
    Unanswered,
    daily,
)
from rollcall.core.run import run_id
from tests.simulation.models.virtual_time import START
from tests.simulation.plays.target import Reply

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
PAY, REFUND, NIGHTLY = "pay-deposits", "refund-fees", "nightly-import"
#: The runs of most stories: of the job, and of the pipeline of which the job is a step.
RUN, PARENT = run_id(PAY, START), run_id(NIGHTLY, START)
RETRY = Retry(retries=3, first=timedelta(seconds=2), factor=2, jitter=Jitter.NONE)
PATIENT = Breaker(failures=1_000)
#: An answer that is lost after the shop has carried out the order.
LOST = Unanswered("connection reset")
#: Batches and chunks (of five) do not begin at the same entries.
SLICES = Batches(size=4, at_once=2, pause=3 * SECOND, most_entries=100)
#: An entry with everything that JSON knows, in its key, too.
RICH = Entry("Zoë & Söhne/12", {"amount": 1.5, "lines": [1, None, True, "ü\n€ 😀"], "empty": {}}, "payment 12/ü")
INVALID = Entry(None, {"deposit": "none"})
DUPLICATE = Entry("D00", {"deposit": "D00"})
#: Of a run, one fails, one is refused, and of two not every call is answered.
TROUBLES: dict[str, list[Reply]] = {
    "D01": [503, 503, 503, 503],
    "D03": [404],
    "D05": [LOST, LOST, LOST, LOST],
    "D06": [LOST, 503, 503, 503],
}


def listed(number: int) -> list[Entry]:
    return [Entry(f"D{index:02}", {"deposit": f"D{index:02}"}) for index in range(number)]


def a_job(report: Sequence[Entry | Exception], name: str = PAY, **options: Any) -> Job:
    """A job that puts each entry of `report` to its target."""
    of_target = {each: options.pop(each) for each in ("keys", "rate", "breaker", "settles_within") if each in options}
    probe, window = options.pop("probe", None), options.pop("window", None)
    target = Target("shop", concurrency=40, timeout=5 * SECOND, **{"breaker": PATIENT, **of_target})
    job = Job(name, schedule=daily("02:30"), target=target, **{"retry": RETRY, "concurrency": 20, **options})
    job.window = window  # below what a declaration may ask for

    @job.source
    def source(run: Run) -> Iterator[Entry]:
        del run
        for entry in report:
            if isinstance(entry, Exception):
                raise entry
            yield entry

    job.callback(order)
    if probe is not None:
        job.probe(probe)
    return job


async def order(payload: dict[str, Any], call: Call) -> None:
    await call.http.post(f"/orders/{quote(call.key, safe='')}", json=payload)


async def ask(payload: dict[str, Any], call: Call) -> Outcome | NeverArrived:
    del payload
    known = (await call.http.get(f"/orders/{quote(call.key, safe='')}")).json()
    if known["done"]:
        return Outcome.SUCCEEDED
    return Outcome.REJECTED if known["refused"] else NEVER_ARRIVED


def a_pipeline(*, skips: bool = False) -> list[Job]:
    pipeline = Pipeline(NIGHTLY, schedule=daily("02:30"))

    @pipeline.task("look", retry=RETRY)
    async def look(task: Task) -> Skip | None:
        task.keep("etag", f"after {task.kept.get('etag', 'none')}")
        return Skip("the file has not changed") if skips else None

    pipeline.fan_out(PAY, at_least=0.5)

    @pipeline.task("finish")
    async def finish(task: Task) -> None:
        del task

    return [pipeline, a_job(listed(7))]
