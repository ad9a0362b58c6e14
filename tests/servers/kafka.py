"""Apache Kafka of one's own: one broker or three, to be killed, paused and restarted.

`python -m tests.servers.kafka` runs one broker for a person.
"""

import contextlib
import secrets
import shutil
import signal
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.by_hand import serve
from tests.servers.certificates import Certificates
from tests.servers.child import Child
from tests.servers.kafka_jars import class_path, java
from tests.servers.kafka_properties import (
    PASSWORD,
    PLAIN_LISTENERS,
    SCRAM,
    SECURED_LISTENERS,
    USER,
    Listener,
    properties,
)
from tests.servers.kafka_watch import wait_until_settled
from tests.servers.places import folder, free_port

_LOGGING = Path(__file__).with_name("log4j2.properties")
# Quick to start and small: nobody measures throughput here.
_JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_STOP_PATIENCE_S = 30.0


@dataclass(slots=True)
class Broker:
    """One node: broker and controller in one process."""

    number: int
    ports: dict[Listener, int]
    home: Path | None = None
    child: Child | None = None

    def running(self) -> Child:
        if self.child is None:
            raise RuntimeError(f"broker {self.number} was never started")
        return self.child


class KafkaCluster:
    """`brokers` nodes, numbered from 1, stopped until `start`. Data stay until `close`.

    With three, a topic has three copies and a record is acknowledged by two: one broker may be missing.
    `secured` adds listeners with SASL (PLAIN, SCRAM, OAUTHBEARER with unsigned tokens) and TLS.
    """

    def __init__(self, brokers: int = 1, *, secured: bool = False) -> None:
        self._listeners: list[Listener] = [*PLAIN_LISTENERS, *(SECURED_LISTENERS if secured else ())]
        self._brokers = {
            number: Broker(number, {name: free_port() for name in self._listeners})
            for number in range(1, brokers + 1)
        }
        self._id = urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=").replace("-", "_")
        self._advertised: dict[int, str] = {}
        self._folder: Path | None = None
        self._secured = secured
        self._certificates: Certificates | None = None

    @property
    def numbers(self) -> list[int]:
        return list(self._brokers)

    @property
    def bootstrap(self) -> str:
        """Where clients begin: proxies, if such are advertised."""
        return ",".join(self._advertised.get(number, self.address(number)) for number in self._brokers)

    def bootstrap_of(self, listener: Listener) -> str:
        """The same for another listener, such as SASL, TLS or SASL_TLS of a secured cluster."""
        return ",".join(self.address(number, listener) for number in self._brokers)

    def address(self, broker: int, listener: Listener = "CLIENTS") -> str:
        """Where the broker itself listens: what a proxy before it connects to."""
        return f"127.0.0.1:{self._brokers[broker].ports[listener]}"

    @property
    def certificates(self) -> Certificates:
        """Of a secured cluster that was started."""
        if self._certificates is None:
            raise RuntimeError("only a secured cluster that was started has certificates")
        return self._certificates

    def advertise(self, addresses: Mapping[int, str]) -> None:
        """Send clients of these brokers elsewhere, to a proxy. Counts from a broker's next start."""
        self._advertised.update(addresses)

    def start(self) -> Self:
        """Start those that do not run, and `wait`; Unavailable without Java or Kafka's jars."""
        self._format()
        down = [broker for broker in self._brokers.values() if broker.child is None or not broker.child.alive]
        for broker in down:
            self._spawn(broker)
        self.wait()
        return self

    def start_broker(self, number: int) -> None:
        """Start one that was killed or terminated, and wait until it has caught up."""
        self._spawn(self._brokers[number])
        self.wait()

    def kill(self, number: int) -> None:
        """SIGKILL: clients see broken connections, the others notice after some seconds."""
        self._brokers[number].running().kill()

    def terminate(self, number: int) -> None:
        """SIGTERM: it hands its partitions over and ends."""
        self._brokers[number].running().end(signal.SIGTERM, _STOP_PATIENCE_S)

    def pause(self, number: int) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._brokers[number].running().pause()

    def resume(self, number: int) -> None:
        self._brokers[number].running().resume()

    def wait(self, patience_s: float = 120.0) -> None:
        """Return once every running broker serves and no partition lacks a copy on one of them."""
        running = {
            number: (broker.child, self.address(number, "BROKERS"))
            for number, broker in self._brokers.items()
            if broker.child is not None and broker.child.alive
        }
        wait_until_settled(running, patience_s)

    def stop(self) -> None:
        """End all brokers in good order."""
        children = [broker.child for broker in self._brokers.values() if broker.child is not None]
        for child in children:
            child.ask(signal.SIGTERM)
        for child in children:
            child.end(signal.SIGTERM, _STOP_PATIENCE_S)

    def close(self) -> None:
        """End all brokers at once and remove their data."""
        for broker in self._brokers.values():
            if broker.child is not None:
                broker.child.kill()
            broker.child = broker.home = None
        if self._folder is not None:
            shutil.rmtree(self._folder)
        self._folder = self._certificates = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _format(self) -> None:
        """Give every broker a folder that belongs to this cluster, unless it has one."""
        if self._folder is not None:
            return
        self._folder = folder("kafka", in_memory=False)
        if self._secured:
            self._certificates = Certificates.make(self._folder / "certificates")
        formatting = [self._begin_format(broker, self._folder) for broker in self._brokers.values()]
        for child in formatting:
            child.finish()

    def _begin_format(self, broker: Broker, base: Path) -> Child:
        broker.home = base / str(broker.number)
        broker.home.mkdir()
        self._configure(broker, broker.home)
        command: list[str | Path] = ["format", "-t", self._id, "-c", broker.home / "server.properties"]
        if self._secured:
            for mechanism in SCRAM:
                command += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
        return _java("kafka.tools.StorageTool", *command, name="format", log=broker.home / "format.log")

    def _configure(self, broker: Broker, home: Path) -> None:
        listeners = {name: self.address(broker.number, name) for name in self._listeners}
        advertised = dict(listeners)
        del advertised["CONTROLLER"]
        if broker.number in self._advertised:
            advertised["CLIENTS"] = self._advertised[broker.number]
        text = properties(
            number=broker.number,
            voters={number: self.address(number, "CONTROLLER") for number in self._brokers},
            listeners=listeners,
            advertised=advertised,
            data=home / "data",
            certificates=self._certificates,
        )
        (home / "server.properties").write_text(text)

    def _spawn(self, broker: Broker) -> None:
        assert broker.home is not None
        self._configure(broker, broker.home)
        broker.child = _java(
            "kafka.Kafka",
            broker.home / "server.properties",
            name=f"broker {broker.number}",
            log=broker.home / "kafka.log",
        )


def _java(program: str, *arguments: str | Path, name: str, log: Path) -> Child:
    command = [
        java(),
        *_JVM,
        f"-Dlog4j2.configurationFile={_LOGGING}",
        "-cp",
        class_path(),
        program,
        *arguments,
    ]
    return Child.spawn(name, command, log=log)


@contextlib.contextmanager
def _for_a_person() -> Iterator[str]:
    with KafkaCluster() as cluster:
        yield f"Kafka at {cluster.bootstrap}\n  export LIFECYCLE_KAFKA__BOOTSTRAP={cluster.bootstrap}"


if __name__ == "__main__":
    serve(_for_a_person())
