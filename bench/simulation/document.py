"""The tables as a Markdown page: the same bytes for the same seed."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from bench.simulation.rates import Result

_INTRODUCTION = """# How often the tests of experiments are wrong, and how soon they are right

Written by `{command}`,
seed {seed}; the same command writes the same page. What is drawn, and how, is in `bench/simulation/`. All
arms of A/A cells are equal; there is a look after every batch, up to 50,000 outcomes.

* A rate stands before its interval: a lower and an upper bound, each at 95 % (Clopper & Pearson).
* *product* is what the judge goes by and has to hold, and so do parts marked "judged". *exact*, *contrast*
  and *units* are parts of it, *information* is A3 with a known variance, *uncorrected* gives each of several
  treatments the whole alpha, and *naive* is the control: a z-test of totals at every look, as if it were the
  only one (of a split, a chi-square test).
* "shown": the upper bounds are at or under alpha. "FAILS": a lower bound at 99.9 % is above (at 95 % some of
  two hundred rates would be by chance). "not shown": neither. Power may be 0.02 under, and the mean size 4 %
  over the design's figures. Of sticky units the design has none: *information* is what to expect at best.

{summary}.
"""


def document(results: Sequence[Result], command: str, seed: int, summary: str) -> str:
    parts = [_INTRODUCTION.format(command=command.strip(), seed=seed, summary=summary)]
    for table, rows in groupby(results, key=lambda result: result.table):
        parts.append("\n".join(_table(table, list(rows))) + "\n")
    return "\n".join(parts)


def _table(name: str, rows: Sequence[Result]) -> Iterator[str]:
    kind, alpha = rows[0].kind, rows[0].alpha
    yield f"## {name}"
    columns = {
        "power": ("power", "design", "mean n", "design"),
        "alarm": (f"alarms (alpha {alpha:g})",),
        "error": (f"promoted (alpha {alpha:g})", "rolled back"),
    }[kind]
    yield ""
    yield f"| cell | test | runs | {' | '.join(columns)} | |"
    yield "| --- " * (len(columns) + 4) + "|"
    for row in rows:
        yield f"| {row.cell} | {row.test} | {row.runs:,} | {' | '.join(_figures(row))} | {_remark(row)} |"


def _figures(row: Result) -> Iterator[str]:
    yield _rate(row.promoted, row.promoted_lower, row.promoted_upper)
    if row.kind == "power":
        yield "" if row.power_wanted is None else f"{row.power_wanted:.2f}"
        yield f"{row.mean_n:,.0f} ± {1.645 * row.mean_n_error:,.0f}"
        yield "" if row.mean_n_wanted is None else f"{row.mean_n_wanted:,.0f}"
    elif row.rolled_back is not None:
        assert row.rolled_back_lower is not None
        assert row.rolled_back_upper is not None
        yield _rate(row.rolled_back, row.rolled_back_lower, row.rolled_back_upper)


def _rate(rate: float, lower: float, upper: float) -> str:
    return f"{rate:.4f} ({lower:.4f}–{upper:.4f})"


def _remark(row: Result) -> str:
    if not row.judged:
        return "control" if row.test == "naive" else ""
    return row.status if row.test == "product" else f"{row.status}, judged"
