"""What all repositories share: a session, whose type says whether they may write."""

from typing import Generic, TypeVar

from consumers.store.session import ReadSession

SessionT_co = TypeVar("SessionT_co", bound=ReadSession, covariant=True)


class Repository(Generic[SessionT_co]):
    """SQL of one noun over the caller's session; never commits.

    Methods that write are typed for `Repository[WriteSession]`: one made inside `store.read()` has none.
    """

    __slots__ = ("_session",)

    def __init__(self, session: SessionT_co) -> None:
        self._session = session
