"""What an experiment will decide and how, frozen and hashed before it starts.

Everything the error guarantees depend on is here: alpha, margins, the batch rule, the tuning. Changing any
of it restarts the evidence. Clipping heavy tails happens before tallying, with the clip of the reference
profile (metric `abs_error_clipped`); the estimand is then the clipped mean.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from domain.experiments.hold_back import HoldBack
from domain.experiments.mantel_haenszel import DEFAULT_GRID, designed_grid
from domain.experiments.rules import Goal, Limit, require
from domain.plain import LATER, Json, read, write

Strategy = Literal["SHADOW_MODE", "PERCENTAGE_SPLIT", "USER_SEGMENT", "SWITCHBACK"]
MAX_SEGMENTS = 64
MAX_PERIOD_MS = 366 * 86_400_000
BINARY_METRICS = frozenset({"hit", "sign_hit"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One arm. `share` is the part of requests it serves under PERCENTAGE_SPLIT, of units under USER_SEGMENT,
    and of units' periods under SWITCHBACK; SHADOW_MODE ignores it."""

    name: str
    version: str
    share: float = 0.0
    champion: bool = False

    def __post_init__(self) -> None:
        require(bool(self.name), "Variant.name", "not empty", self.name)
        require(bool(self.version), "Variant.version", "not empty", self.version)
        require(0 <= self.share <= 1, "Variant.share", "0 to 1", self.share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimums:
    """What promotion and futility need besides evidence. The season is a day or week that must be covered."""

    batches: int = 20
    outcomes_per_arm: int = 100
    season_ms: int = 0
    arrived_share: float = 0.95

    def __post_init__(self) -> None:
        require(self.batches >= 1, "Minimums.batches", ">= 1", self.batches)
        require(self.outcomes_per_arm >= 2, "Minimums.outcomes_per_arm", ">= 2", self.outcomes_per_arm)
        require(self.season_ms >= 0, "Minimums.season_ms", ">= 0", self.season_ms)
        require(0 <= self.arrived_share <= 1, "Minimums.arrived_share", "0 to 1", self.arrived_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRule:
    """When a batch of windows closes: by counts and times only, so the rule is blind to the outcomes' values.

    Outcomes that overlap in time depend on each other; a batch much longer than the label horizon keeps that
    dependence inside the batch, where the between-batch variance sees it.
    """

    min_outcomes: int = 100
    min_per_arm: int = 10
    horizon_multiple: float = 5.0

    def __post_init__(self) -> None:
        require(self.min_outcomes >= 2, "BatchRule.min_outcomes", ">= 2", self.min_outcomes)
        require(self.min_per_arm >= 2, "BatchRule.min_per_arm", ">= 2", self.min_per_arm)
        require(self.horizon_multiple >= 1, "BatchRule.horizon_multiple", ">= 1", self.horizon_multiple)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPlan:
    """A champion, its challengers, and the rules of the verdict.

    `n_star` is the number of outcomes at which we expect to decide; wrong by 4x it costs < 8 % of the time.
    Outcomes are paired events under SHADOW_MODE and matched predictions of all arms otherwise; under
    USER_SEGMENT only those whose request named its unit.
    `variances` may give one outcome's variance per metric (SHADOW_MODE: of the difference), known from
    history; otherwise it is frozen from the first batches. With `mde`, the effect that is worth having, the
    experiment stops when no challenger can reach it, and without `max_outcomes` at 1.75 x the size of a fixed
    test of power 0.8.

    With `more_primaries` any one of the primaries promotes. Each is tested at alpha divided by their number
    (and by that of the challengers), and a challenger that is shown to lose on any of them, at `harm_alpha`,
    is not promoted: being better somewhere must not hide that it is worse elsewhere. To ask for more, such as
    evidence that another primary did not get worse, name it as a guardrail too. Batches and the ratio checks
    count outcomes of the first; `outcomes_per_arm` is needed of each.

    `odds_grid`, log odds ratios, is of hit metrics under PERCENTAGE_SPLIT (`mantel_haenszel`). It need not be
    given: with a hit metric it is filled in here, from `mde` and `base_rate` (the champion's rate of hits) if
    both are given and the primary is a hit metric, and is part of the JSON and the hash like all else.
    `between_law` is filled in too: "student", the variance between batches counts as the estimate that it is.
    """

    experiment: str
    model: str
    strategy: Strategy
    variants: tuple[Variant, ...]
    primary: Goal
    alpha: float = 0.05
    guardrails: tuple[Limit, ...] = ()
    harm: tuple[Limit, ...] = ()
    harm_alpha: float = 0.05
    minimums: Minimums = field(default_factory=Minimums)
    batch: BatchRule = field(default_factory=BatchRule)
    n_star: int = 10_000
    mde: float | None = None
    max_outcomes: int | None = None
    max_duration_ms: int | None = None
    variances: Mapping[str, float] = field(default_factory=dict)
    base_rate: float | None = field(default=None, metadata=LATER)
    odds_grid: tuple[float, ...] = field(default=(), metadata=LATER)
    segments: tuple[str, ...] = field(default=(), metadata=LATER)
    """Under USER_SEGMENT: only units of these have a part in it; empty is every unit."""
    period_ms: int | None = field(default=None, metadata=LATER)
    """Under SWITCHBACK, and then needed: every unit's arm is drawn anew so often."""
    hold_back: HoldBack | None = field(default=None, metadata=LATER)
    """After a promotion; None promotes whole."""
    more_primaries: tuple[Goal, ...] = field(default=(), metadata=LATER)
    """Further goals, each with an `mde` of its own; without one the experiment is never futile."""
    between_law: Literal["student"] | None = field(default=None, metadata=LATER)
    """None, a variance as if known, only in plans that were frozen before there was another."""
    reverses: str | None = field(default=None, metadata=LATER)
    """The experiment whose promotion this one may take back: it holds back the version of before."""

    def __post_init__(self) -> None:
        require(bool(self.experiment), "ExperimentPlan.experiment", "not empty", self.experiment)
        require(bool(self.model), "ExperimentPlan.model", "not empty", self.model)
        self._check_variants()
        self._check_primaries()
        self._check_metrics()
        self._check_numbers()
        self._check_odds()
        self._check_segments()
        limit = f"1 to {MAX_PERIOD_MS} under SWITCHBACK, and else null"
        period_ms = self.period_ms
        switches = period_ms is not None and 1 <= period_ms <= MAX_PERIOD_MS
        fine = switches if self.strategy == "SWITCHBACK" else period_ms is None
        require(fine, "ExperimentPlan.period_ms", limit, period_ms)
        if self.counts_hits and not self.odds_grid:
            object.__setattr__(self, "odds_grid", self._grid())
        object.__setattr__(self, "between_law", "student")

    def _check_variants(self) -> None:
        where = "ExperimentPlan.variants"
        names = [variant.name for variant in self.variants]
        require(len(names) >= 2, where, "at least two", names)
        require(len(set(names)) == len(names), where, "of different names", names)
        champions = [variant.name for variant in self.variants if variant.champion]
        require(len(champions) == 1, where, "with exactly one champion", champions)
        if self.strategy != "SHADOW_MODE":
            shares = [variant.share for variant in self.variants]
            whole = math.isclose(math.fsum(shares), 1.0, abs_tol=1e-9)
            require(whole and min(shares) > 0, where, "of shares above 0 that add up to 1", shares)

    def _check_primaries(self) -> None:
        limit = "null of the primary: ExperimentPlan.mde is its"
        require(self.primary.mde is None, "Goal.mde", limit, self.primary.mde)
        if not self.more_primaries:
            return
        keys = [goal.key for goal in self.primaries]
        limit = "of different metrics, and none the primary's"
        require(len(set(keys)) == len(keys), "ExperimentPlan.more_primaries", limit, keys)
        limit = "0 where any of several primaries promotes: no loss on one is a guardrail"
        for goal in self.primaries:
            require(goal.margin == 0, "Goal.margin", limit, goal.margin)

    def _check_metrics(self) -> None:
        directions: dict[str, str] = {}
        for item in self.rules:
            owner, known = type(item).__name__, directions.setdefault(item.key, item.direction)
            limit = f"of one direction for metric {item.key}"
            require(known == item.direction, "ExperimentPlan.guardrails and harm", limit, item.direction)
            if self.strategy != "USER_SEGMENT":
                limit = "null unless units are split (USER_SEGMENT): a ratio's variance is over units"
                require(item.denominator is None, f"{owner}.denominator", limit, item.denominator)
            if self.strategy == "SHADOW_MODE":
                limit = "measured on shadow answers too; what only the served answer has cannot be compared"
                require(not item.metric.startswith("value."), f"{owner}.metric", limit, item.metric)
        for name, limits in (("guardrails", self.guardrails), ("harm", self.harm)):
            metrics = [limit.key for limit in limits]
            require(
                len(set(metrics)) == len(metrics), f"ExperimentPlan.{name}", "of different metrics", metrics
            )

    def _check_numbers(self) -> None:
        own = "ExperimentPlan."
        require(0 < self.alpha < 0.5, own + "alpha", "> 0 and < 0.5", self.alpha)
        require(0 < self.harm_alpha < 0.5, own + "harm_alpha", "> 0 and < 0.5", self.harm_alpha)
        require(self.n_star >= 1, own + "n_star", ">= 1", self.n_star)
        require(self.mde is None or self.mde > 0, own + "mde", "> 0 or null", self.mde)
        needed = self.minimums.batches * self.batch.min_outcomes
        enough = self.max_outcomes is None or self.max_outcomes >= needed
        limit = f">= {needed} (minimum batches of minimum size), or null: promotion would never be possible"
        require(enough, own + "max_outcomes", limit, self.max_outcomes)
        long = self.max_duration_ms is None or self.max_duration_ms >= 1
        require(long, own + "max_duration_ms", ">= 1 or null", self.max_duration_ms)
        for metric, variance in self.variances.items():
            require(variance > 0, f"{own}variances.{metric}", "> 0", variance)

    def _check_odds(self) -> None:
        own, primary = "ExperimentPlan.", self.primary
        if self.base_rate is not None:
            hits = primary.metric in BINARY_METRICS and self.counts_hits
            names = ", ".join(sorted(BINARY_METRICS))
            limit = f"null unless the primary is one of {names} under PERCENTAGE_SPLIT"
            require(hits, own + "base_rate", limit, self.base_rate)
            changed = self.base_rate + self._change
            limit = "above 0 and below 1, and so must be the rate that is mde better"
            require(0 < self.base_rate < 1 and 0 < changed < 1, own + "base_rate", limit, self.base_rate)
        if self.odds_grid:
            limit = "empty unless a metric counts hits under PERCENTAGE_SPLIT: exact odds need split events"
            require(self.counts_hits, own + "odds_grid", limit, list(self.odds_grid))
            rising = all(a < b for a, b in zip(self.odds_grid, self.odds_grid[1:], strict=False))
            inside = 0.0 in self.odds_grid and self.odds_grid[0] < 0.0 < self.odds_grid[-1]
            limit = "increasing log odds ratios on both sides of 0, and 0 itself"
            require(rising and inside, own + "odds_grid", limit, list(self.odds_grid))

    def _check_segments(self) -> None:
        if self.segments:
            own, names = "ExperimentPlan.segments", list(self.segments)
            limit = "empty unless units are split (USER_SEGMENT)"
            require(self.strategy == "USER_SEGMENT", own, limit, names)
            distinct = len(set(names)) == len(names) <= MAX_SEGMENTS and all(names)
            require(distinct, own, f"at most {MAX_SEGMENTS} different names", names)

    @property
    def _change(self) -> float:
        """Of the primary, the smallest that is worth having."""
        return (self.mde or 0.0) if self.primary.direction == "increase" else -(self.mde or 0.0)

    def _grid(self) -> tuple[float, ...]:
        if self.base_rate is None or self.mde is None:
            return DEFAULT_GRID
        return designed_grid(self.base_rate, self._change)

    @property
    def counts_hits(self) -> bool:
        """Whether any metric is tested by the exact odds of hits."""
        binary = any(item.metric in BINARY_METRICS for item in self.rules)
        return binary and self.strategy == "PERCENTAGE_SPLIT"

    @property
    def rules(self) -> tuple[Goal | Limit, ...]:
        """Everything that reads a metric."""
        return (*self.primaries, *self.guardrails, *self.harm)

    @property
    def primaries(self) -> tuple[Goal, ...]:
        """Any of which promotes."""
        return (self.primary, *self.more_primaries)

    @property
    def primary_alpha(self) -> float:
        """Of one primary and challenger, so that all of them together promote falsely at most at `alpha`."""
        return self.alpha / (len(self.treatments) * len(self.primaries))

    def mde_of(self, key: str) -> float | None:
        """The gain that is worth having on what is compared; None of what is no primary."""
        if key == self.primary.key:
            return self.mde
        return next((goal.mde for goal in self.more_primaries if goal.key == key), None)

    @property
    def champion(self) -> Variant:
        return next(variant for variant in self.variants if variant.champion)

    @property
    def treatments(self) -> tuple[Variant, ...]:
        """The challengers, in the plan's order."""
        return tuple(variant for variant in self.variants if not variant.champion)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that any rule reads, denominators too, sorted."""
        read = [name for item in self.rules for name in (item.metric, item.denominator)]
        return tuple(sorted({name for name in read if name is not None}))

    @property
    def compared(self) -> Mapping[str, Goal | Limit]:
        """One rule for each thing that is compared, by key, sorted."""
        rules = {item.key: item for item in reversed(self.rules)}
        return {key: rules[key] for key in sorted(rules)}

    def student_alpha(self, alpha: float) -> float | None:
        """The level alpha where the variance between batches counts as an estimate, None where as known."""
        return alpha if self.between_law == "student" else None

    @property
    def config_hash(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(orjson.dumps(self.to_json(), option=orjson.OPT_SORT_KEYS)).hexdigest()

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ExperimentPlan":
        """Raises InvalidField naming the field and its limit."""
        return read(cls, data)

    @classmethod
    def of_record(cls, data: Mapping[str, Any]) -> "ExperimentPlan":
        """A plan as it was frozen: what it does not say, because it came later, is not filled in."""
        plan = cls.from_json(data)
        for name, before in (("odds_grid", ()), ("between_law", None)):
            if name not in data:
                object.__setattr__(plan, name, before)
        return plan
