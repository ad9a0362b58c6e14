"""A trainer whose store is in the way when a finished training is to be recorded: it does not train again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consumers.store.engine import Store
from consumers.store.errors import StoreConflict, StoreUnavailable
from consumers.store.session import WriteSession
from consumers.workers.trainer import Trainer
from tests.services.world import TEMPLATE
from tests.workers.workshop import MEAN, Workshop


class Blinking(Store):
    """Fails the next `failures` transactions after the training command has run, at their commit."""

    trained: Path
    failures: int
    committed = False
    """Whether what fails is only the answer."""
    error: StoreUnavailable = StoreConflict("deadlock detected")

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        fails = self.failures > 0 and self.trained.exists()
        self.failures -= fails
        async with super().write() as session:
            yield session
            if fails and not self.committed:
                raise self.error
        if fails:
            raise self.error


def blinking(workshop: Workshop, failures: int, **settings: float) -> tuple[Trainer, Blinking]:
    trainer = workshop.trainer("", **settings)
    good = workshop.world.store
    store = Blinking(good.url, good._engine, good._busy_timeout_s)
    store.trained, store.failures = workshop.home / "trained", failures
    trainer.store = store
    return trainer, store


async def order(workshop: Workshop, then: str = "", **params: object) -> None:
    """A job whose training counts how often it ran."""
    script = workshop.home / "counting.py"
    script.write_text(f"open({str(workshop.home / 'trained')!r}, 'a').write('once ')\n{MEAN}{then}")
    command = ["{python}", str(script), "{job_dir}"]
    training: dict[str, object] = {"command": command, "params": params}
    await workshop.use(workshop.policy(training=training, experiment=TEMPLATE))
    await workshop.ask()


def trainings(workshop: Workshop) -> int:
    return len((workshop.home / "trained").read_text().split())


@pytest.mark.parametrize("error", [StoreConflict("deadlock detected"), StoreUnavailable("it restarts")])
async def test_a_store_that_fails_at_the_registration_costs_no_training(
    workshop: Workshop, error: StoreUnavailable
) -> None:
    await order(workshop)
    trainer, store = blinking(workshop, failures=2)
    store.error = error
    assert await trainer.step()
    assert not await trainer.step()
    ended = await workshop.job()
    assert (ended.status.value, ended.version, ended.attempts) == ("SUCCEEDED", "2", 1)
    assert (store.failures, trainings(workshop)) == (0, 1)
    assert [version.version for version in await workshop.versions()] == ["1", "2"]
    assert await workshop.statuses() == ["REQUESTED", "RUNNING", "SUCCEEDED"]


async def test_a_registration_whose_answer_is_lost_stands_and_is_not_repeated(workshop: Workshop) -> None:
    await order(workshop)
    trainer, store = blinking(workshop, failures=1)
    store.committed = True
    assert await trainer.step()
    assert not await trainer.step()
    ended = await workshop.job()
    assert (ended.status.value, ended.version, trainings(workshop)) == ("SUCCEEDED", "2", 1)
    assert [version.version for version in await workshop.versions()] == ["1", "2"]
    assert await workshop.statuses() == ["REQUESTED", "RUNNING", "SUCCEEDED"]


async def test_a_rejection_is_recorded_when_the_store_is_back(workshop: Workshop) -> None:
    await order(workshop, shift=50)
    trainer, store = blinking(workshop, failures=1)
    assert await trainer.step()
    assert (store.failures, trainings(workshop)) == (0, 1)
    assert (await workshop.job()).status.value == "VALIDATION_FAILED"


async def test_a_failure_is_recorded_when_the_store_is_back(workshop: Workshop) -> None:
    await order(workshop, then="raise SystemExit('no data')")
    trainer, store = blinking(workshop, failures=1)
    assert await trainer.step()
    assert (store.failures, trainings(workshop)) == (0, 1)
    ended = await workshop.job()
    assert ended.result is not None
    assert (ended.status.value, ended.result["stderr"]) == ("FAILED", "no data")


async def test_a_store_that_stays_away_is_given_up_after_a_lease(workshop: Workshop) -> None:
    await order(workshop)
    trainer, store = blinking(workshop, failures=10**6, lease_s=0.4)
    store.error = StoreUnavailable("out of reach")
    with pytest.raises(StoreUnavailable, match="out of reach"):
        await trainer.step()
    assert trainings(workshop) == 1
    assert len(await workshop.versions()) == 1
