from collections.abc import Iterator

import pytest
from tests.workflow.harness import Workflow, deployed


@pytest.fixture(scope="session")
def workflow() -> Iterator[Workflow]:
    with deployed() as workflow:
        yield workflow
