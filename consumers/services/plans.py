"""Plans as people write them into files."""

from collections.abc import Mapping

from consumers.services.experiments import CHALLENGER, plan_from_template
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import ReadSession
from domain.errors import DomainError, InvalidField
from domain.experiments.plan import ExperimentPlan


class NoChampion(DomainError):
    """A template of a plan needs a PRODUCTION version to be compared with."""

    def __init__(self, model: str) -> None:
        super().__init__(f"no version of {model} is PRODUCTION: name the plan's variants, one the champion")


async def plan_of_document(session: ReadSession, model: str, document: object) -> ExperimentPlan:
    """A whole plan, or the `experiment` section of a policy, which leaves out names and variants: then the
    version in PRODUCTION against one challenger. Raises InvalidField, NoChampion."""
    if not isinstance(document, Mapping):
        raise InvalidField("plan", "document", "an object", document)
    if "variants" in document:
        whole = {"experiment": f"{model}-rehearsal", "model": model, **document}
        if whole["model"] != model:
            raise InvalidField("plan", "model", f"{model}, or left out", whole["model"])
        return ExperimentPlan.from_json(whole)
    champion = await ModelRepository(session).production(model)
    if champion is None:
        raise NoChampion(model)
    return plan_from_template(
        document,
        experiment=f"{model}-rehearsal",
        model=model,
        champion=champion.version,
        challenger=CHALLENGER,
    )
