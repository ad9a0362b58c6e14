"""A model's policy document: checked whole, and in force only for what is not judged yet."""

from typing import Any

from consumers.services.experiments import plan_from_template
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.policies import PolicyRepository, StoredPolicy
from consumers.store.session import WriteSession
from domain.errors import InvalidField
from domain.judgement.policy import JudgementPolicy
from domain.retraining.policy import parse_training, parse_validation

SECTIONS = ("drift", "retrain", "training", "validation", "experiment")


def checked(document: object) -> dict[str, Any]:
    """`document` with every section read once. Raises a DomainError that names the field and its limit."""
    if not isinstance(document, dict):
        raise InvalidField("policy", "document", "a JSON object", document)
    for name in document:
        if name not in SECTIONS:
            raise InvalidField("policy", name, "one of " + ", ".join(SECTIONS), document[name])
    JudgementPolicy.from_json(document)
    if "training" in document:
        parse_training(document["training"])
    if "validation" in document:
        parse_validation(document["validation"])
    if "experiment" in document:
        plan_from_template(
            document["experiment"], experiment="checked", model="checked", champion="1", challenger="2"
        )
    return document


async def put_in_force(session: WriteSession, model: str, body: dict[str, Any]) -> StoredPolicy:
    """Put `body` in force for all that falls due after what is judged: decisions made stay recomputable.

    The newest policy again is left as it is. Policies are never changed, so one that is not in force yet is
    followed a millisecond later.
    """
    judgement = await JudgementRepository(session).load(model, for_update=True)
    effective_from_ms = judgement.judged_through_ms + 1 if judgement else 0
    known = await PolicyRepository(session).all(model)
    if known and known[-1].body == body:
        return known[-1]
    if known:
        effective_from_ms = max(effective_from_ms, known[-1].effective_from_ms + 1)
    return await PolicyRepository(session).add(model=model, effective_from_ms=effective_from_ms, body=body)
