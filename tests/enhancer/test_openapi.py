"""The enhancer follows its own OpenAPI description."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sandbox.enhancer.faults import FaultPlan, Faults
from sandbox.enhancer.server import Sandbox, create_app
from sandbox.enhancer.tasks import Account, TaskStore
from tests.enhancer.running import KEY, WAIT_SECONDS, Enhancer

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

# Created without a server, so that each operation is a separate test. A test below compares it with the server's.
description = create_app(
    Sandbox(Account(KEY), TaskStore(Path(), "http://127.0.0.1", 0, 0), Faults(FaultPlan()))
).openapi()
OPERATIONS = [one.ok() for one in schemathesis.openapi.from_dict(description).get_all_operations()]


def test_the_server_shows_this_description(enhancer: Enhancer) -> None:
    shown = enhancer.session.get(f"{enhancer.url}/openapi.json", timeout=WAIT_SECONDS)
    assert shown.json() == description


# Not schema.parametrize(), which gives all operations one name: xdist would run one of them.
@pytest.mark.parametrize("operation", OPERATIONS, ids=[one.label for one in OPERATIONS])
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_every_operation_follows_its_description(
    operation: schemathesis.schemas.APIOperation, data: st.DataObject, running: Enhancer
) -> None:
    case = data.draw(operation.as_strategy())
    case.call_and_validate(base_url=running.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=WAIT_SECONDS)
