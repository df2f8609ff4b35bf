"""How options are read from text. Whatever could be misread is rejected."""

from __future__ import annotations

import pytest

from lumendrop import options
from lumendrop.outcomes import Rejected

READ = {
    "0": 0,
    "1": 1,
    "0.5": 0.5,
    ".5": 0.5,
    "1.": 1,
    "1.000": 1,
    " 0.25 ": 0.25,
    "0" * 20: 0,
    "+0.5": 0.5,
    "1e-1": 0.1,
    "1E0": 1,
}
NOT_READ = [
    *["0_1", "0_.1", "-0", "-0.0", "1e1", "1e", "++1", "nan", "NaN", "inf", "-inf", "infinity", "0x1", "1,0", "1/2"],
    *["1.0000001", "2", "0.5.1", ".", "0 .5", "much", "true", "null", "9" * 400, "1" + "0" * 400],
    *["\u0660", "\uff11", "\uff10.5", "0\u066b5", "\u00bd", "\u2460", "0.5\u200b", "0.\u00b25"],
]


@pytest.mark.parametrize("name", ["creativity", "resemblance"])
@pytest.mark.parametrize("text", READ)
def test_a_number_is_read(name: str, text: str) -> None:
    assert options.read({"resolution": "1K", name: text}).as_json()[name] == READ[text]


@pytest.mark.parametrize("name", ["creativity", "resemblance"])
@pytest.mark.parametrize("text", NOT_READ)
def test_any_other_text_is_rejected_and_named(name: str, text: str) -> None:
    with pytest.raises(Rejected) as caught:
        options.read({"resolution": "1K", name: text})

    outcome = caught.value.outcome
    assert outcome.code == "invalid_option"
    assert outcome.message == f"The option {name} is {text[:100]!r}; it must be a number from 0.0 to 1.0."


@pytest.mark.parametrize("text", ["2K", "1\uff2b", "1\u212a", "\uff11K", "4 K", "4", "K", ""])
def test_another_resolution_is_rejected(text: str) -> None:
    with pytest.raises(Rejected):
        options.read({"resolution": text})


@pytest.mark.parametrize("text", ["p\u00e9", "p 1", "\uff50", "p\nq", "p;q", "p" * 129])
def test_another_profile_id_is_rejected(text: str) -> None:
    with pytest.raises(Rejected):
        options.read({"resolution": "1K", "profile-ids": f"{text},q"})
