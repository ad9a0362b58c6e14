"""`python -m tests.chaos`: the fault suite for `make chaos`. Ends with 1 if anything speaks against a run.

Runs the given seeds, then the negative controls, which must fail. Prints schedules and one table.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from tests.chaos.controls import CONTROLS, Control
from tests.chaos.run import Result, play
from tests.chaos.scenario import Scenario, long_run
from tests.chaos.schedule import clocks


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what is asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, default=7.0, help="of faults, for each seed")
    parser.add_argument("--controls", choices=["none", "all", "only"], default="all")
    parser.add_argument("--faults", nargs="*", help="only these kinds")
    parser.add_argument("--out", type=Path, default=Path("chaos-report"))
    asked = parser.parse_args(arguments)
    out = asked.out.absolute() / time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    seeds = [] if asked.controls == "only" else asked.seeds
    kinds = None if asked.faults is None else tuple(asked.faults)
    runs = [replace(long_run(seed, asked.minutes * 60), faults=kinds) for seed in seeds]
    controls = [] if asked.controls == "none" else list(CONTROLS)
    document, fine = asyncio.run(_play(runs, controls, out))
    (out / "report.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    _print(f"report and histories: {out}")
    return 0 if fine else 1


async def _play(runs: list[Scenario], controls: list[Control], out: Path) -> tuple[dict[str, object], bool]:
    results, caught = [], []
    for scenario in runs:
        _print(f"\nseed {scenario.seed}: {scenario.describe()}, clocks wrong by {clocks(scenario)} s")
        results.append(await play(scenario, out / f"seed-{scenario.seed}", _say))
        _tell(results[-1])
    for control in controls:
        _print(f"\nnegative control: {control.rule} (seed {control.scenario.seed})")
        result = await play(control.scenario, out / control.rule.replace(" ", "-"), _say, control.faults)
        caught.append((control, result))
        _print(f"  {'caught by' if control.caught(result) else 'NOT CAUGHT;'} {', '.join(result.failed)}")
    _print(f"\n{_table(results)}\n")
    for control, result in caught:
        _print(f"control {control.rule!r}: {'fails as it must' if control.caught(result) else 'PASSED'}")
    fine = not any(result.failed for result in results) and all(c.caught(r) for c, r in caught)
    document = {
        "sound": fine,
        "runs": [result.document() for result in results],
        "controls": [
            {"rule": control.rule, "caught": control.caught(result), **result.document()}
            for control, result in caught
        ],
    }
    return document, fine


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    _print(f"  {time.strftime('%H:%M:%S')} {text}")


def _tell(result: Result) -> None:
    for name, said in result.objections.items():
        for line in said:
            _print(f"  AGAINST {name}: {line}")
    _print(f"  {'sound' if not result.failed else 'FAILED'}: {result.figures}")


_COLUMNS: Mapping[str, Callable[[Result], object]] = {
    "seed": lambda r: r.scenario.seed,
    "minutes": lambda r: round(r.scenario.seconds / 60, 1),
    "brokers": lambda r: r.scenario.brokers,
    "faults": lambda r: len(r.faults),
    "records": lambda r: r.figures["records"],
    "rows": lambda r: r.figures["rows"],
    "divergences": lambda r: r.figures["divergences"],
    "dead letters": lambda r: r.figures["dead_letters"],
    "duplicates": lambda r: r.figures["duplicates"],
    "decisions": lambda r: sum(r.figures["decisions"].values()),
    "promotions": lambda r: r.figures["promotions"],
    "episodes": lambda r: r.figures["episodes"],
    "jobs": lambda r: sum(r.figures["jobs"].values()),
    "lives": lambda r: r.figures["lives"],
    "drain s": lambda r: r.figures["longest_drain_s"],
    "quiet s": lambda r: r.figures["quiet_after_s"],
    "result": lambda r: "FAILED" if r.failed else "sound",
}


def _table(results: list[Result]) -> str:
    lines = [list(_COLUMNS), *([str(cell(r)) for cell in _COLUMNS.values()] for r in results)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_COLUMNS))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


if __name__ == "__main__":
    sys.exit(main())
