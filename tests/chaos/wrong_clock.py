"""`python -m tests.chaos.wrong_clock SECONDS run tally`: the command line of a machine whose clock is wrong.

Product code reads the wall clock in one place. What it does with it may be early or late; no row, decision or
promotion may differ.
"""

import sys
from collections.abc import Sequence
from datetime import timedelta


def main(arguments: Sequence[str]) -> None:
    from consumers import bootstrap
    from consumers.cli.main import main as lifecycle

    wrong_s, *rest = arguments
    true_now, true_now_ms = bootstrap.now, bootstrap.now_ms
    bootstrap.now = lambda: true_now() + timedelta(seconds=float(wrong_s))
    bootstrap.now_ms = lambda: true_now_ms() + round(float(wrong_s) * 1_000)
    lifecycle(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
