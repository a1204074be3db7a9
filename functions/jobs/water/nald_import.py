"""Import the national list of licences, every night that there is a new one."""

from datetime import timedelta
from tempfile import TemporaryFile

from functions.jobs.water._nald import (
    NUMBER,
    ZIP,
    document_key,
    pack,
    queue_licences,
    remove_documents,
    unpack,
)
from functions.jobs.water._targets import NALD
from rollcall import Objects, Pipeline, Rejected, Retry, Skip, Task, daily

pipeline = Pipeline("nald-import", schedule=daily("01:00", timezone="Europe/London"), needs=[NALD])

#: Documents of licences that the list of a local run does not have any more.
STALE = ("99/99/99/0001", "99/99/99/0002")


@pipeline.task("s3-download", retry=Retry(retries=3, first=timedelta(seconds=10)))
def download(task: Task) -> Skip | None:
    objects = task.call.bucket(NALD)
    etag = objects.etag(ZIP)
    if etag is None:
        raise Rejected(f"there is no {ZIP}")
    if etag == task.kept.get("etag"):
        return Skip("the file has not changed")
    task.keep("etag", unpack(objects, task.call.scheduled_for))
    return None


@pipeline.task("delete-removed-documents")
def delete_removed_documents(task: Task) -> None:
    remove_documents(task.call.bucket(NALD), task.call.scheduled_for)


@pipeline.task("queue-licences")
def queue(task: Task) -> None:
    queue_licences(task.call.bucket(NALD), task.call.scheduled_for)


pipeline.fan_out("import-licence", at_least=0.95)


@pipeline.fill(NALD)
def fill(objects: Objects, entries: int) -> None:
    """Upload the list of a local run, with documents of its first and of removed licences."""
    with TemporaryFile() as file:
        pack((example(n) for n in range(entries)), example(0), file)
        objects.upload(ZIP, file)
    for number in (*(example(n)[NUMBER] for n in range(min(entries, 10))), *STALE):
        with TemporaryFile() as file:
            file.write(b"{}")
            objects.upload(document_key(number), file)


def example(n: int) -> dict[str, str]:
    return {
        NUMBER: f"{n % 28 + 1:02}/{n // 28 % 100:02}/{n // 2800 % 100:02}/{n:06}",
        "REGION": str(n % 8 + 1),
        "EXPIRES": f"{2027 + n % 20}-03-31",
        "PURPOSE": "Spray irrigation",
    }
