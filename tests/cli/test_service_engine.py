"""`lifecycle` on Kafka and PostgreSQL as a person meets it: what it refuses, and how it drains."""

import asyncio
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from sqlalchemy import make_url

from consumers.log.kafka import KafkaLog
from consumers.log.port import TopicSpec
from consumers.settings import SETTINGS_FILE, load_settings
from consumers.toml import write_toml
from schemas.topics import Topics
from tests.cli.commands import lifecycle
from tests.demo.runs import LIFECYCLE, ROOT
from tests.servers.places import free_port
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.slow]

WORKERS = ("tally", "judge", "relay", "registry", "trainer")
DRAINED_WITHIN_S = 10
PATIENCE_S = 150
T = TypeVar("T")


@pytest.fixture
def service(tmp_path: Path, kafka: str, pg_url: str, topic_prefix: str) -> Path:
    """A home whose log and store are servers. Nothing is made in them yet."""
    home = tmp_path / "home"
    settings = {
        "database_url": pg_url,
        "topic_prefix": topic_prefix,
        "partitions": 2,
        "poll_interval_s": 0.1,
        "heartbeat_idle_s": 0.3,
        "kafka": {"bootstrap": kafka, "group": topic_prefix.rstrip("."), "session_timeout_s": 6.0},
        "windows": {"length_s": 0.5, "slack_s": 3.0, "grace_s": 1.0},
    }
    write_toml(home / SETTINGS_FILE, settings)
    return home


def with_log(home: Path, work: Callable[[KafkaLog], Awaitable[T]]) -> T:
    async def inside() -> T:
        settings = load_settings(home)
        log = await KafkaLog.open(settings.kafka, now_ms=lambda: 0)
        try:
            return await work(log)
        finally:
            await log.close()

    return asyncio.run(inside())


def delete(home: Path, *topics: str) -> None:
    async def inside() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=load_settings(home).kafka.bootstrap)
        await admin.start()
        await admin.delete_topics(list(topics))
        # the controller has answered; what brokers tell clients follows, late on a busy machine
        for _ in range(1_200):
            if not set(topics) & set(await admin.list_topics()):
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail(f"the brokers still list some of {topics}")
        await admin.close()

    asyncio.run(inside())


def hot(home: Path) -> Topics:
    return Topics(load_settings(home).topic_prefix)


# ---------------------------------------------------------------- what is refused, and what it says


def test_a_database_without_tables_is_named_with_what_makes_them(service: Path) -> None:
    line = lifecycle("run", "judge", "--home", service).refuses(1)
    assert "holds no tables yet" in line
    assert "lifecycle init" in line


def test_a_database_behind_on_migrations_is_named_with_what_upgrades_it(service: Path, pg_url: str) -> None:
    assert lifecycle("init", "--home", service).code == 0

    async def fall_behind() -> None:
        connection = await asyncpg.connect(pg_url.replace("+asyncpg", ""))
        await connection.execute("UPDATE alembic_version SET version_num = '0001'")
        await connection.close()

    asyncio.run(fall_behind())
    line = lifecycle("run", "relay", "--home", service).refuses(1)
    assert "has schema 0001" in line
    assert "lifecycle init" in line


@pytest.mark.parametrize("worker", WORKERS)
def test_brokers_without_the_topics_are_named_with_what_makes_them(service: Path, worker: str) -> None:
    assert lifecycle("init", "--home", service).code == 0
    delete(service, *(spec.name for spec in hot(service).specs(2)))
    line = lifecycle("run", worker, "--home", service).refuses(1)
    assert hot(service).prefix in line


def test_unequal_partition_counts_are_named(service: Path) -> None:
    topics = hot(service)

    async def make(log: KafkaLog) -> None:
        others = [spec for spec in topics.specs(2) if spec.name != topics.outcomes]
        await log.create_topics([*others, TopicSpec(name=topics.outcomes, partitions=3, cleanup="delete")])

    with_log(service, make)
    line = lifecycle("init", "--home", service).refuses(1)
    assert topics.outcomes in line
    assert "3 partitions" in line
    said = lifecycle("topics", "check", "--home", service)
    assert said.code == 1
    assert "partitions" in said.out


def test_a_topic_made_anew_is_named_before_anything_is_folded(service: Path) -> None:
    assert lifecycle("init", "--home", service).code == 0
    topics = hot(service)
    delete(service, topics.predictions)
    assert lifecycle("topics", "create", "--home", service).code == 0
    for order in (("run", "tally"), ("init",)):
        line = lifecycle(*order, "--home", service).refuses(1)
        assert f"{topics.predictions} was deleted and made anew" in line
        assert "set up a new deployment" in line


def test_partitions_are_the_group_s_to_share(service: Path) -> None:
    assert "consumer group" in lifecycle("run", "tally", "--partitions", "0", "--home", service).refuses(2)


def test_brokers_that_do_not_answer_are_named(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lifecycle("init", "--home", service).code == 0
    monkeypatch.setenv("LIFECYCLE_KAFKA__BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("LIFECYCLE_KAFKA__REQUEST_TIMEOUT_S", "7")
    line = lifecycle("status", "--home", service).refuses(3)
    assert "127.0.0.1:1" in line


# ---------------------------------------------------------------- what runs


@contextmanager
def running(home: Path, *workers: str) -> Iterator[dict[str, subprocess.Popen[str]]]:
    begun = {
        name: subprocess.Popen(
            [*LIFECYCLE, "run", name, "--home", str(home)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in workers
    }
    try:
        yield begun
    finally:
        for process in begun.values():
            process.kill()
            process.communicate()


def test_every_worker_is_a_process_that_drains_on_sigterm(service: Path, pg_url: str) -> None:
    assert lifecycle("init", "--home", service).code == 0
    with running(service, *WORKERS) as processes:
        # heartbeats alone move both partitions: the tally worker is in its group and at work
        asyncio.run(progress_of(pg_url, 2))
        for name, process in processes.items():
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=DRAINED_WITHIN_S)
            assert process.returncode == 0, (name, said)
            assert time.monotonic() - began < DRAINED_WITHIN_S
            assert "Traceback" not in said
            assert "cut_short" not in said


async def progress_of(url: str, partitions: int) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    give_up = time.monotonic() + PATIENCE_S
    while await connection.fetchval("SELECT count(*) FROM partition_progress") < partitions:
        assert time.monotonic() < give_up, "no partition moved"
        await asyncio.sleep(0.1)
    await connection.close()


def test_processes_end_in_time_though_the_database_has_gone_silent(
    service: Path, pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lifecycle("init", "--home", service).code == 0
    url = make_url(load_settings(service).database_url.get_secret_value())
    with Proxy(f"{url.host}:{url.port}") as network:
        there = url.set(host="127.0.0.1", port=int(network.address.rpartition(":")[2]))
        monkeypatch.setenv("LIFECYCLE_DATABASE_URL", there.render_as_string(hide_password=False))
        with running(service, *WORKERS) as processes:
            asyncio.run(progress_of(pg_url, 2))
            network.blackhole()
            time.sleep(1.5)
            began = time.monotonic()
            for process in processes.values():
                process.send_signal(signal.SIGTERM)
            for name, process in processes.items():
                _, said = process.communicate(timeout=DRAINED_WITHIN_S + 5)
                assert process.returncode == 0, (name, said)
                assert time.monotonic() - began < DRAINED_WITHIN_S, (name, said)


def answer_of(port: int, wanted: int) -> str:
    """What `/readyz` says as soon as its status is `wanted`."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                status, body = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read().decode()
        except OSError as error:
            status, body = 0, str(error)
        if status == wanted:
            return str(body)
        assert time.monotonic() < give_up, (status, body)
        time.sleep(0.1)


def test_a_worker_that_starts_before_its_servers_waits_for_them_and_says_so(
    service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lifecycle("init", "--home", service).code == 0
    url = make_url(load_settings(service).database_url.get_secret_value())
    port = free_port()
    with Proxy(f"{url.host}:{url.port}") as network:
        network.refuse()
        there = url.set(host="127.0.0.1", port=int(network.address.rpartition(":")[2]))
        monkeypatch.setenv("LIFECYCLE_DATABASE_URL", there.render_as_string(hide_password=False))
        monkeypatch.setenv("LIFECYCLE_METRICS_PORT", str(port))
        with running(service, "judge") as processes:
            assert "judge: waiting: the store is unavailable" in answer_of(port, 503)
            network.heal()
            answer_of(port, 200)
            processes["judge"].send_signal(signal.SIGTERM)
            _, said = processes["judge"].communicate(timeout=DRAINED_WITHIN_S)
            assert processes["judge"].returncode == 0, said
            assert "run.waiting" in said
