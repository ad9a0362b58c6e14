"""A drift episode with all that belongs to it: its decisions, who said what of it, the jobs it led to."""

from collections.abc import Sequence
from dataclasses import dataclass

from consumers.services.backing import domain_decision
from consumers.services.decisions import decision_id
from consumers.services.muting import dated
from consumers.store.errors import NotFound
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.episodes import Acknowledgement, Episode, EpisodeRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.mutes import Mute, MuteRepository
from consumers.store.repositories.retraining import JobRecord, RetrainingRepository
from consumers.store.session import ReadSession
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.mutes import DatedMute, governing


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEpisode:
    """An episode as a list shows it."""

    episode: Episode
    acknowledgement: Acknowledgement | None
    opened_muted: bool
    muted_now: bool
    """Whether a mute governs what is judged next; False once the episode is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """A request that an episode made, alone or with others, and the job that it became, if it has arrived."""

    decision: Decision
    job: JobRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeStory:
    """One episode from its opening to now."""

    listed: ListedEpisode
    decisions: Sequence[Decision]
    """Opening, escalation, recovery: those that there are, in order; empty if the opening is not stored."""
    mutes: Sequence[Mute]
    """Those that governed at any time while it lasted."""
    retraining: Sequence[Retraining]

    @property
    def episode(self) -> Episode:
        return self.listed.episode

    @property
    def opening(self) -> Decision | None:
        """The decision that opened it."""
        return self.decisions[0] if self.decisions else None


async def listed(session: ReadSession, episodes: Sequence[Episode]) -> list[ListedEpisode]:
    """`episodes`, each with who acknowledged it and whether it is muted."""
    known = await EpisodeRepository(session).acknowledgements([each.episode_id for each in episodes])
    mutes: dict[str, list[DatedMute]] = {}
    for mute in await MuteRepository(session).all():
        mutes.setdefault(mute.model, []).append(dated(mute))
    judged = {each.model: each.judged_through_ms for each in await JudgementRepository(session).all()}
    found = []
    for each in episodes:
        mine, kind = mutes.get(each.model, []), each.drift_type.value
        next_ms = judged.get(each.model, each.opened_at_ms) + 1
        found.append(
            ListedEpisode(
                episode=each,
                acknowledgement=known.get(each.episode_id),
                opened_muted=governing(mine, kind, each.opened_at_ms) is not None,
                muted_now=each.closed_at_ms is None and governing(mine, kind, next_ms) is not None,
            )
        )
    return found


async def story(session: ReadSession, episode_id: str) -> EpisodeStory:
    """All that belongs to an episode. Raises NotFound."""
    episode = await EpisodeRepository(session).get(episode_id)
    if episode is None:
        raise NotFound("drift episode", episode_id)
    (told,) = await listed(session, [episode])
    stored = await DecisionRepository(session).of_episode(episode.opened_by or episode_id, episode.model)
    decisions = [domain_decision(each) for each in stored]
    mutes = [
        each
        for each in await MuteRepository(session).all(episode.model)
        if each.drift_type in (None, episode.drift_type) and _touched(each, episode)
    ]
    retraining = await _retraining(session, decisions[0]) if decisions else []
    return EpisodeStory(listed=told, decisions=decisions, mutes=mutes, retraining=retraining)


def _touched(mute: Mute, episode: Episode) -> bool:
    ends = [end for end in (mute.until_ms, mute.ended_ms) if end is not None]
    begins_before_its_end = episode.closed_at_ms is None or mute.effective_from_ms <= episode.closed_at_ms
    return begins_before_its_end and all(
        end > max(episode.opened_at_ms, mute.effective_from_ms) for end in ends
    )


async def _retraining(session: ReadSession, opening: Decision) -> list[Retraining]:
    key = "|".join(opening.key)
    jobs = {
        job.request.get("decision_id"): job
        for job in await RetrainingRepository(session).list(model=opening.model)
    }
    asked = await DecisionRepository(session).list(
        model=opening.model, kind=DecisionKind.RETRAIN.value, since_ms=opening.at_ms
    )
    decided = [domain_decision(each) for each in asked]
    return [
        Retraining(decision=each, job=jobs.get(decision_id(each.key)))
        for each in decided
        if key in each.evidence["episodes"]
    ]
