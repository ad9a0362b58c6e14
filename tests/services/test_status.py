"""Status says in one document what serves, how far everything is, and what is wrong."""

from pathlib import Path

from consumers.services.status import status
from tests.services.deployment import deployment, drifting_life
from tests.services.world import MODEL, World


async def test_an_empty_deployment_has_nothing_to_say(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file, partitions=2) as where:
        shown = await status(where.store, where.log, where.topics)
        assert shown["models"] == []
        assert [one["inputs_through_ms"] for one in shown["partitions"]] == [None, None]
        assert (shown["divergences"], shown["outbox_waiting"], shown["dead_letters"]) == (0, 0, 0)


async def test_a_log_without_topics_is_no_error(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        shown = await status(where.store, where.log, type(where.topics)("none."))
        assert shown["partitions"] == []
        assert shown["dead_letters"] == 0


async def test_a_drifting_deployment_shows_it(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where)
        await where.tallied()
        await where.judged()
        shown = await status(where.store, where.log, where.topics)
        (partition,) = shown["partitions"]
        assert partition["predictions"] == 14 * 120 + 1
        assert partition["inputs_through_ms"] == 24_000 - 100
        assert shown["rows"] == {"input": 14, "score": 14}
        assert shown["records"]["predictions"]["tallied"] == 14 * 120
        assert {"late", "invalid", "duplicate"} <= shown["records"]["predictions"].keys()
        assert {"orphan", "late", "invalid", "matched"} <= shown["records"]["outcomes"].keys()
        (model,) = shown["models"]
        assert model["judged_through_ms"] == 23_900
        assert model["open_episodes"] == ["1/DATA_DRIFT (drift)"]
        assert shown["outbox_waiting"] > 0


async def test_what_is_production_and_running_is_shown(
    registry_world: World, tmp_path: Path, migrated_file: Path
) -> None:
    await registry_world.with_production()
    name = await registry_world.running_experiment()
    async with deployment(subfolder(tmp_path), migrated_file) as where:
        (model,) = (await status(registry_world.store, where.log, where.topics))["models"]
    assert (model["model"], model["production"], model["experiment"]) == (MODEL, "1", name)
    assert model["features_tested"]
    assert model["job"] is None
    assert not model["frozen"]


async def test_whether_errors_of_production_are_watched_is_shown(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where, windows=4)
        async with where.store.write() as session:
            await where.registry.promote(
                session, "m", "1", expected_production=None, actor="ada", reason="first", at_ms=1
            )
        await where.tallied()
        (before,) = (await status(where.store, where.log, where.topics))["models"]
        await where.judged()
        (after,) = (await status(where.store, where.log, where.topics))["models"]
    assert (before["errors_tested"], after["errors_tested"]) == (False, True)


def subfolder(folder: Path) -> Path:
    made = folder / "log"
    made.mkdir()
    return made
