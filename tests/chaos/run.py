"""One run: start everything, break things under traffic, let it come to rest, and compare."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import orjson

from consumers.services.context import ServiceContext
from consumers.store.engine import open_store
from schemas import Topics
from tests.chaos.campaign import Campaign
from tests.chaos.checks import brief, objections
from tests.chaos.crew import Crew
from tests.chaos.deployment import Said, environment, lifecycle
from tests.chaos.evidence import Evidence, collect
from tests.chaos.floor import enough_happened, every_fault_hits
from tests.chaos.havoc import Havoc
from tests.chaos.machines import Machines
from tests.chaos.quiet import Quiet, Watch
from tests.chaos.scenario import REPLAY_FROM_MS, Scenario
from tests.chaos.schedule import Fault, clocks, members, schedule
from tests.chaos.sending import Sender
from tests.chaos.traffic import Traffic

Say = Callable[[str], None]
_TICK_S = 0.1
_START_S = 120.0
_LONGEST_SLICE_S = 0.5
_COMMANDS = ("replay", "reconcile", "status")
"""The product's own judgement: each ends with 0 if all is well."""


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of a run. Sound: no check has an objection."""

    scenario: Scenario
    faults: Sequence[Fault]
    objections: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that object."""
        return [name for name, said in self.objections.items() if said]

    def document(self) -> dict[str, Any]:
        """For the report."""
        return {
            "scenario": self.scenario.describe(),
            "schedule": [str(fault) for fault in self.faults],
            "history": self.history,
            "figures": self.figures,
            "objections": self.objections,
            "sound": not self.failed,
        }


@dataclass(slots=True, kw_only=True)
class Run:
    """Everything that one run holds while it lasts."""

    scenario: Scenario
    folder: Path
    say: Say
    machines: Machines
    prefix: str = "chaos."
    group: str = "chaos"
    begin_ms: int = 0
    began: float = 0.0
    requests: int = 0

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def settings(self, *, direct: bool) -> dict[str, str]:
        """Through the proxies, or around them."""
        machines = self.machines
        return environment(
            self.scenario,
            home=self.home,
            database=machines.database if direct else machines.proxied_database,
            bootstrap=machines.bootstrap if direct else machines.proxied_bootstrap,
            prefix=self.prefix,
            group=self.group,
        )

    def event_ms(self) -> int:
        """Event time now."""
        return self.begin_ms + round((time.monotonic() - self.began) * self.scenario.speed * 1_000)

    async def play(self, faults: Sequence[Fault]) -> Result:
        """From an empty database to the verdict."""
        result = Result(scenario=self.scenario, faults=faults)
        await asyncio.to_thread(self.home.mkdir, parents=True)
        made = await lifecycle("init", environment=self.settings(direct=True))
        if made.code != 0:
            raise RuntimeError(f"lifecycle init ended with {made.code}: {made.err}")
        length_ms = self.scenario.windows.length_ms
        start_ms = _now_ms() if self.scenario.live else REPLAY_FROM_MS
        self.begin_ms = start_ms // length_ms * length_ms
        store = await open_store(self.machines.database)
        crew = Crew(self.folder, self.settings(direct=False), self.scenario.mutant, clocks(self.scenario))
        try:
            campaign = Campaign(scenario=self.scenario, store=store, context=self._context(), home=self.home)
            await campaign.prepare(self.begin_ms)
            for name in members(self.scenario):
                crew.start(name)
            # faults before anybody works would hit nothing
            self.say("starting")
            if not all(await asyncio.gather(*(m.serving(_START_S) for m in crew.members.values()))):
                raise RuntimeError(f"not all processes have started in {_START_S:g} s: {crew.complaints()}")
            havoc = Havoc(
                crew=crew,
                machines=self.machines,
                prefix=self.prefix,
                seed=self.scenario.seed,
                seconds=self.scenario.seconds,
                say=self.say,
                history=result.history,
            )
            closing_ms, sender = await self._disturb(campaign, havoc, faults)
            await self._rest(crew, havoc, closing_ms, result)
        finally:
            await crew.abandon()
            await store.dispose()
        await self._judge(crew, result)
        result.figures |= {
            "records_sent": sender.sent,
            "records_sent_again": sender.repeated,
            "orders_redelivered": havoc.redelivered,
            "experiments_started_by_hand": campaign.started,
        }
        return result

    def _context(self) -> ServiceContext:
        return ServiceContext(
            topics=Topics(self.prefix),
            windows=self.scenario.windows,
            source="chaos",
            now=lambda: datetime.now(UTC),
        )

    # ------------------------------------------------------------ under way

    async def _disturb(self, campaign: Campaign, havoc: Havoc, faults: Sequence[Fault]) -> tuple[int, Sender]:
        """Traffic, people and faults at once; then the heartbeats that close all windows."""
        sender = Sender(self.machines.bootstrap, self.prefix)
        traffic = Traffic(self.scenario, self.begin_ms)
        self.began = time.monotonic()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._people(campaign, over))
            sending = group.create_task(self._send(traffic, sender, campaign))
            breaking = group.create_task(havoc.run(faults, self.began))
            await asyncio.wait([sending, breaking])
            over.set()
        last = traffic.last()
        await sender.send(last)
        await sender.close()
        closing_ms = last[-1].timestamp_ms - self.scenario.windows.slack_ms
        return closing_ms, sender

    async def _send(self, traffic: Traffic, sender: Sender, campaign: Campaign) -> None:
        scenario = self.scenario
        at_ms, owed = self.begin_ms, 0.0
        while time.monotonic() - self.began < scenario.seconds:
            await asyncio.sleep(_TICK_S)
            # after a time without brokers there is much to catch up: in slices, so that order stays natural
            while at_ms < (now_ms := self.event_ms()):
                to_ms = min(now_ms, at_ms + round(_LONGEST_SLICE_S * scenario.speed * 1_000))
                owed += (to_ms - at_ms) / 1_000 / scenario.speed * scenario.requests_per_second
                await sender.send(traffic.slice(at_ms, to_ms, int(owed), campaign.world))
                self.requests += int(owed)
                at_ms, owed = to_ms, owed % 1

    async def _people(self, campaign: Campaign, over: asyncio.Event) -> None:
        while not over.is_set():
            part = (time.monotonic() - self.began) / self.scenario.seconds
            await campaign.step(self.event_ms(), part)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 0.5)

    # ------------------------------------------------------------ at rest

    async def _rest(self, crew: Crew, havoc: Havoc, closing_ms: int, result: Result) -> None:
        """Wait for the crew to finish its work, then end it in good order."""
        watch = Watch(
            database=self.machines.database,
            bootstrap=self.machines.bootstrap,
            prefix=self.prefix,
            group=self.group,
            closing_ms=closing_ms,
        )
        scenario = self.scenario
        # whatever was obeyed under way comes once more
        first = await watch.until_quiet(scenario.settle_s, lag=False)
        self.say(f"all work done after {first.after_s} s, lacking {list(first.lacking)}")
        await havoc.repeat(Random(scenario.seed), most=3)
        # live workers beat for ever, so that lag never stays at 0
        quiet = await watch.until_quiet(scenario.settle_s, lag=not scenario.live)
        self.say(f"quiet after {quiet.after_s} s" if not quiet.lacking else f"NOT quiet: {quiet.lacking}")
        await crew.drain()
        if scenario.live and not quiet.lacking:
            quiet = await self._without_beats(crew, watch)
        result.objections["everything_comes_to_rest"] = list(quiet.lacking)
        result.figures["quiet_after_s"] = quiet.after_s

    async def _without_beats(self, crew: Crew, watch: Watch) -> Quiet:
        """A small crew that reads what the last beats left."""
        silent = Crew(crew.folder, {**crew.environment, "LIFECYCLE_HEARTBEATS": "False"})
        names = [f"{kind}-last" for kind in ("tally", "judge", "relay", "registry")]
        for name in names:
            silent.start(name)
        try:
            return await watch.until_quiet(self.scenario.settle_s)
        finally:
            await silent.drain()
            crew.ends += silent.ends

    async def _judge(self, crew: Crew, result: Result) -> None:
        """All checks, ours and the product's own."""
        began = time.monotonic()
        found = await collect(self.scenario, self.machines.bootstrap, self.prefix, self.machines.database)
        result.objections |= await asyncio.to_thread(objections, found)
        for command in _COMMANDS:
            said = await lifecycle(command, "--json", environment=self.settings(direct=True))
            result.objections[f"lifecycle_{command}"] = [] if said.code == 0 else [_objection(said)]
            if command == "replay" and said.code in (0, 1) and said.out:
                result.figures["decisions_recomputed"] = said.document["decisions_recomputed"]
        result.objections["processes_behave"] = brief(crew.complaints())
        result.figures |= figures(found, crew) | {"comparing_s": round(time.monotonic() - began, 1)}
        least = self.scenario.least
        if least:
            result.objections["enough_happened"] = list(enough_happened(least, result.figures))
            result.objections["every_fault_hits"] = list(every_fault_hits(len(result.faults), result.history))
        if result.failed:
            await asyncio.to_thread(self._keep, found)

    def _keep(self, found: Evidence) -> None:
        """Tables beside the logs: whoever looks into a failure needs them."""
        path = self.folder / "tables.json"
        path.write_bytes(orjson.dumps(found.tables, default=_text, option=orjson.OPT_NON_STR_KEYS))


def figures(found: Evidence, crew: Crew) -> dict[str, Any]:
    """What happened, in numbers."""
    decisions = Counter(row["kind"] for row in found.tables["decisions"])
    entered = [row for row in found.tables["transitions"] if row["to_stage"] == "PRODUCTION"]
    drains = [end.drain_s for end in crew.ends if end.drain_s is not None]
    return {
        "records": found.expected.records,
        "rows": len(found.rows),
        "arrival_rows": len(found.arrivals),
        "dead_letters": len(found.expected.invalid),
        "duplicates": sum(orjson.loads(body).get("duplicate", 0) for body in found.arrivals.values()),
        "divergences": len(found.tables["divergences"]),
        "decisions": dict(sorted(decisions.items())),
        "promotions": sum(row["decision_id"] is not None for row in entered),
        "episodes": len(found.tables["drift_episodes"]),
        "jobs": dict(Counter(str(row["status"]) for row in found.tables["retraining_jobs"])),
        "experiments": dict(Counter(str(row["status"]) for row in found.tables["experiments"])),
        "lives": len(crew.ends),
        "ends": dict(Counter(f"{end.ordered or 'by itself'} {end.code}" for end in crew.ends)),
        "longest_drain_s": round(max(drains, default=0.0), 2),
    }


async def play(scenario: Scenario, folder: Path, say: Say, faults: Sequence[Fault] | None = None) -> Result:
    """One run on servers of its own, with the seed's faults unless others are given.

    Raises Unavailable where this machine has no servers.
    """
    # what libraries say of brokers that we have just killed is no news
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    faults = schedule(scenario) if faults is None else faults
    for fault in faults:
        say(f"  planned {fault}")
    machines = await Machines(scenario.brokers).up()
    try:
        result = await Run(scenario=scenario, folder=folder, say=say, machines=machines).play(faults)
    finally:
        await machines.down()
    report = orjson.dumps(result.document(), default=_text, option=orjson.OPT_INDENT_2)
    await asyncio.to_thread((folder / "report.json").write_bytes, report)
    return result


def _objection(said: Said) -> str:
    """What a command answered, without the accounts that balance."""
    if said.out.startswith('{"') or said.out.startswith("{\n"):
        document = said.document
        if "accounts" in document:
            document["accounts"] = [one for one in document["accounts"] if not one["balanced"]]
        return orjson.dumps(document).decode()[:2_000]
    return f"{said.out}{said.err}"[:2_000]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
