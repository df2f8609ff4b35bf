"""The account's permissions boundary applies to every role."""

from tests.e2e.pipeline import Pipeline
from tests.production.conftest import BOUNDARY


def test_every_role_has_the_boundary(pipeline: Pipeline) -> None:
    iam = pipeline.cloud.client("iam")
    names = {name for logical_id, name in pipeline.cloud.resources.items() if logical_id.endswith("Role")}
    roles = [iam.get_role(RoleName=name)["Role"] for name in names]
    assert len(roles) >= 5
    assert {role["PermissionsBoundary"]["PermissionsBoundaryArn"] for role in roles} == {BOUNDARY}
