"""The table in the documentation is the one that `decide` makes."""

from tests.model import decision_table


def test_the_documentation_has_the_table_that_decide_makes() -> None:
    assert decision_table.PAGE.read_text() == decision_table.page()
