"""Record a release: `python -m tests.releases.record VERSION`; docs/releases.md says when.

Everything comes from the code as it is: each story is told on the simulation's models, stopped in its middle, written
down, and carried on to its end. The same code writes the same files.
"""

import argparse
import logging
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rollcall.core.values import canonical
from tests.releases.clouds import AFTER, LONGEST, RecordedCloud, Snapshot
from tests.releases.declared import SECOND
from tests.releases.files import END, FIXTURES, MIDWAY, Release, by_line, in_lines, write
from tests.releases.readings import readings
from tests.releases.stories import STORIES, Story

ROOT = Path(__file__).parents[2]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="as pyproject.toml has it")
    parser.add_argument("--folder", type=Path, default=FIXTURES, help="where the release's folder is made")
    parser.add_argument("--commit", default=None, help="of the release; by default the one that is checked out")
    options = parser.parse_args()
    folder = options.folder / options.version
    if folder.exists():
        parser.error(f"{folder} is there; a recorded release is never recorded again")
    from tests.releases.requests import commands, schedules  # the CDK with it, which takes seconds

    with quiet():
        events = [*schedules(), *commands()]
        record(Release(folder), options.version, options.commit or commit(), events)
    print(f"{folder} is recorded; read it with: python -m pytest tests/releases")


def record(release: Release, version: str, of: str, events: list[dict[str, Any]]) -> None:
    """Write the folder of a release; `events` are those that commands and schedules send."""
    for number, story in enumerate(STORIES.values()):
        events = events + tell(release, story, number)
    first = {_shape(each): each for each in reversed(events)}
    write(release.folder / "events.json", in_lines(each for each in events if first[_shape(each)] is each))
    write(release.folder / "release.json", by_line({"version": version, "commit": of}))


def _shape(sent: Mapping[str, Any]) -> str:
    """Equal for events of which one is enough: changes of the ledger with the same fields and states."""
    records = [each["dynamodb"] for each in sent["event"].get("Records", ())]
    images = [each.get(name, {}) for each in records for name in ("OldImage", "NewImage")]
    alike = [[sorted(image), image.get("state")] for image in images]
    return canonical([sent["function"], alike or sent["event"]])


def tell(release: Release, story: Story, seed: int) -> list[dict[str, Any]]:
    """Record a story: its middle and its end. Returns the events that functions were invoked with."""
    with RecordedCloud(story.jobs(), seed=seed) as cloud:
        story.answer(cloud)
        story.tell(cloud)
        events = cloud.invocations.found
        midway = _write(release, story, MIDWAY, cloud)
    with carried_on(story, midway, seed + AFTER) as cloud:
        events = events + cloud.invocations.found
        _write(release, story, END, cloud)
    return [{"sender": f"story {story.name}", **each} for each in events]


@contextmanager
def carried_on(story: Story, midway: Snapshot, seed: int) -> Iterator[RecordedCloud]:
    """A deployment of the present version, set up from what another has left, when everything has ended."""
    with RecordedCloud(story.jobs(), seed=seed, start=midway.at) as cloud:
        story.answer(cloud)
        cloud.restore(midway)
        story.then(cloud)
        cloud.run_until(cloud.ended, LONGEST, SECOND)
        yield cloud


def _write(release: Release, story: Story, moment: str, cloud: RecordedCloud) -> Snapshot:
    snapshot = cloud.snapshot()
    release.story(story.name, moment).write(snapshot, readings(cloud, snapshot.ledger))
    return snapshot


def commit() -> str:
    """The commit that is checked out."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S607
    return done.stdout.strip()


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, the engine's log goes nowhere."""
    logger = logging.getLogger("rollcall")
    before = logger.propagate, logger.handlers[:]
    logger.propagate, logger.handlers[:] = False, [logging.NullHandler()]
    try:
        yield
    finally:
        logger.propagate, logger.handlers[:] = before


if __name__ == "__main__":
    main()
