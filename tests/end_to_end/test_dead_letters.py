"""Dead letters on the local cloud: an entry's is settled, and a stranger's is kept and settles nothing."""

from dataclasses import replace

import pytest

from rollcall.core.message import Message
from rollcall.core.names import dead_letter_queue_name
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunState
from tests.end_to_end.local import Local, declared, stand_ins
from tests.end_to_end.processes import until
from tools.local_cloud import resources

pytestmark = pytest.mark.end_to_end

ENTRIES = 300


def test_a_dead_letter_ends_its_entry_and_what_the_manifest_does_not_have_is_kept(local: Local) -> None:
    with stand_ins("side_by_side", entries=ENTRIES, latency_ms=300) as serving:
        report = f"{serving.base}/report/side-by-side"
        local.deploy(declared("side_by_side"), f"{serving.base}/target", report)
        run = local.start("side-by-side")
        assert until(lambda: (found := local.cloud.ledger.run(run)) and found.state is RunState.RUNNING, 30)
        last = message_of(local, run, ENTRIES - 1)
        for letter in (last, replace(message_of(local, run, ENTRIES - 2), payload="forged")):
            local.cloud.client("sqs").send_message(
                QueueUrl=dead_letters(local), MessageBody=letter.body(), MessageGroupId=letter.group
            )
        completed = local.completed(run)
        assert (completed["outcomes"]["succeeded"], completed["outcomes"]["unknown"]) == (ENTRIES - 1, 1)
        failure = local.failures(run)[last.key]
        assert (failure.outcome, failure.error) == (Outcome.UNKNOWN, "dead_letter")
        assert len(kept(local)) == 1


def message_of(local: Local, run: str, index: int) -> Message:
    """The message that dispatch wrote for an entry."""
    record = local.record(run)
    chunk, position = divmod(index, record.chunk_size)
    line = local.cloud.manifests.read(record, chunk)[position]
    return Message(run, record.generation, chunk, index, record.total, line.key or "", line.payload)


def dead_letters(local: Local) -> str:
    name = dead_letter_queue_name(resources.ENVIRONMENT, "side-by-side")
    url: str = local.cloud.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    return url


def kept(local: Local) -> list[str]:
    """The keys of the messages in the bucket that belong to no entry."""
    found = local.cloud.client("s3").list_objects_v2(Bucket=resources.MANIFESTS, Prefix="dead_letter/")
    return [each["Key"] for each in found.get("Contents", [])]
