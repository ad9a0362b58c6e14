"""Plans as people write them into files."""

from collections.abc import Mapping

from consumers.services.experiments import CHALLENGER, plan_from_template
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import ReadSession
from domain.errors import DomainError, InvalidField
from domain.experiments.plan import ExperimentPlan
from domain.windows.metrics import METRICS, VALUE_PREFIX

MAX_NAME = 128
"""Of names in events."""


class NoChampion(DomainError):
    """A template of a plan needs a PRODUCTION version to be compared with."""

    def __init__(self, model: str) -> None:
        super().__init__(f"no version of {model} is PRODUCTION: name the plan's variants, one the champion")


def without_slips(plan: ExperimentPlan) -> ExperimentPlan:
    """`plan`, if it names nothing that cannot be: an experiment that waits for a metric which nobody measures
    waits for ever. Not asked of plans that are recorded already. Raises InvalidField."""
    for item in plan.rules:
        for name, metric in (("metric", item.metric), ("denominator", item.denominator)):
            if metric is not None and metric not in METRICS and not metric.startswith(VALUE_PREFIX):
                limit = f"one of {', '.join(METRICS)}, or {VALUE_PREFIX}NAME of what outcomes bring"
                raise InvalidField(type(item).__name__, name, limit, metric)
    for key in plan.variances:
        if key not in plan.compared:
            limit = f"of what the plan compares: {', '.join(plan.compared)}"
            raise InvalidField("ExperimentPlan", "variances", limit, key)
    _named("experiment", plan.experiment)
    _named("variants", *(variant.name for variant in plan.variants))
    _named("segments", *plan.segments)
    return plan


def to_be_recorded(plan: ExperimentPlan) -> ExperimentPlan:
    """`plan` without slips, of different versions: a rehearsal may compare one with itself. Raises
    InvalidField."""
    versions = [variant.version for variant in plan.variants]
    if len(set(versions)) != len(versions):
        raise InvalidField("ExperimentPlan", "variants", "of different versions", versions)
    return without_slips(plan)


def _named(field: str, *names: str) -> None:
    """Names go to routers in events, which have a limit."""
    for name in names:
        if not 1 <= len(name) <= MAX_NAME or "\0" in name:
            limit = f"of names of 1 to {MAX_NAME} characters, none NUL"
            raise InvalidField("ExperimentPlan", field, limit, name)


async def plan_of_document(session: ReadSession, model: str, document: object) -> ExperimentPlan:
    """A whole plan, or the `experiment` section of a policy, which leaves out names and variants: then the
    version in PRODUCTION against one challenger. Raises InvalidField, NoChampion."""
    if not isinstance(document, Mapping):
        raise InvalidField("plan", "document", "an object", document)
    if "variants" in document:
        whole = {"experiment": f"{model}-rehearsal", "model": model, **document}
        if whole["model"] != model:
            raise InvalidField("plan", "model", f"{model}, or left out", whole["model"])
        return without_slips(ExperimentPlan.from_json(whole))
    champion = await ModelRepository(session).production(model)
    if champion is None:
        raise NoChampion(model)
    plan = plan_from_template(
        document,
        experiment=f"{model}-rehearsal",
        model=model,
        champion=champion.version,
        challenger=CHALLENGER,
    )
    return without_slips(plan)
