"""The backfill sends every photo whose key SQS accepts, and counts the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.client import BaseClient
from moto.core import DEFAULT_ACCOUNT_ID

from tests.workflow.harness import Workflow

REFUSED_BY_SQS = ["a\ufffe.jpg", "\uffff", "b/\ufffe\uffff"]


@pytest.fixture(autouse=True)
def _strict_sqs(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQS refuses the whole batch if one message has a character outside of XML's. Moto accepts all of them."""
    from moto.sqs.models import SQSBackend

    send = SQSBackend.send_message

    def strict(self: Any, queue_name: str, message_body: str, *args: Any, **named: Any) -> Any:
        assert not {"\ufffe", "\uffff"} & set(message_body)
        return send(self, queue_name, message_body, *args, **named)

    monkeypatch.setattr(SQSBackend, "send_message", strict)


def _photos(prefix: str, names: list[str]) -> dict[str, bytes]:
    return {prefix + name: b"photo" for name in names}


def test_keys_that_sqs_refuses_are_left_out_and_counted(workflow: Workflow) -> None:
    names = [f"{number}.jpg" for number in range(12)]
    ended, sent = workflow.backfill(_photos("refused/", [*names, *REFUSED_BY_SQS]), "refused/")
    assert (ended["status"], json.loads(ended["output"])) == (
        "SUCCEEDED",
        {"prefix": "refused/", "sent": 12, "left_out": 3},
    )
    assert sorted(sent) == sorted(f"refused/{name}" for name in names)


def test_other_keys_are_sent_as_they_are(workflow: Workflow) -> None:
    names = ["\x01.jpg", "\ud7ff\ue000\ufffd", "\U0001fffe", "\"\\'", "\t"]
    ended, sent = workflow.backfill(_photos("odd/", names), "odd/")
    assert json.loads(ended["output"]) == {"prefix": "odd/", "sent": len(names), "left_out": 0}
    assert sorted(sent) == sorted(f"odd/{name}" for name in names)


def test_only_folder_markers_are_no_photos(workflow: Workflow) -> None:
    """An empty photo is sent, so that submit reports it."""
    objects = {"empty/": b"", "empty/folder/": b"", "empty/photo.jpg": b"", "empty/odd/": b"photo"}
    ended, sent = workflow.backfill(objects, "empty/")
    assert json.loads(ended["output"]) == {"prefix": "empty/", "sent": 2, "left_out": 0}
    assert sorted(sent) == ["empty/odd/", "empty/photo.jpg"]


def test_a_prefix_without_objects(workflow: Workflow) -> None:
    ended, sent = workflow.backfill({}, "nothing/")
    assert json.loads(ended["output"]) == {"prefix": "nothing/", "sent": 0, "left_out": 0}
    assert sent == []


def test_the_bucket_must_belong_to_the_account(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    call_api, owners = BaseClient._make_api_call, list[Any]()

    def recorded(client: Any, name: str, parameters: dict[str, Any]) -> Any:
        if name == "GetBucketVersioning":
            owners.append(parameters.get("ExpectedBucketOwner"))
        return call_api(client, name, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    ended, _ = workflow.backfill({}, "owner/")
    assert (ended["status"], owners) == ("SUCCEEDED", [DEFAULT_ACCOUNT_ID])


def test_only_refused_keys(workflow: Workflow) -> None:
    ended, sent = workflow.backfill(_photos("only/", REFUSED_BY_SQS), "only/")
    assert json.loads(ended["output"]) == {"prefix": "only/", "sent": 0, "left_out": 3}
    assert sent == []
