"""Who carries out a verdict."""

import pytest

from domain.errors import InvalidField
from domain.experiments.handling import VerdictPolicy
from domain.judgement.policy import JudgementPolicy


def test_by_default_no_verdict_waits() -> None:
    policy = VerdictPolicy.of_document({})
    assert not any(policy.waits(kind) for kind in ("PROMOTE", "ROLL_BACK", "INCONCLUSIVE"))


@pytest.mark.parametrize("section,kind", [("promote", "PROMOTE"), ("roll_back", "ROLL_BACK")])
def test_a_kind_of_verdict_is_left_to_a_person_alone(section: str, kind: str) -> None:
    policy = VerdictPolicy.of_document({"verdicts": {section: "by_hand"}})
    assert [each for each in ("PROMOTE", "ROLL_BACK", "INCONCLUSIVE") if policy.waits(each)] == [kind]
    assert VerdictPolicy.of_document({"verdicts": policy.to_json()}) == policy


@pytest.mark.parametrize("section", ["by_hand", {"promote": "never"}, {"promotion": "by_hand"}])
def test_a_wrong_section_is_refused(section: object) -> None:
    with pytest.raises(InvalidField):
        VerdictPolicy.of_document({"verdicts": section})


def test_no_decision_depends_on_who_carries_it_out() -> None:
    by_hand = {"verdicts": {"promote": "by_hand", "roll_back": "by_hand"}}
    assert JudgementPolicy.from_json(by_hand).hash() == JudgementPolicy.from_json({}).hash()
