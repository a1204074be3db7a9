"""What tests of redrives begin with: an announced run of which some entries did not succeed."""

from datetime import timedelta
from typing import Any

from rollcall import Breaker, Unanswered
from rollcall.core.entry import ManifestEntry
from tests.functional.world import World, a_job

PATIENT = Breaker(failures=1_000)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
#: What ends a call of these entries, until somebody mends it: D01 failed, D03 rejected, D05 unknown.
TROUBLES: dict[str, int | BaseException] = {"D01": 503, "D03": 404, "D05": Unanswered("cut off")}


def troubled(world: World, number: int = 8, **options: Any) -> None:
    """An announced run of which three entries did not succeed."""
    world.declare(a_job(breaker=PATIENT, **options))
    for key, trouble in TROUBLES.items():
        world.target.script(key, *[trouble] * (1 if trouble == 404 else 4))
    ended(world, number)


def ended(world: World, number: int = 8) -> None:
    world.begin(number)
    world.drain()
    world.announce()


def again(world: World, **choice: Any) -> list[str]:
    """The keys that a redrive calls, once each; the run has ended and is announced then."""
    world.target.calls.clear()
    world.redrive(**choice)
    world.drain()
    world.announce()
    assert set(world.target.times().values()) <= {1}
    return sorted(world.target.keys)


def lines(world: World) -> list[ManifestEntry]:
    """The manifest of the present generation."""
    run = world.run()
    return [line for chunk in range(run.tree.chunks) for line in world.manifests.read(run, chunk)]
