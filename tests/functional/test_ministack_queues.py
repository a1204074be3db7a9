"""The queues that we put into MiniStack answer as its own do, and are quick where those are slow."""

import json
import subprocess

from tools.local_cloud.ministack import CHECKOUT, PYTHON

#: Runs in MiniStack's environment: the same random requests to its own queues and to ours, with the same ids and clock.
COMPARISON = """
import asyncio, json, logging, random, sys, time, uuid
sys.path.append(sys.argv[1])
from ministack.services import sqs
from tools.local_cloud import ministack_queues

OURS = ("_prune_dedup", "_expire_retained", "_dlq_sweep", "_collect_fifo", "_act_delete_message_batch")
THEIRS = {name: getattr(sqs, name) for name in OURS}
now = 0.0
sqs.time.time = lambda: now
runner = asyncio.Runner()
logging.disable()

def story(seed):
    global now
    sqs.reset()
    now, chance, ids = 1e9, random.Random(seed), random.Random(seed)
    sqs.new_uuid = lambda: str(uuid.UUID(int=ids.getrandbits(128)))
    def act(action, **data):
        return runner.run(sqs._dispatch(action, data, ""))
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId", "VisibilityTimeout": "30", "MessageRetentionPeriod": "3600"}
    dead = act("CreateQueue", QueueName="dead.fifo", Attributes=fifo)["QueueUrl"]
    arn = act("GetQueueAttributes", QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    queue = act("CreateQueue", QueueName="q.fifo", Attributes=fifo | {"RedrivePolicy": policy})["QueueUrl"]
    told, receipts = [], ["no-such-receipt"]
    for _ in range(150):
        url = chance.choice([queue, queue, queue, dead])
        some = chance.sample(receipts, min(len(receipts), chance.randint(1, 10)))
        step = chance.choice(["send", "send", "receive", "receive", "delete", "off", "wait"])
        if step == "send":
            entries = [
                {"Id": str(n), "MessageBody": str(chance.randint(0, 60)), "MessageGroupId": str(chance.randint(0, 12))}
                for n in range(chance.randint(1, 10))
            ]
            told.append(act("SendMessageBatch", QueueUrl=queue, Entries=entries))
        elif step == "receive":
            found = act("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=chance.randint(1, 10), WaitTimeSeconds=0,
                        MessageSystemAttributeNames=["All"])
            receipts += [message["ReceiptHandle"] for message in found.get("Messages", [])]
            told.append(found)
        elif step == "delete":
            entries = [{"Id": str(n), "ReceiptHandle": one} for n, one in enumerate(some + some[:1])][:10]
            told.append(act("DeleteMessageBatch", QueueUrl=url, Entries=entries))
        elif step == "off":
            told.append(act("ChangeMessageVisibilityBatch", QueueUrl=url, Entries=[
                {"Id": str(n), "ReceiptHandle": one, "VisibilityTimeout": chance.choice([0, 5, 60])}
                for n, one in enumerate(some)]))
        else:
            now += chance.choice([0.1, 1, 20, 40, 299, 1900])
        told.append([[*map(dict, sqs._queues[each]["messages"])] for each in (queue, dead)])
    return json.dumps(told, sort_keys=True)

seeds = range(int(sys.argv[2]))
theirs = [story(seed) for seed in seeds]
ministack_queues.apply()
ours = [story(seed) for seed in seeds]
for name, function in THEIRS.items():
    assert getattr(sqs, name) is not function, name
text = "".join(ours)
print(json.dumps({"different": [seed for seed in seeds if theirs[seed] != ours[seed]],
                  "failed": text.count("ReceiptHandleIsInvalid"), "dead": text.count("DeadLetterQueueSourceArn")}))
"""


def test_our_queues_answer_as_ministacks_own() -> None:
    done = subprocess.run(
        [str(PYTHON), "-c", COMPARISON, str(CHECKOUT), "15"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["different"] == []
    assert found["failed"] > 100
    assert found["dead"] > 100
