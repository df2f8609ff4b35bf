"""The command line shares no code with the layer, so its status values are compared with the ledger's here."""

import ast

from lumendrop import ledger, outcomes
from lumendrop.ledger import TRANSITIONS
from lumendrop_cli import statuses
from tests.template.reading import ROOT

FOLDERS = ("layers", "functions", "cli", "sandbox", "tests/chaos", "benchmarks")
NEXT = {status: following for status, following in TRANSITIONS.items() if status is not None}


def test_every_status_has_a_description() -> None:
    assert set(statuses.DESCRIPTIONS) == set(NEXT)


def test_sets_have_the_names_and_the_statuses_of_the_ledger() -> None:
    assert (statuses.FINAL, statuses.RESENDABLE) == (ledger.FINAL, ledger.RESENDABLE)
    sets = {name for name, value in vars(ledger).items() if isinstance(value, frozenset) and value <= set(NEXT)}
    same = {name for name, value in vars(statuses).items() if any(value == getattr(ledger, one) for one in sets)}
    assert same <= sets


def test_no_other_module_lists_the_statuses_of_a_set() -> None:
    sets = {"FINAL": ledger.FINAL, "RESENDABLE": ledger.RESENDABLE, "POSSIBLY_CHARGED": ledger.POSSIBLY_CHARGED}
    allowed = {"layers/lumendrop/ledger.py", "cli/lumendrop_cli/statuses.py"}
    copies = []
    for path in (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Set | ast.List | ast.Tuple | ast.Dict):
                parts = node.keys if isinstance(node, ast.Dict) else node.elts
                listed = {one.value for one in parts if isinstance(one, ast.Constant)}
                copies += [f"{path.relative_to(ROOT)}: {name}" for name, value in sets.items() if listed == value]
    assert [copy for copy in copies if copy.partition(":")[0] not in allowed] == []


def test_resendable_statuses_are_those_that_submit_claims_again() -> None:
    claimed_again = {status for status, following in NEXT.items() if "claimed" in following}
    # `retrying` is claimed again automatically, `enhanced` only with --pay.
    assert claimed_again - {"retrying", "enhanced"} == statuses.RESENDABLE


def test_fetchable_statuses_are_those_that_can_become_enhanced() -> None:
    others = {"retrying", "rejected", "unknown", "claimed"}  # by another upload of the same photo, or a release
    assert {status for status, following in NEXT.items() if "enhanced" in following} - others == statuses.FETCHABLE


def test_a_result_may_exist_where_the_advice_names_fetch() -> None:
    named = {code for code, entry in outcomes.CATALOGUE.items() if "lumendrop fetch KEY" in entry.advice}
    assert named == statuses.RESULT_MAY_EXIST


def test_every_rejection_is_either_final_or_may_be_accepted_later() -> None:
    rejected = {code for code, entry in outcomes.CATALOGUE.items() if entry.status == "rejected"}
    assert rejected == statuses.REJECTED_AGAIN | statuses.MAY_BE_ACCEPTED
    assert not statuses.REJECTED_AGAIN & statuses.MAY_BE_ACCEPTED
