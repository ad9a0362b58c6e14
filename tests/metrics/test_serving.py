"""The endpoints over HTTP: who may ask, what they say, and when they begin and cease to say so."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession
from prometheus_client import CollectorRegistry

from consumers.health import Health, serve
from consumers.services.figures import Figures
from consumers.services.observing import observed
from consumers.settings import ConfigManager, SettingsError
from consumers.store.errors import StoreUnavailable
from consumers.workers import shell
from tests.metrics.process import process
from tests.services.deployment import Deployment

LOOPBACK = "127.0.0.1"


async def asked(port: int, path: str) -> tuple[int, dict[str, Any]]:
    async with ClientSession() as session, session.get(f"http://{LOOPBACK}:{port}{path}") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        return answer.status, await answer.json()


async def once(port: int, path: str, wanted: int) -> dict[str, Any]:
    """The body of the first answer with the status `wanted`."""
    for _ in range(500):
        status, body = await asked(port, path)
        if status == wanted:
            return body
        await asyncio.sleep(0.005)
    raise TimeoutError(f"{path} never answered {wanted}")


class Scripted:
    """A worker whose steps end as told, one for each `go`: with work, or with an error."""

    def __init__(self, script: Sequence[int | Exception]) -> None:
        self.script = list(script)
        self.go = asyncio.Event()

    async def step(self) -> int:
        await self.go.wait()
        self.go.clear()
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item


async def test_a_process_becomes_ready_waits_recovers_and_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "FIRST_WAIT_S", 0.01)
    health, stop = Health(), asyncio.Event()
    health.expect("judge", dependencies=())
    worker = Scripted([3, StoreUnavailable("postgresql://ada:hunter2@db/x refused"), 1, 0])
    running = asyncio.create_task(shell.run(worker, "judge", poll_s=60, stop=stop, observer=health))
    async with serve(health, CollectorRegistry(), LOOPBACK, 0) as port:
        body = await once(port, "/readyz", 503)
        assert body["reasons"] == ["judge: has not completed a step yet"]
        worker.go.set()
        body = await once(port, "/readyz", 200)
        assert (body["ok"], body["reasons"]) == (True, [])
        worker.go.set()
        body = await once(port, "/readyz", 503)
        waiting = "the store is unavailable: postgresql://ada:***@db/x refused"
        assert body["reasons"] == [f"judge: waiting: {waiting}"]
        assert body["workers"]["judge"]["waiting"] == waiting
        assert (await asked(port, "/healthz"))[0] == 200, "starting it again would not bring the store back"
        worker.go.set()
        body = await once(port, "/readyz", 200)
        assert (body["workers"]["judge"]["steps"], body["workers"]["judge"]["waits"]) == (2, 1)
        worker.go.set()
        stop.set()
        await running
        assert (await once(port, "/readyz", 503))["reasons"] == ["judge: has ended"]
        assert (await asked(port, "/healthz"))[0] == 200


async def test_a_step_that_hangs_is_told_by_healthz() -> None:
    health, stop = Health(hung_after_s=0.05), asyncio.Event()
    health.expect("tally", dependencies=())
    running = asyncio.create_task(shell.run(Scripted([]), "tally", poll_s=60, stop=stop, observer=health))
    async with serve(health, CollectorRegistry(), LOOPBACK, 0) as port:
        assert (await once(port, "/healthz", 503))["reasons"] == ["tally: nothing heard for 0 s"]
        health.stepped("tally", True)
        assert (await asked(port, "/healthz"))[0] == 200
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_whole_process_is_ready_once_its_dependencies_have_answered(where: Deployment) -> None:
    async with process(where) as running:
        body = await once(running.port, "/readyz", 200)
        assert set(body["workers"]) == {"tally", "judge", "relay", "registry"}
        assert {name: found["problem"] for name, found in body["dependencies"].items()} == {
            "store": None,
            "log": None,
        }
        port = running.port
    with pytest.raises(ClientConnectorError):
        await asked(port, "/healthz")


async def test_only_this_machine_may_ask_unless_the_settings_say_otherwise() -> None:
    settings = ConfigManager()
    assert settings.metrics_host == LOOPBACK
    async with serve(Health(), CollectorRegistry(), settings.metrics_host, 0) as port:
        with socket.socket() as elsewhere:
            elsewhere.settimeout(1)
            # the whole of 127/8 is this machine, and only the first address was asked for
            assert elsewhere.connect_ex(("127.0.0.2", port)) != 0
        assert (await asked(port, "/healthz"))[0] == 200


async def test_without_a_port_nothing_listens_and_nothing_is_read(where: Deployment) -> None:
    assert ConfigManager().metrics_port is None
    health = Health()
    figures = Figures(
        store=where.store, log=where.log, topics=where.topics, probed=health, clock=health.clock
    )
    async with observed(
        workers={"judge": where.judge()},
        health=health,
        figures=figures,
        topics=where.topics,
        now_ms=lambda: where.now_ms,
        host=LOOPBACK,
        port=None,
    ) as port:
        await asyncio.sleep(0.02)
        assert port is None
        assert figures.of_store is None


async def test_an_address_that_is_taken_is_a_setting_that_is_wrong() -> None:
    async with serve(Health(), CollectorRegistry(), LOOPBACK, 0) as port:
        with pytest.raises(SettingsError, match=f"metrics_port = {port}: cannot listen on 127.0.0.1"):
            async with serve(Health(), CollectorRegistry(), LOOPBACK, port):
                pass


async def test_other_paths_and_methods_are_refused() -> None:
    async with serve(Health(), CollectorRegistry(), LOOPBACK, 0) as port, ClientSession() as session:
        async with session.get(f"http://{LOOPBACK}:{port}/") as answer:
            assert answer.status == 404
        async with session.post(f"http://{LOOPBACK}:{port}/metrics") as answer:
            assert answer.status == 405
