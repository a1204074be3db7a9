"""Recurring transfers on a local cloud: a bank that refuses, fails and loses answers moves each one's money once."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from functions.jobs.transfers._targets import PROVIDER_STATUS, TRANSFERS
from functions.jobs.transfers._transfers import Transfer
from rollcall import Table
from rollcall.core import names
from rollcall.core.catalog import find
from tests.end_to_end.clone import Clone
from tests.end_to_end.local import Local
from tools.cli.stand_ins import StandIns
from tools.local_cloud.counting import TABLES
from tools.local_cloud.resources import ENVIRONMENT
from tools.stand_ins.bank_faults import is_refused

pytestmark = pytest.mark.end_to_end

ENTRIES, SEED, REFUSED = 60, 11, 0.15


def items(local: Local, table: Table) -> dict[str, Mapping[str, Any]]:
    name = names.table_name(ENVIRONMENT, table.name)
    pages = local.cloud.address.tables.get_paginator("scan").paginate(TableName=name)
    return {each[table.key]: each for page in pages for each in page["Items"]}


def test_each_accepted_transfer_moves_money_once_and_all_is_written_down(local: Local) -> None:
    declared = find("execute-transfers")
    example = declared.job.example_record
    assert example is not None
    due = {str(example(n)["id"]): Transfer.model_validate(example(n)) for n in range(ENTRIES)}
    refused = {each for each in due if is_refused(SEED, each, REFUSED)}
    assert 0 < len(refused) < ENTRIES / 2
    faults = {"bank_refusal_rate": REFUSED, "bank_error_rate": 0.1, "bank_lost_rate": 0.1}
    with StandIns(latency_ms=10, seed=SEED, **faults) as stand_ins:
        local.deploy(declared, stand_ins.of("bank"), report="")
        local.cloud.fill(TRANSFERS, (example(n) for n in range(ENTRIES)))
        completed = local.run(declared.job.name)
        bank = stand_ins.counts("bank")
    assert completed["state"] == "complete"
    outcomes = {name: count for name, count in completed["outcomes"].items() if count}
    assert outcomes == {"succeeded": ENTRIES - len(refused), "rejected": len(refused)}
    assert set(local.failures(completed["run"])) == refused

    assert bank["movements_per_reference"] == {"1": ENTRIES - len(refused)}
    assert (bank["refused"], bank["moved_twice"]) == (len(refused), [])
    assert min(bank["errors"], bank["lost"], bank["replayed"]) > 0, "else this has shown little"

    verdicts = items(local, PROVIDER_STATUS)
    assert {name: each["status"] for name, each in verdicts.items()} == {
        name: "refused" if name in refused else "booked" for name in due
    }
    assert {each["run"] for each in verdicts.values()} == {completed["run"]}

    today = date.fromisoformat(completed["scheduled_for"][:10])
    following = {each.id for transfer in due.values() for each in transfer.following(today)}
    states = {name: each["state"] for name, each in items(local, TRANSFERS).items()}
    assert states == dict.fromkeys(due, "FINISHED") | dict.fromkeys(following, "PENDING")

    again = local.run(declared.job.name)
    assert (again["state"], again["total"]) == ("complete", 0), "nothing else is due"


def test_the_command_fills_the_table_counts_the_jobs_own_requests_apart_and_tells_of_the_bank(
    whole_clone: Clone,
) -> None:
    command = ("run", "execute-transfers", "--entries", "30", "--seed", "3", "--error-rate", "0.1", "--latency-ms", "5")
    ended = whole_clone.rollcall(*command, "--json")
    assert ended.code == 0, ended.err
    result = ended.result
    assert (result["total"], result["succeeded"], result["clean"]) == (30, 30, True)
    assert result["bank"] == {
        "movements": 30, "movements_per_reference": {"1": 30}, "moved_twice": [], "refused": 0, "probes": 0,
    }  # fmt: skip
    assert result["callbacks"] == 30 + result["injected"]
    assert result["injected"] > 0
    own = Counter(result["requests"][TABLES])
    # Each is marked by the source, by every call, by every failed one, and at the end.
    assert own["UpdateItem"] == 30 + result["callbacks"] + result["injected"] + 30
    assert "BatchWriteItem" not in own
    engine = sum(sum(counts.values()) for name, counts in result["requests"].items() if name not in _NOT_BILLED_TO_IT)
    assert result["requests_per_entry"] == round(engine / 30, 4)
    assert "the bank moved money 30 times, more than once for 0 transfers; it refused 0" in ended.err


_NOT_BILLED_TO_IT = {TABLES, "dynamodb-streams"}
