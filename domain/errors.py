"""The root of every rule that the pure core enforces."""


class DomainError(Exception):
    """A rule of the domain was broken."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
