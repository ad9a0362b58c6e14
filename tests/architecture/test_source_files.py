"""Rules of the source text that no linter of ours knows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400
VAGUE_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
# A path of one machine works on that machine only. Spelt so that this file passes its own test.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:" + "home|Users|root|" + "work" + r")/[A-Za-z0-9_.]+")
FOLDERS = ("consumers", "domain", "schemas", "sdk", "tests", "examples", "bench", "docs", "deploy")
TEXT_SUFFIXES = {".py", ".toml", ".md", ".mako", ".ini", ".cfg", ".yml", ".yaml", ".html", ".j2", ""}


def _files() -> list[Path]:
    """The sources, without what a person or a tool left beside them."""
    inside = (path for name in FOLDERS for path in (ROOT / name).rglob("*") if "__pycache__" not in str(path))
    return sorted(path for path in (*ROOT.iterdir(), *inside) if path.is_file() and not path.is_symlink())


@pytest.fixture(scope="module")
def files() -> list[Path]:
    return _files()


def test_no_source_file_is_longer_than_four_hundred_lines(files: list[Path]) -> None:
    # a migration is one step, written by a tool and never read as a whole
    sources = [path for path in files if path.suffix == ".py" and path.parent.name != "versions"]
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    too_long = {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > MAX_LINES}
    assert too_long == {}, "split by noun or verb"


def test_no_module_has_a_name_that_says_nothing(files: list[Path]) -> None:
    assert [str(path.relative_to(ROOT)) for path in files if path.name in VAGUE_NAMES] == []


def test_no_file_names_a_path_of_one_machine(files: list[Path]) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        if path.suffix in TEXT_SUFFIXES
        for match in MACHINE_PATH.finditer(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_every_test_folder_is_a_package(files: list[Path]) -> None:
    """Without its __init__.py a test folder named like a package of ours would shadow it."""
    folders = {path.parent for path in files if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")}
    assert [
        str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").exists()
    ] == []


def test_schemas_import_each_other_relatively(files: list[Path]) -> None:
    """The SDK ships `schemas` under another name through a symlink: an absolute import breaks there."""
    absolute = re.compile(r"^\s*(?:from|import) schemas\b", re.MULTILINE)
    sources = [path for path in files if path.suffix == ".py" and path.is_relative_to(ROOT / "schemas")]
    assert [str(path.relative_to(ROOT)) for path in sources if absolute.search(path.read_text("utf-8"))] == []
