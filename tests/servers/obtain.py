"""A server from the first source that has one: given, from Docker, or started here."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tests.servers.containers import NoContainer, engine_answers, kafka_container, postgres_container
from tests.servers.databases import Databases
from tests.servers.kafka import KafkaCluster
from tests.servers.postgres import PostgresServer

Kind = Literal["kafka", "postgres"]

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where servers of one kind come from. A server is its address."""

    variable: str
    """The environment variable that names a running one."""
    reach: Callable[[str], None]
    """Waits until the running one answers."""
    container: Callable[[], AbstractContextManager[str]]
    here: Callable[[], AbstractContextManager[str]]


@contextlib.contextmanager
def server(kind: Kind) -> Iterator[str]:
    """The address of a server, which ends with the block unless it was given; Unavailable if none is."""
    source = SOURCES[kind]
    if given := os.environ.get(source.variable):
        source.reach(given)
        yield given
        return
    with contextlib.ExitStack() as stack:
        address = None
        if engine_answers():
            # an engine that has no such image, and cannot fetch it, is as good as none
            with contextlib.suppress(NoContainer):
                address = stack.enter_context(source.container())
        yield address or stack.enter_context(source.here())


@contextlib.contextmanager
def _postgres_here() -> Iterator[str]:
    with PostgresServer() as started:
        yield started.url


@contextlib.contextmanager
def _kafka_here() -> Iterator[str]:
    with KafkaCluster() as started:
        yield started.bootstrap


def _reach_postgres(url: str) -> None:
    Databases(url).wait(_PATIENCE_S)


def _reach_kafka(bootstrap: str) -> None:
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > give_up:
                raise TimeoutError(f"no Kafka at {bootstrap} in {_PATIENCE_S:g} s: {error}") from error
        time.sleep(0.1)


SOURCES: Mapping[Kind, Source] = MappingProxyType(
    {
        "kafka": Source(
            variable="TEST_KAFKA_BOOTSTRAP",
            reach=_reach_kafka,
            container=kafka_container,
            here=_kafka_here,
        ),
        "postgres": Source(
            variable="TEST_DATABASE_URL",
            reach=_reach_postgres,
            container=postgres_container,
            here=_postgres_here,
        ),
    }
)
