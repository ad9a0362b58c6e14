"""Judges decide once, together or alone, and only what every partition has closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from consumers.services.decisions import decision_id
from consumers.services.experiments import plan_from_template
from consumers.store.engine import Store
from consumers.store.repositories.decisions import Decision, DecisionRepository
from consumers.store.repositories.episodes import EpisodeRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import WriteSession
from domain.windows.rows import RowKey, WindowRow
from schemas.clock import from_ms
from schemas.codec import decode
from schemas.events import DriftDetected, ExperimentStatus, RetrainRequested
from tests.services.deployment import LENGTH, Deployment, deployment, drifting_life, profile, served


class Killed(Exception):
    """As if the process had ended here."""


class DyingStore(Store):
    """The process dies before this transaction commits."""

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        async with super().write() as session:
            yield session
            raise Killed


async def judged_through(where: Deployment) -> int | None:
    async with where.store.read() as session:
        found = await JudgementRepository(session).all()
    return found[0].judged_through_ms if found else None


async def promised(where: Deployment) -> list[str]:
    async with where.store.read() as session:
        return [record.topic for record in await OutboxRepository(session).unsent(1_000)]


async def test_a_drift_is_decided_announced_and_kept_as_an_episode(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where)
        await where.tallied()
        made = await where.judged()
        decisions = await where.decisions()
        assert made == len(decisions)
        assert [(d.kind, d.subject) for d in decisions if d.kind == "drift"] == [
            ("drift", "1/DATA_DRIFT"),
            # its inputs drifted as well
            ("drift", "1/PERFORMANCE_DEGRADATION"),
        ]
        async with where.store.read() as session:
            episodes = await EpisodeRepository(session).list()
            events = [decode(r.topic, r.value) for r in await OutboxRepository(session).unsent(100)]
        drifts = [d for d in decisions if d.kind == "drift"]
        assert [e.episode_id for e in episodes] == [d.decision_id for d in drifts]
        assert [e.decision_id for e in events if isinstance(e, DriftDetected)] == [
            d.decision_id for d in drifts
        ]
        (asked,) = [e for e in events if isinstance(e, RetrainRequested)]
        assert asked.drift_id == drifts[0].decision_id
        assert asked.as_of.timestamp() * 1_000 == drifts[0].at_ms
        assert decision_id(("drift", "m", "1/DATA_DRIFT", "6000", "7000")) == drifts[0].decision_id


async def test_a_judge_that_finds_nothing_new_is_idle(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        judge = where.judge()
        assert await judge.step() == 0  # nothing is deployed yet
        await drifting_life(where)
        await where.tallied()
        assert await judge.step() == 28
        assert await judge.step() == 0
        assert await where.judge().step() == 0


async def test_two_judges_at_once_decide_once(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where)
        await where.tallied()
        judges = [where.judge() for _ in range(4)]
        rows = await asyncio.gather(*(judge.step() for judge in judges))
        assert sorted(rows) == [0, 0, 0, 28]
        decisions = await where.decisions()
        assert sum(judge.counts.decisions for judge in judges) == len(decisions) > 0
        assert len(await promised(where)) == len([d for d in decisions if d.kind in ("drift", "retrain")])


async def test_a_judge_that_dies_before_its_commit_leaves_nothing(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where)
        await where.tallied()
        store = where.store
        dying = DyingStore(store.url, store._engine, store._busy_timeout_s)
        for _ in range(2):
            with pytest.raises(Killed):
                await where.judge(dying).step()
        assert await where.decisions() == []
        assert await promised(where) == []
        assert await judged_through(where) is None
        assert await where.judged() > 0
        assert (await where.replaying.replay()).equal


async def test_the_judge_waits_for_the_slowest_partition_and_decides_the_same(
    tmp_path: Path, migrated_file: Path
) -> None:
    decided: list[list[Decision]] = []
    for name in ("at the end", "meanwhile"):
        folder = subfolder(tmp_path, name)
        async with deployment(folder, migrated_file, partitions=2) as where:
            await drifting_life(where)
            await where.tallied(partitions=(0,))
            assert await where.judge().step() == 0
            slow, judgings = await where.tally(partitions=(1,), batch_records=90), 0
            while await slow.step():
                if name == "meanwhile":
                    judgings += bool(await where.judge().step())
                    async with where.store.read() as session:
                        progress = await TallyRepository(session).all_progress()
                    closed = min(min(p.inputs_through_ms, p.outcomes_through_ms) for p in progress)
                    assert all(decision.at_ms <= closed for decision in await where.decisions())
            await where.judged()
            assert judgings > 5 or name == "at the end"
            assert (await where.replaying.replay()).equal
            decided.append(await where.decisions())
    assert decided[0] == decided[1] != []


@pytest.mark.parametrize("slice_rows", [1, 3, 27, 28])
async def test_a_judge_far_behind_decides_the_same_in_slices(
    tmp_path: Path, migrated_file: Path, slice_rows: int
) -> None:
    decided: list[list[bytes]] = []
    states: list[dict[str, Any]] = []
    for size in (5_000, slice_rows):
        folder = subfolder(tmp_path, f"by {size}")
        async with deployment(folder, migrated_file) as where:
            await drifting_life(where)
            await where.tallied()
            judge = where.judge(slice_rows=size)
            assert await judge.step() == 28
            assert await judge.step() == 0
            decided.append([decision.body for decision in await where.decisions()])
            async with where.store.read() as session:
                (judgement,) = await JudgementRepository(session).all()
            states.append(judgement.state)
            assert (await where.replaying.replay()).equal
    assert decided[0] == decided[1] != []
    assert states[0] == states[1]


async def test_a_judge_that_dies_between_slices_goes_on_after_the_last_one(
    tmp_path: Path, migrated_file: Path
) -> None:
    class SecondDies(Store):
        opened = 0

        @asynccontextmanager
        async def write(self) -> AsyncIterator[WriteSession]:
            self.opened += 1
            async with super().write() as session:
                yield session
                if self.opened == 2:
                    raise Killed

    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where)
        await where.tallied()
        store = where.store
        dying = SecondDies(store.url, store._engine, store._busy_timeout_s)
        judge = where.judge(dying, slice_rows=10)
        with pytest.raises(Killed):
            await judge.step()
        assert 10 <= judge.counts.rows < 20
        assert await where.judge().step() == 28 - judge.counts.rows
        assert (await where.replaying.replay()).equal


async def test_a_model_whose_rows_cannot_be_judged_does_not_keep_the_others_waiting(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where)
        await where.tallied()
        key = RowKey("input", 0, 0, "a-model-before-m", "1", "", "", 0, 0)
        async with where.store.write() as session:
            progress = await TallyRepository(session).progress(0)
            assert progress is not None
            broken = WindowRow(key, LENGTH, b"{")
            await TallyRepository(session).insert_closed([broken], [], progress, now=from_ms(1))
        judge = where.judge()
        assert await judge.step() == 28
        assert len(await where.decisions()) > 0
        assert (judge.counts.failed, await judge.step(), judge.counts.failed) == (1, 0, 2)
        where.sql("store.db", "UPDATE window_tallies SET body = ? WHERE body = ?", b'{"served":0}', b"{")
        assert (await judge.step(), judge.counts.failed) == (1, 2)


async def test_a_model_that_the_store_refuses_does_not_keep_the_others_waiting(
    tmp_path: Path, migrated_file: Path
) -> None:
    """As after another release's judge: a decision of that id stands, with other evidence."""
    taken = decision_id(("drift", "m", "1/DATA_DRIFT", "6000", "7000"))
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where)
        await where.tallied()
        other = Decision(
            decision_id=taken,
            kind="drift",
            model="m",
            subject="1/DATA_DRIFT",
            at_ms=7_500,
            window_start_ms=6_000,
            window_end_ms=7_000,
            body=b"{}",
            digest="d" * 64,
            config_hash="c" * 64,
            code_version="another",
        )
        key = RowKey("input", 0, 0, "m-and-a-model-after-it", "1", "", "", 0, 0)
        async with where.store.write() as session:
            await DecisionRepository(session).add(other, from_ms(1))
            progress = await TallyRepository(session).progress(0)
            assert progress is not None
            row = WindowRow(key, LENGTH, b'{"served":0}')
            await TallyRepository(session).insert_closed([row], [], progress, now=from_ms(1))
        judge = where.judge()
        assert (await judge.step(), judge.counts.failed) == (1, 1)
        assert (await judge.step(), judge.counts.failed) == (0, 2)
        assert await where.decisions() == [other]
        where.sql("store.db", "DELETE FROM decisions WHERE decision_id = ?", taken)
        assert (await judge.step(), judge.counts.failed) == (28, 2)
        assert taken in [decision.decision_id for decision in await where.decisions()]


async def test_a_warning_that_escalates_shows_in_its_episode(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await where.register(profile())
        await where.append(*served(0, 4), *served(4, 8, low=7), *served(8, 10, low=10))
        await where.beat(30_000)
        await where.tallied()
        await where.judged()
        assert [d.kind for d in await where.decisions()] == ["drift", "escalation", "retrain"]
        async with where.store.read() as session:
            (episode,) = await EpisodeRepository(session).list()
        assert episode.severity == "drift"
        assert episode.closed_at_ms is None


async def test_a_cancelled_experiment_holds_no_request_though_no_row_of_it_follows(
    tmp_path: Path, migrated_file: Path
) -> None:
    template = {"strategy": "SHADOW_MODE", "primary": {"metric": "abs_error", "direction": "decrease"}}
    plan = plan_from_template(template, experiment="e", model="m", champion="1", challenger="2")
    async with deployment(tmp_path, migrated_file) as where:
        await where.register(profile("1"))
        await where.register_another("2")
        async with where.store.write() as session:
            await where.registry.promote(
                session, "m", "1", expected_production=None, actor="ada", reason="first", at_ms=1
            )
            await where.experiments.create(session, plan)
            await where.experiments.start(session, "e", at_ms=2)
        await where.append(*served(0, 3, experiment="e", variant="champion", epoch=1))
        await where.append(*served(3, 8, low=9))
        await where.beat(8_600)
        await where.tallied()
        await where.judged()
        assert [d.kind for d in await where.decisions()] == ["drift"]  # the experiment holds the request
        async with where.store.write() as session:
            assert await where.experiments.cancel(session, "e", at_ms=5)
        for window in range(8, 11):
            await where.append(*served(window, window + 1, low=9))
            await where.beat(LENGTH * window + 3_000)
            await where.tallied()
            await where.judged()
        decisions = await where.decisions()
        assert [d.kind for d in decisions] == ["drift", "retrain"]
        assert decisions[1].at_ms > 8_500
        assert (await where.replaying.replay()).equal


async def test_an_experiment_without_rows_holds_a_request_and_ends_by_time(
    tmp_path: Path, migrated_file: Path
) -> None:
    template = {
        "strategy": "SHADOW_MODE",
        "primary": {"metric": "abs_error", "direction": "decrease"},
        "max_duration_ms": 12_000,
    }
    plan = plan_from_template(template, experiment="e", model="m", champion="1", challenger="2")
    async with deployment(tmp_path, migrated_file) as where:
        await where.register(profile("1"))
        await where.register_another("2")
        async with where.store.write() as session:
            await where.registry.promote(
                session, "m", "1", expected_production=None, actor="ada", reason="first", at_ms=1
            )
            await where.experiments.create(session, plan)
            await where.experiments.start(session, "e", at_ms=2)
        await where.append(*served(0, 4), *served(4, 8, low=9))
        await where.beat(8_600)
        await where.tallied()
        await where.judged()
        assert [d.kind for d in await where.decisions()] == ["drift"]  # and no request
        assert (await where.replaying.replay()).equal
        await where.append(*served(8, 14, low=9))
        await where.beat(20_000)
        await where.tallied()
        await where.judged()
        decisions = await where.decisions()
        assert sorted(d.kind for d in decisions) == ["drift", "retrain", "verdict"]
        (verdict,) = [d for d in decisions if d.kind == "verdict"]
        (asked,) = [d for d in decisions if d.kind == "retrain"]
        assert verdict.at_ms == asked.at_ms
        assert 12_002 <= verdict.at_ms <= 13_000
        assert (await where.replaying.replay()).equal
        async with where.store.read() as session:
            experiment = await ExperimentRepository(session).get("e")
        assert experiment is not None
        assert experiment.status is ExperimentStatus.COMPLETED_ROLLED_BACK


async def test_rows_from_before_an_experiment_began_are_no_evidence_then_or_later(
    tmp_path: Path, migrated_file: Path
) -> None:
    template = {
        "strategy": "SHADOW_MODE",
        "primary": {"metric": "abs_error", "direction": "decrease"},
        "max_duration_ms": 4_000,
    }
    plan = plan_from_template(template, experiment="e", model="m", champion="1", challenger="2")
    arms: dict[str, Any] = {"experiment": "e", "variant": "champion", "epoch": 1}
    async with deployment(tmp_path, migrated_file) as where:
        await where.register(profile("1"))
        await where.register_another("2")
        await where.append(*served(0, 8, **arms))
        await where.beat(8_600)
        await where.tallied()
        assert await where.judged() == 0  # nobody has planned it
        async with where.store.write() as session:
            await where.registry.promote(
                session, "m", "1", expected_production=None, actor="ada", reason="first", at_ms=1
            )
            await where.experiments.create(session, plan)
            await where.experiments.start(session, "e", at_ms=2)
        assert (await where.replaying.replay()).equal
        await where.append(*served(8, 12, **arms))
        await where.beat(20_000)
        await where.tallied()
        assert await where.judged() == 1
        (verdict,) = await where.decisions()
        assert (verdict.kind, verdict.subject, verdict.window_end_ms) == ("verdict", "e", 11_000)
        assert (await where.replaying.replay()).equal


def subfolder(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
