"""The parts of the fault suite by themselves: seeds decide everything, and every check can object."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumers.log.decode import Limits, decode_outcomes, decode_predictions
from domain.windows.fold import PartitionFold
from domain.windows.progress import Progress
from schemas.logrecords import LogRecord
from tests.chaos.checks import CHECKS, objections
from tests.chaos.controls import CONTROLS
from tests.chaos.crew import End
from tests.chaos.evidence import COMPACTED, DEAD_LETTER, LIFECYCLE_TOPICS, TABLES, Evidence, Row
from tests.chaos.expected import Expectation, expectation
from tests.chaos.floor import enough_happened, every_fault_hits
from tests.chaos.mutant_worker import MUTATIONS, mutated
from tests.chaos.scenario import LEAST, PARTITIONS, REPLAY_FROM_MS, Scenario, long_run, short_run
from tests.chaos.schedule import KINDS, schedule
from tests.chaos.topics import Found
from tests.chaos.traffic import Raw, Traffic, Trial, World

# ---------------------------------------------------------------- what the seed decides


def test_a_seed_gives_one_schedule_and_another_seed_another() -> None:
    assert schedule(long_run(1, 420)) == schedule(long_run(1, 420))
    assert schedule(long_run(1, 420)) != schedule(long_run(3, 420))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_seven_minutes_hold_a_fault_of_every_kind(seed: int) -> None:
    wanted = {*KINDS} - ({"rolling-restart"} if long_run(seed, 420).brokers == 1 else set())
    assert {fault.kind for fault in schedule(long_run(seed, 420))} == wanted


def test_faults_are_over_before_the_traffic() -> None:
    for seed in range(20):
        assert all(fault.at_s + fault.for_s <= 420 for fault in schedule(long_run(seed, 420)))


def records(scenario: Scenario, seconds: int) -> list[Raw]:
    traffic = Traffic(scenario, REPLAY_FROM_MS)
    trial = Trial(experiment="e", epoch=1, shadow=True, champion="1", challenger="2")
    world = World(production=dict.fromkeys(scenario.models, "1"), trials={scenario.trials[0]: trial})
    made = []
    for second in range(seconds):
        at_ms = REPLAY_FROM_MS + second * 1_000
        made += traffic.slice(at_ms, at_ms + 1_000, 30, world)
    return made + traffic.last()


def as_topics(made: Sequence[Raw]) -> dict[str, dict[int, list[Found]]]:
    """The records as brokers would keep them."""
    topics: dict[str, dict[int, list[Found]]] = {
        name: {number: [] for number in range(PARTITIONS)} for name in ("predictions", "outcomes")
    }
    for raw in made:
        partition = topics[raw.topic][raw.partition]
        partition.append(Found(len(partition), raw.timestamp_ms, raw.key, raw.value, ()))
    return topics


def test_the_same_seed_gives_the_same_records() -> None:
    scenario = short_run(5, 30)
    assert records(scenario, 20) == records(scenario, 20)


def test_the_oracle_and_the_fold_agree_on_everything_the_generator_can_do() -> None:
    scenario = short_run(5, 30)
    topics = as_topics(records(scenario, 60))
    expected = expectation(scenario.windows, {}, topics["predictions"], topics["outcomes"])
    rows: dict[tuple[Any, ...], tuple[int, bytes]] = {}
    arrivals: dict[tuple[str, int, int], bytes] = {}
    for partition in range(PARTITIONS):
        fold = PartitionFold(scenario.windows, Progress.start(partition))
        limits = Limits(max_horizon_s=scenario.windows.max_horizon_s)
        predictions, outcomes = (
            [LogRecord(name, partition, *_record(found)) for found in topics[name][partition]]
            for name in ("predictions", "outcomes")
        )
        fold.add_predictions(*_columns(predictions), decode_predictions(predictions, limits))
        fold.add_outcomes(*_columns(outcomes), decode_outcomes(outcomes, limits))
        closed = fold.close({})
        rows |= {
            tuple(getattr(row.key, name) for name in row.key.__slots__): (row.due_ms, row.body)
            for row in closed.rows
        }
        arrivals |= {(a.side, a.partition, a.window_start_ms): a.body for a in closed.arrivals}
    assert rows == expected.rows
    assert arrivals == expected.arrivals
    fates = [orjson.loads(body) for body in arrivals.values()]
    for fate in ("duplicate", "late", "invalid", "superseded", "late_correction", "orphan", "heartbeat"):
        assert sum(counts.get(fate, 0) for counts in fates) > 0, fate


def _record(found: Found) -> tuple[Any, ...]:
    return found.offset, found.timestamp_ms, found.key, found.value, (), found.timestamp_ms


def _columns(log: Sequence[LogRecord]) -> tuple[list[int], list[int]]:
    return [record.offset for record in log], [record.timestamp_ms for record in log]


# ---------------------------------------------------------------- mutants and ends


@pytest.mark.parametrize("rule", MUTATIONS)
def test_a_mutation_finds_its_place_and_leaves_valid_source(rule: str) -> None:
    mutation = MUTATIONS[rule]
    spec = find_spec(mutation.module)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text()
    compile(mutated(text, mutation), spec.origin, "exec")
    assert mutated(text, mutation) != text


def test_there_is_a_control_for_every_mutation_and_a_check_for_every_control() -> None:
    assert {control.rule for control in CONTROLS} == {*MUTATIONS}
    assert {control.by for control in CONTROLS} <= {check.__name__ for check in CHECKS}


@pytest.mark.parametrize(
    "ordered, code, drain_s, served, expected",
    [
        ("kill", -9, None, True, True),
        ("terminate", 0, 2.0, True, True),
        ("terminate", 0, 11.0, True, False),
        ("terminate", 1, 2.0, True, False),
        ("terminate", -15, 0.1, True, False),
        ("terminate", -15, 0.1, False, True),
        ("", 3, None, True, False),
        ("", 3, None, False, False),
        ("", 1, None, True, False),
        ("", 0, None, True, False),
        ("", -9, None, True, False),
    ],
)
def test_which_ends_are_in_order(
    ordered: str, code: int, drain_s: float | None, served: bool, expected: bool
) -> None:
    end = End(
        member="tally-0", life=1, after_s=9.0, code=code, ordered=ordered, drain_s=drain_s, served=served
    )
    assert end.expected is expected


# ---------------------------------------------------------------- how much has to happen

ENOUGH: Mapping[str, Any] = {
    "decisions": {"drift": 15, "verdict": 5},
    "promotions": 3,
    "episodes": 5,
    "jobs": {"SUCCEEDED": 1},
    "dead_letters": 100,
    "duplicates": 100,
}
LITTLE: Mapping[str, Any] = {
    "decisions": {"drift": 14, "verdict": 5},
    "promotions": 0,
    "episodes": 4,
    "jobs": {"SUPPRESSED": 7},
    "dead_letters": 0,
    "duplicates": 99,
}
STRUCK = {"fault": "kill", "target": "tally-0", "began_s": 3.0, "hit": 1}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_of_full_length_has_a_floor_and_a_short_one_has_none(seed: int) -> None:
    assert long_run(seed, 420).least == LEAST
    assert not long_run(seed, 60).least
    assert not short_run(seed, 420).least


def test_a_run_in_which_enough_happened_meets_no_objection() -> None:
    assert not [*enough_happened(LEAST, ENOUGH)]
    assert not [*every_fault_hits(1, [STRUCK])]


@pytest.mark.parametrize("figure", LITTLE)
def test_too_little_of_anything_is_an_objection(figure: str) -> None:
    assert len([*enough_happened(LEAST, {**ENOUGH, figure: LITTLE[figure]})]) == 1


def test_a_fault_that_hit_nothing_or_never_came_is_an_objection() -> None:
    assert [*every_fault_hits(1, [{**STRUCK, "hit": 0}])] == ["kill tally-0 at 3.0 s hit nothing"]
    assert [*every_fault_hits(2, [STRUCK])] == ["1 of 2 faults began"]


# ---------------------------------------------------------------- every check can object


def evidence(expected: Expectation | None = None, **given: Any) -> Evidence:
    """Of a run in which nothing happened, but for what is given: tables, and topics by `topic_NAME`."""
    tables: Mapping[str, Sequence[Row]] = {name: given.get(name, []) for name in TABLES}
    names = (*LIFECYCLE_TOPICS, DEAD_LETTER)
    topics = {name: {0: given.get(f"topic_{name.replace('-', '_')}", [])} for name in names}
    return Evidence(prefix="x.", tables=tables, topics=topics, expected=expected or Expectation())


def promise(number: int, topic: str, event: Mapping[str, object], sent: bool = True) -> Row:
    return {
        "id": number,
        "event_id": f"e{number}",
        "topic": f"x.{topic}",
        "key": b"m",
        "value": orjson.dumps(event),
        "headers": "[]",
        "sent_at": "now" if sent else None,
    }


def sent(row: Row, offset: int) -> Found:
    headers = (("ce_id", row["event_id"].encode()),)
    return Found(offset, 0, row["key"], row["value"], headers)


def verdict(number: int, said: str = "PROMOTE") -> Row:
    return {
        "decision_id": f"d{number}",
        "kind": "verdict",
        "model": "m",
        "subject": f"x{number}",
        "window_start_ms": 0,
        "at_ms": 1,
        "body": orjson.dumps({"evidence": {"verdict": said}}),
    }


def move(number: int, version: str, start: str | None, to: str, decision: str | None = None) -> Row:
    return {
        "id": number,
        "model": "m",
        "version": version,
        "from_stage": start,
        "to_stage": to,
        "decision_id": decision,
    }


PROMOTED = promise(1, "model-promoted", {"decision_id": "d1", "experiment": "x1"})
ENTRY = {"consumer": "registry/model-promoted", "event_id": "e1", "result": "promoted version 2, epoch 2"}
STAGE_CHANGES = [promise(number, "model-stage-changed", {"n": number}) for number in (1, 2)]
ROW = ("input", 0, 0, "m", "1", "", "", 0, 0)
TALLY = dict(
    zip(
        ("kind", "window_start_ms", "partition", "model", "version", "variant", "experiment", "epoch"),
        ROW,
        strict=False,
    )
) | {"horizon_s": 0, "due_ms": 10, "body": b"{}"}

CASES: Mapping[str, Evidence] = {
    "rows_equal_the_oracle": evidence(Expectation(rows={ROW: (10, b'{"n":1}')}), window_tallies=[TALLY]),
    "arrivals_equal_the_oracle": evidence(Expectation(arrivals={("outcomes", 0, 0): b"{}"})),
    "nothing_diverged": evidence(divergences=[{"row_key": "k", "stored_digest": "a", "offered_digest": "b"}]),
    "every_bad_record_is_dead_lettered_once": evidence(Expectation(invalid={("outcomes", 0, 3)})),
    "every_promise_is_sent": evidence(outbox=[promise(1, "retraining-changed", {}, sent=False)]),
    "promises_keep_their_order": evidence(
        outbox=STAGE_CHANGES,
        topic_model_stage_changed=[sent(STAGE_CHANGES[1], 0), sent(STAGE_CHANGES[0], 1)],
    ),
    "the_last_word_is_the_state": evidence(
        outbox=STAGE_CHANGES,
        topic_model_stage_changed=[sent(STAGE_CHANGES[n], at) for at, n in enumerate((0, 1, 0))],
    ),
    "every_decision_is_made_once": evidence(decisions=[verdict(1), {**verdict(1), "decision_id": "d2"}]),
    "every_decision_has_its_event": evidence(decisions=[verdict(1)]),
    "every_event_is_handled_once": evidence(outbox=[PROMOTED], topic_model_promoted=[sent(PROMOTED, 0)]),
    "every_promotion_is_applied_once": evidence(outbox=[PROMOTED], inbox=[ENTRY]),
    "history_is_a_chain": evidence(
        transitions=[move(1, "1", None, "PRODUCTION"), move(2, "2", None, "PRODUCTION")],
        models=[{"name": "m", "epoch": 2}],
    ),
    "episodes_follow_decisions": evidence(decisions=[{**verdict(1), "kind": "drift"}]),
    "jobs_follow_requests": evidence(outbox=[promise(1, "retrain-requested", {"decision_id": "d1"})]),
}


def test_nothing_speaks_against_a_run_in_which_nothing_happened() -> None:
    assert not any(objections(evidence()).values())


def test_every_check_has_a_case() -> None:
    assert set(CASES) == {check.__name__ for check in CHECKS}
    assert set(COMPACTED) <= set(LIFECYCLE_TOPICS)


@pytest.mark.parametrize("name", CASES)
def test_every_check_can_object(name: str) -> None:
    assert objections(CASES[name])[name]
