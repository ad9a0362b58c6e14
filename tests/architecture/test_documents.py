"""What the documents say about files, settings and commands is true."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from consumers.settings import ConfigManager, KafkaSettings, WindowSettings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDS = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *RECORDS]
SECTIONS = ["## Context", "## Decision", "## Consequences", "## Alternatives considered"]


def _keys(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_readme_names_every_setting() -> None:
    named = set(re.findall(r"`\.?([a-z_]+(?:\.[a-z_]+)?)`", README))
    wanted = (_keys(ConfigManager) - {"windows", "kafka"}) | _keys(WindowSettings) | _keys(KafkaSettings)
    assert wanted - {name.rpartition(".")[2] for name in named} == set()


def test_the_readme_has_the_default_of_every_plain_setting() -> None:
    settings = ConfigManager()
    for name in ("topic_prefix", "partitions", "dead_letter_limit", "log_level"):
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
        assert str(getattr(settings, name)) in row


def test_decision_records_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_a_decision_record_has_the_template_s_sections_and_fits_a_page(record: Path) -> None:
    lines = record.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(f"# {record.name[:4]}. ")
    assert [line for line in lines if line.startswith("## ")] == SECTIONS
    assert len(lines) <= 60


def test_every_command_of_the_makefile_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) == set(phony.split())
