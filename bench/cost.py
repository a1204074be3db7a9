"""Dollars for a run of 1,000,000 entries, computed from what a run of the main job measures.

Measured: requests by service and operation, sizes of the ledger's items, and the functions' CPU, each as the difference
between a run of 10,000 entries and one of a tenth (`main_job.py`), so that what a run costs whatever its size does not
count a hundred times. Computed from that, for callbacks of 200 ms, width 10, workers of 256 MB arm64, us-east-1:

* SQS FIFO $0.50 a million requests: sends, receives, deletes, visibility changes.
* DynamoDB $0.625 a million write units, a write of an item being as many as its whole final size has kilobytes (rounded
  up; most writes meet it smaller), a transaction twice that; $0.125 a million read units.
* Lambda $1.33334e-5 a GB-second and $0.20 a million requests. A worker's invocation lasts 200 ms of waiting and, where
  said, its CPU time at the share of a core that 256 MB have (256/1,769). Fan-out has 1,769 MB, one core.
* S3 $5 a million writes and $0.40 a million reads: two of them per 250 entries.

The same for the job in batches of fifty (`batched_deposits.py`): requests, the slices' invocations and the state
transitions are measured in the same way, from runs of 1,000 entries and of a tenth. Step Functions takes $25 for a
million transitions; a batch's invocation lasts one callback, for all of it is called at once. Beside them, reckoned and
not run, a Distributed Map with Express children of fifty entries each: a transition, an Express request ($1 a million)
and an invocation a child, which calls ten at a time and counts nothing.

Limits: list prices without free tier, of 2026-11. CPU is that of this machine and not of arm64. Logs, the schedule,
the stream (which Lambda polls for nothing), storage, data transfer and Lambda's empty receives are left out.
"""

import argparse
import math
from collections.abc import Mapping
from typing import Any

from bench.executions import transitions
from bench.main_job import BATCHED, Ran, run_main_job
from bench.result import Result
from rollcall.core.sizing import BATCH_SIZE
from tools.cli.local_run import UNBILLED

BUDGET = 0.35
MILLION = 1_000_000
SQS, WRITE_UNIT, READ_UNIT, GB_SECOND, INVOCATION = 0.50, 0.625, 0.125, 1.33334e-5, 0.20
S3_WRITE, S3_READ = 5.0, 0.40
CALLBACK_SECONDS = 0.2
TRANSITION, EXPRESS = 25.0, 1.0
#: Of a batch, and of a Distributed Map's child; and how many of these it calls at once.
BATCH, CHILD_WIDTH = 50, 10
WORKER_GB, FAN_OUT_GB = 256 / 1024, 1769 / 1024
#: What 1,769 MB have: one core (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
WORKER_CORES = 256 / 1769
KILOBYTE = 1024


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--latency-ms", type=float, default=50.0, help="of the measured run; the bill is for 200 ms")
    parser.add_argument("--error-rate", type=float, default=0.01)
    parser.add_argument("--in-batches", type=int, default=1_000, help="entries of the run in batches; 0 leaves it out")


def measure(arguments: argparse.Namespace) -> Result:
    """Run the main job in two sizes and make out the bill."""
    result = Result("cost")
    rates = {"latency_ms": arguments.latency_ms, "error_rate": arguments.error_rate}
    small = run_main_job(max(1, arguments.entries // 10), **rates)
    ran = run_main_job(arguments.entries, **rates)
    sizes = chunk_sizes(ran)
    units = math.ceil(max(sizes) / KILOBYTE)
    result.add("largest chunk's item", max(sizes), "bytes", chunk_bytes=max(sizes), write_units=units)
    result.add("  and with a byte more a member, as in a list", max(sizes) + 250, "bytes")
    bill = bill_of(_more(ran, small), _more_cpu(ran, small), units)
    for item, dollars in bill.items():
        result.add(f"  {item}", f"$ {dollars:.4f}")
    waiting = sum(dollars for item, dollars in bill.items() if not item.endswith("CPU"))
    result.judge("1,000,000 entries, calls as waiting only", waiting, BUDGET, "$", bill=_rounded(bill))
    result.add("with the functions' CPU", sum(bill.values()), "$", with_cpu=round(sum(bill.values()), 4))
    result.add("  requests of an entry", _in_all(_more(ran, small)), requests=round(_in_all(_more(ran, small)), 4))
    if arguments.in_batches:
        small = run_main_job(max(BATCH, arguments.in_batches // 10), module=BATCHED, **rates)
        _tell_batches(result, run_main_job(arguments.in_batches, module=BATCHED, **rates), small)
    return result


def bill_of(requests: Mapping[tuple[str, str], float], cpu: Mapping[str, float], units: int) -> dict[str, float]:
    """Dollars for a million entries, from requests and CPU seconds of one entry."""
    batches = MILLION * requests["sqs", "DeleteMessageBatch"]
    sqs = sum(each for (service, _), each in requests.items() if service == "sqs")
    s3_reads, s3_writes = requests.get(("s3", "GetObject"), 0.0), requests.get(("s3", "PutObject"), 0.0)
    reads = requests.get(("dynamodb", "BatchGetItem"), 0.0) + requests.get(("dynamodb", "GetItem"), 0.0)
    cpu_seconds = MILLION * cpu.get("worker", 0.0) / WORKER_CORES
    return {
        "SQS": sqs * SQS,
        "DynamoDB writes": requests["dynamodb", "UpdateItem"] * units * WRITE_UNIT,
        "DynamoDB reads": reads * READ_UNIT,
        "Lambda, worker, invocations": batches / MILLION * INVOCATION,
        "Lambda, worker, waiting": batches * CALLBACK_SECONDS * WORKER_GB * GB_SECOND,
        "S3": s3_reads * S3_READ + s3_writes * S3_WRITE,
        "Lambda, worker, CPU": cpu_seconds * WORKER_GB * GB_SECOND,
        "Lambda, fan-out, CPU": MILLION * cpu.get("fan_out", 0.0) * FAN_OUT_GB * GB_SECOND,
    }


def _tell_batches(result: Result, ran: Ran, small: Ran) -> None:
    """The bill of the same work in batches, and of a Distributed Map."""
    requests, more = _more_requests(ran, small), max(1, ran.entries - small.entries)
    moved = (_transitions(ran) - _transitions(small)) / more
    rounds = (ran.events.count("TaskScheduled") - small.events.count("TaskScheduled")) / more
    bill = bill_of_batches(requests, _more_cpu(ran, small), moved, rounds)
    result.add(f"in batches of {BATCH}: requests of an entry", _in_all(requests), requests_in_batches=_in_all(requests))
    result.add("  state transitions of a batch", moved * BATCH, transitions_of_a_batch=moved * BATCH)
    for item, dollars in bill.items():
        result.add(f"  {item}", f"$ {dollars:.4f}")
    result.add("1,000,000 entries in batches", sum(bill.values()), "$", bill_in_batches=_rounded(bill))
    result.add("1,000,000 entries by a Distributed Map", distributed_map(), "$", distributed_map=distributed_map())


def bill_of_batches(
    requests: Mapping[tuple[str, str], float], cpu: Mapping[str, float], transitions: float, rounds: float
) -> dict[str, float]:
    """Dollars for a million entries, from what one entry takes. A chunk's item is within one write unit."""
    writes = requests.get(("dynamodb", "UpdateItem"), 0.0) + requests.get(("dynamodb", "PutItem"), 0.0)
    reads = requests.get(("dynamodb", "BatchGetItem"), 0.0)
    s3_reads, s3_writes = requests.get(("s3", "GetObject"), 0.0), requests.get(("s3", "PutObject"), 0.0)
    invocations = MILLION * rounds
    return {
        "Step Functions": transitions * TRANSITION,
        "DynamoDB": writes * WRITE_UNIT + reads * READ_UNIT,
        "Lambda, batches, invocations": invocations / MILLION * INVOCATION,
        "Lambda, batches, waiting": invocations * CALLBACK_SECONDS * WORKER_GB * GB_SECOND,
        "S3": s3_reads * S3_READ + s3_writes * S3_WRITE,
        "Lambda, batches, CPU": MILLION * cpu.get("batch", 0.0) / WORKER_CORES * WORKER_GB * GB_SECOND,
        "Lambda, fan-out, CPU": MILLION * cpu.get("fan_out", 0.0) * FAN_OUT_GB * GB_SECOND,
    }


def distributed_map() -> float:
    """Dollars for a million entries."""
    children = MILLION / BATCH
    waiting = children * BATCH / CHILD_WIDTH * CALLBACK_SECONDS * WORKER_GB * GB_SECOND
    return round(children / MILLION * (TRANSITION + EXPRESS + INVOCATION) + waiting, 4)


def _transitions(ran: Ran) -> int:
    return transitions(ran.events, -(-ran.entries // BATCH))


def _in_all(requests: Mapping[tuple[str, str], float]) -> float:
    return round(sum(each for (service, _), each in requests.items() if service != UNBILLED), 4)


def _more(ran: Ran, small: Ran) -> dict[tuple[str, str], float]:
    """As `_more_requests`; receives and deletes never fewer than a batch of ten needs."""
    found = _more_requests(ran, small)
    for operation in ("SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"):
        found["sqs", operation] = max(found["sqs", operation], 1 / BATCH_SIZE)
    return found


def _more_requests(ran: Ran, small: Ran) -> dict[tuple[str, str], float]:
    """Requests that an entry more makes."""
    found: dict[tuple[str, str], float] = {}
    for service, counts in ran.requests.items():
        for operation, count in counts.items():
            less = small.requests.get(service, {}).get(operation, 0)
            found[service, operation] = max(0.0, (count - less) / max(1, ran.entries - small.entries))
    return found


def _more_cpu(ran: Ran, small: Ran) -> dict[str, float]:
    more = max(1, ran.entries - small.entries)
    return {kind: max(0.0, used - small.cpu_seconds.get(kind, 0.0)) / more for kind, used in ran.cpu_seconds.items()}


def chunk_sizes(ran: Ran) -> list[int]:
    """Bytes of the chunks' items at the end of the run."""
    return [item_size(item) for item in ran.items if "settled" in item]


def item_size(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes that DynamoDB charges an item with.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html: names and texts in
    UTF-8; a number a byte for every two significant digits and one more. Of sets it only says that they are
    the sum of their members.
    """
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return _number_size(content)
        case "NS":
            return sum(map(_number_size, content))
        case "SS":
            return sum(len(text.encode()) for text in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(inner) for name, inner in content.items())
        case "L":
            return 3 + sum(1 + _size(inner) for inner in content)
        case _:
            return 1


def _number_size(text: str) -> int:
    digits = text.lstrip("-").replace(".", "").strip("0")
    return -(-len(digits) // 2) + 1 + text.startswith("-")


def _rounded(bill: Mapping[str, float]) -> dict[str, float]:
    return {item: round(dollars, 4) for item, dollars in bill.items()}
