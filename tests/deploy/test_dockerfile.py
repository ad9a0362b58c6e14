"""The Dockerfile: what a linter and a reader can tell without an engine. Nothing here builds an image."""

import asyncio
import fnmatch
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from consumers.health import Health, serve
from consumers.settings import ConfigManager
from tests.deploy.files import DOCKERFILE, ROOT, dockerfile_command

TEXT = DOCKERFILE.read_text("utf-8")


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("hadolint")
    command: Sequence[str | Path] = [program, "--no-color", "--failure-threshold", "style", path]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_linter_has_nothing_to_say() -> None:
    done = hadolint(DOCKERFILE)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_linter_would_have_something_to_say(tmp_path: Path) -> None:
    planted = tmp_path / "Dockerfile"
    planted.write_text(TEXT.replace("python:3.11.14-slim-bookworm", "python:latest"), "utf-8")
    assert "DL3007" in hadolint(planted).stdout


def test_every_image_is_pinned_to_a_whole_version() -> None:
    images = re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)
    assert images
    for image in images:
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+(-[a-z-]+)?", image), image


def test_the_image_runs_the_python_that_the_project_asks_for_and_the_uv_that_it_locks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lowest = project["requires-python"].removeprefix(">=")
    pythons = set(re.findall(r"python:(\d+\.\d+)\.\d+-slim", TEXT))
    assert pythons == {lowest}
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    (locked,) = [package["version"] for package in lock["package"] if package["name"] == "uv"]
    assert f"ghcr.io/astral-sh/uv:{locked} " in TEXT
    assert f"ARG VERSION={project['version']}\n" in TEXT


def test_the_process_is_nobody_and_its_program_is_root_s() -> None:
    assert dockerfile_command("USER") == "10001:10001"
    final = TEXT[TEXT.rindex("\nFROM ") :]
    assert "--uid 10001" in final
    assert "COPY --from=build /opt/lifecycle /opt/lifecycle\n" in final, "without --chown it is root's"
    assert final.index("COPY --from=build") < final.index("USER ")
    assert dockerfile_command("VOLUME") == "/var/lib/lifecycle"


def test_development_tools_and_extras_are_left_out_unless_asked_for() -> None:
    syncs = re.findall(r"uv sync [^\n]+", TEXT)
    assert len(syncs) == 2
    wanted = ("--locked", "--no-dev", '${EXTRA:+--extra="$EXTRA"}')
    assert all(option in sync for sync in syncs for option in wanted)
    assert 'ARG EXTRA=""' in TEXT


def test_the_variables_it_sets_are_settings() -> None:
    names = set(re.findall(r"\bLIFECYCLE_(\w+)=", TEXT))
    assert {"HOME", "METRICS_HOST", "METRICS_PORT"} == names
    assert {name.lower() for name in names} <= set(ConfigManager.model_fields)
    assert dockerfile_command("EXPOSE") in re.findall(r"LIFECYCLE_METRICS_PORT=(\d+)", TEXT)


def test_everything_it_copies_gets_past_the_ignore_file_and_nothing_else_does() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "what is not named stays outside"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source
        for words in re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.MULTILINE)
        for source in words.split()[:-1]
    }
    bound = set(re.findall(r"source=([\w.]+)", TEXT))
    assert copied | bound == let_in
    assert all((ROOT / name).exists() for name in let_in)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(packages["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied
    for secret in ("deploy/lifecycle.env", ".env", ".git/config", "demo-home/store.sqlite"):
        assert not any(fnmatch.fnmatch(secret, rule) or secret.startswith(f"{rule}/") for rule in let_in)


@pytest.fixture
def probe() -> list[str]:
    """The command of HEALTHCHECK, run by the interpreter of the tests."""
    command = dockerfile_command("HEALTHCHECK")
    words: list[str] = json.loads(command[command.index("CMD ") + 4 :])
    assert words[0] == "python"
    return [sys.executable, "-I", *words[1:]]


async def probed(probe: Sequence[str], port: int) -> int:
    # a proxy that nobody answers at: the probe must not ask it
    surroundings = {"LIFECYCLE_METRICS_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    process = await asyncio.create_subprocess_exec(
        *probe, env={**os.environ, **surroundings}, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def test_the_health_check_follows_healthz(probe: list[str]) -> None:
    now = [0.0]
    health = Health(hung_after_s=10.0, clock=lambda: now[0])
    health.expect("judge")
    async with serve(health, CollectorRegistry(), "127.0.0.1", 0) as port:
        assert await probed(probe, port) == 0
        now[0] = 11.0
        assert await probed(probe, port) == 1
        health.stepped("judge", False)
        assert await probed(probe, port) == 0
    assert await probed(probe, port) == 1, "nobody answers"
