"""The permissions boundary that the account demands of every role."""

from tests.e2e.pipeline import Pipeline
from tests.production.conftest import BOUNDARY


def test_every_role_has_the_boundary(pipeline: Pipeline) -> None:
    names = {one for logical_id, one in pipeline.cloud.resources.items() if logical_id.endswith("Role")}
    roles = [pipeline.aws("iam", "get-role", "--role-name", name)["Role"] for name in names]
    assert len(roles) >= 5
    assert {role["PermissionsBoundary"]["PermissionsBoundaryArn"] for role in roles} == {BOUNDARY}
