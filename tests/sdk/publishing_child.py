"""Publishes numbered predictions until it is killed: bootstrap, prefix, first batch, batches, their size.

Says the number of each batch when the brokers have acknowledged it.
"""

import asyncio
import sys
from datetime import timedelta

from lifecycle_sdk import KafkaConnection, KafkaPublisher, Topics
from tests.sdk.announcements import AT, prediction


async def publish(bootstrap: str, prefix: str, first: int, batches: int, size: int) -> None:
    connection = KafkaConnection(bootstrap=bootstrap)
    async with KafkaPublisher(connection, producer="child", topics=Topics(prefix)) as publisher:
        for batch in range(first, batches):
            numbers = range(batch * size, (batch + 1) * size)
            await publisher.publish([prediction(f"p{n:06d}", at=AT + timedelta(seconds=n)) for n in numbers])
            sys.stdout.write(f"{batch}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])))
