"""Topics against the settings: what differs, and with what nothing may run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumers.log.memory import InMemoryLog
from consumers.log.port import TopicSpec
from consumers.services.topics import (
    TopicsWrong,
    check_topics,
    least_retention_ms,
    require_topics,
    wanted_topics,
)
from consumers.settings import ConfigManager, SettingsError, load_settings

DAY_S = 86_400


@pytest.fixture
def settings(tmp_path: Path) -> ConfigManager:
    return configured(tmp_path)


def configured(home: Path, **kafka: Any) -> ConfigManager:
    windows = {"max_horizon_s": 10 * DAY_S, "length_s": 60, "grace_s": 30, "slack_s": 10}
    return load_settings(home, topic_prefix="t.", partitions=3, windows=windows, kafka=kafka)


async def log_with(specs: Sequence[TopicSpec]) -> InMemoryLog:
    log = InMemoryLog(now_ms=lambda: 0)
    await log.create_topics(specs)
    return log


async def found(settings: ConfigManager, *changed: TopicSpec) -> list[tuple[str, str, str | None, bool]]:
    """The differences of topics that are as wanted but for `changed`."""
    specs = {spec.name: spec for spec in wanted_topics(settings)} | {spec.name: spec for spec in changed}
    differences = await check_topics(await log_with([*specs.values()]), settings)
    return [(each.topic, each.setting, each.found, each.needed) for each in differences]


def of(settings: ConfigManager, name: str) -> TopicSpec:
    return next(spec for spec in wanted_topics(settings) if spec.name == f"t.{name}")


async def test_topics_as_wanted_have_no_difference(settings: ConfigManager) -> None:
    assert await found(settings) == []
    await require_topics(await log_with(wanted_topics(settings)), settings)


async def test_everything_missing_is_every_topic(settings: ConfigManager) -> None:
    differences = await check_topics(await log_with([]), settings)
    assert {each.topic for each in differences} == {spec.name for spec in wanted_topics(settings)}
    assert all(each.needed and each.found is None for each in differences)
    with pytest.raises(
        TopicsWrong, match=r"t\.dead-letter is missing, and 8 more\. Run: lifecycle topics create"
    ):
        await require_topics(await log_with([]), settings)


async def test_other_partition_counts_and_compacted_events_let_nothing_run(settings: ConfigManager) -> None:
    grown = replace(of(settings, "outcomes"), partitions=4)
    assert await found(settings, grown) == [("t.outcomes", "partitions", "4", True)]
    compacted = replace(of(settings, "predictions"), cleanup="compact")
    assert await found(settings, compacted) == [("t.predictions", "cleanup.policy", "compact", True)]
    others = [spec for spec in wanted_topics(settings) if spec.name != grown.name]
    with pytest.raises(TopicsWrong, match=r"t\.outcomes: partitions is 4, must be 3\. Run"):
        await require_topics(await log_with([*others, grown]), settings)


async def test_retention_shorter_than_what_waits_is_said(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    assert least_retention_ms(settings) == (10 * DAY_S + 60 + 30 + 10 + DAY_S) * 1_000
    short = replace(of(settings, "outcomes"), retention_ms=least_retention_ms(settings) - 1)
    (difference,) = await check_topics(
        await log_with([short, *(spec for spec in wanted_topics(settings) if spec.name != short.name)]),
        settings,
    )
    assert (difference.setting, difference.expected) == ("retention.ms", "at least 950500000")
    assert not difference.needed
    # long enough, and yet not what the settings say
    long = replace(short, retention_ms=least_retention_ms(settings))
    assert await found(settings, long) == [("t.outcomes", "retention.ms", "950500000", False)]
    assert await found(configured(tmp_path, hot_retention_s=950_500)) == []


async def test_a_retention_that_would_lose_records_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"kafka\.hot_retention_s = 3600\.0: must be -1, or 950500 or more"
    ):
        wanted_topics(configured(tmp_path, hot_retention_s=3_600))
