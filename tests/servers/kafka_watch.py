"""Asking brokers, each by itself, whether they are in service."""

import time
from collections.abc import Mapping

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from tests.servers.apart import apart
from tests.servers.child import Child


def wait_until_settled(brokers: Mapping[int, tuple[Child | None, str]], patience_s: float) -> None:
    """Return once each broker knows all of them, and no partition lacks a copy on one of them.

    `brokers` are process and address by number. RuntimeError if one of them dies, TimeoutError after a time.
    """
    give_up = time.monotonic() + patience_s
    waiting = set(brokers)
    while waiting:
        for number in sorted(waiting):
            child, address = brokers[number]
            if child is not None:
                child.check()
            missing = apart(what_lacks(address, set(brokers)))
            if missing is None:
                waiting.discard(number)
            elif time.monotonic() > give_up:
                said = child.last_words() if child is not None else ""
                raise TimeoutError(f"broker {number} at {address} after {patience_s:g} s: {missing}\n{said}")
        if waiting:
            time.sleep(0.1)


async def what_lacks(address: str, numbers: set[int]) -> str | None:
    """What the broker at `address` still misses of the cluster of `numbers`; None if nothing."""
    host, _, port = address.rpartition(":")
    try:
        connection = await create_conn(host, int(port), request_timeout_ms=5_000)
        try:
            metadata = await connection.send(MetadataRequest())
        finally:
            connection.close()
    except (OSError, KafkaError, TimeoutError) as error:
        return f"it does not answer: {error}"
    known = {broker[0] for broker in metadata.brokers}
    if not numbers <= known:
        return f"it knows brokers {sorted(known)} only"
    for _, topic, _, partitions in metadata.topics:
        for _, partition, _, replicas, in_sync, *_ in partitions:
            behind = (set(replicas) & numbers) - set(in_sync)
            if behind:
                return f"{topic}-{partition} has no copy up to date on {sorted(behind)}"
    return None
