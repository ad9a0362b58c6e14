"""Log lines: their shape, their level, and what never stands in them."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from consumers.logger import LoggerService, configure, get_logger


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    handlers, configuration = list(logging.getLogger().handlers), structlog.get_config()
    yield
    structlog.configure(**configuration)
    logging.getLogger().handlers = handlers


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_action_first(stream: io.StringIO) -> None:
    configure("INFO", stream)
    get_logger("tally").info("window.closed", rows=3, message="two partitions\nare done")
    (line,) = lines(stream)
    assert list(line)[:4] == ["action", "level", "timestamp", "component"]
    assert (line["action"], line["level"], line["component"], line["rows"]) == (
        "window.closed",
        "info",
        "tally",
        3,
    )
    assert line["timestamp"].endswith("Z")


def test_lines_go_to_stderr_and_leave_stdout_to_results(capsys: pytest.CaptureFixture[str]) -> None:
    LoggerService("INFO").get_logger("judge").warning("decision.repeated")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["action"] == "decision.repeated"


def test_a_process_that_configured_nothing_keeps_its_stdout_clean_too() -> None:
    program = "from consumers.logger import get_logger; get_logger('x').info('hello')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["action"] == "hello"


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    configure("WARNING", stream)
    log = get_logger("tally")
    log.info("quiet")
    log.warning("loud")
    assert [line["action"] for line in lines(stream)] == ["loud"]


def test_a_logger_taken_before_configuration_follows_it(stream: io.StringIO) -> None:
    log = get_logger("early")
    configure("INFO", stream)
    log.info("started")
    assert lines(stream)[0]["component"] == "early"


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        LoggerService("LOUD")  # type: ignore[arg-type]


def test_secrets_are_masked_by_name_by_type_and_inside_text(stream: io.StringIO) -> None:
    configure("INFO", stream)
    get_logger("store").info(
        "store.opened",
        url="postgresql+asyncpg://me:hunter2@db/x",
        api_token="hunter2",
        key=SecretStr("hunter2"),
        nested={"password": "hunter2", "list": ["s3://me:hunter2@bucket", SecretStr("hunter2")]},
    )
    assert "hunter2" not in stream.getvalue()
    assert lines(stream)[0]["url"] == "postgresql+asyncpg://me:***@db/x"


@pytest.mark.parametrize(
    "url", ["postgresql://u:hun/ter2@h/db", "postgresql://h/db?user=u&password=hun/ter2"]
)
def test_a_password_is_masked_wherever_a_url_has_it(stream: io.StringIO, url: str) -> None:
    configure("INFO", stream)
    get_logger("x").info("store.away", message=f"{url} does not answer", url=url)
    (line,) = lines(stream)
    assert line["url"].startswith("postgresql://")
    assert "ter2" not in str(line)


def test_a_password_in_an_exception_is_masked_too(stream: io.StringIO) -> None:
    configure("INFO", stream)
    try:
        raise ConnectionError("no answer from postgresql://me:hunter2@db/x")
    except ConnectionError:
        get_logger("store").exception("store.lost")
    (line,) = lines(stream)
    assert "ConnectionError: no answer from postgresql://me:***@db/x" in line["exception"]


def test_a_value_without_a_json_form_is_written_as_text(stream: io.StringIO) -> None:
    configure("INFO", stream)
    get_logger("x").info("odd", value=object, number=float("inf"))
    assert lines(stream)[0]["value"] == "<class 'object'>"


def test_text_that_is_no_text_is_written_escaped(stream: io.StringIO) -> None:
    configure("INFO", stream)
    get_logger("tally").info("odd", message="half \ud800 of it")
    assert lines(stream)[0]["message"] == "half \ud800 of it"


def test_lines_of_other_libraries_have_the_same_shape(stream: io.StringIO) -> None:
    configure("DEBUG", stream)
    logging.getLogger("some.library").warning("pool of %d exhausted at db://me:hunter2@x", 5)
    logging.getLogger("some.library").info("chatter")
    (line,) = lines(stream)
    assert line["action"] == "log.some.library"
    assert (line["level"], line["message"]) == ("warning", "pool of 5 exhausted at db://me:***@x")


def test_what_a_library_repeats_is_written_once_a_minute_and_counted(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("INFO", stream)
    now_s = 100.0
    monkeypatch.setattr("consumers.logger.time.monotonic", lambda: now_s)
    client = logging.getLogger("some.client")
    for port in range(30):
        client.error("cannot reach port %d", port)
    client.error("another matter")
    now_s += 60
    client.error("cannot reach port %d", 99)
    said = [
        (line["message"], line.get("repeated")) for line in map(json.loads, stream.getvalue().splitlines())
    ]
    assert said == [("cannot reach port 0", None), ("another matter", None), ("cannot reach port 99", 29)]


def test_a_second_configuration_replaces_the_first(stream: io.StringIO) -> None:
    configure("INFO", io.StringIO())
    configure("INFO", stream)
    logging.getLogger("some.library").warning("once")
    assert len(lines(stream)) == 1
