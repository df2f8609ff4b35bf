"""Tables keep concurrent writes, and a repeated request is written once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.cloud import Cloud

WRITES = 200


@pytest.fixture
def table(cloud: Cloud) -> str:
    return cloud.resources["Table"]


def put(table: str, key: str, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": {"id": {"S": key}}, **more}}


def add(table: str, key: str) -> dict[str, Any]:
    values = {":one": {"N": "1"}}
    update = {"TableName": table, "Key": {"id": {"S": key}}, "UpdateExpression": "ADD n :one"}
    return {"Update": {**update, "ExpressionAttributeValues": values}}


def count(cloud: Cloud, table: str, key: str) -> int:
    item = cloud.client("dynamodb").get_item(TableName=table, Key={"id": {"S": key}})["Item"]
    return int(item["n"]["N"])


def test_a_canceled_transaction_keeps_concurrent_writes(cloud: Cloud, table: str) -> None:
    dynamodb = cloud.client("dynamodb")
    dynamodb.put_item(TableName=table, Item={"id": {"S": "taken"}})
    refused = [put(table, "taken", ConditionExpression="attribute_not_exists(id)"), add(table, "never counted")]

    def write(number: int) -> None:
        dynamodb.put_item(TableName=table, Item={"id": {"S": f"kept {number}"}})
        dynamodb.transact_write_items(TransactItems=[add(table, "counted")])
        with pytest.raises(ClientError):
            dynamodb.transact_write_items(TransactItems=refused)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(WRITES)))
    found = {item["id"]["S"] for item in dynamodb.scan(TableName=table)["Items"]}
    assert {f"kept {number}" for number in range(WRITES)} <= found
    assert "never counted" not in found
    assert count(cloud, table, "counted") == WRITES


def test_a_transaction_that_is_repeated_with_its_token_is_written_once(cloud: Cloud, table: str) -> None:
    for _ in range(2):
        cloud.client("dynamodb").transact_write_items(TransactItems=[add(table, "once")], ClientRequestToken="the same")
    assert count(cloud, table, "once") == 1


def test_an_item_of_every_type_comes_back_as_it_was_written(cloud: Cloud, table: str) -> None:
    item = {
        "id": {"S": "types"},
        "empty": {"S": ""},
        "number": {"N": "1.50"},
        "flag": {"BOOL": False},
        "null": {"NULL": True},
        "bytes": {"B": b"\x00\xff"},
        "list": {"L": [{"S": "a"}, {"M": {"nested": {"N": "2"}, "none": {"NULL": True}}}, {"L": []}]},
        "sets": {"SS": ["a", "b"]},
        "numbers": {"NS": ["1", "2"]},
        "parts": {"BS": [b"1"]},
    }
    dynamodb = cloud.client("dynamodb")
    dynamodb.put_item(TableName=table, Item=item)
    assert dynamodb.get_item(TableName=table, Key={"id": {"S": "types"}})["Item"] == item
    assert item in dynamodb.scan(TableName=table)["Items"]
