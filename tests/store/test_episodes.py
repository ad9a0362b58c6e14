"""Drift episodes and what people say of them: who knows, what is muted, how often is too often."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from consumers.store.engine import Store
from consumers.store.errors import NotFound
from consumers.store.repositories.budget_orders import BudgetOrder, BudgetOrderRepository
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.episodes import Acknowledgement, EpisodeRepository
from consumers.store.repositories.judgements import JudgedWindows, Judgement, JudgementRepository
from consumers.store.repositories.mutes import Mute, MuteRepository
from consumers.store.repositories.tallies import TallyRepository
from schemas.events import DriftType
from tests.store.builders import MINUTE, NOW, decision, episode, later, progress, window_row


async def test_an_episode_is_acknowledged_once_by_whoever_was_first(store: Store) -> None:
    first = Acknowledgement(episode_id="p-1", actor="ada", reason="known\0", acknowledged_at=NOW)
    async with store.write() as session:
        episodes = EpisodeRepository(session)
        with pytest.raises(NotFound, match="there is no drift episode p-1"):
            await episodes.acknowledge(first)
        await episodes.open(episode())
        await episodes.open(episode("p-2"))
        kept = await episodes.acknowledge(first)
        assert kept == replace(first, reason="known\ufffd")
        assert await episodes.acknowledge(replace(first, actor="bob", acknowledged_at=later(5))) == kept
        assert await episodes.acknowledgements(["p-1", "p-2"]) == {"p-1": kept}
        assert await episodes.acknowledgements([]) == {}


async def test_episodes_are_found_by_type_and_by_when_they_were_open(store: Store) -> None:
    async with store.write() as session:
        episodes = EpisodeRepository(session)
        await episodes.open(episode("old", opened_at_ms=10))
        await episodes.close("old", closed_at_ms=20, closed_by=None)
        await episodes.open(replace(episode("long", opened_at_ms=15), drift_type=DriftType.CONCEPT_DRIFT))
        await episodes.open(episode("new", opened_at_ms=30))

        async def found(**wanted: Any) -> list[str]:
            return [each.episode_id for each in await episodes.list(**wanted)]

        assert await found(since_ms=20) == ["old", "long", "new"]
        assert await found(since_ms=21) == ["long", "new"]
        assert await found(drift_type=DriftType.DATA_DRIFT) == ["old", "new"]
        assert await found(only_open=True, drift_type=DriftType.DATA_DRIFT, model="brent") == ["new"]


async def test_a_mute_is_ordered_once_and_ended_once(store: Store) -> None:
    made = Mute(
        mute_id="m-1",
        model="brent",
        drift_type=None,
        effective_from_ms=5,
        until_ms=None,
        actor="ada",
        reason="known",
        ordered_at=NOW,
    )
    other = replace(made, mute_id="m-0", drift_type=DriftType.DATA_DRIFT, until_ms=9, model="wti")
    async with store.write() as session:
        mutes = MuteRepository(session)
        assert await mutes.add(made)
        assert not await mutes.add(replace(made, actor="eve"))
        await mutes.add(other)
        assert await mutes.all() == [made, other]
        assert await mutes.end("m-1", ended_ms=7, actor="bob", reason="over")
        assert not await mutes.end("m-1", ended_ms=8, actor="eve", reason="again")
        ended = replace(made, ended_ms=7, ended_by="bob", ended_because="over")
        assert await mutes.all("brent") == [ended]
        with pytest.raises(NotFound):
            await mutes.end("m-9", ended_ms=1, actor="x", reason="y")


async def test_budgets_that_were_divided_are_kept_with_who_and_why(store: Store) -> None:
    order = BudgetOrder(per_month="2", policies={"m": "h"}, actor="ada", reason="too many", ordered_at=NOW)
    async with store.write() as session:
        orders = BudgetOrderRepository(session)
        assert await orders.last() is None
        await orders.add(order)
        await orders.add(replace(order, per_month="1/3", ordered_at=later(1)))
        assert await orders.last() == replace(order, per_month="1/3", ordered_at=later(1))


async def test_an_episode_s_decisions_are_the_opening_and_what_names_it_as_its_cause(store: Store) -> None:
    def caused(name: str, kind: str, at_ms: int, cause_at: str) -> Any:
        cause = ["drift", "brent", "1/DATA_DRIFT", "0", cause_at]
        body = orjson.dumps({"evidence": {"cause": cause}})
        return decision(name, kind=kind, at_ms=at_ms, subject="1/DATA_DRIFT", body=body)

    async with store.write() as session:
        decisions = DecisionRepository(session)
        opening = decision("open", at_ms=5, subject="1/DATA_DRIFT")
        followed = [caused("up", "escalation", 7, "5"), caused("over", "recovery", 9, "5")]
        others = [caused("next", "recovery", 20, "15"), decision("y", at_ms=6, subject="1/CONCEPT_DRIFT")]
        for each in [opening, *followed, *others]:
            await decisions.add(each, NOW)
        assert await decisions.of_episode("open", "brent") == [opening, *followed]
        assert await decisions.of_episode("nothing", "brent") == []
        assert await decisions.list(since_ms=9) == [followed[1], others[0]]


async def test_judged_windows_are_counted_once_whatever_they_are_made_of(store: Store) -> None:
    async with store.write() as session:
        rows = [
            window_row(0),
            window_row(0, version="2"),
            window_row(MINUTE),
            window_row(2 * MINUTE),
            window_row(0, kind="score", horizon_s=60),
            window_row(0, model="wti"),
        ]
        await TallyRepository(session).insert_closed(rows, [], progress(9, 9), now=NOW)
        judgements = JudgementRepository(session)
        for model, through_ms in (("brent", 2 * MINUTE), ("quiet", 7)):
            judged = Judgement(model=model, judged_through_ms=through_ms, state={}, tallies_digest="t" * 64)
            await judgements.save(judged)
        assert await judgements.windows() == {
            "brent": JudgedWindows(count=2, first_due_ms=MINUTE),
            "quiet": JudgedWindows(count=0, first_due_ms=None),
        }
