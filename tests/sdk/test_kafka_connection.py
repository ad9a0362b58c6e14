"""Reaching the brokers: who may, what a wrong setting says, and what happens when they go away."""

import asyncio
import json
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle_sdk import (
    KafkaConnection,
    KafkaEvents,
    KafkaPublisher,
    LogRefused,
    LogUnavailable,
    ProductionFeed,
    Topics,
)
from tests.sdk import brokers
from tests.sdk.announcements import MODEL, outcome, prediction
from tests.servers.kafka import KafkaCluster
from tests.servers.kafka_properties import PASSWORD, USER
from tests.servers.places import free_port
from tests.servers.proxy import Proxy
from tests.servers.sources import or_refuse


def _part(claims: dict[str, object]) -> str:
    return urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


TOKEN = f"{_part({'alg': 'none'})}.{_part({'sub': USER, 'exp': 4_102_444_800})}."
"""Unsigned, and good until 2100."""


def test_secrets_do_not_show() -> None:
    connection = KafkaConnection(
        bootstrap="a:1",
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="me",
        sasl_password="hunter2",
        cert_file=Path("c"),
        key_password="hunter3",
    )
    assert "hunter" not in repr(connection)


@pytest.mark.parametrize(
    "settings, problem",
    [
        ({"bootstrap": ""}, "'' is not host:port"),
        ({"bootstrap": "kafka-1:9092,kafka-2"}, "'kafka-2' is not host:port"),
        ({"request_timeout_s": 0}, "must be positive"),
        ({"sasl_username": "me"}, "credentials are never sent over PLAINTEXT"),
        ({"security_protocol": "SASL_SSL"}, "SASL_SSL needs sasl_mechanism"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "PLAIN needs sasl_username"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}, "needs either oauth_token or"),
        ({"ca_file": Path("ca")}, "certificates are not used over PLAINTEXT"),
        ({"security_protocol": "SSL", "key_file": Path("key")}, "key_file needs cert_file"),
    ],
)
def test_what_no_broker_would_accept_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        KafkaConnection(**{"bootstrap": "a:1", **settings})


async def test_where_nobody_listens_the_address_and_the_reason_are_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    connection = KafkaConnection(bootstrap=address, request_timeout_s=5)
    publisher = KafkaPublisher(connection, producer="test")
    with pytest.raises(LogUnavailable, match=rf"the log {address} is unavailable: .*Connect call failed"):
        await publisher.predict(prediction())
    await publisher.close()
    source = KafkaEvents(connection)
    with pytest.raises(LogUnavailable, match="Connect call failed"):
        await ProductionFeed(source, MODEL).poll()
    await source.close()


async def test_where_something_else_listens_the_wait_is_bounded() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    publisher = KafkaPublisher(
        KafkaConnection(bootstrap=f"127.0.0.1:{port}", request_timeout_s=2), producer="test"
    )
    began = time.monotonic()
    with pytest.raises(LogUnavailable):
        await publisher.start()
    assert time.monotonic() - began < 10
    server.close()
    await server.wait_closed()


async def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    connection = KafkaConnection(bootstrap="a:1", security_protocol="SSL", ca_file=tmp_path / "missing.pem")
    with pytest.raises(LogRefused, match=r"the certificates cannot be used: .*No such file"):
        await KafkaPublisher(connection, producer="test").start()


@pytest.mark.parametrize(
    "hidden, made, missing",
    [
        ("aiokafka", "KafkaPublisher(c, producer='p')", "aiokafka is not installed"),
        ("aiokafka", "KafkaEvents(c)", "aiokafka is not installed"),
        ("cramjam", "KafkaPublisher(c, producer='p')", "the codec lz4 is not installed"),
    ],
)
def test_without_the_extra_the_sdk_imports_and_kafka_says_what_to_install(
    hidden: str, made: str, missing: str
) -> None:
    code = (
        f"import asyncio, sys; sys.modules[{hidden!r}] = None\n"
        "from lifecycle_sdk import *\n"
        "c = KafkaConnection(bootstrap='a:1')\n"
        "async def main():\n"
        f"    try: {made}\n"
        "    except KafkaMissing as error: print(error)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == f"{missing}: install gal-friday-lifecycle-sdk[kafka]"


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
async def topics(cluster: KafkaCluster, topic_prefix: str) -> AsyncIterator[Topics]:
    async with brokers.deployment(cluster.address(1, "BROKERS"), topic_prefix) as made:
        yield made


@pytest.fixture
def proxy(behind_a_proxy: tuple[KafkaCluster, Proxy]) -> Iterator[Proxy]:
    yield behind_a_proxy[1]
    behind_a_proxy[1].heal()


async def _token() -> str:
    return TOKEN


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "file"])
@pytest.mark.parametrize("listener", ["SASL", "SASL_TLS"])
async def test_every_mechanism_with_and_without_tls(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path, listener: Any, mechanism: Any
) -> None:
    settings: dict[str, Any] = {"sasl_mechanism": mechanism}
    if mechanism == "OAUTHBEARER":
        settings["oauth_token"] = _token
    elif mechanism == "file":
        (tmp_path / "token").write_text(TOKEN + "\n")
        settings = {"sasl_mechanism": "OAUTHBEARER", "oauth_token_file": tmp_path / "token"}
    else:
        settings |= {"sasl_username": USER, "sasl_password": PASSWORD}
    if listener == "SASL_TLS":
        settings["ca_file"] = cluster.certificates.authority
    connection = KafkaConnection(
        bootstrap=cluster.bootstrap_of(listener),
        security_protocol="SASL_SSL" if listener == "SASL_TLS" else "SASL_PLAINTEXT",
        **settings,
    )
    async with KafkaPublisher(connection, producer="test", topics=topics) as publisher:
        await publisher.predict(prediction())
    source = KafkaEvents(connection, topics=topics)
    assert not await ProductionFeed(source, MODEL).poll()
    await source.close()


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_tls_with_a_client_certificate_and_every_codec(
    cluster: KafkaCluster, topics: Topics, compression: Any
) -> None:
    connection = KafkaConnection(
        bootstrap=cluster.bootstrap_of("TLS"),
        security_protocol="SSL",
        ca_file=cluster.certificates.authority,
        cert_file=cluster.certificates.client,
        key_file=cluster.certificates.client_key,
        compression=compression,
    )
    async with KafkaPublisher(connection, producer="test", topics=topics) as publisher:
        await publisher.publish([prediction(f"p{n}") for n in range(100)])
    assert len(await brokers.records(cluster.address(1, "BROKERS"), topics.predictions)) == 100


def _with(cluster: KafkaCluster, **settings: Any) -> KafkaConnection:
    defaults = {"sasl_mechanism": "PLAIN", "sasl_username": USER, "sasl_password": PASSWORD}
    return KafkaConnection(
        bootstrap=cluster.bootstrap_of("SASL"),
        security_protocol="SASL_PLAINTEXT",
        **{**defaults, **settings},
    )


async def test_a_wrong_password_says_so_and_shows_no_secret(cluster: KafkaCluster) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        connection = _with(cluster, sasl_mechanism=mechanism, sasl_password="wrong horse")
        with pytest.raises(LogRefused, match=r"SaslAuthenticationFailed.*(nvalid|failed)") as refused:
            await KafkaPublisher(connection, producer="test").start()
        assert "horse" not in str(refused.value)


async def test_a_token_that_is_not_there_says_so(cluster: KafkaCluster, tmp_path: Path) -> None:
    connection = KafkaConnection(
        bootstrap=cluster.bootstrap_of("SASL"),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        oauth_token_file=tmp_path / "missing",
    )
    with pytest.raises(LogRefused, match=r"no token: .*No such file"):
        await KafkaPublisher(connection, producer="test").start()


async def test_an_authority_that_nobody_trusts_says_so(cluster: KafkaCluster) -> None:
    connection = KafkaConnection(bootstrap=cluster.bootstrap_of("TLS"), security_protocol="SSL")
    with pytest.raises(LogRefused, match="CERTIFICATE_VERIFY_FAILED"):
        await KafkaPublisher(connection, producer="test").start()


async def test_credentials_where_none_are_wanted_say_so(cluster: KafkaCluster) -> None:
    connection = KafkaConnection(
        bootstrap=cluster.address(1, "BROKERS"),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username=USER,
        sasl_password=PASSWORD,
        request_timeout_s=5,
    )
    with pytest.raises((LogRefused, LogUnavailable), match=cluster.address(1, "BROKERS")):
        await KafkaPublisher(connection, producer="test").start()


@pytest.mark.parametrize("fault", ["cut", "refuse", "blackhole"])
async def test_brokers_that_go_away_are_an_error_in_time_and_afterwards_it_goes_on(
    cluster: KafkaCluster, topics: Topics, proxy: Proxy, fault: str
) -> None:
    """A cut is survived within the call; longer absence is an error, and the next call connects anew."""
    connection = KafkaConnection(bootstrap=cluster.bootstrap, request_timeout_s=2)
    publisher = KafkaPublisher(connection, producer="test", topics=topics)
    source = KafkaEvents(connection, topics=topics)
    feed = ProductionFeed(source, MODEL)
    await publisher.predict(prediction("before"))
    await feed.poll()
    await asyncio.to_thread(getattr(proxy, fault))
    began = time.monotonic()
    if fault == "cut":
        await publisher.publish([prediction(f"p{n}") for n in range(100)])
        await feed.poll()
    else:
        for events in ([prediction("p1")], [outcome(f"o{n}") for n in range(100)]):
            with pytest.raises(LogUnavailable):
                await publisher.publish(events)
        with pytest.raises(LogUnavailable):
            await feed.poll()
    assert time.monotonic() - began < 30
    await asyncio.to_thread(proxy.heal)
    await publisher.predict(prediction("after"))
    await feed.poll()
    await publisher.close()
    await source.close()
    found = await brokers.records(cluster.address(1, "BROKERS"), topics.predictions)
    assert {b"before", b"after"} <= {record.key for record in found}


async def test_closing_does_not_wait_for_brokers_that_are_away(
    cluster: KafkaCluster, topics: Topics, proxy: Proxy
) -> None:
    publisher = KafkaPublisher(
        KafkaConnection(bootstrap=cluster.bootstrap, request_timeout_s=2), producer="test", topics=topics
    )
    await publisher.start()
    await asyncio.to_thread(proxy.blackhole)
    call = asyncio.create_task(publisher.predict(prediction()))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await publisher.close()
    assert time.monotonic() - began < 10
    with pytest.raises(LogUnavailable):
        await call
