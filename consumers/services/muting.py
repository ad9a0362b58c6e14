"""Muting drift: an order about what is not judged yet, and its early end.

Like a policy, a mute takes effect after all that is judged: whether a decision was muted can be recomputed
for ever. Both orders hold the model's lock, which the judge holds while it judges.
"""

from dataclasses import dataclass
from datetime import datetime

from consumers.services.identity import stable_id
from consumers.services.registry import MAX_REASON
from consumers.store.errors import NotFound
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.mutes import Mute, MuteRepository
from consumers.store.session import ReadSession, WriteSession
from domain.errors import DomainError
from domain.judgement.mutes import DatedMute
from schemas.clock import from_ms
from schemas.events import DriftType


class MuteTooShort(DomainError):
    """Everything up to the end of the mute is judged already: it would change nothing."""

    def __init__(self, model: str, until_ms: int, effective_from_ms: int) -> None:
        until, start = from_ms(until_ms).isoformat(), from_ms(effective_from_ms).isoformat()
        super().__init__(f"a mute of {model} until {until} mutes nothing: all before {start} is judged")
        self.model, self.until_ms, self.effective_from_ms = model, until_ms, effective_from_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteOrder:
    """What somebody wants."""

    model: str
    drift_type: DriftType | None
    """None: every type."""
    until_ms: int | None
    """Event time; None: until somebody ends it."""
    actor: str
    reason: str


async def next_ms(session: WriteSession, model: str) -> int:
    """The first due time of the model that is not judged; nobody judges on until the transaction ends."""
    judgement = await JudgementRepository(session).load(model, for_update=True)
    return judgement.judged_through_ms + 1 if judgement else 0


async def mute(session: WriteSession, order: MuteOrder, now: datetime) -> Mute:
    """Put a mute in force for all that falls due after what is judged. Raises MuteTooShort.

    The same order again, while it governs what comes next, is the one that there is.
    """
    start_ms = await next_ms(session, order.model)
    if order.until_ms is not None and order.until_ms <= start_ms:
        raise MuteTooShort(order.model, order.until_ms, start_ms)
    known = await MuteRepository(session).all(order.model)
    reason = order.reason[:MAX_REASON]
    wanted = (order.drift_type, order.until_ms, order.actor, reason)
    for each in known:
        if each.ended_ms is None and (each.drift_type, each.until_ms, each.actor, each.reason) == wanted:
            return each
    made = Mute(
        mute_id=stable_id("drift-mute", order.model, str(len(known))),
        model=order.model,
        drift_type=order.drift_type,
        effective_from_ms=start_ms,
        until_ms=order.until_ms,
        actor=order.actor,
        reason=reason,
        ordered_at=now,
    )
    await MuteRepository(session).add(made)
    return made


async def unmute(session: WriteSession, mute_id: str, *, actor: str, reason: str) -> Mute:
    """End a mute for all that falls due after what is judged; one that is over stays as it is.

    Raises NotFound.
    """
    found = await MuteRepository(session).get(mute_id)
    if found is None:
        raise NotFound("mute", mute_id)
    start_ms = await next_ms(session, found.model)
    if found.until_ms is None or start_ms < found.until_ms:
        await MuteRepository(session).end(mute_id, ended_ms=start_ms, actor=actor, reason=reason[:MAX_REASON])
    again = await MuteRepository(session).get(mute_id)
    assert again is not None  # noqa: S101 - nothing deletes mutes
    return again


def is_over(stored: Mute, at_ms: int) -> bool:
    """Whether nothing that falls due at `at_ms` or later is muted by it."""
    return any(end is not None and end <= at_ms for end in (stored.until_ms, stored.ended_ms))


def dated(stored: Mute) -> DatedMute:
    """A stored mute as the judgement reads it."""
    return DatedMute(
        mute_id=stored.mute_id,
        drift_type=None if stored.drift_type is None else stored.drift_type.value,
        effective_from_ms=stored.effective_from_ms,
        until_ms=stored.until_ms,
        actor=stored.actor,
        reason=stored.reason,
        ended_ms=stored.ended_ms,
    )


async def dated_mutes(session: ReadSession, model: str) -> list[DatedMute]:
    """All mutes of the model that were ever ordered."""
    return [dated(each) for each in await MuteRepository(session).all(model)]
