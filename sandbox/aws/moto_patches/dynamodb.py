"""DynamoDB: concurrent requests, transactions, and large answers."""

import copy
from threading import Lock
from types import SimpleNamespace
from typing import Any

from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb import models
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

from sandbox.aws.moto_patches.patching import Context, Replace

_SCALARS = frozenset({"S", "N", "BOOL", "NULL"})


def apply(replace: Replace, _: Context) -> None:
    """Apply the patches of this service."""
    _serialize_requests(replace)
    _roll_back_items_only(replace)
    _honor_request_tokens(replace)
    _answer_scalars_as_they_are(replace)


def _serialize_requests(replace: Replace) -> None:
    # moto 5.2.5: tables are not thread-safe; writes of concurrent requests are lost. AWS: items are atomic.
    call = DynamoHandler.call_action
    lock = Lock()

    def call_alone(self: DynamoHandler) -> Any:
        with lock:
            return call(self)

    replace(DynamoHandler, "call_action", call_alone)


def _roll_back_items_only(replace: Replace) -> None:
    # moto 5.2.5: copies the whole table for each transaction, and restores it when the transaction is canceled.
    # AWS: a canceled transaction changes nothing. Here only the transaction's own items are copied and restored.
    write = DynamoDBBackend.transact_write_items

    def write_all_or_nothing(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        before = [_item_before(self, operation) for one in transact_items for operation in one.values()]
        try:
            write(self, transact_items)
        except Exception:
            for table, keys, item in before:
                _restore(table, keys, item)
            raise

    replace(models, "copy", SimpleNamespace(deepcopy=lambda one: one if isinstance(one, Table) else copy.deepcopy(one)))
    replace(DynamoDBBackend, "transact_write_items", write_all_or_nothing)


def _item_before(backend: DynamoDBBackend, operation: dict[str, Any]) -> tuple[Table, tuple[Any, Any], Item | None]:
    table = backend.get_table(operation["TableName"])
    keys = backend.get_keys_value(table, operation.get("Key") or operation["Item"])
    return table, keys, copy.deepcopy(table.get_item(*keys))


def _restore(table: Table, keys: tuple[Any, Any], item: Item | None) -> None:
    if item is None:
        table.delete_item(*keys)
    elif table.has_range_key:
        table.items[keys[0]][keys[1]] = item
    else:
        table.items[keys[0]] = item  # type: ignore[assignment]  # moto's type is that of tables with a range key


def _honor_request_tokens(replace: Replace) -> None:
    # moto 5.2.5: ignores ClientRequestToken. AWS: a transaction that is repeated with its token is written once; the
    # SDK repeats one whose response is lost.
    write = DynamoHandler.transact_write_items
    responses: dict[str, Any] = {}

    def write_once(self: DynamoHandler) -> Any:
        token = self.body["ClientRequestToken"]
        if token not in responses:
            responses[token] = write(self)
        return responses[token]

    replace(DynamoHandler, "transact_write_items", write_once)


def _answer_scalars_as_they_are(replace: Replace) -> None:
    # moto 5.2.5: looks for each of the ten types in each value under several names, which takes 3 ms an item. AWS:
    # answers a page of 1,000 items in some milliseconds. A text, a number, and a flag are in the answer as stored.
    structure = BaseJSONSerializer._serialize_type_structure

    def serialize(self: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and isinstance(value, dict) and value.keys() <= _SCALARS:
            self._default_serialize(serialized, value, shape, key)
        else:
            structure(self, serialized, value, shape, key)

    replace(BaseJSONSerializer, "_serialize_type_structure", serialize)
