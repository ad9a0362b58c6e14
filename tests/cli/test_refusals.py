"""Whatever is wrong is one line on stderr that says what to do, and the exit code of its kind."""

from pathlib import Path

import orjson
import pytest

from consumers.cli.faults import UNAVAILABLE, USAGE, WRONG, explain
from consumers.services.pinning import TopicReplaced
from consumers.store import errors as store
from schemas import errors as log
from tests.cli.commands import lifecycle

BY = ("--actor", "ada", "--reason", "because")
NO_MODEL = "has no model nope"


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        (("nope",), USAGE, "No such command 'nope'"),
        (("status", "--hom", "x"), USAGE, "Did you mean --home?"),
        (("run", "nobody"), USAGE, "'nobody' is not one of 'all'"),
        (("run", "tally", "--partitions", "0,x"), USAGE, "'0,x' is not a list of numbers such as 0,2"),
        (("run", "tally", "--partitions", "4"), USAGE, "partitions are 0 to 3"),
        (("run", "tally", "--partitions", "-1"), USAGE, "partitions are 0 to 3"),
        (("run", "judge", "--partitions", "0"), USAGE, "--partitions is for the tally worker"),
        (("decision", "list", "--kind", "whim"), USAGE, "'whim' is not one of 'drift'"),
        (("decision", "list", "--limit", "0"), USAGE, "0 is not in the range x>=1"),
        (("decision", "show", "nope"), WRONG, "there is no decision nope"),
        (("verify", "nope"), WRONG, "there is no decision nope"),
        (("experiment", "show", "nope"), WRONG, "there is no experiment nope"),
        (("experiment", "cancel", "nope"), WRONG, "there is no experiment nope"),
        (("dead-letter", "show", "0"), WRONG, "there is no dead letter 0"),
        (("policy", "show", "nope"), WRONG, "nope has no policy"),
        (("retraining", "request", "nope", "--reason", "x"), WRONG, "nope has no PRODUCTION version"),
        (("registry", "list", "nope"), WRONG, NO_MODEL),
        (("registry", "history", "nope"), WRONG, NO_MODEL),
        (("registry", "at", "nope", "--time", "2001-09-11"), WRONG, NO_MODEL),
        (("registry", "at", "brent", "--time", "soon"), USAGE, "'soon' is not an ISO 8601 date or time"),
        (("registry", "show", "brent", "9"), WRONG, "no version 9 of brent"),
        (("registry", "freeze", "nope"), WRONG, "there is no model nope"),
        (("registry", "promote", "nope", "1", *BY), WRONG, "there is no model nope"),
        (("registry", "promote", "brent", "9", "--expect", "2", *BY), WRONG, "no version 9 of brent"),
        (("registry", "promote", "brent", "3", *BY), WRONG, "expected to be empty and is version 2"),
        (
            ("registry", "promote", "brent", "3", "--expect", "1", *BY),
            WRONG,
            "expected to be version 1 and is version 2",
        ),
        (("registry", "promote", "brent", "3", "--expect", "2"), USAGE, "Missing option '--actor'"),
        (
            ("registry", "restore", "brent", "3", "--expect", "2", *BY),
            WRONG,
            "version 3 is in STAGING; only an ARCHIVED version can be restored",
        ),
        (("registry", "register", "brent", "--artifact", "/nowhere", *BY), USAGE, "does not exist"),
        (("retraining", "request", "brent", "--reason", "x" * 1_025), USAGE, "reason: String should have"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_order_is_refused_in_one_line(
    template: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    where = () if arguments[0] == "nope" else ("--home", template)
    assert says in lifecycle(*arguments, *where).refuses(code)


def test_refused_orders_change_nothing(home: Path) -> None:
    before = lifecycle("registry", "history", "brent", "--home", home, "--json").document
    lifecycle("registry", "promote", "brent", "3", "--expect", "1", *BY, "--home", home).refuses(WRONG)
    lifecycle("registry", "restore", "brent", "3", "--expect", "2", *BY, "--home", home).refuses(WRONG)
    assert lifecycle("registry", "history", "brent", "--home", home, "--json").document == before


@pytest.mark.parametrize(
    "document, says",
    [
        (b"{", "is not JSON"),
        (b"[1]", "policy must be a JSON object, not list"),
        (orjson.dumps({"drifft": {}}), "policy.drifft must be one of drift, retrain"),
        (
            orjson.dumps({"drift": {"errors": {"delta": 2}}}),
            "policy.drift.errors.delta must be > 0 and < 1, not 2",
        ),
        (orjson.dumps({"training": {"command": []}}), "policy.training.command"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_field_and_limit(
    template: Path, tmp_path: Path, document: bytes, says: str
) -> None:
    file = tmp_path / "policy.json"
    file.write_bytes(document)
    said = lifecycle("policy", "set", "brent", file, "--home", template)
    assert says in said.refuses(USAGE)


@pytest.mark.parametrize("name", ["", "..", "a/b", "two\nlines", "x" * 129])
def test_a_model_name_that_cannot_be_a_folder_or_travel_is_refused(
    template: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "model.txt").touch()
    said = lifecycle("registry", "register", name, "--artifact", tmp_path, *BY, "--home", template)
    assert "must be 1 to 128 printable characters" in said.refuses(USAGE)


def test_a_reference_that_is_not_parquet_is_a_wrong_argument(template: Path, tmp_path: Path) -> None:
    rubbish = tmp_path / "model.txt"
    rubbish.touch()
    order = ("registry", "register", "brent", "--artifact", tmp_path, "--reference", rubbish, *BY)
    said = lifecycle(*order, "--home", template)
    assert f"{rubbish}: is not a readable Parquet file" in said.refuses(USAGE)


def test_a_home_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    for command in (("status",), ("replay",), ("reconcile",), ("registry", "list")):
        said = lifecycle(*command, "--home", tmp_path / "missing")
        assert "lifecycle init" in said.refuses(USAGE)
    assert not (tmp_path / "missing").exists()


def test_a_home_without_tables_says_what_to_do(tmp_path: Path) -> None:
    assert "lifecycle init" in lifecycle("status", "--home", tmp_path).refuses(WRONG)


@pytest.mark.parametrize("command", [("init",), ("run", "judge"), ("demo",)])
def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    said = lifecycle(*command, "--home", tmp_path / "file" / "home")
    assert said.code in (USAGE, UNAVAILABLE)
    assert str(tmp_path / "file" / "home") in said.err.splitlines()[-1]
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "text, says",
    [
        (
            "partitons = 2\n",
            "partitons: is not a setting; did you mean partitions? (from lifecycle.toml)",
        ),
        ("[windows]\nlenght_s = 1\n", "did you mean length_s?"),
        ("partitions = 0\n", "partitions = 0: must be greater than or equal to 1"),
        ("[windows\n", "is not TOML"),
    ],
)
def test_a_wrong_settings_file_is_named_with_the_key(home: Path, text: str, says: str) -> None:
    (home / "lifecycle.toml").write_text(text)
    assert says in lifecycle("status", "--home", home).refuses(USAGE)


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("LIFECYCLE_PARTITIONS", "many", "partitions = 'many': must be a valid integer"),
        ("LIFECYCLE_WINDOWS__LENGTH_S", "-1", "windows.length_s"),
        ("LIFECYCLE_LOG_LEVEL", "LOUD", "log_level = 'LOUD'"),
        ("LIFECYCLE_PARTITONS", "2", "did you mean LIFECYCLE_PARTITIONS?"),
    ],
)
def test_a_wrong_variable_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    line = lifecycle("status", "--home", home).refuses(USAGE)
    assert says in line
    assert name in line


@pytest.mark.parametrize("file", ["store.sqlite", "log.sqlite"])
@pytest.mark.parametrize("command", [("status",), ("replay",), ("reconcile",), ("run", "judge"), ("init",)])
def test_a_file_of_rubbish_is_unavailable_and_stays_as_it_is(
    home: Path, file: str, command: tuple[str, ...]
) -> None:
    for beside in home.glob(f"{file}-*"):
        beside.unlink()
    rubbish = bytes(range(256)) * 100
    (home / file).write_bytes(rubbish)
    line = lifecycle(*command, "--home", home).refuses(UNAVAILABLE)
    assert "unavailable" in line
    assert (home / file).read_bytes() == rubbish


@pytest.mark.parametrize(
    "error, code",
    [
        (store.StoreUnavailable("x"), UNAVAILABLE),
        (store.StoreConflict("x"), UNAVAILABLE),
        (log.LogUnavailable("kafka:9092", "x"), UNAVAILABLE),
        (log.LogStuck(120, "x"), UNAVAILABLE),
        (store.InvalidStoreUrl("x", "x"), USAGE),
        (store.DriverMissing("x", "x"), USAGE),
        (store.StoreRefused("x"), USAGE),
        (store.DeploymentMismatch("partitions", 4, 8), USAGE),
        (log.LogRefused("kafka:9092", "wrong password"), USAGE),
        (store.SchemaMismatch("x", None, "0001", ahead=False), WRONG),
        (store.NotFound("model", "x"), WRONG),
        (log.UnknownTopic("x"), WRONG),
        (log.UnreadableBatch("kafka:9092", "t", 0, 1, 2, "crc"), WRONG),
        (TopicReplaced("x", missing=True), WRONG),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_family_of_errors_has_its_exit_code(error: Exception, code: int) -> None:
    known = explain(error)
    assert known is not None
    assert known == (str(error), code)


@pytest.mark.parametrize("bootstrap", [" , ", "kafka:abc", "http://kafka:9092", ":9092"])
def test_brokers_that_are_no_addresses_are_a_wrong_setting(
    home: Path, monkeypatch: pytest.MonkeyPatch, bootstrap: str
) -> None:
    monkeypatch.setenv("LIFECYCLE_KAFKA__BOOTSTRAP", bootstrap)
    line = lifecycle("topics", "check", "--home", home).refuses(USAGE)
    assert "kafka.bootstrap" in line
    assert "must be addresses such as kafka-1:9092" in line
    assert "(from LIFECYCLE_KAFKA__BOOTSTRAP)" in line


def test_without_brokers_the_log_is_the_embedded_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFECYCLE_KAFKA__BOOTSTRAP", "")
    assert lifecycle("topics", "check", "--home", home).code == 0
    (home / "lifecycle.toml").write_text('[kafka]\nbootstrap = ""\n')
    assert lifecycle("topics", "check", "--home", home).code == 0


@pytest.mark.parametrize(
    "name, value, protocols",
    [
        ("sasl_password", "hunter2", "SASL_PLAINTEXT or SASL_SSL"),
        ("sasl_username", "ada", "SASL_PLAINTEXT or SASL_SSL"),
        ("ca_file", "/ca.pem", "SSL or SASL_SSL"),
    ],
)
def test_a_setting_that_the_protocol_does_not_use_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, protocols: str
) -> None:
    monkeypatch.setenv("LIFECYCLE_KAFKA__BOOTSTRAP", "kafka:9092")
    monkeypatch.setenv(f"LIFECYCLE_KAFKA__{name.upper()}", value)
    line = lifecycle("topics", "check", "--home", home).refuses(USAGE)
    assert f"{name} has no effect with security_protocol PLAINTEXT" in line
    assert f"set kafka.security_protocol to {protocols}" in line
    assert f"LIFECYCLE_KAFKA__{name.upper()}" in line
    assert "hunter2" not in line


def test_a_setting_that_differs_from_the_deployment_s_is_traced_to_its_source(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    differs = "this deployment was set up with 4, and its rows depend on it"
    (home / "lifecycle.toml").write_text("partitions = 8\n")
    line = lifecycle("status", "--home", home).refuses(USAGE)
    assert f"partitions = 8: {differs} (from lifecycle.toml)" in line
    monkeypatch.setenv("LIFECYCLE_PARTITIONS", "9")
    line = lifecycle("status", "--home", home).refuses(USAGE)
    assert f"partitions = 9: {differs} (from LIFECYCLE_PARTITIONS)" in line


def test_a_default_that_differs_from_the_deployment_s_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFECYCLE_WINDOWS__LENGTH_S", "5")
    assert lifecycle("init", "--home", tmp_path).code == 0
    monkeypatch.delenv("LIFECYCLE_WINDOWS__LENGTH_S")
    line = lifecycle("status", "--home", tmp_path).refuses(USAGE)
    assert "windows.length_s = 60: this deployment was set up with 5" in line
    assert line.endswith("(from the defaults)")


def test_a_database_out_of_reach_is_named_as_it_was_written_and_without_its_password(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFECYCLE_DATABASE_URL", "postgresql://ada:hunter2@127.0.0.1:1/db")
    line = lifecycle("status", "--home", home).refuses(UNAVAILABLE)
    assert "127.0.0.1:1" in line
    assert "check database_url" in line
    monkeypatch.setenv("LIFECYCLE_DATABASE_URL", "mysql://ada:hunter2@127.0.0.1:1/db")
    assert "mysql://ada:***@127.0.0.1:1/db" in lifecycle("status", "--home", home).refuses(USAGE)
