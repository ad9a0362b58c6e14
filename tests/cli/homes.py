"""Homes of the embedded engine in which something has happened."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.cli.commands import lifecycle
from tests.services.deployment import POLICY, Deployment, deployment


def home_of(folder: Path, live: Callable[[Deployment], Awaitable[None]]) -> Path:
    """A home whose store holds what `live` appended to a log of its own, tallied and judged."""
    home, apart = folder / "home", folder / "log"
    home.mkdir()
    apart.mkdir()
    (home / "lifecycle.toml").write_text(
        f"partitions = 1\n[windows]\nlength_s = {POLICY.length_ms / 1000}\n"
        f"grace_s = {POLICY.grace_ms / 1000}\nslack_s = {POLICY.slack_ms / 1000}\n"
        f"max_horizon_s = {POLICY.max_horizon_s}\n"
    )
    assert lifecycle("init", "--home", home).code == 0

    async def happen() -> None:
        async with deployment(apart, f"sqlite:///{home / 'store.sqlite'}") as where:
            await live(where)
            await where.tallied()
            await where.judged()

    asyncio.run(happen())
    return home
