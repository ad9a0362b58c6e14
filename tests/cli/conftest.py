import os
import shutil
from pathlib import Path

import pytest

from tests.cli.commands import lifecycle


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have settings of their own, and a terminal of any width."""
    for name in os.environ:
        if name.upper().startswith("LIFECYCLE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment with three versions of one model: 1 archived, 2 in PRODUCTION, 3 in STAGING."""
    folder = tmp_path_factory.mktemp("template")
    home = folder / "home"
    assert lifecycle("init", "--home", home).code == 0
    by = ("--actor", "ada", "--reason", "a test needs it", "--home", home)
    for version in ("1", "2", "3"):
        (folder / version).mkdir()
        (folder / version / "model.txt").write_text(f"model {version}")
        said = lifecycle("registry", "register", "brent", "--artifact", folder / version, *by)
        assert said.code == 0, said.err
    assert lifecycle("registry", "promote", "brent", "1", *by).code == 0
    assert lifecycle("registry", "promote", "brent", "2", "--expect", "1", *by).code == 0
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "home"))
