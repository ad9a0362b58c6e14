"""The model versions that the made-up stream is of, with reference profiles, so that features are counted."""

import hashlib
from random import Random

from consumers.bench.stream import StreamPlan
from consumers.bootstrap import System
from domain.registry.version import Lineage, ModelArtifact, ModelMetadata
from domain.windows.build import build_profile


async def register(system: System, plan: StreamPlan) -> None:
    """Register one version of each model of `plan`."""
    random = Random(plan.seed)
    columns = {name: [random.gauss(0, 1) for _ in range(2_000)] for name in plan.feature_names}
    predictions = [random.gauss(0, 1) for _ in range(2_000)]
    async with system.store.write() as session:
        for model in plan.model_names:
            profile = build_profile(
                model=model,
                version="1",
                task="regression",
                features=columns,
                predictions=predictions,
                error_clip=3.0,
            )
            await system.registry("bench").register_version(
                session,
                ModelMetadata(model=model, created_at_ms=0),
                ModelArtifact(uri=f"local:{model}/1", sha256=hashlib.sha256(b"").hexdigest(), manifest={}),
                profile=profile,
                lineage=Lineage(source="import"),
                actor="bench",
                reason="bench",
                at_ms=0,
            )
