"""Why a document is not a reference profile, in words that name the field."""

from collections.abc import Iterator
from contextlib import contextmanager


class ProfileError(ValueError):
    """A reference profile breaks a rule; the message names the field."""


@contextmanager
def reading(field: str = "") -> Iterator[None]:
    """Turn what a malformed document raises while `field` is read into ProfileError."""
    where = f"{field}: " if field else ""
    try:
        yield
    except KeyError as error:
        raise ProfileError(f"{where}missing field {error}") from error
    except ProfileError as error:
        if not field:
            raise
        raise ProfileError(f"{where}{error}") from error.__cause__
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise ProfileError(f"{where}{error}") from error
