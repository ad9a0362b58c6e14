"""Life cycles as data: a table says which move leads where, a miss raises, diagrams are drawn from it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from domain.errors import DomainError

State = TypeVar("State", bound=StrEnum)
Moves = Mapping[State, Mapping[type[object], State]]
"""State before -> kind of move -> state after. A state without moves is final."""


class IllegalTransition(DomainError):
    """This move is not allowed from this state."""

    def __init__(self, state: StrEnum, move: type[object], allowed: tuple[str, ...]) -> None:
        options = ", ".join(allowed) if allowed else "nothing, it is final"
        super().__init__(f"{move.__name__} is not allowed from {state.value} (allowed: {options})")
        self.state = state
        self.move = move
        self.allowed = allowed


def after(table: Moves[State], state: State, move: type[object]) -> State:
    """The state that `move` leads to from `state`. Raises IllegalTransition if the table has no entry."""
    moves = table[state]
    if move not in moves:
        raise IllegalTransition(state, move, tuple(kind.__name__ for kind in moves))
    return moves[move]


def mermaid(table: Moves[State]) -> str:
    """A Mermaid state diagram of `table`, ready for a README."""
    lines = ["stateDiagram-v2"]
    first = next(iter(table))
    lines.append(f"    [*] --> {first.value}")
    for state, moves in table.items():
        lines.extend(f"    {state.value} --> {to.value}: {move.__name__}" for move, to in moves.items())
        if not moves:
            lines.append(f"    {state.value} --> [*]")
    return "\n".join(lines) + "\n"
