"""What is wrong with reference data, in words that say where."""

from pathlib import Path

from domain.errors import DomainError


class ReferenceUnusable(DomainError):
    """The reference data cannot make a profile."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = path, problem
