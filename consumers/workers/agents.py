"""The registry worker on Kafka: a Faust agent for each topic of orders, which has each event obeyed once.

Kafka delivers at least once; the inbox, in the transaction of the effects, makes them exactly once. The
position of an event moves only after that transaction: a crash before it brings the event again. What no
handler can deal with is dead-lettered instead, so that its partition goes on and nothing is lost.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import faust

from consumers.log.commit_watch import CommitWatch
from consumers.log.faust_app import faust_app, raw_topic
from consumers.log.faust_thread import FaustThread
from consumers.log.kafka_client import kafka_faults
from consumers.log.port import EventLog, LogError, LogRecord, LogUnavailable, UnknownTopic
from consumers.logger import get_logger
from consumers.services.dead_letters import dead_letter
from consumers.services.handlers import Handlers
from consumers.services.results import Results
from consumers.services.schedules import Schedules
from consumers.settings import KafkaSettings
from consumers.store.engine import Store
from consumers.store.errors import StoreMisconfigured, Transient
from schemas import Topics

_log = get_logger("registry")
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 30.0
STOP_S = 3.0
"""For the event in hand, the last commit and leaving the group. Faust's thread then has two seconds."""
ABANDON_S = 2.0
"""For an application that never started."""
WATCH_EVERY_S = 10.0
_LOOK_S = 0.2


class AgentsEnded(LogError):
    """The agents have ended by themselves: only a new process helps."""

    def __init__(self, reason: object) -> None:
        self.reason = reason
        super().__init__(f"the registry's agents have ended, start the process again: {reason}")


@dataclass(slots=True, kw_only=True)
class RegistryAgents:
    """The agents work in the background from the first `step` (or `start`) to `close`.

    `await step()` asks for what `schedules` find due, and returns how much was asked for and how many events
    the agents have handled since the last step. It raises what ended them: AgentsEnded, StoreMisconfigured,
    or LogStuck when a position stands still before the end of its partition. StoreUnavailable and
    LogUnavailable pass through from the start, the schedules and the watch; agents wait by themselves.
    """

    store: Store
    log: EventLog
    topics: Topics
    handlers: Handlers
    settings: KafkaSettings
    group: str
    """Kafka's consumer group: all registry workers of a deployment."""
    schedules: Schedules | None = None
    failures_limit: int = 20
    """So many failed events in a row and the worker stops: the fault is ours, not the events'."""
    results: Results = field(default_factory=Results)
    _app: faust.App | None = None
    _thread: FaustThread | None = None
    _home: asyncio.AbstractEventLoop = field(init=False)
    _watch: CommitWatch = field(init=False)
    _watched_s: float = field(default_factory=time.monotonic)
    _handled: int = 0
    _failures: int = 0
    _waiting: set[str] = field(default_factory=set)
    """Topics whose agent waits for the store."""
    _error: Exception | None = None
    _stopping: bool = False

    def __post_init__(self) -> None:
        self._watch = CommitWatch(self.settings.stuck_after_s)

    async def step(self) -> int:
        """See the class."""
        await self.start()
        self._raise_what_ended_them()
        await self._watch_positions()
        fired = await self.schedules.fire(self.handlers.context.now()) if self.schedules else 0
        handled, self._handled = self._handled, 0
        return handled + fired

    async def start(self) -> None:
        """Join the group, once. Raises UnknownTopic, LogUnavailable, LogRefused; then nothing runs."""
        if self._thread is not None:
            return
        ours = (self.topics.drift_detected, self.topics.retrain_requested, self.topics.model_promoted)
        known = await self.log.topics()
        for topic in ours:
            # Faust would run idle without a word, even when the topic appears later
            if topic not in known:
                raise UnknownTopic(topic)
        self._stopping = False
        self._thread, self._home = FaustThread(), asyncio.get_running_loop()
        within_s = self.settings.request_timeout_s
        try:
            self._app = await self._thread.run(self._build(ours), within_s)
            with kafka_faults(self.settings.bootstrap):
                # over when the group has given us our share
                await self._thread.run(self._app.start(), within_s)
        except BaseException:
            await self._stop(ABANDON_S)
            raise
        self._watched_s = time.monotonic()
        _log.info("registry.joined", group=self.group)

    async def close(self) -> None:
        """Finish the event in hand, commit, leave the group; a second call does nothing."""
        await self._stop(STOP_S)

    async def _stop(self, within_s: float) -> None:
        app, thread, self._stopping = self._app, self._thread, True
        self._app = self._thread = None
        if thread is None:
            return
        try:
            if app is not None:
                await thread.run(app.stop(), within_s)
        except TimeoutError:
            # what was not committed comes again, and the brokers miss us after the session timeout
            _log.warning("registry.cut_short", seconds=within_s)
        finally:
            await thread.end()

    async def _build(self, topics: tuple[str, ...]) -> faust.App:
        app = faust_app(self.settings, self.group)
        for topic in topics:
            app.agent(raw_topic(app, topic), name=topic, concurrency=1)(self._obey)
        return app

    async def _obey(self, stream: Any) -> None:
        """The agent, in Faust's thread; the event's effects happen at home, on the loop of the store."""
        # noack: see consumers.log.faust_app
        async for event in stream.noack().events():
            try:
                settling = asyncio.run_coroutine_threadsafe(self._settle(event.record()), self._home)
                settled = await asyncio.wrap_future(settling)
            except Exception as error:  # noqa: BLE001 - whatever it is, the process must learn of it
                self._error = error
                settled = False
            if settled:
                event.done()
            else:
                event.forget()
            if self._stopping or self._error is not None:
                return

    async def _settle(self, record: LogRecord) -> bool:
        """Handle `record` however long the store is away; False when it was given up unhandled."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                await self._act(record)
            except (Transient, LogUnavailable) as error:
                _log.warning("registry.waiting", topic=record.topic, seconds=wait_s, message=str(error))
            else:
                self._handled += 1
                return True
            if not await self._pause(record.topic, wait_s):
                return False
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _act(self, record: LogRecord) -> None:
        """One transaction: what the event orders, or else its place among the dead letters."""
        try:
            async with self.store.write() as session:
                result = await self.handlers.handle(session, record)
        except (Transient, StoreMisconfigured, LogError):
            raise  # not the event's fault
        except Exception as error:  # noqa: BLE001 - a handler that raises must not lose its event
            await self._give_up(record, error)
        else:
            self._failures = 0
            self.results.note(record, result)

    async def _give_up(self, record: LogRecord, error: Exception) -> None:
        if self._failures + 1 >= self.failures_limit:
            raise AgentsEnded(f"{self.failures_limit} events failed in a row: {_words(error)}") from error
        context = self.handlers.context
        async with self.store.write() as session:
            await dead_letter(session, context.topics.dead_letter, record, _words(error), context.now())
        self._failures += 1
        self.results.note_failure(record, error)

    async def _pause(self, topic: str, seconds: float) -> bool:
        """Wait; False as soon as the event has to be given back: partitions change hands, or we stop."""
        until = time.monotonic() + seconds
        self._waiting.add(topic)
        try:
            while time.monotonic() < until:
                if self._app is None or not self._app.flow_control.is_active():
                    return False
                await asyncio.sleep(_LOOK_S)
        finally:
            self._waiting.discard(topic)
        return True

    def _raise_what_ended_them(self) -> None:
        if self._error is not None:
            raise self._error
        if self._app is not None and self._app.crashed:
            reason = self._app.crash_reason
            raise AgentsEnded(_words(reason)) from reason

    async def _watch_positions(self) -> None:
        now_s = time.monotonic()
        if self._app is None or now_s - self._watched_s < WATCH_EVERY_S:
            return
        self._watched_s = now_s
        held = [(held.topic, held.partition) for held in self._app.consumer.assignment()]
        self._watch.hold(held)
        for topic, partition in held:
            if topic in self._waiting:
                self._watch.excuse((topic, partition))
                continue
            # what the brokers say: Faust notes a commit as made though it failed
            position = await self.log.position(self.group, topic, partition)
            begin, end = await self.log.begin(topic, partition), await self.log.end(topic, partition)
            self._watch.see((topic, partition), max(begin, position or 0), end, now_s)


def _words(error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    # a reason becomes a header, which is UTF-8
    return f"{type(error).__name__}: {text}".encode(errors="replace").decode()
