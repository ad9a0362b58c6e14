"""Homes of earlier code are replayed to the byte: what was decided once can be checked for ever."""

import sqlite3
import tarfile
from pathlib import Path

import orjson
import pytest

from consumers.bootstrap import System, open_system
from consumers.settings import load_settings
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.experiments import ExperimentRepository
from domain.experiments.plan import ExperimentPlan
from tests.golden.make import SETTINGS

ARCHIVES = sorted(Path(__file__).parent.glob("*.tar.xz"))


async def opened(home: Path) -> System:
    """With the store's schema of today, as `lifecycle init` leaves it."""
    return await open_system(load_settings(home, **SETTINGS), create=True)


@pytest.fixture(params=ARCHIVES, ids=lambda archive: archive.name)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_there_is_a_home_of_earlier_code() -> None:
    assert [archive.name for archive in ARCHIVES] == ["experiments-1.tar.xz"]


async def test_every_decision_of_earlier_code_is_recomputed_to_the_byte(home: Path) -> None:
    expected = orjson.loads((home / "expected.json").read_bytes())
    system = await opened(home)
    try:
        async with system.store.read() as session:
            stored = await DecisionRepository(session).list()
        report = await system.replaying.replay()
    finally:
        await system.close()
    assert [(each.decision_id, each.body.decode()) for each in stored] == [
        (each["decision_id"], each["body"]) for each in expected
    ]
    assert report.first_difference is None
    assert (report.equal, report.row_differences) == (True, 0)
    assert report.decisions == len(expected) == 6
    assert report.rows > 500


async def test_every_plan_of_earlier_code_keeps_its_json_and_its_hash(home: Path) -> None:
    system = await opened(home)
    try:
        async with system.store.read() as session:
            records = await ExperimentRepository(session).list()
    finally:
        await system.close()
    assert len(records) == 6
    for record in records:
        plan = ExperimentPlan.of_record(record.config)
        assert plan.to_json() == record.config
        assert plan.config_hash == record.config_hash


async def test_the_control_a_changed_decision_is_found(home: Path) -> None:
    with sqlite3.connect(home / "store.sqlite") as store:
        name = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'decisions'"
        for (trigger,) in store.execute(name).fetchall():
            store.execute(f"DROP TRIGGER {trigger}")
        lie = "body = replace(body, '\"PROMOTE\"', '\"ROLL_BACK\"')"
        changed = store.execute(f"UPDATE decisions SET {lie} WHERE subject = 'split-e'")
        assert changed.rowcount == 1
    system = await opened(home)
    try:
        report = await system.replaying.replay()
    finally:
        await system.close()
    assert report.first_difference is not None
    assert report.first_difference.decision.subject == "split-e"
