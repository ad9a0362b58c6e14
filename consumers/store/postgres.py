"""PostgreSQL as the store's engine, through asyncpg.

Nothing here waits for ever: statements and locks have time limits on the server, commands have one on this
side (a network may swallow packets and say nothing), and a peer that is gone is noticed by TCP on both sides,
so that what it had locked is free within a minute.

Behind PgBouncer use session pooling: `Store.exclusive` is a lock of a session, statements are prepared.
"""

import socket
import ssl
from contextlib import suppress
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from consumers.store.errors import StoreRefused, StoreUnavailable
from consumers.store.faults import is_refusal, one_line

CONNECT_TIMEOUT_S = 10.0
_CHECK = "check database_url, and that the server runs"
CLOSING_S = 1.0
"""How long the end of a session may take, answers to what it still says included; then it is cut off."""
_ANSWER_S = 5.0
"""How much longer than a statement may take its answer may: then the network is taken for gone."""
_KEPT, _MORE = 5, 5
"""Connections that a process keeps, and those it opens beside them for a burst."""
_IDLE_S, _PROBE_S, _PROBES = 20, 5, 4
"""TCP asks a silent peer after so long, so often: 40 s until it is taken for gone."""


def postgres_engine(url: URL, statement_timeout_s: float, pool_timeout_s: float) -> AsyncEngine:
    """An engine on the database of `url`, whose query is libpq's (`?sslmode=require`)."""
    # the driver reads libpq's URLs, SQLAlchemy would hand it the query as arguments
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = {
        name: value for name, value in _settings(statement_timeout_s).items() if name not in url.query
    }
    place = f"{url.host or 'localhost'}:{url.port or 5432}"
    connect = partial(_connect, dsn, place, settings, statement_timeout_s + _ANSWER_S)
    return create_async_engine(
        url.set(query={}),
        connect_args={"async_creator_fn": connect},
        pool_size=_KEPT,
        max_overflow=_MORE,
        pool_timeout=pool_timeout_s,
        # whoever has worked for an hour must not fail because the server was restarted meanwhile
        pool_pre_ping=True,
        pool_use_lifo=True,
    )


def _settings(statement_timeout_s: float) -> dict[str, str]:
    """What each session sets. A lock is waited for less long than a statement, so errors tell them apart.

    A process that was stopped in the middle of a transaction holds locks: its session ends like a statement
    that takes too long.
    """
    milliseconds = round(statement_timeout_s * 1_000)
    return {
        "statement_timeout": str(milliseconds),
        "lock_timeout": str(max(1, milliseconds // 2)),
        "idle_in_transaction_session_timeout": str(milliseconds),
        "tcp_keepalives_idle": str(_IDLE_S),
        "tcp_keepalives_interval": str(_PROBE_S),
        "tcp_keepalives_count": str(_PROBES),
        # a killed client's statement ends, and does not wait for the lock that it can no longer use
        "client_connection_check_interval": "10000",
    }


class Session(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no annotations
    """Ends within `CLOSING_S`, whoever ends it: a server out of reach never answers."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  the driver's own name
        with suppress(TimeoutError):  # it is cut off then, which is an end as well
            await super().close(timeout=CLOSING_S if timeout is None else min(timeout, CLOSING_S))


_SET = (
    "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS wanted (name, value) "
    "JOIN pg_settings USING (name)"
)
"""Sets what the server knows of. Not in the startup packet, where PgBouncer refuses what it does not know."""


async def _connect(
    dsn: str, place: str, settings: dict[str, str], command_timeout_s: float, **_parsed: object
) -> Any:
    try:
        connection = await asyncpg.connect(
            dsn,
            connection_class=Session,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=command_timeout_s,
            server_settings={"application_name": "lifecycle"},
        )
        try:
            _notice_silence(connection)
            await connection.fetch(_SET, list(settings), list(settings.values()))
        except BaseException:
            connection.terminate()
            raise
    except TimeoutError as error:
        raise StoreUnavailable(f"{place} has not answered for {CONNECT_TIMEOUT_S:g} s: {_CHECK}") from error
    except socket.gaierror as error:
        raise StoreUnavailable(f"the host of {place} is not known ({error.strerror}): {_CHECK}") from error
    except OSError as error:
        if isinstance(error, ssl.SSLError) or "rejected SSL upgrade" in str(error):
            raise StoreRefused(one_line(error), place) from error
        raise StoreUnavailable(f"{place}: {one_line(error)}: {_CHECK}") from error
    except asyncpg.PostgresError as error:
        if is_refusal(error.sqlstate):
            raise StoreRefused(one_line(error), place) from error
        raise
    except (asyncpg.InterfaceError, ValueError) as error:
        raise StoreRefused(one_line(error), place) from error
    return connection


def _notice_silence(connection: Any) -> None:
    transport = getattr(connection, "_transport", None)
    sock = transport and transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": _IDLE_S,
        "TCP_KEEPINTVL": _PROBE_S,
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": 1_000 * (_IDLE_S + _PROBE_S * _PROBES),
    }
    for name, value in options.items():
        option = getattr(socket, name, None)  # each is missing somewhere
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
