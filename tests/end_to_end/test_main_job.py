"""The main job with one command: exact counts, whatever the size, and the same ones again."""

from datetime import timedelta

import pytest

from rollcall.core.catalog import find
from rollcall.core.values import digest
from tests.end_to_end.clone import Clone
from tools.stand_ins.faults import expected_calls

pytestmark = [pytest.mark.end_to_end, pytest.mark.accounting]

SEED = 7
FIELDS = {
    *("run_id", "job", "state", "clean", "total", "succeeded", "rejected", "failed", "unknown", "duplicates"),
    *("callbacks", "injected", "calls_per_entry", "messages_sent", "completions", "seconds"),
    *("requests", "requests_per_entry", "peak_memory_mb"),
}


@pytest.mark.parametrize("entries", [1, 100, 1_000])
def test_every_entry_is_called_until_it_succeeds_and_the_run_completes_once(whole_clone: Clone, entries: int) -> None:
    job = find("client-deposit-update").job
    example = job.example_record
    assert example is not None
    command = ("run", job.name, "--json", "--entries", str(entries), "--seed", str(SEED), "--error-rate", "0.02")
    ended = whole_clone.rollcall(*command)
    assert ended.code == 0, ended.err
    result = ended.result
    assert result.keys() >= FIELDS
    assert result["run_id"].startswith(f"{job.name}-2")
    assert (result["job"], result["state"], result["clean"]) == (job.name, "complete", True)
    assert (result["total"], result["succeeded"], result["messages_sent"]) == (entries, entries, entries)
    assert [result[name] for name in ("rejected", "failed", "unknown", "duplicates")] == [0, 0, 0, 0]
    assert result["completions"] == 1
    # A pure function of the seed: the same command gives the same counts.
    identities = [digest(str(example(n)["Deposit_ID"]))[:32] for n in range(entries)]
    expected = expected_calls(SEED, identities, 0.02, job.retry.retries + 1)
    assert (result["callbacks"], result["injected"]) == (expected.calls, expected.injected)
    assert result["callbacks"] == entries + result["injected"]
    assert result["calls_per_entry"] == {str(times): count for times, count in expected.calls_per_entry.items()}
    assert result["requests"]["sqs"]["SendMessageBatch"] >= entries / 10
    assert {"dynamodb", "s3", "sqs", "eventbridge"} <= result["requests"].keys()
    assert set(result["peak_memory_mb"]) >= {"fan_out", "worker"}
    assert timedelta(0) < timedelta(seconds=result["seconds"]) < timedelta(seconds=60)
    print(f"{entries} entries: {result['requests_per_entry']} requests per entry in {result['seconds']} s")


def test_another_run_with_the_same_seed_counts_the_same_and_tells_it_as_text(whole_clone: Clone) -> None:
    command = ("run", "client-bill-paid-status", "--entries", "40", "--seed", "3", "--error-rate", "0.2")
    first, second = whole_clone.start(*command, "--json"), whole_clone.start(*command)
    result, told = first.wait().result, second.wait()
    assert result["injected"] > 0
    assert result["callbacks"] == 40 + result["injected"]
    assert told.code == 0, told.err
    counts = f"{result['callbacks']} calls received by the stand-in, which failed {result['injected']} of them"
    for text in ("complete, clean", "announced once", "40 messages sent", counts):
        assert text in told.out
