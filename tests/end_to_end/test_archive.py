"""Old transfers go from their tables to files, month after month, on the real state machine."""

import pytest

from functions.jobs.transfers import archive_transfers
from functions.jobs.transfers._targets import ARCHIVE, BACKUPS, PROVIDER_STATUS, TRANSFERS
from rollcall.core.catalog import find
from rollcall.core.names import table_name
from tests.end_to_end.local import Local
from tools.local_cloud.resources import ENVIRONMENT

pytestmark = pytest.mark.end_to_end

ENTRIES = 72


def test_every_old_row_is_in_one_file_or_in_its_table_and_the_time_is_kept(local: Local) -> None:
    declared = find("archive-transfers")
    local.cloud.deploy(declared, None, {})
    transfers = [archive_transfers.example(n) for n in range(ENTRIES)]
    verdicts = [said for n in range(ENTRIES) if (said := archive_transfers.example_verdict(n)) is not None]
    local.cloud.fill(TRANSFERS, transfers)
    local.cloud.fill(PROVIDER_STATUS, verdicts)
    objects = local.cloud.objects(ARCHIVE)
    run = local.start(declared.job.name)
    completed = local.completed(run, 180)
    assert (completed["clean"], completed["total"]) == (True, 25)
    assert local.completions(run) == 1
    old = [item for item in transfers if item["state"] in ("FINISHED", "FAILED")]
    filed = {"transfers": 0, "provider-status": 0}
    for key in list(objects.keys()):
        filed[key.partition("/")[0]] += int(objects.facts(key)["rows"])
    assert filed == {"transfers": len(old), "provider-status": len(verdicts)}
    left = {name: local.cloud.address.tables.scan(TableName=table_name(ENVIRONMENT, name))["Items"] for name in filed}
    assert {item["id"] for item in left["transfers"]} == {
        item["id"] for item in transfers if item["state"] == "PROCESSING"
    }
    assert left["provider-status"] == []
    (kept,) = local.cloud.address.tables.scan(TableName=table_name(ENVIRONMENT, BACKUPS.name))["Items"]
    assert kept["at"] == local.record(run).scheduled_for.isoformat()
