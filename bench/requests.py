"""AWS requests per entry, by service and operation, as `rollcall run --json` counts them.

Measured: every request that a boto3 client of the functions and of the polling sends, its retries and empty
receives included, from the start of a run of the main job to its announcement; 1 % of the calls are answered
with 503 and called again. Three times: with the messages as the queue hands them out, in the order of the manifest;
the same with a rate that the workers do not reach; and shuffled, where each batch consists of messages of any chunk
(`main_job.ShuffledSource` receives the whole run first).

Limits: MiniStack hands messages out in the order in which they were sent. FIFO queues of AWS promise no order between
groups; high throughput spreads groups over partitions, so a batch's entries come from a stretch of the manifest as
many times longer as there are partitions. The truth lies between the two figures, near the first. Reads of the stream
are listed and not reckoned in: Lambda makes them and AWS does not bill them. Lambda's pollers receive with more
threads, so they have more empty receives at the end.
"""

import argparse

from bench.main_job import Ran, run_main_job
from bench.result import Result

BUDGET = 0.45
RATED_BUDGET = BUDGET + 0.1
HANDLERS = ("fan_out", "worker", "completion")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--error-rate", type=float, default=0.01)
    parser.add_argument("--rate", default="500/s burst 50", help="of the rated run")
    parser.add_argument("--in-order-only", action="store_true", help="leave the shuffled and the rated run out")


def measure(arguments: argparse.Namespace) -> Result:
    """Run the main job three times."""
    result = Result("requests")
    rates = {"latency_ms": arguments.latency_ms, "error_rate": arguments.error_rate}
    in_order = run_main_job(arguments.entries, **rates)
    result.judge("in order, requests per entry", in_order.requests_per_entry, BUDGET, in_order=_fields(in_order))
    _tell(result, in_order)
    if not arguments.in_order_only:
        rated = run_main_job(arguments.entries, rate=arguments.rate, **rates)
        per_entry, rate = rated.requests_per_entry, arguments.rate
        result.judge(f"rated at {rate}, requests per entry", per_entry, RATED_BUDGET, rated=_fields(rated))
        _tell(result, rated)
        shuffled = run_main_job(arguments.entries, shuffled=True, **rates)
        result.add("shuffled, requests per entry", shuffled.requests_per_entry, shuffled=_fields(shuffled))
        _tell(result, shuffled)
    return result


def _fields(ran: Ran) -> dict[str, object]:
    return {
        "entries": ran.entries,
        "clean": ran.clean,
        "requests_per_entry": round(ran.requests_per_entry, 4),
        "requests": ran.requests,
        "callbacks": ran.callbacks,
        "injected": ran.injected,
        "handlers_cpu_per_1000": round(_cpu(ran), 3),
        "seconds": round(ran.seconds, 1),
    }


def _cpu(ran: Ran) -> float:
    """Seconds that the handlers' processes used for 1,000 entries, their starts included."""
    return sum(ran.cpu_seconds.get(kind, 0.0) for kind in HANDLERS) / ran.entries * 1_000


def _tell(result: Result, ran: Ran) -> None:
    for service, counts in ran.requests.items():
        for operation, count in counts.items():
            result.add(f"  {service} {operation}", f"{count:,} ({count / ran.entries:.4f} an entry)")
    result.add("  handlers' CPU for 1,000 entries, starts included", _cpu(ran), "s")
