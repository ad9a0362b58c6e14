"""Two requests of Kafka's protocol that aiokafka 0.14 does not speak.

Metadata 12 names a topic's id, which a recreated topic does not share, and creates no topic by asking.
IncrementalAlterConfigs leaves alone what it does not name; the older AlterConfigs resets it.
Source: https://kafka.apache.org/protocol#protocol_messages
"""

# aiokafka has no annotations: its classes are Any
# mypy: disable-error-code="misc"

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

_ID_BYTES = 16
_NO_ID = bytes(_ID_BYTES)
_NO_TAGS: Mapping[int, bytes] = {}
_TOPIC_RESOURCE = 2
_SET = 0


class _TopicId(AbstractType):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(_ID_BYTES)


class MetadataResponse_v12(Response):  # noqa: N801 - named as aiokafka names them
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _TopicId),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequest_v12(RequestStruct):  # noqa: N801
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponse_v12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _TopicId), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicsRequest(Request[MetadataRequest_v12]):
    """Asks for the topics named, or for all."""

    API_KEY = 3

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names

    def build(self, request_struct_class: type[MetadataRequest_v12]) -> MetadataRequest_v12:
        topics = None if self._names is None else [(_NO_ID, name, _NO_TAGS) for name in self._names]
        return request_struct_class(topics, False, False, _NO_TAGS)


class IncrementalAlterConfigsResponse_v0(Response):  # noqa: N801
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class IncrementalAlterConfigsRequest_v0(RequestStruct):  # noqa: N801
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = IncrementalAlterConfigsResponse_v0
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8"))),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class AlterTopicsRequest(Request[IncrementalAlterConfigsRequest_v0]):
    """Sets these configuration keys of these topics."""

    API_KEY = 44

    def __init__(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        self._configs = configs

    def build(
        self, request_struct_class: type[IncrementalAlterConfigsRequest_v0]
    ) -> IncrementalAlterConfigsRequest_v0:
        resources = [
            (_TOPIC_RESOURCE, topic, [(key, _SET, value) for key, value in config.items()])
            for topic, config in self._configs.items()
        ]
        return request_struct_class(resources, False)


def id_text(topic_id: bytes) -> str:
    """A topic's id as Kafka's tools print it."""
    return urlsafe_b64encode(topic_id).decode().rstrip("=")
