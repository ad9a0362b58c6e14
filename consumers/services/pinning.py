"""Settings that rows depend on, fixed when a deployment is made: every process must have the same.

Windows, partitions and what is accepted as a record decide the bytes of every row. They are written into the
store once; a process that was started with others is refused before it reads or writes anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from consumers.log.decode import Limits
from consumers.log.port import EventLog
from consumers.settings import SettingsError
from consumers.store.engine import Store
from consumers.store.repositories.deployment import DeploymentRepository
from domain.errors import DomainError
from domain.windows.policy import WindowPolicy
from schemas.topics import Topics

Facts = Mapping[str, Any]
_TOPIC_IDS = "topic_ids"
_SECTIONS = {"windows": "windows.", "limits": ""}


def facts_of(windows: WindowPolicy, limits: Limits, partitions: int) -> Facts:
    """What is fixed, by its name in the store."""
    return {"windows": windows.to_json(), "limits": asdict(limits), "partitions": partitions}


class TopicReplaced(DomainError):
    """A topic was deleted since the deployment was made: the offsets in the store mean other records."""

    def __init__(self, topic: str, *, missing: bool) -> None:
        what = "is gone" if missing else "was deleted and made anew"
        super().__init__(
            f"topic {topic} {what} since this deployment was set up; rows and offsets are of the old one: "
            "restore it, or set up a new deployment (database_url, topic_prefix)"
        )


async def check_topics(store: Store, log: EventLog, topics: Topics) -> None:
    """Raises TopicReplaced if a hot topic is not the one that the deployment was made with."""
    async with store.read() as session:
        fixed = await DeploymentRepository(session).get(_TOPIC_IDS)
    if not fixed:
        return
    found = await log.topic_ids()
    for topic in (topics.predictions, topics.outcomes):
        if found.get(topic) != fixed.get(topic):
            raise TopicReplaced(topic, missing=topic not in found)


async def pin_topics(store: Store, log: EventLog, topics: Topics) -> None:
    """Remember which topics the deployment is made with."""
    found = await log.topic_ids()
    if found:
        hot = {topic: found[topic] for topic in (topics.predictions, topics.outcomes)}
        async with store.write() as session:
            await DeploymentRepository(session).put_once(_TOPIC_IDS, hot)


async def pin(store: Store, facts: Facts) -> None:
    """Fix `facts` for this deployment, or check them if they are fixed. Raises SettingsError."""
    await check(store, facts)
    async with store.write() as session:
        deployment = DeploymentRepository(session)
        for name, value in facts.items():
            await deployment.put_once(name, value)


async def check(store: Store, facts: Facts, source: Callable[[str], str] = lambda _key: "") -> None:
    """Raises SettingsError, which names the setting and its `source`, unless `facts` are those fixed."""
    async with store.read() as session:
        fixed = await DeploymentRepository(session).all()
    for name, value in facts.items():
        if name in fixed and fixed[name] != value:
            key, was, offered = _difference(name, fixed[name], value)
            limit = f"this deployment was set up with {was}, and its rows depend on it"
            raise SettingsError(key, offered, limit, source(key))


def _difference(name: str, fixed: Any, offered: Any) -> tuple[str, Any, Any]:
    """The setting that differs, as it was fixed and as it is offered."""
    if name in _SECTIONS:
        key = next(key for key in sorted({*fixed, *offered}) if fixed.get(key) != offered.get(key))
        name, fixed, offered = _SECTIONS[name] + key, fixed.get(key), offered.get(key)
    if not name.endswith("_ms"):
        return name, fixed, offered
    return name.removesuffix("_ms") + "_s", _seconds(fixed), _seconds(offered)


def _seconds(milliseconds: Any) -> Any:
    if not isinstance(milliseconds, int):
        return milliseconds
    return milliseconds // 1_000 if milliseconds % 1_000 == 0 else milliseconds / 1_000
