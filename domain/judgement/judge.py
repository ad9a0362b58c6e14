"""One model's judgement: rows in due order in, decisions out.

A pure function of the rows, the frozen configurations (policies, mutes, reference profiles, experiment
plans) and the state before. Which version serves is read from the rows, never from the registry, so a replay
sees what the judge saw however far the registry had got (docs/adr/0006).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.drift import retrain
from domain.drift.retrain import Held, OpenEpisode, RequestRetrain
from domain.judgement import trials
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.drift import Context, judge_errors, judge_inputs, retire
from domain.judgement.mutes import DatedMute, governing, noted
from domain.judgement.policy import DatedPolicy, JudgementPolicy, in_force
from domain.judgement.rows import Instant, Row, chain, instants
from domain.judgement.state import ModelState, Watch
from domain.judgement.streams import drift_type_of
from domain.judgement.trials import DatedPlan
from domain.windows.merge import merge_bodies
from domain.windows.profile import ReferenceProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What a judgement reads beside the rows; none of it changes for windows already judged."""

    length_ms: int
    policies: Sequence[DatedPolicy] = ()
    profiles: Mapping[str, ReferenceProfile] = field(default_factory=dict)
    """By version."""
    plans: Mapping[str, DatedPlan] = field(default_factory=dict)
    """By experiment: every one of the model that was ever started, whether it has rows here or not."""
    mutes: Sequence[DatedMute] = ()
    """All of the model that were ever ordered."""


def judge(model: str, state: ModelState, rows: Sequence[Row], frozen: Frozen) -> Iterator[Decision]:
    """Judge `rows` (one model's, in due order), advancing `state`; yields decisions as they are made."""
    for instant in instants(rows):
        state.tallies_digest = chain(state.tallies_digest, instant.rows)
        policy = in_force(frozen.policies, instant.due_ms)
        if instant.kind == "input":
            drifts = _inputs(model, state, instant, frozen, policy)
        else:
            drifts = _errors(model, state, instant, frozen, policy)
        yield from noted(drifts, frozen.mutes)
        yield from trials.judge(model, state, instant, frozen.plans, frozen.length_ms)
        yield from _retrain(model, state, instant, policy, frozen)


def _merged(instant: Instant) -> dict[str, dict[str, Any]]:
    """Bodies of one instant per version, partitions and arms merged in row order."""
    bodies: dict[str, list[Mapping[str, Any]]] = {}
    for row in instant.rows:
        # A shadow's answers are nobody's service: only rows of served answers say how a version does.
        if row.body.get("served", 0):
            bodies.setdefault(row.key.version, []).append(row.body)
    return {version: merge_bodies(instant.kind, parts) for version, parts in sorted(bodies.items())}


def _context(
    model: str, version: str, state: ModelState, instant: Instant, frozen: Frozen, policy: JudgementPolicy
) -> Context:
    profile = frozen.profiles.get(version)
    if profile is not None and not profile.in_force(instant.window_start_ms):
        profile = None
    return Context(
        model=model,
        version=version,
        policy=policy,
        profile=profile,
        instant=instant,
        length_ms=frozen.length_ms,
        digest=state.tallies_digest,
    )


def _inputs(
    model: str, state: ModelState, instant: Instant, frozen: Frozen, policy: JudgementPolicy
) -> Iterator[Decision]:
    served = _merged(instant)
    if served:
        state.serving = max(served, key=lambda version: (served[version]["served"], version))
    for version, body in served.items():
        watch = state.watches.setdefault(version, Watch(served_at_ms=instant.window_start_ms))
        watch.served_at_ms = instant.window_start_ms
        watch.begin(policy.detectors_hash())
        yield from judge_inputs(_context(model, version, state, instant, frozen, policy), watch, body)
    quiet_ms = policy.episodes.quiet_windows * frozen.length_ms
    oldest_ms = instant.window_start_ms - quiet_ms
    gone = [version for version, watch in state.watches.items() if served and watch.served_at_ms < oldest_ms]
    for version in sorted(gone):
        yield from retire(state, _context(model, version, state, instant, frozen, policy), version)


def _errors(
    model: str, state: ModelState, instant: Instant, frozen: Frozen, policy: JudgementPolicy
) -> Iterator[Decision]:
    for version, body in _merged(instant).items():
        watch = state.watches.get(version)
        if watch is not None:
            watch.begin(policy.detectors_hash())
            yield from judge_errors(_context(model, version, state, instant, frozen, policy), watch, body)


def _retrain(
    model: str, state: ModelState, instant: Instant, policy: JudgementPolicy, frozen: Frozen
) -> Iterator[Decision]:
    """Every version that serves may ask, the one that answers most first: a split has several."""
    opened = {
        "|".join(watch.openings[name]): (
            watch.openings[name],
            version,
            OpenEpisode(
                episode_id="|".join(watch.openings[name]),
                drift_type=drift_type_of(name),
                severity=episode.severity,
                muted=governing(frozen.mutes, drift_type_of(name), instant.due_ms) is not None,
            ),
        )
        for version, watch in sorted(
            state.watches.items(), key=lambda item: (item[0] != state.serving, item[0])
        )
        for name, episode in sorted(watch.episodes.items())
        if episode.severity is not None
    }
    running = trials.running(state, frozen.plans, instant.due_ms)
    state.retrain, order = retrain.step(
        policy.retrain, state.retrain, instant.due_ms, [episode for _, _, episode in opened.values()], running
    )
    match order:
        case RequestRetrain():
            cause, version, _ = next(entry for key, entry in opened.items() if key in order.episode_ids)
            evidence = {
                "version": version,
                "reason": order.reason,
                "drift_types": list(order.drift_types),
                "episodes": list(order.episode_ids),
                "tallies_digest": state.tallies_digest,
            }
            yield Decision(
                kind=DecisionKind.RETRAIN,
                model=model,
                subject=version,
                at_ms=instant.due_ms,
                window_start_ms=instant.window_start_ms,
                window_end_ms=instant.window_start_ms + frozen.length_ms,
                config_hash=policy.hash(),
                evidence=evidence,
                cause=cause,
            )
        case Held() | None:
            pass
