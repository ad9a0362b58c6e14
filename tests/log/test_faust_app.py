"""The Faust application: what kafka.md binds it to, and the same credentials as every other client."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from consumers.log.faust_app import faust_app
from consumers.log.kafka_client import connection
from consumers.settings import KafkaSettings


def test_its_settings_lose_no_event_and_create_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = faust_app(KafkaSettings(bootstrap="one:9092, two:9093"), "lifecycle.registry")
    conf = app.conf
    assert conf.id == "lifecycle.registry"
    assert [str(url) for url in conf.broker] == ["kafka://one:9092", "kafka://two:9093"]
    assert (conf.topic_allow_declare, conf.topic_disable_leader, conf.web_enabled) == (False, True, False)
    assert (conf.stream_wait_empty, conf.broker_commit_interval) == (True, 1.0)
    assert conf.broker_session_timeout < conf.broker_rebalance_timeout < conf.broker_request_timeout
    assert conf.consumer_auto_offset_reset == "earliest"
    asyncio.run(app.on_first_start())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"security_protocol": "SSL"},
        {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"},
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256"},
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"},
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "oauth_token_file": "/token"},
    ],
)
async def test_it_connects_as_every_other_client(settings: dict[str, Any]) -> None:
    named = {"sasl_username": "ada", "sasl_password": "secret"} if "sasl_mechanism" in settings else {}
    kafka = KafkaSettings(bootstrap="one:9092", **{**settings, **named})
    ours = connection(kafka)
    theirs = dict(credentials_to_aiokafka_auth(faust_app(kafka, "g").conf.broker_credentials))
    for name, value in theirs.items():
        if name in ("ssl_context", "sasl_oauth_token_provider"):
            assert type(value) is type(ours[name])
        else:
            assert value == ours[name]
    assert theirs["security_protocol"] == kafka.security_protocol
    if kafka.sasl_mechanism == "OAUTHBEARER":
        assert theirs["sasl_oauth_token_provider"] is not None
    elif kafka.sasl_mechanism:
        assert (theirs["sasl_plain_username"], theirs["sasl_plain_password"]) == ("ada", "secret")
