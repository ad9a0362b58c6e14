"""Settings that rows depend on are fixed with the deployment."""

from pathlib import Path
from typing import Any

import pytest

from consumers.bootstrap import open_system
from consumers.settings import SettingsError, load_settings


async def made(home: Path, **overrides: Any) -> None:
    system = await open_system(load_settings(home, **overrides), create=True)
    await system.close()


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            {"windows": {"length_s": 5}},
            "windows.length_s = 5: this deployment was set up with 60, and its rows depend on it",
        ),
        (
            {"windows": {"slack_s": 0.5}},
            "windows.slack_s = 0.5: this deployment was set up with 10, and its rows depend on it",
        ),
        (
            {"windows": {"memory_s": 1}},
            "windows.memory_s = 1: this deployment was set up with 30, and its rows depend on it",
        ),
        ({"future_s": 5}, "future_s = 5: this deployment was set up with 60, and its rows depend on it"),
        ({"partitions": 8}, "partitions = 8: this deployment was set up with 4, and its rows depend on it"),
    ],
)
@pytest.mark.parametrize("create", [True, False], ids=["a worker", "a reader"])
async def test_another_setting_is_refused_by_name_whoever_comes_with_it(
    tmp_path: Path, overrides: dict[str, Any], line: str, create: bool
) -> None:
    await made(tmp_path)
    with pytest.raises(SettingsError) as refused:
        await open_system(load_settings(tmp_path, **overrides), create=create)
    assert str(refused.value) == line


async def test_settings_that_only_change_the_pace_may_differ(tmp_path: Path) -> None:
    await made(tmp_path)
    await made(tmp_path, batch_records=7, heartbeats=False, lease_s=3, dead_letter_limit=5)
