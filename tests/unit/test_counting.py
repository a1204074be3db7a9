"""Requests are counted by service; those to the tables of jobs are no requests of the engine."""

from types import SimpleNamespace

from tools.local_cloud.counting import TABLES, Requests
from tools.local_cloud.resources import LEDGER


def test_requests_to_the_tables_of_jobs_are_counted_apart() -> None:
    requests = Requests()
    count = dict(requests.handlers())["before-send"]
    bodies = {
        "UpdateItem": f'{{"TableName": "{LEDGER}", "Key": {{}}}}',
        "BatchGetItem": f'{{"RequestItems": {{"{LEDGER}": {{}}}}}}',
        "PutItem": f'{{"TableName": "{LEDGER}-of-others", "Item": {{"note": {{"S": "{LEDGER} "}}}}}}',
        "Query": '{"TableName": "rollcall-local-transfers"}',
    }
    for operation, body in bodies.items():
        count(event_name=f"before-send.dynamodb.{operation}", request=SimpleNamespace(body=body.encode()))
    count(event_name="before-send.sqs.SendMessageBatch", request=SimpleNamespace(body=b"{}"))
    assert requests.by_service() == {
        "dynamodb": {"BatchGetItem": 1, "UpdateItem": 1},
        TABLES: {"PutItem": 1, "Query": 1},
        "sqs": {"SendMessageBatch": 1},
    }
