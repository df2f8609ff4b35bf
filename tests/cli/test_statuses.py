"""The command line shares no code with the layer, so its status values are compared with the ledger's here."""

from lumendrop import outcomes
from lumendrop.ledger import TRANSITIONS
from lumendrop_cli import statuses

NEXT = {status: following for status, following in TRANSITIONS.items() if status is not None}


def test_every_status_has_a_description() -> None:
    assert set(statuses.DESCRIPTIONS) == set(NEXT)


def test_retryable_statuses_are_those_that_submit_claims_again() -> None:
    claimed_again = {status for status, following in NEXT.items() if "claimed" in following}
    # `retrying` is claimed again automatically, `enhanced` only with --pay.
    assert claimed_again - {"retrying", "enhanced"} == statuses.RETRYABLE


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
