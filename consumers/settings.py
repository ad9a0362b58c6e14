"""Settings of the service: one file in its home, environment variables over it, arguments over both.

Precedence, highest first: arguments (the command line's); ``LIFECYCLE_…`` variables
(``LIFECYCLE_PARTITIONS=8``, nested with two underscores: ``LIFECYCLE_WINDOWS__LENGTH_S=60``);
``<home>/lifecycle.toml``; the defaults below. A key that nobody knows is refused wherever it stands:
a misspelt setting that is silently ignored costs more than a start that fails.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from consumers.kafka_settings import KafkaSettings, Seconds, SomeSeconds

__all__ = [
    "DEFAULT_HOME",
    "ENV_PREFIX",
    "NESTED",
    "SETTINGS_FILE",
    "ConfigManager",
    "KafkaSettings",
    "SettingsError",
    "WindowSettings",
    "load_settings",
    "mask_password",
]

ENV_PREFIX = "LIFECYCLE_"
NESTED = "__"
SETTINGS_FILE = "lifecycle.toml"
DEFAULT_HOME = Path("lifecycle-home")

_DAY_S = 86_400
_SECRETS = frozenset({"database_url", "kafka.sasl_password", "kafka.key_password", "kafka"})
# A password that nobody escaped may hold `/`, `?` and `@`: it ends at the last `@` that can be its end, which
# is before a query, if there is one there. What reads as a port, a path and a query is no password.
_URL_PASSWORD = re.compile(
    r"(://(?!\[)[^/\s:]*:)(?:(?:(?!\?[\w%.-]+=)\S)*|(?!\d+(?:/[^@?\s]*)?\?[\w%.-]+=)\S*)(?=@)"
)
_QUERY_VALUE = re.compile(r"([?&]([^=&\s]+)=)[^&\s]+")
_SECRET_KEY = re.compile(r"pass|secret|token", re.IGNORECASE)
_URL_SCHEME = re.compile(r"[a-z][a-z0-9]*(\+[a-z0-9_]+)?://")


class SettingsError(Exception):
    """A setting that the service cannot start with; its text is one line.

    ``key`` is the dotted name, ``value`` what was given (None for a secret), ``limit`` what would be right.
    """

    def __init__(self, key: str, value: object, limit: str, source: str = "") -> None:
        self.key, self.value, self.limit, self.source = key, value, limit, source
        given = "" if value is None else f" = {_shorten(value)}"
        origin = f" (from {source})" if source else ""
        super().__init__(_one_line(f"{key}{given}: {limit}{origin}"))


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class WindowSettings(BaseModel):
    """Event-time windows. All workers of one deployment must have the same values: rows depend on them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length_s: SomeSeconds = 60.0
    slack_s: Seconds = Field(
        default=10.0, description="how far a record may be behind its partition's newest"
    )
    grace_s: Seconds = Field(default=30.0, description="how long after it is due an outcome is still used")
    max_horizon_s: int = Field(default=31 * _DAY_S, ge=1, le=3660 * _DAY_S)
    memory_s: Seconds | None = Field(
        default=None, description="how long ids are remembered for late corrections; the grace when not set"
    )

    @property
    def length_ms(self) -> int:
        return round(self.length_s * 1_000)

    @property
    def slack_ms(self) -> int:
        return round(self.slack_s * 1_000)

    @property
    def grace_ms(self) -> int:
        return round(self.grace_s * 1_000)

    @property
    def memory_ms(self) -> int:
        return self.grace_ms if self.memory_s is None else round(self.memory_s * 1_000)


class ConfigManager(BaseSettings):
    """All settings of one process, frozen. Relative paths and the default store lie in ``home``."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        env_nested_delimiter=NESTED,
        frozen=True,
        extra="forbid",
        validate_default=False,
    )

    home: Annotated[Path, AfterValidator(_absolute)] = Field(default=DEFAULT_HOME, validate_default=True)
    database_url: SecretStr = Field(
        default_factory=lambda data: SecretStr(f"sqlite+aiosqlite:///{data['home'] / 'store.sqlite'}")
    )
    log_path: Path = Field(default_factory=lambda data: data["home"] / "log.sqlite")
    artifacts_path: Path = Field(default_factory=lambda data: data["home"] / "artifacts")

    kafka: KafkaSettings = KafkaSettings()
    statement_timeout_s: SomeSeconds = Field(default=60.0, description="of one SQL statement on PostgreSQL")

    topic_prefix: str = Field(
        default="lifecycle.", pattern=r"^([A-Za-z0-9._-]{0,99}\.)?$", description="empty, or ends with a dot"
    )
    partitions: int = Field(default=4, ge=1, le=1_024, description="of predictions and of outcomes")
    windows: WindowSettings = WindowSettings()
    heartbeats: bool = Field(default=True, description="off where event time is simulated")
    heartbeat_idle_s: SomeSeconds = 5.0
    future_s: Seconds = Field(
        default=60.0, description="how far a record's time may be ahead of the log's clock"
    )

    batch_records: int = Field(default=5_000, ge=1, le=1_000_000)
    dead_letter_limit: int = Field(
        default=10_000,
        ge=1,
        description="so many invalid records in a row and the worker stops: all of it is wrong",
    )
    poll_interval_s: SomeSeconds = 0.5
    lease_s: SomeSeconds = 30.0
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(
        default=None, ge=0, le=65_535, description="of /metrics, /healthz and /readyz; none when not set"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"

    @field_validator("log_path", "artifacts_path", mode="after")
    @classmethod
    def _in_home(cls, path: Path, info: ValidationInfo) -> Path:
        home: Path = info.data.get("home", DEFAULT_HOME)
        return home / path.expanduser()

    @field_validator("database_url", mode="after")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if not _URL_SCHEME.match(text):
            raise ValueError("must be a database URL such as postgresql://HOST/NAME or sqlite:///FILE")
        # the name of a file may hold spaces; where a password does, nobody could tell where it ends
        if not text.startswith("sqlite") and any(map(str.isspace, text)):
            raise ValueError("must be a database URL without spaces: one in a password is written %20")
        return url

    @property
    def on_kafka(self) -> bool:
        """Whether the log is Kafka, and every worker a process of its own."""
        return bool(self.kafka.bootstrap)

    @property
    def embedded(self) -> bool:
        """Whether log and store are files in the home, which `lifecycle run` makes by itself."""
        return not self.on_kafka and self.database_url.get_secret_value().startswith("sqlite")

    def group(self, worker: str) -> str:
        """The consumer group of a worker."""
        return f"{self.kafka.group}.{worker}"

    @property
    def future_ms(self) -> int:
        return round(self.future_s * 1_000)

    def source(self, key: str) -> str:
        """Where the value of a dotted key comes from, for SettingsError: "" if it is an argument."""
        *table, name = path = key.split(".")
        found = _source(path, {})
        if found != SETTINGS_FILE or _at(path, _read_file(self.home / SETTINGS_FILE)) is not None:
            return found
        holder: BaseModel = getattr(self, table[0]) if table else self
        field = type(holder).model_fields.get(name)
        return "the defaults" if field and getattr(holder, name) == field.default else ""

    def describe(self) -> dict[str, object]:
        """Dotted key → JSON-ready value, for people and status; passwords are masked."""
        described: dict[str, object] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, BaseModel):
                described |= {f"{name}.{key}": item for key, item in value.model_dump(mode="json").items()}
            elif isinstance(value, SecretStr):
                described[name] = mask_password(value.get_secret_value())
            else:
                described[name] = str(value) if isinstance(value, Path) else value
        return described

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = Path(init_settings().get("home") or env_settings().get("home") or DEFAULT_HOME)
        file_settings = InitSettingsSource(
            settings_cls, init_kwargs=_read_file(_absolute(home) / SETTINGS_FILE)
        )
        return init_settings, env_settings, file_settings


def load_settings(home: Path | None = None, **overrides: Any) -> ConfigManager:
    """Settings of ``home`` (default: ``LIFECYCLE_HOME``, else ``lifecycle-home`` here).

    Overrides are the command line's; one that is None was not given. Nested ones are mappings, merged key by
    key. Raises SettingsError, one line, for the first setting that is wrong.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    if home is not None:
        given["home"] = home
    _refuse_unknown_variables()
    try:
        return ConfigManager(**given)
    except ValidationError as error:
        raise _explain(error, given) from None
    except SourceError as error:  # a variable that holds a table, but not as JSON
        named = re.search(r'field "(\w+)"', str(error))
        key = named.group(1) if named else "settings"
        limit = f"must be a JSON object, or set its keys one by one: {ENV_PREFIX}{key.upper()}{NESTED}KEY"
        raise SettingsError(key, None, limit, f"{ENV_PREFIX}{key.upper()}") from error


def mask_password(text: str) -> str:
    """The same text with the passwords of every URL in it replaced by stars: before the host, in the query.

    Whatever shows a URL goes through here: settings, log lines, reasons of health and errors of the store.
    """
    return _QUERY_VALUE.sub(_without_secret, _URL_PASSWORD.sub(r"\1***", text))


def _without_secret(pair: re.Match[str]) -> str:
    return f"{pair[1]}***" if _SECRET_KEY.search(unquote(pair[2])) else pair[0]


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), None, f"is not TOML: {error}") from error
    except OSError as error:
        raise SettingsError(str(path), None, f"cannot be read: {error.strerror}") from error
    if "home" in values:
        raise SettingsError(
            "home", values["home"], "is where this file lies and cannot be set in it", str(path)
        )
    return values


def _refuse_unknown_variables() -> None:
    """The library reads the variables it knows; one that is misspelt it does not even look at."""
    fields = ConfigManager.model_fields
    for name in sorted(os.environ):
        key = name.upper().removeprefix(ENV_PREFIX).split(NESTED)[0].lower()
        if name.upper().startswith(ENV_PREFIX) and key not in fields:
            raise SettingsError(
                name, None, _unknown(key, [*fields], lambda known: ENV_PREFIX + known.upper())
            )


def _explain(error: ValidationError, overrides: Mapping[str, Any]) -> SettingsError:
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path) or "settings"
    if first["type"] == "extra_forbidden":
        tables: dict[str, type[BaseModel]] = {"windows": WindowSettings, "kafka": KafkaSettings}
        fields = tables.get(".".join(path[:-1]), ConfigManager).model_fields
        limit = _unknown(path[-1], [*fields])
        first["input"] = None  # a misspelt secret is a secret too
    elif first["type"] == "model_type":
        limit = "must be a table"
    else:
        limit = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    # the whole table stands for a rule over several keys: secrets are among them
    value = None if ".".join(path) in _SECRETS else first.get("input")
    return SettingsError(key, value, limit, _source(path, overrides))


def _source(path: Sequence[str], overrides: Mapping[str, Any]) -> str:
    """Where a value was set, so that nobody searches for it: nothing for an argument, which is in sight."""
    if _at(path, overrides) is not None:
        return ""
    variables = {name.upper(): name for name in os.environ}
    candidates = [ENV_PREFIX + NESTED.join(path[:depth]).upper() for depth in range(len(path), 0, -1)]
    exact = next((variables[name] for name in candidates if name in variables), "")
    # a rule over several keys of a table is broken by some of these
    table = ENV_PREFIX + "".join(part.upper() + NESTED for part in path)
    inside = sorted(variables[name] for name in variables if path and name.startswith(table))
    return exact or (f"{', '.join(inside)} or {SETTINGS_FILE}" if inside else SETTINGS_FILE)


def _at(path: Sequence[str], tables: Mapping[str, Any]) -> object:
    """What stands there, None for nothing."""
    inner: object = tables
    for part in path:
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    return inner


def _unknown(key: str, known: Sequence[str], spell: Callable[[str], str] = str) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return "is not a setting" + (f"; did you mean {spell(close[0])}?" if close else "")


def _shorten(value: object) -> str:
    if isinstance(value, str):
        text = repr(mask_password(value))
    else:
        text = mask_password(str(value) if isinstance(value, Path) else repr(value))
    return text if len(text) <= 80 else text[:77] + "..."


def _one_line(text: str) -> str:
    return " ".join(text.split())
