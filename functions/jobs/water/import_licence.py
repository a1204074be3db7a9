"""Send every licence of the national list to the licensing service, for `nald-import`."""

from collections.abc import Iterator
from urllib.parse import quote

from functions.jobs.water._nald import NUMBER, queued
from functions.jobs.water._targets import LICENSING, NALD
from rollcall import Call, Entry, Job, Retry, Run, by_hand

job = Job("import-licence", schedule=by_hand(), target=LICENSING, concurrency=50, needs=[NALD], retry=Retry(retries=3))


@job.source
def licences(run: Run) -> Iterator[Entry]:
    for licence in queued(run.bucket(NALD), run.scheduled_for):
        yield Entry.of(licence, key=NUMBER)


@job.callback
async def put_licence(licence: dict[str, str], call: Call) -> None:
    await call.http.put(f"/licences/{quote(call.key, safe='')}", json=licence)
