"""What a policy watches of the version that serves: what it cannot read is refused or said."""

from collections.abc import Mapping
from typing import Any

from consumers.services.policies import InvalidPolicy
from consumers.services.profiles import profile_of
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.session import ReadSession
from domain.errors import InvalidField
from domain.judgement.policy import JudgementPolicy
from domain.judgement.silence import Silent, check_streams, silent
from domain.windows.profile import ReferenceProfile


async def refuse_unfit(session: ReadSession, model: str, body: Mapping[str, Any]) -> None:
    """Raises InvalidPolicy if a detector is to read what is no number in the serving version's profile.

    What is merely missing is not refused: a later version may bring it (`silent_detectors` says so).
    """
    profile = await _profile(session, model)
    if profile is None:
        return
    try:
        check_streams(JudgementPolicy.from_json(body), profile)
    except InvalidField as error:
        raise InvalidPolicy(str(error)) from error


async def silent_detectors(
    session: ReadSession, model: str, body: Mapping[str, Any] | None = None
) -> tuple[Silent, ...]:
    """Detectors of the newest policy, or of `body`, that can say nothing of the version that serves.

    Empty for a model without production: nothing of it is judged.
    """
    if await ModelRepository(session).production(model) is None:
        return ()
    if body is None:
        known = await PolicyRepository(session).all(model)
        body = known[-1].body if known else {}
    return silent(JudgementPolicy.from_json(body), await _profile(session, model))


async def _profile(session: ReadSession, model: str) -> ReferenceProfile | None:
    production = await ModelRepository(session).production(model)
    if production is None:
        return None
    found = await ProfileRepository(session).get_many([(model, production.version)])
    return profile_of(found[model, production.version]) if found else None
