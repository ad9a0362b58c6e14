"""A quarter's experiments never spend more alpha than its account holds, whatever became of them."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidField
from domain.experiments.budget import Account, AlphaBudgetSpent, BudgetPolicy, Quarter, Spending

Q4 = Quarter(2026, 4)
DAY_MS = 86_400_000


def spending(name: str, alpha: float = 0.05, day: int = 0, *, returned: bool = False) -> Spending:
    at_ms = Q4.start_ms + day * DAY_MS
    return Spending(experiment=name, alpha=alpha, started_at_ms=at_ms, returned=returned)


def account(*started: Spending, budget: float | None = 0.1, quarter: Quarter = Q4) -> Account:
    return Account.of("brent", quarter, BudgetPolicy(per_quarter=budget), started)


def test_the_default_lets_two_usual_experiments_start_and_refuses_the_third() -> None:
    policy = BudgetPolicy.of_document({})
    assert policy.per_quarter == 0.1
    account(spending("e1"), budget=policy.per_quarter).admit("e2", 0.05)
    with pytest.raises(AlphaBudgetSpent) as refused:
        account(spending("e1"), spending("e2"), budget=policy.per_quarter).admit("e3", 0.05)
    assert str(refused.value) == (
        "experiment e3 asks for alpha 0.05, and of the 0.1 that brent may spend in 2026Q4 0 is left; "
        "spent by e1 (0.05), e2 (0.05)"
    )
    assert (refused.value.left, refused.value.asked) == (0.0, 0.05)
    assert refused.value.spent_by == (("e1", 0.05), ("e2", 0.05))


def test_what_was_given_back_and_other_quarters_cost_nothing() -> None:
    before = Spending(experiment="old", alpha=0.1, started_at_ms=Q4.start_ms - 1)
    after = Spending(experiment="new", alpha=0.1, started_at_ms=Q4.end_ms)
    held = account(before, spending("e1"), spending("gone", 0.1, returned=True), after)
    assert [each.experiment for each in held.entries] == ["e1", "gone"]
    assert (held.spent, held.left) == (0.05, 0.05)
    held.admit("e2", 0.05)
    with pytest.raises(AlphaBudgetSpent, match=r"spent by e1 \(0\.05\)$"):
        held.admit("e2", 0.06)


def test_alphas_that_floats_cannot_hold_fill_a_budget_to_its_end() -> None:
    held = account(spending("e1", 0.1), spending("e2", 0.1), budget=0.3)
    held.admit("e3", 0.1)
    full = account(spending("e1", 0.1), spending("e2", 0.1), spending("e3", 0.1), budget=0.3)
    assert (full.spent, full.left) == (0.3, 0.0)


def test_a_smaller_budget_than_is_spent_leaves_nothing_and_takes_nothing_back() -> None:
    held = account(spending("e1", 0.2), budget=0.1)
    assert (held.spent, held.left) == (0.2, 0.0)


def test_without_a_limit_an_account_is_kept_and_nothing_is_refused() -> None:
    held = account(*(spending(f"e{k}", 0.4) for k in range(20)), budget=None)
    held.admit("another", 0.4)
    assert (held.spent, held.left) == (8.0, None)


def test_a_refusal_of_many_spenders_stays_a_line_that_can_be_read() -> None:
    with pytest.raises(AlphaBudgetSpent, match=r"s7 \(0\.01\) and 2 more$") as refused:
        account(*(spending(f"s{k}", 0.01, k) for k in range(10))).admit("e", 0.01)
    assert len(refused.value.spent_by) == 10


@pytest.mark.parametrize("value", [0, -0.1, 1.5, "much", True])
def test_a_wrong_budget_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidField, match="per_quarter"):
        BudgetPolicy.of_document({"alpha_budget": {"per_quarter": value}})


def test_a_policy_says_no_limit_by_null_and_reads_back() -> None:
    policy = BudgetPolicy.of_document({"alpha_budget": {"per_quarter": None}})
    assert policy == BudgetPolicy(per_quarter=None)
    assert BudgetPolicy.of_document({"alpha_budget": policy.to_json()}) == policy
    with pytest.raises(InvalidField, match="alpha_budget"):
        BudgetPolicy.of_document({"alpha_budget": 0.1})


@given(st.integers(Quarter(1, 1).start_ms, Quarter(9998, 4).end_ms - 1))
def test_every_moment_is_in_its_quarter_and_only_there(at_ms: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    quarter = Quarter.of(at_ms)
    assert quarter.start_ms <= at_ms < quarter.end_ms
    assert (quarter.year, quarter.number) == (moment.year, (moment.month - 1) // 3 + 1)
    assert Quarter.parse(str(quarter)) == quarter
    assert Quarter.of(quarter.start_ms) == Quarter.of(quarter.end_ms - 1) == quarter


@pytest.mark.parametrize("text", ["2026", "2026Q5", "2026Q0", "Q42026", "26Q4", "2026Q4 ", "", "0000Q1"])
def test_what_is_no_quarter_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="quarter"):
        Quarter.parse(text)


@given(st.lists(st.tuples(st.sampled_from([0.005, 0.01, 0.05, 0.1]), st.booleans())), st.floats(0.01, 1))
def test_however_experiments_come_the_budget_is_never_overdrawn(
    asked: list[tuple[float, bool]], budget: float
) -> None:
    """Whoever is cancelled without a look makes room again; nobody else does."""
    started: list[Spending] = []
    for day, (alpha, returned) in enumerate(asked):
        held = account(*started, budget=budget)
        assert held.spent <= budget + 1e-9
        try:
            held.admit(f"e{day}", alpha)
        except AlphaBudgetSpent:
            assert held.left is not None
            assert alpha > held.left
        else:
            started.append(spending(f"e{day}", alpha, day % 90, returned=returned))
    assert account(*started, budget=budget).spent <= budget + 1e-9


def promoted_by_noise(generator: np.random.Generator, *, forgiving: bool) -> bool:
    """Whether a quarter without any better challenger promotes one, to somebody who gives up and tries again.

    Who wants a promotion cancels what does not look well after 40 looks. `forgiving` gives its alpha back.
    """
    started: list[Spending] = []
    for day in range(60):
        try:
            account(*started).admit(f"e{day}", 0.05)
        except AlphaBudgetSpent:
            return False
        # likelihood ratio of mean 0.2 to mean 0, where the mean is 0
        log_e = np.cumsum(0.2 * generator.standard_normal(200) - 0.02)
        hopeless = log_e[39] < 0.0
        if (log_e[:40] if hopeless else log_e).max() >= math.log(20):
            return True
        started.append(spending(f"e{day}", day=day, returned=bool(hopeless and forgiving)))
    return False


def test_alpha_that_came_back_after_a_look_would_promote_noise_far_beyond_the_budget() -> None:
    generator = np.random.default_rng(11)
    strict = [promoted_by_noise(generator, forgiving=False) for _ in range(2_000)]
    forgiving = [promoted_by_noise(generator, forgiving=True) for _ in range(2_000)]
    assert np.mean(strict) <= 0.1
    assert np.mean(forgiving) > 0.15
