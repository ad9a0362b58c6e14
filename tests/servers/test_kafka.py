"""Kafka of the tests: brokers that die and come back, a proxy before them, SASL and TLS."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.servers.kafka import KafkaCluster
from tests.servers.kafka_properties import PASSWORD, USER
from tests.servers.proxy import Proxy
from tests.servers.sources import or_refuse

# before the broker, where clients are sent
Proxied = tuple[KafkaCluster, Proxy]


@pytest.fixture(scope="module")
def proxied() -> Iterator[Proxied]:
    cluster = KafkaCluster(secured=True)
    with or_refuse(), Proxy(cluster.address(1)) as proxy:
        cluster.advertise({1: proxy.address})
        with cluster:
            yield cluster, proxy


async def create(bootstrap: str, topic: str, copies: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        answer = await admin.create_topics([NewTopic(topic, 1, copies)])
        assert [error for _, error, _ in answer.topic_errors] == [0]
    finally:
        await admin.close()


async def send(text: bytes, topic: str, **options: Any) -> None:
    producer = AIOKafkaProducer(acks="all", **options)
    try:
        await producer.start()
        await producer.send_and_wait(topic, text, partition=0)
    finally:
        await producer.stop()


async def texts(bootstrap: str, topic: str) -> list[bytes | None]:
    """All that the topic has."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    partition = TopicPartition(topic, 0)
    try:
        await consumer.start()
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        found = []
        while await consumer.position(partition) < end:
            found.append((await consumer.getone()).value)
        return found
    finally:
        await consumer.stop()


async def test_the_run_s_broker_has_only_topics_that_were_made(kafka: str, topic_prefix: str) -> None:
    with pytest.raises(KafkaError):
        await send(b"lost", f"{topic_prefix}absent", bootstrap_servers=kafka, request_timeout_ms=1_000)
    await create(kafka, f"{topic_prefix}made")
    await send(b"kept", f"{topic_prefix}made", bootstrap_servers=kafka)
    assert await texts(kafka, f"{topic_prefix}made") == [b"kept"]


async def test_what_was_acknowledged_survives_a_kill(proxied: Proxied) -> None:
    cluster, _ = proxied
    await create(cluster.bootstrap, "killed")
    await send(b"kept", "killed", bootstrap_servers=cluster.bootstrap)
    cluster.kill(1)
    with pytest.raises(KafkaError):
        await send(b"lost", "killed", bootstrap_servers=cluster.bootstrap)
    cluster.start_broker(1)
    assert await texts(cluster.bootstrap, "killed") == [b"kept"]


async def test_clients_go_through_the_proxy(proxied: Proxied) -> None:
    cluster, proxy = proxied
    assert cluster.bootstrap == proxy.address
    await create(cluster.bootstrap, "proxied")
    proxy.refuse()
    # the broker itself is there, and sends its clients to the proxy
    with pytest.raises(KafkaError):
        await send(b"lost", "proxied", bootstrap_servers=cluster.address(1), request_timeout_ms=1_000)
    proxy.heal()
    await send(b"kept", "proxied", bootstrap_servers=cluster.address(1))
    assert await texts(cluster.bootstrap, "proxied") == [b"kept"]


async def test_the_secured_listeners_take_who_is_known_and_nobody_else(proxied: Proxied) -> None:
    cluster, _ = proxied
    await create(cluster.bootstrap, "secured")
    known = {"sasl_plain_username": USER, "sasl_plain_password": PASSWORD}
    wrong = {**known, "sasl_plain_password": "?"}
    trust = ssl.create_default_context(cafile=cluster.certificates.authority)
    plain = {"bootstrap_servers": cluster.bootstrap_of("SASL"), "security_protocol": "SASL_PLAINTEXT"}
    tls = {"bootstrap_servers": cluster.bootstrap_of("SASL_TLS"), "security_protocol": "SASL_SSL"}
    await send(b"plain", "secured", **plain, sasl_mechanism="PLAIN", **known)
    await send(b"scram", "secured", **tls, sasl_mechanism="SCRAM-SHA-512", ssl_context=trust, **known)
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        with pytest.raises(KafkaError):
            await send(b"no", "secured", **plain, sasl_mechanism=mechanism, **wrong)
    stranger = ssl.create_default_context()
    with pytest.raises(KafkaError):
        await send(b"no", "secured", **tls, sasl_mechanism="PLAIN", ssl_context=stranger, **known)
    assert await texts(cluster.bootstrap, "secured") == [b"plain", b"scram"]


@pytest.mark.slow
async def test_of_three_brokers_one_may_be_missing_and_catches_up() -> None:
    with or_refuse(), ExitStack() as stack:
        cluster = stack.enter_context(KafkaCluster(3))
        await create(cluster.bootstrap, "copied", copies=3)
        cluster.kill(1)
        await send(b"first", "copied", bootstrap_servers=cluster.bootstrap)
        cluster.start_broker(1)
        # waited until the first has all records again, so another one may go
        cluster.terminate(2)
        await send(b"second", "copied", bootstrap_servers=cluster.bootstrap)
        cluster.start_broker(2)
        assert await texts(cluster.bootstrap, "copied") == [b"first", b"second"]
