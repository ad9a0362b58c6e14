"""Whether this process works (`/healthz`), whether it can be used (`/readyz`), and its metrics (`/metrics`).

The two questions have different answers on purpose. A worker that waits for a database that is away is not
ready, and it is well: starting it again would not bring the database back. A worker whose step has not ended
for minutes is not well: whoever watches the process should start another. The answers are given by the event
loop that the workers run in, so a loop that is blocked answers nothing, and that is an answer too.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from consumers.logger import get_logger
from consumers.settings import SettingsError, mask_password

_log = get_logger("health")
HUNG_AFTER_S = 180.0
"""Longer than any step may wait: for another writer (30 s), a statement (60 s), the brokers (twice 40 s)."""
UNBOUNDED = frozenset({"trainer"})
"""Workers whose step is as long as the work: a training command has its own time limit, and a lease."""
GRACE_S = 2.0
_MAX_REASON = 300


@dataclass(slots=True)
class Waiting:
    """What a worker waits for, and until when it will not try again."""

    reason: str
    until_s: float


@dataclass(slots=True)
class WorkerHealth:
    """One worker as seen from outside. Times are of the monotonic clock."""

    heard_s: float
    succeeded_s: float | None = None
    pulse: object = None
    steps: int = 0
    waits: int = 0
    """How often it had to wait for a dependency."""
    waiting: Waiting | None = None
    drained: bool = False


@dataclass(slots=True)
class DependencyHealth:
    """What the last probe of a dependency found. Times are of the monotonic clock."""

    succeeded_s: float | None = None
    problem: str | None = None


@dataclass(slots=True, kw_only=True)
class Health:
    """What the workers' loops report, and what follows from it; an observer of `shell.run`.

    Only workers that were named count, and each of them does from the start. `clock` is monotonic. A step may
    be long where much has piled up, so a worker may have a pulse as well: a count that grows while it works.
    """

    hung_after_s: float = HUNG_AFTER_S
    clock: Callable[[], float] = time.monotonic
    workers: dict[str, WorkerHealth] = field(default_factory=dict)
    dependencies: dict[str, DependencyHealth] = field(default_factory=dict)
    pulses: dict[str, Callable[[], object]] = field(default_factory=dict)
    troubles: dict[str, Callable[[], Sequence[str]]] = field(default_factory=dict)
    """What keeps a worker from a part of its work, while it does the rest."""

    def expect(self, *workers: str, dependencies: Sequence[str] = ("store", "log")) -> None:
        """The process has these workers, which need these dependencies: not ready before all have worked."""
        now = self.clock()
        self.workers.update({name: WorkerHealth(heard_s=now) for name in workers})
        self.dependencies.update({name: DependencyHealth() for name in dependencies})

    # ------------------------------------------------------------ what is reported

    def stepped(self, worker: str, worked: bool) -> None:
        """A step has ended well."""
        state = self._worker(worker)
        state.heard_s = state.succeeded_s = self.clock()
        state.steps += worked
        state.waiting = None

    def waiting(self, worker: str, reason: str, seconds: float) -> None:
        """The worker cannot go on before `seconds` are over, for the `reason` (an error's message)."""
        state = self._worker(worker)
        state.heard_s = self.clock()
        state.waits += 1
        state.waiting = Waiting(_shown(reason), state.heard_s + seconds)

    def drained(self, worker: str) -> None:
        """The worker has ended as it was asked to."""
        state = self._worker(worker)
        state.heard_s, state.drained, state.waiting = self.clock(), True, None

    def reached(self, dependency: str) -> None:
        """The dependency has answered."""
        state = self.dependencies.setdefault(dependency, DependencyHealth())
        state.succeeded_s, state.problem = self.clock(), None

    def unreachable(self, dependency: str, problem: str) -> None:
        """The dependency has not answered, or with an error."""
        self.dependencies.setdefault(dependency, DependencyHealth()).problem = _shown(problem)

    # ------------------------------------------------------------ what follows

    def ill(self) -> list[str]:
        """Why the process should be started again; nothing when it works."""
        now = self.clock()
        self._feel_pulses(now)
        return [
            f"{name}: nothing heard for {now - state.heard_s:.0f} s"
            for name, state in self.workers.items()
            if name not in UNBOUNDED and not state.drained and now - self._due_s(state) > self.hung_after_s
        ]

    def unready(self) -> list[str]:
        """Why the process is of no use now; nothing when it is ready."""
        reasons = self.ill()
        for name, state in self.workers.items():
            if state.drained:
                reasons.append(f"{name}: has ended")
            elif state.waiting is not None:
                reasons.append(f"{name}: waiting: {state.waiting.reason}")
            elif state.succeeded_s is None and name not in UNBOUNDED:
                reasons.append(f"{name}: has not completed a step yet")
        for name, trouble in self.troubles.items():
            reasons += [f"{name}: {_shown(reason)}" for reason in trouble()]
        for name, dependency in self.dependencies.items():
            if dependency.problem is not None:
                reasons.append(f"{name}: {dependency.problem}")
            elif dependency.succeeded_s is None:
                reasons.append(f"{name}: has not answered yet")
        return reasons

    def describe(self) -> dict[str, Any]:
        """Each worker and each dependency, JSON-ready."""
        now = self.clock()
        return {
            "workers": {
                name: {
                    "steps": state.steps,
                    "waits": state.waits,
                    "waiting": None if state.waiting is None else state.waiting.reason,
                    "drained": state.drained,
                    "heard_s_ago": round(now - state.heard_s, 3),
                    "succeeded_s_ago": _ago(now, state.succeeded_s),
                }
                for name, state in self.workers.items()
            },
            "dependencies": {
                name: {"problem": state.problem, "succeeded_s_ago": _ago(now, state.succeeded_s)}
                for name, state in self.dependencies.items()
            },
        }

    def _feel_pulses(self, now: float) -> None:
        for name, pulse in self.pulses.items():
            state = self._worker(name)
            if (felt := pulse()) != state.pulse:
                state.pulse, state.heard_s = felt, now

    def _worker(self, name: str) -> WorkerHealth:
        return self.workers.setdefault(name, WorkerHealth(heard_s=self.clock()))

    @staticmethod
    def _due_s(state: WorkerHealth) -> float:
        """When the worker's present step began at the latest."""
        return state.heard_s if state.waiting is None else max(state.heard_s, state.waiting.until_s)


@asynccontextmanager
async def serve(health: Health, registry: CollectorRegistry, host: str, port: int) -> AsyncIterator[int]:
    """Answer `/metrics`, `/healthz` and `/readyz` while the block lasts; yields the port (0 asks for any).

    Raises SettingsError when the address cannot be had.
    """
    application = _application(health, registry)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=GRACE_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(
                "metrics_port", port, f"cannot listen on {host}: {error.strerror or error}"
            ) from error
        bound = int(runner.addresses[0][1])
        _log.info("health.listening", host=host, port=bound)
        yield bound
    finally:
        await runner.cleanup()


def _application(health: Health, registry: CollectorRegistry) -> web.Application:
    async def healthz(_request: web.Request) -> web.Response:
        return _answer(health.ill(), health.describe())

    async def readyz(_request: web.Request) -> web.Response:
        return _answer(health.unready(), health.describe())

    async def metrics(request: web.Request) -> web.Response:
        # On this thread, so that no worker moves while its counters are read: about a millisecond.
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    return application


def _answer(reasons: Sequence[str], details: Mapping[str, Any]) -> web.Response:
    body = {
        "ok": not reasons,
        "reasons": list(reasons),
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **details,
    }
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n",
        status=503 if reasons else 200,
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )


def _shown(reason: str) -> str:
    return mask_password(" ".join(reason.split()))[:_MAX_REASON]


def _ago(now: float, then: float | None) -> float | None:
    return None if then is None else round(now - then, 3)
