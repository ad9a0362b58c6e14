"""A small registry world over a real store: what most tests of services start from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from consumers.services.context import ServiceContext
from consumers.services.experiments import ExperimentManager, plan_from_template
from consumers.services.handlers import Handlers
from consumers.services.judging import stored_form
from consumers.services.registry import Registry
from consumers.services.retraining import RetrainingPipeline
from consumers.store.engine import Store, open_store
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.models import VersionRecord
from consumers.store.repositories.outbox import OutboxRecord, OutboxRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import WriteSession
from domain.judgement.decision import Decision, DecisionKind
from domain.registry.version import Lineage, ModelArtifact, ModelMetadata
from domain.windows.policy import WindowPolicy
from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.progress import Progress
from schemas import Topics
from schemas.codec import decode
from schemas.events import Event

WALL = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "brent"
TEMPLATE: dict[str, object] = {
    "strategy": "SHADOW_MODE",
    "primary": {"metric": "abs_error", "direction": "decrease"},
}
PROFILE = ReferenceProfile(
    model="",
    version="",
    task="regression",
    features={"x": FeatureReference(kind="numeric", edges=(1.0,), counts=(5, 5, 0, 0))},
    error_clip=3.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    store: Store
    context: ServiceContext
    registry: Registry
    experiments: ExperimentManager
    retraining: RetrainingPipeline
    handlers: Handlers

    async def register(
        self, session: WriteSession, *, job_id: str | None = None, at_ms: int = 1_000, staged: bool = True
    ) -> VersionRecord:
        """One more version, in STAGING unless told otherwise."""
        record = await self.registry.register_version(
            session,
            ModelMetadata(model=MODEL, created_at_ms=at_ms),
            ModelArtifact(uri="file:///models/x", sha256="a" * 64, manifest={"files": []}),
            profile=PROFILE,
            lineage=Lineage(source="import"),
            actor="ada",
            reason="a test",
            at_ms=at_ms,
            job_id=job_id,
        )
        if staged:
            await self.registry.stage(
                session, MODEL, record.version, actor="ada", reason="a test", at_ms=at_ms
            )
        return record

    async def with_production(self) -> None:
        """Version 1 in PRODUCTION, version 2 in STAGING."""
        async with self.store.write() as session:
            await self.register(session)
            await self.register(session)
            await self.registry.promote(
                session, MODEL, "1", expected_production=None, actor="ada", reason="first", at_ms=2_000
            )

    async def running_experiment(self, name: str = "e1") -> str:
        """An experiment of version 2 against version 1."""
        plan = plan_from_template(TEMPLATE, experiment=name, model=MODEL, champion="1", challenger="2")
        async with self.store.write() as session:
            await self.experiments.create(session, plan)
            await self.experiments.start(session, name, at_ms=3_000)
        return name

    async def decided(
        self,
        session: WriteSession,
        *,
        kind: str = "verdict",
        subject: str = "e1",
        at_ms: int = 9_000,
        **evidence: object,
    ) -> Decision:
        """A decision that the store holds, with the evidence that matters to handlers."""
        decision = Decision(
            kind=DecisionKind(kind),
            model=MODEL,
            subject=subject,
            at_ms=at_ms,
            window_start_ms=0,
            window_end_ms=at_ms,
            config_hash="c" * 64,
            evidence=evidence,
        )
        await DecisionRepository(session).add(stored_form(decision), WALL)
        return decision

    async def closed_through(self, through_ms: int, partition: int = 0, partitions: int = 1) -> None:
        """As if a tally worker had closed both sides of a partition up to `through_ms`."""
        progress = Progress(partition, 0, 0, 0, 0, through_ms, through_ms, through_ms, through_ms)
        async with self.store.write() as session:
            await DeploymentRepository(session).put_once("partitions", partitions)
            await TallyRepository(session).insert_closed([], [], progress, now=WALL)

    async def promised(self) -> list[OutboxRecord]:
        async with self.store.read() as session:
            return await OutboxRepository(session).unsent(1_000)

    async def events(self, topic: str) -> list[Event]:
        """The events that are promised to `topic`, in order."""
        return [decode(topic, record.value) for record in await self.promised() if record.topic == topic]


@asynccontextmanager
async def world(store_url: str) -> AsyncIterator[World]:
    """The services over the migrated, empty store at `store_url`."""
    store = await open_store(store_url)
    context = ServiceContext(
        topics=Topics(),
        windows=WindowPolicy(length_ms=1_000, slack_ms=100, grace_ms=500),
        source="lifecycle/test",
        now=lambda: WALL,
    )
    registry = Registry(context=context)
    experiments = ExperimentManager(context=context, registry=registry)
    retraining = RetrainingPipeline(context=context, registry=registry, experiments=experiments)
    handlers = Handlers(context=context, registry=registry, experiments=experiments, retraining=retraining)
    try:
        yield World(
            store=store,
            context=context,
            registry=registry,
            experiments=experiments,
            retraining=retraining,
            handlers=handlers,
        )
    finally:
        await store.dispose()
