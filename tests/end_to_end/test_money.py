"""Workers are killed while money moves: once for each transfer, whether the bank takes keys or not."""

from importlib import import_module

import pytest

from functions.jobs.transfers._targets import TRANSFERS
from rollcall.core.catalog import Declared
from rollcall.core.names import table_name
from tests.end_to_end.local import Local
from tests.end_to_end.processes import until
from tools.cli.stand_ins import StandIns
from tools.local_cloud.resources import ENVIRONMENT

pytestmark = pytest.mark.end_to_end

ENTRIES = 110
TABLE = table_name(ENVIRONMENT, TRANSFERS.name)


@pytest.mark.parametrize(
    ("module", "keys", "first"),
    [("functions.jobs.transfers.execute_transfers", True, 1_000), ("bench.claimed_transfers", False, 2_000)],
    ids=["with keys", "with claims"],
)
def test_each_transfer_moves_money_once_whatever_is_lost_and_whoever_is_killed(
    local: Local, module: str, keys: bool, first: int
) -> None:
    job = import_module(module).job
    faults = {"bank_lost_rate": 0.04, "bank_late_rate": 0.02, "bank_late_s": 2.0, "bank_keys": keys}
    with StandIns(latency_ms=60, **faults) as stand_ins:
        deployed = local.deploy(Declared(job, "transfers", module), stand_ins.of("bank"), "", visibility=6)
        for number in range(first, first + ENTRIES):
            local.cloud.address.tables.put_item(TableName=TABLE, Item=job.example_record(number))
        run, killed = local.start(job.name), 0
        for posts in (15, 40, 70):
            assert until(lambda posts=posts: stand_ins.counts("bank")["posts"] >= posts, 30)  # type: ignore[misc]
            killed += until(deployed.worker.kill_one, 5, 0.001)
        completed = local.completed(run)
        bank = stand_ins.counts("bank")
    assert killed == 3
    assert (completed["clean"], completed["outcomes"]["succeeded"]) == (True, ENTRIES)
    assert bank["movements_per_reference"] == {"1": ENTRIES}
    assert min(bank["lost"], bank["late"]) > 0, "else this has shown little"
    assert bank["replayed" if keys else "probes"] > 0
    if not keys:
        assert bank["posts"] == ENTRIES, "no call was made again that the bank had had"
