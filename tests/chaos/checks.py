"""What must hold at the end of a run, each check with everything that speaks against it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import orjson

from tests.chaos.evidence import COMPACTED, DEAD_LETTER, LIFECYCLE_TOPICS, Evidence, Row
from tests.chaos.topics import Found

Check = Callable[[Evidence], Iterable[str]]
SHOWN = 5
"""Objections of one kind that are kept; the rest is counted."""


def rows_equal_the_oracle(found: Evidence) -> Iterable[str]:
    return _different("row", found.expected.rows, found.rows)


def arrivals_equal_the_oracle(found: Evidence) -> Iterable[str]:
    return _different("arrival row", found.expected.arrivals, found.arrivals)


def _different(what: str, want: Mapping[Any, Any], have: Mapping[Any, Any]) -> Iterable[str]:
    for key in sorted({*want, *have}, key=repr):
        if key not in have:
            yield f"{what} {key} is missing"
        elif key not in want:
            yield f"{what} {key} should not be there"
        elif want[key] != have[key]:
            yield f"{what} {key}: oracle {want[key]!r}, store {have[key]!r}"


def nothing_diverged(found: Evidence) -> Iterable[str]:
    for row in found.tables["divergences"]:
        yield f"{row['row_key']}: {row['stored_digest'][:12]} stored, {row['offered_digest'][:12]} offered"


def every_bad_record_is_dead_lettered_once(found: Evidence) -> Iterable[str]:
    """By place: each invalid record once in the outbox, at least once in the topic, nothing else."""
    want = {(f"{found.prefix}{side}", p, offset) for side, p, offset in found.expected.invalid}
    topic = f"{found.prefix}{DEAD_LETTER}"
    promised = Counter(
        _place(_headers(row["headers"])) for row in found.tables["outbox"] if row["topic"] == topic
    )
    sent = {_place(record.headers) for record in _records(found, DEAD_LETTER)}
    yield from (f"{place} is not in the outbox" for place in sorted(want - promised.keys()))
    yield from (f"{place} was sound" for place in sorted(promised.keys() - want))
    yield from (f"{place} is promised {n} times" for place, n in promised.items() if n > 1)
    yield from (f"{place} is not in the topic" for place in sorted(want - sent))
    yield from (f"{place} is in the topic and was sound" for place in sorted(sent - want))


# ---------------------------------------------------------------- outbox and topics


def every_promise_is_sent(found: Evidence) -> Iterable[str]:
    """Each event id of the outbox at least once in its topic, with its bytes; no id that nobody promised."""
    promised = {row["event_id"]: row for row in found.tables["outbox"]}
    yield from (f"{row['topic']} {row['event_id']} is unsent" for row in promised.values() if _unsent(row))
    for name in LIFECYCLE_TOPICS:
        seen: dict[str, Found] = {}
        for record in _records(found, name):
            identity = _id(record)
            if identity in seen and seen[identity].value != record.value:
                yield f"{name} {identity} comes with two different values"
            seen.setdefault(identity, record)
        wanted = {i: row for i, row in promised.items() if row["topic"] == f"{found.prefix}{name}"}
        yield from (f"{name} {i} was never sent" for i in sorted(wanted.keys() - seen.keys()))
        yield from (f"{name} {i} was promised by nobody" for i in sorted(seen.keys() - wanted.keys()))
        for identity in wanted.keys() & seen.keys():
            row, record = wanted[identity], seen[identity]
            if (bytes(row["key"]), bytes(row["value"])) != (record.key, record.value):
                yield f"{name} {identity} has other bytes in the topic than in the outbox"


def _unsent(row: Row) -> bool:
    return row["sent_at"] is None


def promises_keep_their_order(found: Evidence) -> Iterable[str]:
    """First sendings of one key come in the order in which they were promised."""
    order = {row["event_id"]: _rank(row) for row in found.tables["outbox"]}
    for name in LIFECYCLE_TOPICS:
        by_key: dict[bytes | None, list[tuple[Any, str]]] = defaultdict(list)
        seen = set()
        for record in _records(found, name):
            identity = _id(record)
            if identity in order and identity not in seen:
                seen.add(identity)
                by_key[record.key].append((order[identity], identity))
        for key, ranked in by_key.items():
            for (before, first), (after, second) in pairwise(ranked):
                if after < before:
                    yield f"{name} of {key!r}: {second} was promised before {first} and sent after it"


def _rank(row: Row) -> tuple[int, int]:
    """Promises of one key are made under its row lock: their transactions began in the order of ids."""
    return 0, int(row["id"])


def the_last_word_is_the_state(found: Evidence) -> Iterable[str]:
    """Compaction keeps the last record of a key: it must be the newest, whatever was sent twice."""
    for name in COMPACTED:
        newest: dict[bytes, tuple[int, Row]] = {}
        for row in found.tables["outbox"]:
            if row["topic"] == f"{found.prefix}{name}":
                key = bytes(row["key"])
                newest[key] = max(newest.get(key, (-1, row)), (int(row["id"]), row), key=lambda one: one[0])
        last: dict[bytes | None, Found] = {}
        for partition in found.topics[name].values():
            last |= {record.key: record for record in partition}
        for key, (_, row) in newest.items():
            if key in last and _id(last[key]) != row["event_id"]:
                yield f"{name} of {key!r} ends with {_id(last[key])}, not with {row['event_id']}"


# ---------------------------------------------------------------- decisions and their effects


def every_decision_is_made_once(found: Evidence) -> Iterable[str]:
    names = ("kind", "model", "subject", "window_start_ms", "at_ms")
    natural = Counter(tuple(row[name] for name in names) for row in found.tables["decisions"])
    yield from (f"{key} was decided {n} times" for key, n in natural.items() if n > 1)


def every_decision_has_its_event(found: Evidence) -> Iterable[str]:
    """Drift, retraining and promotion: one event each, caused by one decision each."""
    for kind, name in (
        ("drift", "drift-detected"),
        ("retrain", "retrain-requested"),
        ("verdict", "model-promoted"),
    ):
        decided = {
            row["decision_id"]
            for row in found.tables["decisions"]
            if row["kind"] == kind and (kind != "verdict" or _verdict(row) == "PROMOTE")
        }
        events = Counter(str(event.get("decision_id")) for _, event in _promised(found, name))
        yield from (f"{kind} {i} promised no event" for i in sorted(decided - events.keys()))
        yield from (f"{name}: {i} is no decision" for i in sorted(events.keys() - decided))
        yield from (f"{name}: {i} was promised {n} times" for i, n in events.items() if n > 1)


def every_event_is_handled_once(found: Evidence) -> Iterable[str]:
    """Each event of the control plane has one entry in the inbox, which says what came of it."""
    entries = Counter((row["consumer"], row["event_id"]) for row in found.tables["inbox"])
    results = {(row["consumer"], row["event_id"]): row["result"] for row in found.tables["inbox"]}
    for name in ("drift-detected", "retrain-requested", "model-promoted"):
        for identity, _ in _promised(found, name):
            entry = (f"registry/{name}", identity)
            if entries[entry] != 1:
                yield f"{name} {identity} has {entries[entry]} entries in the inbox"
            elif not results[entry]:
                yield f"{name} {identity} was handled without a result"
            elif str(results[entry]).startswith(("forged", "invalid")):
                yield f"{name} {identity}: {results[entry]}"


def every_promotion_is_applied_once(found: Evidence) -> Iterable[str]:
    """Obeyed or refused, and the history, the inbox and the experiment agree which."""
    results = {row["event_id"]: str(row["result"]) for row in found.tables["inbox"]}
    entered = Counter(
        row["decision_id"] for row in found.tables["transitions"] if row["to_stage"] == "PRODUCTION"
    )
    status = {row["experiment_id"]: row["status"] for row in found.tables["experiments"]}
    for identity, event in _promised(found, "model-promoted"):
        result, times = results.get(identity, "nothing"), entered[event["decision_id"]]
        if times > 1:
            yield f"{identity} entered PRODUCTION {times} times"
        if (times == 1) != result.startswith("promoted"):
            yield f"{identity} entered PRODUCTION {times} times, and the inbox says {result!r}"
        if times == 1 and status.get(event["experiment"]) != "COMPLETED_PROMOTED":
            yield f"{event['experiment']} promoted and is {status.get(event['experiment'])}"


def history_is_a_chain(found: Evidence) -> Iterable[str]:
    """Each entry into PRODUCTION displaces the version before it and raises the epoch by one."""
    stage: dict[tuple[str, str], str | None] = {}
    epochs: Counter[str] = Counter()
    for row in sorted(found.tables["transitions"], key=lambda row: int(row["id"])):
        version = row["model"], row["version"]
        if stage.get(version) != row["from_stage"]:
            yield f"{version} left {row['from_stage']} and was in {stage.get(version)}"
        stage[version] = row["to_stage"]
        if row["to_stage"] == "PRODUCTION":
            epochs[row["model"]] += 1
            serving = [v for (m, v), s in stage.items() if m == row["model"] and s == "PRODUCTION"]
            if len(serving) != 1:
                yield f"{row['model']} has {serving} in PRODUCTION at once"
    for row in found.tables["model_versions"]:
        if stage.get((row["model"], row["version"])) != row["stage"]:
            yield f"{row['model']} {row['version']} is {row['stage']}, its history ends otherwise"
    for row in found.tables["models"]:
        if row["epoch"] != epochs[row["name"]]:
            yield f"{row['name']} is at epoch {row['epoch']} after {epochs[row['name']]} promotions"


def episodes_follow_decisions(found: Evidence) -> Iterable[str]:
    """One episode for each drift decision, closed by the recovery that names it; one open per kind."""
    decided = {row["decision_id"] for row in found.tables["decisions"] if row["kind"] == "drift"}
    episodes = {row["episode_id"]: row for row in found.tables["drift_episodes"]}
    yield from (f"drift {i} opened no episode" for i in sorted(decided - episodes.keys()))
    yield from (f"episode {i} follows no decision" for i in sorted(episodes.keys() - decided))
    opened = Counter(
        (row["model"], row["version"], row["drift_type"])
        for row in episodes.values()
        if row["closed_at_ms"] is None
    )
    yield from (f"{key} has {n} open episodes" for key, n in opened.items() if n > 1)
    closed = [row["closed_by"] for row in episodes.values() if row["closed_by"] is not None]
    recoveries = {row["decision_id"] for row in found.tables["decisions"] if row["kind"] == "recovery"}
    if sorted(closed) != sorted(recoveries):
        yield f"{len(closed)} episodes are closed by {len(recoveries)} recoveries"


def jobs_follow_requests(found: Evidence) -> Iterable[str]:
    """One job for each request, each ended, each success with one version."""
    requests = {identity for identity, _ in _promised(found, "retrain-requested")}
    asked = Counter(str(orjson.loads(row["request"])["event_id"]) for row in found.tables["retraining_jobs"])
    yield from (f"request {i} opened no job" for i in sorted(requests - asked.keys()))
    yield from (f"request {i} opened {n} jobs" for i, n in asked.items() if n > 1)
    versions = Counter(row["job_id"] for row in found.tables["model_versions"] if row["job_id"] is not None)
    for row in found.tables["retraining_jobs"]:
        job, status = row["job_id"], row["status"]
        if status in ("REQUESTED", "RUNNING"):
            yield f"job {job} is still {status}"
        if versions[job] != (1 if status == "SUCCEEDED" else 0):
            yield f"job {job} is {status} and registered {versions[job]} versions"
        if status == "FAILED":
            yield f"job {job} failed: {row['result']}"


CHECKS: Sequence[Check] = (
    rows_equal_the_oracle,
    arrivals_equal_the_oracle,
    nothing_diverged,
    every_bad_record_is_dead_lettered_once,
    every_promise_is_sent,
    promises_keep_their_order,
    the_last_word_is_the_state,
    every_decision_is_made_once,
    every_decision_has_its_event,
    every_event_is_handled_once,
    every_promotion_is_applied_once,
    history_is_a_chain,
    episodes_follow_decisions,
    jobs_follow_requests,
)


def objections(found: Evidence) -> dict[str, list[str]]:
    """Of every check: nothing, or the first objections and how many more there are."""
    return {check.__name__: brief(list(check(found))) for check in CHECKS}


def brief(said: Sequence[str]) -> list[str]:
    """The first few, shortened."""
    shown = [text if len(text) <= 600 else f"{text[:600]}..." for text in said[:SHOWN]]
    return shown + ([f"... and {len(said) - SHOWN} more"] if len(said) > SHOWN else [])


# ---------------------------------------------------------------- reading


def _records(found: Evidence, name: str) -> Iterable[Found]:
    for partition in found.topics[name].values():
        yield from partition


def _promised(found: Evidence, name: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Event ids of the outbox on one topic, and the events."""
    for row in found.tables["outbox"]:
        if row["topic"] == f"{found.prefix}{name}":
            yield row["event_id"], orjson.loads(bytes(row["value"]))


def _id(record: Found) -> str:
    return dict(record.headers).get("ce_id", b"").decode()


def _verdict(row: Row) -> str:
    return str(orjson.loads(bytes(row["body"]))["evidence"]["verdict"])


def _headers(stored: Any) -> tuple[tuple[str, bytes], ...]:
    """As the store keeps them: names and values as text."""
    entries = orjson.loads(stored) if isinstance(stored, str | bytes) else stored
    return tuple((str(name), _bytes(value)) for name, value in entries)


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _place(headers: tuple[tuple[str, bytes], ...]) -> tuple[str, int, int]:
    named = dict(headers)
    return named["topic"].decode(), int(named["partition"]), int(named["offset"])
