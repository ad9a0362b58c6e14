"""The life cycles are tables: every miss raises and changes nothing, and the wire knows the same names."""

from enum import StrEnum

import pytest

from domain.errors import DomainError
from domain.experiments.status import EXPERIMENTS, ExperimentStatus, Start
from domain.experiments.status import Cancel as CancelExperiment
from domain.registry.stages import (
    STAGES,
    STATUS_OF_STAGE,
    Archive,
    Displace,
    ModelStage,
    Promote,
    Restore,
    Stage,
)
from domain.retraining.status import JOBS, Claim, RetrainingStatus, RetrainingTrigger, Succeed
from domain.transitions import IllegalTransition, Moves, after, mermaid
from schemas import events

TABLES: list[tuple[str, Moves[StrEnum]]] = [
    ("stages", STAGES),  # type: ignore[list-item]
    ("experiments", EXPERIMENTS),  # type: ignore[list-item]
    ("jobs", JOBS),  # type: ignore[list-item]
]


@pytest.mark.parametrize("name,table", TABLES)
def test_every_move_that_the_table_does_not_list_raises_and_says_what_is_allowed(
    name: str, table: Moves[StrEnum]
) -> None:
    before = {state: dict(moves) for state, moves in table.items()}
    kinds = {kind for moves in table.values() for kind in moves}
    refused = 0
    for state, moves in table.items():
        for kind in kinds - moves.keys():
            with pytest.raises(IllegalTransition) as caught:
                after(table, state, kind)
            assert caught.value.state is state
            assert caught.value.allowed == tuple(allowed.__name__ for allowed in moves)
            assert isinstance(caught.value, DomainError)
            refused += 1
    assert refused > 0, name
    assert {state: dict(moves) for state, moves in table.items()} == before


@pytest.mark.parametrize("name,table", TABLES)
def test_every_state_has_a_row_and_every_move_leads_to_a_known_state(
    name: str, table: Moves[StrEnum]
) -> None:
    kind = type(next(iter(table)))
    assert set(table) == set(kind), name
    assert {to for moves in table.values() for to in moves.values()} <= set(table)


def test_a_version_goes_from_development_to_production_and_back_by_a_person() -> None:
    stage = ModelStage.DEVELOPMENT
    for move in (Stage, Promote, Displace, Restore, Displace):
        stage = after(STAGES, stage, move)
    assert stage is ModelStage.ARCHIVED


def test_production_is_never_archived_by_itself() -> None:
    with pytest.raises(IllegalTransition, match="Archive is not allowed from PRODUCTION"):
        after(STAGES, ModelStage.PRODUCTION, Archive)


def test_every_stage_implies_a_status() -> None:
    assert set(STATUS_OF_STAGE) == set(ModelStage)


def test_a_final_status_allows_nothing() -> None:
    with pytest.raises(IllegalTransition, match="nothing, it is final"):
        after(EXPERIMENTS, ExperimentStatus.CANCELLED, Start)
    with pytest.raises(IllegalTransition, match="nothing, it is final"):
        after(JOBS, RetrainingStatus.SUCCEEDED, Claim)


def test_an_expired_lease_is_taken_over_by_the_same_move() -> None:
    assert after(JOBS, RetrainingStatus.RUNNING, Claim) is RetrainingStatus.RUNNING
    assert after(JOBS, RetrainingStatus.RUNNING, Succeed) is RetrainingStatus.SUCCEEDED
    assert after(EXPERIMENTS, ExperimentStatus.RUNNING, CancelExperiment) is ExperimentStatus.CANCELLED


@pytest.mark.parametrize(
    "ours,wire",
    [
        (ModelStage, events.ModelStage),
        (RetrainingStatus, events.RetrainingStatus),
        (RetrainingTrigger, events.RetrainingTrigger),
    ],
)
def test_the_domain_and_the_wire_use_the_same_words(ours: type[StrEnum], wire: type[StrEnum]) -> None:
    assert {member.name: member.value for member in ours} == {member.name: member.value for member in wire}


def test_a_pause_is_no_word_of_the_wire_so_routers_of_every_age_obey_it() -> None:
    paused = {ExperimentStatus.PAUSED.value}
    assert {member.value for member in ExperimentStatus} - paused == {
        member.value for member in events.ExperimentStatus
    }


def test_the_diagram_of_the_stages_shows_every_move_once() -> None:
    assert mermaid(STAGES) == (
        "stateDiagram-v2\n"
        "    [*] --> DEVELOPMENT\n"
        "    DEVELOPMENT --> STAGING: Stage\n"
        "    DEVELOPMENT --> ARCHIVED: Archive\n"
        "    STAGING --> PRODUCTION: Promote\n"
        "    STAGING --> ARCHIVED: Archive\n"
        "    PRODUCTION --> ARCHIVED: Displace\n"
        "    ARCHIVED --> PRODUCTION: Restore\n"
    )


def test_the_diagram_ends_in_the_final_states() -> None:
    drawn = mermaid(EXPERIMENTS)
    assert "COMPLETED_PROMOTED --> [*]" in drawn
    assert "RUNNING --> COMPLETED_ROLLED_BACK: ConcludeRolledBack" in drawn
