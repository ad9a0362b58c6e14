"""What kind of drift is it when errors alarm?

If the inputs stand still, or if the errors are worse than the inputs explain, the relation between them and
the outcome changed: CONCEPT_DRIFT. If the inputs drift, errors may rise because the model is used where it
was always weak: PERFORMANCE_DEGRADATION, as is a broken promise, whatever the reason. It is decided when an
episode opens, and the episode stays what it is: one drift is one episode.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.drift import episodes
from domain.drift.episodes import EpisodeState
from domain.judgement import relation
from domain.judgement.alarms import Alarm
from domain.judgement.relation import Relation
from domain.judgement.state import Watch
from domain.judgement.streams import CONCEPT_DRIFT, DATA_DRIFT, PERFORMANCE_DEGRADATION, Context, Opening

_HIT = "hit"


def error_stream(watch: Watch) -> str:
    """Where the episode of the errors is kept: under the type of the one that is open or was last."""
    return PERFORMANCE_DEGRADATION if PERFORMANCE_DEGRADATION in watch.episodes else CONCEPT_DRIFT


def opening(context: Context, watch: Watch, alarms: Sequence[Alarm]) -> Opening | None:
    """What an episode is if these alarms open one; None if they cannot."""
    state = watch.episodes.get(error_stream(watch), EpisodeState())
    lead = episodes.leading(state, [alarm.for_episode for alarm in alarms])
    if state.severity is not None or lead is None:
        return None
    data = watch.episodes.get(DATA_DRIFT)
    drifted = data is not None and data.severity is not None
    compared = _compared(context, watch, alarms[lead].windows_after)
    changed = compared is not None and compared.changed
    concept = not alarms[lead].promised and (changed or not drifted)
    evidence: dict[str, Any] = {"inputs_drifted": drifted}
    if compared is not None:
        evidence["relation"] = compared.to_json()
    return Opening(stream=CONCEPT_DRIFT if concept else PERFORMANCE_DEGRADATION, evidence=evidence)


def realise(context: Context, watch: Watch, metrics: Mapping[str, Any]) -> None:
    """Put a window's realised misses beside those that were expected of its inputs."""
    moments = metrics.get(_HIT)
    if watch.relation.waiting and moments is not None:
        instant = context.instant
        watch.relation = relation.realise(
            watch.relation,
            instant.window_start_ms,
            instant.horizon_s,
            moments["n"],
            1.0 - moments["mean"],
        )


def _compared(context: Context, watch: Watch, windows: int) -> Relation | None:
    hits = context.profile.errors.get(_HIT) if context.profile is not None else None
    if hits is None:
        return relation.compare(watch.relation, windows)
    return relation.compare(watch.relation, windows, hits.phi, hits.n)
