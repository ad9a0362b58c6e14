"""What the judge and the relay keep: judgements, decisions, policies, outbox, inbox, deployment."""

from datetime import datetime

import pytest

from consumers.store.engine import Store
from consumers.store.errors import (
    DecisionConflict,
    DeploymentMismatch,
    ImmutableConflict,
    NotFound,
    StaleJudgement,
)
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.inbox import InboxRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.session import WriteSession
from tests.store.builders import NOW, decision, later


def judgement(through_ms: int, **state: object) -> Judgement:
    return Judgement(model="brent", judged_through_ms=through_ms, state=dict(state), tallies_digest="t" * 64)


async def test_a_state_comes_back_to_the_bit(store: Store) -> None:
    state = {
        "sum": 1e16,
        "zero": -0.0,
        "tiny": 5e-324,
        "whole": 1.0,
        "n": 3,
        "nested": {"b": [1, None], "a": "é"},
    }
    async with store.write() as session:
        judgements = JudgementRepository(session)
        assert await judgements.load("brent") is None
        await judgements.save(judgement(60, **state))
    async with store.read() as session:
        found = await JudgementRepository(session).load("brent", for_update=False)
        assert found is not None
        assert repr(found.state) == repr(dict(sorted(state.items())) | {"nested": {"a": "é", "b": [1, None]}})


async def test_a_judgement_goes_on_and_never_back(store: Store) -> None:
    async with store.write() as session:
        judgements = JudgementRepository(session)
        await judgements.save(judgement(60))
        await judgements.save(judgement(120, a=1))
        with pytest.raises(StaleJudgement):
            await judgements.save(judgement(60))
        assert await judgements.all() == [judgement(120, a=1)]


async def test_a_decision_is_made_once(store: Store) -> None:
    async with store.write() as session:
        decisions = DecisionRepository(session)
        assert await decisions.add(decision(), NOW)
        assert not await decisions.add(decision(), later(5))
        with pytest.raises(DecisionConflict) as caught:
            await decisions.add(decision(body=b"{}"), NOW)
        assert caught.value.stored == decision().digest
        assert await decisions.get("d-1") == decision()
        assert await decisions.get("d-2") is None


async def test_decisions_are_listed_by_time_model_and_id(store: Store) -> None:
    expected = [
        decision("b", at_ms=1, model="brent"),
        decision("a", at_ms=1, model="wti"),
        decision("c", at_ms=2, kind="experiment"),
        decision("d", at_ms=2),
    ]
    async with store.write() as session:
        decisions = DecisionRepository(session)
        for one in expected[::-1]:
            await decisions.add(one, NOW)
        assert await decisions.list() == expected
        assert await decisions.list(limit=2) == expected[:2]
        assert await decisions.list(model="wti") == [expected[1]]
        assert await decisions.list(kind="experiment", model="brent") == [expected[2]]
        assert await decisions.latest(limit=3) == expected[1:]


async def test_the_policy_in_force_is_the_last_that_began(store: Store) -> None:
    async with store.write() as session:
        policies = PolicyRepository(session)
        first = await policies.add(model="brent", effective_from_ms=10, body={"alpha": 0.01})
        second = await policies.add(model="brent", effective_from_ms=20, body={"alpha": 0.05})
        assert await policies.add(model="brent", effective_from_ms=10, body={"alpha": 0.01}) == first
        with pytest.raises(ImmutableConflict):
            await policies.add(model="brent", effective_from_ms=10, body={"alpha": 0.5})
        told = [await policies.in_force("brent", at_ms) for at_ms in (9, 10, 19, 20)]
        assert told == [None, first, first, second]
        assert await policies.all("brent") == [first, second]
        assert await policies.all("wti") == []


async def promise(session: WriteSession, event_id: str, now: datetime = NOW) -> bool:
    return await OutboxRepository(session).add(
        event_id=event_id,
        topic="lifecycle.drift-detected",
        key=b"brent",
        value=b"{}",
        headers=(("ce_id", event_id.encode()), ("ce_type", "é".encode())),
        timestamp_ms=60,
        now=now,
    )


async def test_promised_events_leave_once_in_the_order_of_promises(store: Store) -> None:
    async with store.write() as session:
        outbox = OutboxRepository(session)
        assert await outbox.oldest_unsent() is None
        for number, event_id in enumerate("cab"):
            assert await promise(session, event_id, later(number))
        assert not await promise(session, "a")
        found = await outbox.unsent(10)
        assert [record.event_id for record in found] == ["c", "a", "b"]
        assert found[0].headers == (("ce_id", b"c"), ("ce_type", "é".encode()))
        assert (found[0].key, found[0].value, found[0].timestamp_ms) == (b"brent", b"{}", 60)
        assert [record.event_id for record in await outbox.unsent(2)] == ["c", "a"]
        await outbox.mark_sent([found[0].id, found[2].id], NOW)
        assert [record.event_id for record in await outbox.unsent(10)] == ["a"]
        assert await outbox.oldest_unsent() == later(1)
        assert await outbox.unsent_count() == 1
        assert not await promise(session, "c")


async def test_an_event_is_handled_once_by_each_consumer(store: Store) -> None:
    async with store.write() as session:
        inbox = InboxRepository(session)
        assert await inbox.first_time("registry", "e-1", NOW)
        assert not await inbox.first_time("registry", "e-1", NOW)
        assert await inbox.first_time("dashboard", "e-1", NOW)
        assert await inbox.result("registry", "e-1") is None
        await inbox.set_result("registry", "e-1", "promoted 2")
        assert await inbox.result("registry", "e-1") == "promoted 2"
        with pytest.raises(NotFound):
            await inbox.set_result("registry", "e-2", "x")


async def test_an_event_whose_handling_failed_is_handled_again(store: Store) -> None:
    async def fail() -> None:
        async with store.write() as session:
            assert await InboxRepository(session).first_time("registry", "e-1", NOW)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with store.write() as session:
        assert await InboxRepository(session).first_time("registry", "e-1", NOW)


@pytest.mark.parametrize("value", [4, 4.0, "4", True, [1, 2], {"b": 1, "a": [None]}])
async def test_a_deployment_fact_is_put_once(store: Store, value: object) -> None:
    async with store.write() as session:
        deployment = DeploymentRepository(session)
        for _ in range(2):
            await deployment.put_once("partitions", value)
        with pytest.raises(DeploymentMismatch, match="partitions") as caught:
            await deployment.put_once("partitions", "other")
        assert (caught.value.stored, caught.value.offered) == (value, "other")
        assert await deployment.get("other") is None
        assert await deployment.all() == {"partitions": value}


async def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    async with store.write() as session:
        with pytest.raises(Exception, match="time zone"):
            await promise(session, "a", NOW.replace(tzinfo=None))
