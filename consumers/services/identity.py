"""Stable names: the same cause always gives the same id, so a repeated step repeats nothing."""

from uuid import UUID, uuid5

NAMESPACE = UUID("6a1d1e0e-9a3b-5c57-8a53-4f0d1c7c2b11")


def stable_id(*parts: str) -> str:
    """The uuid5 of `parts`, 36 characters. Other parts give another id: a `|` within shifts no border."""
    return str(uuid5(NAMESPACE, "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)))


def job_id(request_event_id: str) -> str:
    """The retraining job that a request opens."""
    return stable_id("retraining-job", request_event_id)


def job_event_id(job: str, status: str) -> str:
    """A job reports each status once."""
    return stable_id("retraining-changed", job, status)


def stage_event_id(model: str, version: str, to_stage: str, cause: str, epoch: int) -> str:
    """`cause` is a decision, or an order with its time."""
    return stable_id("model-stage-changed", model, version, to_stage, cause, str(epoch))


def experiment_event_id(experiment: str, status: str, epoch: int) -> str:
    """An experiment reports each status of each allocation epoch once."""
    return stable_id("experiment-changed", experiment, status, str(epoch))


def experiment_id(model: str, challenger: str, champion: str) -> str:
    """Readable, at most 128 characters, and the same however often a job is repeated."""
    readable = f"{model}-{challenger}-v-{champion}"
    # Names may be 128 characters each; a name that would not fit gives way to its digest.
    return readable if len(readable) <= 128 else stable_id("experiment", model, challenger, champion)


def hold_back_id(experiment: str) -> str:
    """A promotion leaves one hold-back behind."""
    readable = f"{experiment}-hold-back"
    return readable if len(readable) <= 128 else stable_id("hold-back", experiment)


def order_cause(actor: str, at_ms: int) -> str:
    """The cause of what a person ordered."""
    return f"{actor}@{at_ms}"


def dead_letter_id(topic: str, partition: int, offset: int) -> str:
    """A record is dead-lettered once."""
    return stable_id("dead-letter", topic, str(partition), str(offset))


def skipped_id(topic: str, partition: int, first_offset: int) -> str:
    """A damaged batch is dead-lettered once, also where one of its records was before."""
    return stable_id("skipped", topic, str(partition), str(first_offset))


def scheduled_event_id(model: str, due_ms: int) -> str:
    """A model's schedule asks once for each due time."""
    return stable_id("scheduled-retraining", model, str(due_ms))
