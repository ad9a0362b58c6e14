"""`lifecycle topics` on both engines: what is made, what is said to differ, and the exit codes."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.cli.faults import UNAVAILABLE, USAGE, WRONG
from tests.cli.commands import lifecycle
from tests.log.kafka_prefixed import delete_topics
from tests.servers.apart import apart


@pytest.fixture
def on_kafka(kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The settings of a deployment on Kafka, without topics; its prefix."""
    monkeypatch.setenv("LIFECYCLE_HOME", str(tmp_path))
    monkeypatch.setenv("LIFECYCLE_KAFKA__BOOTSTRAP", kafka)
    monkeypatch.setenv("LIFECYCLE_TOPIC_PREFIX", topic_prefix)
    yield topic_prefix
    apart(delete_topics(kafka, topic_prefix))


def test_topics_are_made_and_then_as_they_should_be(on_kafka: str) -> None:
    missing = lifecycle("topics", "check")
    assert missing.code == WRONG
    assert "lifecycle topics create makes what is missing" in missing.out
    made = lifecycle("topics", "create")
    assert (made.code, made.out.count("\n")) == (0, 1)
    assert made.out.startswith(f"made: {on_kafka}predictions, {on_kafka}outcomes")
    again = lifecycle("topics", "create")
    assert again.code == 0
    assert again.out.startswith(f"nothing to do, the topics are as they should be: {on_kafka}predictions")
    assert lifecycle("topics", "check").code == 0
    assert lifecycle("topics", "check", "--json").document == {"equal": True, "differences": []}


def test_every_difference_is_a_row_and_create_sets_what_it_can(
    on_kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lifecycle("topics", "create").code == 0
    monkeypatch.setenv("LIFECYCLE_FUTURE_S", "5")
    monkeypatch.setenv("LIFECYCLE_KAFKA__REPLICATION", "2")
    checked = lifecycle("topics", "check", "--json")
    assert checked.code == WRONG
    differences = checked.document["differences"]
    assert {each["setting"] for each in differences} == {"message.timestamp.after.max.ms", "replication"}
    assert len(differences) == 2 * 9
    assert differences[0] == {
        "topic": f"{on_kafka}dead-letter",
        "setting": "message.timestamp.after.max.ms",
        "expected": "5000",
        "found": "60000",
        "needed": True,
    }
    left = lifecycle("topics", "create")
    assert left.code == WRONG
    assert re.search(r"replication +2", left.out)
    changed = "changed message.timestamp.after.max.ms from 60000 to 5000: "
    assert changed + f"{on_kafka}dead-letter, " in left.out
    assert left.out.count("message.timestamp") == 1


def test_what_was_there_already_is_told_from_what_is_made(on_kafka: str) -> None:
    assert lifecycle("topics", "create").code == 0
    apart(delete_topics(os.environ["LIFECYCLE_KAFKA__BOOTSTRAP"], f"{on_kafka}dead-letter"))
    # brokers answer before all that they have heard of the topic is gone
    give_up = time.monotonic() + 30
    while not _missing(f"{on_kafka}dead-letter"):
        assert time.monotonic() < give_up
    made = lifecycle("topics", "create").out.splitlines()
    assert made[0] == f"made: {on_kafka}dead-letter"
    assert made[1].startswith(f"there already: {on_kafka}predictions, ")


def _missing(topic: str) -> bool:
    differences = lifecycle("topics", "check", "--json").document["differences"]
    return [each["found"] for each in differences if each["topic"] == topic] == [None]


def test_init_says_which_processes_to_start(
    on_kafka: str, pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFECYCLE_DATABASE_URL", pg_url)
    said = lifecycle("init").out
    assert f"topics {on_kafka}* are on " in said
    for worker in ("tally", "judge", "relay", "registry", "trainer"):
        assert f"  lifecycle run {worker}\n" in said
    assert said.endswith("then: lifecycle status\n")


def test_another_partition_count_is_never_changed(on_kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lifecycle("topics", "create").code == 0
    monkeypatch.setenv("LIFECYCLE_PARTITIONS", "5")
    assert "has 4 partitions, 5 were asked for" in lifecycle("topics", "create").refuses(WRONG)
    differing = lifecycle("topics", "check", "--json").document["differences"]
    assert {(each["setting"], each["found"]) for each in differing} == {("partitions", "4")}


@pytest.mark.parametrize(
    "address, why",
    [("127.0.0.1:1", "nothing listens there"), ("no-such-host.invalid:9092", "the host is not known")],
)
def test_brokers_that_do_not_answer_are_unavailable(
    on_kafka: str, monkeypatch: pytest.MonkeyPatch, address: str, why: str
) -> None:
    monkeypatch.setenv("LIFECYCLE_KAFKA__BOOTSTRAP", address)
    monkeypatch.setenv("LIFECYCLE_KAFKA__REQUEST_TIMEOUT_S", "12")
    said = lifecycle("topics", "check")
    assert said.code == UNAVAILABLE
    line = said.err.splitlines()[-1]
    assert "no broker answers: check kafka.bootstrap" in line
    assert line.endswith(f"({address}: {why})")


def test_the_embedded_log_has_topics_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "lifecycle init" in lifecycle("topics", "check", "--home", home).refuses(USAGE)
    assert lifecycle("topics", "create", "--home", home).code == 0
    assert lifecycle("topics", "check", "--home", home).code == 0
    assert lifecycle("init", "--home", home).code == 0
    (home / "lifecycle.toml").write_text("partitions = 2\n")
    said = lifecycle("topics", "check", "--home", home, "--json")
    assert said.code == WRONG
    assert [each["setting"] for each in said.document["differences"]] == ["partitions", "partitions"]


def test_the_embedded_log_has_nothing_to_skip(template: Path) -> None:
    by = ("--actor", "ada", "--reason", "a test needs it", "--home", template)
    order = ("topics", "skip", "lifecycle.predictions", "--partition", "0", "--from", "1", "--to", "2", *by)
    assert "the embedded log has no batches" in lifecycle(*order).refuses(WRONG)
    assert lifecycle("topics", "skipped", "--home", template).out == "nothing is skipped\n"


def test_what_can_be_read_is_not_skipped(on_kafka: str, pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFECYCLE_DATABASE_URL", pg_url)
    assert lifecycle("init").code == 0
    topic = f"{on_kafka}predictions"
    by = ("--actor", "ada", "--reason", "a test needs it")
    order = ("topics", "skip", topic, "--partition", "0", "--to", "2", *by, "--from")
    assert "offset 0 is not damaged" in lifecycle(*order, "0").refuses(WRONG)
    assert "outside the log" in lifecycle(*order, "1").refuses(WRONG)
    assert lifecycle("topics", "skipped", "--json").document == []
