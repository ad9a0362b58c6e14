"""A model's policy document: checked whole, and in force only for what is not judged yet."""

from typing import Any

from consumers.services.experiments import plan_from_template
from consumers.services.plans import without_slips
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.policies import PolicyRepository, StoredPolicy
from consumers.store.session import WriteSession
from domain.errors import DomainError, InvalidField
from domain.experiments.budget import SECTION as ALPHA_BUDGET
from domain.experiments.budget import BudgetPolicy
from domain.experiments.handling import SECTION as VERDICTS
from domain.experiments.handling import VerdictPolicy
from domain.judgement.policy import JudgementPolicy
from domain.retraining.policy import parse_training, parse_validation
from domain.retraining.schedule import schedule_of

SECTIONS = ("drift", "retrain", "training", "validation", "experiment", ALPHA_BUDGET, VERDICTS)


_PLACES = {
    "RetrainPolicy": "policy.retrain",
    "Schedule": "policy.retrain.schedule",
    "training": "policy.training",
    "validation": "policy.validation",
    "ExperimentPlan": "policy.experiment",
    "Minimums": "policy.experiment.minimums",
    "BatchRule": "policy.experiment.batch",
    "HoldBack": "policy.experiment.hold_back",
    "BudgetPolicy": "policy.alpha_budget",
    "VerdictPolicy": "policy.verdicts",
}
"""Where in the document the values are that an owner of an InvalidField is made of; the detectors' own know
theirs."""


class InvalidPolicy(DomainError):
    """A policy document breaks a rule; the message says where in the document, and the limit."""


def checked(document: object) -> dict[str, Any]:
    """`document` with every section read once. Raises InvalidPolicy, which names the field and its limit."""
    if not isinstance(document, dict):
        raise InvalidPolicy(f"policy must be a JSON object, not {type(document).__name__}")
    try:
        _read(document)
    except InvalidField as error:
        place = _place(error.owner, document)
        raise InvalidPolicy(place + str(error).removeprefix(error.owner)) from error
    return document


def _read(document: dict[str, Any]) -> None:
    for name, section in document.items():
        if name not in SECTIONS:
            raise InvalidField("policy", name, "one of " + ", ".join(SECTIONS), section)
    JudgementPolicy.from_json(document)
    schedule_of(document)
    if "training" in document:
        parse_training(document["training"])
    if "validation" in document:
        parse_validation(document["validation"])
    VerdictPolicy.of_document(document)
    budget = BudgetPolicy.of_document(document).per_quarter
    if "experiment" in document:
        plan = plan_from_template(
            document["experiment"], experiment="checked", model="checked", champion="1", challenger="2"
        )
        without_slips(plan)
        if budget is not None and plan.alpha > budget:
            limit = f"at most {budget:g}, which {ALPHA_BUDGET}.per_quarter lets a quarter spend"
            raise InvalidField("ExperimentPlan", "alpha", limit, plan.alpha)


def _place(owner: str, document: dict[str, Any]) -> str:
    """Path of the part that `owner` was read from; two parts of one kind are told apart by reading one."""
    if owner == "Goal":
        alone = {name: part for name, part in document["experiment"].items() if name != "more_primaries"}
        return f"policy.experiment.{'primary' if _wrong({'experiment': alone}) else 'more_primaries'}"
    if owner == "Limit":
        without_harm = {name: part for name, part in document["experiment"].items() if name != "harm"}
        wrong = _wrong({"experiment": without_harm})
        return f"policy.experiment.{'guardrails' if wrong else 'harm'}"
    return _PLACES.get(owner, owner)


def _wrong(document: dict[str, Any]) -> bool:
    try:
        _read(document)
    except InvalidField:
        return True
    return False


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
