"""The README's diagrams and documents are those that the code draws and accepts."""

import re
from pathlib import Path

import orjson
import pytest

from consumers.services.policies import SECTIONS, checked
from domain.experiments.status import EXPERIMENTS
from domain.registry.stages import STAGES
from domain.retraining.status import JOBS
from domain.transitions import mermaid

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "diagram",
    [mermaid(STAGES), mermaid(EXPERIMENTS), mermaid(JOBS)],
    ids=["versions", "experiments", "retraining jobs"],
)
def test_a_life_cycle_in_the_readme_is_the_one_in_the_code(diagram: str) -> None:
    assert f"```mermaid\n{diagram}```" in README


def test_the_policy_in_the_readme_is_accepted_as_it_stands() -> None:
    (document,) = re.findall(r"```json\n(.*?)```", README, flags=re.DOTALL)
    assert set(checked(orjson.loads(document))) == set(SECTIONS)
