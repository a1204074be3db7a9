"""A pipeline: a file is looked at, its things are imported, and that is written down."""

import io
from datetime import timedelta

from rollcall import Bucket, Jitter, Objects, Pipeline, Retry, Skip, Task, every

FILES = Bucket("files", writes=True)
#: What the file has that cannot be read.
BROKEN = b"broken"

job = Pipeline("piped", schedule=every(hours=6, at="04:00"), needs=[FILES], timeout=timedelta(seconds=10))


@job.task("look")
def look(task: Task) -> Skip | None:
    etag = task.call.bucket(FILES).etag("things")
    if etag is not None and etag == task.kept.get("etag"):
        return Skip("the file has not changed")
    task.keep("etag", str(etag))
    return None


@job.task("read", retry=Retry(retries=1, first=timedelta(0), jitter=Jitter.NONE))
def read(task: Task) -> None:
    file = io.BytesIO()
    task.call.bucket(FILES).download("things", file)
    if file.getvalue() == BROKEN:
        raise ValueError("the file cannot be read")


job.fan_out("imported", at_least=0.5)


@job.task("write-down")
def write_down(task: Task) -> None:
    task.call.bucket(FILES).upload(f"done/{task.call.run_id}", io.BytesIO(b"done"))


@job.fill(FILES)
def things(files: Objects, entries: int) -> None:
    files.upload("things", io.BytesIO(str(entries).encode()))
