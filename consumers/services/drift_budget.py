"""The false alarms of a whole fleet: what its policies promise, what was seen, and one budget for all.

A hundred models that each promise one false alarm a month make a hundred a month. So the promises are added
up, and a budget for the fleet is divided over its models by dated policies. Which of the alarms that are open
now would stand if all models were judged together is told by Benjamini and Yekutieli: among the models whose
alarms stand at a false discovery rate of q, a share of at most q is expected not to have drifted, however
the models depend on each other. A model's p-value is at most how likely it is, without drift, to raise an
alarm as strong as its strongest open one within 30 days (or since it opened, if that is longer); models
without an open alarm count with p = 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import orjson

from consumers.services.policies import checked, put_in_force
from consumers.services.profiles import profile_of
from consumers.services.registry import MAX_REASON
from consumers.store.repositories.budget_orders import BudgetOrder, BudgetOrderRepository
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.episodes import Episode, EpisodeRepository
from consumers.store.repositories.judgements import JudgedWindows, JudgementRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.session import ReadSession, WriteSession
from domain.drift.multiplicity import by
from domain.errors import DomainError, InvalidField
from domain.judgement.alarm_rates import (
    NothingToScale,
    Rate,
    chance,
    per_month,
    per_window,
    rates,
    shares,
    strength,
    windows_per_month,
    within,
)
from domain.judgement.policy import JudgementPolicy
from schemas.events import DriftType


class WindowsUnknown(DomainError):
    """The deployment does not say yet how long its windows are, so nothing is known of a month of them."""

    def __init__(self) -> None:
        super().__init__("the length of windows is not fixed yet: lifecycle init does that")


class UnknownModel(DomainError):
    """Neither the registry nor the judge knows the model."""

    def __init__(self, model: str) -> None:
        super().__init__(f"there is no model {model}: lifecycle registry list shows them")
        self.model = model


class BudgetUnfit(DomainError):
    """A model's policy cannot be made to spend its share."""

    def __init__(self, model: str, share: float, why: DomainError) -> None:
        super().__init__(f"{model} cannot spend its share of {share:g} false alarms a month: {why}")
        self.model, self.share = model, share


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBudget:
    """One model: its newest policy's promise, and what was seen."""

    model: str
    rates: tuple[Rate, ...]
    per_month: Fraction
    """Of one serving version, over the detectors whose rate is known."""
    windows: JudgedWindows
    expected: Fraction
    """False alarms that the newest policy would allow in those windows."""
    episodes: Mapping[DriftType, int]
    """That opened in those windows, real drifts among them."""
    open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAlarm:
    """An open episode among all models."""

    episode: Episode
    p_value: float
    """At most the chance of an alarm this strong without drift."""
    q_value: float
    """The smallest false discovery rate at which it stands."""

    def stands(self, q: float) -> bool:
        """Whether it is among the discoveries at the false discovery rate `q`."""
        return self.q_value <= q


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetBudget:
    """All models together."""

    length_ms: int
    models: tuple[ModelBudget, ...]
    alarms: tuple[OpenAlarm, ...]
    """Every open one, strongest first."""
    order: BudgetOrder | None
    """The last budget that was divided over the models."""

    @property
    def per_month(self) -> Fraction:
        """The sum of what the models promise."""
        return sum((each.per_month for each in self.models), Fraction(0))


async def window_length_ms(session: ReadSession) -> int:
    """The deployment's window length. Raises WindowsUnknown."""
    windows = await DeploymentRepository(session).get("windows")
    if not isinstance(windows, dict) or not isinstance(windows.get("length_ms"), int):
        raise WindowsUnknown
    length_ms: int = windows["length_ms"]
    return length_ms


async def fleet_models(session: ReadSession) -> list[str]:
    """The models that the registry or the judge knows, by name."""
    registered = {each.name for each in await ModelRepository(session).list_models()}
    return sorted(registered | {each.model for each in await JudgementRepository(session).all()})


async def fleet_budget(session: ReadSession) -> FleetBudget:
    """What is promised and seen, of every model. Raises WindowsUnknown."""
    length_ms = await window_length_ms(session)
    models = await fleet_models(session)
    newest = {each.model: each.body for each in await PolicyRepository(session).newest()}
    judged = await JudgementRepository(session).windows()
    episodes = await EpisodeRepository(session).list()
    return FleetBudget(
        length_ms=length_ms,
        models=tuple(
            _of_model(
                name,
                JudgementPolicy.from_json(newest.get(name, {})),
                judged.get(name, JudgedWindows(count=0, first_due_ms=None)),
                [each for each in episodes if each.model == name],
                length_ms,
            )
            for name in models
        ),
        alarms=await _alarms(session, models, [e for e in episodes if e.closed_at_ms is None], length_ms),
        order=await BudgetOrderRepository(session).last(),
    )


def _of_model(
    model: str, policy: JudgementPolicy, windows: JudgedWindows, episodes: Sequence[Episode], length_ms: int
) -> ModelBudget:
    first_ms = windows.first_due_ms
    seen = [each for each in episodes if first_ms is not None and each.opened_at_ms >= first_ms]
    return ModelBudget(
        model=model,
        rates=rates(policy),
        per_month=per_month(per_window(policy), length_ms),
        windows=windows,
        expected=per_window(policy) * windows.count,
        episodes=Counter(each.drift_type for each in seen),
        open=sum(each.closed_at_ms is None for each in episodes),
    )


async def _alarms(
    session: ReadSession, models: Sequence[str], open_now: Sequence[Episode], length_ms: int
) -> tuple[OpenAlarm, ...]:
    judged = {each.model: each.judged_through_ms for each in await JudgementRepository(session).all()}
    chances = {
        each.episode_id: await _chance(session, each, judged.get(each.model, each.opened_at_ms), length_ms)
        for each in open_now
    }
    of_model = {
        model: min((chances[each.episode_id] for each in open_now if each.model == model), default=1.0)
        for model in models
    }
    found = []
    for each in open_now:
        p_value = chances[each.episode_id]
        # as if it were its model's strongest: a weak alarm does not stand because a strong one does
        alone = {**of_model, each.model: p_value}
        q_value = dict(zip(alone, by(list(alone.values())), strict=True))[each.model]
        found.append(OpenAlarm(episode=each, p_value=p_value, q_value=q_value))
    return tuple(sorted(found, key=lambda a: (a.q_value, a.p_value, a.episode.episode_id)))


async def _chance(session: ReadSession, episode: Episode, judged_ms: int, length_ms: int) -> float:
    """Of the strongest alarm of the episode: its opening, or an escalation."""
    decided = await DecisionRepository(session).of_episode(episode.episode_id, episode.model)
    stored = await PolicyRepository(session).in_force(episode.model, episode.opened_at_ms)
    policy = JudgementPolicy.from_json(stored.body if stored else {})
    tested = await _tested(session, episode)
    parts: list[float] = []
    for decision in decided:
        evidence: dict[str, Any] = orjson.loads(decision.body)["evidence"]
        part = strength(policy, evidence, tested) if "threshold" in evidence else None
        if part is not None:
            parts.append(part)
    lasted = Fraction(max(judged_ms - episode.opened_at_ms, 0), length_ms) + 1
    return chance(policy, min(parts, default=None), max(windows_per_month(length_ms), lasted))


async def _tested(session: ReadSession, episode: Episode) -> int:
    """At most how many features a detector of this type tests at once."""
    if episode.drift_type is not DriftType.DATA_DRIFT:
        return 1
    key = (episode.model, episode.version)
    found = await ProfileRepository(session).get_many([key])
    return max(1, len(profile_of(found[key]).features)) if key in found else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one model gets of the budget, and what its policy then says."""

    model: str
    per_month_before: Fraction
    share: Fraction
    per_month: Fraction
    """Of the policy with the new rates: at most the share."""
    values: Mapping[str, tuple[str, float]]
    """By detector: the field and its new value."""
    body: Mapping[str, Any]
    """The policy document."""
    changes: bool


async def divided(
    session: ReadSession, per_month_budget: Fraction, weights: Mapping[str, Fraction]
) -> list[Share]:
    """`per_month_budget` over all models, by weight (1 unless given). Writes nothing.

    Raises WindowsUnknown, UnknownModel for a weight of none, InvalidField for a budget or weight that is not
    above 0, and BudgetUnfit for a model whose detectors cannot spend its share.
    """
    length_ms = await window_length_ms(session)
    models = await fleet_models(session)
    for name in weights:
        if name not in models:
            raise UnknownModel(name)
    newest = {each.model: each.body for each in await PolicyRepository(session).newest()}
    parts = shares(per_month_budget, {name: weights.get(name, Fraction(1)) for name in models})
    return [_share(name, newest.get(name, {}), part, length_ms) for name, part in parts.items()]


def _share(model: str, body: Mapping[str, Any], share: Fraction, length_ms: int) -> Share:
    before = JudgementPolicy.from_json(body)
    try:
        values = within(before, share / windows_per_month(length_ms))
        document = _document(body, values)
        after = JudgementPolicy.from_json(document)
    except (InvalidField, NothingToScale) as error:
        raise BudgetUnfit(model, float(share), error) from error
    return Share(
        model=model,
        per_month_before=per_month(per_window(before), length_ms),
        share=share,
        per_month=per_month(per_window(after), length_ms),
        values=values,
        body=document,
        changes=after != before,
    )


def _document(body: Mapping[str, Any], values: Mapping[str, tuple[str, float]]) -> dict[str, Any]:
    """The policy document with these values; what it does not mention stays with its default."""
    drift = dict(body.get("drift", {}))
    for detector, (field, value) in values.items():
        drift[detector] = {**(drift.get(detector) or {}), field: value}
    return {**body, "drift": drift}


async def divide(
    session: WriteSession,
    per_month_budget: Fraction,
    weights: Mapping[str, Fraction],
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> list[Share]:
    """Put the policies of `divided` in force, each for what its model has not been judged for yet.

    A policy that stays as it is is not written again, and an order that changes none is not kept. Raises what
    `divided` raises, and then nothing is written.
    """
    for name in await fleet_models(session):
        # whoever sets a policy meanwhile waits, and so does the judge; by name, so that two such never wait
        # for each other
        await JudgementRepository(session).load(name, for_update=True)
    found = await divided(session, per_month_budget, weights)
    given = {
        each.model: (await put_in_force(session, each.model, checked(dict(each.body)))).hash
        for each in found
        if each.changes
    }
    if given:
        order = BudgetOrder(
            per_month=str(per_month_budget),
            policies=given,
            actor=actor,
            reason=reason[:MAX_REASON],
            ordered_at=now,
        )
        await BudgetOrderRepository(session).add(order)
    return found
