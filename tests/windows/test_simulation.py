"""Many seeded logs, up to three workers on one partition, crashes anywhere: every row equal to the oracle.

WINDOW_LOGS=5000 pytest tests/windows/test_simulation.py runs more of them.
"""

import os
from random import Random

from tests.windows.logs import PROFILES, make_log, make_lopsided_log, make_policy
from tests.windows.simulation import run

LOGS = int(os.environ.get("WINDOW_LOGS", "200"))


def test_every_row_equals_the_oracle_whatever_the_workers_do() -> None:
    rows = restarts = 0
    for seed in range(LOGS):
        r = Random(f"log {seed}")
        made = make_lopsided_log if seed % 4 == 3 else make_log
        policy, log = make_policy(r), made(r, r.choice([5, 30, 90]))
        try:
            result = run(log, policy, PROFILES, r, workers=1 + seed % 3)
        except Exception as error:
            error.add_note(f"seed: log {seed}")
            raise
        rows += result.rows
        restarts += result.restarts
    # the logs must be worth folding: most give rows, and workers do crash
    assert rows > 20 * LOGS
    assert restarts > 5 * LOGS
