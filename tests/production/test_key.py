"""A key of the account's own encrypts everything, and every role may use it as far as it has to."""

import json

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.e2e.test_zz_least_privilege import granted
from tests.template.reading import translated


def test_a_run_uses_every_right_to_the_key_and_lacks_none(versioned: Pipeline) -> None:
    rejected = versioned.drop("key/text.jpg", b"Dear diary")
    versioned.wait([rejected])
    versioned.plan(submit=[{"kind": "http", "status": 402, "retry_after": 1}])
    waited = versioned.drop("key/waited.jpg", jpeg())
    versioned.wait([waited])
    assert versioned.backfill("key/waited.jpg")["status"] == "SUCCEEDED"
    assert versioned.denied() == []
    rights = {one for one in granted(translated(KmsKey="create")) if one.action.startswith("kms:")}
    assert rights - versioned.cloud.used == set()


def test_without_the_key_nothing_is_read(versioned: Pipeline) -> None:
    iam = versioned.cloud.client("iam")
    which = {"RoleName": versioned.cloud.resources["SubmitRole"], "PolicyName": "denial"}
    denial = {"Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}
    try:
        with versioned.event_source_disabled():  # what the poller began to receive before, it still may read
            iam.put_role_policy(**which, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [denial]}))
        upload = versioned.drop("key/unread.jpg", jpeg())
        versioned.wait_until(lambda: any(call.action == "kms:Decrypt" for call in versioned.denied()), "it is denied")
    finally:
        iam.delete_role_policy(**which)
    assert upload not in versioned.rows()
    versioned.wait([upload])
    assert versioned.rows()[upload]["status"] == "enhanced"
