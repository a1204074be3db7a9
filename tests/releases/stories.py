"""Deployments in the middle of something: what a release may leave behind when another version is deployed.

Each story is told by the version that is recorded, up to a moment, and then carried on to its end by whatever version
reads the recording. So a story declares its jobs, what its targets answer, and how its runs must end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from rollcall import Breaker, Job, Outcome, Overlap, Rate, SourceError
from rollcall.core.run import RunState, run_id
from tests.releases import moments
from tests.releases.clouds import RecordedCloud, WorkerKilled
from tests.releases.declared import (
    DUPLICATE,
    INVALID,
    LOST,
    MINUTE,
    PARENT,
    PAY,
    REFUND,
    RICH,
    RUN,
    SECOND,
    SLICES,
    TROUBLES,
    a_job,
    a_pipeline,
    ask,
    listed,
)
from tests.releases.words import redrive
from tests.simulation.models.virtual_time import START
from tests.simulation.plays.target import Reply, scripted

Ends = Mapping[str, tuple[RunState, Mapping[Outcome, int]]]
ENDED = RunState.COMPLETE
OK, NO, UNKNOWN, CANCELLED = Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.UNKNOWN, Outcome.CANCELLED


@dataclass(frozen=True)
class Story:
    """One deployment, and what happens there."""

    #: What is under way at the moment; the folder of its recording.
    name: str
    jobs: Callable[[], list[Job]]
    #: What happens up to the moment.
    tell: Callable[[RecordedCloud], None]
    #: By run: how it ends, and how many of the latest generation's entries with which outcome.
    ends: Ends
    #: What the target answers to the first calls for a key; 200 ever after.
    replies: Mapping[str, list[Reply]] = field(default_factory=dict)
    #: What somebody does after the moment.
    then: Callable[[RecordedCloud], None] = lambda _: None

    def answer(self, cloud: RecordedCloud) -> None:
        """Have the targets answer as the story says."""
        for shop in cloud.shops.values():
            shop.script = scripted(dict(self.replies))


STORIES = {
    story.name: story
    for story in (
        Story("enumerating", lambda: [a_job([RICH, *listed(13)])], moments.enumerating, {RUN: (ENDED, {OK: 14})}),
        Story("dispatching", lambda: [a_job(listed(23))], moments.dispatching, {RUN: (ENDED, {OK: 23})}),
        Story("taken-over", lambda: [a_job(listed(23))], moments.taken_over, {RUN: (ENDED, {OK: 23})}),
        Story("window", lambda: [a_job(listed(17), window=10)], moments.window, {RUN: (ENDED, {OK: 17})}),
        Story(
            "queued",
            lambda: [a_job(listed(6), overlap=Overlap.QUEUE)],
            moments.queued,
            {RUN: (ENDED, {OK: 6}), f"{RUN}-b": (ENDED, {OK: 6}), f"{RUN}-c": (RunState.SKIPPED, {})},
            replies={"D05": [503, 503, 503]},
        ),
        Story(
            "running",
            lambda: [a_job([RICH, *listed(11), DUPLICATE, INVALID])],
            moments.running,
            {RUN: (ENDED, {OK: 10, NO: 2, UNKNOWN: 1})},
            replies={"D00": [422], "D01": [503, 503], "D02": [LOST, 503], "D03": [503] * 4, "D09": [503]},
        ),
        Story(
            "paused",
            lambda: [a_job(listed(12), concurrency=2)],
            moments.paused,
            {RUN: (ENDED, {OK: 12})},
            then=moments.resume,
        ),
        Story(
            "rated",
            lambda: [a_job(listed(12), rate=Rate.parse("60/h burst 2"))],
            moments.rated,
            {RUN: (ENDED, {OK: 12})},
        ),
        Story(
            "breaker",
            lambda: [a_job(listed(12), breaker=Breaker(failures=5, pause=20 * SECOND))],
            moments.breaker,
            {RUN: (ENDED, {OK: 12})},
        ),
        Story(
            "failing",
            lambda: [a_job(listed(12), breaker=Breaker(failures=10, pause=20 * SECOND))],
            moments.failing,
            {RUN: (ENDED, {OK: 12})},
            replies={f"D{index:02}": [503] for index in range(6)},
        ),
        Story(
            "cancelling",
            lambda: [a_job(listed(12), concurrency=2)],
            moments.cancelling,
            {RUN: (RunState.CANCELLED, {OK: 5, CANCELLED: 7})},
        ),
        Story("repairing", lambda: [a_job(listed(23))], moments.repairing, {RUN: (ENDED, {OK: 23})}),
        Story(
            "dead-letters",
            lambda: [a_job(listed(7))],
            moments.dead_letters,
            {RUN: (ENDED, {OK: 2, UNKNOWN: 5})},
            replies={"D03": [WorkerKilled("out of memory")] * 9},
        ),
        Story(
            "redriven",
            lambda: [a_job(listed(8))],
            moments.redriven,
            {RUN: (ENDED, {OK: 3, NO: 1})},
            replies={**TROUBLES, "D03": [404, 404]},
        ),
        Story(
            "redriven-with-new-keys",
            lambda: [a_job([RICH, *listed(8)])],
            moments.redriven_with_new_keys,
            {RUN: (ENDED, {OK: 1})},
            replies=TROUBLES,
        ),
        Story(
            "claims",
            lambda: [a_job(listed(8), keys=None, settles_within=MINUTE, probe=ask)],
            moments.claims,
            {RUN: (ENDED, {OK: 8})},
            replies={"D00": [LOST], "D01": [503], "D02": [429]},
        ),
        Story(
            "late",
            lambda: [a_job(listed(3), keys=None, settles_within=MINUTE)],
            moments.late,
            # The late answer was a success, so the redrive calls nobody.
            {RUN: (ENDED, {OK: 1})},
            then=redrive,
        ),
        Story(
            "superseded",
            lambda: [a_job(listed(3))],
            moments.superseded,
            {RUN: (ENDED, {OK: 3})},
            replies={"D00": [422]},
        ),
        Story(
            "batches",
            lambda: [a_job(listed(18), delivery=SLICES)],
            moments.batches,
            {RUN: (ENDED, {OK: 17, NO: 1})},
            replies={"D00": [422], "D04": [503, 503]},
        ),
        Story(
            "batches-again",
            lambda: [a_job(listed(18), delivery=SLICES)],
            moments.batches_again,
            {RUN: (ENDED, {OK: 18})},
        ),
        Story("pipeline", a_pipeline, moments.pipeline, {PARENT: (ENDED, {OK: 3}), RUN: (ENDED, {OK: 7})}),
        Story(
            "pipeline-skips",
            lambda: a_pipeline(skips=True),
            moments.pipeline_skips,
            {PARENT: (RunState.SKIPPED, {OK: 1, CANCELLED: 2})},
        ),
        Story(
            "pipeline-redriven",
            a_pipeline,
            moments.pipeline_fails,
            {PARENT: (ENDED, {OK: 2}), RUN: (ENDED, {OK: 5})},
            replies={f"D{index:02}": [422] for index in range(5)},
        ),
        Story("unannounced", lambda: [a_job(listed(6))], moments.unannounced, {RUN: (ENDED, {OK: 6})}),
        Story(
            "ends",
            lambda: [
                a_job([*listed(3), SourceError("the report breaks off")]),
                a_job(listed(6), "cancel-early"),
                a_job(listed(6), REFUND, overlap=Overlap.QUEUE),
                a_job([], "count-nothing"),
            ],
            moments.ends,
            {
                RUN: (RunState.REFUSED, {}),
                run_id("cancel-early", START): (RunState.CANCELLED, {}),
                run_id(REFUND, START): (ENDED, {OK: 6}),
                run_id(REFUND, START, "waits"): (RunState.CANCELLED, {}),
                run_id("count-nothing", START): (ENDED, {}),
            },
        ),
        Story(
            "missed",
            lambda: [a_job(listed(3))],
            moments.missed,
            {run_id(PAY, START + timedelta(days=day)): (RunState.MISSED, {}) for day in (1, 2)},
            then=moments.another_day,
        ),
    )
}
