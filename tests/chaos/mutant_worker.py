"""`python -m tests.chaos.mutant_worker RULE run tally`: the command line with one rule switched off.

For negative controls: a fault suite that passes with the rule off would prove nothing. Product code knows
nothing of this; one expression of one module is replaced before that module is first imported.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True, slots=True)
class Mutation:
    """`new` stands where `old`, which must occur exactly once in `module`, stood."""

    module: str
    old: str
    new: str


MUTATIONS: Mapping[str, Mutation] = {
    "duplicate rule off": Mutation(
        "domain.windows.predictions", "if first is not None:", "if first is not None and not first:"
    ),
    "low water ahead of the rows": Mutation(
        "domain.windows.fold",
        "low_predictions = min([*marks, (predictions.next_offset, predictions.newest_ms)])",
        "low_predictions = (predictions.next_offset, predictions.newest_ms)",
    ),
    "inbox off": Mutation(
        "consumers.services.handlers",
        "if not await inbox.first_time(consumer, event.event_id, self.context.now()):",
        "if not await inbox.first_time(consumer, event.event_id, self.context.now()) and not event.event_id:",
    ),
}


class _Loader(SourceLoader):
    def __init__(self, path: str, mutation: Mutation) -> None:
        self._path, self._mutation = path, mutation

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        # bytecode in the cache is that of the sound module
        if not path.endswith(".py"):
            raise OSError(path)
        return mutated(Path(path).read_text(), self._mutation).encode()


class _Finder(MetaPathFinder):
    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._mutation.module:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            return None
        return spec_from_loader(fullname, _Loader(found.origin, self._mutation))


def mutated(text: str, mutation: Mutation) -> str:
    """The source with the rule off. Raises LookupError unless there is exactly one place to change."""
    if text.count(mutation.old) != 1:
        raise LookupError(f"{mutation.module}: {text.count(mutation.old)} places to mutate")
    return text.replace(mutation.old, mutation.new)


def main(arguments: Sequence[str]) -> None:
    rule, *rest = arguments
    sys.meta_path.insert(0, _Finder(MUTATIONS[rule]))
    from consumers.cli.main import main as lifecycle

    lifecycle(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
