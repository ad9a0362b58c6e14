"""`python -m bench.experiments`: seeds repeat, and the control fails where it must."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.experiments import main
from bench.simulation.rates import Count, _of_errors, _of_power, lower_bound, upper_bound
from bench.simulation.streams import _normal_moments
from bench.simulation.tables import CELLS, Cell

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


def test_a_seed_gives_the_same_tables_on_any_number_of_processes(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for jobs in ("1", "2"):
        assert main(["--runs", "6", "--table", "A4 pairs", "--json", "--seed", "3", "--jobs", jobs]) == 0
        document = json.loads(capsys.readouterr().out)
        found.append([{k: v for k, v in row.items() if k != "seconds"} for row in document["results"]])
    assert found[0] == found[1]
    assert {row["test"] for row in found[0]} == {"product", "exact", "contrast", "naive"}


def test_naive_tests_promote_noise_on_a_ramp_and_ours_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "20", "--table", "ramp", "--json", "--jobs", "1"]) == 0
    capsys.readouterr()
    assert main(["--runs", "20", "--table", "ramp", "--test", "naive", "--json", "--jobs", "1"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["failed"] == 4
    assert min(row["promoted"] for row in document["results"]) >= 0.9


def test_tables_are_printed_with_bounds_and_written_with_both(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    tables = ["--table", "A2 power", "--table", "A2 hits", "--table", "A6 sample ratio"]
    assert main(["--runs", "20", *tables, "--jobs", "1", "--write", str(page)]) == 0
    printed, written = capsys.readouterr().out, page.read_text("utf-8")
    for heading in ("rolled b.", "design", "alarms"):
        assert heading in printed
    assert "judged rows hold by their estimates" in printed
    assert "not shown" in printed
    assert "| rate 0.5, 10/90 | product | 20 | 0.0000 (0.0000–0.1391) |" in written
    assert "A6 sample ratio --jobs 1 --write" in written
    assert "## A2 power" in written


def counted(promoted: int, rolled_back: int, runs: int = 1_000, sizes: float = 100.0) -> Count:
    count = Count(CELLS[0])
    count.runs, count.promoted, count.rolled_back = runs, promoted, rolled_back
    count.sizes = [sizes] * runs
    return count


@pytest.mark.parametrize(
    "promoted, rolled_back, holds, status",
    [
        (30, 20, True, "shown"),
        (30, 45, True, "not shown"),
        (55, 20, False, "not shown"),
        (30, 65, False, "not shown"),
        (30, 75, False, "FAILS"),
    ],
)
def test_a_cell_holds_by_its_estimates_and_is_shown_or_fails_by_its_bounds(
    promoted: int, rolled_back: int, holds: bool, status: str
) -> None:
    cell: Cell = CELLS[0]
    assert cell.alpha == 0.05
    assert _of_errors(cell, counted(promoted, rolled_back)) == (holds, status)


@pytest.mark.parametrize(
    "promoted, size, holds, status",
    [
        (920, 100.0, True, "shown"),
        (890, 100.0, True, "not shown"),
        (870, 100.0, False, "not shown"),
        (830, 100.0, False, "FAILS"),
        (920, 105.0, False, "FAILS"),
    ],
)
def test_power_is_compared_with_the_figures_of_the_design(
    promoted: int, size: float, holds: bool, status: str
) -> None:
    assert _of_power(counted(promoted, 0, sizes=size), (0.9, 100.0)) == (holds, status)


def test_the_committed_page_is_of_these_cells_and_the_product_fails_in_none() -> None:
    page = PAGE.read_text("utf-8")
    for cell in CELLS:
        _, _, section = page.partition(f"\n## {cell.table}\n")
        section, _, _ = section.partition("\n## ")
        assert f"| {cell.name} | product |" in section, cell
    assert "0 fail." in page
    assert "| FAILS" not in page


def test_the_committed_control_promotes_noise_where_it_must() -> None:
    page = PAGE.read_text("utf-8")
    _, _, section = page.partition("\n## ramp\n")
    section, _, _ = section.partition("\n## ")
    rates = [float(line.split("|")[4].split()[0]) for line in section.splitlines() if "| naive |" in line]
    assert len(rates) == 4
    assert min(rates) > 0.95


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
