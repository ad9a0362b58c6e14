"""What a deployment was set up with, once and for all (partition count, window length…), and its findings."""

from typing import Any

from sqlalchemy import select

from consumers.store.errors import DeploymentMismatch
from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.session import WriteSession, upsert
from consumers.store.tables import deployment


class DeploymentRepository(Repository[SessionT_co]):
    """Facts that every process of a deployment has to agree on."""

    async def get(self, key: str) -> Any:
        """The JSON value under `key`, None when there is none."""
        return await self._session.scalar(select(deployment.c.value).where(deployment.c.key == key))

    async def all(self) -> dict[str, Any]:
        """Every fact."""
        rows = await self._session.rows(
            select(deployment.c.key, deployment.c.value).order_by(deployment.c.key)
        )
        return {row.key: row.value for row in rows}

    async def put_once(self: "DeploymentRepository[WriteSession]", key: str, value: Any) -> None:
        """Record `value` (JSON, not None); a second time it has to be equal: DeploymentMismatch."""
        if await self._session.insert_if_absent(deployment, {"key": key, "value": value}):
            return
        stored = await self.get(key)
        if stored != value:
            raise DeploymentMismatch(key, stored, value)

    async def put(self: "DeploymentRepository[WriteSession]", key: str, value: Any) -> None:
        """Record `value` (JSON, not None) in place of what is there: for what may change, as findings do."""
        insert = upsert(self._session.dialect, deployment).values(key=key, value=value)
        await self._session.execute(
            insert.on_conflict_do_update(index_elements=["key"], set_={"value": insert.excluded.value})
        )
