"""Settings that rows depend on, fixed when a deployment is made: every process must have the same.

Windows, partitions and what is accepted as a record decide the bytes of every row. They are written into the
store once; a process that was started with others is refused before it reads or writes anything.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from consumers.log.decode import Limits
from consumers.settings import SettingsError
from consumers.store.engine import Store
from consumers.store.repositories.deployment import DeploymentRepository
from domain.windows.policy import WindowPolicy

Facts = Mapping[str, Any]
_SECTIONS = {"windows": "windows.", "limits": ""}


def facts_of(windows: WindowPolicy, limits: Limits, partitions: int) -> Facts:
    """What is fixed, by its name in the store."""
    return {"windows": windows.to_json(), "limits": asdict(limits), "partitions": partitions}


async def pin(store: Store, facts: Facts) -> None:
    """Fix `facts` for this deployment, or check them if they are fixed. Raises SettingsError."""
    await check(store, facts)
    async with store.write() as session:
        deployment = DeploymentRepository(session)
        for name, value in facts.items():
            await deployment.put_once(name, value)


async def check(store: Store, facts: Facts) -> None:
    """Raises SettingsError, which names the setting, unless `facts` are those that were fixed."""
    async with store.read() as session:
        fixed = await DeploymentRepository(session).all()
    for name, value in facts.items():
        if name in fixed and fixed[name] != value:
            raise _difference(name, fixed[name], value)


def _difference(name: str, fixed: Any, offered: Any) -> SettingsError:
    if name not in _SECTIONS:
        return _refusal(name, fixed, offered)
    key = next(key for key in sorted({*fixed, *offered}) if fixed.get(key) != offered.get(key))
    return _refusal(_SECTIONS[name] + key, fixed.get(key), offered.get(key))


def _refusal(key: str, fixed: Any, offered: Any) -> SettingsError:
    if key.endswith("_ms"):
        key, fixed, offered = key.removesuffix("_ms") + "_s", _seconds(fixed), _seconds(offered)
    return SettingsError(key, offered, f"this deployment was set up with {fixed}, and its rows depend on it")


def _seconds(milliseconds: Any) -> Any:
    if not isinstance(milliseconds, int):
        return milliseconds
    return milliseconds // 1_000 if milliseconds % 1_000 == 0 else milliseconds / 1_000
