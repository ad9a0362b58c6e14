"""The files that make and run containers, as data."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "docker-compose.yml"
ENV_EXAMPLE = ROOT / "deploy/lifecycle.env.example"
RULES = ROOT / "deploy/prometheus/rules.yml"
SCRAPE = ROOT / "deploy/prometheus/scrape.example.yml"

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<how>[-?])(?P<rest>[^}]*))?\}")


def yaml_of(path: Path) -> Any:
    """The document, with anchors and merges resolved."""
    return YAML(typ="safe", pure=True).load(path)


@cache
def services() -> dict[str, dict[str, Any]]:
    """The services of the compose file."""
    found: dict[str, dict[str, Any]] = yaml_of(COMPOSE)["services"]
    return found


def ours() -> dict[str, dict[str, Any]]:
    """The services that run this project's image."""
    return {name: one for name, one in services().items() if "build" in one}


def lasting() -> dict[str, dict[str, Any]]:
    """The services that are meant to stay up."""
    return {name: one for name, one in services().items() if one["restart"] != "no"}


def variables_of(text: str) -> list[tuple[str, str, str]]:
    """Each `${NAME:-default}` or `${NAME:?message}`: name, `-`, `?` or nothing, and what follows."""
    return [(m["name"], m["how"] or "", m["rest"] or "") for m in _VARIABLE.finditer(text)]


def interpolated(value: object, given: Mapping[str, str]) -> str:
    """`value` as compose would pass it on with the variables `given`."""

    def one(match: re.Match[str]) -> str:
        name, how, rest = match["name"], match["how"], match["rest"] or ""
        if given.get(name):
            return given[name]
        if how == "?":
            raise KeyError(name)
        return rest

    return _VARIABLE.sub(one, str(value))


def env_example() -> dict[str, str]:
    """The example's variables."""
    lines = [line for line in ENV_EXAMPLE.read_text("utf-8").splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def dockerfile_command(keyword: str) -> str:
    """What follows `keyword` in the Dockerfile, its lines joined. The keyword must be there once."""
    text = DOCKERFILE.read_text("utf-8").replace("\\\n", " ")
    (found,) = re.findall(rf"^\s*{keyword}\s+(.*)$", text, re.MULTILINE)
    return str(found).strip()
