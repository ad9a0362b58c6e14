"""`python -m bench.experiments`: seeds repeat, and the control fails where it must."""

import json

import numpy as np
import pytest

from bench.experiments import lower_bound, main, upper_bound
from bench.simulation.streams import _normal_moments


def test_a_seed_gives_the_same_tables(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for _ in range(2):
        assert main(["--runs", "6", "--table", "A4 pairs", "--json", "--seed", "3"]) == 0
        document = json.loads(capsys.readouterr().out)
        found.append([{k: v for k, v in row.items() if k != "seconds"} for row in document["results"]])
    assert found[0] == found[1]
    assert {row["test"] for row in found[0]} == {"product", "exact", "contrast"}


def test_naive_tests_promote_noise_on_a_ramp_and_ours_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "20", "--table", "ramp", "--json"]) == 0
    capsys.readouterr()
    assert main(["--runs", "20", "--table", "ramp", "--test", "naive", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["failed"] == 4
    assert min(row["promoted"] for row in document["results"]) >= 0.9


def test_tables_are_printed_with_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--runs", "20", "--table", "A2 power", "--table", "A2 hits", "--test", "product"])
    printed = capsys.readouterr().out
    assert "<= 95 %" in printed
    assert "design" in printed
    assert "cells hold (seed 1)" in printed


def test_bounds_are_those_of_clopper_and_pearson() -> None:
    # the rule of three, and the published interval of 4 in 20 at 95 % two-sided
    assert upper_bound(0, 100, 0.95) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert (lower_bound(4, 20, 0.975), upper_bound(4, 20, 0.975)) == pytest.approx((0.0573, 0.4366), abs=1e-4)
    assert (lower_bound(0, 5, 0.95), upper_bound(5, 5, 0.95)) == (0.0, 1.0)


def test_drawn_moments_have_the_law_of_moments_of_values() -> None:
    source, n, runs = np.random.default_rng(1), 50, 4_000
    drawn = _normal_moments(source, runs, np.array([n]), 0.7)
    x = source.standard_normal((runs, n))
    y = 0.7 * x + np.sqrt(0.51) * source.standard_normal((runs, n))
    dx, dy = (each - each.mean(axis=1, keepdims=True) for each in (x, y))
    direct = (y.mean(axis=1), *((a * b).sum(axis=1) for a, b in ((dy, dy), (dx, dx), (dx, dy))))
    ours = [drawn[k][:, 0] for k in (0, 1, 3, 4)]
    for one, other in zip(ours, direct, strict=True):
        assert one.mean() == pytest.approx(other.mean(), abs=4 * other.std() / np.sqrt(runs / 2))
        assert one.std() == pytest.approx(other.std(), rel=0.06)
    together, apart = np.corrcoef(ours), np.corrcoef(direct)
    assert np.abs(together - apart).max() < 0.07
    assert np.corrcoef(drawn[0][:, 0], drawn[2][:, 0])[0, 1] == pytest.approx(0.7, abs=0.05)
