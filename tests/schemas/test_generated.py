"""The committed schemas are those of the models, describe the golden payloads, and break nothing released."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from schemas.asyncapi import asyncapi
from schemas.compatibility import breaking_changes
from schemas.generate import CONTRACT_VERSION, files, main, stale, write
from schemas.jsonschema import GENERATED, RELEASED, event_schemas, load
from schemas.topics import TOPIC_EVENTS, Topics

GOLDEN = Path(__file__).parent / "golden"


def test_the_committed_files_are_up_to_date() -> None:
    assert stale(files(), GENERATED) == []
    assert main(["--check"]) == 0


def test_check_names_stale_files_and_writing_mends_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = files()
    write(wanted, tmp_path)
    (tmp_path / "OutcomeObserved.json").write_text("{}")
    (tmp_path / "PredictionMade.json").unlink()
    (tmp_path / "Forgotten.json").write_text("{}")
    assert main(["--check"], tmp_path) == 1
    assert "stale: Forgotten.json, OutcomeObserved.json, PredictionMade.json;" in capsys.readouterr().err
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


@pytest.mark.parametrize("name", sorted(load(RELEASED)))
def test_no_released_schema_is_broken_by_the_models(name: str) -> None:
    assert breaking_changes(load(RELEASED)[name], event_schemas()[name]) == []


def test_every_event_is_released() -> None:
    assert load(RELEASED).keys() == event_schemas().keys()


@pytest.mark.parametrize("name", sorted(event_schemas()))
def test_golden_payloads_satisfy_their_json_schema(name: str) -> None:
    schema = event_schemas()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((GOLDEN / f"{name}.json").read_bytes()), schema)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


def resolve(document: Any, reference: str) -> Any:
    root, *parts = reference.split("/")
    assert root == "#", reference
    for part in parts:
        document = document[part]
    return document


DOCUMENT = asyncapi(CONTRACT_VERSION)


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    found = references(DOCUMENT)
    assert len(found) > 40
    for reference in found:
        assert isinstance(resolve(DOCUMENT, reference), dict)


def test_the_asyncapi_document_has_every_topic_and_what_the_standard_requires() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert addresses == {spec.name for spec in Topics().specs(1)}
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])


def test_every_topic_has_someone_who_writes_it() -> None:
    written = {
        operation["channel"]["$ref"].rpartition("/")[2]
        for operation in DOCUMENT["operations"].values()
        if operation["action"] == "send"
    }
    assert written == {*TOPIC_EVENTS, "dead-letter"}


def test_lifecycle_messages_have_cloudevents_headers_and_hot_ones_have_none() -> None:
    messages = DOCUMENT["components"]["messages"]
    with_headers = {name for name, message in messages.items() if "headers" in message}
    assert with_headers == messages.keys() - {"PredictionMade", "OutcomeObserved", "Heartbeat"}
    assert all("kafka" in messages[event.__name__]["bindings"] for event in TOPIC_EVENTS.values())
