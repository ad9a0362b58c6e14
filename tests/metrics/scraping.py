"""Reading what a process exposes, with the parser that Prometheus' own client library ships."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiohttp import ClientSession
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Scrape:
    """Everything one scrape said."""

    families: Mapping[str, Family]
    """By name as the text has it: a counter's ends in `_total`."""
    samples: Mapping[tuple[str, Labels], float]

    def __call__(self, name: str, **labels: object) -> float:
        """The sample with exactly these labels. KeyError when there is none."""
        return self.samples[name, frozenset((key, str(value)) for key, value in labels.items())]

    def all(self, name: str) -> dict[Labels, float]:
        """Every sample of one name."""
        return {labels: value for (found, labels), value in self.samples.items() if found == name}


def of_text(text: str) -> Scrape:
    """The scrape that `text`, in Prometheus' text format, is."""
    families = list(text_string_to_metric_families(text))
    return Scrape({_named(family): family for family in families}, dict(_samples(families)))


async def scraped(port: int) -> Scrape:
    """What 127.0.0.1:`port` exposes now."""
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return of_text(await answer.text())


def _named(family: Family) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _samples(families: Iterable[Family]) -> Iterable[tuple[tuple[str, Labels], float]]:
    for family in families:
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value
