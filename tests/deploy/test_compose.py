"""The compose file: its schema, its pins, its hardening, and that what it starts exists."""

import json
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from pydantic import BaseModel

from consumers.cli.main import cli
from consumers.settings import ConfigManager, KafkaSettings, WindowSettings, load_settings
from tests.deploy.files import (
    COMPOSE,
    ENV_EXAMPLE,
    env_example,
    interpolated,
    lasting,
    ours,
    services,
    variables_of,
    yaml_of,
)

TEXT = COMPOSE.read_text("utf-8")
GIVEN = {**env_example(), "POSTGRES_PASSWORD": "a-Password_1"}
WORKERS = ("tally", "judge", "relay", "registry", "trainer")


@pytest.fixture(scope="module")
def schema() -> Any:
    """The Compose specification's, as check-jsonschema ships it: read as a file, for its command line wants
    a newer click than faust-streaming allows."""
    path = "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
    return json.loads(Path(str(distribution("check-jsonschema").locate_file(path))).read_text("utf-8"))


def faults(schema: Any, document: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def test_the_compose_specification_allows_it(schema: Any) -> None:
    assert faults(schema, yaml_of(COMPOSE)) == []


def test_the_specification_would_refuse_a_misspelt_key(schema: Any) -> None:
    document = yaml_of(COMPOSE)
    document["services"]["tally"]["depends_onn"] = {}
    assert any("depends_onn" in fault for fault in faults(schema, document))


@pytest.mark.parametrize("name", services())
def test_every_image_is_pinned(name: str) -> None:
    image = interpolated(services()[name]["image"], GIVEN)
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?", image), image


def test_there_is_a_service_for_every_process_and_each_parses_as_a_command() -> None:
    commands = {name: one["command"] for name, one in ours().items()}
    assert {name: command for name, command in commands.items() if command[0] == "run"} == {
        worker: ["run", worker] for worker in WORKERS
    }
    for words in commands.values():
        _parse(cli, words)


def _parse(group: click.Command, words: list[str]) -> None:
    """Raises click.UsageError for words that the command line does not take. Runs nothing."""
    context = group.make_context("lifecycle", list(words))
    while isinstance(group, click.Group):
        _, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        group, context = command, command.make_context("lifecycle", rest, parent=context)


def test_a_word_that_is_no_command_would_not_parse() -> None:
    with pytest.raises(click.UsageError):
        _parse(cli, ["run", "taly"])
    with pytest.raises(click.UsageError):
        _parse(cli, ["inti"])


@pytest.mark.parametrize("name", lasting())
def test_what_stays_up_is_watched_restarted_and_given_time_to_end(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD", "no shell"
    assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()
    assert int(service["stop_grace_period"].removesuffix("s")) >= 15


def test_workers_wait_for_the_migration_and_the_migration_for_what_it_needs() -> None:
    found = services()
    for worker in WORKERS:
        assert found[worker]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert found["migrate"]["depends_on"] == {
        "topics": {"condition": "service_completed_successfully"},
        "postgres": {"condition": "service_healthy"},
    }
    assert found["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    for name in ("topics", "migrate"):
        assert (found[name]["restart"], found[name]["healthcheck"]) == ("no", {"disable": True})


@pytest.mark.parametrize("name", services())
def test_no_service_has_more_rights_than_it_needs(name: str) -> None:
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert "network_mode" not in service
    # the broker's image writes its configuration into itself
    assert service.get("read_only", False) == (name != "kafka")
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), "open to this machine only"
    assert all(not str(volume).startswith(("/", ".", "~")) for volume in service.get("volumes", ()))


@pytest.mark.parametrize("name", ours())
def test_every_variable_is_a_setting_that_the_service_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = ours()[name]["environment"]
    for key, value in environment.items():
        assert _is_setting(key), key
        monkeypatch.setenv(key, interpolated(value, GIVEN))
    settings = load_settings()
    assert settings.on_kafka
    assert settings.partitions == ConfigManager.model_fields["partitions"].default
    assert settings.topic_prefix == ConfigManager.model_fields["topic_prefix"].default
    assert settings.metrics_port == 9464
    assert "a-Password_1" in settings.database_url.get_secret_value()


def _is_setting(variable: str) -> bool:
    prefix, _, key = variable.partition("_")
    outer, _, inner = key.lower().partition("__")
    tables: dict[str, type[BaseModel]] = {"windows": WindowSettings, "kafka": KafkaSettings}
    table = tables.get(outer)
    known = inner in table.model_fields if table and inner else outer in ConfigManager.model_fields
    return prefix == "LIFECYCLE" and known


def test_a_setting_that_the_caller_gives_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**GIVEN, "LIFECYCLE_PARTITIONS": "8", "LIFECYCLE_WINDOWS__LENGTH_S": "5"}
    for key, value in ours()["tally"]["environment"].items():
        monkeypatch.setenv(key, interpolated(value, given))
    settings = load_settings()
    assert (settings.partitions, settings.windows.length_s) == (8, 5)


def test_passwords_are_the_caller_s_to_set_and_have_no_default() -> None:
    found = {name: (how, rest) for name, how, rest in variables_of(TEXT)}
    secrets = {name: found[name] for name in found if re.search("PASSWORD|SECRET", name)}
    assert set(secrets) == {"POSTGRES_PASSWORD", "S3_SECRET_KEY"}
    assert secrets["POSTGRES_PASSWORD"][0] == "?"
    assert secrets["S3_SECRET_KEY"] == ("-", "")
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        interpolated(services()["postgres"]["environment"]["POSTGRES_PASSWORD"], env_example())
    holders = {name for name, one in services().items() if "POSTGRES_PASSWORD" in str(one["environment"])}
    assert holders == {*ours(), "postgres"}


def test_the_example_names_every_variable_and_no_other_and_holds_no_secret() -> None:
    example = env_example()
    optional = {"KAFKA_HEAP_OPTS"}
    assert set(example) == {name for name, _, _ in variables_of(TEXT)} - optional
    assert [name for name in example if re.search("PASSWORD|SECRET|ACCESS_KEY", name) and example[name]] == []
    assert {name for name in example if name.startswith("LIFECYCLE_") and not _is_setting(name)} == set()
    defaults = {name: rest for name, how, rest in variables_of(TEXT) if how == "-"}
    for name, value in example.items():
        assert value == defaults.get(name, ""), name


def test_the_copy_that_holds_passwords_is_not_kept() -> None:
    assert ENV_EXAMPLE.name.removesuffix(".example") == "lifecycle.env"
    ignored = (COMPOSE.parent / ".gitignore").read_text("utf-8").splitlines()
    assert "/deploy/lifecycle.env" in ignored


def test_artifacts_are_one_folder_for_everyone_who_reads_or_writes_them() -> None:
    homes = {name: one["volumes"] for name, one in ours().items()}
    assert set(map(tuple, homes.values())) == {("home:/var/lib/lifecycle",)}
    assert services()["s3"]["profiles"] == ["s3"], "prepared, not used"
