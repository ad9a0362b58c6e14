"""What all repositories share: a session, whose type says whether they may write."""

from collections.abc import Hashable
from dataclasses import fields
from functools import cache
from typing import Any, Generic, TypeVar, cast

from consumers.store.session import ReadSession

SessionT_co = TypeVar("SessionT_co", bound=ReadSession, covariant=True)


class Repository(Generic[SessionT_co]):
    """SQL of one noun over the caller's session; never commits.

    Methods that write are typed for `Repository[WriteSession]`: one made inside `store.read()` has none.
    """

    __slots__ = ("_session",)

    def __init__(self, session: SessionT_co) -> None:
        self._session = session


def columns_of(record: Any) -> dict[str, Any]:
    """The fields of a dataclass by name; unlike `asdict` it copies nothing below them."""
    return {name: getattr(record, name) for name in names_of(record.__class__)}


@cache
def names_of(record_type: Hashable) -> tuple[str, ...]:
    """The names of a dataclass's fields, in order."""
    return tuple(field.name for field in fields(cast(Any, record_type)))
