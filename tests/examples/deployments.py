"""A deployment on either engine in which the example service is started as a process, killed and asked."""

import asyncio
import json
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.registry.version import ModelArtifact
from examples import brent
from lifecycle_sdk.contracts import (
    AllocationStrategy,
    ExperimentChanged,
    ExperimentStatus,
    LifecycleEvent,
    LogFile,
    LogRecord,
    ModelStage,
    ModelStageChanged,
    NewRecord,
    OutcomeObserved,
    PredictionMade,
    ProductionPointer,
    Topics,
    VariantOffer,
    decode,
    from_ms,
    record_of,
)
from tests.sdk import brokers

SCRIPT = Path(brent.__file__).with_name("prediction_service.py")
MODEL = "brent-move"
PARTITIONS = 2
WEEKS = list(brent.weeks())
NOW_MS = 1_700_000_000_000


class Deployment(ABC):
    """Topics and artifacts, and services that are started in it."""

    def __init__(self, home: Path, store: tuple[Path, list[ModelArtifact]]) -> None:
        home.mkdir()
        self.home, self.artifacts = home, store[1]
        (home / "artifacts").symlink_to(store[0])
        self.processes: list[subprocess.Popen[str]] = []

    topics: Topics
    arguments: list[str]
    """What the service is started with."""

    @abstractmethod
    def append(self, records: Sequence[NewRecord]) -> None: ...

    @abstractmethod
    def records(self, topic: str) -> list[LogRecord]:
        """Everything in `topic`, partition by partition."""

    def start(self) -> dict[str, Any]:
        process = subprocess.Popen(
            [sys.executable, SCRIPT, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return self.answer()

    def say(self, line: str) -> dict[str, Any]:
        stdin = self.processes[-1].stdin
        assert stdin is not None
        stdin.write(line + "\n")
        stdin.flush()
        return self.answer()

    def advance(self, week: int) -> dict[str, Any]:
        return self.say(json.dumps({"advance": week}))

    def answer(self) -> dict[str, Any]:
        stdout = self.processes[-1].stdout
        assert stdout is not None
        answer: dict[str, Any] = json.loads(stdout.readline())
        return answer

    def kill(self) -> None:
        self.processes[-1].send_signal(signal.SIGKILL)
        self.processes[-1].wait()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    def announce(self, event: LifecycleEvent) -> None:
        self.append([record_of(event, self.topics, source="test")])

    def promote(self, number: int) -> None:
        artifact = self.artifacts[number - 1]
        self.announce(
            ModelStageChanged(
                event_id=f"promoted-{number}",
                occurred_at=from_ms(WEEKS[0] * brent.WEEK_MS),
                model=MODEL,
                version=str(number),
                from_stage=ModelStage.STAGING,
                to_stage=ModelStage.PRODUCTION,
                actor="test",
                reason="test",
                production=ProductionPointer(
                    version=str(number),
                    artifact_uri=artifact.uri,
                    artifact_sha256=artifact.sha256,
                    epoch=number,
                ),
            )
        )

    def shadow(self, status: ExperimentStatus) -> None:
        offers = [
            VariantOffer(
                name=("champion", "challenger")[at],
                version=str(at + 1),
                champion=at == 0,
                share=1 - at,
                artifact_uri=artifact.uri,
                artifact_sha256=artifact.sha256,
            )
            for at, artifact in enumerate(self.artifacts)
        ]
        self.announce(
            ExperimentChanged(
                event_id=f"shadow-{status}",
                occurred_at=from_ms(WEEKS[0] * brent.WEEK_MS),
                model=MODEL,
                experiment="exp",
                status=status,
                strategy=AllocationStrategy.SHADOW_MODE,
                epoch=1,
                salt="exp",
                variants=tuple(offers),
                config_hash="c" * 64,
            )
        )

    def predictions(self) -> list[PredictionMade]:
        values = [decode(PredictionMade, value) for value in self._values(self.topics.predictions)]
        return sorted(values, key=lambda made: (made.occurred_at, not made.served))

    def outcomes(self) -> list[OutcomeObserved]:
        values = [decode(OutcomeObserved, value) for value in self._values(self.topics.outcomes)]
        return sorted(values, key=lambda seen: seen.occurred_at)

    def published(self) -> dict[str, list[Any]]:
        """All that the service has published, as it lies in each partition."""
        return {
            name: [(r.partition, r.key, r.value, r.timestamp_ms, r.headers) for r in self.records(topic)]
            for name, topic in (("made", self.topics.predictions), ("seen", self.topics.outcomes))
        }

    def _values(self, topic: str) -> list[bytes]:
        found = self.records(topic)
        assert all(r.key is not None and r.value for r in found)
        return [r.value or b"" for r in found]


class EmbeddedDeployment(Deployment):
    """A log file in its home."""

    def __init__(self, home: Path, store: tuple[Path, list[ModelArtifact]]) -> None:
        super().__init__(home, store)
        self.topics = Topics()
        self.arguments = ["--home", str(home)]
        self.log = LogFile(home / "log.sqlite", now_ms=lambda: NOW_MS)
        self.log.create_topics(self.topics.specs(PARTITIONS))

    def append(self, records: Sequence[NewRecord]) -> None:
        self.log.append(records)

    def records(self, topic: str) -> list[LogRecord]:
        partitions = range(self.log.topics()[topic].partitions)
        return [r for partition in partitions for r in self.log.read(topic, partition, 0, 10_000)]

    def close(self) -> None:
        super().close()
        self.log.close()


class KafkaDeployment(Deployment):
    """Topics of its own on the broker of all tests."""

    def __init__(
        self, home: Path, store: tuple[Path, list[ModelArtifact]], bootstrap: str, prefix: str
    ) -> None:
        super().__init__(home, store)
        self.bootstrap = bootstrap
        self.topics = Topics(prefix)
        self.arguments = [
            *("--kafka", bootstrap, "--topic-prefix", prefix, "--artifacts", str(home / "artifacts"))
        ]
        self.specs = self.topics.specs(PARTITIONS)
        asyncio.run(brokers.create(bootstrap, self.specs))

    def append(self, records: Sequence[NewRecord]) -> None:
        asyncio.run(brokers.append(self.bootstrap, records))

    def records(self, topic: str) -> list[LogRecord]:
        return asyncio.run(brokers.records(self.bootstrap, topic))

    def close(self) -> None:
        super().close()
        asyncio.run(brokers.delete(self.bootstrap, [spec.name for spec in self.specs]))
