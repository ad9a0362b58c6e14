"""Column types that behave the same on SQLite and PostgreSQL, and the digest of stored bytes."""

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import BigInteger, DateTime, Dialect, Enum, Integer, String, Text, TypeDecorator

Json = dict[str, Any]
"""A JSON object; finite floats only."""

AUTO_ID = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts up only columns that are declared INTEGER."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC. A naive one is refused with ValueError: SQLite would take it silently."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone is not accepted")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """Canonical JSON as text; None is SQL's NULL. Values come back as they were, to the bit.

    The engines' own JSON types do not promise that: SQLite stores the text "1.0" of such a column as a
    number, JSONB turns 1e16 into an integer and -0.0 into 0. Nothing queries into these columns.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)


class Prose(TypeDecorator[str]):
    """Text for people. A NUL, which PostgreSQL cannot store and SQLite can, becomes a replacement character.

    Names cannot hold one, contracts see to that; but reasons quote what others wrote, and one such character
    must not stop a worker for ever.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", "\ufffd")


def name(length: int) -> String:
    """Text that sorts by its bytes on both engines: no order of rows depends on a server's locale."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def enum_column(kind: type[StrEnum], constraint: str) -> Enum:
    """The values of `kind` as text with a CHECK constraint: a new value needs no ALTER TYPE on PostgreSQL."""
    return Enum(
        kind,
        name=constraint,
        native_enum=False,
        create_constraint=True,
        length=64,
        values_callable=lambda members: [member.value for member in members],
    )


def digest_of(body: bytes) -> str:
    """SHA-256 of `body` in hex: how rows, decisions and profiles are told apart."""
    return hashlib.sha256(body).hexdigest()
