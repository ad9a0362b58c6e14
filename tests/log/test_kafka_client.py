"""Reaching the brokers: who may, what a wrong setting says without its secrets, and brokers that go away."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from consumers.log.kafka import KafkaLog
from consumers.log.kafka_client import TokenFile, connection
from consumers.log.port import LogRefused, LogUnavailable, NewRecord, TopicSpec
from consumers.settings import KafkaSettings
from tests.servers.kafka import KafkaCluster
from tests.servers.kafka_properties import PASSWORD, USER
from tests.servers.proxy import Proxy
from tests.servers.sources import or_refuse

from .kafka_prefixed import wall_ms

PATIENCE_S = 3.0


def _part(claims: dict[str, object]) -> str:
    return urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


TOKEN = f"{_part({'alg': 'none'})}.{_part({'sub': USER, 'exp': 4_102_444_800})}."
"""Unsigned, and good until 2100."""


def test_every_client_is_told_the_same() -> None:
    settings = KafkaSettings.model_validate(
        {
            "bootstrap": "kafka-1:9092, kafka-2:9092",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": "ada",
            "sasl_password": "lovelace",
            "request_timeout_s": 12,
        }
    )
    assert connection(settings) == {
        "bootstrap_servers": ["kafka-1:9092", "kafka-2:9092"],
        "client_id": "lifecycle",
        "request_timeout_ms": 12_000,
        "metadata_max_age_ms": 60_000,
        "security_protocol": "SASL_PLAINTEXT",
        "ssl_context": None,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "ada",
        "sasl_plain_password": "lovelace",
        "sasl_oauth_token_provider": None,
    }


async def test_a_token_is_read_anew_every_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    provider = TokenFile(file)
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert await provider.token() == token
    file.unlink()
    # what aiokafka expects while it connects; any other error would end its background tasks
    with pytest.raises(KafkaError, match=r"oauth_token_file .*token"):
        await provider.token()


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, key: str) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("no certificate")
    files = {"cert_file": rubbish, "key_file": rubbish} if key == "cert_file" else {"ca_file": rubbish}
    settings = KafkaSettings.model_validate({"bootstrap": "a:1", "security_protocol": "SSL", **files})
    with pytest.raises(LogRefused, match=f"kafka.{key} .*rubbish.pem.* cannot be used"):
        connection(settings)


@pytest.fixture(scope="module")
def behind_a_proxy() -> Iterator[tuple[KafkaCluster, Proxy]]:
    """A broker of our own, with every way to prove who one is."""
    with or_refuse():
        cluster = KafkaCluster(secured=True)
        with Proxy(cluster.address(1)) as proxy:
            cluster.advertise({1: proxy.address})
            with cluster:
                yield cluster, proxy


@pytest.fixture
def cluster(behind_a_proxy: tuple[KafkaCluster, Proxy]) -> KafkaCluster:
    return behind_a_proxy[0]


@pytest.fixture
def proxy(behind_a_proxy: tuple[KafkaCluster, Proxy]) -> Iterator[Proxy]:
    yield behind_a_proxy[1]
    behind_a_proxy[1].heal()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def secured(cluster: KafkaCluster, listener: Any, **changed: Any) -> KafkaSettings:
    """Settings with which `listener` lets us in, but for what is changed."""
    values: dict[str, Any] = {"bootstrap": cluster.bootstrap_of(listener), "request_timeout_s": 15}
    if "TLS" in listener:
        values |= {"security_protocol": "SSL", "ca_file": cluster.certificates.authority}
    if "SASL" in listener:
        values |= {
            "security_protocol": "SASL_SSL" if "TLS" in listener else "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_username": USER,
            "sasl_password": PASSWORD,
        }
    return KafkaSettings.model_validate(values | changed)


async def works(settings: KafkaSettings, topic: str) -> bool:
    log = await KafkaLog.open(settings, now_ms=wall_ms)
    await log.create_topics([TopicSpec(name=topic, partitions=1, cleanup="delete")])
    places = await log.append([record(topic)])
    found = await log.read(topic, 0, places[0][1], 10)
    await log.close()
    return len(found) == 1


def record(topic: str) -> NewRecord:
    return NewRecord(topic=topic, key=b"k", value=b"v", timestamp_ms=wall_ms(), partition=0)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])
@pytest.mark.parametrize("listener", ["SASL", "SASL_TLS"])
async def test_every_mechanism_with_and_without_tls(
    cluster: KafkaCluster, topic_prefix: str, token_file: Path, listener: Any, mechanism: str
) -> None:
    settings = secured(cluster, listener, sasl_mechanism=mechanism, oauth_token_file=token_file)
    assert await works(settings, f"{topic_prefix}t")


async def test_a_client_certificate(cluster: KafkaCluster, topic_prefix: str) -> None:
    files = {"cert_file": cluster.certificates.client, "key_file": cluster.certificates.client_key}
    assert await works(secured(cluster, "TLS", **files), f"{topic_prefix}t")


@pytest.mark.parametrize(
    "listener, changed, says",
    [
        ("SASL", {"sasl_password": "wrong horse"}, "check kafka.sasl_username and kafka.sasl_password"),
        (
            "SASL",
            {"sasl_mechanism": "SCRAM-SHA-256", "sasl_password": "wrong horse"},
            "check kafka.sasl_username and kafka.sasl_password",
        ),
        ("SASL", {"sasl_mechanism": "OAUTHBEARER", "oauth_token_file": "/nowhere"}, "oauth_token_file"),
        ("TLS", {"ca_file": None}, "check kafka.ca_file"),
        ("CLIENTS", {"security_protocol": "SASL_PLAINTEXT"}, "check kafka.security_protocol"),
    ],
)
async def test_who_is_turned_away_is_told_what_to_do_and_no_secret(
    cluster: KafkaCluster, listener: Any, changed: dict[str, Any], says: str
) -> None:
    who = {"sasl_mechanism": "PLAIN", "sasl_username": USER, "sasl_password": PASSWORD}
    settings = secured(cluster, listener, **((who if listener == "CLIENTS" else {}) | changed))
    with pytest.raises(LogRefused, match=says) as refused:
        await KafkaLog.open(settings, now_ms=wall_ms)
    assert "horse" not in str(refused.value)


async def test_tls_where_there_is_none_hints_at_it(cluster: KafkaCluster) -> None:
    settings = secured(cluster, "TLS", bootstrap=cluster.bootstrap, request_timeout_s=5, session_timeout_s=3)
    with pytest.raises(LogUnavailable, match=r"kafka\.security_protocol"):
        await KafkaLog.open(settings, now_ms=wall_ms)


@pytest.fixture
async def log(cluster: KafkaCluster, proxy: Proxy) -> AsyncIterator[KafkaLog]:
    settings = KafkaSettings(
        bootstrap=cluster.bootstrap, request_timeout_s=PATIENCE_S, session_timeout_s=PATIENCE_S / 2
    )
    log = await KafkaLog.open(settings, now_ms=wall_ms)
    yield log
    await log.close()


async def append_until_answered(log: KafkaLog, topic: str) -> int:
    while True:
        try:
            return (await log.append([record(topic)]))[0][1]
        except LogUnavailable:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("fault", ["refuse", "blackhole"])
async def test_brokers_that_go_away_are_an_error_in_time_and_afterwards_it_goes_on(
    log: KafkaLog, proxy: Proxy, topic_prefix: str, fault: str
) -> None:
    topic = f"{topic_prefix}t"
    await log.create_topics([TopicSpec(name=topic, partitions=1, cleanup="delete")])
    await log.append([record(topic)])
    getattr(proxy, fault)()
    calls = [
        log.append([record(topic)]),
        log.read(topic, 0, 1, 10),
        log.end(topic, 0),
        log.position("g", topic, 0),
        log.commit("g", topic, 0, 0),
        log.topics(),
        log.topic_ids(),
        log.create_topics([TopicSpec(name=f"{topic_prefix}u", partitions=1, cleanup="delete")]),
    ]
    began = time.monotonic()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LogUnavailable] * len(calls)
    # and some seconds for closing what does not answer
    assert time.monotonic() - began < PATIENCE_S + 6
    proxy.heal()
    async with asyncio.timeout(10):
        offset = await append_until_answered(log, topic)
    found = await log.read(topic, 0, 0, 10)
    assert found[-1].offset == offset
    # the append that nobody heard of may be there as well
    assert len(found) in (2, 3)


async def test_cut_connections_are_not_noticed_by_callers(
    log: KafkaLog, proxy: Proxy, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}t"
    await log.create_topics([TopicSpec(name=topic, partitions=1, cleanup="delete")])
    offsets: list[int] = []

    async def append() -> None:
        for _ in range(100):
            offsets.append((await log.append([record(topic)]))[0][1])
            await asyncio.sleep(0.005)

    appending = asyncio.create_task(append())
    while not appending.done():
        await asyncio.sleep(0.15)
        proxy.cut()
    await appending
    assert offsets == list(range(100))
    assert await log.end(topic, 0) == 100
