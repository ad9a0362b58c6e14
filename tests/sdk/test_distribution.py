"""The SDK stands alone: its own files, pydantic and the standard library; aiokafka when Kafka is used."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import lifecycle_sdk

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = ("pyproject.toml", "sdk/pyproject.toml")
NOT_NEEDED = {
    "aiokafka",
    "consumers",
    "domain",
    "schemas",
    "numpy",
    "orjson",
    "msgspec",
    "sqlalchemy",
    "structlog",
    "click",
}


def test_its_names_are_sorted_and_exist() -> None:
    assert lifecycle_sdk.__all__ == sorted(lifecycle_sdk.__all__)
    assert all(hasattr(lifecycle_sdk, name) for name in lifecycle_sdk.__all__)


def test_allocation_and_contracts_are_the_service_s_own_files() -> None:
    assert (ROOT / "sdk/lifecycle_sdk/allocation").resolve() == ROOT / "domain/allocation"
    assert (ROOT / "sdk/lifecycle_sdk/contracts").resolve() == ROOT / "schemas"


def test_a_copy_without_links_imports_nothing_of_the_service(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sdk/lifecycle_sdk", tmp_path / "lifecycle_sdk")
    code = "import json, sys, lifecycle_sdk as s; print(json.dumps([s.__file__, *sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    place, *modules = json.loads(done.stdout)
    assert Path(place).is_relative_to(tmp_path)
    assert {name.partition(".")[0] for name in modules} & NOT_NEEDED == set()


def test_its_extra_for_kafka_is_what_the_service_is_tested_with() -> None:
    service, sdk = (tomllib.loads((ROOT / name).read_text())["project"] for name in PROJECTS)
    assert sdk["dependencies"] == ["pydantic>=2.12"]
    assert set(sdk["optional-dependencies"]["kafka"]) <= set(service["dependencies"])
