"""From a decision to its id and to the event that carries it."""

from consumers.services.identity import stable_id
from domain.judgement.decision import Decision, DecisionKind, Key
from domain.judgement.mutes import announces
from schemas.clock import from_ms
from schemas.events import (
    DriftDetected,
    DriftMetrics,
    DriftType,
    LifecycleEvent,
    ModelPromoted,
    RetrainingTrigger,
    RetrainRequested,
)


def decision_id(key: Key) -> str:
    """The id of the decision with this natural key: a second judge cannot decide twice."""
    return stable_id("decision", *key)


def event_of(decision: Decision) -> LifecycleEvent | None:
    """The event that tells the world, None for decisions that are only recorded."""
    match decision.kind:
        case DecisionKind.DRIFT | DecisionKind.ESCALATION if announces(decision.kind, decision.evidence):
            return _drift_detected(decision)
        case DecisionKind.RETRAIN:
            return _retrain_requested(decision)
        case DecisionKind.VERDICT if decision.evidence["verdict"] == "PROMOTE":
            return _model_promoted(decision)
        case _:
            return None


def _drift_detected(decision: Decision) -> DriftDetected:
    """Of the episode's opening, or of the escalation of one that opened unannounced: one event either way."""
    evidence = decision.evidence
    identity = decision_id(decision.key)
    cause = evidence.get("cause")
    episode = identity if cause is None else decision_id(tuple(cause))
    return DriftDetected(
        event_id=stable_id("drift-detected", episode),
        occurred_at=from_ms(decision.at_ms),
        model=decision.model,
        drift_id=episode,
        version=evidence["version"],
        drift_type=DriftType(evidence["drift_type"]),
        severity=evidence["severity"],
        detector=evidence["detector"],
        window_start=from_ms(decision.window_start_ms),
        window_end=from_ms(decision.window_end_ms),
        metrics=DriftMetrics(
            statistic=evidence["statistic"],
            threshold=evidence["threshold"],
            p_value=evidence.get("p_value"),
            sample_size=evidence["sample_size"],
            features=tuple(evidence.get("features", ())),
            effect_sizes=evidence.get("effect_sizes", {}),
            log_e=evidence.get("log_e"),
            tolerance=evidence.get("tolerance"),
            reference_size=evidence.get("reference_size"),
            phi=evidence.get("phi"),
        ),
        decision_id=identity,
        estimate=evidence.get("estimate", False),
    )


def _retrain_requested(decision: Decision) -> RetrainRequested:
    identity = decision_id(decision.key)
    return RetrainRequested(
        event_id=stable_id("retrain-requested", identity),
        occurred_at=from_ms(decision.at_ms),
        model=decision.model,
        version=decision.evidence["version"],
        trigger=RetrainingTrigger.DRIFT_DETECTED,
        reason=decision.evidence["reason"],
        as_of=from_ms(decision.at_ms),
        drift_id=decision_id(decision.cause) if decision.cause else None,
        decision_id=identity,
    )


def _model_promoted(decision: Decision) -> ModelPromoted:
    evidence = decision.evidence
    identity = decision_id(decision.key)
    return ModelPromoted(
        event_id=stable_id("model-promoted", identity),
        occurred_at=from_ms(decision.at_ms),
        model=decision.model,
        version=evidence["version"],
        expected_production=evidence["champion_version"],
        experiment=decision.subject,
        decision_id=identity,
        evidence_digest=decision.digest,
    )
