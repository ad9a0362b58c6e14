"""The real servers as tests ask for them: plain fixtures, for tests with and without an event loop."""

import contextlib
import os
import secrets
from collections.abc import Iterator

import pytest

from tests.servers.databases import Databases
from tests.servers.obtain import Kind, server
from tests.servers.shared import FOLDER, Keeper, ask
from tests.servers.sources import or_refuse

_keeper = pytest.StashKey[Keeper]()


# first, because pytest-xdist starts its workers in the same hook, and they inherit the environment
@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Under pytest-xdist the first process keeps the servers for its workers."""
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and session.config.getoption("dist", "no") != "no":
        session.config.stash[_keeper] = keeper = Keeper()
        keeper.open()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _keeper in session.config.stash:
        session.config.stash[_keeper].close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """One PostgreSQL server for the whole run."""
    with or_refuse(), _for_this_run("postgres") as url:
        yield Databases(url)


@pytest.fixture
def pg_url(postgres: Databases) -> Iterator[str]:
    """The URL of an empty database that nobody else uses."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The bootstrap address of one Kafka cluster for the whole run: no topic is made by itself."""
    with or_refuse(), _for_this_run("kafka") as bootstrap:
        yield bootstrap


@pytest.fixture
def topic_prefix() -> str:
    """What the names of a test's topics and groups begin with, to keep them apart on a shared broker."""
    return f"test-{os.getpid()}-{secrets.token_hex(4)}."


def _for_this_run(kind: Kind) -> contextlib.AbstractContextManager[str]:
    return contextlib.nullcontext(ask(kind)) if FOLDER in os.environ else server(kind)
