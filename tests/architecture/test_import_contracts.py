"""Negative controls of the import contracts: one that catches nothing looks the same as one that is kept.

A small tree in the shape of the repository is linted with the repository's own contracts, first as it
is, then with one planted fault at a time.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOUND = {
    "consumers/settings.py": "",
    "consumers/logger.py": "import consumers.settings",
    "consumers/log/port.py": "import schemas.codec",
    "consumers/log/kafka.py": "import aiokafka, consumers.log.port",
    "consumers/store/engine.py": "import alembic, asyncpg, sqlalchemy",
    "consumers/workers/tally.py": "import consumers.log.port, domain.windows.fold",
    "consumers/workers/agents.py": "import faust, consumers.log.kafka",
    "consumers/workers/judge.py": "import consumers.store.engine",
    "consumers/bench/tally.py": "import consumers.bootstrap",
    "consumers/bootstrap.py": "import consumers.workers.tally, consumers.store.engine",
    "domain/windows/fold.py": "import math, numpy",
    "domain/drift/classic.py": "from river import drift",
    "domain/drift/chisquare.py": "import domain.windows.fold",
    "domain/experiments/contrast.py": "import domain.windows.fold",
    "schemas/events.py": "import pydantic",
    "schemas/codec.py": "from . import events",
    "sdk/lifecycle_sdk/publisher.py": "import lifecycle_sdk.contracts.codec",
}
FAULTS = {
    "a contract looks into the service": ("1", "schemas/codec.py", "import consumers.settings"),
    "the core knows the wire": ("1", "domain/windows/fold.py", "import schemas.events"),
    "a module has no layer": ("2", "consumers/util.py", ""),
    "the store calls a worker": (
        "2",
        "consumers/store/engine.py",
        "import alembic, asyncpg, sqlalchemy, consumers.workers.tally",
    ),
    "metrics read the store themselves": ("2", "consumers/metrics.py", "import consumers.store.engine"),
    "the log and the store know each other": ("2", "consumers/log/port.py", "import consumers.store.engine"),
    "a worker calls another": ("3", "consumers/workers/judge.py", "import consumers.workers.tally"),
    "drift uses an experiment": ("4", "domain/drift/chisquare.py", "import domain.experiments.contrast"),
    "the core reads a clock": ("5", "domain/windows/fold.py", "import time"),
    "the core makes identities": ("5", "domain/windows/fold.py", "from uuid import uuid4"),
    "the core validates wire models": ("5", "domain/windows/fold.py", "import pydantic"),
    "a contract needs a service's library": ("6", "schemas/codec.py", "import orjson"),
    "a contract has an event loop": ("6", "schemas/codec.py", "import asyncio"),
    "the SDK uses the service": ("7", "sdk/lifecycle_sdk/publisher.py", "import consumers.settings"),
    "a contract imports another absolutely": ("7", "schemas/codec.py", "import schemas.events"),
    "two siblings import each other": ("8", "domain/windows/fold.py", "import domain.drift.chisquare"),
    "a worker writes SQL": ("9", "consumers/workers/judge.py", "import sqlalchemy"),
    "a worker talks to brokers": ("10", "consumers/workers/judge.py", "import aiokafka"),
    "a worker talks to PostgreSQL": ("11", "consumers/workers/judge.py", "import asyncpg"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, source in SOUND.items():
        _write(tmp_path / name, source)
    for folder in {parent for name in SOUND for parent in (tmp_path / name).parents}:
        if folder.is_relative_to(tmp_path) and folder not in (tmp_path, tmp_path / "sdk"):
            (folder / "__init__.py").touch()
    (tmp_path / "sdk/lifecycle_sdk/contracts").symlink_to("../../schemas")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _write(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source + "\n", encoding="utf-8")


def broken(tree: Path) -> set[str]:
    """Numbers of the contracts that import-linter reports as broken."""
    linter = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'sdk'}"}
    done = subprocess.run(
        [linter, "--no-logo", "--no-cache"],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # a contract with an exception says after its verdict how often it was used
    lines = [line.split(" (")[0] for line in done.stdout.splitlines()]
    verdicts = [line for line in lines if line.endswith((" KEPT", " BROKEN"))]
    assert len(verdicts) >= 11, done.stdout + done.stderr
    return {line.split()[0] for line in verdicts if line.endswith(" BROKEN")}


def test_a_sound_tree_breaks_no_contract(tree: Path) -> None:
    assert broken(tree) == set()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_breaks_its_contract(tree: Path, fault: str) -> None:
    contract, name, source = FAULTS[fault]
    _write(tree / name, source)
    assert contract in broken(tree)
