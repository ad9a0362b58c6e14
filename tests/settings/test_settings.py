"""Settings: where they come from, which wins, and what a person reads when one is wrong."""

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consumers.settings import SETTINGS_FILE, ConfigManager, SettingsError, load_settings, mask_password
from consumers.toml import write_toml


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def refusal(home: Path, **overrides: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_settings(home, **overrides)
    assert "\n" not in str(caught.value)
    return caught.value


def test_without_any_setting_everything_lies_in_the_home(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.home == tmp_path
    assert settings.database_url.get_secret_value() == f"sqlite+aiosqlite:///{tmp_path}/store.sqlite"
    assert settings.log_path == tmp_path / "log.sqlite"
    assert settings.artifacts_path == tmp_path / "artifacts"
    assert (settings.partitions, settings.topic_prefix, settings.dead_letter_limit) == (
        4,
        "lifecycle.",
        10_000,
    )


def test_the_windows_of_the_design_are_the_defaults(tmp_path: Path) -> None:
    windows = load_settings(tmp_path).windows
    assert (windows.length_ms, windows.slack_ms, windows.grace_ms) == (60_000, 10_000, 30_000)
    assert windows.max_horizon_s == 2_678_400
    assert windows.memory_ms == windows.grace_ms


def test_the_file_beats_defaults_the_environment_beats_the_file_and_an_argument_beats_both(
    tmp_path: Path,
) -> None:
    write_toml(tmp_path / SETTINGS_FILE, {"partitions": 2, "batch_records": 20, "lease_s": 2.0})
    with environment(LIFECYCLE_PARTITIONS="3", LIFECYCLE_BATCH_RECORDS="30"):
        settings = load_settings(tmp_path, partitions=5)
    assert (settings.partitions, settings.batch_records, settings.lease_s) == (5, 30, 2.0)


def test_nested_settings_of_several_sources_are_merged_key_by_key(tmp_path: Path) -> None:
    write_toml(tmp_path / SETTINGS_FILE, {"windows": {"length_s": 1, "slack_s": 1, "grace_s": 1}})
    with environment(LIFECYCLE_WINDOWS__SLACK_S="2.5", LIFECYCLE_WINDOWS__GRACE_S="2"):
        windows = load_settings(tmp_path, windows={"grace_s": 3}).windows
    assert (windows.length_ms, windows.slack_ms, windows.grace_ms) == (1_000, 2_500, 3_000)


def test_an_argument_that_is_none_was_not_given(tmp_path: Path) -> None:
    assert load_settings(tmp_path, partitions=None).partitions == 4


def test_the_home_comes_from_the_environment_when_no_argument_names_it(tmp_path: Path) -> None:
    write_toml(tmp_path / SETTINGS_FILE, {"partitions": 7})
    with environment(LIFECYCLE_HOME=str(tmp_path)):
        settings = load_settings()
    assert (settings.home, settings.partitions) == (tmp_path, 7)


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    with environment(LIFECYCLE_HOME="", LIFECYCLE_PARTITIONS=""):
        settings = load_settings()
    assert (settings.home, settings.partitions) == (Path("lifecycle-home").absolute(), 4)


def test_a_file_in_place_of_the_home_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert "cannot be read: Not a directory" in str(refusal(tmp_path / "home"))


def test_a_relative_path_in_the_settings_lies_in_the_home(tmp_path: Path) -> None:
    assert (
        load_settings(tmp_path, log_path="elsewhere/log.sqlite").log_path == tmp_path / "elsewhere/log.sqlite"
    )
    assert load_settings(tmp_path, log_path=tmp_path.parent / "x").log_path == tmp_path.parent / "x"


def test_memory_of_its_own_replaces_the_grace(tmp_path: Path) -> None:
    assert load_settings(tmp_path, windows={"memory_s": 90}).windows.memory_ms == 90_000


@pytest.mark.parametrize(
    ("overrides", "key", "limit"),
    [
        ({"partitions": 0}, "partitions", "greater than or equal to 1"),
        ({"partitions": "many"}, "partitions", "valid integer"),
        ({"windows": {"length_s": -5}}, "windows.length_s", "greater than 0"),
        ({"windows": {"length_s": float("nan")}}, "windows.length_s", ""),
        ({"windows": {"slack_s": 0.0005}}, "windows.slack_s", "whole number of milliseconds"),
        ({"windows": {"max_horizon_s": 0}}, "windows.max_horizon_s", "greater than or equal to 1"),
        ({"dead_letter_limit": 0}, "dead_letter_limit", "greater than or equal to 1"),
        ({"topic_prefix": "a b"}, "topic_prefix", "pattern"),
        ({"log_level": "LOUD"}, "log_level", "'DEBUG'"),
        ({"windows": 7}, "windows", "must be a table"),
        ({"future_s": -1}, "future_s", "greater than or equal to 0"),
    ],
)
def test_a_wrong_value_gives_one_line_with_key_value_and_limit(
    tmp_path: Path, overrides: dict[str, Any], key: str, limit: str
) -> None:
    error = refusal(tmp_path, **overrides)
    assert error.key == key
    assert limit in error.limit
    assert str(error).startswith(f"{key} = ")


def test_a_wrong_variable_is_named_as_it_was_set(tmp_path: Path) -> None:
    with environment(LIFECYCLE_WINDOWS__LENGTH_S="0"):
        assert str(refusal(tmp_path)) == (
            "windows.length_s = '0': must be greater than 0 (from LIFECYCLE_WINDOWS__LENGTH_S)"
        )


def test_a_wrong_value_in_the_file_is_traced_to_the_file(tmp_path: Path) -> None:
    write_toml(tmp_path / SETTINGS_FILE, {"partitions": 0})
    assert str(refusal(tmp_path)).endswith("(from lifecycle.toml)")


def test_a_misspelt_key_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    assert "did you mean partitions?" in str(refusal(tmp_path, partitons=3))
    assert "did you mean length_s?" in str(refusal(tmp_path, windows={"lenght_s": 3}))
    with environment(LIFECYCLE_PARTITONS="3"):
        assert "did you mean LIFECYCLE_PARTITIONS?" in str(refusal(tmp_path))
    with environment(LIFECYCLE_WINDOWS__LENGHT_S="3"):
        assert "did you mean length_s?" in str(refusal(tmp_path))
    write_toml(tmp_path / SETTINGS_FILE, {"heartbeat": False})
    assert "did you mean heartbeats?" in str(refusal(tmp_path))


def test_a_file_that_is_not_toml_is_named_with_the_place_of_the_fault(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("partitions = \n", encoding="utf-8")
    error = refusal(tmp_path)
    assert error.key == str(tmp_path / SETTINGS_FILE)
    assert "line 1" in error.limit


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[windows\n"])
def test_unreadable_bytes_in_the_file_give_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SETTINGS_FILE).write_bytes(content)
    assert "is not TOML" in str(refusal(tmp_path))


def test_a_folder_in_place_of_the_file_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).mkdir()
    assert "cannot be read" in str(refusal(tmp_path))


def test_the_file_cannot_move_its_own_home(tmp_path: Path) -> None:
    write_toml(tmp_path / SETTINGS_FILE, {"home": "/elsewhere"})
    assert refusal(tmp_path).key == "home"


def test_a_table_given_as_plain_text_tells_how_to_set_its_keys(tmp_path: Path) -> None:
    with environment(LIFECYCLE_WINDOWS="sixty"):
        assert "LIFECYCLE_WINDOWS__KEY" in str(refusal(tmp_path))


def test_the_password_of_the_store_is_in_no_text(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, database_url="postgresql+asyncpg://me:hunter2@db/lifecycle")
    assert settings.database_url.get_secret_value().startswith("postgresql+asyncpg://me:hunter2@")
    assert settings.describe()["database_url"] == "postgresql+asyncpg://me:***@db/lifecycle"
    assert "hunter2" not in repr(settings) + str(settings) + str(settings.model_dump())


def test_a_wrong_url_is_refused_without_showing_it(tmp_path: Path) -> None:
    error = refusal(tmp_path, database_url="me:hunter2@db")
    assert error.value is None
    assert "hunter2" not in str(error)
    assert error.key == "database_url"


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+asyncpg"])
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("u:hunter2@h/db", "u:***@h/db"),
        (":hunter2@h", ":***@h"),
        ("u:hun/ter2@h/db", "u:***@h/db"),
        ("u:hun?ter2@h/db", "u:***@h/db"),
        ("u:hun@ter2@h/db", "u:***@h/db"),
        ("u:hun@t/er2@h:5432/db?sslmode=require", "u:***@h:5432/db?sslmode=require"),
        ("me@srv:hunter2@h/db", "me@srv:***@h/db"),
        ("u:hunter2@[::1]:5432/db?user=a@b", "u:***@[::1]:5432/db?user=a@b"),
        ("u:hunter2@h:abc/db", "u:***@h:abc/db"),
        ("h/db?user=u&password=hunter2", "h/db?user=u&password=***"),
        ("h/db?PassWord=hun@ter2&user=u", "h/db?PassWord=***&user=u"),
        ("h/db?passw%6Frd=hunter2", "h/db?passw%6Frd=***"),
        ("u:hun/ter2@h/db?sslpassword=hunter2&passfile=hunter2", "u:***@h/db?sslpassword=***&passfile=***"),
        # nothing of these is secret
        ("h:5432/db?user=me@srv", "h:5432/db?user=me@srv"),
        ("[::1]:5432/db?user=me@srv", "[::1]:5432/db?user=me@srv"),
        ("u@h:5432/db", "u@h:5432/db"),
    ],
)
def test_passwords_of_a_url_are_masked_wherever_they_stand_in_it(
    tmp_path: Path, driver: str, url: str, shown: str
) -> None:
    url, shown = f"{driver}://{url}", f"{driver}://{shown}"
    assert mask_password(url) == shown
    assert mask_password(f"cannot reach {url} now") == f"cannot reach {shown} now"
    assert load_settings(tmp_path, database_url=url).describe()["database_url"] == shown


def test_a_password_that_ends_nowhere_is_refused_without_showing_it(tmp_path: Path) -> None:
    error = refusal(tmp_path, database_url="postgresql://u:hun ter2@h/db")
    assert "hun" not in str(error)
    assert "without spaces" in str(error)
    spaced = f"sqlite+aiosqlite:///{tmp_path}/my store.sqlite"
    assert load_settings(tmp_path, database_url=spaced).describe()["database_url"] == spaced


def test_a_password_in_the_value_of_another_setting_is_not_shown(tmp_path: Path) -> None:
    error = refusal(tmp_path, log_level="postgresql://h/db?password=hunter2")
    assert "'postgresql://h/db?password=***'" in str(error)


def test_describe_names_every_setting_by_its_dotted_key(tmp_path: Path) -> None:
    described = load_settings(tmp_path, windows={"length_s": 86_400}).describe()
    assert described["windows.length_s"] == 86_400.0
    assert described["log_path"] == str(tmp_path / "log.sqlite")
    assert {key.split(".")[0] for key in described} == set(ConfigManager.model_fields)


def test_settings_do_not_change_while_a_process_runs(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    with pytest.raises(ValidationError):
        settings.partitions = 8  # type: ignore[misc]
    assert settings.partitions == 4


def test_what_describe_says_can_be_written_and_read_again(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, windows={"length_s": 86_400, "memory_s": 1.5}, heartbeats=False)
    write_toml(tmp_path / SETTINGS_FILE, settings.model_dump(exclude={"home", "database_url"}))
    assert load_settings(tmp_path) == settings


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_toml(tmp_path / SETTINGS_FILE, {"partitions": 2})
    with pytest.raises(SettingsError):
        write_toml(tmp_path / SETTINGS_FILE, {"partitions": [1, 2]})
    assert load_settings(tmp_path).partitions == 2
    assert [path.name for path in tmp_path.iterdir()] == [SETTINGS_FILE]


def test_a_settings_file_is_its_owner_s_from_its_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, modes = tmp_path / SETTINGS_FILE, []
    leftover = path.with_name(f".{path.name}.{os.getpid()}")
    leftover.touch(0o644)
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        modes.append(self.stat().st_mode & 0o777)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    open_file = os.open

    def opened(*arguments: Any) -> int:
        descriptor = open_file(*arguments)
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    mask = os.umask(0)
    try:
        write_toml(path, {"database_url": "postgresql://u:hunter2@h/db"})
    finally:
        os.umask(mask)
    assert modes == [0o600, 0o600]
    assert path.stat().st_mode & 0o777 == 0o600


scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
tables = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), scalars, max_size=4)


@given(
    values=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), scalars | tables, max_size=4)
)
def test_any_table_of_scalars_comes_back_from_toml_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    write_toml(path, values)
    assert tomllib.loads(path.read_text(encoding="utf-8")) == values
