"""Copies of the fold with one rule switched off, by replacing one expression in the source of a copy."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from itertools import count
from pathlib import Path

import domain.windows.fold
from tests.windows.simulation import Parts

SOURCE = Path(domain.windows.fold.__file__).parent
SHARED = ("records", "profile", "progress", "rows")
"""Values that pass between the fold and its callers stay what they are."""
_names = count()


@dataclass(frozen=True)
class Mutation:
    """`new` stands where `old`, which must occur exactly once in `module`, stood."""

    rule: str
    module: str
    old: str
    new: str


@contextmanager
def mutant(mutation: Mutation | None, folder: Path) -> Iterator[Parts]:
    """The parts of a run on a copy of the package, mutated; None copies it as it is."""
    package = f"windows_mutant_{next(_names)}"
    (folder / package).mkdir()
    for path in SOURCE.glob("*.py"):
        text = path.read_text()
        if mutation is not None and path.stem == mutation.module:
            if text.count(mutation.old) != 1:
                raise LookupError(
                    f"{mutation.rule}: {text.count(mutation.old)} places in {path.name} to mutate"
                )
            text = text.replace(mutation.old, mutation.new)
        text = text.replace("domain.windows.", f"{package}.")
        for name in SHARED:
            text = text.replace(f"{package}.{name} ", f"domain.windows.{name} ")
        (folder / package / path.name).write_text(text)
    sys.path.insert(0, str(folder))
    invalidate_caches()
    try:
        fold, policy = import_module(f"{package}.fold"), import_module(f"{package}.policy")
        yield Parts(fold=fold.PartitionFold, policy=policy.WindowPolicy)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
