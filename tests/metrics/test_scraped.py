"""A process with all workers over a real log and store, scraped as Prometheus would."""

from pathlib import Path

from aiohttp import ClientSession

from consumers.metrics import Metric
from schemas.logrecords import NewRecord
from tests.metrics.process import process
from tests.metrics.scraping import of_text, scraped
from tests.services.deployment import EACH, LENGTH, WALL_MS, Deployment, deployment, drifting_life

WINDOWS = 14
NAMES = {metric.value.name for metric in Metric}


async def test_exactly_the_table_s_names_are_exposed_with_its_types_and_texts(where: Deployment) -> None:
    async with process(where) as running:
        scrape = await scraped(running.port)
    ours = {name: family for name, family in scrape.families.items() if name.startswith("lifecycle_")}
    assert set(ours) == NAMES
    for definition in (metric.value for metric in Metric):
        assert ours[definition.name].type == definition.kind
        assert ours[definition.name].documentation.startswith(definition.help)
        for name, labels in scrape.samples:
            if name == definition.name:
                assert {key for key, _ in labels} == set(definition.labels)


async def test_cpu_and_memory_of_the_process_come_with_it(where: Deployment) -> None:
    async with process(where) as running:
        scrape = await scraped(running.port)
    assert scrape("process_cpu_seconds_total") > 0
    assert scrape("process_resident_memory_bytes") > 1 << 20


async def test_an_idle_process_says_nothing_about_delays_it_cannot_know(where: Deployment) -> None:
    async with process(where) as running:
        await running.until(lambda: running.health.unready() == [])
        scrape = await scraped(running.port)
    assert scrape.all("lifecycle_watermark_delay_seconds") == {}
    assert scrape.all("lifecycle_closed_delay_seconds") == {}
    assert scrape("lifecycle_lag_records", topic="lifecycle.predictions", partition=1) == 0
    assert scrape("lifecycle_lag_seconds", topic="lifecycle.predictions", partition=1) == 0
    assert scrape("lifecycle_outbox_age_seconds") == 0
    assert scrape("lifecycle_records_read_total") == 0


async def test_a_drifting_life_is_told_in_numbers(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where, WINDOWS)
        rotten = [
            NewRecord(topic=topic, key=b"k", value=b"{", timestamp_ms=LENGTH * WINDOWS, partition=0)
            for topic in (where.topics.predictions, where.topics.predictions, where.topics.outcomes)
        ]
        await where.append(*rotten)
        await where.beat(LENGTH * WINDOWS + 60_000)
        async with process(where) as running:
            results = running.workers["registry"].results  # type: ignore[attr-defined]
            await running.until(lambda: sum(results.values()) >= 3)
            # later than the last event, whatever the relay still had to send
            await running.figures.refresh()
            scrape = await scraped(running.port)
        expected = {
            ("predictions", "tallied"): WINDOWS * EACH,
            ("predictions", "invalid"): 2,
            ("predictions", "late"): 0,
            ("outcomes", "matched"): WINDOWS * EACH,
            ("outcomes", "invalid"): 1,
            ("outcomes", "orphan"): 0,
        }
        for (side, fate), number in expected.items():
            assert scrape("lifecycle_records_total", side=side, fate=fate) == number
        assert scrape("lifecycle_records_read_total") == 2 * WINDOWS * EACH + 3 + 4
        assert scrape("lifecycle_invalid_records_total") == 3
        assert scrape("lifecycle_dead_letters") == 3
        assert scrape("lifecycle_rows_total") == len(await where.rows())
        decided = [decision.kind for decision in await where.decisions()]
        for kind in set(decided):
            assert scrape("lifecycle_decisions_total", kind=kind) == decided.count(kind)
        assert scrape("lifecycle_decision_latency_seconds_count") == len(decided) > 0
        assert scrape("lifecycle_decision_latency_seconds_bucket", le="86400.0") == 0, "1970 is long ago"
        assert scrape("lifecycle_decision_latency_seconds_bucket", le="+Inf") == len(decided)
        assert scrape("lifecycle_drift_episodes_open", drift_type="DATA_DRIFT") == 1
        assert scrape("lifecycle_drift_episodes_unacknowledged", drift_type="DATA_DRIFT") == 1
        assert scrape("lifecycle_drift_episodes_muted", drift_type="DATA_DRIFT") == 0
        assert scrape("lifecycle_divergences") == scrape("lifecycle_diverged_rows_total") == 0
        assert scrape("lifecycle_relay_sent_total") > 0
        assert scrape("lifecycle_relay_refused_total") == 0
        assert scrape("lifecycle_relay_active") == 1
        assert sum(scrape.all("lifecycle_registry_results_total").values()) == sum(results.values())
        newest_s = (WALL_MS - LENGTH * WINDOWS - 60_000) / 1_000
        assert scrape("lifecycle_watermark_delay_seconds", partition=0, side="outcomes") == newest_s
        assert scrape("lifecycle_closed_delay_seconds", partition=0, side="predictions") > newest_s
        assert scrape("lifecycle_lag_records", topic="lifecycle.drift-detected", partition=0) == 0


async def test_openmetrics_is_spoken_to_those_who_ask_for_it(where: Deployment) -> None:
    async with process(where) as running, ClientSession() as session:
        accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
        async with session.get(f"http://127.0.0.1:{running.port}/metrics", headers=accept) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await answer.text()).endswith("# EOF\n")
        async with session.get(f"http://127.0.0.1:{running.port}/metrics") as answer:
            assert of_text(await answer.text())("lifecycle_worker_waits_total", worker="judge") == 0
