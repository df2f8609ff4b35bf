"""The account's own key encrypts everything, and every role has exactly the permissions for it that it needs."""

import json

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.e2e.test_zz_least_privilege import granted
from tests.template.reading import translated


def test_every_permission_for_the_key_is_used_and_none_is_missing(versioned: Pipeline) -> None:
    rejected = versioned.drop("key/text.jpg", b"Dear diary")
    versioned.wait([rejected])
    versioned.plan(submit=[{"kind": "http", "status": 402, "retry_after": 1}])
    requeued = versioned.drop("key/requeued.jpg", jpeg())
    versioned.wait([requeued])
    versioned.plan(task=[{"end": "failed", "code": "service_error", "seconds": 0}])
    versioned.wait_for_status(versioned.drop("key/retried.jpg", jpeg(80, 60)), "retrying")
    assert versioned.backfill("key/requeued.jpg")["status"] == "SUCCEEDED"
    assert versioned.denied() == []
    permissions = {one for one in granted(translated(KmsKey="create")) if one.action.startswith("kms:")}
    assert permissions - versioned.cloud.used == set()


def test_without_permission_for_the_key_uploads_wait(versioned: Pipeline) -> None:
    iam = versioned.cloud.client("iam")
    which = {"RoleName": versioned.cloud.resources["SubmitRole"], "PolicyName": "denial"}
    denial = {"Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}
    try:
        with versioned.event_source_disabled():  # a receive that has already started would still succeed
            iam.put_role_policy(**which, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [denial]}))
        upload = versioned.drop("key/unread.jpg", jpeg())
        versioned.wait_until(
            lambda: any(call.action == "kms:Decrypt" for call in versioned.denied()), "the read is denied"
        )
    finally:
        iam.delete_role_policy(**which)
    assert upload not in versioned.rows()
    versioned.wait([upload])
    assert versioned.rows()[upload]["status"] == "enhanced"
