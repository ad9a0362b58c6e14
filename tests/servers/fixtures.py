"""The real servers as tests ask for them: plain fixtures, for tests with and without an event loop."""

import os
import secrets
from collections.abc import Iterator

import pytest

from tests.servers.databases import Databases
from tests.servers.sources import Unavailable, or_refuse


@pytest.fixture(scope="session")
def postgres() -> Databases:
    """One PostgreSQL server for the whole run."""
    with or_refuse():
        return Databases(_given("TEST_DATABASE_URL"))


@pytest.fixture
def pg_url(postgres: Databases) -> Iterator[str]:
    """The URL of an empty database that nobody else uses."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def kafka() -> str:
    """The bootstrap address of one Kafka cluster for the whole run: no topic is made by itself."""
    with or_refuse():
        return _given("TEST_KAFKA_BOOTSTRAP")


@pytest.fixture
def topic_prefix() -> str:
    """What the names of a test's topics and groups begin with, to keep them apart on a shared broker."""
    return f"test-{os.getpid()}-{secrets.token_hex(4)}."


def _given(variable: str) -> str:
    if not (address := os.environ.get(variable)):
        raise Unavailable(f"set {variable}")
    return address
