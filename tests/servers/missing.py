"""`python -m tests.servers.missing`: the Debian packages without which servers cannot be started here."""

import sys
from collections.abc import Callable, Iterator

from tests.servers.certificates import openssl
from tests.servers.kafka_jars import fetched, java, maven
from tests.servers.postgres import binaries
from tests.servers.sources import Unavailable


def packages() -> Iterator[str]:
    """What to install, by name."""
    needed: dict[str, Callable[[], object]] = {
        "postgresql": binaries,
        "default-jre-headless": java,
        "openssl": openssl,
    }
    if not fetched():
        needed["maven"] = maven
    for package, find in needed.items():
        try:
            find()
        except Unavailable:
            yield package


if __name__ == "__main__":
    sys.stdout.write("".join(f"{package}\n" for package in packages()))
