"""The past of a model: by rows and by records it is the same past."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumers.rehearsal.arms import Arms, Effect
from consumers.rehearsal.rates import Summary
from consumers.rehearsal.runs import Rehearsals
from consumers.services.calibrating import OWN, Calibrating
from consumers.services.history import HistoricalDataService
from consumers.services.judging import judged_clock
from consumers.services.pasts import Known, PastTooShort, Span, UnitsNotKnown, known_by_log, known_by_rows
from consumers.store.repositories.tallies import TallyRepository
from domain.experiments.plan import ExperimentPlan
from domain.windows.merge import merge_bodies
from domain.windows.progress import Progress
from tests.experiments.streams import plan
from tests.report import trials
from tests.services.deployment import LENGTH, MODEL, Deployment, deployment, outcome, prediction, profile
from tests.services.world import MODEL as BRENT
from tests.services.world import WALL, World

WINDOWS, EACH = 30, 12
SMALL = {"min_outcomes": 20, "min_per_arm": 2, "horizon_multiple": 1.0}
FEW = {"batches": 3, "outcomes_per_arm": 10, "arrived_share": 0.5}


def a_plan(strategy: str = "PERCENTAGE_SPLIT", **fields: Any) -> ExperimentPlan:
    found = plan(strategy, model=MODEL, batch=SMALL, minimums=FEW, **fields)
    champion, challenger = found.variants
    return replace(found, variants=(replace(champion, version="1"), replace(challenger, version="2")))


@pytest.fixture
async def lived(tmp_path: Path, migrated_file: Path) -> AsyncIterator[Deployment]:
    """Every seventh prediction has no outcome, every fifth two, every ninth is sent twice; one in four is of
    another version."""
    source = np.random.default_rng(3)
    async with deployment(tmp_path, migrated_file, partitions=2) as made:
        await made.register(profile("1"))
        for window in range(WINDOWS):
            for place in range(EACH):
                number, at_ms = window * EACH + place, window * LENGTH + 10 * place
                version = "2" if number % 4 == 3 else "1"
                x = float(source.standard_normal())
                sent = prediction(number, at_ms, version=version, unit=f"u{number % 90}", covariate=x)
                await made.append(sent, *([sent] if number % 9 == 0 else []))
        for number in range(WINDOWS * EACH):
            at_ms = number // EACH * LENGTH + 10 * (number % EACH) + 1_000
            real = [float(source.standard_normal()) for _ in range(2)]
            if number % 7:
                answers = [outcome(number, at_ms, actual) for actual in real[: 1 + (number % 5 == 0)]]
                await made.append(*answers)
        await made.beat((WINDOWS + 10) * LENGTH)
        await made.tallied()
        yield made


async def known(lived: Deployment, found: ExperimentPlan, source: str, after_ms: int = -1) -> Known:
    history = HistoricalDataService(
        lived.log, lived.topics.predictions, lived.topics.outcomes, lived.policy, lived.limits
    )
    async with lived.store.read() as session:
        through_ms = await judged_clock(session)
        assert through_ms is not None
        span = Span(length_ms=LENGTH, after_ms=after_ms, through_ms=through_ms)
        if source == "log":
            return await known_by_log(session, history, found, span)
        return await known_by_rows(session, found, span)


async def test_rows_and_log_are_one_past(lived: Deployment) -> None:
    found = a_plan()
    rows, log = await known(lived, found, "rows"), await known(lived, found, "log")
    assert (rows.source, log.source) == ("rows", "log")
    assert len(rows.past.windows) == len(log.past.windows) == WINDOWS
    assert log.past.arrived_share == rows.past.arrived_share == pytest.approx(6 / 7, abs=0.01)
    assert log.past.count("abs_error") == sum(
        number % 4 != 3 and number % 7 != 0 for number in range(WINDOWS * EACH)
    )
    for row, records in zip(rows.past.windows, log.past.windows, strict=True):
        assert (row.start_ms, row.end_ms, row.due_ms) == (records.start_ms, records.end_ms, records.due_ms)
        ours, theirs = records.moments("abs_error"), row.moments("abs_error")
        assert (ours.n, ours.mean, ours.M2) == pytest.approx((theirs.n, theirs.mean, theirs.M2))


@pytest.mark.parametrize("source", ["rows", "log"])
async def test_only_the_last_of_the_past_may_be_taken(lived: Deployment, source: str) -> None:
    whole = await known(lived, a_plan(), source)
    late = await known(lived, a_plan(), source, after_ms=whole.past.windows[3].due_ms)
    assert late.past.start_ms == whole.past.windows[4].start_ms


async def test_an_arm_of_the_log_scores_with_the_covariates_of_its_records(lived: Deployment) -> None:
    found = a_plan()
    log = await known(lived, found, "log")
    rows = await known(lived, found, "rows")
    source = np.random.default_rng(1)
    arms = Arms(found, Effect(), log.units, "salt", source)
    bodies = arms.bodies(log.past.windows[0].outcomes(2, source), 0)
    whole = merge_bodies("score", [bodies[name] for name in sorted(bodies)])
    expected = rows.past.windows[0].body  # type: ignore[attr-defined]
    assert (whole["n"], whole["matched"], whole["missing"]) == tuple(
        expected[name] for name in ("n", "matched", "missing")
    )
    assert whole["metrics"]["abs_error"] == pytest.approx(expected["metrics"]["abs_error"])


@pytest.mark.parametrize("source", ["rows", "log"])
async def test_an_effect_is_found_in_the_past(lived: Deployment, source: str) -> None:
    found = a_plan(n_star=200, max_outcomes=2_000)
    past = await known(lived, found, source)
    block = 5 * LENGTH if source == "rows" else None
    rehearsals = Rehearsals(plan=found, seed=1)
    for gain, wanted in ((1.5, "promoted"), (-1.5, "rolled_back")):
        ended = rehearsals.over(past.past, Effect(gain=gain), 3, block_ms=block, units=past.units)
        assert getattr(Summary.of(list(ended)), wanted).count == 3


async def test_units_are_split_as_the_log_names_them(lived: Deployment) -> None:
    found = a_plan("USER_SEGMENT", n_star=200, max_outcomes=2_000)
    past = await known(lived, found, "log")
    assert len(past.units) == 90
    ended = Rehearsals(plan=found, seed=1).over(
        past.past, Effect(gain=2.0), 3, block_ms=None, units=past.units
    )
    assert [each.kind for each in ended] == ["PROMOTE"] * 3
    with pytest.raises(UnitsNotKnown, match="--from log"):
        await known(lived, found, "rows")


async def test_too_short_a_past_says_how_much_is_missing(lived: Deployment) -> None:
    for source in ("rows", "log"):
        with pytest.raises(PastTooShort, match=r"version 1 has 231 outcomes .* needs 1000 of every metric"):
            await known(lived, replace(a_plan(), batch=replace(a_plan().batch, min_outcomes=100)), source)
    strangers = a_plan()
    strangers = replace(strangers, variants=tuple(replace(v, version="9") for v in strangers.variants))
    for source in ("rows", "log"):
        with pytest.raises(PastTooShort, match="version 9 has no"):
            await known(lived, strangers, source)


async def test_equal_arms_of_the_users_own_log_are_not_told_apart(lived: Deployment) -> None:
    found = a_plan(n_star=200, max_outcomes=400, mde=1.5)
    calibrating = Calibrating(plan=found, known=await known(lived, found, "log"), seed=5)
    cell = calibrating.cell(OWN, 40)
    assert cell.equal.promoted.count <= 6
    assert cell.power.share > 0.5
    assert cell.equal.invalid.count == 0
    assert cell == calibrating.cell(OWN, 40)
    assert cell.holds(0.5)
    assert not cell.holds(0.01)


async def test_shadows_are_rehearsed_on_the_pairs_of_earlier_ones(registry_world: World) -> None:
    """Earlier challengers were better by 0.3, which a rehearsal without an effect is not."""
    earlier = trials.a_plan(strategy="SHADOW_MODE")
    champion, challenger = earlier.variants
    variants = (replace(champion, version="1"), replace(challenger, version="2"))
    earlier = replace(earlier, model=BRENT, variants=variants)
    await registry_world.with_production()
    await trials.start(registry_world.store, registry_world.experiments, earlier)
    closed = list(trials.rows(earlier, trials.Stream(gain=0.3), 0, 40))
    through_ms = max(row.due_ms for row in closed)
    async with registry_world.store.write() as session:
        progress = Progress(0, 0, 0, 0, 0, through_ms, through_ms, through_ms, through_ms)
        await TallyRepository(session).insert_closed(closed, [], progress, now=WALL)
    async with registry_world.store.read() as session:
        span = Span(length_ms=LENGTH, through_ms=through_ms)
        found = await known_by_rows(session, replace(earlier, experiment="next"), span)
    assert found.source == "pairs"
    assert found.past.count("abs_error") == 1_600
    # differences of 0.5 standard deviations
    assert found.variance(earlier, "abs_error") == pytest.approx(0.25, abs=0.03)
    source = np.random.default_rng(1)
    drawn = [window.outcomes(2, source).columns["abs_error"].values for window in found.past.windows]
    assert np.concatenate(drawn, axis=1).mean(axis=1) == pytest.approx([0.0, 0.0], abs=1e-9)
