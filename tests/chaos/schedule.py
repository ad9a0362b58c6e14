"""What breaks when: drawn from the seed before anything starts, and printed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from tests.chaos.scenario import Scenario

SESSION_S = 6.0
"""Session timeout of the consumer groups: a process that is stopped longer loses its partitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Begins `at_s` after the traffic; lasts `for_s`. What `target` means depends on the kind."""

    at_s: float
    kind: str
    target: str = ""
    for_s: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:6.1f} s  {self.kind}{' ' + self.target if self.target else ''}{lasting}"


def members(scenario: Scenario) -> list[str]:
    """Names of all processes: tally-0, tally-1, ..."""
    return [f"{kind}-{number}" for kind, many in scenario.crew.items() for number in range(many)]


def clocks(scenario: Scenario) -> dict[str, float]:
    """By how many seconds the clocks of some members are wrong: of every other one of a kind.

    Tally workers run behind, or ahead by less than the slack: what they beat for a quiet partition is a
    record like others, and outcomes that were behind it would be late, which no engine can undo.
    """
    r = Random(f"clocks {scenario.seed}")
    wrong = {}
    for name in members(scenario):
        kind, _, number = name.partition("-")
        ahead_s = scenario.window_s / 20 if kind == "tally" else 3_600.0
        drawn_s = round(r.uniform(-3_600.0, ahead_s), 3)
        if int(number) % 2:
            wrong[name] = drawn_s
    return wrong


Draw = Callable[[Random, Scenario], tuple[str, float]]


def _member(r: Random, scenario: Scenario) -> str:
    # kinds first: the one trainer is hit as often as one of three tally workers
    kind = r.choice(["tally", "tally", *scenario.crew])
    return f"{kind}-{r.randrange(scenario.crew[kind])}"


def _broker(r: Random, scenario: Scenario) -> str:
    return f"broker-{r.randrange(scenario.brokers)}"


KINDS: Mapping[str, tuple[float, Draw]] = {
    "kill": (12, lambda r, s: (_member(r, s), 0.0)),
    "kill-all-of": (3, lambda r, s: (r.choice(list(s.crew)), 0.0)),
    "terminate": (2, lambda r, s: (_member(r, s), 0.0)),
    "freeze": (5, lambda r, s: (_member(r, s), SESSION_S + r.uniform(1, 6))),
    "hiccup": (2, lambda r, s: (_member(r, s), r.uniform(0.5, SESSION_S - 2))),
    "rebalance-storm": (2, lambda r, s: (r.choice(["tally", "registry"]), r.uniform(6, 12))),
    "redelivery": (2, lambda r, s: ("", 0.0)),
    "broker-kill": (2, lambda r, s: (_broker(r, s), r.uniform(0, 4))),
    "rolling-restart": (1, lambda r, s: ("", 0.0)),
    "database-restart": (2, lambda r, s: ("", 0.0)),
    "database-kill": (2, lambda r, s: ("", r.uniform(0, 5))),
    "database-full": (2, lambda r, s: ("", r.uniform(1, 6))),
    "database-sessions-cut": (3, lambda r, s: ("", 0.0)),
    "database-link-cut": (2, lambda r, s: ("", r.uniform(0.5, 4))),
    "database-link-slow": (2, lambda r, s: ("", r.uniform(3, 8))),
    "database-link-dead": (2, lambda r, s: ("", r.uniform(3, 10))),
    "broker-link-cut": (2, lambda r, s: (_broker(r, s), r.uniform(0.5, 4))),
    "broker-link-slow": (2, lambda r, s: (_broker(r, s), r.uniform(3, 8))),
    "broker-link-dead": (2, lambda r, s: (_broker(r, s), r.uniform(3, SESSION_S + 4))),
}
"""Every kind: how often it is drawn, and what else is drawn for it. `dead` links take bytes and pass none."""

COST_S: Mapping[str, float] = {
    "broker-kill": 10.0,
    "rolling-restart": 35.0,
    "database-restart": 2.0,
    "database-kill": 3.0,
    "terminate": 3.0,
}
"""How long a kind takes beside `for_s`, roughly: the schedule leaves room for it."""


def schedule(scenario: Scenario) -> list[Fault]:
    """One fault after the other; each kind that is wanted comes before any comes again, while time lasts."""
    r = Random(f"faults {scenario.seed}")
    wanted = [kind for kind in KINDS if scenario.faults is None or kind in scenario.faults]
    if scenario.brokers == 1 and "rolling-restart" in wanted:
        wanted.remove("rolling-restart")
    fresh = r.sample(wanted, len(wanted))
    faults: list[Fault] = []
    at_s = 3.0 + r.uniform(*scenario.pause_s)
    while wanted:
        kind = fresh.pop() if fresh else r.choices(wanted, [KINDS[kind][0] for kind in wanted])[0]
        target, for_s = KINDS[kind][1](r, scenario)
        taken_s = for_s + COST_S.get(kind, 0.0)
        if at_s + taken_s > scenario.seconds:
            break
        faults.append(Fault(at_s=round(at_s, 1), kind=kind, target=target, for_s=round(for_s, 1)))
        # some faults hit while the one before still lasts
        overlap = 0.2 if r.random() < 0.25 else 1.0
        at_s += taken_s * overlap + r.uniform(*scenario.pause_s)
    return faults
