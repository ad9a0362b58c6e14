"""The same servers from Docker, where its engine runs."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.servers.databases import Databases
from tests.servers.kafka_watch import wait_until_settled
from tests.servers.places import free_port

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

_POSTGRES = "postgres:17"
_KAFKA = "apache/kafka:4.3.1"
_PATIENCE_S = 120.0


class NoContainer(Exception):
    """The engine is there and does not give the container."""


def engine_answers() -> bool:
    """Whether a Docker engine is there: at DOCKER_HOST, or at the usual socket."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if host.startswith("unix://") and not _listens(host.removeprefix("unix://")):
        return False  # most machines without an engine: no need to import its client
    import docker
    from docker.errors import DockerException

    try:
        with contextlib.closing(docker.from_env(timeout=5)) as client:
            return bool(client.ping())
    except DockerException:
        return False


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


@contextlib.contextmanager
def postgres_container() -> Iterator[str]:
    """The URL of a PostgreSQL server in a container."""
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(_POSTGRES).with_exposed_ports(5432)
    container.with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
    container.with_command("postgres -c fsync=off -c full_page_writes=off -c max_connections=300")
    with _running(container):
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(5432)}"
        url = f"postgresql://postgres@{address}/postgres"
        Databases(url).wait(_PATIENCE_S)
        yield url


@contextlib.contextmanager
def kafka_container() -> Iterator[str]:
    """The address of a Kafka broker in a container."""
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(_KAFKA)
    # a broker tells clients where it is, so the port outside must be known before it starts
    port = free_port()
    address = f"{container.get_container_host_ip()}:{port}"
    settings = {
        "PROCESS_ROLES": "broker,controller",
        "NODE_ID": "1",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://{address}",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "INTER_BROKER_LISTENER_NAME": "PLAINTEXT",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)
    with _running(container.with_bind_ports(port, port)):
        wait_until_settled({1: (None, address)}, _PATIENCE_S)
        yield address


@contextlib.contextmanager
def _running(container: "DockerContainer") -> Iterator[None]:
    from docker.errors import DockerException

    try:
        container.start()
    except DockerException as error:
        raise NoContainer(str(error)) from error
    try:
        yield
    finally:
        container.stop()
